// SPDX-License-Identifier: GPL-2.0-only
/*
 * The administrator's file and the managed one: refused with a text for people, or a policy that,
 * written back, is read as the same.
 */
#include "fuzz.h"
#include "../../user/config.h"
#include "../../user/image.h"
#include "../../user/policy_text.h"
#include <ifaddrs.h>

#define NO_FILE "/proc/self/fd/none"
#define NOW	1700000000

/* The image asks for the host's addresses: here it has none. */
int __wrap_getifaddrs(struct ifaddrs **list);
int __wrap_getifaddrs(struct ifaddrs **list)
{
	*list = NULL;
	return 0;
}

static void check_refusal(const struct sf_error *err)
{
	PROPERTY(err->code < 0 && err->text[0]);
	PROPERTY(fuzz_is_clean(err->text));
}

static struct fuzz_part part_of(const char *text)
{
	return (struct fuzz_part){(const uint8_t *)text, strlen(text)};
}

/* What is kept as applied.conf, and read at boot. */
static void check_whole_text(const struct sf_policy *policy)
{
	char *text = sf_policy_text(policy), *again;
	struct sf_error err = {.code = 0};
	struct sf_policy same;
	int ret = sf_config_read(fuzz_file(2, part_of(text)), NO_FILE, 1, &same, &err);

	if (ret)
		fprintf(stderr, "%s\n%s\n", err.text, text);
	PROPERTY(!ret);
	PROPERTY(same.entry_count == policy->entry_count);
	again = sf_policy_text(&same);
	if (strcmp(text, again))
		fprintf(stderr, "%s\n%s\n", text, again);
	PROPERTY(!strcmp(text, again));
	free(again);
	free(text);
	sf_policy_free(&same);
}

/* What a command that changes nothing would write. */
static void check_managed_text(const char *file, const struct sf_policy *policy)
{
	char *text = sf_managed_text(policy, NOW), *again;
	struct sf_error err = {.code = 0};
	struct sf_policy same;
	int ret = sf_managed_check(file, text, 1, &same, &err);

	if (ret)
		fprintf(stderr, "%s\n%s\n", err.text, text);
	PROPERTY(!ret);
	again = sf_managed_text(&same, NOW);
	PROPERTY(!strcmp(text, again));
	free(again);
	free(text);
	sf_policy_free(&same);
}

static void check_image(const struct sf_policy *policy)
{
	const struct sf_clock clock = {.wall = NOW, .boot_ns = 1000000000000ULL};
	struct sf_host_address address[] = {{"smtp.example.com", {0, 0, {{0}}}, NOW},
					    {"a.example", {0, 0, {{0}}}, NOW}};
	const struct sf_hosts hosts = {.address = address, .count = 2};
	struct sf_error err = {.code = 0};
	struct sf_image image;

	sf_net_parse("198.51.100.7", &address[0].net, NULL);
	sf_net_parse("2001:db8::7", &address[1].net, NULL);
	if (sf_image_build(policy, &hosts, &clock, &image, &err)) {
		check_refusal(&err);
		return;
	}
	for (int t = 0; t < SF_IMAGE_COUNT; t++)
		for (size_t i = 1; i < image.table[t].count; i++)
			PROPERTY(memcmp(sf_table_key(&image.table[t], i - 1),
					sf_table_key(&image.table[t], i),
					image.table[t].key_size) < 0);
	for (size_t i = 0; i < image.table[SF_IMAGE_RELAYS].count; i++) {
		const struct sf_grants *g = sf_table_value(&image.table[SF_IMAGE_RELAYS], i);

		PROPERTY(g->count > 0 && g->count <= SF_GRANTS_MAX);
	}
	sf_image_free(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_part rest = {data, size};
	const char *file = fuzz_file(0, fuzz_next_part(&rest));
	const char *managed = rest.size ? fuzz_file(1, rest) : NO_FILE;
	struct sf_error err = {.code = 0};
	struct sf_policy policy;

	if (sf_config_read(file, managed, 0, &policy, &err)) {
		check_refusal(&err);
		memset(&err, 0, sizeof(err));
		if (sf_config_read(file, managed, 1, &policy, &err)) {
			check_refusal(&err);
			return 0;
		}
	}
	check_whole_text(&policy);
	check_managed_text(file, &policy);
	check_image(&policy);
	sf_policy_free(&policy);
	return 0;
}
