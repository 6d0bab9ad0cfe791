// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes the packets of tests/bench/path.c: runs in the kernel as XDP on frames that never were on a
 * wire (BPF_F_TEST_XDP_LIVE_FRAMES) and passes each on to the interface's own receive path.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "path.h"

__u8 model[sizeof(struct frame)] = {0}; /* every packet, but for source, port and sequence */
__u32 sources = 1;			/* how many, from `first` on */
__u32 first = 0x10000000;
__u32 in_turn = 0; /* each source after the one before, instead of at random */
__u32 number = 0;
__u64 state = 88172645463325252ULL;

static __always_inline __u32 next_source(void)
{
	__u64 x = state;

	if (in_turn)
		return first + number % sources;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	state = x;
	return first + (__u32)(((x >> 32) * sources) >> 32);
}

static __always_inline __u16 header_sum(const struct frame *f)
{
	const __u16 *w = (const __u16 *)&f->version;
	__u32 sum = 0;

	for (int i = 0; i < 10; i++)
		sum += w[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16) ~(sum + (sum >> 16));
}

/* The pages come back as the packet before left them, so all of it is written again. */
SEC("xdp")
int send_frame(struct xdp_md *ctx)
{
	struct frame *f = (void *)(long)ctx->data;

	if ((void *)(f + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	__builtin_memcpy(f, model, sizeof(*f));
	f->saddr = bpf_htonl(next_source());
	number++;
	f->sport = bpf_htons((__u16)(1024 + number % 60000));
	f->seq = bpf_htonl(number * 0x10001);
	f->check = header_sum(f);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
