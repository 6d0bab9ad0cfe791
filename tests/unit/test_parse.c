// SPDX-License-Identifier: GPL-2.0-only
/*
 * The parser of the census, the same lines that run in the kernel: each outcome and its neighbour,
 * every length. tests/bpf runs the programs themselves against another parser.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../../bpf/lib/parse.h"

struct frame {
	__u8 b[9000];
	__u32 size;
};

static const __u8 kinds[] = {0, 43, 51, 60, 135, 139, 140};

/* Building ------------------------------------------------------------------------------------ */

static void put(struct frame *f, const void *what, size_t n)
{
	assert_true(f->size + n <= sizeof(f->b));
	if (what)
		memcpy(f->b + f->size, what, n);
	else
		memset(f->b + f->size, 0, n);
	f->size += (__u32)n;
}

static void put16(struct frame *f, unsigned value)
{
	const __u8 b[] = {(__u8)(value >> 8), (__u8)value};

	put(f, b, 2);
}

static void set16(struct frame *f, __u32 at, unsigned value)
{
	f->b[at] = (__u8)(value >> 8);
	f->b[at + 1] = (__u8)value;
}

static void put_link(struct frame *f)
{
	f->size = 0;
	put(f, "\2\0\0\0\0\2\2\0\0\0\0\1", 12);
}

static void put_tag(struct frame *f, unsigned type, unsigned tci)
{
	put16(f, type);
	put16(f, tci);
}

static void put_tcp(struct frame *f, unsigned doff, __u8 flags)
{
	put16(f, 0x1234);
	put16(f, 25);
	put(f, "\xde\xad\xbe\xef\1\2\3\4", 8);
	put(f, &(__u8){(__u8)(doff << 4)}, 1);
	put(f, &flags, 1);
	put(f, NULL, 6);
}

/* The header of IPv4 with `options` bytes of them; what follows is put by the caller. */
static void put_ipv4(struct frame *f, unsigned options, unsigned after, unsigned fragment,
		     __u8 protocol)
{
	const __u8 first[] = {(__u8)(0x40 | (5 + options / 4)), 0};

	put(f, first, 2);
	put16(f, 20 + options + after);
	put16(f, 1);
	put16(f, fragment);
	put(f, &(__u8){64}, 1);
	put(f, &protocol, 1);
	put16(f, 0);
	put(f, "\xc0\0\2\1\xcb\0\x71\x19", 8);
	for (unsigned i = 0; i < options; i++)
		put(f, "\1", 1);
}

static void put_ipv6(struct frame *f, __u8 next, unsigned payload)
{
	put(f, "\x60\0\0\0", 4);
	put16(f, payload);
	put(f, &next, 1);
	put(f, &(__u8){64}, 1);
	put(f, "\x20\1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	put(f, "\x20\1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\2", 16);
}

static void syn4(struct frame *f)
{
	put_link(f);
	put16(f, 0x0800);
	put_ipv4(f, 0, 20, 0, 6);
	put_tcp(f, 5, SF_TCP_SYN);
}

static void syn6(struct frame *f)
{
	put_link(f);
	put16(f, 0x86dd);
	put_ipv6(f, 6, 20);
	put_tcp(f, 5, SF_TCP_SYN);
}

/* Looking: from a copy that ends where its memory ends, so that the sanitizers see a byte too far.
 */

static enum sf_outcome parse_as(const struct frame *f, __u32 size, __u32 link, struct sf_packet *p)
{
	__u8 *copy = malloc(size ? size : 1);
	enum sf_outcome outcome;

	memcpy(copy, f->b, size);
	memset(p, 0xa5, sizeof(*p));
	outcome = sf_parse(copy, copy + size, link, p);
	if (outcome == SF_PARSED_TCP)
		assert_true(sf_packet_addresses(copy, copy + size, p));
	free(copy);
	return outcome;
}

static enum sf_outcome parsed(const struct frame *f, struct sf_packet *p)
{
	return parse_as(f, f->size, SF_ETHERNET, p);
}

static enum sf_outcome outcome(const struct frame *f)
{
	struct sf_packet p;

	return parsed(f, &p);
}

static void is_the_syn(const struct frame *f, __u32 family)
{
	static const __u8 v4_source[16] = {[10] = 0xff, [11] = 0xff, [12] = 192, 0, 2, 1};
	static const __u8 v4_far[16] = {[10] = 0xff, [11] = 0xff, [12] = 203, 0, 113, 25};
	static const __u8 v6_source[16] = {0x20, 1, 0xd, 0xb8, [15] = 1};
	static const __u8 v6_far[16] = {0x20, 1, 0xd, 0xb8, [15] = 2};
	struct sf_packet p;

	assert_int_equal(parsed(f, &p), SF_PARSED_TCP);
	assert_int_equal(p.family, family);
	assert_int_equal(p.sport, 0x1234);
	assert_int_equal(p.dport, 25);
	assert_int_equal(p.seq, 0xdeadbeef);
	assert_int_equal(p.ack, 0x01020304);
	assert_int_equal(p.flags & SF_TCP_SYN, SF_TCP_SYN);
	assert_memory_equal(&p.saddr, family == SF_FAMILY_V4 ? v4_source : v6_source, 16);
	assert_memory_equal(&p.daddr, family == SF_FAMILY_V4 ? v4_far : v6_far, 16);
}

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
		cmocka_unit_test(plain_and_raw),
		cmocka_unit_test(ether_types),
		cmocka_unit_test(tags),
		cmocka_unit_test(ipv4_options),
		cmocka_unit_test(other_protocols),
		cmocka_unit_test(lengths_that_are_told),
		cmocka_unit_test(fragments_of_ipv4),
		cmocka_unit_test(fragments_of_ipv6),
		cmocka_unit_test(chains),
		cmocka_unit_test(lengths_of_extensions),
		cmocka_unit_test(tcp_offsets_and_flags),
		cmocka_unit_test(cut_everywhere),
		cmocka_unit_test(random_bytes),
		cmocka_unit_test(far_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
