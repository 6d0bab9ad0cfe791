/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who sends: the socket's cgroup, the task's cgroup, and the nearest role above each.
 *
 * Both, because they can differ: the kernel picks the programs by the socket's cgroup, which is
 * fixed when the socket is made, while the helpers speak of the task that calls now.
 *
 * Where the kernel gives typed pointers (bpf_get_current_task_btf, 5.11; a socket's cgroup as a
 * member of its own, 5.15) fields are loaded directly, 2 ns each; elsewhere by
 * bpf_probe_read_kernel, 22 ns each (measured on 6.18 with retpolines).
 */
#ifndef SF_BPF_IDENTITY_H
#define SF_BPF_IDENTITY_H

#include "kernel.h"
#include "decide.h"
#include "merge.h"

/* Set at load by trying. A constant for the verifier, so the other way is never looked at. */
const volatile __u8 typed_pointers = 1;

static __always_inline struct task_struct *current_task(void)
{
	if (typed_pointers)
		return (void *)bpf_get_current_task_btf();
	return (void *)bpf_get_current_task();
}

static __always_inline bool task_is_kernel_thread(struct task_struct *task)
{
	if (typed_pointers)
		return task->flags & PF_KTHREAD;
	return BPF_CORE_READ(task, flags) & PF_KTHREAD;
}

/* Real ids, of the initial user namespace: what a container calls its users does not count. */
static __always_inline void task_ids(struct task_struct *task, __u32 *uid, __u32 *gid)
{
	if (typed_pointers) {
		*uid = task->cred->uid.val;
		*gid = task->cred->gid.val;
	} else {
		__u64 both = bpf_get_current_uid_gid();

		*uid = (__u32)both;
		*gid = (__u32)(both >> 32);
	}
}

static __always_inline struct cgroup *task_cgroup(struct task_struct *task)
{
	if (typed_pointers)
		return task->cgroups->dfl_cgrp;
	return BPF_CORE_READ(task, cgroups, dfl_cgrp);
}

/*
 * The v2 cgroup that the socket was made in; NULL where the kernel does not show it, or (before
 * 5.15) where net_cls or net_prio took its place: the kernel then takes it for the root's.
 */
static __always_inline struct cgroup *socket_cgroup(struct bpf_sock *sk)
{
	struct sock *s;

	if (!sk)
		return NULL;
	/* A sock_addr program has no bpf_sk_cgroup_id; this cast gives the kernel's own socket. */
	s = (struct sock *)bpf_skc_to_tcp_sock(sk);
	if (!s)
		return NULL;
	if (typed_pointers)
		return s->sk_cgrp_data.cgroup;
	if (bpf_core_field_exists(struct sock_cgroup_data, cgroup)) {
		return BPF_CORE_READ(s, sk_cgrp_data.cgroup);
	} else {
		__u64 val = BPF_CORE_READ((struct sock___5_14 *)s, sk_cgrp_data.val);

		return val & 3 ? NULL : (struct cgroup *)val;
	}
}

/*
 * Does the socket carry a source route (IPv4: with CAP_NET_RAW; IPv6 routing headers: anybody)?
 * Then the packet does not go where connect() says, and the destination gives no right.
 */
static __always_inline bool is_source_routed(struct bpf_sock *sk)
{
	struct inet_sock *inet = sk ? (struct inet_sock *)bpf_skc_to_tcp_sock(sk) : NULL;

	return !inet || BPF_CORE_READ(inet, inet_opt, opt.srr) ||
	       BPF_CORE_READ(inet, pinet6, opt, srcrt);
}

/* Bound to another interface than loopback (1, in every namespace): it leaves by that one. */
static __always_inline bool is_bound_outwards(struct bpf_sock *sk)
{
	return sk && sk->bound_dev_if > 1;
}

static __always_inline __u64 cgroup_id(struct cgroup *cgrp)
{
	if (typed_pointers)
		return cgrp->kn->id;
	return BPF_CORE_READ(cgrp, kn, id);
}

/* NULL above the root: its css has no parent, and a load from NULL gives 0. */
static __always_inline struct cgroup *cgroup_parent(struct cgroup *cgrp)
{
	if (typed_pointers)
		return cgrp->self.parent->cgroup;
	return BPF_CORE_READ(cgrp, self.parent, cgroup);
}

/* A role packed into one number, so that a global function can return it; ids stay far below. */
#define ROLE_ID		 ((1ULL << 56) - 1)
#define ROLE_KIND(r)	 ((__u32)((r) >> 56) & 15)
#define ROLE_LISTED	 (1ULL << 60)
#define ROLE_QUARANTINED (1ULL << 61)
#define ROLE_TOO_DEEP	 (1ULL << 62)
#define ROLE_OUTSIDE	 (1ULL << 63) /* not below cgroup_root */

/*
 * The role at this cgroup id; 0: none. A global function of scalars: the verifier takes it once,
 * by itself, and what follows does not multiply with its paths. 5.10 knows no other arguments.
 */
__noinline __u64 role_at(__u64 id, __u32 uid, __u64 bare_root)
{
	struct sf_role *role;
	__u64 found;

	if (id == bare_root)
		return 0;
	role = bpf_map_lookup_elem(&roles, &id);
	if (!role)
		return 0;
	found = (id & ROLE_ID) | (__u64)(role->kind & 15) << 56;
	if (role->kind == SF_ROLE_MAIL && sf_role_has_user(role, uid))
		found |= ROLE_LISTED;
	if (role->quarantine_until_ns && (role->quarantine_until_ns == SF_NEVER ||
					  bpf_ktime_get_boot_ns() < role->quarantine_until_ns))
		found |= ROLE_QUARANTINED;
	return found;
}

static __always_inline void unpack_place(__u64 found, struct sf_place *place)
{
	place->quarantined = !!(found & ROLE_QUARANTINED);
	place->too_deep = !!(found & ROLE_TOO_DEEP);
	if (!ROLE_KIND(found))
		return;
	place->anchor = found & ROLE_ID;
	place->kind = ROLE_KIND(found);
	place->user_listed = !!(found & ROLE_LISTED);
}

/*
 * Walk from the socket's cgroup to the root. The nearest role with a kind counts; a quarantine
 * counts wherever it is, so the walk does not stop at the first role. Where not all levels were
 * seen, what was found may be under a quarantine, and is no right.
 */
static __always_inline void place_of_socket(struct cgroup *cgrp, __u32 uid, __u64 bare_root,
					    struct sf_place *place)
{
	__u64 nearest = 0, quarantined = 0, found = ROLE_TOO_DEEP;

	if (!cgrp) {
		place->unknown = 1;
		return;
	}
	for (int level = 0; level < SF_DEPTH_MAX; level++) {
		__u64 role = role_at(cgroup_id(cgrp), uid, bare_root);

		quarantined |= role & ROLE_QUARANTINED;
		if (!ROLE_KIND(nearest))
			nearest = role;
		cgrp = cgroup_parent(cgrp);
		if (!cgrp) {
			found = nearest;
			break;
		}
	}
	unpack_place(merge_paths(found | quarantined), place);
}

/*
 * The same for the task's cgroup, from the root down by the helper: a global function of scalars,
 * because loads through the task's (RCU) pointers are dear to verify, and this is the rare way:
 * most senders' sockets were made where they are.
 */
__noinline __u64 walk_task(__u32 uid, __u64 bare_root)
{
	__u64 nearest = 0, quarantined = 0;

	for (int level = 0; level < SF_DEPTH_MAX; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level), role;

		if (!id)
			return nearest | quarantined;
		role = role_at(id, uid, bare_root);
		quarantined |= role & ROLE_QUARANTINED;
		if (ROLE_KIND(role))
			nearest = role;
	}
	return quarantined | ROLE_TOO_DEEP;
}

#endif
