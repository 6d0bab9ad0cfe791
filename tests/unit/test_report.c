// SPDX-License-Identifier: GPL-2.0-only
/* Reports: the figures are right, and no text of a sender's or of a file's acts in any form. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <json-c/json.h>
#include "tree.h"
#include "smalldisk.h"
#include "../../user/escape.h"
#include "../../user/plot.h"
#include "../../user/report.h"

#define WEB1  "web1 /system.slice/php.service"
#define HOUR  3600
#define BEGIN 1795392000 /* 2026-11-23T00:00:00Z */
#define EVIL                                                                                       \
	"<script>alert('x')</script>\"&amp;'\x1b[31m\n\r\xff\xfe\xe2\x80\xae</svg>--><!-- %n%s\\"

static struct sf_report report;
static struct sf_error err;
static char *output;

enum form { TEXT, HTML, JSON };

static const char *written(enum form form)
{
	size_t length = 0;
	FILE *out;

	free(output);
	output = NULL;
	out = open_memstream(&output, &length);
	assert_non_null(out);
	if (form == TEXT)
		sf_report_text(&report, out);
	else if (form == HTML)
		sf_report_html(&report, out);
	else
		assert_int_equal(sf_report_json(&report, out), 0);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(strlen(output), length);
	return output;
}

static struct sf_history *history_in(const char *name)
{
	struct sf_history *h = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/%s/", name);
	assert_int_equal(sf_history_open(tree_path(path), SF_HISTORY_WRITE, &h, NULL, 0, &err), 0);
	return h;
}

static void add(struct sf_history *h, const char *who, int64_t hour, uint64_t fenced,
		uint64_t denied)
{
	struct sf_hour delta = {.hour = hour, .fenced = fenced, .denied = denied};

	delta.syn = fenced;
	delta.distinct = fenced / 2;
	snprintf(delta.who, sizeof(delta.who), "%s", who);
	assert_int_equal(sf_history_add(h, &delta), 0);
}

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

static void hostile_report(void)
{
	memset(&report, 0, sizeof(report));
	strcpy(report.who, EVIL " /" EVIL);
	strcpy(report.user, EVIL);
	strcpy(report.cgroup, "/" EVIL);
	strcpy(report.host, EVIL);
	report.made = report.to = BEGIN;
	report.from = BEGIN - 86400;
	report.hours = calloc(2, sizeof(*report.hours));
	report.hour_count = 2;
	report.hours[0].hour = BEGIN - HOUR;
	report.hours[0].fenced = report.hours[0].denied = INT64_MAX;
	report.hours[1].hour = BEGIN - 1; /* not even an hour's begin */
	report.hours[1].fenced = report.hours[1].refused = INT64_MAX;
	report.alarm_count = report.alarms_in_all = 1;
	strcpy(report.alarms[0].text, EVIL);
	strcpy(report.alarms[0].rule, "<b>'\"\x1b");
	strcpy(report.alarms[0].severity, "<i>\n");
	report.alarms[0].raised = INT64_MAX;
	report.alarms[0].cleared = INT64_MIN;
	report.events_in_all = 21; /* the ring's first is the last */
	for (int i = 0; i < SF_REPORT_EVENTS; i++) {
		struct sf_report_event *e = &report.events[i];

		strcpy(e->time, "<time>\n&\"'");
		strcpy(e->verdict, "<b>\x07'\"&");
		strcpy(e->reason, "\"'><i>");
		strcpy(e->exe, EVIL);
		strcpy(e->cwd, EVIL);
		strcpy(e->cmdline, EVIL);
		strcpy(e->cgroup, EVIL);
		strcpy(e->daddr, "<b>\n\x7f'\"&");
	}
	strcpy(report.quarantine, EVIL);
}

/* Lines of which nothing is left to escape: no controls, no invalid UTF-8, no turned writing. */
static void printable(const char *text)
{
	static char line[65536], again[65536 * 4];

	for (const char *p = text; *p;) {
		size_t n = strcspn(p, "\n");

		assert_true(n < sizeof(line));
		memcpy(line, p, n);
		line[n] = '\0';
		sf_escape_controls(line, again, sizeof(again));
		assert_string_equal(line, again);
		p += n + (p[n] == '\n');
	}
}

static void hostile_text(void **state)
{
	const char *text;

	(void)state;
	hostile_report();
	text = written(TEXT);
	printable(text);
	for (const char *p = text; *p;) {
		size_t n = strcspn(p, "\n");

		if (n > SF_REPORT_WIDTH)
			fail_msg("%zu columns: %.*s", n, (int)n, p);
		/* None begins like a mail's own. */
		assert_true(strncmp(p, "From ", 5) && strncmp(p, ".\n", 2));
		p += n + (p[n] == '\n');
	}
	assert_non_null(strstr(text, "\\x1b[31m"));
	sf_report_free(&report);
}

static void hostile_html(void **state)
{
	const char *html, *p;

	(void)state;
	hostile_report();
	html = written(HTML);
	printable(html);
	assert_null(strstr(html, "<script"));
	assert_null(strstr(html, "<b>"));
	assert_null(strstr(html, "<i>"));
	assert_null(strstr(html, "<time>"));
	assert_null(strstr(html, "<!--"));
	assert_null(strstr(html, "src="));
	assert_null(strstr(html, "href="));
	/* As it was, for whoever reads it: an entity that a name had is one of ours now. */
	assert_non_null(strstr(html, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;"
				     "amp;&#39;\\x1b[31m"));
	p = strstr(html, "</svg>");
	assert_non_null(p);
	assert_null(strstr(p + 1, "</svg>"));
	assert_non_null(strstr(html, "default-src 'none'"));
	sf_report_free(&report);
}

static void hostile_json(void **state)
{
	struct json_object *o, *list = NULL, *value = NULL;
	const char *json;

	(void)state;
	hostile_report();
	json = written(JSON);
	printable(json);
	assert_ptr_equal(strchr(json, '\n'), json + strlen(json) - 1); /* one line */
	o = json_tokener_parse(json);
	assert_non_null(o);
	assert_true(json_object_object_get_ex(o, "user", &value));
	assert_non_null(strstr(json_object_get_string(value), "<script>alert('x')</script>\"&amp;'"
							      "\\x1b[31m\\x0a\\x0d\\xff"));
	assert_true(json_object_object_get_ex(o, "events", &list));
	assert_int_equal(json_object_array_length(list), SF_REPORT_EVENTS);
	assert_true(json_object_object_get_ex(o, "alarms", &list));
	assert_int_equal(json_object_array_length(list), 1);
	assert_true(json_object_object_get_ex(o, "hours", &list));
	assert_int_equal(json_object_array_length(list), 2);
	json_object_put(o);
	sf_report_free(&report);
}

static void wrapped(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"", "who \n"},
		{"short", "who short\n"},
		{"1234567890 1234567890 1234567890 1234567890 1234567890 1234567890 1234567890 "
		 "12345",
		 "who 1234567890 1234567890 1234567890 1234567890 1234567890 1234567890 1234567890"
		 "\n    12345\n"},
		{"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		 "aa",
		 "who "
		 "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"
		 "    aaaaaaa\n"},
		/* A wide character takes two columns. */
		{"\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c"
		 "\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c"
		 "\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c"
		 "\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c"
		 "\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c"
		 "\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c"
		 "\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c",
		 "who \xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c"
		 "\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c"
		 "\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c"
		 "\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c"
		 "\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c"
		 "\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c\xe7\x95\x8c"
		 "\xe7\x95\x8c\xe7\x95\x8c\n    \xe7\x95\x8c\n"},
	};

	(void)state;
	if (!setlocale(LC_CTYPE, "C.UTF-8")) {
		print_message("no C.UTF-8 here: not tested\n");
		skip();
	}
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t length = 0;
		char *text = NULL;
		FILE *out = open_memstream(&text, &length);

		sf_report_wrap(out, "who ", 4, cases[i].text);
		fclose(out);
		assert_string_equal(text, cases[i].want);
		free(text);
	}
	setlocale(LC_CTYPE, "C");
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

static int teardown(void **state)
{
	free(output);
	return tree_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gathered),	cmocka_unit_test(events_of_the_user),
		cmocka_unit_test(hostile_text), cmocka_unit_test(hostile_html),
		cmocka_unit_test(hostile_json), cmocka_unit_test(wrapped),
		cmocka_unit_test(plotted),	cmocka_unit_test(in_quarantine),
		cmocka_unit_test(its_file),
	};

	return cmocka_run_group_tests(tests, tree_setup, teardown);
}
