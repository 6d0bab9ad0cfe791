/* SPDX-License-Identifier: GPL-2.0-only */
/* Frames put together header by header, and parsed from memory that ends where they end. */
#ifndef SF_TESTS_UNIT_FRAMES_H
#define SF_TESTS_UNIT_FRAMES_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdbool.h>
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

static inline void put(struct frame *f, const void *what, size_t n)
{
	assert_true(f->size + n <= sizeof(f->b));
	if (what)
		memcpy(f->b + f->size, what, n);
	else
		memset(f->b + f->size, 0, n);
	f->size += (__u32)n;
}

static inline void put16(struct frame *f, unsigned value)
{
	const __u8 b[] = {(__u8)(value >> 8), (__u8)value};

	put(f, b, 2);
}

static inline void set16(struct frame *f, __u32 at, unsigned value)
{
	f->b[at] = (__u8)(value >> 8);
	f->b[at + 1] = (__u8)value;
}

static inline void put_link(struct frame *f)
{
	f->size = 0;
	put(f, "\2\0\0\0\0\2\2\0\0\0\0\1", 12);
}

static inline void put_tag(struct frame *f, unsigned type, unsigned tci)
{
	put16(f, type);
	put16(f, tci);
}

static inline void put_tcp(struct frame *f, unsigned doff, __u8 flags)
{
	put16(f, 0x1234);
	put16(f, 25);
	put(f, "\xde\xad\xbe\xef\1\2\3\4", 8);
	put(f, &(__u8){(__u8)(doff << 4)}, 1);
	put(f, &flags, 1);
	put(f, NULL, 6);
}

/* The header of IPv4 with `options` bytes of them; what follows is put by the caller. */
static inline void put_ipv4(struct frame *f, unsigned options, unsigned after, unsigned fragment,
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

static inline void put_ipv6(struct frame *f, __u8 next, unsigned payload)
{
	put(f, "\x60\0\0\0", 4);
	put16(f, payload);
	put(f, &next, 1);
	put(f, &(__u8){64}, 1);
	put(f, "\x20\1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	put(f, "\x20\1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\2", 16);
}

static inline void syn4(struct frame *f)
{
	put_link(f);
	put16(f, 0x0800);
	put_ipv4(f, 0, 20, 0, 6);
	put_tcp(f, 5, SF_TCP_SYN);
}

static inline void syn6(struct frame *f)
{
	put_link(f);
	put16(f, 0x86dd);
	put_ipv6(f, 6, 20);
	put_tcp(f, 5, SF_TCP_SYN);
}

/* Looking: from a copy that ends where its memory ends, so that the sanitizers see a byte too far.
 */

static inline enum sf_outcome parse_as(const struct frame *f, __u32 size, __u32 link,
				       struct sf_packet *p)
{
	__u8 *copy = malloc(size ? size : 1);
	enum sf_outcome got;

	memcpy(copy, f->b, size);
	memset(p, 0xa5, sizeof(*p));
	got = sf_parse(copy, copy + size, link, p);
	if (got == SF_PARSED_TCP)
		assert_true(sf_packet_addresses(copy, copy + size, p));
	free(copy);
	return got;
}

static inline enum sf_outcome parsed(const struct frame *f, struct sf_packet *p)
{
	return parse_as(f, f->size, SF_ETHERNET, p);
}

static inline enum sf_outcome outcome(const struct frame *f)
{
	struct sf_packet p;

	return parsed(f, &p);
}

static inline void is_the_syn(const struct frame *f, __u32 family)
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

#endif
