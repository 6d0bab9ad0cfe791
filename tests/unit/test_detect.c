// SPDX-License-Identifier: GPL-2.0-only
/*
 * Detection against a plain list of all denials: the window to the second, alerts neither missed
 * nor repeated, every denial told once, and memory that no number of senders moves.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../../user/detect.h"

static const struct sf_detect_limits usual = {.denied = 10, .window = 60, .cooldown = 3600};
#define SITE 4711 /* a cgroup; where nothing else is said, all are in it */

static struct sf_detect detect;
static uint32_t seed;

static uint32_t any(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)seed * below >> 32);
}

static void with(uint32_t denied, uint32_t window, uint32_t cooldown)
{
	const struct sf_detect_limits limits = {denied, window, cooldown};

	sf_detect_free(&detect);
	assert_int_equal(sf_detect_init(&detect, &limits), 0);
}

static int end(void **state)
{
	(void)state;
	sf_detect_free(&detect);
	return 0;
}

static void is(struct sf_finding f, enum sf_signal signal, uint64_t count, uint64_t swallowed)
{
	assert_int_equal(f.signal, signal);
	assert_int_equal(f.count, count);
	assert_int_equal(f.swallowed, swallowed);
}

static void ten_in_sixty_seconds(void **state)
{
	(void)state;
	/* Wherever in the ring of buckets it begins. */
	for (int64_t start = 0; start < 200; start++) {
		with(10, 60, 3600);
		is(sf_detect_denied(&detect, SITE, 7, 1, start), SF_SIGNAL_FIRST, 1, 0);
		for (uint64_t n = 2; n <= 9; n++)
			is(sf_detect_denied(&detect, SITE, 7, 1, start + 1), SF_SIGNAL_NONE, n, 0);
		/* Another user's denials are not his. */
		is(sf_detect_denied(&detect, SITE, 8, 1, start + 2), SF_SIGNAL_FIRST, 1, 0);
		is(sf_detect_denied(&detect, SITE, 7, 1, start + 59), SF_SIGNAL_CROSSED, 10, 8);
		is(sf_detect_denied(&detect, SITE, 7, 1, start + 59), SF_SIGNAL_NONE, 11, 0);

		/* One second later the first has left the window: nine are no alert. */
		with(10, 60, 3600);
		is(sf_detect_denied(&detect, SITE, 7, 1, start), SF_SIGNAL_FIRST, 1, 0);
		is(sf_detect_denied(&detect, SITE, 7, 8, start + 1), SF_SIGNAL_NONE, 9, 0);
		is(sf_detect_denied(&detect, SITE, 7, 1, start + 60), SF_SIGNAL_NONE, 9, 0);
		is(sf_detect_denied(&detect, SITE, 7, 1, start + 60), SF_SIGNAL_CROSSED, 10, 9);
		is(sf_detect_denied(&detect, SITE, 7, 1, start + 121), SF_SIGNAL_NONE, 1, 0);
	}
	with(10, 60, 3600);
	is(sf_detect_denied(&detect, SITE, 7, 10, 5), SF_SIGNAL_CROSSED, 10, 0); /* all at once */
	with(1, 60, 3600);
	is(sf_detect_denied(&detect, SITE, 7, 1, 5), SF_SIGNAL_CROSSED, 1, 0);
	with(2, 1, 3600);
	is(sf_detect_denied(&detect, SITE, 7, 1, 5), SF_SIGNAL_FIRST, 1, 0);
	is(sf_detect_denied(&detect, SITE, 7, 1, 6), SF_SIGNAL_NONE, 1, 0);
	is(sf_detect_denied(&detect, SITE, 7, 1, 6), SF_SIGNAL_CROSSED, 2, 1);
}

/* For every window that can be set: nothing older is counted, and what is well within is. */
static void any_window(void **state)
{
	enum { EVENTS = 300 };
	int64_t at[EVENTS];

	(void)state;
	for (uint32_t window = 1; window <= 3600; window += window < 200 ? 1 : 37) {
		int64_t width = (window + SF_WINDOW_BUCKETS - 1) / SF_WINDOW_BUCKETS;
		int64_t now = any(100000);

		with(1000000, window, 10);
		for (int n = 0; n < EVENTS; n++) {
			uint64_t most = 0, least = 0, count;

			now += any(any(10) ? (window + 15) / 16 : 3 * window);
			at[n] = now;
			for (int i = 0; i <= n; i++) {
				most += now - at[i] < window;
				least += now - at[i] <= (int64_t)window - 2 * width + 1;
			}
			count = sf_detect_denied(&detect, SITE, 7, 1, now).count;
			if (count > most || count < least || (width == 1 && count != most))
				fail_msg("window %u: %llu, not %llu to %llu", window,
					 (unsigned long long)count, (unsigned long long)least,
					 (unsigned long long)most);
		}
	}
}

static void cool_down(void **state)
{
	struct sf_finding f;

	(void)state;
	with(10, 60, 3600);
	is(sf_detect_denied(&detect, SITE, 7, 10, 100), SF_SIGNAL_CROSSED, 10, 0);
	for (int64_t t = 101; t < 3700; t++)
		assert_int_equal(sf_detect_denied(&detect, SITE, 7, 1, t).signal, SF_SIGNAL_NONE);
	/* The cool-down is over, the storm is not: what was swallowed is told. */
	f = sf_detect_denied(&detect, SITE, 7, 1, 3700);
	is(f, SF_SIGNAL_CROSSED, 60, 3599);
	/* Quiet for longer: a first notice again, and then the alert, without waiting. */
	is(sf_detect_denied(&detect, SITE, 7, 1, 7299), SF_SIGNAL_NONE, 1, 0);
	is(sf_detect_denied(&detect, SITE, 7, 1, 7400), SF_SIGNAL_FIRST, 1, 1);
	is(sf_detect_denied(&detect, SITE, 7, 9, 7401), SF_SIGNAL_CROSSED, 10, 0);
	/* No cool-down at all. */
	with(2, 60, 0);
	is(sf_detect_denied(&detect, SITE, 7, 1, 100), SF_SIGNAL_FIRST, 1, 0);
	is(sf_detect_denied(&detect, SITE, 7, 1, 100), SF_SIGNAL_CROSSED, 2, 0);
	is(sf_detect_denied(&detect, SITE, 7, 1, 100), SF_SIGNAL_CROSSED, 3, 0);
}

static uint64_t told;

static void tell(void *context, uint64_t cgroup, uint32_t uid, uint64_t swallowed)
{
	(void)uid;
	(void)cgroup;
	assert_ptr_equal(context, &told);
	assert_true(swallowed > 0);
	told += swallowed;
}

static void judge(uint32_t uid, uint64_t count, int64_t now)
{
	struct sf_finding f = sf_detect_denied(&detect, SITE, uid, count, now);

	if (f.signal != SF_SIGNAL_NONE)
		told += count + f.swallowed;
	else
		assert_int_equal(f.swallowed, 0);
}

static void every_denial_is_told_once(void **state)
{
	(void)state;
	for (uint32_t users = 1; users <= 100000; users *= 10) {
		uint64_t total = 0;
		int64_t now = 1;

		with(10, 60, 300);
		told = 0;
		for (int i = 0; i < 300000; i++) {
			uint64_t count = 1 + any(any(10) ? 2 : 50);

			now += any(20) == 0;
			total += count;
			judge(any(users), count, now);
			if (any(1000) == 0) {
				now += any(400);
				sf_detect_expire(&detect, now, tell, &told);
			}
			assert_true(told <= total);
		}
		sf_detect_expire(&detect, now + 300, tell, &told);
		/* What evicted users had swallowed is not lost either. */
		assert_int_equal(told + detect.untold, total);
		sf_detect_expire(&detect, now + 10000, tell, &told);
		assert_int_equal(told + detect.untold, total);
	}
}

static void summary_after_the_cool_down(void **state)
{
	(void)state;
	with(10, 60, 300);
	told = 0;
	sf_detect_expire(&detect, 1000, tell, &told); /* nobody there */
	sf_detect_denied(&detect, SITE, 7, 10, 1000);
	sf_detect_denied(&detect, SITE, 7, 5, 1001);
	sf_detect_expire(&detect, 1299, tell, &told);
	assert_int_equal(told, 0);
	sf_detect_expire(&detect, 1300, tell, &told);
	assert_int_equal(told, 5);
	sf_detect_expire(&detect, 1301, tell, &told);
	assert_int_equal(told, 5);
	is(sf_detect_denied(&detect, SITE, 7, 1, 1400), SF_SIGNAL_FIRST, 1, 0);
}

static void clocks(void **state)
{
	(void)state;
	/* Standing still, at any moment, the first second of a boot too. */
	for (int64_t now = 0; now < 3; now++) {
		with(10, 60, 3600);
		is(sf_detect_denied(&detect, SITE, 7, 1, now), SF_SIGNAL_FIRST, 1, 0);
		for (uint64_t n = 2; n < 10; n++)
			is(sf_detect_denied(&detect, SITE, 7, 1, now), SF_SIGNAL_NONE, n, 0);
		is(sf_detect_denied(&detect, SITE, 7, 1, now), SF_SIGNAL_CROSSED, 10, 8);
		is(sf_detect_denied(&detect, SITE, 7, 1, now), SF_SIGNAL_NONE, 11, 0);
	}
	/* Backwards (it never should): nothing breaks, nothing is counted twice. */
	with(10, 60, 3600);
	sf_detect_denied(&detect, SITE, 7, 1, 100000);
	is(sf_detect_denied(&detect, SITE, 7, 1, 5), SF_SIGNAL_NONE, 2, 0);
	/* A leap over everything. */
	is(sf_detect_denied(&detect, SITE, 7, 1, INT64_MAX / 2), SF_SIGNAL_FIRST, 1, 1);
}

static void counts_that_are_too_large(void **state)
{
	struct sf_finding f;

	(void)state;
	with(10, 60, 3600);
	f = sf_detect_denied(&detect, SITE, 7, UINT64_MAX / 2, 100);
	assert_int_equal(f.signal, SF_SIGNAL_CROSSED);
	assert_int_equal(f.count, UINT32_MAX);
	sf_detect_denied(&detect, SITE, 7, UINT32_MAX, 100);
	assert_int_equal(sf_detect_denied(&detect, SITE, 7, 1, 101).count,
			 (uint64_t)UINT32_MAX + 1);
}

static void storm_of_users(void **state)
{
	uint32_t held = 0;

	(void)state;
	with(10, 60, 3600);
	/* One that stays busy keeps its place and its count. */
	for (uint32_t uid = 1000; uid < 101000; uid++) {
		int64_t now = 10 + uid / 1000;

		is(sf_detect_denied(&detect, SITE, uid, 1, now), SF_SIGNAL_FIRST, 1, 0);
		assert_true(sf_detect_denied(&detect, SITE, 5, 1, now).count > (uid - 1000) % 1000);
	}
	for (uint32_t i = 0; i < SF_DETECT_PLACES; i++)
		held += detect.user[i].used + detect.site[i].used;
	assert_true(held > 2 * SF_DETECT_PLACES * 9 / 10);
	assert_int_equal(detect.forgotten + held, 2 * 100001);
}

/* The same user in many containers: uids a subordinate range (65,536) apart. */
static void uids_of_containers(void **state)
{
	static const uint32_t strides[] = {1, 10, 100, 1000, 4096, 10000, 65536, 100000, 1 << 20};

	(void)state;
	for (size_t s = 0; s < sizeof(strides) / sizeof(strides[0]); s++) {
		with(10, 60, 3600);
		for (uint32_t i = 0; i < 400; i++)
			sf_detect_denied(&detect, SITE, 100033 + i * strides[s], 1, 100);
		if (detect.forgotten)
			fail_msg("stride %u: %llu of 400 forgotten", strides[s],
				 (unsigned long long)detect.forgotten);
	}
}

static void other_limits(void **state)
{
	struct sf_detect_limits limits = usual;

	(void)state;
	/* From slices of 1 s to 10 s and back: old counts must not stay for ever. */
	for (int round = 0; round < 2; round++) {
		with(10, round ? 600 : 60, 3600);
		sf_detect_denied(&detect, SITE, 7, 9, 10000);
		limits.window = round ? 60 : 600;
		sf_detect_limit(&detect, &limits);
		is(sf_detect_denied(&detect, SITE, 7, 1, 10700), SF_SIGNAL_NONE, 1, 0);
		is(sf_detect_denied(&detect, SITE, 7, 8, 10701), SF_SIGNAL_NONE, 9, 0);
		is(sf_detect_denied(&detect, SITE, 7, 1, 10702), SF_SIGNAL_CROSSED, 10, 9);
	}
	/* The same grain: what was counted stays. */
	with(10, 60, 3600);
	sf_detect_denied(&detect, SITE, 7, 4, 10000);
	limits = (struct sf_detect_limits){.denied = 5, .window = 30, .cooldown = 3600};
	sf_detect_limit(&detect, &limits);
	is(sf_detect_denied(&detect, SITE, 7, 1, 10029), SF_SIGNAL_CROSSED, 5, 0);
	is(sf_detect_denied(&detect, SITE, 7, 1, 10030), SF_SIGNAL_NONE, 2, 0);
}

/* Two containers with the same uid: each has its lines, and the one's do not hide the other's. */
static void sites_of_a_user(void **state)
{
	(void)state;
	with(10, 60, 3600);
	is(sf_detect_denied(&detect, 1, 33, 12, 100), SF_SIGNAL_CROSSED, 12, 0);
	is(sf_detect_denied(&detect, 2, 33, 1, 101), SF_SIGNAL_FIRST, 1, 0);
	is(sf_detect_denied(&detect, 2, 33, 8, 102), SF_SIGNAL_NONE, 9, 0);
	is(sf_detect_denied(&detect, 2, 33, 1, 103), SF_SIGNAL_CROSSED, 10, 8);
	is(sf_detect_denied(&detect, 1, 33, 5, 104), SF_SIGNAL_NONE, 17, 0);
	is(sf_detect_denied(&detect, 1, 34, 1, 104), SF_SIGNAL_FIRST, 1, 0);
	is(sf_detect_denied(&detect, 1, 33, 1, 3700), SF_SIGNAL_FIRST, 1, 5);
	/* One denial in each of many cgroups: below the limit everywhere, but for the user. */
	with(10, 60, 3600);
	for (uint64_t cgroup = 1; cgroup < 10; cgroup++)
		is(sf_detect_denied(&detect, cgroup, 33, 1, 100), SF_SIGNAL_FIRST, 1, 0);
	is(sf_detect_denied(&detect, 10, 33, 1, 101), SF_SIGNAL_CROSSED, 10, 0);
	is(sf_detect_denied(&detect, 11, 33, 1, 102), SF_SIGNAL_FIRST, 1, 0);
	is(sf_detect_denied(&detect, 11, 33, 1, 102), SF_SIGNAL_NONE, 2, 0);
}

/* Cgroups are free to make for whoever has a session: neither lines nor counts follow their number.
 */
static void storm_of_cgroups(void **state)
{
	uint64_t lines = 0, total = 0;

	(void)state;
	with(10, 60, 3600);
	told = 0;
	for (uint64_t cgroup = 1; cgroup <= 100000; cgroup++) {
		uint64_t before = told;

		for (int i = 0; i < 3; i++) {
			struct sf_finding f = sf_detect_denied(&detect, cgroup, 33, 7,
							       100 + (int64_t)cgroup / 100);

			total += 7;
			told += f.signal == SF_SIGNAL_NONE ? 0 : 7 + f.swallowed;
		}
		lines += told != before;
	}
	assert_true(lines >= 10 && lines <= SF_DETECT_LINES);
	/* Others are told of all the while, and their places were few. */
	is(sf_detect_denied(&detect, 7, 34, 1, 1100), SF_SIGNAL_FIRST, 1, 0);
	sf_detect_expire(&detect, 100000, tell, &told);
	assert_int_equal(told + detect.untold, total);
}

/* What a process before this one told cools down as if it were ours. */
static void told_before(void **state)
{
	(void)state;
	with(10, 60, 3600);
	sf_detect_told(&detect, 1, 33, SF_SIGNAL_CROSSED, 1000);
	sf_detect_told(&detect, 2, 33, SF_SIGNAL_FIRST, 1000);
	is(sf_detect_denied(&detect, 1, 33, 50, 1200), SF_SIGNAL_NONE, 50, 0);
	is(sf_detect_denied(&detect, 2, 33, 1, 1200), SF_SIGNAL_NONE, 1, 0);
	is(sf_detect_denied(&detect, 3, 33, 1, 1200), SF_SIGNAL_FIRST, 1, 0);
	is(sf_detect_denied(&detect, 2, 33, 9, 1201), SF_SIGNAL_CROSSED, 10, 1);
	is(sf_detect_denied(&detect, 1, 33, 10, 4600), SF_SIGNAL_CROSSED, 10, 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(ten_in_sixty_seconds, end),
		cmocka_unit_test_teardown(any_window, end),
		cmocka_unit_test_teardown(cool_down, end),
		cmocka_unit_test_teardown(every_denial_is_told_once, end),
		cmocka_unit_test_teardown(summary_after_the_cool_down, end),
		cmocka_unit_test_teardown(clocks, end),
		cmocka_unit_test_teardown(counts_that_are_too_large, end),
		cmocka_unit_test_teardown(storm_of_users, end),
		cmocka_unit_test_teardown(uids_of_containers, end),
		cmocka_unit_test_teardown(other_limits, end),
		cmocka_unit_test_teardown(sites_of_a_user, end),
		cmocka_unit_test_teardown(storm_of_cgroups, end),
		cmocka_unit_test_teardown(told_before, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
