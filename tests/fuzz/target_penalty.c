// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who is put in quarantine and for how long, over any series of alarms: never root, the kernel, the
 * mail server or this host; what is named is what a managed file takes; a penalty is at least the
 * first, at most a year, and none is shorter than the one before it unless a month lies between.
 */
#include "fuzz.h"
#include "../../user/penalty.h"
#include "../../user/repeats.h"
#include <arpa/inet.h>
#include <ifaddrs.h>

#define OWN "198.51.100.25"

int __wrap_getifaddrs(struct ifaddrs **list);
int __wrap_getifaddrs(struct ifaddrs **list)
{
	struct ifaddrs *one = calloc(1, sizeof(*one) + sizeof(struct sockaddr_in));
	struct sockaddr_in *address;

	if (!one)
		abort();
	address = (struct sockaddr_in *)(one + 1);
	address->sin_family = AF_INET;
	inet_pton(AF_INET, OWN, &address->sin_addr);
	one->ifa_addr = (struct sockaddr *)address;
	*list = one;
	return 0;
}

static void check_net(const struct sf_offence *offence, const struct sf_tally *tally)
{
	struct sf_net_key source = {.prefixlen = SF_NET_BITS_MAX, .family = offence->net.family};
	struct sf_net_key own, again;
	char text[64];

	memcpy(&source.addr, &tally->who.key, sizeof(source.addr));
	sf_net_parse(OWN, &own, NULL);
	sf_net_format(&offence->net, text, sizeof(text));
	PROPERTY(!sf_net_parse(text, &again, NULL) &&
		 !memcmp(&again, &offence->net, sizeof(again)));
	PROPERTY(sf_net_covers(&offence->net, &source) && !sf_net_covers(&offence->net, &own));
}

/* True where he may be put there. */
static int check_who(const struct sf_policy *policy, const struct sf_tally *tally,
		     const char *cgroup)
{
	struct sf_offence offence;
	const char *why = sf_penalty_find(policy, tally, cgroup, &offence);

	if (why)
		return 0;
	PROPERTY(tally->class != SF_CLASS_MAIL && tally->class != SF_CLASS_LOCAL &&
		 tally->class != SF_CLASS_LOOPBACK);
	if (offence.is_net)
		check_net(&offence, tally);
	else
		PROPERTY(offence.uid && offence.uid != UINT32_MAX && offence.uid != 101 &&
			 strncmp(cgroup, "/mail/", 6));
	return 1;
}

static void check_length(const struct sf_policy *policy, struct sf_repeat *repeat, int64_t now,
			 int64_t *before)
{
	int64_t last = repeat->count ? repeat->times[repeat->count - 1] : 0;
	int64_t length = sf_penalty_length(policy, repeat->times, repeat->count, now);

	PROPERTY(!length || (length >= policy->quarantine_time && length <= SF_PENALTY_LONGEST));
	/* All that counted then counts still: not shorter. */
	if (repeat->count && now >= last &&
	    now - repeat->times[0] <
		    (policy->quarantine_permanent ? SF_PENALTY_DAY : SF_PENALTY_MEMORY))
		PROPERTY(!length || (*before && length >= *before));
	*before = length;
	sf_repeat_add(repeat, now);
}

static struct sf_policy *make_policy(void)
{
	static struct sf_policy policy;
	struct sf_entry mail = {.kind = SF_ENTRY_MAIL, .value = "/mail"};
	struct sf_entry users = {
		.kind = SF_ENTRY_MAIL, .value = "/other", .users = {101}, .user_count = 1};

	sf_policy_init(&policy);
	sf_policy_put(&policy, &mail);
	sf_policy_put(&policy, &users);
	return &policy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sf_policy *policy;
	struct fuzz_part rest = {data, size};
	struct sf_repeat repeat = {.who = "user 1001"};
	int64_t now = 1700000000, before = 0;

	if (!policy)
		policy = make_policy();
	policy->ipv6_prefix = 16 + (int)(fuzz_take(&rest, 1) % 113);
	policy->quarantine_permanent = (int)(fuzz_take(&rest, 1) % 8);
	policy->quarantine_time = 60 + (int)fuzz_take(&rest, 2);
	for (int alarms = 0; rest.size && alarms < 64; alarms++) {
		uint8_t op = (uint8_t)fuzz_take(&rest, 1);
		struct sf_tally tally = {.who.kind = op & 1 ? SF_WHO_SENDER : SF_WHO_SOURCE,
					 .class = (op >> 1 & 15) % SF_CLASS_COUNT};
		char cgroup[] = "/mail/x";

		if (op & 1) {
			tally.who.key.word[1] = fuzz_take(&rest, 4);
			cgroup[(op >> 5) % 8] = op & 16 ? 0 : cgroup[(op >> 5) % 8];
		} else if (op & 32) { /* IPv4 */
			uint64_t address = fuzz_take(&rest, 4) << 32 | 0xffff0000;

			memcpy(&tally.who.key.word[1], &address, sizeof(address));
		} else {
			tally.who.key.word[0] = fuzz_take(&rest, 8);
			tally.who.key.word[1] = fuzz_take(&rest, 8);
		}
		now += (int64_t)fuzz_take(&rest, 3);
		if (check_who(policy, &tally, cgroup))
			check_length(policy, &repeat, now, &before);
	}
	return 0;
}
