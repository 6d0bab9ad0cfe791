// SPDX-License-Identifier: GPL-2.0-only
/*
 * Somebody else's program at a TC hook: it counts what it sees, and lets it go on.
 * test_uplinks.py attaches it before and after ours.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} other_tc_seen SEC(".maps");

SEC("tc")
int other_tc(struct __sk_buff *skb)
{
	__u32 zero = 0;
	__u64 *seen = bpf_map_lookup_elem(&other_tc_seen, &zero);

	if (seen)
		__sync_fetch_and_add(seen, 1);
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "GPL";
