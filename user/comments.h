/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A configuration file without its comments, line for line: libconfuse 3.3 counts a comment as
 * three lines, and a wrong line is worse than none. What libconfuse would take in silence (an end
 * of the file inside a comment, a text or a section; a NUL byte) is found here too.
 */
#ifndef SF_USER_COMMENTS_H
#define SF_USER_COMMENTS_H

#include <stdio.h>

/* Copy `in` to `out`. NULL, or what is wrong with the line that `line` then is. */
const char *sf_blank_comments(FILE *in, FILE *out, int *line);

#endif
