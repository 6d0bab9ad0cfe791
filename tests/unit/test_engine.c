// SPDX-License-Identifier: GPL-2.0-only
/*
 * The engine: every alarm raised once and cleared once, cool-downs, entries made anew, clocks,
 * full tables, and each rule at its edge.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "../../user/detect/engine.h"
#include "../../user/detect/state.h"

#define WALL 1700000000LL

static struct sf_engine *engine;
static struct sf_engine_limits limits;
static int raised[SF_RULE_COUNT], cleared[SF_RULE_COUNT], asked;
static struct sf_alarm last;
static struct sf_baseline usual;
static int is_known;

static void on_alarm(void *context, const struct sf_alarm *alarm)
{
	assert_ptr_equal(context, &engine);
	assert_true(strlen(alarm->evidence) > 0 || !alarm->raised);
	(alarm->raised ? raised : cleared)[alarm->rule]++;
	last = *alarm;
}

static void on_baseline(void *context, const struct sf_who *who, int64_t now,
			struct sf_baseline *baseline)
{
	(void)context;
	(void)who;
	assert_true(now >= WALL - 100000);
	asked++;
	*baseline = usual;
}

static int on_known(void *context, const struct sf_who *who)
{
	(void)context;
	(void)who;
	return is_known;
}

static void with(size_t senders, int history)
{
	struct sf_engine_hooks hooks = {.context = &engine, .alarm = on_alarm};

	if (history) {
		hooks.baseline = on_baseline;
		hooks.known = on_known;
	}
	sf_engine_free(engine);
	engine = NULL;
	memset(raised, 0, sizeof(raised));
	memset(cleared, 0, sizeof(cleared));
	asked = 0;
	is_known = 1;
	usual = (struct sf_baseline){.known = 0};
	assert_int_equal(sf_engine_new(senders, &limits, &hooks, &engine), 0);
}

static int begin(void **state)
{
	(void)state;
	sf_engine_limits_default(&limits);
	with(100, 0);
	return 0;
}

static int end(void **state)
{
	(void)state;
	sf_engine_free(engine);
	engine = NULL;
	return 0;
}

static struct sf_tally sender(uint64_t id)
{
	return (struct sf_tally){.who = {.kind = SF_WHO_SOURCE, .key = {{0, id}}},
				 .class = SF_CLASS_UNKNOWN,
				 .warn = 15,
				 .act = 100};
}

static void look(const struct sf_tally *t, int64_t now)
{
	sf_engine_look(engine, t, now, WALL + now);
}

static int all(const int *counts)
{
	int sum = 0;

	for (int i = 0; i < SF_RULE_COUNT; i++)
		sum += counts[i];
	return sum;
}

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

/* The census made the entry anew: its small counts are new connections, not negative ones. */
static void made_anew(void **state)
{
	struct sf_tally t = sender(1);

	(void)state;
	t.fenced = 1000000;
	t.answered = 900000;
	t.refused = 100000;
	t.window = 5; /* old counts are not of this hour */
	look(&t, 1000);
	assert_int_equal(all(raised), 0);
	t = sender(1);
	for (uint32_t n = 1; n < 95; n++) {
		t.fenced = n;
		t.answered = n;
		t.window = 5;
		look(&t, 1000 + n);
	}
	assert_int_equal(all(raised), 0);
	t.fenced = 96;
	look(&t, 1200);
	assert_int_equal(raised[SF_RULE_HOUR_WARN], 1); /* 5 and 95 and no more */
}

static void clocks(void **state)
{
	struct sf_tally t = sender(1);

	(void)state;
	t.fenced = t.window = 15;
	look(&t, 100000);
	look(&t, 5);
	sf_engine_tick(engine, -100);
	sf_engine_tick(engine, INT64_MIN);
	look(&t, 0);
	assert_int_equal(raised[SF_RULE_RATE_WARN], 1);
	assert_int_equal(all(cleared), 0);
	/* A leap over everything, to the end of time. */
	sf_engine_tick(engine, INT64_MAX);
	assert_int_equal(cleared[SF_RULE_RATE_WARN], 1);
	sf_engine_look(engine, &t, INT64_MAX, INT64_MIN);
	sf_engine_look(engine, &t, INT64_MIN, INT64_MAX);
	/* The wall clock set back: the hour begins anew, nothing is raised twice. */
	with(100, 1);
	usual = (struct sf_baseline){.known = 1, .hour_limit = 12, .day_limit = 40};
	t = sender(1);
	t.fenced = t.answered = t.hour = t.day = 20;
	look(&t, 90000);
	sf_engine_look(engine, &t, 90001, WALL);
	sf_engine_look(engine, &t, 90002, WALL + 200000);
	assert_int_equal(raised[SF_RULE_HISTORY], 1);
}

static void huge_counts(void **state)
{
	struct sf_tally t = sender(1);

	(void)state;
	t.fenced = UINT64_MAX;
	t.answered = t.silent = UINT64_MAX / 2;
	t.refused = UINT64_MAX;
	t.untracked = UINT64_MAX;
	t.window = t.hour = t.day = UINT32_MAX;
	t.distinct = 1e300;
	look(&t, 1000);
	assert_int_equal(raised[SF_RULE_RATE_ACT], 1);
	t.fenced = 1;
	look(&t, 1001);
	t.fenced = UINT64_MAX;
	look(&t, 1002);
	assert_int_equal(raised[SF_RULE_RATE_ACT], 1);
}

static void full_table(void **state)
{
	uint64_t forgotten;

	(void)state;
	with(100, 0);
	/* One that stays active keeps its place; an alarm of one that goes is told as over. */
	for (uint64_t id = 1; id <= 10000; id++) {
		struct sf_tally t = sender(id), busy = sender(1000000);

		busy.fenced = id;
		look(&busy, 1000 + (int64_t)id);
		t.fenced = t.window = 20;
		look(&t, 1000 + (int64_t)id);
	}
	sf_engine_losses(engine, &forgotten);
	assert_int_equal(forgotten, 10001 - 100);
	assert_int_equal(raised[SF_RULE_RATE_WARN], 10000);
	assert_int_equal(raised[SF_RULE_HOUR_WARN], 1); /* the busy one was never forgotten */
	sf_engine_tick(engine, 1000000);
	assert_int_equal(all(cleared), all(raised));
	/* Without SMTP no place is taken. */
	with(1, 0);
	for (uint64_t id = 1; id < 100; id++) {
		struct sf_tally t = sender(id);

		t.syn = t.denied = 1000;
		look(&t, 1000);
	}
	sf_engine_losses(engine, &forgotten);
	assert_int_equal(forgotten, 0);
}

static struct sf_earlier before;

static void on_earlier(void *context, const struct sf_who *who, struct sf_earlier *earlier)
{
	(void)context;
	if (who->key.word[1] == 1)
		*earlier = before;
}

/* What an engine before this one raised lasts, is over once, and cools down. */
static void taken_over(void **state)
{
	const struct sf_engine_hooks hooks = {
		.context = &engine, .alarm = on_alarm, .earlier = on_earlier};
	struct sf_tally t = sender(1), other = sender(2);

	(void)state;
	for (int is_over = 0; is_over < 2; is_over++) {
		with(100, 0);
		sf_engine_free(engine);
		assert_int_equal(sf_engine_new(100, &limits, &hooks, &engine), 0);
		memset(before.ago, 0xff, sizeof(before.ago));
		before.raised = is_over ? 0 : 1 << SF_RULE_RATE_WARN | 1 << SF_RULE_HOUR_WARN;
		before.ago[SF_RULE_RATE_WARN] = before.ago[SF_RULE_HOUR_WARN] = 100;
		t.window = other.window = 20;
		t.fenced = other.fenced = 20;
		look(&t, 1000);
		look(&other, 1000);
		/* Told before; the other was not. */
		assert_int_equal(raised[SF_RULE_RATE_WARN], 1);
		assert_int_equal(last.tally.who.key.word[1], 2);
		t.window = 2;
		look(&t, 1700);
		/* The hour's own count is not known yet: only the window can say that it is over.
		 */
		assert_int_equal(cleared[SF_RULE_RATE_WARN], !is_over);
		assert_int_equal(cleared[SF_RULE_HOUR_WARN], 0);
		if (!is_over)
			assert_int_equal(last.since, 900);
		t.window = 20;
		t.fenced += 18;
		look(&t, 1800);
		assert_int_equal(raised[SF_RULE_RATE_WARN], 1); /* cooling down */
		look(&t, 1000 + 3700 + 700);
		assert_int_equal(raised[SF_RULE_RATE_WARN], 2);
		assert_int_equal(cleared[SF_RULE_HOUR_WARN], !is_over); /* seen for an hour */
	}
}

static void wrong_sizes(void **state)
{
	struct sf_engine_hooks hooks = {.context = NULL};
	struct sf_engine *e = NULL;

	(void)state;
	assert_int_equal(sf_engine_new(0, &limits, &hooks, &e), -EINVAL);
	assert_int_equal(sf_engine_new(SIZE_MAX, &limits, &hooks, &e), -EINVAL);
	assert_null(e);
	sf_engine_free(NULL);
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
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(rate_is_raised_once_and_cleared_once),
		T(act_and_classes),
		T(a_sliding_hour),
		T(failing),
		T(its_own_history),
		T(newcomers),
		T(crowd),
		T(other_port),
		T(made_anew),
		T(clocks),
		T(huge_counts),
		T(full_table),
		T(taken_over),
		T(wrong_sizes),
		T(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
