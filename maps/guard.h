/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The inbound guard on the uplinks: hosts whose SMTP ports only listed filters may reach, each of
 * them so often. Written by user space with each apply, but for the rates, which the programs keep.
 */
#ifndef SF_MAPS_GUARD_H
#define SF_MAPS_GUARD_H

#include "abi.h"
#include "settings.h"

#define SF_GUARD_ON (1u << 0) /* there are hosts to be guarded */

#define SF_GUARD_WINDOW_NS 60000000000ULL

struct sf_guard {
	__u32 abi;   /* SF_ABI_VERSION; anything else: nothing is guarded */
	__u32 flags; /* SF_GUARD_* */
	/* Between two connections of a source in the long run; as many as fit into a minute may
	 * come at once. 0: no limit. */
	__u64 interval_ns;
	__u64 port[SF_PORT_WORDS]; /* bits, as in settings.h */
};
_Static_assert(sizeof(struct sf_guard) == 16 + 8 * SF_PORT_WORDS, "sf_guard is part of the ABI");

/*
 * A source that opened connections lately, in the set of its address' hash. `free_ns` is when all
 * that it opened is paid for, an interval each (CLOCK_MONOTONIC): then the place means nothing.
 */
#define SF_GUARD_WAYS 4
#define SF_GUARD_SETS 4096

struct sf_guard_rate {
	__u64 tag; /* of the address; 0: free */
	__u64 free_ns;
};

struct sf_guard_set {
	struct sf_guard_rate way[SF_GUARD_WAYS];
};
_Static_assert(sizeof(struct sf_guard_set) == 64, "sf_guard_set is part of the ABI");

#define SF_GUARD_REPORT_NS 100000000ULL /* a core reports at most ten denials a second */

#ifdef __bpf__
/* One entry, always present. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sf_guard);
} guard SEC(".maps");

/* Destinations and sources by network; the value means nothing. Full: user space refuses. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sf_net_key);
	__type(value, __u32);
} guard_hosts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sf_net_key);
	__type(value, __u32);
} guard_filters SEC(".maps");

/*
 * Full, that is with all four ways of a set in use within the last minute: the one nearest to its
 * end gives way and begins anew, which lets it open more than its limit, never less; counted as
 * guard_crowded.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SF_GUARD_SETS);
	__type(key, __u32);
	__type(value, struct sf_guard_set);
} guard_rates SEC(".maps");

/* When this core last reported a denial (CLOCK_BOOTTIME). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} guard_reports SEC(".maps");
#endif

#endif
