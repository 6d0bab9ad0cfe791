// SPDX-License-Identifier: GPL-2.0-only
/* Reports: the figures are right, and so is the file that they go to. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "report_lab.h"
#include "smalldisk.h"
#include "../../user/plot.h"

static void gathered(void **state)
{
	struct sf_history_alarm alarm = {.rule = "rate_warn", .severity = "warning"};
	struct sf_history *h = history_in("gathered");
	struct sf_report_row *rows = NULL;
	size_t count = 0;

	(void)state;
	for (int i = 0; i < 72; i++)
		add(h, WEB1, BEGIN + i * HOUR, i == 60 ? 500 : 2, (uint64_t)i % 2);
	add(h, "other /x", BEGIN + 70 * HOUR, 9999, 9999);
	strcpy(alarm.who, WEB1);
	for (int i = 0; i < SF_REPORT_ALARMS + 5; i++) {
		alarm.raised = BEGIN + 50 * HOUR + i;
		assert_int_equal(sf_history_raise(h, &alarm), 0);
	}
	/* From within hour 48: that hour counts. */
	assert_int_equal(
		sf_report_gather(h, WEB1, BEGIN + 48 * HOUR + 1, BEGIN + 72 * HOUR, &report, &err),
		0);
	assert_string_equal(report.user, "web1");
	assert_string_equal(report.cgroup, "/system.slice/php.service");
	assert_int_equal(report.hour_count, 24);
	assert_int_equal(report.total.fenced, 500 + 23 * 2);
	assert_int_equal(report.total.denied, 12);
	assert_int_equal(report.total.distinct, 250);
	assert_int_equal(report.total.hour, BEGIN + 60 * HOUR);
	assert_int_equal(report.busiest, 500);
	assert_int_equal(report.first_seen, BEGIN); /* of all history */
	assert_int_equal(report.last_seen, BEGIN + 71 * HOUR);
	assert_int_equal(report.alarm_count, SF_REPORT_ALARMS);
	assert_int_equal(report.alarms_in_all, SF_REPORT_ALARMS + 5);
	assert_int_equal(report.alarms[SF_REPORT_ALARMS - 1].raised,
			 BEGIN + 50 * HOUR + SF_REPORT_ALARMS + 4);
	assert_int_equal(sf_report_rows(&report, 86400, &rows, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(rows[0].sum.hour, BEGIN + 48 * HOUR);
	assert_int_equal(rows[0].hourly[12], 500);
	free(rows);
	assert_int_equal(sf_report_rows(&report, 3600, &rows, &count), 0);
	assert_int_equal(count, 24);
	free(rows);
	assert_non_null(strstr(written(TEXT), "546"));
	sf_report_free(&report);
	/* An address has no user. */
	add(h, "192.0.2.1", BEGIN, 1, 0);
	assert_int_equal(sf_report_gather(h, "192.0.2.1", 0, INT64_MAX, &report, &err), 0);
	assert_string_equal(report.user, "");
	assert_non_null(strstr(written(TEXT), "address 192.0.2.1"));
	sf_report_free(&report);
	/* Nobody: nothing, and all forms stand it. */
	assert_int_equal(sf_report_gather(h, "nobody /", 1, BEGIN, &report, &err), 0);
	assert_int_equal(report.hour_count, 0);
	written(TEXT);
	written(HTML);
	written(JSON);
	sf_report_free(&report);
	sf_history_close(h);
}

static void event(FILE *out, const char *user, int64_t time, const char *verdict)
{
	char when[64];

	sf_time_format(time, when, sizeof(when));
	fprintf(out,
		"{ \"time\": \"%.19s.000001Z\", \"verdict\": \"%s\", \"reason\": \"no_role\", "
		"\"user\": \"%s\", \"exe\": \"/usr/bin/php\", \"cwd\": \"/home/%lld\", "
		"\"daddr\": \"192.0.2.9\", \"dport\": 25 }\n",
		when, verdict, user, (long long)(time - BEGIN));
}

static void events_of_the_user(void **state)
{
	struct sf_history *h = history_in("events");
	char directory[PATH_MAX];
	FILE *out;

	(void)state;
	snprintf(directory, sizeof(directory), "%s/events", tree_root);
	add(h, "web\\\"1\\\\ /x", BEGIN, 1, 0);
	assert_int_equal(sf_report_gather(h, "web\\\"1\\\\ /x", BEGIN, BEGIN + HOUR, &report, &err),
			 0);
	assert_int_equal(sf_report_add_events(&report, directory, &err), 0);
	assert_null(sf_report_event_at(&report, 0));
	/* The older file first; others' events, those out of the time and what is no event: not. */
	out = fopen(tree_path("/events/events.jsonl.1"), "we");
	for (int i = 0; i < 15; i++)
		event(out, "web\\\"1\\\\\\\\", BEGIN + i, "denied");
	event(out, "web2", BEGIN + 20, "denied");
	event(out, "web\\\"1\\\\\\\\", BEGIN - 1, "denied");
	event(out, "web\\\"1\\\\\\\\", BEGIN + HOUR, "denied");
	fclose(out);
	out = fopen(tree_path("/events/events.jsonl"), "we");
	fputs("{ \"user\": nul\nnull\n[]\n7\n{}\n\n{\"user\": null, \"time\": null}\n"
	      "{\"user\": {}, \"time\": []}\n{\"user\":\"web\\\"1\\\\\\\\\",\"time\":\"never\"}\n",
	      out);
	fwrite("\0\0\n", 1, 3, out);
	for (int i = 0; i < 200000; i++) /* a line without an end */
		fputs("{[", out);
	putc('\n', out);
	for (int i = 0; i < 10; i++)
		event(out, "web\\\"1\\\\\\\\", BEGIN + 100 + i, "would_deny");
	fputs("{ \"user\": \"web\\\"1\\\\\\\\\", \"time\": \"2026-11-23T00:10:00Z\"",
	      out); /* half */
	fclose(out);
	assert_int_equal(sf_report_add_events(&report, directory, &err), 0);
	assert_int_equal(report.events_in_all, 25);
	assert_string_equal(sf_report_event_at(&report, 0)->cwd, "/home/5");
	assert_string_equal(sf_report_event_at(&report, 19)->cwd, "/home/109");
	assert_string_equal(sf_report_event_at(&report, 19)->verdict, "would_deny");
	assert_string_equal(sf_report_event_at(&report, 19)->time, "2026-11-23T00:01:49Z");
	assert_int_equal(sf_report_event_at(&report, 19)->dport, 25);
	assert_null(sf_report_event_at(&report, 20));
	sf_report_free(&report);
	/* Not a file: said, not waited for. */
	assert_int_equal(sf_report_gather(h, "web\\\"1\\\\ /x", BEGIN, BEGIN + HOUR, &report, &err),
			 0);
	assert_int_equal(unlink(tree_path("/events/events.jsonl")), 0);
	assert_int_equal(mkfifo(tree_path("/events/events.jsonl"), 0600), 0);
	assert_int_equal(sf_report_add_events(&report, directory, &err), -EINVAL);
	sf_report_free(&report);
	sf_history_close(h);
}

static void plotted(void **state)
{
	const uint64_t values[] = {0, 1, 50, 100, 0};
	char out[64];

	(void)state;
	sf_plot_spark(values, 5, 0, out, sizeof(out));
	assert_string_equal(out, " \xe2\x96\x81\xe2\x96\x84\xe2\x96\x88 ");
	sf_plot_spark(values, 5, 0, out, 6); /* no room: whole characters only */
	assert_string_equal(out, " \xe2\x96\x81");
	sf_plot_spark(values, 1, 0, out, sizeof(out));
	assert_string_equal(out, " ");
	sf_plot_bar(75, 25, 100, 8, out, sizeof(out));
	assert_string_equal(out, "######xx");
	sf_plot_bar(1, 0, 1000000, 8, out, sizeof(out));
	assert_string_equal(out, "#");
	sf_plot_bar(0, 5, 10, 8, out, sizeof(out));
	assert_string_equal(out, "xxxx");
	sf_plot_bar(1000, 1, 1001, 8, out, sizeof(out));
	assert_string_equal(out, "#######x");
	sf_plot_bar(UINT64_MAX, UINT64_MAX, UINT64_MAX, 8, out, 4);
	assert_string_equal(out, "###");
	sf_plot_number(9999999, out, sizeof(out));
	assert_string_equal(out, "9999999");
	sf_plot_number(10000000, out, sizeof(out));
	assert_string_equal(out, "10.0M");
	sf_plot_number(999960000, out, sizeof(out));
	assert_string_equal(out, "1.0G");
	sf_plot_number(UINT64_MAX, out, sizeof(out));
	assert_string_equal(out, "18.4E");
	assert_int_equal(sf_plot_step_length(0, 24 * HOUR, 48), HOUR);
	assert_int_equal(sf_plot_step_length(0, 7 * 86400, 79), 3 * HOUR);
	assert_int_equal(sf_plot_step_length(0, INT64_MAX, 79), 28 * 86400);
}

static void in_quarantine(void **state)
{
	struct sf_entry entry = {.kind = SF_ENTRY_QUARANTINE_USER, .value = "web1", .id = 54321};
	struct sf_policy policy;

	(void)state;
	sf_policy_init(&policy);
	memset(&report, 0, sizeof(report));
	report.made = BEGIN;
	strcpy(report.who, WEB1);
	strcpy(report.user, "web1");
	strcpy(report.cgroup, "/system.slice/php.service");
	sf_report_add_policy(&report, &policy);
	assert_string_equal(report.quarantine, "");
	entry.expires = BEGIN + HOUR;
	strcpy(entry.comment, "ticket 4711");
	assert_int_equal(sf_policy_put(&policy, &entry), 0);
	entry.kind = SF_ENTRY_QUARANTINE_CGROUP;
	strcpy(entry.value, "/system.slice/php"); /* a name's part is not a path's */
	assert_int_equal(sf_policy_put(&policy, &entry), 0);
	sf_report_add_policy(&report, &policy);
	assert_string_equal(report.quarantine,
			    "quarantine user web1 until 2026-11-23 01:00: ticket 4711");
	assert_non_null(strstr(written(TEXT), "In force now: quarantine user web1"));
	report.made = BEGIN + HOUR; /* over */
	sf_report_add_policy(&report, &policy);
	assert_string_equal(report.quarantine, "");
	strcpy(entry.value, "/system.slice");
	entry.expires = 0;
	entry.comment[0] = '\0';
	assert_int_equal(sf_policy_put(&policy, &entry), 0);
	sf_report_add_policy(&report, &policy);
	assert_string_equal(report.quarantine, "quarantine cgroup /system.slice until removed");
	/* A network holds addresses, and no users. */
	entry.kind = SF_ENTRY_QUARANTINE_NET;
	strcpy(entry.value, "192.0.2.0/24");
	assert_int_equal(sf_net_parse(entry.value, &entry.net, &err), 0);
	assert_int_equal(sf_policy_put(&policy, &entry), 0);
	report.user[0] = report.cgroup[0] = '\0';
	strcpy(report.who, "192.0.2.7");
	sf_report_add_policy(&report, &policy);
	assert_string_equal(report.quarantine, "quarantine net 192.0.2.0/24 until removed");
	sf_policy_free(&policy);
}

static void its_file(void **state)
{
	char path[PATH_MAX], target[PATH_MAX], text[64] = "";
	struct stat st;
	FILE *in;

	(void)state;
	umask(0);
	snprintf(path, sizeof(path), "%s", tree_path("/file/report.html"));
	assert_int_equal(sf_report_write(path, "one", 3, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(sf_report_write(path, "two", 3, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* A link: not written through, not replaced. */
	snprintf(target, sizeof(target), "%s", path);
	tree_link("/file/link", target);
	snprintf(path, sizeof(path), "%s", tree_path("/file/link"));
	assert_int_equal(sf_report_write(path, "three", 5, &err), -EEXIST);
	assert_non_null(strstr(err.text, "symbolic link"));
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	in = fopen(target, "re");
	assert_non_null(fgets(text, sizeof(text), in));
	fclose(in);
	assert_string_equal(text, "two");
	assert_int_equal(sf_report_write("/dev/null", "x", 1, &err), -EEXIST);
	assert_int_equal(sf_report_write(tree_root, "x", 1, &err), -EEXIST);
	snprintf(path, sizeof(path), "%s/none/report", tree_root);
	assert_int_equal(sf_report_write(path, "x", 1, &err), -ENOENT);
	umask(022);
	/* A full disk: the old one stays, and nothing beside it. */
	snprintf(path, sizeof(path), "%s", tree_path("/small/"));
	if (small_disk(path, 16384)) {
		print_message("no root, or no mounts here: a full disk is not tested\n");
		return;
	}
	snprintf(path, sizeof(path), "%s", tree_path("/small/report"));
	assert_int_equal(sf_report_write(path, "one", 3, &err), 0);
	in = fopen(tree_path("/small/filler"), "we");
	for (int i = 0; i < 20000; i++)
		putc('x', in);
	fclose(in);
	assert_int_equal(sf_report_write(path, "other", 5, &err), -ENOSPC);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 3);
	assert_int_equal(umount(tree_path("/small/")), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gathered), cmocka_unit_test(events_of_the_user),
		cmocka_unit_test(plotted),  cmocka_unit_test(in_quarantine),
		cmocka_unit_test(its_file),
	};

	return cmocka_run_group_tests(tests, tree_setup, teardown);
}
