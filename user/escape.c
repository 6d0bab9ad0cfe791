// SPDX-License-Identifier: GPL-2.0-only
#include "escape.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Length of the valid UTF-8 sequence at `p` (RFC 3629: shortest form, no surrogates), or 0. */
static size_t utf8_sequence(const unsigned char *p, size_t left, uint32_t *code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n;

	if (*p < 0x80) {
		*code = *p;
		return 1;
	}
	if (*p >= 0xc2 && *p <= 0xdf) {
		n = 2;
		*code = *p & 0x1f;
	} else if ((*p & 0xf0) == 0xe0) {
		n = 3;
		*code = *p & 0x0f;
	} else if (*p >= 0xf0 && *p <= 0xf4) {
		n = 4;
		*code = *p & 0x07;
	} else {
		return 0;
	}
	if (left < n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (p[i] & 0x3f);
	}
	if (*code < least[n] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
		return 0;
	return n;
}

/*
 * Characters that a terminal or a reader may be misled by: controls, those that turn the direction
 * of writing, those that show nothing (Unicode's Default_Ignorable_Code_Point), line separators,
 * and noncharacters. Two texts that look alike through one of these must not be shown alike.
 */
static int is_unsafe(uint32_t code)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{0x00, 0x1f},	  {0x7f, 0x9f},	      {0xad, 0xad},	  {0x34f, 0x34f},
		{0x61c, 0x61c},	  {0x115f, 0x1160},   {0x17b4, 0x17b5},	  {0x180b, 0x180f},
		{0x200b, 0x200f}, {0x2028, 0x202e},   {0x2060, 0x206f},	  {0x3164, 0x3164},
		{0xfdd0, 0xfdef}, {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},	  {0xffa0, 0xffa0},
		{0xfff0, 0xfffb}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]) && code >= ranges[i].first; i++)
		if (code <= ranges[i].last)
			return 1;
	return (code & 0xfffe) == 0xfffe;
}

static size_t escape(const void *text, size_t length, int quotes, char *out, size_t size)
{
	const unsigned char *p = text, *end = p + length;
	size_t used = 0, safe = 0; /* safe: where "..." still fits */

	while (p < end) {
		char piece[20];
		uint32_t code = 0;
		size_t n = utf8_sequence(p, (size_t)(end - p), &code), len;

		if (quotes && n == 1 && (*p == '"' || *p == '\\')) {
			len = (size_t)snprintf(piece, sizeof(piece), "\\%c", *p);
		} else if (n && !is_unsafe(code)) {
			memcpy(piece, p, n);
			len = n;
		} else {
			len = 0;
			for (size_t i = 0; i < (n ? n : 1); i++)
				len += (size_t)snprintf(piece + len, sizeof(piece) - len, "\\x%02x",
							p[i]);
		}
		if (used + len >= size) {
			/* What was written between safe and here gives way to the mark. */
			if (safe + 4 <= size) {
				memcpy(out + safe, "...", 3);
				used = safe + 3;
			}
			break;
		}
		memcpy(out + used, piece, len);
		used += len;
		if (used + 4 <= size)
			safe = used;
		p += n ? n : 1;
	}
	out[used] = '\0';
	return used;
}

size_t sf_escape(const void *text, size_t length, char *out, size_t size)
{
	return escape(text, length, 1, out, size);
}

size_t sf_escape_controls(const char *text, char *out, size_t size)
{
	return escape(text, strlen(text), 0, out, size);
}

size_t sf_escape_string(const char *text, char *out, size_t size)
{
	return sf_escape(text, strlen(text), out, size);
}
