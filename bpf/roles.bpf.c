// SPDX-License-Identifier: GPL-2.0-only
/*
 * Roles follow paths: a new cgroup whose path has a role gets it here, before a task can be in it
 * (the tracepoint runs before the directory is activated); a removed one gives it back.
 */
#include "lib/kernel.h"
#include "../maps/roles.h"
#include "../maps/counters.h"
#include "lib/count.h"

/* The tracepoints hold one lock for all cgroups (trace_cgroup_path_lock), so one buffer serves. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sf_role_path);
} path_buffer SEC(".maps");

/* The same path and even the same id can turn up in a v1 hierarchy of a hybrid host. */
static __always_inline bool in_v2(struct cgroup *cgrp)
{
	return BPF_CORE_READ(cgrp, root, hierarchy_id) == 0;
}

SEC("raw_tp/cgroup_mkdir")
int smtpfence_mkdir(struct bpf_raw_tracepoint_args *ctx)
{
	struct cgroup *cgrp = (void *)ctx->args[0];
	const char *path = (void *)ctx->args[1];
	struct sf_role_path *key;
	struct sf_role *role;
	__u32 zero = 0;
	__u64 id;

	if (!in_v2(cgrp))
		return 0;
	key = bpf_map_lookup_elem(&path_buffer, &zero);
	if (!key)
		return 0;
	__builtin_memset(key, 0, sizeof(*key));
	if (bpf_probe_read_kernel_str(key->path, sizeof(key->path), path) <= 0)
		return 0;
	role = bpf_map_lookup_elem(&role_paths, key);
	if (!role)
		return 0;
	id = BPF_CORE_READ(cgrp, kn, id);
	if (bpf_map_update_elem(&roles, &id, role, BPF_ANY))
		count_loss(SF_LOSS_ROLES_LOST);
	return 0;
}

SEC("raw_tp/cgroup_rmdir")
int smtpfence_rmdir(struct bpf_raw_tracepoint_args *ctx)
{
	struct cgroup *cgrp = (void *)ctx->args[0];
	__u64 id;

	if (!in_v2(cgrp))
		return 0;
	id = BPF_CORE_READ(cgrp, kn, id);
	bpf_map_delete_elem(&roles, &id);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
