/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Roles: what a cgroup subtree is. Kept twice, by path and by id.
 *
 * role_paths is the policy, written by user space only. roles follows the living cgroups: the
 * program on the cgroup_mkdir tracepoint copies the value of the path that is being made, before
 * the new cgroup can hold a task; cgroup_rmdir takes it out. User space enters those that exist
 * already. So a restart of the mail server needs no daemon.
 */
#ifndef SF_MAPS_ROLES_H
#define SF_MAPS_ROLES_H

#include "abi.h"

enum sf_role_kind {
	SF_ROLE_NONE =
		0, /* the entry only carries a quarantine or limits; the walk goes on upwards */
	SF_ROLE_MAIL = 1,
	SF_ROLE_FENCE = 2,
	SF_ROLE_EXEMPT = 3,
};

#define SF_ROLE_USERS_MAX 16

struct sf_role {
	__u32 kind;			/* enum sf_role_kind */
	__u32 user_count;		/* mail only; 0: every user */
	__u64 quarantine_until_ns;	/* CLOCK_BOOTTIME; 0: none; SF_NEVER: without end */
	__u32 users[SF_ROLE_USERS_MAX]; /* uids of the initial user namespace, ascending, rest 0 */
	__u32 limited; /* 1: the census takes warn and act for this subtree (maps/census.h) */
	__u32 warn;
	__u32 act;
	__u32 pad;
};
_Static_assert(sizeof(struct sf_role) == 32 + 4 * SF_ROLE_USERS_MAX, "sf_role is part of the ABI");

struct sf_role_path {
	char path[SF_PATH_MAX]; /* from the v2 root, "/" is the root; the rest is NUL */
};
_Static_assert(sizeof(struct sf_role_path) == SF_PATH_MAX, "sf_role_path is part of the ABI");

#ifdef __bpf__
/*
 * Both are sized at load (key max_roles) and preallocated: the tracepoint must not allocate.
 * Full: user space refuses the policy that does not fit, before it changes anything. roles can
 * not outgrow role_paths but for entries of dead cgroups, which rmdir takes out; an insert that
 * fails is counted (role_lost) and the cgroup has no role, so its senders are denied.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct sf_role_path);
	__type(value, struct sf_role);
} role_paths SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64); /* cgroup id in the v2 hierarchy */
	__type(value, struct sf_role);
} roles SEC(".maps");
#endif

#endif
