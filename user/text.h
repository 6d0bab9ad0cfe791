/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A text in memory, written by stdio, that is whole or not there. open_memstream(3) says neither in
 * ferror() nor in fclose() that there was no memory for a part: half a policy would be taken for
 * one.
 */
#ifndef SF_TEXT_H
#define SF_TEXT_H

#include <stddef.h>
#include <stdio.h>

struct sf_text {
	char *data;
	size_t length, room;
};

/* NULL: no memory. @text must live until sf_text_close. */
FILE *sf_text_open(struct sf_text *text);

/* The whole text, to be freed, terminated by 0; or NULL where anything did not find its room. */
char *sf_text_close(FILE *out, struct sf_text *text);

#endif
