/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The census: who opens how many connections. Two tables of the same form, sources (by address) and
 * senders (by cgroup and user), written by the programs on the uplinks, read by user space by mmap.
 *
 * A table is three arrays, so that what is looked at together lies together: heads (sets of 8,
 * found by hash), counts, trails. Slot = set * 8 + way, the same in all three. Memory depends
 * neither on the number of cores nor on what senders do. Compare-and-swap needs Linux 5.12.
 *
 * Full: of the 16 slots that a newcomer may take, the one not seen for longest gives way; entries
 * and SYNs that went with them are counted (census.h: SF_CENSUS_COUNTERS), so that the sum over the
 * table and `forgotten_syn` is always all that was sent.
 */
#ifndef SF_MAPS_CENSUS_H
#define SF_MAPS_CENSUS_H

#include "abi.h"
#include "limits.h"

/*
 * Times are CLOCK_BOOTTIME to a jiffy (1 to 10 ms): the programs read the coarse clock (5.11), for
 * the exact one costs 33 ns (6.18). `time_ns` of an event is exact.
 */

/* Times ---------------------------------------------------------------------------------------- */

#define SF_SLICE_SECONDS  30 /* of the sliding window, */
#define SF_WINDOW_SLICES  20 /* that holds so many of them: 600 s */
#define SF_WINDOW_SECONDS (SF_SLICE_SECONDS * SF_WINDOW_SLICES)
#define SF_SKETCH_SECONDS 1800 /* a sketch takes destinations for so long; two are kept */
#define SF_SILENCE_NS                                                                              \
	21000000000ULL	 /* unanswered for so long (SYN and its first 4 repeats): silent */
#define SF_TICK_SHIFT 24 /* a tick is 2^24 ns, 16.8 ms: 2.2 years in 32 bits */

/* One table ------------------------------------------------------------------------------------ */

#define SF_CENSUS_WAYS 8

#define SF_TAG_BUSY 1ULL /* the slot is being prepared by who claimed it; others wait a moment */

struct sf_census_head {
	__u64 tag;  /* of the key's hash; 0: free; bit 0: SF_TAG_BUSY */
	__u32 last; /* tick of CLOCK_BOOTTIME when it was last seen */
	__u32 pad;
};

struct sf_census_set {
	struct sf_census_head way[SF_CENSUS_WAYS];
};
_Static_assert(sizeof(struct sf_census_set) == 128, "sf_census_set is part of the ABI");

/*
 * A source's key is its address (sf_addr; IPv6 with the host part cleared). A sender's: word 0 the
 * cgroup v2 id of its socket, word 1 the uid (initial user namespace) that made it.
 */
struct sf_census_key {
	__u64 word[2];
};

/* All counts only grow while the slot is held by the same key. Written with atomic adds. */
struct sf_census_count {
	struct sf_census_key key;
	__u32 first;	     /* tick of CLOCK_BOOTTIME when the entry was made */
	__u32 denied;	     /* of fenced: the gateway fence dropped it; 0 in senders' rows */
	__u64 syn;	     /* every SYN, to any port, repeated ones too */
	__u64 fenced;	     /* new connections to fenced ports: without repeated SYNs */
	__u32 retransmitted; /* repeated SYNs to fenced ports */
	__u32 answered;	     /* of fenced: a SYN-ACK came back */
	__u32 refused;	     /* of fenced: a RST came back */
	__u32 silent;	     /* of fenced: nothing came within SF_SILENCE_NS */
	__u32 untracked; /* of fenced: the answer can't be known any more (table of attempts full)
			  */
	__u32 ifindex;	 /* where it was last seen */
};
_Static_assert(sizeof(struct sf_census_count) == 64, "sf_census_count is part of the ABI");

/*
 * HyperLogLog (Flajolet et al. 2007) of destination addresses: 128 registers of 4 bits, 16 in a
 * word; standard error 1.04 / sqrt(128) = 9.2 %.
 */
#define SF_SKETCH_REGISTERS 128
#define SF_SKETCH_WORDS	    (SF_SKETCH_REGISTERS / 16)

struct sf_sketch {
	__u64 word[SF_SKETCH_WORDS];
};

#define SF_SLICE_BUSY 0xffffffffu

/* How the counts came to be over time, in low 32 bits of `fenced`; differences are right. */
struct sf_census_trail {
	__u32 slice; /* newest 30 s slice (CLOCK_BOOTTIME) that was begun; SF_SLICE_BUSY: right now
		      */
	__u32 told;  /* 0, 1: warn, 2: act was crossed and reported, until the window is below warn
		      */
	__u32 warn;  /* connections to fenced ports in the window; 0: no limit */
	__u32 act;
	__u32 limits;	 /* generation of the limits that warn and act were taken from */
	__u32 class;	 /* enum sf_class */
	__u32 hour;	 /* number of the wall clock's hour, UTC, since 1970 */
	__u32 hour_base; /* `fenced` when it began */
	__u32 day;
	__u32 day_base;
	__u32 half[2];		      /* number of the half hour (CLOCK_BOOTTIME) of each sketch */
	__u32 base[SF_WINDOW_SLICES]; /* base[n % 20]: `fenced` when slice n began */
	struct sf_sketch sketch[2];   /* sketch[n % 2] is of half hour n, where half[n % 2] is n */
};
_Static_assert(sizeof(struct sf_census_trail) == 256, "sf_census_trail is part of the ABI");

struct sf_census_settings {
	__u64 seed;	      /* of the hashes; fixed while the tables live */
	__u64 v6_mask[2];     /* of IPv6 sources, network byte order */
	__s64 boot_offset_ns; /* CLOCK_BOOTTIME = CLOCK_MONOTONIC + this: time in suspend */
	__s64 wall_offset_s;  /* wall clock = CLOCK_BOOTTIME + this */
	__u32 abi;    /* SF_ABI_VERSION; anything else: nothing is counted but `uncounted` */
	__u32 limits; /* generation; raised by user space when limits change */
	struct sf_limit unknown; /* sources that are in no list */
	struct sf_limit user;	 /* senders */
	struct sf_limit mail;
};
_Static_assert(sizeof(struct sf_census_settings) == 96, "sf_census_settings is part of the ABI");

/* Attempts: connections to fenced ports that wait for their answer ------------------------------
 */

enum sf_attempt_state {
	SF_ATTEMPT_WAITING = 0,
	SF_ATTEMPT_ANSWERED = 1,
	SF_ATTEMPT_REFUSED = 2,
	SF_ATTEMPT_SILENT = 3,
};

#define SF_NO_SLOT 0xffffffffu

struct sf_attempt {
	__u64 tag;    /* hash of the four of addresses and ports; 0: free */
	__u32 seq;    /* of the SYN, host byte order: another one is another connection */
	__u32 tick;   /* when it was sent first */
	__u32 source; /* slots, SF_NO_SLOT: none; with 16 bits of their tag, for they may be lost */
	__u32 sender;
	__u16 source_check;
	__u16 sender_check;
	__u32 state; /* enum sf_attempt_state; changed by compare-and-swap, once */
	struct sf_addr daddr;
};
_Static_assert(sizeof(struct sf_attempt) == 48, "sf_attempt is part of the ABI");

#define SF_ATTEMPT_WAYS 4

struct sf_attempt_set {
	struct sf_attempt way[SF_ATTEMPT_WAYS];
};

/* What the census itself counts (per CPU) ------------------------------------------------------ */

#define SF_CENSUS_COUNTERS(X)                                                                      \
	X(SYN, "syn", "SYNs seen on uplinks and customers' interfaces")                            \
	X(FENCED, "fenced_syn", "of them, to fenced ports, repeated ones too")                     \
	X(WATCHED, "watched_syn", "of them, to watched ports")                                     \
	X(NO_SENDER, "no_sender", "SYNs without a local socket: forwarded, or made by hand")       \
	X(FORGOTTEN_SOURCES, "forgotten_sources", "sources that gave way in a full table")         \
	X(FORGOTTEN_SOURCE_SYN, "forgotten_source_syn", "SYNs that were counted under them")       \
	X(FORGOTTEN_SENDERS, "forgotten_senders", "senders that gave way in a full table")         \
	X(FORGOTTEN_SENDER_SYN, "forgotten_sender_syn", "SYNs that were counted under them")       \
	X(UNCOUNTED, "uncounted", "times that a source or a sender found no slot in a crowd")      \
	X(UNTRACKED, "untracked", "attempts that gave way before their answer came")               \
	X(STRAY_ANSWER, "stray_answer", "answers whose attempt is not known any more")             \
	X(CROSSINGS, "crossings", "crossed limits that were reported")                             \
	X(CROSSINGS_LOST, "crossings_lost", "crossed limits that found the ring full")             \
	X(NOT_IP, "not_ip", "packets that are not IP")                                             \
	X(FRAGMENT, "fragment", "later fragments: the first decides")                              \
	X(TINY_FRAGMENT, "tiny_fragment", "first fragments without the whole TCP header")          \
	X(TRUNCATED, "truncated", "packets that end within their headers")                         \
	X(BAD_HEADER, "bad_header", "headers that contradict themselves")                          \
	X(TOO_MANY_HEADERS, "too_many_headers",                                                    \
	  "more tags or extension headers than are followed")                                      \
	X(GUARD_CROWDED, "guard_crowded", "guard: sources that gave way before their minute ended")

enum sf_census_counter {
#define X(name, label, text) SF_CENSUS_##name,
	SF_CENSUS_COUNTERS(X)
#undef X
		SF_CENSUS_COUNTER_COUNT
};
#define SF_CENSUS_COUNTER_MAX 32
_Static_assert(SF_CENSUS_COUNTER_COUNT <= SF_CENSUS_COUNTER_MAX, "raise the maximum and the ABI");

/* Events of the census: a crossed limit, or SMTP where none is expected -------------------------
 */

enum sf_crossing_kind {
	SF_CROSSING_SOURCE = 1,
	SF_CROSSING_SENDER = 2,
	SF_CROSSING_GREETING = 3, /* a server greeted as SMTP on a port that is not in the lists */
	SF_CROSSING_GUARD = 4, /* the inbound guard: level holds the reason, window the verdict */
	SF_CROSSING_CUSTOMER =
		5, /* the gateway denied: likewise; limit holds the source's `denied` */
};

struct sf_crossing {
	__u32 abi;		  /* SF_ABI_VERSION */
	__u32 kind;		  /* enum sf_crossing_kind */
	__u64 time_ns;		  /* CLOCK_BOOTTIME */
	struct sf_census_key key; /* greeting: the local sender's, where known, else zeros */
	struct sf_addr saddr;	  /* whole addresses, v4-mapped where IPv4 */
	struct sf_addr daddr;
	__u32 level;  /* 1: warn, 2: act */
	__u32 window; /* connections to fenced ports in the window */
	__u32 limit;  /* that was crossed */
	__u32 class;
	__u32 ifindex;
	__u16 sport; /* host byte order */
	__u16 dport;
};
_Static_assert(sizeof(struct sf_crossing) == 88, "sf_crossing is part of the ABI");

#define SF_GREETING_INTERVAL_NS 100000000ULL /* a core reports at most ten greetings a second */

#ifdef __bpf__
/* Sizes are set at load: keys max_sources and max_senders, with two fifths more of slots. */
#define SF_CENSUS_ARRAY(map, row)                                                                  \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(map_flags, BPF_F_MMAPABLE);                                                 \
		__uint(max_entries, 64);                                                           \
		__type(key, __u32);                                                                \
		__type(value, row);                                                                \
	} map SEC(".maps")

SF_CENSUS_ARRAY(source_heads, struct sf_census_set);
SF_CENSUS_ARRAY(source_counts, struct sf_census_count);
SF_CENSUS_ARRAY(source_trails, struct sf_census_trail);
SF_CENSUS_ARRAY(sender_heads, struct sf_census_set);
SF_CENSUS_ARRAY(sender_counts, struct sf_census_count);
SF_CENSUS_ARRAY(sender_trails, struct sf_census_trail);
SF_CENSUS_ARRAY(attempts, struct sf_attempt_set);

/* One entry, always present; user space writes it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sf_census_settings);
} census_settings SEC(".maps");

/* Never reset while attached. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SF_CENSUS_COUNTER_MAX);
	__type(key, __u32);
	__type(value, __u64);
} census_counters SEC(".maps");

/* What the coarse clock said in this jiffy, on this core, by these offsets of the settings. */
struct sf_census_clock {
	__u64 jiffy;
	__u64 now_ns; /* CLOCK_BOOTTIME */
	__s64 boot_offset_ns, wall_offset_s;
	__u32 slice, half, hour; /* struct sf_moment of it (bpf/lib/census.h) */
	__u32 pad;
};
_Static_assert(sizeof(struct sf_census_clock) == 48,
	       "48 bytes; never pinned, so no part of the ABI");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sf_census_clock);
} census_clock SEC(".maps");

/* When this core last reported a greeting (CLOCK_BOOTTIME). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} greeting_limit SEC(".maps");

/* Full (nobody reads): the report is dropped and counted as crossings_lost; daemons read tables. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} crossings SEC(".maps");
#endif

#endif
