// SPDX-License-Identifier: GPL-2.0-only
/* Hostile texts: what comes out is bounded, printable, valid UTF-8, and can be turned back. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../../user/escape.h"

static void expect(const void *text, size_t length, const char *wanted)
{
	char out[256];
	size_t n = sf_escape(text, length, out, sizeof(out));

	assert_string_equal(out, wanted);
	assert_int_equal(n, strlen(wanted));
}

#define EXPECT(text, wanted) expect(text, sizeof(text) - 1, wanted)

static void harmless_stays(void **state)
{
	(void)state;
	EXPECT("", "");
	EXPECT("postfix", "postfix");
	EXPECT("a b=c;'`$|%n", "a b=c;'`$|%n");
	EXPECT("M\xc3\xbcller", "M\xc3\xbcller");
	EXPECT("\xe6\xbc\xa2\xf0\x9f\x98\x80", "\xe6\xbc\xa2\xf0\x9f\x98\x80");
	/* Neighbours of what is escaped. */
	EXPECT(" ~", " ~");
	EXPECT("\xc2\xa0\xc2\xac\xc2\xae", "\xc2\xa0\xc2\xac\xc2\xae");
	EXPECT("\xe2\x80\x8a\xe2\x80\x90\xe2\x80\xaf", "\xe2\x80\x8a\xe2\x80\x90\xe2\x80\xaf");
	EXPECT("\xf4\x8f\xbf\xbd", "\xf4\x8f\xbf\xbd");
}

static void hostile_is_escaped(void **state)
{
	(void)state;
	EXPECT("a\nb\r\t", "a\\x0ab\\x0d\\x09");
	EXPECT("\x1b[31m\x07\x7f", "\\x1b[31m\\x07\\x7f");
	EXPECT("a\0b", "a\\x00b");
	EXPECT("\"\\", "\\\"\\\\");
	/* C1 controls: CSI in UTF-8, and as a raw byte. */
	EXPECT("\xc2\x9b\x9b", "\\xc2\\x9b\\x9b");
	/* soft hyphen, zero width space, right-to-left override, isolate, BOM, Arabic letter mark
	 */
	EXPECT("\xc2\xad", "\\xc2\\xad");
	EXPECT("\xe2\x80\x8b", "\\xe2\\x80\\x8b");
	EXPECT("\xe2\x80\xae", "\\xe2\\x80\\xae");
	EXPECT("\xe2\x81\xa6", "\\xe2\\x81\\xa6");
	EXPECT("\xef\xbb\xbf", "\\xef\\xbb\\xbf");
	EXPECT("\xd8\x9c", "\\xd8\\x9c");
	/* line separator, Hangul filler, variation selector, tag characters, a noncharacter */
	EXPECT("\xe2\x80\xa8", "\\xe2\\x80\\xa8");
	EXPECT("\xe3\x85\xa4", "\\xe3\\x85\\xa4");
	EXPECT("\xef\xb8\x8f", "\\xef\\xb8\\x8f");
	EXPECT("\xf3\xa0\x81\x81", "\\xf3\\xa0\\x81\\x81");
	EXPECT("\xef\xbf\xbf", "\\xef\\xbf\\xbf");
}

static void invalid_utf8_is_escaped(void **state)
{
	(void)state;
	EXPECT("\x80\xbf", "\\x80\\xbf");
	EXPECT("\xc0\xaf", "\\xc0\\xaf");	   /* "/" the long way */
	EXPECT("\xe0\x80\xaf", "\\xe0\\x80\\xaf"); /* longer */
	EXPECT("\xf0\x80\x80\xaf", "\\xf0\\x80\\x80\\xaf");
	EXPECT("\xed\xa0\x80", "\\xed\\xa0\\x80");	    /* a surrogate */
	EXPECT("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* above 10FFFF */
	EXPECT("\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80");
	EXPECT("\xff\xfe", "\\xff\\xfe");
	EXPECT("\xc3", "\\xc3"); /* cut by the end, as comm is after 15 bytes */
	EXPECT("\xe6\xbc", "\\xe6\\xbc");
	EXPECT("\xf0\x9f\x98", "\\xf0\\x9f\\x98");
	EXPECT("\xc3\"", "\\xc3\\\""); /* must not swallow the quote */
	EXPECT("\xe6\xbc\n", "\\xe6\\xbc\\x0a");
}

/* Whatever the size: never past it, always ended, never half an escape. */
static void cut_is_whole(void **state)
{
	static const char text[] = "ab\n\xc3\xbc\"\xf0\x9f\x98\x80\x1b\xe2\x80\xae.z";
	char whole[128], out[128];
	size_t full;

	(void)state;
	full = sf_escape(text, sizeof(text) - 1, whole, sizeof(whole));
	for (size_t size = 1; size <= full + 1; size++) {
		size_t n;

		memset(out, 'X', sizeof(out));
		n = sf_escape(text, sizeof(text) - 1, out, size);
		assert_true(n < size);
		assert_int_equal(out[n], '\0');
		assert_int_equal(strlen(out), n);
		for (size_t i = size; i < sizeof(out); i++)
			assert_int_equal(out[i], 'X');
		if (size == full + 1) {
			assert_string_equal(out, whole);
			continue;
		}
		if (size >= 4) {
			assert_true(n >= 3);
			assert_memory_equal(out + n - 3, "...", 3);
			n -= 3;
		}
		assert_memory_equal(out, whole, n);
		/* Where it was cut, a piece of the whole begins: not inside \xNN or a sequence. */
		assert_true(((unsigned char)whole[n] & 0xc0) != 0x80);
		for (size_t i = 0; i < n;) {
			size_t step = whole[i] != '\\' ? 1 : whole[i + 1] == 'x' ? 4 : 2;

			assert_true(i + step <= n);
			i += step;
		}
	}
	/* The same memory, and a room of one. */
	out[1] = 'X';
	assert_int_equal(sf_escape("abc", 3, out, 1), 0);
	assert_int_equal(out[0], '\0');
	assert_int_equal(out[1], 'X');
}

/* Undo it as a reader would. Returns the length. */
static size_t turn_back(const char *in, unsigned char *out)
{
	size_t n = 0;

	while (*in) {
		if (in[0] == '\\' && in[1] == 'x') {
			char hex[3] = {in[2], in[3], '\0'};

			out[n++] = (unsigned char)strtoul(hex, NULL, 16);
			in += 4;
		} else {
			in += in[0] == '\\';
			out[n++] = (unsigned char)*in++;
		}
	}
	return n;
}

static void any_bytes_come_back(void **state)
{
	static const unsigned char awkward[] = {0x00, 0x1b, '"',  '\\', 'x',  0x80, 0xbf, 0xc2,
						0xe0, 0xe2, 0xed, 0xf0, 0xf4, 0xff, 0xae, 'a'};
	uint32_t seed = 25;

	(void)state;
	for (int round = 0; round < 200000; round++) {
		unsigned char in[24], back[24];
		char out[24 * 4 + 1];
		size_t length = (size_t)round % (sizeof(in) + 1);

		for (size_t i = 0; i < length; i++) {
			seed = seed * 1664525 + 1013904223;
			in[i] = seed >> 31 ? awkward[(seed >> 20) & 15]
					   : (unsigned char)(seed >> 16);
		}
		sf_escape(in, length, out, sizeof(out));
		for (const char *p = out; *p; p++)
			assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
		assert_int_equal(turn_back(out, back), length);
		assert_memory_equal(back, in, length);
	}
}

/* Every code point: it stays as it is, or all its bytes are escaped. */
static void every_code_point(void **state)
{
	(void)state;
	for (uint32_t c = 0x80; c <= 0x10ffff; c++) {
		char in[5] = "", out[32];
		size_t n = 0;

		if (c >= 0xd800 && c <= 0xdfff)
			continue;
		if (c < 0x800) {
			in[n++] = (char)(0xc0 | c >> 6);
		} else if (c < 0x10000) {
			in[n++] = (char)(0xe0 | c >> 12);
			in[n++] = (char)(0x80 | ((c >> 6) & 0x3f));
		} else {
			in[n++] = (char)(0xf0 | c >> 18);
			in[n++] = (char)(0x80 | ((c >> 12) & 0x3f));
			in[n++] = (char)(0x80 | ((c >> 6) & 0x3f));
		}
		in[n++] = (char)(0x80 | (c & 0x3f));
		sf_escape(in, n, out, sizeof(out));
		if (strcmp(out, in))
			assert_int_equal(strlen(out), 4 * n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(harmless_stays),	   cmocka_unit_test(hostile_is_escaped),
		cmocka_unit_test(invalid_utf8_is_escaped), cmocka_unit_test(cut_is_whole),
		cmocka_unit_test(any_bytes_come_back),	   cmocka_unit_test(every_code_point),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
