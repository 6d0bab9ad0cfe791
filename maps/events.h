/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Event records: one denied (or would-be denied) connect() with all that the kernel knew of the
 * sender at that moment, because a moment later the process may be gone.
 * Written by the programs, read by smtpfenced. All of it but the ids is chosen by the sender:
 * any byte may stand in the texts.
 */
#ifndef SF_MAPS_EVENTS_H
#define SF_MAPS_EVENTS_H

#include "abi.h"
#include "verdict.h"

#define SF_COMM_LEN    16
#define SF_TRAIL_LEN   512
#define SF_CMDLINE_LEN 512
#define SF_TRAIL_NAME  256

/*
 * A path as the kernel gives it up: names from the leaf to the root, each ended by NUL, `used`
 * bytes in all. `cut`: the path had more names than were taken.
 */
struct sf_trail {
	__u16 used;
	__u8 cut;
	__u8 pad[5];
	char names[SF_TRAIL_LEN + SF_TRAIL_NAME]; /* the last name may need its full room */
};

enum sf_event_hook {
	SF_EVENT_CONNECT = 0,
	SF_EVENT_PACKET =
		1, /* a packet that needed no connect(): no process is known, only the socket */
};

struct sf_event {
	__u32 abi;	   /* SF_ABI_VERSION */
	__u32 size;	   /* of this record */
	__u64 time_ns;	   /* CLOCK_BOOTTIME */
	__u64 task_cgroup; /* v2 ids */
	__u64 socket_cgroup;
	struct sf_addr daddr;
	__u32 pid; /* thread group and thread, of the initial pid namespace */
	__u32 tid;
	__u32 uid; /* real ids of the initial user namespace; SF_UID_KERNEL in uid: kernel */
	__u32 gid;
	__u16 dport;  /* host byte order */
	__u8 verdict; /* enum sf_verdict */
	__u8 reason;  /* enum sf_reason */
	__u8 family;  /* SF_FAMILY_*, after v4-mapped was folded */
	__u8 hook;    /* enum sf_event_hook */
	__u8 pad[2];
	char comm[SF_COMM_LEN];
	__u16 cmdline_used; /* bytes of cmdline; arguments are divided by NUL */
	__u16 pad2[3];
	struct sf_trail exe; /* empty for kernel threads */
	struct sf_trail cwd;
	struct sf_trail cgroup; /* the task's */
	char cmdline[SF_CMDLINE_LEN];
};
_Static_assert(sizeof(struct sf_trail) == 776, "sf_trail is part of the ABI");
_Static_assert(sizeof(struct sf_event) == 96 + 3 * 776 + SF_CMDLINE_LEN,
	       "sf_event is part of the ABI");

/*
 * Limits on reporting, so that a flood of denials costs what a denial costs. Counters and the
 * table of senders are not limited. Per sender: a burst, then one event an interval; per core:
 * likewise. A wake-up of the reader costs the denied caller 13 to 22 us (measured, 6.18), so it
 * has its own interval; what was not waked for is read at the daemon's next round.
 */
#define SF_EVENT_SENDER_INTERVAL_NS 100000000ULL /* 10 a second, */
#define SF_EVENT_SENDER_BURST	    20		 /* after a burst of these */
#define SF_EVENT_CPU_INTERVAL_NS    10000000ULL	 /* 100 a second and core, */
#define SF_EVENT_CPU_BURST	    100
#define SF_EVENT_WAKE_INTERVAL_NS   10000000ULL

struct sf_event_limit {
	__u64 used_ns; /* CLOCK_BOOTTIME up to which this core's bucket is used */
	__u64 wake_ns; /* when this core last woke the reader */
};
_Static_assert(sizeof(struct sf_event_limit) == 16, "sf_event_limit is part of the ABI");

#ifdef __bpf__
/* Full (nobody reads): the event is dropped and counted as events_full; nothing else changes. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1024 * 1024);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sf_event_limit);
} event_limits SEC(".maps");
#endif

#endif
