/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How the library says what went wrong. Functions return 0 or a negative errno and fill the text;
 * they do not print: the caller knows whether it is for a terminal or for syslog.
 *
 * The text names what failed, on what, and the mend. Anything that came from outside is escaped
 * (escape.h) before it goes in.
 */
#ifndef SF_USER_ERROR_H
#define SF_USER_ERROR_H

#include <stdarg.h>

/* Long enough for a path, a file with its line, and a sentence. */
#define SF_ERROR_LEN 1024

struct sf_error {
	int code;     /* negative errno; 0: nothing went wrong */
	int is_usage; /* the input is wrong (exit status 2), not the world (1) */
	char text[SF_ERROR_LEN];
};

/* Both fill `err` (which may be NULL) and return `code`. The text is cut at SF_ERROR_LEN. */
int sf_fail(struct sf_error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same for wrong input: configuration or command line. Returns -EINVAL. */
int sf_fail_usage(struct sf_error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
