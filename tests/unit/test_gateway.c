// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gateway's and the inbound guard's decisions, against the rule as a person would tell it, over
 * every combination of facts; the guard's rate over time; names, patterns and entries.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "../../bpf/lib/guard_rule.h"
#include "../../user/config.h"
#include "../../user/customers.h"
#include "../../user/policy_text.h"

/* Decisions ----------------------------------------------------------------------------------- */

/* 0: not asked, 1: passes, 2: denied under enforce; and why. */
static int told(const struct sf_gateway_facts *f, int *reason)
{
	bool broken =
		f->mode != SF_MODE_OFF && f->mode != SF_MODE_MONITOR && f->mode != SF_MODE_ENFORCE;
	bool right;

	if (f->mode == SF_MODE_OFF || broken) {
		*reason = broken ? SF_REASON_NO_SETTINGS : SF_REASON_OFF;
		return !f->fenced ? 0 : broken ? 2 : 1;
	}
	*reason = SF_REASON_SPOOFED;
	if (f->spoofed)
		return 2;
	if (!f->fenced)
		return 0;
	*reason = SF_REASON_LOCAL;
	if (f->allow_local && f->to_local && !f->routed)
		return 1;
	*reason = SF_REASON_QUARANTINE;
	if (f->quarantined)
		return 2;
	right = f->from_mail_host || (f->to_relay && !f->routed);
	*reason = !right	      ? SF_REASON_NO_ROLE
		  : f->over_limit     ? SF_REASON_LIMIT
		  : f->from_mail_host ? SF_REASON_MAIL_HOST
				      : SF_REASON_RELAY;
	return right && !f->over_limit ? 1 : 2;
}

static void gateway_decides(void **state)
{
	static const __u32 modes[] = {0, SF_MODE_OFF, SF_MODE_MONITOR, SF_MODE_ENFORCE, 99};

	(void)state;
	for (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++)
		for (unsigned int bits = 0; bits < 1u << 9; bits++) {
			const struct sf_gateway_facts f = {
				.mode = modes[m],
				.fenced = bits & 1,
				.spoofed = bits >> 1 & 1,
				.allow_local = bits >> 2 & 1,
				.to_local = bits >> 3 & 1,
				.to_relay = bits >> 4 & 1,
				.routed = bits >> 5 & 1,
				.quarantined = bits >> 6 & 1,
				.from_mail_host = bits >> 7 & 1,
				.over_limit = bits >> 8 & 1,
			};
			struct sf_decision d = sf_gateway_decide(&f);
			int reason, want = told(&f, &reason);

			assert_int_equal(d.reason, want ? reason : SF_GATEWAY_NOT_ASKED);
			assert_int_equal(d.verdict, want < 2 ? SF_VERDICT_ALLOWED
						    : f.mode == SF_MODE_MONITOR
							    ? SF_VERDICT_WOULD_DENY
							    : SF_VERDICT_DENIED);
		}
}

static struct sf_decision guard(__u32 mode, int filter, int too_many)
{
	const struct sf_guard_facts f = {
		.mode = mode, .filter = (__u8)filter, .too_many = (__u8)too_many};

	return sf_guard_decide(&f);
}

static void guard_decides(void **state)
{
	(void)state;
	assert_int_equal(guard(SF_MODE_ENFORCE, 1, 0).verdict, SF_VERDICT_ALLOWED);
	assert_int_equal(guard(SF_MODE_ENFORCE, 1, 0).reason, SF_REASON_FILTER);
	for (int too_many = 0; too_many <= 1; too_many++) {
		assert_int_equal(guard(SF_MODE_ENFORCE, 0, too_many).verdict, SF_VERDICT_DENIED);
		assert_int_equal(guard(SF_MODE_ENFORCE, 0, too_many).reason, SF_REASON_NO_FILTER);
		assert_int_equal(guard(SF_MODE_MONITOR, 0, too_many).verdict,
				 SF_VERDICT_WOULD_DENY);
		assert_int_equal(guard(SF_MODE_OFF, 0, too_many).verdict, SF_VERDICT_ALLOWED);
	}
	assert_int_equal(guard(SF_MODE_ENFORCE, 1, 1).verdict, SF_VERDICT_DENIED);
	assert_int_equal(guard(SF_MODE_ENFORCE, 1, 1).reason, SF_REASON_FILTER_LIMIT);
	assert_int_equal(guard(SF_MODE_MONITOR, 1, 1).verdict, SF_VERDICT_WOULD_DENY);
}

/* The rate ------------------------------------------------------------------------------------ */

#define WINDOW 60000000000ULL

/* So many of `tries` at these times pass. */
static unsigned int passes(__u64 *free_ns, __u64 now, __u64 interval, unsigned int tries)
{
	unsigned int passed = 0;

	while (tries--) {
		__u64 next = sf_guard_pay(*free_ns, now, interval, WINDOW);

		if (next)
			*free_ns = next;
		passed += next != 0;
	}
	return passed;
}

static void rate_is_kept(void **state)
{
	static const unsigned int limits[] = {1, 2, 7, 30, 1000, 999999, 1000000};

	(void)state;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		__u64 interval = WINDOW / limits[i], free_ns = 0, now = 12345678901ULL;
		unsigned int passed;

		/* A whole minute's at once, and not one more (but for what rounding leaves over).
		 */
		passed = passes(&free_ns, now, interval, limits[i] + 1000);
		assert_in_range(passed, limits[i], limits[i] + limits[i] / 10000);
		/* One for each interval that goes by, however often somebody tries. */
		for (int n = 0; n < 100; n++) {
			now += interval;
			assert_int_equal(passes(&free_ns, now, interval, 50), 1);
		}
		/* Nothing is saved up beyond a minute's. */
		now += 100 * WINDOW;
		assert_int_equal(passes(&free_ns, now, interval, limits[i] + 1000), passed);
	}
}

static void rate_by_chance(void **state)
{
	enum { LIMIT = 20, TRIES = 4000 };
	static __u64 passed_at[TRIES];
	__u64 interval = WINDOW / LIMIT, free_ns = 0, now = 1;
	size_t count = 0, first = 0;

	(void)state;
	srandom(7);
	for (int i = 0; i < TRIES; i++) {
		now += (__u64)(random() % 2000) * 1000000ULL;
		if (passes(&free_ns, now, interval, 1))
			passed_at[count++] = now;
	}
	/* In any minute: what was saved up, and what came since. */
	for (size_t i = 0; i < count; i++) {
		while (passed_at[first] + WINDOW <= passed_at[i])
			first++;
		assert_true(i - first + 1 <= 2 * LIMIT);
	}
	/* In the long run the limit, neither more nor (with so many tries) less. */
	assert_in_range(count, now / interval, now / interval + LIMIT + 1);
}

/* Names and entries --------------------------------------------------------------------------- */

static void names_match(void **state)
{
	(void)state;
	assert_true(sf_names_match("tap17", "tap17"));
	assert_false(sf_names_match("tap17", "tap170"));
	assert_false(sf_names_match("tap17", "tap1"));
	assert_true(sf_names_match("eth0,tap*", "tap9"));
	assert_true(sf_names_match("eth0,tap[0-3],x", "tap3"));
	assert_false(sf_names_match("eth0,tap[0-3],x", "tap4"));
	assert_true(sf_names_match("a,b,c", "c"));
	assert_false(sf_names_match("a,b,c", ""));
	assert_false(sf_names_match("", "a"));
	assert_false(sf_names_match(NULL, "a"));
	/* what is longer than a name can be matches nothing, and reads nobody else's memory */
	assert_false(sf_names_match("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "a"));
	assert_true(sf_names_match("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,a", "a"));
}

static int resolve(enum sf_entry_kind kind, const char *value, const char *list)
{
	struct sf_entry entry = {.kind = kind};
	struct sf_error err = {.code = 0};
	int ret;

	snprintf(entry.value, sizeof(entry.value), "%s", value);
	entry.user_names = list ? strdup(list) : NULL;
	ret = sf_entry_resolve(&entry, &err);
	assert_int_equal(!!ret, !!err.text[0]);
	free(entry.user_names);
	return ret;
}

static void entries_are_checked(void **state)
{
	(void)state;
	assert_int_equal(resolve(SF_ENTRY_ALLOW_SOURCE, "192.0.2.1", NULL), 0);
	assert_int_equal(resolve(SF_ENTRY_ALLOW_SOURCE, "2001:db8::/32", "tap*,eth0"), 0);
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_SOURCE, "192.0.2.1/24", NULL), 0);
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_SOURCE, "eth0", NULL), 0);
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_SOURCE, "192.0.2.1", ""), 0);
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_SOURCE, "192.0.2.1", "a,"), 0);
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_SOURCE, "192.0.2.1", ",a"), 0);
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_SOURCE, "192.0.2.1", "a/b"), 0);
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_SOURCE, "192.0.2.1", "a b"), 0);
	assert_int_equal(resolve(SF_ENTRY_ALLOW_SOURCE, "192.0.2.1", "fifteen-bytes-x"), 0);
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_SOURCE, "192.0.2.1", "sixteen-bytes-xx"), 0);
	assert_int_equal(resolve(SF_ENTRY_CUSTOMER, "veth*", NULL), 0);
	assert_int_equal(resolve(SF_ENTRY_CUSTOMER, "tap1", "192.0.2.0/24,2001:db8::/64"), 0);
	assert_int_not_equal(resolve(SF_ENTRY_CUSTOMER, "", NULL), 0);
	assert_int_not_equal(resolve(SF_ENTRY_CUSTOMER, "a,b", NULL), 0);
	assert_int_not_equal(resolve(SF_ENTRY_CUSTOMER, "tap1", "192.0.2.1/24"), 0);
}

/* What the commands keep reads as what was meant. */
static void entries_survive_the_file(void **state)
{
	struct sf_entry source = {.kind = SF_ENTRY_ALLOW_SOURCE, .managed = 1};
	struct sf_error err = {.code = 0};
	struct sf_policy policy, read;
	struct sf_entry *found;
	char *text, name[] = "/tmp/sf-unit-XXXXXX";
	int fd;

	(void)state;
	sf_policy_init(&policy);
	strcpy(source.value, "192.0.2.0/24");
	source.user_names = strdup("tap*,eth1");
	strcpy(source.comment, "a \"quoted\" one");
	assert_int_equal(sf_entry_resolve(&source, &err), 0);
	assert_int_equal(sf_policy_put(&policy, &source), 0);
	fd = mkstemp(name); /* the administrator's file: nothing in it */
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "\n", 1), 1);
	text = sf_managed_text(&policy, 0);
	assert_int_equal(sf_managed_check(name, text, 0, &read, &err), 0);
	close(fd);
	unlink(name);
	found = sf_policy_find(&read, SF_ENTRY_ALLOW_SOURCE, "192.0.2.0/24");
	assert_non_null(found);
	assert_string_equal(found->user_names, "tap*,eth1");
	assert_string_equal(found->comment, "a \"quoted\" one");
	assert_int_equal(found->net.family, SF_FAMILY_V4);
	free(text);
	sf_policy_free(&read);
	sf_policy_free(&policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gateway_decides),
		cmocka_unit_test(guard_decides),
		cmocka_unit_test(rate_is_kept),
		cmocka_unit_test(rate_by_chance),
		cmocka_unit_test(names_match),
		cmocka_unit_test(entries_are_checked),
		cmocka_unit_test(entries_survive_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
