// SPDX-License-Identifier: GPL-2.0-only
/* History: a file that is damaged, foreign or hostile is set aside or refused, never believed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sqlite3.h>
#include "history_lab.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damaged_files),
		cmocka_unit_test(empty_file),
		cmocka_unit_test(foreign_ones),
		cmocka_unit_test(hostile_schema),
	};

	return cmocka_run_group_tests(tests, tree_setup, tree_teardown);
}
