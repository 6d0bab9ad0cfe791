// SPDX-License-Identifier: GPL-2.0-only
/*
 * escape.c: whatever goes in, what comes out is printable, fits, is unambiguous (it can be taken
 * back, byte for byte) and is valid in JSON and between quotes.
 */
#include "fuzz.h"
#include "../../user/escape.h"
#include <json-c/json.h>

static int nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What was escaped: -1 where the text is no escaped one. */
static ssize_t take_back(const char *text, size_t length, uint8_t *out)
{
	size_t n = 0;

	for (size_t i = 0; i < length; i++) {
		if (text[i] == '"')
			return -1;
		if (text[i] != '\\') {
			out[n++] = (uint8_t)text[i];
		} else if (i + 1 < length && (text[i + 1] == '"' || text[i + 1] == '\\')) {
			out[n++] = (uint8_t)text[++i];
		} else if (i + 3 < length && text[i + 1] == 'x' && nibble(text[i + 2]) >= 0 &&
			   nibble(text[i + 3]) >= 0) {
			out[n++] = (uint8_t)(nibble(text[i + 2]) << 4 | nibble(text[i + 3]));
			i += 3;
		} else {
			return -1;
		}
	}
	return (ssize_t)n;
}

static void check_json(const char *text)
{
	struct json_object *o = json_object_new_string(text);

	PROPERTY(fuzz_is_json(json_object_to_json_string(o)));
	json_object_put(o);
}

/* In a room that it may not fit in. */
static void check_cut(const uint8_t *data, size_t size, size_t room)
{
	char *out = malloc(room); /* exactly: a byte more is an error */
	uint8_t *back = malloc(room + 1);
	size_t length;
	ssize_t n;

	if (!out || !back)
		abort();
	length = sf_escape(data, size, out, room);
	PROPERTY(length < room && strlen(out) == length && fuzz_is_clean_utf8(out));
	n = take_back(out, length, back);
	PROPERTY(n >= 0);
	if (length >= 3 && !strcmp(out + length - 3, "...") &&
	    ((size_t)n > size || memcmp(back, data, (size_t)n)))
		n -= 3;
	PROPERTY((size_t)n <= size && (!n || !memcmp(back, data, (size_t)n)));
	free(out);
	free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t room = 4 * size + 1, length;
	char *out = malloc(room), *text;
	uint8_t *back = malloc(room);

	if (!out || !back)
		abort();
	length = sf_escape(data, size, out, room);
	PROPERTY(strlen(out) == length && fuzz_is_clean_utf8(out));
	PROPERTY(take_back(out, length, back) == (ssize_t)size);
	PROPERTY(!size || !memcmp(back, data, size));
	check_json(out);
	text = fuzz_string((struct fuzz_part){data, size});
	PROPERTY(sf_escape_string(text, out, room) < room && fuzz_is_clean_utf8(out));
	PROPERTY(sf_escape_controls(text, out, room) < room && fuzz_is_clean_utf8(out));
	free(text);
	for (room = 1; room < 40; room++)
		check_cut(data, size, room);
	free(out);
	free(back);
	return 0;
}
