// SPDX-License-Identifier: GPL-2.0-only
/* Reports: no text of a sender's or of a file's acts in any form. */
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
#include "report_lab.h"
#include "../../user/escape.h"

#define EVIL                                                                                       \
	"<script>alert('x')</script>\"&amp;'\x1b[31m\n\r\xff\xfe\xe2\x80\xae</svg>--><!-- %n%s\\"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_text),
		cmocka_unit_test(hostile_html),
		cmocka_unit_test(hostile_json),
		cmocka_unit_test(wrapped),
	};

	return cmocka_run_group_tests(tests, tree_setup, teardown);
}
