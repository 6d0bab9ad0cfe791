// SPDX-License-Identifier: GPL-2.0-only
#include "packet.h"
#include <string.h>

#define TAGS_MOST	8 /* of which bpf/lib/parse.h says that it follows so many */
#define EXTENSIONS_MOST 32

enum {
	HOP = 0,
	TCP = 6,
	ROUTING = 43,
	FRAGMENT = 44,
	AUTH = 51,
	OPTIONS = 60,
	MOBILITY = 135,
	HIP = 139,
	SHIM6 = 140
};

/* What is left of the packet: from `at` up to `end`, which a length field may draw nearer. */
struct rest {
	const uint8_t *data;
	size_t at, end;
};

static size_t left(const struct rest *r)
{
	return r->at < r->end ? r->end - r->at : 0;
}

static unsigned int two(const uint8_t *p)
{
	return (unsigned int)p[0] * 256 + p[1];
}

static unsigned int tcp(struct rest *r, bool more, unsigned int also, struct segment *s)
{
	const unsigned int cut = (more ? IS_TINY : IS_TRUNCATED) | also;
	const uint8_t *h = r->data + r->at;
	size_t header;

	if (left(r) < 20)
		return cut;
	header = (size_t)(h[12] / 16) * 4;
	if (header < 20)
		return IS_BAD | (also & ~(unsigned int)IS_TOO_MANY);
	s->tcp = r->at;
	s->sport = (uint16_t)two(h);
	s->dport = (uint16_t)two(h + 2);
	s->seq = (uint32_t)two(h + 4) << 16 | two(h + 6);
	s->flags = h[13];
	/* Options that are not there: the twenty bytes say what it is, though nobody would take it.
	 */
	return IS_TCP | (header > left(r) ? IS_BAD | cut : 0);
}

/* RFC 1858, 3128: a fragment that could write over ports and flags. Offsets are in eights. */
static unsigned int later_fragment(unsigned int bytes, int protocol)
{
	return protocol == TCP && bytes < 20 ? IS_TINY : IS_FRAGMENT;
}

static void mapped(uint8_t *to, const uint8_t *v4)
{
	memset(to, 0, 10);
	to[10] = to[11] = 0xff;
	memcpy(to + 12, v4, 4);
}

static unsigned int ipv4(struct rest *r, struct segment *s)
{
	const uint8_t *h = r->data + r->at;
	size_t header, total, begin = r->at;
	unsigned int fragment, also = 0;

	if (left(r) < 20)
		return IS_TRUNCATED;
	header = (size_t)(h[0] & 15) * 4;
	if (h[0] >> 4 != 4 || header < 20)
		return IS_BAD;
	total = two(h + 2);
	if (total && total < header)
		also = IS_BAD;
	if (total && begin + total < r->end) /* 0: longer than it can say (BIG TCP) */
		r->end = begin + total;
	fragment = two(h + 6);
	if (fragment & 0x1fff)
		return later_fragment((fragment & 0x1fff) * 8, h[9]) | also;
	if (h[9] != TCP)
		return IS_OTHER | also;
	s->family = 4;
	s->ip = begin;
	s->routed = header > 20;
	s->plain = header == 20 && !(fragment & 0x2000);
	mapped(s->source, h + 12);
	mapped(s->destination, h + 16);
	r->at += header;
	if (r->at > r->end)
		return (fragment & 0x2000 ? IS_TINY : IS_TRUNCATED) | also;
	return tcp(r, fragment & 0x2000, also, s);
}

static bool is_extension(int kind)
{
	return kind == HOP || kind == ROUTING || kind == FRAGMENT || kind == AUTH ||
	       kind == OPTIONS || kind == MOBILITY || kind == HIP || kind == SHIM6;
}

static unsigned int ipv6(struct rest *r, struct segment *s)
{
	const uint8_t *h = r->data + r->at;
	bool more = false;
	int next;

	if (left(r) < 40)
		return IS_TRUNCATED;
	if (h[0] >> 4 != 6)
		return IS_BAD;
	s->family = 6;
	s->ip = r->at;
	s->plain = h[6] == TCP;
	memcpy(s->source, h + 8, 16);
	memcpy(s->destination, h + 24, 16);
	next = h[6];
	r->at += 40;
	if (two(h + 4) && r->at + two(h + 4) < r->end)
		r->end = r->at + two(h + 4);
	for (int n = 0; n <= EXTENSIONS_MOST; n++) {
		const unsigned int cut = more ? IS_TINY : IS_TRUNCATED;
		const unsigned int limit = n == EXTENSIONS_MOST ? IS_TOO_MANY : 0;
		const uint8_t *x = r->data + r->at;

		if (next == TCP)
			return tcp(r, more, 0, s) | limit;
		if (limit)
			break;
		if (!is_extension(next))
			return IS_OTHER | (r->at > r->end ? cut : 0);
		if (left(r) < 8)
			return cut;
		s->routed |= next == ROUTING;
		if (next == FRAGMENT) {
			unsigned int where = two(x + 2);

			if (where & 0xfff8)
				return later_fragment(where & 0xfff8, x[0]);
			more |= where & 1;
			r->at += 8;
		} else {
			r->at += next == AUTH ? ((size_t)x[1] + 2) * 4 : ((size_t)x[1] + 1) * 8;
		}
		next = x[0];
	}
	return IS_TOO_MANY;
}

static bool is_tag(unsigned int type)
{
	return type == 0x8100 || type == 0x88a8 || type == 0x9100 || type == 0x9200 ||
	       type == 0x9300;
}

unsigned int packet_look(const uint8_t *data, size_t size, bool ethernet, struct segment *s)
{
	struct rest r = {data, 0, size};
	unsigned int type = 0;

	memset(s, 0, sizeof(*s));
	if (!ethernet) {
		int version = size ? data[0] >> 4 : 0;

		return !size	      ? IS_TRUNCATED
		       : version == 4 ? ipv4(&r, s)
		       : version == 6 ? ipv6(&r, s)
				      : IS_NOT_IP;
	}
	if (size < 14)
		return IS_TRUNCATED;
	r.at = 14;
	type = two(data + 12);
	for (int tags = 0; is_tag(type); tags++) {
		if (tags == TAGS_MOST) /* the old numbers are no standard: "not IP" is as true */
			return IS_TOO_MANY | (type == 0x8100 || type == 0x88a8 ? 0 : IS_NOT_IP);
		if (left(&r) < 4)
			return IS_TRUNCATED;
		type = two(data + r.at + 2);
		r.at += 4;
	}
	if (type == 0x0800 || type == 0x86dd) {
		unsigned int may_be = type == 0x0800 ? ipv4(&r, s) : ipv6(&r, s);

		s->plain &= s->ip == 14 && !(data[0] & 1); /* from one to one, without a tag */
		return may_be;
	}
	return IS_NOT_IP;
}
