// SPDX-License-Identifier: GPL-2.0-only
/* The parser of the census: fragments, and extension headers in every order and length. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "frames.h"

/* Fragments ----------------------------------------------------------------------------------- */

static void fragments_of_ipv4(void **state)
{
	struct sf_packet p;
	struct frame f;

	(void)state;
	for (unsigned have = 0; have <= 40; have++) {
		put_link(&f);
		put16(&f, 0x0800);
		put_ipv4(&f, 0, have, 0x2000, 6);
		put_tcp(&f, 5, SF_TCP_SYN);
		put(&f, NULL, 20);
		f.size = 34 + have;
		assert_int_equal(parsed(&f, &p),
				 have >= 20 ? SF_PARSED_TCP : SF_PARSED_TINY_FRAGMENT);
		if (have >= 20)
			assert_int_equal(p.first_fragment, 1);
		f.size = 34 + 40; /* the same, padded */
		assert_int_equal(outcome(&f), have >= 20 ? SF_PARSED_TCP : SF_PARSED_TINY_FRAGMENT);
	}
	for (unsigned offset = 1; offset < 0x2000; offset++)
		for (unsigned bits = 0; bits < 8; bits++) {
			syn4(&f);
			set16(&f, 14 + 6, bits << 13 | offset);
			/* RFC 1858, RFC 3128: it could rewrite ports and flags */
			assert_int_equal(outcome(&f), offset * 8 < 20 ? SF_PARSED_TINY_FRAGMENT
								      : SF_PARSED_FRAGMENT);
			f.b[14 + 9] = 17;
			assert_int_equal(outcome(&f), SF_PARSED_FRAGMENT);
		}
	syn4(&f); /* don't fragment, and the reserved bit: no fragment */
	set16(&f, 14 + 6, 0xc000);
	assert_int_equal(parsed(&f, &p), SF_PARSED_TCP);
	assert_int_equal(p.first_fragment, 0);
	set16(&f, 14 + 6, 0x2000);
	f.b[14 + 9] = 17;
	assert_int_equal(outcome(&f), SF_PARSED_OTHER);
}

static void put_fragment(struct frame *f, __u8 next, unsigned offset_and_more)
{
	put(f, (__u8[]){next, 0}, 2);
	put16(f, offset_and_more);
	put(f, "\0\0\0\7", 4);
}

static void fragments_of_ipv6(void **state)
{
	struct sf_packet p;
	struct frame f;

	(void)state;
	for (unsigned more = 0; more <= 1; more++)
		for (unsigned have = 0; have <= 40; have++) {
			put_link(&f);
			put16(&f, 0x86dd);
			put_ipv6(&f, 44, 8 + have);
			put_fragment(&f, 6, more);
			put_tcp(&f, 5, SF_TCP_SYN);
			put(&f, NULL, 20);
			f.size = 14 + 40 + 8 + have;
			assert_int_equal(parsed(&f, &p), have >= 20 ? SF_PARSED_TCP
							 : more	    ? SF_PARSED_TINY_FRAGMENT
								    : SF_PARSED_TRUNCATED);
			if (have >= 20)
				assert_int_equal(p.first_fragment, more);
		}
	for (unsigned where = 8; where < 0x10000; where++) {
		put_link(&f);
		put16(&f, 0x86dd);
		put_ipv6(&f, 44, 28);
		put_fragment(&f, 6, where);
		put_tcp(&f, 5, SF_TCP_SYN);
		assert_int_equal(outcome(&f), (where & 0xfff8) < 20 ? SF_PARSED_TINY_FRAGMENT
								    : SF_PARSED_FRAGMENT);
		f.b[14 + 40] = 17;
		assert_int_equal(outcome(&f), SF_PARSED_FRAGMENT);
	}
	/* The reserved bits are neither offset nor more. */
	put_link(&f);
	put16(&f, 0x86dd);
	put_ipv6(&f, 44, 28);
	put_fragment(&f, 6, 6);
	put_tcp(&f, 5, SF_TCP_SYN);
	assert_int_equal(parsed(&f, &p), SF_PARSED_TCP);
	assert_int_equal(p.first_fragment, 0);
	/* RFC 7112: the first fragment has to hold the whole chain */
	put_link(&f);
	put16(&f, 0x86dd);
	put_ipv6(&f, 44, 8 + 4);
	put_fragment(&f, 60, 1);
	put(&f, "\6\0\1\4", 4);
	assert_int_equal(outcome(&f), SF_PARSED_TINY_FRAGMENT);
}

/* Extension headers --------------------------------------------------------------------------- */

static void chains(void **state)
{
	struct frame f;

	(void)state;
	for (size_t k = 0; k <= sizeof(kinds); k++)
		for (unsigned n = 0; n <= 40; n++) {
			/* at the end: the fragment header (offset 0, alone) in a row */
			__u8 kind = k < sizeof(kinds) ? kinds[k] : 44;

			put_link(&f);
			put16(&f, 0x86dd);
			put_ipv6(&f, n ? kind : 6, n * 8 + 20);
			for (unsigned i = 0; i < n; i++) {
				put(&f, &(__u8){i + 1 < n ? kind : 6}, 1);
				put(&f, NULL, 7); /* 8 bytes: AH's length 0 too */
			}
			put_tcp(&f, 5, SF_TCP_SYN);
			if (n < SF_EXTENSIONS_MAX)
				is_the_syn(&f, SF_FAMILY_V6);
			else if (n > SF_EXTENSIONS_MAX)
				assert_int_equal(outcome(&f), SF_PARSED_TOO_MANY);
			else /* at the limit itself */
				assert_true(outcome(&f) == SF_PARSED_TCP ||
					    outcome(&f) == SF_PARSED_TOO_MANY);
		}
}

static void lengths_of_extensions(void **state)
{
	struct sf_packet p;
	struct frame f;

	(void)state;
	for (size_t k = 0; k < sizeof(kinds); k++)
		for (unsigned length = 0; length < 256; length++) {
			/* AH counts in words of 4 bytes, less 2 (RFC 4302); the others in 8, less 1
			 */
			unsigned size = kinds[k] == 51 ? (length + 2) * 4 : (length + 1) * 8;

			put_link(&f);
			put16(&f, 0x86dd);
			put_ipv6(&f, kinds[k], size + 20);
			put(&f, (__u8[]){6, (__u8)length}, 2);
			put(&f, NULL, size - 2);
			put_tcp(&f, 5, SF_TCP_SYN);
			is_the_syn(&f, SF_FAMILY_V6);
			assert_int_equal(parsed(&f, &p), SF_PARSED_TCP);
			assert_int_equal(p.payload, 14 + 40 + size + 20);
			f.size--;
			assert_int_equal(outcome(&f), SF_PARSED_TRUNCATED);
			f.size++;
			set16(&f, 14 + 4, size + 19);
			assert_int_equal(outcome(&f), SF_PARSED_TRUNCATED);
		}
	/* A fragment header has 8 bytes whatever its reserved second one says. */
	put_link(&f);
	put16(&f, 0x86dd);
	put_ipv6(&f, 44, 28);
	put(&f, "\6\xff\0\0\0\0\0\1", 8);
	put_tcp(&f, 5, SF_TCP_SYN);
	is_the_syn(&f, SF_FAMILY_V6);
	/* ESP and "no next header" end what can be read. */
	put_link(&f);
	put16(&f, 0x86dd);
	put_ipv6(&f, 60, 28);
	put(&f, "\x32\0\0\0\0\0\0\0", 8);
	put_tcp(&f, 5, SF_TCP_SYN);
	assert_int_equal(outcome(&f), SF_PARSED_OTHER);
}

/* Headers may lie far behind: on links of 9,000 bytes too. */
static void far_headers(void **state)
{
	struct frame f;

	(void)state;
	for (unsigned n = 1; n <= 4; n++)
		for (unsigned length = 0; length < 256; length += 15) {
			put_link(&f);
			put16(&f, 0x86dd);
			put_ipv6(&f, 60, n * (length + 1) * 8 + 20);
			for (unsigned i = 0; i < n; i++) {
				put(&f, (__u8[]){i + 1 < n ? 60 : 6, (__u8)length}, 2);
				put(&f, NULL, (length + 1) * 8 - 2);
			}
			put_tcp(&f, 5, SF_TCP_SYN);
			if (f.size - 20 <= SF_HEADERS_MAX)
				is_the_syn(&f, SF_FAMILY_V6);
			else
				assert_int_equal(outcome(&f), SF_PARSED_TRUNCATED);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fragments_of_ipv4),
		cmocka_unit_test(fragments_of_ipv6),
		cmocka_unit_test(chains),
		cmocka_unit_test(lengths_of_extensions),
		cmocka_unit_test(far_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
