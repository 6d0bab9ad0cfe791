/* SPDX-License-Identifier: GPL-2.0-only */
/* An engine whose alarms are counted, and whose history says what a test wants. */
#ifndef SF_TESTS_UNIT_ENGINE_LAB_H
#define SF_TESTS_UNIT_ENGINE_LAB_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "../../user/detect/engine.h"

#define WALL 1700000000LL

static struct sf_engine *engine;
static struct sf_engine_limits limits;
static int raised[SF_RULE_COUNT], cleared[SF_RULE_COUNT], asked;
static struct sf_alarm last;
static struct sf_baseline usual;
static int is_known;

static inline void on_alarm(void *context, const struct sf_alarm *alarm)
{
	assert_ptr_equal(context, &engine);
	assert_true(strlen(alarm->evidence) > 0 || !alarm->raised);
	(alarm->raised ? raised : cleared)[alarm->rule]++;
	last = *alarm;
}

static inline void on_baseline(void *context, const struct sf_who *who, int64_t now,
			       struct sf_baseline *baseline)
{
	(void)context;
	(void)who;
	assert_true(now >= WALL - 100000);
	asked++;
	*baseline = usual;
}

static inline int on_known(void *context, const struct sf_who *who)
{
	(void)context;
	(void)who;
	return is_known;
}

static inline void with(size_t senders, int history)
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

static inline int begin(void **state)
{
	(void)state;
	sf_engine_limits_default(&limits);
	with(100, 0);
	return 0;
}

static inline int end(void **state)
{
	(void)state;
	sf_engine_free(engine);
	engine = NULL;
	return 0;
}

static inline struct sf_tally sender(uint64_t id)
{
	return (struct sf_tally){.who = {.kind = SF_WHO_SOURCE, .key = {{0, id}}},
				 .class = SF_CLASS_UNKNOWN,
				 .warn = 15,
				 .act = 100};
}

static inline void look(const struct sf_tally *t, int64_t now)
{
	sf_engine_look(engine, t, now, WALL + now);
}

static inline int all(const int *counts)
{
	int sum = 0;

	for (int i = 0; i < SF_RULE_COUNT; i++)
		sum += counts[i];
	return sum;
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

#endif
