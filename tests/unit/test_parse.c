// SPDX-License-Identifier: GPL-2.0-only
/*
 * The parser of the census, the same lines that run in the kernel: each outcome and its neighbour,
 * every length. tests/bpf runs the programs themselves against another parser.
 */
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

/* Links --------------------------------------------------------------------------------------- */

static void plain_and_raw(void **state)
{
	struct sf_packet p;
	struct frame f;

	(void)state;
	syn4(&f);
	is_the_syn(&f, SF_FAMILY_V4);
	syn6(&f);
	is_the_syn(&f, SF_FAMILY_V6);
	assert_int_equal(parsed(&f, &p), SF_PARSED_TCP);
	assert_int_equal(p.l3, 14);
	assert_int_equal(p.payload, 14 + 40 + 20);
	f.size = 0;
	put_ipv4(&f, 0, 20, 0, 6);
	put_tcp(&f, 5, SF_TCP_SYN);
	assert_int_equal(parse_as(&f, f.size, SF_RAW_IP, &p), SF_PARSED_TCP);
	assert_int_equal(p.l3, 0);
	assert_int_equal(p.payload, 40);
	f.size = 0;
	put_ipv6(&f, 6, 20);
	put_tcp(&f, 5, SF_TCP_SYN);
	assert_int_equal(parse_as(&f, f.size, SF_RAW_IP, &p), SF_PARSED_TCP);
	for (unsigned version = 0; version < 16; version++) {
		f.b[0] = (__u8)(version << 4 | 5);
		assert_int_equal(parse_as(&f, f.size, SF_RAW_IP, &p) == SF_PARSED_NOT_IP,
				 version != 4 && version != 6);
	}
	assert_int_equal(parse_as(&f, 0, SF_RAW_IP, &p), SF_PARSED_TRUNCATED);
}

static void ether_types(void **state)
{
	struct frame f;

	(void)state;
	syn4(&f);
	for (unsigned type = 0; type < 0x10000; type++) {
		bool tag = type == 0x8100 || type == 0x88a8 || type == 0x9100 || type == 0x9200 ||
			   type == 0x9300;

		set16(&f, 12, type);
		if (type == 0x0800)
			assert_int_equal(outcome(&f), SF_PARSED_TCP);
		else if (type == 0x86dd)
			assert_int_equal(outcome(&f), SF_PARSED_BAD_HEADER);
		else if (!tag)
			assert_int_equal(outcome(&f), SF_PARSED_NOT_IP);
	}
}

static void tags(void **state)
{
	static const unsigned types[] = {0x8100, 0x88a8, 0x9100, 0x9200, 0x9300};
	struct frame f;

	(void)state;
	for (unsigned t = 0; t < 5; t++)
		for (int n = 0; n <= 10; n++)
			for (int v6 = 0; v6 <= 1; v6++) {
				put_link(&f);
				for (int i = 0; i < n; i++) /* 0: a priority tag */
					put_tag(&f, types[t], i % 2 ? 0xefff : 0);
				put16(&f, v6 ? 0x86dd : 0x0800);
				if (v6)
					put_ipv6(&f, 6, 20);
				else
					put_ipv4(&f, 0, 20, 0, 6);
				put_tcp(&f, 5, SF_TCP_SYN);
				if (n <= SF_TAGS_MAX)
					is_the_syn(&f, v6 ? SF_FAMILY_V6 : SF_FAMILY_V4);
				else if (t < 2)
					assert_int_equal(outcome(&f), SF_PARSED_TOO_MANY);
				else /* no standard's tags: either name will do */
					assert_true(outcome(&f) == SF_PARSED_TOO_MANY ||
						    outcome(&f) == SF_PARSED_NOT_IP);
			}
	put_link(&f); /* QinQ as it is used, and a mixture */
	put_tag(&f, 0x88a8, 100);
	put_tag(&f, 0x8100, 7);
	put_tag(&f, 0x8100, 0);
	put16(&f, 0x0800);
	put_ipv4(&f, 0, 20, 0, 6);
	put_tcp(&f, 5, SF_TCP_SYN);
	is_the_syn(&f, SF_FAMILY_V4);
}

/* IPv4 ---------------------------------------------------------------------------------------- */

static void ipv4_options(void **state)
{
	struct sf_packet p;
	struct frame f;

	(void)state;
	for (unsigned options = 0; options <= 40; options += 4) {
		put_link(&f);
		put16(&f, 0x0800);
		put_ipv4(&f, options, 20, 0, 6);
		put_tcp(&f, 5, SF_TCP_SYN);
		is_the_syn(&f, SF_FAMILY_V4);
		assert_int_equal(parsed(&f, &p), SF_PARSED_TCP);
		assert_int_equal(p.payload, 14 + 20 + options + 20);
	}
	for (unsigned ihl = 0; ihl < 16; ihl++)
		for (unsigned version = 0; version < 16; version++) {
			syn4(&f);
			f.b[14] = (__u8)(version << 4 | ihl);
			if (version != 4 || ihl < 5)
				assert_int_equal(outcome(&f), SF_PARSED_BAD_HEADER);
			else if (ihl > 5) /* the TCP header would begin further on */
				assert_int_equal(outcome(&f), SF_PARSED_TRUNCATED);
		}
}

static void other_protocols(void **state)
{
	struct frame f;

	(void)state;
	for (unsigned protocol = 0; protocol < 256; protocol++) {
		bool extension = protocol == 0 || protocol == 43 || protocol == 44 ||
				 protocol == 51 || protocol == 60 || protocol == 135 ||
				 protocol == 139 || protocol == 140;

		syn4(&f);
		f.b[14 + 9] = (__u8)protocol;
		assert_int_equal(outcome(&f), protocol == 6 ? SF_PARSED_TCP : SF_PARSED_OTHER);
		syn6(&f);
		f.b[14 + 6] = (__u8)protocol;
		if (!extension)
			assert_int_equal(outcome(&f),
					 protocol == 6 ? SF_PARSED_TCP : SF_PARSED_OTHER);
	}
}

static void lengths_that_are_told(void **state)
{
	struct frame f;

	(void)state;
	for (unsigned total = 0; total < 200; total++) {
		syn4(&f);
		put(&f, NULL, 30); /* padding, that may hold anything */
		set16(&f, 14 + 2, total);
		/* 0: BIG TCP */
		if (total >= 40 || total == 0)
			is_the_syn(&f, SF_FAMILY_V4);
		else
			assert_true(outcome(&f) == SF_PARSED_TRUNCATED ||
				    (total < 20 && outcome(&f) == SF_PARSED_BAD_HEADER));
		syn6(&f);
		put(&f, NULL, 30);
		set16(&f, 14 + 4, total);
		if (total >= 20 || total == 0)
			is_the_syn(&f, SF_FAMILY_V6);
		else
			assert_int_equal(outcome(&f), SF_PARSED_TRUNCATED);
	}
	syn4(&f); /* the padding is no TCP header */
	set16(&f, 14 + 2, 20);
	assert_int_not_equal(outcome(&f), SF_PARSED_TCP);
}

/* TCP ----------------------------------------------------------------------------------------- */

static void tcp_offsets_and_flags(void **state)
{
	struct sf_packet p;
	struct frame f;

	(void)state;
	for (unsigned doff = 0; doff < 16; doff++)
		for (unsigned flags = 0; flags < 256; flags++) {
			unsigned options = doff > 5 ? doff * 4 - 20 : 0;

			put_link(&f);
			put16(&f, 0x0800);
			put_ipv4(&f, 0, 20 + options, 0, 6);
			put_tcp(&f, doff, (__u8)flags);
			put(&f, NULL, options);
			assert_int_equal(parsed(&f, &p),
					 doff < 5 ? SF_PARSED_BAD_HEADER : SF_PARSED_TCP);
			if (doff < 5)
				continue;
			assert_int_equal(p.flags, flags);
			assert_int_equal(p.payload, f.size);
		}
}

/* Cut, and random ------------------------------------------------------------------------------ */

/* However short: it is truncated until the 20th byte of TCP, and is the same from then on. */
static void cut_everywhere(void **state)
{
	struct frame f;
	struct sf_packet p;

	(void)state;
	for (int v6 = 0; v6 <= 1; v6++)
		for (int raw = 0; raw <= 1; raw++) {
			__u32 whole;

			put_link(&f);
			put_tag(&f, 0x8100, 7);
			put16(&f, v6 ? 0x86dd : 0x0800);
			if (raw)
				f.size = 0;
			if (v6) {
				put_ipv6(&f, 0, 8 + 16 + 20 + 12);
				put(&f, "\x33\0\1\4\0\0\0\0", 8);
				put(&f, "\6\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
			} else {
				put_ipv4(&f, 12, 20 + 12, 0, 6);
			}
			whole = f.size + 20;
			put_tcp(&f, 8, SF_TCP_SYN);
			put(&f, NULL, 12);
			for (__u32 size = 0; size <= f.size; size++)
				assert_int_equal(
					parse_as(&f, size, raw ? SF_RAW_IP : SF_ETHERNET, &p),
					size < whole ? SF_PARSED_TRUNCATED : SF_PARSED_TCP);
		}
}

static __u32 random32(__u64 *seed)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (__u32)(*seed >> 33);
}

/* Any bytes: an outcome there is, and nothing beyond the end is read (with the sanitizers on). */
static void random_bytes(void **state)
{
	__u64 seed = 42;
	struct sf_packet p;
	struct frame f;

	(void)state;
	for (int n = 0; n < 400000; n++) {
		if (n % 2)
			syn4(&f);
		else
			syn6(&f);
		put(&f, NULL, 30);
		for (__u32 i = random32(&seed) % 6; i; i--)
			f.b[12 + random32(&seed) % 60] = random32(&seed) % 2
								 ? (__u8)random32(&seed)
								 : kinds[random32(&seed) % 7];
		assert_in_range(parse_as(&f, random32(&seed) % (f.size + 1),
					 random32(&seed) % 4 ? SF_ETHERNET : SF_RAW_IP, &p),
				SF_PARSED_TCP, SF_PARSED_TOO_MANY);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_and_raw),
		cmocka_unit_test(ether_types),
		cmocka_unit_test(tags),
		cmocka_unit_test(ipv4_options),
		cmocka_unit_test(other_protocols),
		cmocka_unit_test(lengths_that_are_told),
		cmocka_unit_test(tcp_offsets_and_flags),
		cmocka_unit_test(cut_everywhere),
		cmocka_unit_test(random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
