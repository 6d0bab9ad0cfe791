/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who was it: an event's numbers and trails as text. What the kernel took at the moment of the
 * denial comes first; /proc fills gaps while the process still lives. All text is escaped.
 */
#ifndef SF_USER_EXPLAIN_H
#define SF_USER_EXPLAIN_H

#include <stdint.h>
#include <stddef.h>
#include "../maps/events.h"

#define SF_TEXT_MAX 1024

struct sf_explained {
	int64_t time;	      /* seconds since 1970 */
	int64_t boot_seconds; /* the same by CLOCK_BOOTTIME */
	int32_t time_us;      /* and microseconds */
	uint32_t pid, uid, gid;
	uint16_t dport;
	uint8_t verdict, reason;
	uint8_t is_packet; /* a packet without a connect(): only the socket's cgroup and user are
			      known */
	uint64_t cgroup_id;
	char user[128]; /* "#1001" where the host knows no name; "kernel" for its threads */
	char comm[SF_COMM_LEN * 4 + 1];
	char exe[SF_TEXT_MAX];
	char cwd[SF_TEXT_MAX];
	char cgroup[SF_TEXT_MAX];
	char cmdline[SF_TEXT_MAX];
	char unit[256];	    /* the systemd unit in the cgroup's path, or "" */
	char container[96]; /* the container's id in the path, or "" */
	char daddr[64];
};

/* 0, or -EPROTO where the record is not of this version. `mount` is the v2 mount point. */
int sf_explain(const void *record, size_t size, const char *mount, struct sf_explained *out);

/* A user's name, from a small cache; "#UID" where there is none. */
void sf_explain_user(uint32_t uid, char *out, size_t size);

/* The path of a trail (leaf to root, NUL-divided) into `out`, unescaped. Returns its length. */
size_t sf_trail_path(const struct sf_trail *trail, char *out, size_t size);

/* Unit and container in a cgroup path (pure). */
void sf_explain_cgroup(const char *path, char *unit, size_t unit_size, char *container,
		       size_t container_size);

#endif
