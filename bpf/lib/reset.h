/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The answer to a denied SYN: the packet itself, turned around into RST+ACK. Its length, TCP
 * options and data stay: a reset may have them, and so checksums change by the few fields that
 * change, also where the sender's offload has not filled them in yet. Only for plain headers: an
 * IPv4 header with options, IPv6 extension headers, fragments and tags in the packet are dropped
 * without an answer.
 */
#ifndef SF_BPF_RESET_H
#define SF_BPF_RESET_H

#include "kernel.h"
#include "parse.h"
#include <bpf/bpf_endian.h>

#define TCP_CHECK 16

struct tcp_start {
	__u16 sport, dport;
	__u32 seq, ack;
	__u16 flags; /* with the header's length before them */
};

static __always_inline struct tcp_start reset_for(const struct tcp_start *syn)
{
	return (struct tcp_start){
		.sport = syn->dport,
		.dport = syn->sport,
		.seq = 0,
		.ack = bpf_htonl(bpf_ntohl(syn->seq) + 1),
		.flags = (syn->flags & bpf_htons(0xf000)) | bpf_htons(SF_TCP_RST | SF_TCP_ACK),
	};
}

static __always_inline bool is_plain(const struct sf_packet *p, __u32 link)
{
	return p->l3 == link && !p->first_fragment && !p->routed;
}

/* `size` bytes at `at` and the same number behind them change places. */
static __always_inline int swap_in(struct __sk_buff *skb, __u32 at, __u32 size)
{
	__u8 both[32];

	if (bpf_skb_load_bytes(skb, at, both, 2 * size))
		return -1;
	return bpf_skb_store_bytes(skb, at, both + size, size, 0) ||
	       bpf_skb_store_bytes(skb, at + size, both, size, 0);
}

static __always_inline bool tcp_into_reset(struct __sk_buff *skb, __u32 tcp)
{
	struct tcp_start old, now;

	if (bpf_skb_load_bytes(skb, tcp, &old, 14))
		return false;
	now = reset_for(&old);
	return !bpf_l4_csum_replace(skb, tcp + TCP_CHECK, old.seq, now.seq, 4) &&
	       !bpf_l4_csum_replace(skb, tcp + TCP_CHECK, old.ack, now.ack, 4) &&
	       !bpf_l4_csum_replace(skb, tcp + TCP_CHECK, old.flags, now.flags, 2) &&
	       !bpf_skb_store_bytes(skb, tcp, &now, 14, 0);
}

/* False: it can't be answered, and may be changed by half: drop it. */
static __always_inline bool turn_into_reset(struct __sk_buff *skb, __u32 link,
					    const struct sf_packet *p)
{
	__u8 first = 0;

	if (!is_plain(p, link))
		return false;
	if (link == SF_ETHERNET &&
	    (bpf_skb_load_bytes(skb, 0, &first, 1) || (first & 1) || swap_in(skb, 0, 6)))
		return false;
	if (p->family == SF_FAMILY_V4)
		return !swap_in(skb, link + 12, 4) && tcp_into_reset(skb, link + 20);
	if (bpf_skb_load_bytes(skb, link + 6, &first, 1) || first != 6)
		return false;
	return !swap_in(skb, link + 8, 16) && tcp_into_reset(skb, link + 40);
}

/* XDP ----------------------------------------------------------------------------------------- */

static __always_inline __u32 folded(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* RFC 1624, eqn. 3; both sums are folded. */
static __always_inline __u16 check_with(__u16 check, __u32 old_sum, __u32 new_sum)
{
	return (__u16)~folded((__u16)~check + (0xffff - old_sum) + new_sum);
}

static __always_inline __u32 sum_of(const struct tcp_start *t)
{
	return folded((t->seq & 0xffff) + (t->seq >> 16) + (t->ack & 0xffff) + (t->ack >> 16) +
		      t->flags);
}

static __always_inline bool swap_words(__u8 *at, const __u8 *end, int words)
{
	sf_load32 *w = (sf_load32 *)at;

	if (at + 8 * words > end)
		return false;
	for (int i = 0; i < words; i++) {
		__u32 word = w[i];

		w[i] = w[i + words];
		w[i + words] = word;
	}
	return true;
}

static __always_inline bool frame_tcp_into_reset(__u8 *tcp, const __u8 *end)
{
	struct tcp_start old, now;
	sf_load16 *check = (sf_load16 *)(tcp + TCP_CHECK);

	if (tcp + 20 > end)
		return false;
	__builtin_memcpy(&old, tcp, 14);
	now = reset_for(&old);
	*check = check_with(*check, sum_of(&old), sum_of(&now));
	__builtin_memcpy(tcp, &now, 14);
	return true;
}

static __always_inline bool frame_into_reset(struct xdp_md *ctx)
{
	__u8 *data = (__u8 *)(long)ctx->data;
	const __u8 *end = (const __u8 *)(long)ctx->data_end;
	__u16 type;

	if (data + 14 + 40 > end || (data[0] & 1))
		return false;
	type = *(sf_load16 *)(data + 12);
	for (int i = 0; i < 6; i++) {
		__u8 byte = data[i];

		data[i] = data[6 + i];
		data[6 + i] = byte;
	}
	if (type == bpf_htons(0x0800) && data[14] == 0x45 &&
	    !(*(sf_load16 *)(data + 20) & bpf_htons(0x3fff)))
		return swap_words(data + 26, end, 1) && frame_tcp_into_reset(data + 34, end);
	if (type == bpf_htons(0x86dd) && data[20] == 6)
		return swap_words(data + 22, end, 4) && frame_tcp_into_reset(data + 54, end);
	return false;
}

#endif
