/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Texts from outside (comm, cwd, cgroup, command lines, host names) made harmless and
 * unambiguous. Output is printable: valid UTF-8 of printable characters stays; control bytes,
 * DEL, C1 controls, bidirectional overrides, invalid UTF-8, quote and backslash become \xNN, \" or
 * \\.
 */
#ifndef SF_USER_ESCAPE_H
#define SF_USER_ESCAPE_H

#include <stddef.h>

/*
 * Escape `length` bytes of `text` into `out` (`size` bytes with the final NUL; nothing is
 * written past it). What does not fit is cut before the escape that would not fit whole, and
 * marked by "..." at the end where there is room for it. Returns the length written.
 * `size` must be at least 1.
 */
size_t sf_escape(const void *text, size_t length, char *out, size_t size);

/*
 * Only what would act on a terminal is escaped; quotes and backslashes stay. For messages whose
 * parts were escaped already, or come from the command line of whoever reads them.
 */
size_t sf_escape_controls(const char *text, char *out, size_t size);

/* The same for a C string. */
size_t sf_escape_string(const char *text, char *out, size_t size);

#endif
