/* SPDX-License-Identifier: GPL-2.0-only */
/* Configurations from strings: taken, or refused with file, line and words. */
#ifndef SF_TESTS_UNIT_CONFIG_LAB_H
#define SF_TESTS_UNIT_CONFIG_LAB_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "tree.h"
#include "../../user/config.h"

#define NO_FILE "/nonexistent/managed.conf"

static struct sf_policy policy;
static struct sf_error err;

static inline int load_bytes(const char *text, size_t length)
{
	memset(&err, 0, sizeof(err));
	tree_bytes("/main.conf", text, length);
	return sf_config_load_with(tree_path("/main.conf"), NO_FILE, &policy, &err);
}

static inline int load(const char *text)
{
	return load_bytes(text, strlen(text));
}

static inline void good(const char *text)
{
	if (load(text))
		fail_msg("refused: %s\n--\n%s", err.text, text);
}

/* Refused as wrong usage, with file and line, and these words somewhere. */
static inline void bad_bytes(const char *text, size_t length, int line, const char *words)
{
	char where[PATH_MAX];

	if (!load_bytes(text, length)) {
		sf_policy_free(&policy);
		fail_msg("taken: %s", text);
	}
	assert_true(err.is_usage);
	assert_int_equal(err.code, -EINVAL);
	assert_null(policy.entries);
	snprintf(where, sizeof(where), "%s:%d: ", tree_path("/main.conf"), line);
	if (strncmp(err.text, where, strlen(where)))
		fail_msg("not line %d: \"%s\"\n--\n%s", line, err.text, text);
	if (!strstr(err.text + strlen(where), words))
		fail_msg("no \"%s\" in \"%s\"", words, err.text);
}

static inline void bad(const char *text, int line, const char *words)
{
	bad_bytes(text, strlen(text), line, words);
}

#endif
