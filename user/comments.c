// SPDX-License-Identifier: GPL-2.0-only
#include "comments.h"
#include <errno.h>
#include <string.h>

/* A file being read, and the line that the next character stands in. */
struct scan {
	FILE *in, *out;
	int line;
	int nul_line; /* of the first NUL byte; what stands behind one would be cut off unseen */
};

static int take(struct scan *s)
{
	int c = getc_unlocked(s->in);

	s->line += c == '\n';
	if (c == '\0' && !s->nul_line)
		s->nul_line = s->line;
	return c;
}

/* Copy to the closing quote. */
static int copy_quoted(struct scan *s, int quote)
{
	int c;

	while ((c = take(s)) != EOF) {
		putc_unlocked(c, s->out);
		if (c == quote)
			return 0;
		if (c == '\\' && (c = take(s)) != EOF)
			putc_unlocked(c, s->out);
	}
	return -EINVAL;
}

/* Skip behind the end of a comment, whose lines stay. */
static int skip_comment(struct scan *s)
{
	int c, before = 0;

	take(s); /* its asterisk */
	for (; (c = take(s)) != EOF; before = c) {
		if (c == '\n')
			putc_unlocked('\n', s->out);
		if (before == '*' && c == '/') {
			putc_unlocked(' ', s->out);
			return 0;
		}
	}
	return -EINVAL;
}

static const char *blank(struct scan *s)
{
	int begun, last = '\n', depth = 0, opened = 0;

	for (int c = take(s), next; c != EOF; last = c, c = take(s)) {
		begun = s->line;
		next = getc_unlocked(s->in);
		ungetc(next, s->in);
		if (c == '#' || (c == '/' && next == '/' && strchr(" \t\r\n={}(),\"'", last))) {
			while (c != EOF && c != '\n')
				c = take(s);
			putc_unlocked('\n', s->out);
		} else if (c == '/' && next == '*') {
			c = ' ';
			if (skip_comment(s)) {
				s->line = begun;
				return "the comment that begins here has no end: */ is missing";
			}
		} else {
			putc_unlocked(c, s->out);
			if (c == '{' && !depth++)
				opened = begun;
			else if (c == '}' && depth)
				depth--;
			if ((c == '"' || c == '\'') && copy_quoted(s, c)) {
				s->line = begun;
				return "the text that begins here has no end: a quote is missing";
			}
		}
	}
	if (s->nul_line) {
		s->line = s->nul_line;
		return "a NUL byte stands here: this is no text file";
	}
	if (depth) { /* libconfuse takes the end of the file for that of a section */
		s->line = opened;
		return "what begins here has no end: a } is missing";
	}
	return NULL;
}

const char *sf_blank_comments(FILE *in, FILE *out, int *line)
{
	struct scan scan = {.in = in, .out = out, .line = 1};
	const char *fault = blank(&scan);

	putc_unlocked('\n', out); /* the last line may have no end of its own */
	*line = scan.line;
	return fault;
}
