// SPDX-License-Identifier: GPL-2.0-only
/* History: what is committed is there, whatever happens to the process, the disk or the file. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <cmocka.h>
#include <sqlite3.h>
#include "tree.h"
#include "smalldisk.h"
#include "../../user/history.h"

#define WEB1  "web1 /system.slice/php.service"
#define HOUR  3600
#define BEGIN 1795392000 /* an hour's, and a day's: 2026-11-23T00:00:00Z */

static struct sf_error err;
static char directory[PATH_MAX];
static char file[PATH_MAX + 16];
static char aside[PATH_MAX];

static void in(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/%s/", name);
	snprintf(directory, sizeof(directory), "%s", tree_path(path));
	directory[strlen(directory) - 1] = '\0';
	snprintf(file, sizeof(file), "%s/history.db", directory);
}

static struct sf_history *opened(int flags)
{
	struct sf_history *h = NULL;
	int ret = sf_history_open(directory, flags, &h, aside, sizeof(aside), &err);

	if (ret)
		fail_msg("open: %d: %s", ret, err.text);
	assert_non_null(h);
	return h;
}

static int add(struct sf_history *h, const char *who, int64_t hour, uint64_t fenced)
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

static int see_hour(void *context, const struct sf_hour *hour)
{
	struct seen *s = context;

	if (s->count < 64)
		s->hour[s->count] = *hour;
	s->sum += hour->fenced;
	return ++s->count == s->stop;
}

static int see_alarm(void *context, const struct sf_history_alarm *alarm)
{
	struct seen *s = context;

	if (s->count < 16)
		s->alarm[s->count] = *alarm;
	return ++s->count == s->stop;
}

static int see_who(void *context, const char *who, uint64_t fenced)
{
	struct seen *s = context;

	if (s->count < 64) {
		snprintf(s->who[s->count], sizeof(s->who[0]), "%s", who);
		s->fenced[s->count] = fenced;
	}
	return ++s->count == s->stop;
}

static size_t hours(struct sf_history *h, const char *who, int64_t from, int64_t to)
{
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(sf_history_hours(h, who, from, to, see_hour, &seen), 0);
	return seen.count;
}

static size_t alarms(struct sf_history *h, const char *who, int64_t from, int64_t to)
{
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(sf_history_alarms(h, who, from, to, see_alarm, &seen), 0);
	return seen.count;
}

static size_t find(struct sf_history *h, const char *text)
{
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(sf_history_find(h, text, 64, see_who, &seen), 0);
	return seen.count;
}

static int64_t raise_alarm(struct sf_history *h, const char *who, int64_t when)
{
	struct sf_history_alarm alarm = {.raised = when, .rule = "rate_warn", .severity = "notice"};

	snprintf(alarm.who, sizeof(alarm.who), "%s", who);
	snprintf(alarm.text, sizeof(alarm.text), "window=17");
	assert_int_equal(sf_history_raise(h, &alarm), 0);
	assert_true(alarm.id > 0);
	return alarm.id;
}

/* What another program sees: SQL on the file. */
static int64_t sql(const char *text)
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

static uint64_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : (uint64_t)st.st_size;
}

/* Tests --------------------------------------------------------------------------------------- */

static void made_and_kept(void **state)
{
	struct sf_history *h = NULL;
	struct stat st;

	(void)state;
	in("made");
	umask(0);
	assert_int_equal(sf_history_open(directory, 0, &h, NULL, 0, &err), -ENOENT);
	assert_null(h);
	h = opened(SF_HISTORY_WRITE);
	assert_string_equal(aside, "");
	assert_int_equal(add(h, WEB1, BEGIN, 3), 0);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	sf_history_close(h);
	assert_int_equal(sql("PRAGMA user_version"), 1);
	assert_int_equal(sql("PRAGMA auto_vacuum"), 2);
	assert_int_equal(chmod(file, 0644), 0);
	h = opened(SF_HISTORY_WRITE);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(hours(h, WEB1, 0, INT64_MAX), 1);
	sf_history_close(h);
	sf_history_close(NULL);
	umask(022);
}

static void accumulated(void **state)
{
	struct sf_hour most = {.who = "192.0.2.1", .hour = BEGIN};
	struct sf_history *h;

	(void)state;
	in("accumulated");
	h = opened(SF_HISTORY_WRITE);
	assert_int_equal(sf_history_begin(h), 0);
	assert_int_equal(sf_history_begin(h), -EINVAL);
	assert_int_equal(add(h, WEB1, BEGIN, 10), 0);
	assert_int_equal(add(h, WEB1, BEGIN + HOUR - 1, 4), 0); /* the same hour */
	assert_int_equal(add(h, WEB1, BEGIN + HOUR, 1), 0);
	assert_int_equal(add(h, "192.0.2.1", BEGIN, 7), 0);
	assert_int_equal(sf_history_commit(h), 0);
	assert_int_equal(sf_history_commit(h), -EINVAL);
	assert_int_equal(hours(h, WEB1, BEGIN, BEGIN + 2 * HOUR), 2);
	assert_int_equal(seen.hour[0].hour, BEGIN);
	assert_int_equal(seen.hour[0].fenced, 14);
	assert_int_equal(seen.hour[0].syn, 16);
	assert_int_equal(seen.hour[0].distinct, 5); /* the highest, not the sum */
	assert_string_equal(seen.hour[0].who, WEB1);
	assert_int_equal(seen.hour[1].hour, BEGIN + HOUR);
	/* The edges: from is in, to is not. */
	assert_int_equal(hours(h, WEB1, BEGIN, BEGIN + HOUR), 1);
	assert_int_equal(hours(h, WEB1, BEGIN + 1, BEGIN + HOUR), 0);
	assert_int_equal(hours(h, NULL, 0, INT64_MAX), 3);
	assert_true(seen.hour[0].hour <= seen.hour[1].hour && seen.hour[2].hour == BEGIN + HOUR);
	assert_int_equal(hours(h, "nobody", 0, INT64_MAX), 0);
	seen.count = 0;
	seen.stop = 1;
	assert_int_equal(sf_history_hours(h, NULL, 0, INT64_MAX, see_hour, &seen), 0);
	assert_int_equal(seen.count, 1);
	/* Counts stop at the end, they never turn over. */
	most.syn = most.fenced = most.denied = UINT64_MAX;
	for (int i = 0; i < 3; i++)
		assert_int_equal(sf_history_add(h, &most), 0);
	assert_int_equal(hours(h, "192.0.2.1", 0, INT64_MAX), 1);
	assert_true(seen.hour[0].fenced == INT64_MAX / 2 && seen.hour[0].denied == INT64_MAX / 2);
	/* What is no sender, and no hour. */
	assert_int_equal(add(h, "", BEGIN, 1), -EINVAL);
	assert_int_equal(add(h, WEB1, -1, 1), -EINVAL);
	memset(most.who, 'x', sizeof(most.who));
	assert_int_equal(sf_history_add(h, &most), -EINVAL);
	sf_history_close(h);
	/* Interned: each name once. */
	assert_int_equal(sql("SELECT count(*) FROM who"), 2);
}

static void known_ones(void **state)
{
	struct sf_hour delta = {.who = "a /x", .hour = BEGIN, .syn = 5};
	struct sf_history *h;

	(void)state;
	in("known");
	h = opened(SF_HISTORY_WRITE);
	assert_int_equal(sf_history_known(h, "a /x"), 0);
	assert_int_equal(sf_history_add(h, &delta), 0);
	assert_int_equal(sf_history_known(h, "a /x"), 0); /* other ports only */
	delta.denied = 1;
	assert_int_equal(sf_history_add(h, &delta), 0);
	assert_int_equal(sf_history_known(h, "a /x"), 1);
	assert_int_equal(sf_history_known(h, "a /"), 0);
	assert_int_equal(add(h, "b", BEGIN, 1), 0);
	assert_int_equal(sf_history_known(h, "b"), 1);
	sf_history_close(h);
}

static void alarms_last(void **state)
{
	struct sf_history_alarm nobody = {.rule = "x"};
	struct sf_history *h;
	int64_t one, two;

	(void)state;
	in("alarms");
	h = opened(SF_HISTORY_WRITE);
	one = raise_alarm(h, WEB1, BEGIN);
	two = raise_alarm(h, "192.0.2.1", BEGIN + 100);
	assert_true(one != two);
	assert_int_equal(sf_history_clear(h, one, BEGIN + 50), 0);
	assert_int_equal(sf_history_clear(h, one, BEGIN + 60), 0); /* the first time counts */
	assert_int_equal(sf_history_clear(h, 4711, BEGIN), -ENOENT);
	assert_int_equal(sf_history_raise(h, &nobody), -EINVAL);
	assert_int_equal(alarms(h, NULL, 0, INT64_MAX), 2);
	assert_int_equal(seen.alarm[0].cleared, BEGIN + 50);
	assert_string_equal(seen.alarm[0].who, WEB1);
	assert_string_equal(seen.alarm[0].rule, "rate_warn");
	assert_string_equal(seen.alarm[0].severity, "notice");
	assert_string_equal(seen.alarm[0].text, "window=17");
	assert_int_equal(seen.alarm[1].id, two);
	assert_int_equal(seen.alarm[1].cleared, 0);
	assert_int_equal(alarms(h, WEB1, 0, INT64_MAX), 1);
	/* Whatever lasted within the time: one that began before, and is over or not. */
	assert_int_equal(alarms(h, WEB1, BEGIN + 20, BEGIN + 30), 1);
	assert_int_equal(alarms(h, WEB1, BEGIN + 51, BEGIN + 90), 0);
	assert_int_equal(alarms(h, NULL, BEGIN + 500, BEGIN + 600), 1);
	assert_int_equal(alarms(h, NULL, 0, BEGIN), 0);
	sf_history_close(h);
}

static void found(void **state)
{
	static const char *const names[] = {
		WEB1,
		"web1 /system.slice/cron.service",
		"web12 /user.slice/web1-jobs.scope",
		"#54321 /machine.slice/a b.scope",
		"root /system.slice/php.service",
		"x\\x0ay /c\\\"q",
		"192.0.2.1",
		"192.0.2.77",
		"2001:db8:1::/64",
		"2001:db8:2::/64",
	};
	struct sf_history *h;

	(void)state;
	in("found");
	h = opened(SF_HISTORY_WRITE);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(add(h, names[i], BEGIN, 10 + i), 0);
	assert_int_equal(find(h, WEB1), 1); /* exact */
	assert_string_equal(seen.who[0], WEB1);
	assert_int_equal(seen.fenced[0], 10);
	assert_int_equal(find(h, "web1"), 2);	    /* the user, not the path of web12 */
	assert_string_equal(seen.who[0], names[1]); /* the more active one first */
	assert_string_equal(seen.who[1], WEB1);
	assert_int_equal(find(h, "54321"), 1);
	assert_string_equal(seen.who[0], names[3]);
	assert_int_equal(find(h, "#54321"), 1);
	assert_int_equal(find(h, "0"), 1); /* root's uid */
	assert_string_equal(seen.who[0], names[4]);
	assert_int_equal(find(h, "/system.slice/php.service"), 2);
	assert_int_equal(find(h, "php"), 2);
	assert_int_equal(find(h, "web1-jobs"), 1);
	assert_int_equal(find(h, "web1 /system.slice/c"), 1);
	assert_int_equal(find(h, "x\ny"), 1);	 /* as the user is really called */
	assert_int_equal(find(h, "x\\x0ay"), 1); /* as it was shown */
	assert_int_equal(find(h, "/c\"q"), 1);
	assert_int_equal(find(h, "192.0.2.1"), 1);
	assert_int_equal(find(h, "192.0.2.0/24"), 2);
	assert_int_equal(find(h, "2001:db8:1::5"), 1);
	assert_string_equal(seen.who[0], names[8]);
	assert_int_equal(find(h, "2001:0db8:0001::"), 1); /* written in another way */
	assert_int_equal(find(h, "2001:db8::/32"), 2);
	assert_int_equal(find(h, "::/0"), 2);
	assert_int_equal(find(h, "192.0.3.1"), 0);
	assert_int_equal(find(h, "'; DROP TABLE who; --"), 0);
	assert_int_equal(find(h, "%"), 0);
	assert_int_equal(find(h, ""), sizeof(names) / sizeof(names[0]));
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(sf_history_find(h, "", 3, see_who, &seen), 0);
	assert_int_equal(seen.count, 3);
	/* Mistyped: the nearest first, and no more than asked for. */
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(sf_history_near(h, "wbe12", 2, see_who, &seen), 0);
	assert_int_equal(seen.count, 1); /* web1 differs too much */
	assert_string_equal(seen.who[0], names[2]);
	assert_int_equal(seen.fenced[0], 12);
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(sf_history_near(h, "web11", 2, see_who, &seen), 0);
	assert_int_equal(seen.count, 2);
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(sf_history_near(h, "192.0.2.78", 8, see_who, &seen), 0);
	assert_string_equal(seen.who[0], "192.0.2.77");
	assert_int_equal(sf_history_near(h, "nothinglike", 8, see_who, &seen), 0);
	assert_int_equal(sf_history_near(h, "", 8, see_who, &seen), 0);
	assert_int_equal(sf_history_near(h, "web1", 0, see_who, &seen), 0);
	sf_history_close(h);
}

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

/* A thousand senders an hour, for `count` hours. */
static void fill(struct sf_history *h, int count)
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

/* A set-aside history, and a new one that works. */
static void damaged(const char *what)
{
	struct sf_history *h = NULL;
	uint64_t before = size_of(file);
	int ret = sf_history_open(directory, 0, &h, NULL, 0, &err);

	if (ret != -EUCLEAN)
		fail_msg("%s: a reader got %d: %s", what, ret, err.text);
	assert_non_null(strstr(err.text, "damaged"));
	assert_int_equal(size_of(file), before);
	h = opened(SF_HISTORY_WRITE);
	if (!aside[0])
		fail_msg("%s: not set aside", what);
	assert_non_null(strstr(aside, "history.db.damaged-"));
	assert_int_equal(size_of(aside), before);
	assert_int_equal(hours(h, NULL, 0, INT64_MAX), 0);
	assert_int_equal(add(h, WEB1, BEGIN, 1), 0);
	sf_history_close(h);
	h = opened(SF_HISTORY_WRITE);
	assert_string_equal(aside, "");
	assert_int_equal(hours(h, NULL, 0, INT64_MAX), 1);
	sf_history_close(h);
}

static void sound_one(int count)
{
	struct sf_history *h;

	unlink(file);
	h = opened(SF_HISTORY_WRITE);
	fill(h, count);
	sf_history_close(h);
}

static void overwrite(int64_t at, const void *bytes, size_t length)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, length, at), length);
	close(fd);
}

static void damaged_files(void **state)
{
	char garbage[8192], name[PATH_MAX + 32];

	(void)state;
	in("damaged");
	for (size_t i = 0; i < sizeof(garbage); i++)
		garbage[i] = (char)(i * 251 % 256);
	tree_bytes("/damaged/history.db", garbage, sizeof(garbage));
	damaged("garbage");
	tree_bytes("/damaged/history.db", garbage, 100);
	damaged("a little garbage");
	sound_one(4);
	assert_int_equal(truncate(file, (off_t)size_of(file) / 2), 0);
	damaged("truncated");
	sound_one(4);
	assert_int_equal(truncate(file, 5000), 0);
	damaged("truncated within a page");
	sound_one(4);
	overwrite(0, "no such format 3", 16);
	damaged("wrong header");
	sound_one(4);
	overwrite(44, "\xff\xff\xff\xff", 4);
	damaged("a format that SQLite does not know");
	sound_one(4);
	for (int64_t at = 3 * 4096; at < (int64_t)size_of(file) - 4096; at += 4096)
		overwrite(at, garbage, 64);
	damaged("pages overwritten");
	sound_one(1);
	sql("DROP TABLE alarm");
	damaged("a table is missing");
	sound_one(1);
	sql("DROP INDEX hour_by_who");
	damaged("an index is missing");
	/* Its log goes with it: played into the new file it would be another's data. */
	sound_one(1);
	overwrite(0, "no such format 3", 16);
	tree_bytes("/damaged/history.db-wal", garbage, sizeof(garbage));
	damaged("with a log");
	snprintf(name, sizeof(name), "%s-wal", aside);
	/* Nothing but a file. */
	unlink(file);
	tree_link("/damaged/history.db", "/dev/null");
	assert_int_equal(sf_history_open(directory, SF_HISTORY_WRITE, &(struct sf_history *){NULL},
					 aside, sizeof(aside), &err),
			 -EINVAL);
	assert_string_equal(aside, "");
}

/* An empty file is what a power cut right after its making leaves: no damage, no history. */
static void empty_file(void **state)
{
	struct sf_history *h = NULL;

	(void)state;
	in("empty");
	tree_bytes("/empty/history.db", "", 0);
	assert_int_equal(sf_history_open(directory, 0, &h, NULL, 0, &err), -ENOENT);
	h = opened(SF_HISTORY_WRITE);
	assert_string_equal(aside, "");
	assert_int_equal(add(h, WEB1, BEGIN, 1), 0);
	sf_history_close(h);
}

static void refused(int flags, const char *word)
{
	struct sf_history *h = NULL;

	assert_int_equal(sf_history_open(directory, flags, &h, aside, sizeof(aside), &err),
			 -EPROTO);
	assert_null(h);
	assert_non_null(strstr(err.text, word));
	assert_string_equal(aside, "");
}

static void foreign_ones(void **state)
{
	struct sf_history *h;

	(void)state;
	in("foreign");
	sound_one(1);
	sql("PRAGMA user_version = 7");
	refused(SF_HISTORY_WRITE, "schema 7");
	refused(0, "schema 7");
	sql("PRAGMA user_version = 1");
	h = opened(SF_HISTORY_WRITE);
	assert_int_equal(hours(h, NULL, 0, INT64_MAX), 1000);
	sf_history_close(h);
	/* Somebody else's database. */
	unlink(file);
	sql("CREATE TABLE mail (id INTEGER)");
	refused(SF_HISTORY_WRITE, "not smtpfence's");
	refused(0, "not smtpfence's");
	assert_int_equal(sql("SELECT count(*) FROM mail"), 0);
}

/* A trigger in the file must not act. */
static void hostile_schema(void **state)
{
	struct sf_history *h;

	(void)state;
	in("hostile");
	sound_one(1);
	sql("CREATE TRIGGER t AFTER INSERT ON hour BEGIN DELETE FROM hour; END");
	h = opened(SF_HISTORY_WRITE);
	assert_int_equal(add(h, "new", BEGIN, 1), 0);
	assert_int_equal(hours(h, NULL, 0, INT64_MAX), 1001);
	sf_history_close(h);
	/* Texts longer than any of ours, numbers below zero: bounded. */
	sql("DROP TRIGGER t");
	sql("INSERT INTO who (name) VALUES (hex(zeroblob(1000)))");
	sql("UPDATE hour SET who = (SELECT max(id) FROM who), fenced = -5, hour = -7 "
	    "WHERE who = (SELECT min(who) FROM hour)");
	h = opened(SF_HISTORY_WRITE);
	assert_int_equal(hours(h, NULL, INT64_MIN, 0), 1);
	assert_int_equal(strlen(seen.hour[0].who), SF_HISTORY_WHO_MAX - 1);
	assert_int_equal(seen.hour[0].fenced, 0);
	assert_int_equal(find(h, ""), 64);
	sf_history_close(h);
}

static void reader_beside_a_writer(void **state)
{
	struct sf_history *writer, *reader;

	(void)state;
	in("reader");
	writer = opened(SF_HISTORY_WRITE);
	assert_int_equal(add(writer, WEB1, BEGIN, 1), 0);
	reader = opened(0);
	assert_int_equal(sf_history_begin(writer), 0);
	assert_int_equal(add(writer, WEB1, BEGIN, 1), 0);
	assert_int_equal(hours(reader, WEB1, 0, INT64_MAX), 1); /* neither waits */
	assert_int_equal(seen.sum, 1);
	assert_int_equal(sf_history_commit(writer), 0);
	hours(reader, WEB1, 0, INT64_MAX);
	assert_int_equal(seen.sum, 2);
	/* One view for as long as the reader wants. */
	assert_int_equal(sf_history_begin(reader), 0);
	hours(reader, WEB1, 0, INT64_MAX);
	assert_int_equal(add(writer, WEB1, BEGIN, 1), 0);
	assert_int_equal(sf_history_prune(writer, BEGIN, 1, UINT64_MAX), 0);
	hours(reader, WEB1, 0, INT64_MAX);
	assert_int_equal(seen.sum, 2);
	assert_int_equal(sf_history_commit(reader), 0);
	hours(reader, WEB1, 0, INT64_MAX);
	assert_int_equal(seen.sum, 3);
	assert_int_equal(add(reader, WEB1, BEGIN, 1), -EROFS);
	assert_int_equal(sf_history_clear(reader, 1, 1), -EROFS);
	sf_history_close(reader);
	sf_history_close(writer);
}

/* In another process, all the time: what it reads is a whole number of transactions. */
static void reader_while_it_is_written(void **state)
{
	struct sf_history *h;
	int status;
	pid_t child;

	(void)state;
	in("meanwhile");
	h = opened(SF_HISTORY_WRITE);
	assert_int_equal(add(h, "start", BEGIN, 0), 0);
	child = fork();
	if (!child) {
		struct sf_history *mine = NULL;
		uint64_t last = 0;

		while (last < 30000) {
			if (sf_history_open(directory, 0, &mine, NULL, 0, &err))
				_exit(1);
			memset(&seen, 0, sizeof(seen));
			if (sf_history_hours(mine, NULL, 0, INT64_MAX, see_hour, &seen))
				_exit(2);
			if (seen.sum % 1000 || seen.sum < last)
				_exit(3);
			last = seen.sum;
			sf_history_close(mine);
		}
		_exit(0);
	}
	fill(h, 30);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	sf_history_close(h);
}

static void killed_in_a_transaction(void **state)
{
	struct sf_history *h;
	int status, ready[2];
	pid_t child;
	char byte;

	(void)state;
	in("killed");
	for (int round = 1; round <= 5; round++) {
		assert_int_equal(pipe(ready), 0);
		child = fork();
		if (!child) {
			h = opened(SF_HISTORY_WRITE);
			fill(h, 2);
			raise_alarm(h, WEB1, BEGIN);
			sf_history_begin(h);
			/* More than the page cache: a part is in the log already. */
			for (int i = 0; i < 20000; i++) {
				char who[64];

				snprintf(who, sizeof(who), "lost%d /x", i);
				add(h, who, BEGIN, 1);
			}
			if (write(ready[1], "", 1) != 1)
				_exit(1);
			pause();
		}
		assert_int_equal(read(ready[0], &byte, 1), 1);
		assert_int_equal(kill(child, SIGKILL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		close(ready[0]);
		close(ready[1]);
		/* A reader comes first: it plays the log, and changes nothing else. */
		h = opened(0);
		assert_int_equal(hours(h, NULL, 0, INT64_MAX), 2000);
		assert_int_equal(seen.sum, 2000 * round);
		sf_history_close(h);
	}
	h = opened(SF_HISTORY_WRITE);
	assert_string_equal(aside, "");
	assert_int_equal(sf_history_known(h, "lost0 /x"), 0);
	assert_int_equal(alarms(h, NULL, 0, INT64_MAX), 5);
	sf_history_close(h);
}

static void copy_part(const char *from, const char *to, uint64_t length, unsigned int garbage)
{
	FILE *source = fopen(from, "re"), *out = fopen(to, "we");

	assert_non_null(source);
	assert_non_null(out);
	for (int c; length-- && (c = getc(source)) != EOF;)
		putc(c, out);
	for (unsigned int i = 0; i < garbage; i++)
		putc((int)(i * 37 % 256), out);
	fclose(source);
	assert_int_equal(fclose(out), 0);
}

/* A power cut: of the log only a part is on the disk, and what follows may be anything. */
static void power_cut(void **state)
{
	char log[PATH_MAX + 32], cut_file[PATH_MAX], cut_log[PATH_MAX + 32], source[PATH_MAX + 16];
	struct sf_history *writer, *h;
	uint64_t all, last = 0;

	(void)state;
	in("power");
	writer = opened(SF_HISTORY_WRITE);
	fill(writer, 8);
	snprintf(source, sizeof(source), "%s", file);
	snprintf(log, sizeof(log), "%s-wal", file);
	all = size_of(log);
	assert_true(all > 100000);
	snprintf(cut_file, sizeof(cut_file), "%s", tree_path("/cut/history.db"));
	snprintf(cut_log, sizeof(cut_log), "%s-wal", cut_file);
	for (unsigned int i = 0; i <= 20; i++) {
		in("cut");
		unlink(file);
		copy_part(source, cut_file, UINT64_MAX, 0);
		copy_part(log, cut_log, all * i / 20 + i % 3, i % 4 * 3000);
		h = NULL;
		if (sf_history_open(directory, SF_HISTORY_WRITE, &h, aside, sizeof(aside), &err))
			fail_msg("cut at %u/20: %s", i, err.text);
		assert_string_equal(aside, "");
		hours(h, NULL, 0, INT64_MAX);
		assert_int_equal(seen.sum % 1000,
				 0); /* whole transactions, never fewer with more */
		assert_true(seen.sum >= last);
		last = seen.sum;
		assert_int_equal(add(h, WEB1, BEGIN, 1), 0);
		sf_history_close(h);
	}
	assert_int_equal(last, 8000);
	sf_history_close(writer);
}

static void full_disk(void **state)
{
	char filler[PATH_MAX + 32], chunk[4096] = {1};
	struct sf_history *h = NULL;
	uint64_t committed = 0, now = 0;
	int ret = 0, fd;

	(void)state;
	in("disk");
	if (small_disk(directory, 1 << 20)) {
		print_message("no root, or no mounts here: not tested\n");
		skip();
	}
	/* Not even the tables fit. */
	snprintf(filler, sizeof(filler), "%s/filler", directory);
	fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	while (write(fd, chunk, sizeof(chunk)) > 0)
		;
	assert_int_equal(
		sf_history_open(directory, SF_HISTORY_WRITE, &h, aside, sizeof(aside), &err),
		-ENOSPC);
	assert_string_equal(aside, "");
	assert_int_equal(ftruncate(fd, 300000), 0);
	h = opened(SF_HISTORY_WRITE);
	assert_string_equal(aside, "");
	for (int i = 0; i < 4000 && !ret; i++) {
		char who[64];

		ret = sf_history_begin(h);
		for (int k = 0; k < 50 && !ret; k++) {
			snprintf(who, sizeof(who), "user%d /site%d.service", i * 50 + k, i);
			ret = add(h, who, BEGIN + i * HOUR, 1);
			now++;
		}
		if (ret) {
			/* What was added before is gone too, and nothing more goes in. */
			assert_int_equal(add(h, "late", BEGIN, 1), ret);
			assert_int_equal(sf_history_commit(h), ret);
		} else {
			ret = sf_history_commit(h);
		}
		if (!ret)
			committed = now;
	}
	assert_int_equal(ret, -ENOSPC);
	assert_true(committed > 200);
	hours(h, NULL, 0, INT64_MAX);
	assert_int_equal(seen.sum, committed);
	ret = add(h, "late", BEGIN + 90000 * HOUR, 1);
	assert_true(!ret || ret == -ENOSPC);
	committed += !ret;
	/* A reader, and the next daemon, on the full disk: nothing is lost. */
	sf_history_close(h);
	h = NULL;
	ret = sf_history_open(directory, SF_HISTORY_WRITE, &h, aside, sizeof(aside), &err);
	assert_string_equal(aside, "");
	assert_true(!ret || ret == -ENOSPC);
	/* Room again: with the same handle, if there is one. */
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
	if (!h)
		h = opened(SF_HISTORY_WRITE);
	hours(h, NULL, 0, INT64_MAX);
	assert_int_equal(seen.sum, committed);
	assert_int_equal(add(h, "after", BEGIN, 1), 0);
	hours(h, NULL, 0, INT64_MAX);
	assert_int_equal(seen.sum, committed + 1);
	/* The same handle through it: full, and room again. */
	fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, chunk, sizeof(chunk)) > 0)
		;
	committed++;
	for (int i = 0; i < 5000; i++) {
		ret = add(h, "more", BEGIN + i * HOUR, 1);
		if (ret)
			break;
		committed++;
	}
	assert_int_equal(ret, -ENOSPC);
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
	assert_int_equal(add(h, "more", BEGIN, 1), 0);
	assert_int_equal(sf_history_prune(h, BEGIN, 9999, 200000), 0);
	assert_int_equal(add(h, "more", BEGIN, 1), 0);
	sf_history_close(h);
	assert_int_equal(sql("SELECT count(*) FROM pragma_integrity_check "
			     "WHERE integrity_check <> 'ok'"),
			 0);
	assert_int_equal(umount(directory), 0);
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
		cmocka_unit_test(made_and_kept),
		cmocka_unit_test(accumulated),
		cmocka_unit_test(known_ones),
		cmocka_unit_test(alarms_last),
		cmocka_unit_test(found),
		cmocka_unit_test(pruned_by_age),
		cmocka_unit_test(pruned_by_size),
		cmocka_unit_test(pruned_beside_many_totals),
		cmocka_unit_test(damaged_files),
		cmocka_unit_test(empty_file),
		cmocka_unit_test(foreign_ones),
		cmocka_unit_test(hostile_schema),
		cmocka_unit_test(reader_beside_a_writer),
		cmocka_unit_test(reader_while_it_is_written),
		cmocka_unit_test(killed_in_a_transaction),
		cmocka_unit_test(power_cut),
		cmocka_unit_test(fast_and_small),
		cmocka_unit_test(full_disk),
	};

	return cmocka_run_group_tests(tests, tree_setup, tree_teardown);
}
