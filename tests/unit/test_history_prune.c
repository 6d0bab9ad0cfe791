// SPDX-License-Identifier: GPL-2.0-only
/* History: what is too old or too much goes, the rest stays; and what it costs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include <sqlite3.h>
#include "history_lab.h"

static void pruned_by_age(void **state)
{
	struct sf_history *h;
	int64_t old, lasting;

	(void)state;
	in("age");
	h = opened(SF_HISTORY_WRITE);
	for (int day = 0; day < 10; day++)
		assert_int_equal(add(h, day < 2 ? "gone" : WEB1, BEGIN + day * 86400, 5), 0);
	old = raise_alarm(h, WEB1, BEGIN);
	lasting = raise_alarm(h, WEB1, BEGIN + 9 * 86400);
	assert_int_equal(sf_history_prune(h, BEGIN + 10 * 86400, 5, UINT64_MAX), 0);
	assert_int_equal(hours(h, NULL, 0, INT64_MAX), 5);
	assert_int_equal(seen.hour[0].hour, BEGIN + 5 * 86400);
	assert_int_equal(alarms(h, NULL, 0, INT64_MAX), 1);
	assert_int_equal(seen.alarm[0].id, lasting);
	assert_int_equal(sf_history_clear(h, old, BEGIN), -ENOENT);
	assert_int_equal(sf_history_known(h, "gone"), 0);
	assert_int_equal(find(h, ""), 1);
	assert_int_equal(sf_history_begin(h), 0);
	assert_int_equal(sf_history_prune(h, BEGIN, 5, 0), -EINVAL);
	assert_int_equal(sf_history_commit(h), 0);
	sf_history_close(h);
}

static void pruned_by_size(void **state)
{
	const uint64_t bound = 1 << 20;
	struct sf_history *h;
	size_t left;

	(void)state;
	in("size");
	h = opened(SF_HISTORY_WRITE);
	fill(h, 64);
	raise_alarm(h, WEB1, BEGIN);
	raise_alarm(h, WEB1, BEGIN + 63 * HOUR);
	assert_true(sql("PRAGMA page_count") * 4096 > 2 * (int64_t)bound);
	assert_int_equal(sf_history_prune(h, BEGIN, 9999, bound), 0);
	assert_true(sql("PRAGMA page_count") * 4096 <= (int64_t)bound);
	left = hours(h, NULL, 0, INT64_MAX);
	assert_true(left > 5000 && left < 50000);
	assert_true(hours(h, NULL, BEGIN + 63 * HOUR, INT64_MAX) == 1000); /* the newest stay */
	assert_int_equal(hours(h, NULL, 0, BEGIN + HOUR), 0);
	assert_int_equal(alarms(h, NULL, 0, INT64_MAX), 1);
	assert_int_equal(seen.alarm[0].raised, BEGIN + 63 * HOUR);
	/* A bound that nothing fits in empties it, and ends. */
	assert_int_equal(sf_history_prune(h, BEGIN, 9999, 0), 0);
	assert_int_equal(hours(h, NULL, 0, INT64_MAX), 0);
	assert_int_equal(alarms(h, NULL, 0, INT64_MAX), 0);
	assert_int_equal(find(h, ""), 0);
	assert_int_equal(add(h, WEB1, BEGIN, 1), 0);
	/* The disk has it back: file and log. */
	sf_history_close(h);
	assert_true(size_of(file) < 64 * 1024);
}

/* What was taken over of the kernel's counts takes its part, but pushes no history out. */
static void pruned_beside_many_totals(void **state)
{
	const uint64_t bound = 4 << 20;
	struct sf_history_total total;
	struct sf_history *h;

	(void)state;
	in("totals");
	h = opened(SF_HISTORY_WRITE);
	fill(h, 128);
	for (int some = 10000; some <= 100000; some *= 10) {
		assert_int_equal(sf_history_begin(h), 0);
		for (int i = 0; i < some; i++) {
			memset(&total, 0, sizeof(total));
			total.who = (struct sf_who){.kind = SF_WHO_SOURCE};
			total.who.key.word[0] = 0x20010db800000000ULL + (unsigned int)i;
			total.first_ns = 1ULL << 50;
			for (int n = 0; n < SF_TOTAL_COUNT; n++)
				total.count[n] = 1000000;
			assert_int_equal(sf_history_total_put(h, &total), 0);
		}
		assert_int_equal(sf_history_commit(h), 0);
		assert_int_equal(sf_history_prune(h, BEGIN, 9999, bound), 0);
		assert_int_equal(sql("SELECT count(*) FROM total"), some);
		/* Few: all fit. Many: a quarter is the history's, and no more. */
		if (some == 10000)
			assert_true(sql("PRAGMA page_count") * 4096 <= (int64_t)bound);
		assert_true(sql("PRAGMA page_count") * 4096 <=
				    (int64_t)(bound / 4 + 100 * (uint64_t)some) ||
			    sql("PRAGMA page_count") * 4096 <= (int64_t)bound);
		assert_true(hours(h, NULL, 0, INT64_MAX) > 5000);
		assert_true(hours(h, NULL, BEGIN + 127 * HOUR, INT64_MAX) == 1000);
	}
	sf_history_close(h);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Told, and held within a bound that only a fault exceeds. */
static void fast_and_small(void **state)
{
	struct sf_history *h;
	double begun, took;

	(void)state;
	in("fast");
	h = opened(SF_HISTORY_WRITE);
	fill(h, 24);
	begun = seconds();
	for (int i = 0; i < 20; i++)
		fill(h, 1);
	took = seconds() - begun;
	print_message("1,000 rows in a transaction: %.1f ms; SQLite's memory: %lld KiB at most\n",
		      took / 20 * 1000, (long long)sqlite3_memory_highwater(0) / 1024);
	assert_true(took < 20);
	assert_true(sqlite3_memory_highwater(0) < 3 << 20);
	sf_history_close(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pruned_by_age),
		cmocka_unit_test(pruned_by_size),
		cmocka_unit_test(pruned_beside_many_totals),
		cmocka_unit_test(fast_and_small),
	};

	return cmocka_run_group_tests(tests, tree_setup, tree_teardown);
}
