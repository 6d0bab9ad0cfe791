// SPDX-License-Identifier: GPL-2.0-only
#include "probe.h"
#include "cleanup.h"
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>

/* enum bpf_attach_type BPF_TCX_EGRESS (6.6), which older headers lack; it is ABI. */
#define TCX_EGRESS 47
#define LOOPBACK   1

static int probe_ring(void)
{
	return libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL);
}

static int probe_socket(void)
{
	return libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_skc_to_tcp_sock,
				       NULL);
}

int sf_probe_set_retval(void)
{
	return libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval, NULL);
}

/* A program that does nothing on the tracepoint that roles hang on, for as long as this runs. */
static int probe_tracepoint(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	_cleanup_close_ int prog = -1, link = -1;

	prog = bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "sf_probe", "GPL", insns, 2, NULL);
	if (prog < 0)
		return prog == -EINVAL ? 0 : prog;
	link = bpf_raw_tracepoint_open("cgroup_mkdir", prog);
	if (link < 0)
		return link == -ENOENT ? 0 : link;
	return 1;
}

/* Asking what is attached there is enough: a kernel without TCX doesn't know the question. */
int sf_probe_tcx(void)
{
	__u32 count = 0;
	int ret = bpf_prog_query(LOOPBACK, TCX_EGRESS, 0, NULL, NULL, &count);

	if (!ret || ret == -ENOSPC)
		return 1;
	return ret == -EINVAL ? 0 : ret;
}

/* On the stack; the packet programs claim places in their tables so. */
int sf_probe_compare_and_swap(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ST | BPF_MEM | BPF_DW, .dst_reg = BPF_REG_10, .off = -8},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_1},
		{.code = BPF_STX | BPF_ATOMIC | BPF_DW,
		 .dst_reg = BPF_REG_10,
		 .src_reg = BPF_REG_1,
		 .off = -8,
		 .imm = BPF_CMPXCHG},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int prog = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "sf_probe", "GPL", insns,
				 sizeof(insns) / sizeof(insns[0]), NULL);

	if (prog < 0)
		return prog == -EINVAL ? 0 : prog;
	close(prog);
	return 1;
}

/* /proc/cgroups: name, hierarchy, number of groups, enabled. One group is the root alone. */
static bool is_net_class_used(void)
{
	_cleanup_fclose_ FILE *in = fopen("/proc/cgroups", "re");
	char line[256], name[64];
	unsigned int hierarchy, groups;

	while (in && fgets(line, sizeof(line), in))
		/* NOLINTNEXTLINE(cert-err34-c): /proc/cgroups, the kernel's own text */
		if (sscanf(line, "%63s %u %u", name, &hierarchy, &groups) == 3 && hierarchy &&
		    groups > 1 && (!strcmp(name, "net_cls") || !strcmp(name, "net_prio")))
			return true;
	return false;
}

int sf_probe_socket_cgroup_shown(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	int ret = 0, id;

	if (!btf)
		return -errno;
	id = btf__find_by_name_kind(btf, "sock_cgroup_data", BTF_KIND_STRUCT);
	if (id > 0) {
		const struct btf_type *type = btf__type_by_id(btf, (__u32)id);
		const struct btf_member *member = btf_members(type);

		for (int i = 0; i < btf_vlen(type); i++)
			if (!strcmp(btf__name_by_offset(btf, member[i].name_off), "cgroup"))
				ret = 1;
	}
	btf__free(btf);
	return ret;
}

int sf_probe_socket_cgroup_safe(void)
{
	int shown = sf_probe_socket_cgroup_shown();

	return shown ? shown : !is_net_class_used();
}

size_t sf_probe_kernel(struct sf_probe *list, size_t max)
{
	const struct sf_probe all[] = {
		{"ring buffer", SF_PROBE_MUST, probe_ring(), "the kernel has it (5.8)",
		 "the kernel lacks it (5.8): smtpfence can't run here"},
		{"socket identity", SF_PROBE_MUST, probe_socket(),
		 "a connect program can see the socket's cgroup (5.9)",
		 "a connect program can't see the socket's cgroup (5.9): smtpfence can't run here"},
		{"cgroup tracepoints", SF_PROBE_MUST, probe_tracepoint(),
		 "new cgroups are seen before their first task runs",
		 "the tracepoint cgroup_mkdir can't be attached to: roles would be lost when a "
		 "service restarts"},
		{"chosen errno", SF_PROBE_INFO, sf_probe_set_retval(),
		 "a denied connect() can answer EPERM, EACCES or ECONNREFUSED (5.18)",
		 "a denied connect() answers EPERM whatever is configured (5.18)"},
		{"TCX", SF_PROBE_INFO, sf_probe_tcx(), "the kernel has it (6.6)",
		 "the kernel lacks it (6.6); the process fence does not need it"},
		{"compare-and-swap", SF_PROBE_WISH, sf_probe_compare_and_swap(),
		 "programs can: packets can be counted and fenced (5.12)",
		 "programs can't (5.12): no census, no packet backstop and no gateway; the process "
		 "fence does not need it"},
		{"net_cls and net_prio", SF_PROBE_WISH, sf_probe_socket_cgroup_safe(),
		 "not in the way of the socket's cgroup",
		 "in use, and on this kernel (before 5.15) a socket that they mark hides its "
		 "cgroup: its sender is denied as no_identity, the mail server too; unmount "
		 "them or take the mail server out"},
	};
	size_t count = sizeof(all) / sizeof(all[0]);

	if (count > max)
		count = max;
	memcpy(list, all, count * sizeof(all[0]));
	return count;
}
