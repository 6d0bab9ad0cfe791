/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Lists by address: allowed relays (destinations), quarantined networks (sources), and the
 * addresses of this host. Written by user space; read at connect().
 */
#ifndef SF_MAPS_NETS_H
#define SF_MAPS_NETS_H

#include "grants.h"

/* Source networks in quarantine: until when. */
struct sf_net_quarantine {
	__u64 until_ns; /* CLOCK_BOOTTIME; SF_NEVER: without end */
};
_Static_assert(sizeof(struct sf_net_quarantine) == 8, "sf_net_quarantine is part of the ABI");

/*
 * A filter before local_addrs: a bit for each hash of an address. A clear bit says that the
 * address is none of the host's; a set one says nothing.
 */
#define SF_LOCAL_FILTER_BITS 4096

struct sf_local_filter {
	__u64 word[SF_LOCAL_FILTER_BITS / 64];
};
_Static_assert(sizeof(struct sf_local_filter) == 512, "sf_local_filter is part of the ABI");

/* The bit of an address: the last 8 bytes, multiplied (Knuth), the top 12 bits. */
static inline __attribute__((always_inline)) __u32 sf_local_filter_bit(const struct sf_addr *addr)
{
	__u64 low;

	__builtin_memcpy(&low, &addr->b[8], sizeof(low));
	return (__u32)((low * 0x9e3779b97f4a7c15ULL) >> 52);
}

#ifdef __bpf__
/*
 * The longest prefix answers alone, so user space gives each entry the grants of all the wider
 * entries around it. Full: user space refuses, the old policy stays.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sf_net_key);
	__type(value, struct sf_grants);
} relays SEC(".maps");

/* As above: an entry holds the latest end of itself and those around it. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sf_net_key);
	__type(value, struct sf_net_quarantine);
} quarantine_nets SEC(".maps");

/*
 * Whole addresses of the same list, with prefixlen SF_NET_BITS_MAX: a trie of 100,000 costs 1.1 us
 * a look-up at random, this a third of it (6.18). Full: as above.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sf_net_key);
	__type(value, struct sf_net_quarantine);
} quarantine_hosts SEC(".maps");

/*
 * Addresses of the host's own network namespace; loopback and the unspecified address are known
 * without it. Kept by the daemon as addresses come and go. Missing: the connection is judged as
 * one to the world. Full: the rest is left out and said.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sf_addr);
	__type(value, __u8);
} local_addrs SEC(".maps");

/* One entry, always present. Written before local_addrs, so that a set bit is never missing. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sf_local_filter);
} local_filter SEC(".maps");
#endif

#endif
