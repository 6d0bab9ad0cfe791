/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is counted, always, whoever listens. Written by the programs; read by user space.
 */
#ifndef SF_MAPS_COUNTERS_H
#define SF_MAPS_COUNTERS_H

#include "abi.h"
#include "verdict.h"

/* Index into counters: a verdict with its reason. */
#define SF_COUNTER(verdict, reason) ((verdict)*SF_REASON_MAX + (reason))

/* After the verdicts: what was lost. */
#define SF_LOSSES(X)                                                                               \
	X(EVENTS_FULL, "events_full", "events that found the ring full")                           \
	X(EVENTS_LIMITED, "events_limited", "denials counted without an event: over the rate")     \
	X(DENIALS_LOST, "denials_lost", "denials that found no place in the table of senders")     \
	X(ROLES_LOST, "roles_lost", "new cgroups whose role found no place")

enum sf_loss {
#define X(name, label, text) SF_LOSS_##name,
	SF_LOSSES(X)
#undef X
		SF_LOSS_COUNT
};

#define SF_LOSS_MAX	      16
#define SF_COUNTER_LOSS(loss) (SF_VERDICT_COUNT * SF_REASON_MAX + (loss))
#define SF_COUNTER_COUNT      (SF_VERDICT_COUNT * SF_REASON_MAX + SF_LOSS_MAX)
_Static_assert(SF_LOSS_COUNT <= SF_LOSS_MAX, "raise SF_LOSS_MAX and the ABI version");

/* Who was denied: the task's cgroup and its real uid, both as the initial namespaces see them. */
struct sf_denial_key {
	__u64 cgroup;
	__u32 uid; /* SF_UID_KERNEL: a kernel thread, nobody's user */
	__u32 pad;
};
_Static_assert(sizeof(struct sf_denial_key) == 16, "sf_denial_key is part of the ABI");

#define SF_UID_KERNEL 0xffffffffu

struct sf_denial {
	__u64 denied; /* connects denied, and under monitor: would have been */
	__u64 would_deny;
	__u64 first_ns;	     /* CLOCK_BOOTTIME */
	__u64 last_ns;	     /* at most one jiffy (1 to 10 ms) old in a flood */
	__u64 refused_jiffy; /* no event was allowed in this one, so the clock need not be read */
	__u64 events_ns;     /* the sender's own event bucket: time up to which it is used */
	__u32 last_port;     /* host byte order */
	__u32 pad;
};
_Static_assert(sizeof(struct sf_denial) == 56, "sf_denial is part of the ABI");

#ifdef __bpf__
/* 112 numbers a core: no counter is shared between cores, none is ever reset while attached. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SF_COUNTER_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/* Full: the sender that was not seen for longest gives way; its denials stay in counters. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct sf_denial_key);
	__type(value, struct sf_denial);
} denials SEC(".maps");
#endif

#endif
