/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The interfaces that the gateway fence stands on. Written by user space; read by the gateway's
 * programs, and by those on the uplinks (by skb->ingress_ifindex): what was counted and judged
 * where it came in is neither a second time where it leaves.
 */
#ifndef SF_MAPS_CUSTOMERS_H
#define SF_MAPS_CUSTOMERS_H

#include "abi.h"

/*
 * A fenced interface, or one that packets seem to come from when they are routed, after they came
 * in by one (a bridge all of whose ports are fenced, a VLAN upon one). Key: its ifindex in the
 * network namespace of the fence.
 */
struct sf_customer {
	__u32 flags; /* SF_CUSTOMER_* */
	__u32 pad;
};
_Static_assert(sizeof(struct sf_customer) == 8, "sf_customer is part of the ABI");

/* customer_nets says which sources it may have; without this flag every source may be its. */
#define SF_CUSTOMER_NETS (1u << 0)
/*
 * Our program is attached and counts what comes in: the uplink does not count it again. Set after
 * attaching, so that a SYN between is counted twice, never not at all.
 */
#define SF_CUSTOMER_COUNTED (1u << 1)

#ifdef __bpf__
/* Missing: not fenced. Full: user space says which interfaces are left out. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct sf_customer);
} customers SEC(".maps");
#endif

#endif
