// SPDX-License-Identifier: GPL-2.0-only
/*
 * The small files of state_dir: addresses of allowed hosts, and who was in quarantine before. What
 * is read from them, written, and read again is the same.
 */
#include "fuzz.h"
#include "../../user/hosts.h"
#include "../../user/penalty.h"
#include "../../user/repeats.h"
#include <fcntl.h>
#include <unistd.h>

static void put_file(const char *dir, const char *name, struct fuzz_part content)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || (content.size && write(fd, content.data, content.size) < 0))
		abort();
	close(fd);
}

static void check_hosts(const char *dir)
{
	struct sf_hosts hosts, again;
	struct sf_error err = {.code = 0};
	struct sf_policy policy;

	PROPERTY(!sf_hosts_load(dir, &hosts));
	for (size_t i = 0; i < hosts.count; i++)
		PROPERTY(hosts.address[i].seen >= 0 && hosts.address[i].name[0] &&
			 hosts.address[i].net.prefixlen == SF_NET_BITS_MAX);
	PROPERTY(!sf_hosts_save(dir, &hosts, &err));
	PROPERTY(!sf_hosts_load(dir, &again));
	PROPERTY(again.count == hosts.count);
	for (size_t i = 0; i < hosts.count; i++)
		PROPERTY(!strcmp(hosts.address[i].name, again.address[i].name) &&
			 hosts.address[i].seen == again.address[i].seen &&
			 !memcmp(&hosts.address[i].net, &again.address[i].net,
				 sizeof(struct sf_net_key)));
	sf_policy_init(&policy);
	if (hosts.count) {
		struct sf_entry entry = {.kind = SF_ENTRY_ALLOW_HOST};

		snprintf(entry.value, sizeof(entry.value), "%s", hosts.address[0].name);
		sf_policy_put(&policy, &entry);
	}
	sf_hosts_prune(&hosts, &policy);
	PROPERTY(!again.count || hosts.count); /* the newest of a name that is allowed stays */
	sf_policy_free(&policy);
	sf_hosts_free(&hosts);
	sf_hosts_free(&again);
}

static void check_lengths(const struct sf_repeat *r)
{
	const int64_t clocks[] = {0, 1700000000, 4000000000, INT64_MAX / 2};
	struct sf_policy policy;

	sf_policy_init(&policy);
	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		int64_t length = sf_penalty_length(&policy, r->times, r->count, clocks[i]);

		PROPERTY(length == 0 ||
			 (length >= policy.quarantine_time && length <= SF_PENALTY_LONGEST));
	}
	sf_policy_free(&policy);
}

static void check_repeats(const char *dir)
{
	struct sf_repeats repeats, again;
	struct sf_error err = {.code = 0};

	PROPERTY(!sf_repeats_load(dir, &repeats));
	PROPERTY(repeats.count <= SF_PENALTY_ROOM);
	for (size_t i = 0; i < repeats.count; i++) {
		PROPERTY(repeats.list[i].count > 0 && repeats.list[i].count <= SF_PENALTY_KEEP);
		check_lengths(&repeats.list[i]);
	}
	PROPERTY(!sf_repeats_save(dir, &repeats, &err));
	PROPERTY(!sf_repeats_load(dir, &again));
	PROPERTY(again.count == repeats.count);
	for (size_t i = 0; i < again.count; i++)
		PROPERTY(!memcmp(&again.list[i], &repeats.list[i], sizeof(again.list[i])));
	sf_repeat_add(sf_repeats_of(&repeats, "user 7"), 1700000000);
	sf_repeats_free(&again);
	sf_repeats_free(&repeats);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *dir;
	struct fuzz_part rest = {data, size};

	if (!dir)
		dir = fuzz_tree((struct fuzz_part){NULL, 0});
	put_file(dir, "hosts", fuzz_next_part(&rest));
	put_file(dir, "quarantines", rest);
	check_hosts(dir);
	check_repeats(dir);
	return 0;
}
