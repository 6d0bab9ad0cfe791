/* SPDX-License-Identifier: GPL-2.0-only */
/* A packet at a TC hook, parsed: the bridge between __sk_buff and parse.h. */
#ifndef SF_BPF_LOOK_H
#define SF_BPF_LOOK_H

#include "parse.h"

static __always_inline const __u8 *start_of(struct __sk_buff *skb)
{
	return (const __u8 *)(long)skb->data;
}

static __always_inline const __u8 *end_of(struct __sk_buff *skb)
{
	return (const __u8 *)(long)skb->data_end;
}

/* Global functions: the verifier takes each once, by itself, however often it is called. */

__noinline int parse(struct __sk_buff *skb, __u32 link, struct sf_packet *p)
{
	return p ? sf_parse(start_of(skb), end_of(skb), link, p) : SF_PARSED_BAD_HEADER;
}

/*
 * The linear part may hold 14 bytes only (AF_PACKET's rings): what the parser misses is pulled in,
 * and looked at again.
 */
__noinline int look(struct __sk_buff *skb, __u32 link, struct sf_packet *p)
{
	enum sf_outcome outcome;

	if (!p)
		return SF_PARSED_BAD_HEADER;
	outcome = parse(skb, link, p);
	if ((outcome == SF_PARSED_TRUNCATED || outcome == SF_PARSED_TINY_FRAGMENT) &&
	    skb->data_end - skb->data < skb->len &&
	    !bpf_skb_pull_data(skb, skb->len > SF_HEADERS_MAX ? SF_HEADERS_MAX : skb->len))
		outcome = parse(skb, link, p);
	if (outcome == SF_PARSED_TCP && (p->flags & (SF_TCP_SYN | SF_TCP_RST)) &&
	    !sf_packet_addresses(start_of(skb), end_of(skb), p))
		return SF_PARSED_TRUNCATED;
	return outcome;
}

#endif
