/* SPDX-License-Identifier: GPL-2.0-only */
/* A history in a directory of its own, filled, asked, and looked at from outside: for its tests. */
#ifndef SF_TESTS_UNIT_HISTORY_LAB_H
#define SF_TESTS_UNIT_HISTORY_LAB_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <sqlite3.h>
#include "tree.h"
#include "../../user/history.h"

#define WEB1  "web1 /system.slice/php.service"
#define HOUR  3600
#define BEGIN 1795392000 /* an hour's, and a day's: 2026-11-23T00:00:00Z */

static struct sf_error err;
static char directory[PATH_MAX];
static char file[PATH_MAX + 16];
static char aside[PATH_MAX];

static inline void in(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/%s/", name);
	snprintf(directory, sizeof(directory), "%s", tree_path(path));
	directory[strlen(directory) - 1] = '\0';
	snprintf(file, sizeof(file), "%s/history.db", directory);
}

static inline struct sf_history *opened(int flags)
{
	struct sf_history *h = NULL;
	int ret = sf_history_open(directory, flags, &h, aside, sizeof(aside), &err);

	if (ret)
		fail_msg("open: %d: %s", ret, err.text);
	assert_non_null(h);
	return h;
}

static inline int add(struct sf_history *h, const char *who, int64_t hour, uint64_t fenced)
{
	struct sf_hour delta = {.hour = hour, .syn = fenced + 1, .fenced = fenced};

	snprintf(delta.who, sizeof(delta.who), "%s", who);
	delta.distinct = fenced / 2;
	return sf_history_add(h, &delta);
}

struct seen {
	size_t count, stop;
	struct sf_hour hour[64];
	struct sf_history_alarm alarm[16];
	char who[64][SF_HISTORY_WHO_MAX];
	uint64_t fenced[64], sum;
};

static struct seen seen;

static inline int see_hour(void *context, const struct sf_hour *hour)
{
	struct seen *s = context;

	if (s->count < 64)
		s->hour[s->count] = *hour;
	s->sum += hour->fenced;
	return ++s->count == s->stop;
}

static inline int see_alarm(void *context, const struct sf_history_alarm *alarm)
{
	struct seen *s = context;

	if (s->count < 16)
		s->alarm[s->count] = *alarm;
	return ++s->count == s->stop;
}

static inline int see_who(void *context, const char *who, uint64_t fenced)
{
	struct seen *s = context;

	if (s->count < 64) {
		snprintf(s->who[s->count], sizeof(s->who[0]), "%s", who);
		s->fenced[s->count] = fenced;
	}
	return ++s->count == s->stop;
}

static inline size_t hours(struct sf_history *h, const char *who, int64_t from, int64_t to)
{
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(sf_history_hours(h, who, from, to, see_hour, &seen), 0);
	return seen.count;
}

static inline size_t alarms(struct sf_history *h, const char *who, int64_t from, int64_t to)
{
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(sf_history_alarms(h, who, from, to, see_alarm, &seen), 0);
	return seen.count;
}

static inline size_t find(struct sf_history *h, const char *text)
{
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(sf_history_find(h, text, 64, see_who, &seen), 0);
	return seen.count;
}

static inline int64_t raise_alarm(struct sf_history *h, const char *who, int64_t when)
{
	struct sf_history_alarm alarm = {.raised = when, .rule = "rate_warn", .severity = "notice"};

	snprintf(alarm.who, sizeof(alarm.who), "%s", who);
	snprintf(alarm.text, sizeof(alarm.text), "window=17");
	assert_int_equal(sf_history_raise(h, &alarm), 0);
	assert_true(alarm.id > 0);
	return alarm.id;
}

/* What another program sees: SQL on the file. */
static inline int64_t sql(const char *text)
{
	sqlite3_stmt *s = NULL;
	sqlite3 *db = NULL;
	int64_t n = -1;

	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, text, -1, &s, NULL), SQLITE_OK);
	if (sqlite3_step(s) == SQLITE_ROW)
		n = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	return n;
}

static inline uint64_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : (uint64_t)st.st_size;
}

/* A thousand senders an hour, for `count` hours. */
static inline void fill(struct sf_history *h, int count)
{
	char who[64];

	for (int hour = 0; hour < count; hour++) {
		assert_int_equal(sf_history_begin(h), 0);
		for (int i = 0; i < 1000; i++) {
			snprintf(who, sizeof(who), "user%d /system.slice/site%d.service", i, i);
			assert_int_equal(add(h, who, BEGIN + hour * HOUR, 1), 0);
		}
		assert_int_equal(sf_history_commit(h), 0);
	}
}

#endif
