/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reporting a denial, best effort: the connection was decided and counted before. What is not
 * reported is counted, by cause.
 */
#ifndef SF_BPF_REPORT_H
#define SF_BPF_REPORT_H

#include "count.h"
#include "identity.h"

/* Names of a path's parts that are taken; the verifier walks them all. */
#define TRAIL_DEPTH 24

/* Can the texts be gathered here? Set at load, off where the verifier refused them. */
const volatile __u8 capture_texts = 1;

/*
 * A bucket kept as one time: it is full up to `used_ns`. Room for one more at `now_ns`? Two cores
 * may both take the last place: a few events more than stated, never a wrong count.
 */
static __always_inline bool bucket_take(__u64 *used_ns, __u64 now_ns, __u64 interval_ns,
					__u32 burst)
{
	__u64 used = *used_ns;

	if (used < now_ns)
		used = now_ns;
	if (used - now_ns > interval_ns * (burst - 1))
		return false;
	*used_ns = used + interval_ns;
	return true;
}

/* Append one name; false when the room is used up. */
static __always_inline bool trail_add(struct sf_trail *trail, const void *name)
{
	__u32 used = trail->used;
	long n;

	if (used >= SF_TRAIL_LEN) {
		trail->cut = 1;
		return false;
	}
	n = bpf_probe_read_kernel_str(&trail->names[used], SF_TRAIL_NAME, name);
	if (n <= 0)
		return false;
	trail->used = (__u16)(used + (__u32)n);
	return true;
}

/* From a dentry up, across mounts, to the root of its mount namespace. */
static __always_inline void trail_path(struct sf_trail *trail, struct vfsmount *vfs,
				       struct dentry *dentry)
{
	struct mount *mnt;

	trail->used = 0;
	trail->cut = 0;
	if (!vfs || !dentry)
		return;
	mnt = (void *)vfs - bpf_core_field_offset(struct mount, mnt);
	for (int i = 0; i < TRAIL_DEPTH; i++) {
		struct dentry *parent = BPF_CORE_READ(dentry, d_parent);

		/* A file without a place (memfd, pipe) is its own parent: its name is all there is.
		 */
		if (dentry == parent && !trail->used &&
		    dentry != BPF_CORE_READ(mnt, mnt.mnt_root)) {
			trail_add(trail, BPF_CORE_READ(dentry, d_name.name));
			return;
		}
		if (dentry == BPF_CORE_READ(mnt, mnt.mnt_root) || dentry == parent) {
			struct mount *up = BPF_CORE_READ(mnt, mnt_parent);

			if (!up || up == mnt)
				return;
			dentry = BPF_CORE_READ(mnt, mnt_mountpoint);
			mnt = up;
			continue;
		}
		if (!trail_add(trail, BPF_CORE_READ(dentry, d_name.name)))
			return;
		dentry = parent;
	}
	trail->cut = 1;
}

static __always_inline void trail_cgroup(struct sf_trail *trail, struct cgroup *cgrp)
{
	trail->used = 0;
	trail->cut = 0;
	for (int i = 0; i < TRAIL_DEPTH; i++) {
		struct cgroup *parent = BPF_CORE_READ(cgrp, self.parent, cgroup);

		if (!parent)
			return;
		if (!trail_add(trail, BPF_CORE_READ(cgrp, kn, name)))
			return;
		cgrp = parent;
	}
	trail->cut = 1;
}

static __always_inline void take_cmdline(struct sf_event *e, struct mm_struct *mm)
{
	unsigned long start = BPF_CORE_READ(mm, arg_start);
	unsigned long len = BPF_CORE_READ(mm, arg_end) - start;

	if (len > SF_CMDLINE_LEN)
		len = SF_CMDLINE_LEN;
	/* The sender's own memory: it may be gone, or swapped out; then there is no text. */
	if (len && !bpf_probe_read_user(e->cmdline, (__u32)len, (void *)start))
		e->cmdline_used = (__u16)len;
}

static __always_inline void take_texts(struct sf_event *e, bool kernel_thread)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct fs_struct *fs = BPF_CORE_READ(task, fs);

	trail_cgroup(&e->cgroup, BPF_CORE_READ(task, cgroups, dfl_cgrp));
	if (kernel_thread)
		return;
	if (fs)
		trail_path(&e->cwd, BPF_CORE_READ(fs, pwd.mnt), BPF_CORE_READ(fs, pwd.dentry));
	if (mm) {
		struct file *exe = BPF_CORE_READ(mm, exe_file);

		if (exe)
			trail_path(&e->exe, BPF_CORE_READ(exe, f_path.mnt),
				   BPF_CORE_READ(exe, f_path.dentry));
		take_cmdline(e, mm);
	}
}

/* What the hook knows already, so that nothing is read twice. */
struct report {
	struct sf_decision decision;
	struct sf_addr daddr;
	__u32 family;
	__u16 dport;
	bool kernel_thread;
	__u32 uid;
	__u32 gid;
	__u64 task_cgroup;
	struct cgroup *socket;
	__u64 now_ns;
	__u64 jiffy;
};

static __always_inline void report_denial(const struct report *r, struct sf_denial *sender)
{
	struct sf_event_limit *limit;
	struct sf_event *e;
	__u64 flags = BPF_RB_NO_WAKEUP, pid_tgid;
	__u32 zero = 0;

	limit = bpf_map_lookup_elem(&event_limits, &zero);
	if (!limit)
		return;
	/* The sender's own limit first, so that one flood does not use up what others need. */
	if (sender && !bucket_take(&sender->events_ns, r->now_ns, SF_EVENT_SENDER_INTERVAL_NS,
				   SF_EVENT_SENDER_BURST)) {
		sender->refused_jiffy = r->jiffy;
		count_loss(SF_LOSS_EVENTS_LIMITED);
		return;
	}
	if (!bucket_take(&limit->used_ns, r->now_ns, SF_EVENT_CPU_INTERVAL_NS,
			 SF_EVENT_CPU_BURST)) {
		count_loss(SF_LOSS_EVENTS_LIMITED);
		return;
	}
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		count_loss(SF_LOSS_EVENTS_FULL);
		return;
	}
	pid_tgid = bpf_get_current_pid_tgid();
	e->abi = SF_ABI_VERSION;
	e->size = sizeof(*e);
	e->time_ns = r->now_ns;
	e->task_cgroup = r->task_cgroup;
	e->socket_cgroup = r->socket ? cgroup_id(r->socket) : 0;
	e->daddr = r->daddr;
	e->pid = (__u32)(pid_tgid >> 32);
	e->tid = (__u32)pid_tgid;
	e->uid = r->uid;
	e->gid = r->gid;
	e->dport = r->dport;
	e->verdict = r->decision.verdict;
	e->reason = r->decision.reason;
	e->family = (__u8)r->family;
	e->cmdline_used = 0;
	e->exe.used = 0;
	e->cwd.used = 0;
	e->cgroup.used = 0;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	if (capture_texts)
		take_texts(e, r->kernel_thread);
	if (r->now_ns - limit->wake_ns >= SF_EVENT_WAKE_INTERVAL_NS) {
		limit->wake_ns = r->now_ns;
		flags = BPF_RB_FORCE_WAKEUP;
	}
	bpf_ringbuf_submit(e, flags);
}

#endif
