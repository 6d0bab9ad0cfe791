/* SPDX-License-Identifier: GPL-2.0-only */
/* A report, written in each of its forms, and a history to gather it from. */
#ifndef SF_TESTS_UNIT_REPORT_LAB_H
#define SF_TESTS_UNIT_REPORT_LAB_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "tree.h"
#include "../../user/report.h"

#define WEB1  "web1 /system.slice/php.service"
#define HOUR  3600
#define BEGIN 1795392000 /* 2026-11-23T00:00:00Z */

static struct sf_report report;
static struct sf_error err;
static char *output;

enum form { TEXT, HTML, JSON };

static inline const char *written(enum form form)
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

static inline struct sf_history *history_in(const char *name)
{
	struct sf_history *h = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/%s/", name);
	assert_int_equal(sf_history_open(tree_path(path), SF_HISTORY_WRITE, &h, NULL, 0, &err), 0);
	return h;
}

static inline void add(struct sf_history *h, const char *who, int64_t hour, uint64_t fenced,
		       uint64_t denied)
{
	struct sf_hour delta = {.hour = hour, .fenced = fenced, .denied = denied};

	delta.syn = fenced;
	delta.distinct = fenced / 2;
	snprintf(delta.who, sizeof(delta.who), "%s", who);
	assert_int_equal(sf_history_add(h, &delta), 0);
}

static inline int teardown(void **state)
{
	free(output);
	return tree_teardown(state);
}

#endif
