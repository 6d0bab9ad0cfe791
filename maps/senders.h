/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Lists by who sends: users and groups that are allowed, or in quarantine.
 * Written by user space; read at connect().
 */
#ifndef SF_MAPS_SENDERS_H
#define SF_MAPS_SENDERS_H

#include "grants.h"

enum sf_sender_kind {
	SF_SENDER_USER = 1,
	SF_SENDER_GROUP = 2,
};

/* Real uid or gid of the caller, as the initial user namespace sees it. */
struct sf_sender_key {
	__u32 kind; /* enum sf_sender_kind */
	__u32 id;
};
_Static_assert(sizeof(struct sf_sender_key) == 8, "sf_sender_key is part of the ABI");

struct sf_sender {
	__u64 quarantine_until_ns; /* CLOCK_BOOTTIME; 0: none; users only */
	struct sf_grants allowed;
	__u32 limited; /* users: 1: the census takes warn and act for them (maps/census.h) */
	__u32 warn;
	__u32 act;
	__u32 pad;
};
_Static_assert(sizeof(struct sf_sender) == 24 + sizeof(struct sf_grants),
	       "sf_sender is part of the ABI");

#ifdef __bpf__
/* Full: user space refuses the entry, the old policy stays. Missing key: not listed. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sf_sender_key);
	__type(value, struct sf_sender);
} senders SEC(".maps");
#endif

#endif
