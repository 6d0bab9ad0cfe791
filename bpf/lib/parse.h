/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A packet's way to its TCP header: tags, IPv4 with options, IPv6 with extension headers,
 * fragments. No fixed offsets: all of these are in a sender's reach without privilege. Pure: the
 * unit tests and the fuzzer run the same lines. What can't be parsed has an outcome of its own,
 * never a guess.
 */
#ifndef SF_BPF_PARSE_H
#define SF_BPF_PARSE_H

#include "decide.h" /* SF_PURE */

/* Tags in a row; Linux itself takes two and any number of priority tags (VLAN 0). */
#define SF_TAGS_MAX 8
/* Linux accepts more than two dozen extension headers (seen on 6.18). */
#define SF_EXTENSIONS_MAX 32
/* Headers end here at the latest: 1,500 and 9,000 byte links both. Bounds offsets for the verifier.
 */
#define SF_HEADERS_MAX 16383 /* 2^n - 1, see sf_forget */

enum sf_outcome {
	SF_PARSED_TCP = 0,
	SF_PARSED_OTHER, /* IP, but not TCP */
	SF_PARSED_NOT_IP,
	SF_PARSED_FRAGMENT,	 /* a later one: ports are in the first */
	SF_PARSED_TINY_FRAGMENT, /* a fragment that hides or could rewrite the TCP header (RFC 1858)
				  */
	SF_PARSED_TRUNCATED,	 /* ends within its headers, or these run past what is linear */
	SF_PARSED_BAD_HEADER,
	SF_PARSED_TOO_MANY,
};

struct sf_packet {
	struct sf_addr saddr, daddr; /* v4-mapped where IPv4; set by sf_packet_addresses */
	__u32 family;		     /* SF_FAMILY_* */
	__u32 seq, ack;		     /* host byte order, as the ports */
	__u32 l3, payload;	     /* offsets of the IP header and of what follows TCP's */
	__u16 sport, dport;
	__u8 flags;	     /* SF_TCP_* */
	__u8 routed;	     /* a routing header, or IPv4 options, which may hold a source route */
	__u8 first_fragment; /* TCP header seen in the first of several fragments */
};

#define SF_TCP_FIN 0x01
#define SF_TCP_SYN 0x02
#define SF_TCP_RST 0x04
#define SF_TCP_ACK 0x10

#define SF_ETHERNET 14 /* bytes of the link's header; 0: the packet begins with IP */
#define SF_RAW_IP   0

/* In programs the kernel's own loads take any alignment; a user space compiler has to be told. */
#ifdef __bpf__
typedef __u16 sf_load16;
typedef __u32 sf_load32;
#define sf_swap16(x) __builtin_bswap16(x)
#define sf_swap32(x) __builtin_bswap32(x)
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#undef sf_swap16
#undef sf_swap32
#define sf_swap16(x) (x)
#define sf_swap32(x) (x)
#endif
#else
#include <arpa/inet.h>
typedef __u16 __attribute__((aligned(1), may_alias)) sf_load16;
typedef __u32 __attribute__((aligned(1), may_alias)) sf_load32;
#define sf_swap16(x) ntohs(x)
#define sf_swap32(x) ntohl(x)
#endif

/* `size` bytes at `off`, or NULL where the packet ends before. */
SF_PURE const __u8 *sf_at(const __u8 *data, const __u8 *end, __u32 off, __u32 size)
{
	const __u8 *p;

	if (off > SF_HEADERS_MAX)
		return 0;
	p = data + off;
	return p + size > end ? 0 : p;
}

SF_PURE __u16 sf_get16(const __u8 *p)
{
	return sf_swap16(*(const sf_load16 *)p);
}

SF_PURE __u32 sf_get32(const __u8 *p)
{
	return sf_swap32(*(const sf_load32 *)p);
}

/*
 * The same value, of which the verifier only knows that it fits `mask` (2^n - 1): so it follows
 * what comes behind a loop once, not once for each way through it. `byte` can be read; its value is
 * nothing.
 */
SF_PURE __u32 sf_forget(__u32 value, __u32 mask, const __u8 *byte)
{
#ifdef __bpf__
	__u64 a = *(volatile const __u8 *)byte, b = *(volatile const __u8 *)byte;
	__u64 v = value;

	asm volatile("%0 += %1\n%0 -= %2" : "+r"(v) : "r"(a), "r"(b));
	return (__u32)(v & mask);
#else
	(void)byte;
	return value & mask;
#endif
}

/* `stop`: where the IP packet says that it ends (padding may follow). */
SF_PURE enum sf_outcome sf_parse_tcp(const __u8 *data, const __u8 *end, __u32 off, __u32 stop,
				     struct sf_packet *p)
{
	const __u8 *tcp = sf_at(data, end, off, 20);

	if (!tcp || off + 20 > stop)
		return p->first_fragment ? SF_PARSED_TINY_FRAGMENT : SF_PARSED_TRUNCATED;
	if (tcp[12] >> 4 < 5)
		return SF_PARSED_BAD_HEADER;
	p->sport = sf_get16(tcp);
	p->dport = sf_get16(tcp + 2);
	p->seq = sf_get32(tcp + 4);
	p->ack = sf_get32(tcp + 8);
	p->flags = tcp[13];
	p->payload = off + (__u32)(tcp[12] >> 4) * 4;
	return SF_PARSED_TCP;
}

/* A fragment that is not the first: could it overwrite the TCP header (offset within 20 bytes)? */
SF_PURE enum sf_outcome sf_later_fragment(__u32 offset, __u8 protocol)
{
	return protocol == 6 && offset < 20 ? SF_PARSED_TINY_FRAGMENT : SF_PARSED_FRAGMENT;
}

SF_PURE enum sf_outcome sf_parse_ipv4(const __u8 *data, const __u8 *end, __u32 off,
				      struct sf_packet *p)
{
	const __u8 *ip = sf_at(data, end, off, 20);
	__u32 header, total, fragment;

	if (!ip)
		return SF_PARSED_TRUNCATED;
	header = (__u32)(ip[0] & 15) * 4;
	total = sf_get16(ip + 2);
	fragment = sf_get16(ip + 6);
	if (ip[0] >> 4 != 4 || header < 20)
		return SF_PARSED_BAD_HEADER;
	if (!total) /* BIG TCP: longer than the field can say */
		total = SF_HEADERS_MAX;
	if (fragment & 0x1fff)
		return sf_later_fragment((fragment & 0x1fff) * 8, ip[9]);
	if (ip[9] != 6)
		return SF_PARSED_OTHER;
	p->family = SF_FAMILY_V4;
	p->l3 = off;
	p->first_fragment = (fragment & 0x2000) != 0;
	p->routed = header > 20;
	return sf_parse_tcp(data, end, off + header, off + total, p);
}

/*
 * The verifier forgets what a variable may hold, and the compiler makes no branch of it: or each
 * kind of extension header would be followed by itself, 32 times over.
 */
#ifdef __bpf__
#define sf_hide(x) asm volatile("" : "+r"(x))
#else
#define sf_hide(x) (void)(x)
#endif

SF_PURE __u32 sf_equal(__u32 a, __u32 b)
{
	__u64 d = a ^ b;

	sf_hide(d);
	return (__u32)((d - 1) >> 63);
}

/* hop-by-hop, routing, fragment, AH, destination options, mobility, HIP, shim6: as bits */
SF_PURE int sf_is_extension(__u32 next)
{
	__u64 low = 1ULL | 1ULL << 43 | 1ULL << 44 | 1ULL << 51 | 1ULL << 60;
	__u64 high = 1ULL << (135 - 128) | 1ULL << (139 - 128) | 1ULL << (140 - 128);
	__u64 word = next < 64 ? low : next >= 128 ? high : 0;

	return next < 192 && (word >> (next & 63) & 1);
}

SF_PURE enum sf_outcome sf_parse_ipv6(const __u8 *data, const __u8 *end, __u32 off,
				      struct sf_packet *p)
{
	const __u8 *ip = sf_at(data, end, off, 40);
	__u32 stop, at = off + 40, first = 0, routed = 0;
	__u8 next;

	if (!ip)
		return SF_PARSED_TRUNCATED;
	if (ip[0] >> 4 != 6)
		return SF_PARSED_BAD_HEADER;
	stop = sf_get16(ip + 4);
	stop = stop ? at + stop : SF_HEADERS_MAX; /* 0: a jumbogram or BIG TCP */
	next = ip[6];
	p->family = SF_FAMILY_V6;
	p->l3 = off;
	for (int i = 0; i < SF_EXTENSIONS_MAX; i++) {
		__u32 is_fragment, is_ah, size, fragment;
		const __u8 *ext;

		if (next == 6)
			break;
		if (!sf_is_extension(next))
			return SF_PARSED_OTHER;
		ext = sf_at(data, end, at, 8);
		if (!ext || at + 8 > stop)
			return first ? SF_PARSED_TINY_FRAGMENT : SF_PARSED_TRUNCATED;
		is_fragment = sf_equal(next, 44);
		is_ah = sf_equal(next, 51);
		fragment = sf_get16(ext + 2) & -is_fragment;
		if (fragment & 0xfff8)
			return sf_later_fragment(fragment & 0xfff8, ext[0]);
		first |= fragment & 1;
		routed |= sf_equal(next, 43);
		/* In eights of bytes and one more; AH in fours and two more (RFC 4302). */
		size = ((__u32)ext[1] & (is_fragment - 1)) + 1;
		at += (size + is_ah) << (3 - is_ah);
		next = ext[0];
		/* The compiler, too, must not make a way of its own for each kind. */
		sf_hide(at);
		sf_hide(first);
		sf_hide(routed);
		if (at > SF_HEADERS_MAX)
			return first ? SF_PARSED_TINY_FRAGMENT : SF_PARSED_TRUNCATED;
		at = sf_forget(at, SF_HEADERS_MAX, ip);
	}
	p->first_fragment = (__u8)first;
	p->routed = (__u8)routed;
	return next == 6 ? sf_parse_tcp(data, end, at, stop, p) : SF_PARSED_TOO_MANY;
}

/* From the link's header on. All but the addresses is set where the outcome is SF_PARSED_TCP. */
SF_PURE enum sf_outcome sf_parse(const __u8 *data, const __u8 *end, __u32 link, struct sf_packet *p)
{
	const __u8 *at;
	__u32 off = link;

	p->first_fragment = 0;
	p->routed = 0;
	if (link == SF_ETHERNET) {
		__u16 type;

		at = sf_at(data, end, 12, 2);
		if (!at)
			return SF_PARSED_TRUNCATED;
		type = sf_get16(at);
		for (int i = 0; i < SF_TAGS_MAX; i++) {
			/* 802.1Q, 802.1ad, and the three older numbers of QinQ */
			if (type != 0x8100 && type != 0x88a8 && type != 0x9100 && type != 0x9200 &&
			    type != 0x9300)
				break;
			at = sf_at(data, end, off, 4);
			if (!at)
				return SF_PARSED_TRUNCATED;
			type = sf_get16(at + 2);
			off += 4;
		}
		off = sf_forget(off, 63, at);
		if (type == 0x0800)
			return sf_parse_ipv4(data, end, off, p);
		if (type == 0x86dd)
			return sf_parse_ipv6(data, end, off, p);
		return type == 0x8100 || type == 0x88a8 ? SF_PARSED_TOO_MANY : SF_PARSED_NOT_IP;
	}
	at = sf_at(data, end, off, 1);
	if (!at)
		return SF_PARSED_TRUNCATED;
	if (at[0] >> 4 == 4)
		return sf_parse_ipv4(data, end, off, p);
	if (at[0] >> 4 == 6)
		return sf_parse_ipv6(data, end, off, p);
	return SF_PARSED_NOT_IP;
}

/* The addresses, where they are wanted. 0 only if the packet was not parsed before. */
SF_PURE int sf_packet_addresses(const __u8 *data, const __u8 *end, struct sf_packet *p)
{
	sf_load32 *s = (sf_load32 *)&p->saddr, *d = (sf_load32 *)&p->daddr;
	const sf_load32 *ip;

	if (p->family == SF_FAMILY_V4) {
		ip = (const sf_load32 *)sf_at(data, end, p->l3, 20);
		if (!ip)
			return 0;
		s[0] = s[1] = d[0] = d[1] = 0;
		s[2] = d[2] = sf_swap32(0xffff);
		s[3] = ip[3];
		d[3] = ip[4];
		return 1;
	}
	ip = (const sf_load32 *)sf_at(data, end, p->l3, 40);
	if (!ip)
		return 0;
	for (int i = 0; i < 4; i++) {
		s[i] = ip[2 + i];
		d[i] = ip[6 + i];
	}
	return 1;
}

#endif
