/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The few kernel structures that the programs look into, with only the fields that are used.
 * CO-RE finds the real offsets when the object is loaded (preserve_access_index), so the build
 * needs no running kernel and no vmlinux.h.
 */
#ifndef SF_BPF_KERNEL_H
#define SF_BPF_KERNEL_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define PF_KTHREAD 0x00200000 /* include/linux/sched.h; io_uring's workers do not carry it */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_node {
	__u64 id; /* 5.5; the cgroup's id */
	const char *name;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct cgroup_root {
	int hierarchy_id; /* 0: the default (v2) hierarchy */
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

struct kernel_id { /* kuid_t, kgid_t: of the initial user namespace */
	__u32 val;
};

struct cred {
	struct kernel_id uid;
	struct kernel_id gid;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct fs_struct {
	struct path pwd;
};

struct file {
	struct path f_path;
};

struct mm_struct {
	struct file *exe_file;
	unsigned long arg_start;
	unsigned long arg_end;
};

struct task_struct {
	unsigned int flags;
	const struct cred *cred;
	struct mm_struct *mm;
	struct fs_struct *fs;
	struct css_set *cgroups;
};

/* 5.15 and later. */
struct sock_cgroup_data {
	struct cgroup *cgroup;
};

struct sock {
	struct sock_cgroup_data sk_cgrp_data;
	struct kernel_id sk_uid; /* of who made it: the filesystem uid */
	__u16 sk_type;
};

struct sk_buff {
	struct sock *sk;
};

struct ip_options {
	unsigned char srr; /* offset of a source route, 0: none */
};

struct ip_options_rcu {
	struct ip_options opt;
};

struct ipv6_txoptions {
	void *srcrt; /* routing header */
};

struct ipv6_pinfo {
	struct ipv6_txoptions *opt;
};

struct inet_sock {
	struct ipv6_pinfo *pinet6;
	struct ip_options_rcu *inet_opt;
};

struct tcp_sock {
	__u64 bytes_received;
};

/* Before 5.15 the pointer shares its word with the net_cls and net_prio numbers. */
struct sock_cgroup_data___5_14 {
	__u64 val;
};

struct sock___5_14 {
	struct sock_cgroup_data___5_14 sk_cgrp_data;
};

#pragma clang attribute pop

#endif
