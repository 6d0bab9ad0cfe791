/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Limits on how many connections to fenced ports a source or sender may open before somebody is
 * told. Written by user space; read by the census where an entry is new or limits were changed.
 */
#ifndef SF_MAPS_LIMITS_H
#define SF_MAPS_LIMITS_H

#include "abi.h"

/* Classes of senders and sources; each with its limits, the most specific first. */
#define SF_CLASSES(X)                                                                              \
	X(UNKNOWN, "unknown", "a source that is in no list")                                       \
	X(LOOPBACK, "loopback", "127.0.0.0/8 and ::1")                                             \
	X(LOCAL, "local", "an address of this host")                                               \
	X(RELAY, "relay", "in an allowed relay's network")                                         \
	X(OWN, "own", "in own_networks")                                                           \
	X(NAMED, "named", "has a limit of its own (limit user, cgroup or net)")                    \
	X(USER, "user", "a local sender")                                                          \
	X(MAIL, "mail", "a local sender in a mail server's cgroup")

enum sf_class {
#define X(name, label, text) SF_CLASS_##name,
	SF_CLASSES(X)
#undef X
		SF_CLASS_COUNT
};

/* Limits on connections to fenced ports in the window; 0: none. */
struct sf_limit {
	__u32 warn;
	__u32 act;
	__u32 class; /* enum sf_class */
	__u32 pad;
};
_Static_assert(sizeof(struct sf_limit) == 16, "sf_limit is part of the ABI");

#ifdef __bpf__
/* Limits of source networks; the longest prefix alone holds. Full: user space refuses. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sf_net_key);
	__type(value, struct sf_limit);
} source_limits SEC(".maps");

#endif

#endif
