// SPDX-License-Identifier: GPL-2.0-only
/* The engine and what goes wrong: entries made anew, clocks, full tables, restarts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include "engine_lab.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(made_anew),  T(clocks),     T(huge_counts),
		T(full_table), T(taken_over), T(wrong_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
