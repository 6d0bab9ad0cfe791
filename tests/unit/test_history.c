// SPDX-License-Identifier: GPL-2.0-only
/* History: what is kept is there, accumulated, and found again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "history_lab.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(made_and_kept), cmocka_unit_test(accumulated),
		cmocka_unit_test(known_ones),	 cmocka_unit_test(alarms_last),
		cmocka_unit_test(found),
	};

	return cmocka_run_group_tests(tests, tree_setup, tree_teardown);
}
