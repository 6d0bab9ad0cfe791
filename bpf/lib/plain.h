/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The short way past the parser, for nearly all packets: an ordinary header, looked at without a
 * call and without a stack. Pure. What it can't say at once the parser looks at; what it does say
 * the parser would say too.
 */
#ifndef SF_BPF_PLAIN_H
#define SF_BPF_PLAIN_H

#include "parse.h"

enum sf_plain {
	SF_PLAIN_UNKNOWN,
	SF_PLAIN_NO_TCP,
	SF_PLAIN_TCP,
};

/* Where an ordinary packet has its headers. */
struct sf_plain_at {
	const __u8 *ip, *tcp;
	__u32 off;   /* of TCP's header */
	__u8 tagged; /* behind a VLAN's tag: one is followed */
};

/* A packet with this link's header (SF_ETHERNET, SF_RAW_IP); `at` is set where it holds TCP's. */
SF_PURE enum sf_plain sf_plain(const __u8 *data, const __u8 *end, __u32 link,
			       struct sf_plain_at *at)
{
	const __u8 *ip = data + link;
	__u16 type;

	if (ip + 40 > end)
		return SF_PLAIN_UNKNOWN;
	at->off = link;
	at->tagged = 0;
	if (link == SF_ETHERNET)
		type = *(const sf_load16 *)(data + 12);
	else
		type = ip[0] >> 4 == 6 ? sf_swap16(0x86dd) : sf_swap16(0x0800);
	if (link == SF_ETHERNET && type == sf_swap16(0x8100)) {
		if (data + 18 + 40 > end)
			return SF_PLAIN_UNKNOWN;
		type = *(const sf_load16 *)(data + 16);
		ip = data + 18;
		at->off = 18;
		at->tagged = 1;
	}
	at->ip = ip;
	if (type == sf_swap16(0x0800)) {
		/* no options, no fragment, all of TCP's header in the packet */
		if (ip[0] != 0x45 || (*(const sf_load16 *)(ip + 6) & sf_swap16(0x3fff)) ||
		    sf_get16(ip + 2) < 40)
			return SF_PLAIN_UNKNOWN;
		if (ip[9] != 6)
			return SF_PLAIN_NO_TCP;
		at->tcp = ip + 20;
		at->off += 20;
	} else if (type == sf_swap16(0x86dd)) {
		if (ip[0] >> 4 != 6)
			return SF_PLAIN_UNKNOWN;
		if (ip[6] == 17)
			return SF_PLAIN_NO_TCP;
		if (ip[6] != 6 || sf_get16(ip + 4) < 20 || ip + 60 > end)
			return SF_PLAIN_UNKNOWN;
		at->tcp = ip + 40;
		at->off += 40;
	} else {
		return SF_PLAIN_UNKNOWN;
	}
	return at->tcp[12] >> 4 >= 5 ? SF_PLAIN_TCP : SF_PLAIN_UNKNOWN;
}

/* An untagged one, as the parser and sf_packet_addresses leave it. */
SF_PURE void sf_plain_take(const struct sf_plain_at *at, __u32 link, struct sf_packet *p)
{
	const sf_load32 *ip = (const sf_load32 *)at->ip;
	const __u8 *tcp = at->tcp;
	__u32 *s = (__u32 *)&p->saddr, *d = (__u32 *)&p->daddr;

	if (at->ip[0] >> 4 == 4) {
		s[0] = s[1] = d[0] = d[1] = 0;
		s[2] = d[2] = sf_swap32(0xffff);
		s[3] = ip[3];
		d[3] = ip[4];
	} else {
		for (int i = 0; i < 4; i++) {
			s[i] = ip[2 + i];
			d[i] = ip[6 + i];
		}
	}
	p->family = at->ip[0] >> 4; /* SF_FAMILY_V4 and V6 are the versions */
	p->seq = sf_get32(tcp + 4);
	p->ack = sf_get32(tcp + 8);
	p->l3 = link;
	p->payload = at->off + (__u32)(tcp[12] >> 4) * 4;
	p->sport = sf_get16(tcp);
	p->dport = sf_get16(tcp + 2);
	p->flags = tcp[13];
	p->routed = 0;
	p->first_fragment = 0;
}

SF_PURE int sf_flags_of_syn(__u8 flags)
{
	return (flags & (SF_TCP_SYN | SF_TCP_ACK)) == SF_TCP_SYN;
}

/* Neither an answer nor of a greeting's size: text of `least` to `most` bytes in a frame of `len`.
 */
SF_PURE int sf_plainly_silent(const struct sf_plain_at *at, __u32 len, __u32 least, __u32 most)
{
	if (at->tcp[13] & (SF_TCP_SYN | SF_TCP_RST))
		return 0;
	len -= at->off + (__u32)(at->tcp[12] >> 4) * 4;
	return len < least || len > most; /* also where the header is longer than the frame */
}

#endif
