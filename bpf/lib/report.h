/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reporting a denial, best effort: the connection was decided and counted before. What is not
 * reported is counted, by cause.
 */
#ifndef SF_BPF_REPORT_H
#define SF_BPF_REPORT_H

#include "event.h"
#include "identity.h"

/* Names of a path's parts that are taken; the verifier walks them all. */
#define TRAIL_DEPTH 24

/* Can the texts be gathered here? Set at load, off where the verifier refused them. */
const volatile __u8 capture_texts = 1;

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

/* A denied connect(): with all that is known of the task that calls. */
static __always_inline void report_denial(const struct report *r, struct sf_denial *sender)
{
	__u64 flags = BPF_RB_NO_WAKEUP, pid_tgid;
	struct sf_event *e = event_begin(r, sender, &flags);

	if (!e)
		return;
	pid_tgid = bpf_get_current_pid_tgid();
	e->task_cgroup = r->task_cgroup;
	e->socket_cgroup = r->socket ? cgroup_id(r->socket) : 0;
	e->pid = (__u32)(pid_tgid >> 32);
	e->tid = (__u32)pid_tgid;
	e->hook = SF_EVENT_CONNECT;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	if (capture_texts)
		take_texts(e, r->kernel_thread);
	bpf_ringbuf_submit(e, flags);
}

#endif
