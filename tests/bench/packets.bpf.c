// SPDX-License-Identifier: GPL-2.0-only
/*
 * What tests/bench/packets.c and gateway.c run around ours: a program that makes each repetition
 * another packet (BPF_PROG_TEST_RUN repeats one) and goes on to the program that is measured, or to
 * an empty one. What it costs itself is in both.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

/* From the IP header on; options there are none. */
#define SEQ_AT	 (20 + 4)
#define SPORT_AT 20
#define SADDR_AT 12

enum { VARY_SEQ = 1, VARY_SPORT = 2, VARY_SOURCE = 4 };

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

__u32 vary = 0;
__u32 link_size = 14;
__u32 sources = 1; /* how many, from 16.0.0.0 on */
__u64 state = 88172645463325252ULL;
__u32 number = 0;

/* Another packet of the same form. False: it is too short to be one of ours. */
static __always_inline int change(__u8 *data, const __u8 *end)
{
	data += link_size & 15;
	if (data + 40 > end)
		return 0;
	if (vary & VARY_SEQ)
		*(__u32 *)(data + SEQ_AT) = number += 0x10001;
	if (vary & VARY_SPORT)
		*(__u16 *)(data + SPORT_AT) = (__u16)number;
	if (vary & VARY_SOURCE) {
		__u64 x = state;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		state = x;
		*(__u32 *)(data + SADDR_AT) =
			bpf_htonl(0x10000000 + (__u32)(((x >> 32) * sources) >> 32));
	}
	return 1;
}

SEC("tc")
int vary_packet(struct __sk_buff *skb)
{
	if (!change((__u8 *)(long)skb->data, (const __u8 *)(long)skb->data_end))
		return TC_ACT_UNSPEC;
	bpf_tail_call(skb, &next, 0);
	return TC_ACT_SHOT; /* nothing there: the numbers would be wrong */
}

SEC("tc")
int empty(struct __sk_buff *skb)
{
	return TC_ACT_UNSPEC;
}

/* The same around an XDP program. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next_frame SEC(".maps");

SEC("xdp")
int vary_frame(struct xdp_md *ctx)
{
	if (!change((__u8 *)(long)ctx->data, (const __u8 *)(long)ctx->data_end))
		return XDP_PASS;
	bpf_tail_call(ctx, &next_frame, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int empty_frame(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* What somebody writes who wants port 25 closed, and no more: no lists, no count, fixed offsets. */
SEC("classifier")
int bare_filter(struct __sk_buff *skb)
{
	const __u8 *data = (const __u8 *)(long)skb->data;

	if (data + 54 > (const __u8 *)(long)skb->data_end || data[12] != 8 || data[23] != 6)
		return TC_ACT_UNSPEC;
	return data[36] || data[37] != 25 ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "GPL";
