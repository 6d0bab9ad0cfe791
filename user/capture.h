/* SPDX-License-Identifier: GPL-2.0-only */
/* Run another program and take what it prints: no shell, a fixed environment, bounded in time and
 * size. */
#ifndef SF_USER_CAPTURE_H
#define SF_USER_CAPTURE_H

#include <stddef.h>

/*
 * Run argv[0] (a plain name; looked for in the system's directories only, whatever PATH says) with
 * stdin and stderr on /dev/null. On success *text is its output with a NUL behind it, the caller
 * frees it. -ENOENT: not installed. -ETIMEDOUT, -EFBIG: killed, it took longer or wrote more.
 * -EIO: it failed.
 */
int sf_capture(const char *const *argv, unsigned int limit_ms, size_t limit_bytes, char **text);

#endif
