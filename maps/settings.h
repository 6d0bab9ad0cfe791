/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What holds for all senders: the mode, the flags, and which ports are fenced.
 * Written by user space (apply); read by the programs at every connect() to a fenced port.
 */
#ifndef SF_MAPS_SETTINGS_H
#define SF_MAPS_SETTINGS_H

#include "abi.h"

/* 0 is none of them: a table that was wiped must not read as "off". */
enum sf_mode {
	SF_MODE_OFF = 1,
	SF_MODE_MONITOR = 2,
	SF_MODE_ENFORCE = 3,
};

#define SF_SETTING_ALLOW_LOCAL (1u << 0)
/* What is not empty, so that a look-up in an empty table need not be paid for (22 ns, 6.18). */
#define SF_SETTING_RELAYS	   (1u << 1)
#define SF_SETTING_SENDERS	   (1u << 2)
#define SF_SETTING_QUARANTINE_NETS (1u << 3)
/* What is forwarded from an interface without a gateway fence is judged where it leaves. */
#define SF_SETTING_FENCE_FORWARDED  (1u << 4)
#define SF_SETTING_QUARANTINE_HOSTS (1u << 5) /* is not empty, as above */
#define SF_SETTING_QUARANTINES	    (SF_SETTING_QUARANTINE_NETS | SF_SETTING_QUARANTINE_HOSTS)

struct sf_settings {
	__u32 abi;	    /* SF_ABI_VERSION; anything else: denied, reason no_settings */
	__u32 mode;	    /* enum sf_mode */
	__u32 flags;	    /* SF_SETTING_* */
	__u32 deny_errno;   /* positive errno: EPERM, EACCES or ECONNREFUSED */
	__u64 probe_cgroup; /* cgroup id of smtpfence's own test while it runs, else 0 */
	__u64 mode_since;   /* seconds since 1970 (wall clock) when mode last changed */
	__u64 bare_root;    /* id of the v2 root if "/" has no role, so it is not looked up; or 0 */
	__u64 fence_root;   /* id of cgroup_root, if it is not "/"; or 0: packets of all cgroups */
};
_Static_assert(sizeof(struct sf_settings) == 48, "sf_settings is part of the ABI");

/* Ports as bits: word = port / 64, bit = port % 64, port in host byte order. */
#define SF_PORT_WORDS 1024

struct sf_port_word {
	__u64 fenced;
	__u64 watched;
};
_Static_assert(sizeof(struct sf_port_word) == 16, "sf_port_word is part of the ABI");

#ifdef __bpf__
/* One entry, always present. User space writes the whole; a reader may see fields of two writes,
 * each of them whole, and no field depends on another. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sf_settings);
} settings SEC(".maps");

/* Always present; a port that is in no word is not fenced. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SF_PORT_WORDS);
	__type(key, __u32);
	__type(value, struct sf_port_word);
} ports SEC(".maps");
#endif

#endif
