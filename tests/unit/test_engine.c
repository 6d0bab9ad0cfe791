// SPDX-License-Identifier: GPL-2.0-only
/* The engine's rules, each at its edge: raised once, cleared once, cooled down. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include "engine_lab.h"
#include "../../user/detect/state.h"

static void rate_is_raised_once_and_cleared_once(void **state)
{
	struct sf_tally t = sender(1);

	(void)state;
	for (uint32_t n = 1; n <= 14; n++) {
		t.fenced = t.window = n;
		look(&t, 1000 + n);
	}
	assert_int_equal(all(raised), 0);
	t.fenced = t.window = 15;
	look(&t, 1020);
	assert_int_equal(raised[SF_RULE_RATE_WARN], 1);
	assert_int_equal(last.since, 1020);
	assert_true(last.value == 15 && last.limit == 15);
	assert_int_equal(last.tally.who.key.word[1], 1);
	for (int i = 0; i < 100; i++) {
		t.window = i % 2 ? 13 : 16; /* around the limit: it stays */
		t.fenced++;
		look(&t, 1021 + i);
	}
	assert_int_equal(raised[SF_RULE_RATE_WARN], 1);
	assert_int_equal(cleared[SF_RULE_RATE_WARN], 0);
	t.window = 11;
	look(&t, 1200);
	assert_int_equal(cleared[SF_RULE_RATE_WARN], 1);
	assert_int_equal(last.since, 1020);
	/* Over for less than the cool-down: not again; afterwards again. */
	t.window = 20;
	t.fenced++;
	look(&t, 1200 + 3599);
	assert_int_equal(raised[SF_RULE_RATE_WARN], 1);
	t.fenced++;
	look(&t, 1200 + 3600);
	assert_int_equal(raised[SF_RULE_RATE_WARN], 2);
	/* Quiet: the tick clears, once. */
	for (int i = 0; i < 5000; i++)
		sf_engine_tick(engine, 4800 + i);
	assert_int_equal(cleared[SF_RULE_RATE_WARN], 2);
	assert_int_equal(all(raised), all(cleared));
}

static void act_and_classes(void **state)
{
	struct sf_tally t = sender(1);

	(void)state;
	t.fenced = t.window = 100;
	t.distinct = 600;
	look(&t, 1000);
	assert_int_equal(raised[SF_RULE_RATE_ACT], 1);
	assert_int_equal(raised[SF_RULE_DISTINCT], 1);
	assert_int_equal(raised[SF_RULE_HOUR_WARN], 1);
	/* A mail server has no limits, whatever it does. */
	with(100, 0);
	t.class = SF_CLASS_MAIL;
	t.warn = t.act = 0;
	t.fenced = t.window = 100000;
	t.silent = 50000;
	look(&t, 1000);
	assert_int_equal(all(raised), 0);
	/* A relay's limit for ten minutes is above the hour's: the hour's does not hold. */
	with(100, 0);
	t.class = SF_CLASS_RELAY;
	t.warn = 300;
	t.act = 1000;
	t.distinct = 3;
	t.silent = 0;
	t.fenced = t.window = 250;
	look(&t, 1000);
	assert_int_equal(all(raised), 0);
	/* Limits of 0 are none. */
	memset(&limits, 0, sizeof(limits));
	with(100, 1);
	is_known = 0;
	t = sender(2);
	t.warn = t.act = 0;
	t.fenced = t.window = t.hour = t.day = 1000000;
	t.distinct = 1e6;
	t.refused = 1000000;
	look(&t, 1000);
	assert_int_equal(all(raised), raised[SF_RULE_FIRST]);
}

static void a_sliding_hour(void **state)
{
	struct sf_tally t = sender(1);

	(void)state;
	/* 100 across the edge of an hour, and never 15 in ten minutes. */
	for (uint32_t n = 1; n <= 100; n++) {
		t.fenced = n;
		t.window = 14;
		look(&t, 3600 * 5 - 1500 + 30 * n);
		assert_int_equal(raised[SF_RULE_HOUR_WARN], n == 100);
	}
	/* 90 an hour for days: none. */
	with(100, 0);
	t.fenced = 0;
	for (int n = 0; n < 4000; n++) {
		t.fenced++;
		look(&t, 1000 + 40 * n);
	}
	assert_int_equal(raised[SF_RULE_HOUR_WARN], 0);
}

static void failing(void **state)
{
	struct sf_tally t = sender(1);

	(void)state;
	/* Ever new hosts, and most of them fail. */
	for (int n = 0; n < 40 && !raised[SF_RULE_FAILING]; n++) {
		t.fenced++;
		t.distinct = (double)t.fenced;
		if (n % 4)
			t.refused++;
		else
			t.answered++;
		t.window = 5;
		look(&t, 1000 + 120 * n);
	}
	assert_int_equal(raised[SF_RULE_FAILING], 1);
	assert_true(t.fenced <= 16);
	/* The same three hosts again and again: a queue, and no bot. */
	with(100, 0);
	t = sender(1);
	for (int n = 0; n < 1000; n++) {
		t.fenced++;
		t.distinct = n < 3 ? n + 1 : 3;
		t.silent++;
		look(&t, 1000 + 60 * n);
	}
	assert_int_equal(raised[SF_RULE_FAILING], 0);
	/* What the fence denied is no failure. */
	with(100, 0);
	t = sender(1);
	t.fenced = t.answered = t.window = 3;
	t.distinct = 3;
	for (int n = 0; n < 100; n++) {
		t.denied += 100;
		look(&t, 1000 + n);
	}
	assert_int_equal(all(raised), 0);
	/* Senseless figures switch it off. */
	limits.miss_bad = 0;
	with(100, 0);
	t.refused = 1000;
	t.fenced = 1003;
	t.distinct = 1000;
	look(&t, 1000);
	assert_int_equal(raised[SF_RULE_FAILING], 0);
}

static void its_own_history(void **state)
{
	struct sf_tally t = sender(1);

	(void)state;
	with(100, 1);
	usual = (struct sf_baseline){.known = 1, .hour_limit = 12, .day_limit = 40};
	for (uint32_t n = 1; n <= 12; n++) {
		t.fenced = t.hour = t.day = n;
		t.window = n / 2;
		t.answered = n;
		look(&t, 100 + 60 * n);
		assert_int_equal(raised[SF_RULE_HISTORY], n >= 12);
	}
	assert_int_equal(asked, 1); /* once in this hour */
	/* What fails is not counted. */
	with(100, 1);
	usual = (struct sf_baseline){.known = 1, .hour_limit = 12, .day_limit = 40};
	t = sender(1);
	for (uint32_t n = 1; n <= 300; n++) {
		t.fenced = t.silent = t.hour = t.day = n;
		t.distinct = 1;
		look(&t, 100 + 2 * n);
	}
	assert_int_equal(raised[SF_RULE_HISTORY], 0);
	/* A busy sender's usual is above the warn limit: no warning; but the act limit holds. */
	with(100, 1);
	usual = (struct sf_baseline){.known = 1, .hour_limit = 500, .day_limit = 5000};
	t = sender(1);
	t.fenced = t.window = t.hour = t.day = 99;
	t.answered = 99;
	look(&t, 1000);
	assert_int_equal(all(raised), 0);
	t.fenced = t.window = t.hour = t.day = 101;
	look(&t, 1001);
	assert_int_equal(raised[SF_RULE_RATE_ACT], 1);
	assert_int_equal(raised[SF_RULE_RATE_WARN], 0);
	/* A mail server: five times its day. */
	with(100, 1);
	usual = (struct sf_baseline){.known = 1, .hour_limit = 12, .day_limit = 100};
	t = sender(1);
	t.class = SF_CLASS_MAIL;
	t.warn = t.act = 0;
	t.fenced = t.answered = t.hour = t.day = 499;
	look(&t, 1000);
	assert_int_equal(all(raised), 0);
	t.fenced = t.answered = t.hour = t.day = 500;
	look(&t, 1001);
	assert_int_equal(raised[SF_RULE_HISTORY], 1);
}

static void newcomers(void **state)
{
	struct sf_tally t = sender(1);

	(void)state;
	with(100, 1);
	is_known = 0;
	for (uint32_t n = 1; n <= 10; n++) {
		t.fenced = t.window = n;
		t.distinct = n;
		look(&t, 1000 + 55 * n);
		assert_int_equal(raised[SF_RULE_FIRST], 1);
		assert_int_equal(raised[SF_RULE_NEWCOMER], n == 10);
	}
	/* To one relay: nobody minds. */
	with(100, 1);
	is_known = 0;
	t = sender(1);
	t.distinct = 1;
	for (uint32_t n = 1; n <= 14; n++) {
		t.fenced = t.window = n;
		look(&t, 1000 + 40 * n);
	}
	assert_int_equal(raised[SF_RULE_NEWCOMER], 0);
	/* Later, a burst of ten is none; more than one a minute for an hour is. */
	for (uint32_t n = 15; n <= 70; n++) {
		t.fenced = n;
		t.window = 10;
		t.distinct = n < 60 ? n - 14 : 46;
		look(&t, 10000 + 60 * (int)n);
	}
	assert_int_equal(raised[SF_RULE_NEWCOMER], 1);
	/* Without history nobody is a newcomer. */
	with(100, 0);
	t.fenced = t.window = 14;
	t.distinct = 14;
	look(&t, 1000);
	assert_int_equal(all(raised), 0);
}

static void crowd(void **state)
{
	(void)state;
	with(1000, 1);
	is_known = 0;
	for (uint64_t id = 1; id <= 9; id++) {
		struct sf_tally t = sender(id);

		t.class = SF_CLASS_USER;
		t.who.kind = SF_WHO_SENDER;
		t.fenced = t.window = 4;
		t.distinct = 4;
		look(&t, 1000 + (int64_t)id * 60);
	}
	assert_int_equal(raised[SF_RULE_CROWD], 0);
	for (uint64_t id = 10; id <= 20; id++) {
		struct sf_tally t = sender(id);

		t.class = SF_CLASS_USER;
		t.who.kind = SF_WHO_SENDER;
		t.fenced = t.window = id % 2 ? 4 : 1;
		t.distinct = (double)t.fenced;
		look(&t, 1000 + (int64_t)id * 60);
	}
	assert_int_equal(raised[SF_RULE_CROWD], 5); /* 11, 13, 15, 17, 19: one mail is no abuse */
}

static void other_port(void **state)
{
	struct sf_tally t = sender(1);

	(void)state;
	sf_engine_other_port(engine, &t, 2526, 1000);
	sf_engine_other_port(engine, &t, 2526, 1001);
	assert_int_equal(raised[SF_RULE_OTHER_PORT], 1);
	assert_string_equal(last.evidence, "port=2526");
	sf_engine_tick(engine, 1000 + 3700);
	assert_int_equal(cleared[SF_RULE_OTHER_PORT], 1);
	sf_engine_tick(engine, 1000 + 9999);
	assert_int_equal(cleared[SF_RULE_OTHER_PORT], 1);
}

static void names(void **state)
{
	(void)state;
	for (int i = 0; i < SF_RULE_COUNT; i++)
		assert_non_null(sf_rule_names[i]);
	for (int i = 0; i < SF_CLASS_COUNT; i++)
		assert_non_null(sf_class_names[i]);
	assert_true(sizeof(struct sf_state) * 65536 < 14 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(rate_is_raised_once_and_cleared_once),
		T(act_and_classes),
		T(a_sliding_hour),
		T(failing),
		T(its_own_history),
		T(newcomers),
		T(crowd),
		T(other_port),
		T(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
