// SPDX-License-Identifier: GPL-2.0-only
/*
 * Somebody else's program on our hook: it refuses port 99 and counts every connect() it sees.
 * test_neighbours.py attaches it before and after the fence.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} other_seen SEC(".maps");

static __always_inline int judge(__u32 port)
{
	__u32 zero = 0;
	__u64 *seen = bpf_map_lookup_elem(&other_seen, &zero);

	if (seen)
		__sync_fetch_and_add(seen, 1);
	return port != bpf_htons(99);
}

SEC("cgroup/connect4")
int other_conn4(struct bpf_sock_addr *ctx)
{
	return judge(ctx->user_port);
}

SEC("cgroup/connect6")
int other_conn6(struct bpf_sock_addr *ctx)
{
	return judge(ctx->user_port);
}

char LICENSE[] SEC("license") = "GPL";
