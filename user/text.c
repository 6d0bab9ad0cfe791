// SPDX-License-Identifier: GPL-2.0-only
#include "text.h"
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

static ssize_t put(void *context, const char *data, size_t size)
{
	struct sf_text *text = context;

	if (size >= text->room - text->length) {
		size_t room = (text->length + size + 1) * 2;
		char *more = realloc(text->data, room);

		if (!more)
			return 0; /* an error, which the stream keeps */
		text->data = more;
		text->room = room;
	}
	memcpy(text->data + text->length, data, size);
	text->length += size;
	text->data[text->length] = '\0';
	return (ssize_t)size;
}

FILE *sf_text_open(struct sf_text *text)
{
	const cookie_io_functions_t functions = {.write = put};
	FILE *out;

	memset(text, 0, sizeof(*text));
	text->data = calloc(1, 1);
	if (!text->data)
		return NULL;
	text->room = 1;
	out = fopencookie(text, "w", functions);
	if (!out)
		free(text->data);
	return out;
}

char *sf_text_close(FILE *out, struct sf_text *text)
{
	int failed = ferror(out);

	if (!fclose(out) && !failed)
		return text->data;
	free(text->data);
	text->data = NULL;
	return NULL;
}
