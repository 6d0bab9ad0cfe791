// SPDX-License-Identifier: GPL-2.0-only
/* The fence's hooks: no pin is believed, the kernel is asked which programs really run there. */
#include "status_parts.h"
#include "cleanup.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>

/* 0: not open. */
static __u32 id_of_map(int fd)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	return fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : info.id;
}

static uint64_t wall_of_load(const struct bpf_prog_info *info)
{
	struct timespec boot, wall;

	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_REALTIME, &wall);
	return (uint64_t)(wall.tv_sec - boot.tv_sec) + info->load_time / 1000000000ULL;
}

uint64_t sf_status_loaded_at(uint32_t program_id)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(program_id);
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	return fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : wall_of_load(&info);
}

/* Is the program ours by name, and does it use the maps that are pinned (those that are open)? */
static int uses_our_maps(__u32 program_id, const struct sf_hook_info *hook,
			 const struct sf_loaded *maps, struct sf_hook_status *out)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(program_id);
	struct bpf_prog_info info = {};
	__u32 ids[64], len = sizeof(info), used = 0;

	if (fd < 0)
		return 0;
	info.nr_map_ids = sizeof(ids) / sizeof(ids[0]);
	info.map_ids = (__u64)(uintptr_t)ids;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) ||
	    strncmp(info.name, hook->program, BPF_OBJ_NAME_LEN - 1))
		return 0;
	out->loaded_at = wall_of_load(&info);
	for (int m = 0; m < SF_MAP_COUNT; m++) {
		__u32 id = id_of_map(maps->map[m]);

		for (__u32 i = 0; i < info.nr_map_ids && i < sizeof(ids) / sizeof(ids[0]); i++)
			used += id && ids[i] == id;
	}
	/* The fence itself needs not role_paths, source_limits, or (kernels that can't mark)
	 * judged. */
	return used >= (hook->attach_type < 0 ? 1 : SF_MAP_COUNT - 3);
}

/* The programs that run at a cgroup's hook, its own and those from above. */
static __u32 effective_programs(int cgroup_fd, const struct sf_hook_info *hook, __u32 *ids,
				__u32 room)
{
	__u32 count = room;

	if (bpf_prog_query(cgroup_fd, (enum bpf_attach_type)hook->attach_type,
			   BPF_F_QUERY_EFFECTIVE, NULL, ids, &count))
		return 0;
	return count < room ? count : room;
}

static void read_cgroup_hook(const struct sf_hook_info *hook, int link, int cgroup_fd,
			     uint64_t cgroup_id, const struct sf_loaded *maps,
			     struct sf_hook_status *out)
{
	struct bpf_link_info info = {};
	__u32 ids[64], count, len = sizeof(info);

	if (link >= 0 && (bpf_obj_get_info_by_fd(link, &info, &len) ||
			  info.type != BPF_LINK_TYPE_CGROUP || info.cgroup.cgroup_id != cgroup_id ||
			  info.cgroup.attach_type != (__u32)hook->attach_type))
		return;
	/*
	 * The link's word is not enough: ask the cgroup which programs really run there. Where the
	 * pin is gone the link may live on in the daemon's hands: then its program is there too.
	 */
	count = effective_programs(cgroup_fd, hook, ids, sizeof(ids) / sizeof(ids[0]));
	for (__u32 i = 0; i < count; i++) {
		if ((link >= 0 && ids[i] != info.prog_id) ||
		    !uses_our_maps(ids[i], hook, maps, out))
			continue;
		out->in_effect = 1;
		out->program_id = ids[i];
	}
}

void status_read_hook(const struct sf_policy *policy, enum sf_hook h, int cgroup_fd,
		      uint64_t cgroup_id, const struct sf_loaded *maps, struct sf_status *status)
{
	const struct sf_hook_info *hook = &sf_hooks[h];
	struct sf_hook_status *out = &status->hook[h];
	_cleanup_close_ int link = sf_pin_open(policy->pin_dir, "links", hook->name);
	struct bpf_link_info info = {};
	__u32 len = sizeof(info);

	snprintf(out->target, sizeof(out->target), "%s",
		 hook->attach_type < 0 ? "tracepoint" : policy->cgroup_root);
	out->pinned = link >= 0;
	if (hook->attach_type >= 0) {
		read_cgroup_hook(hook, link, cgroup_fd, cgroup_id, maps, out);
	} else if (link >= 0 && !bpf_obj_get_info_by_fd(link, &info, &len)) {
		out->program_id = info.prog_id;
		out->in_effect = info.type == BPF_LINK_TYPE_RAW_TRACEPOINT &&
				 uses_our_maps(info.prog_id, hook, maps, out);
	}
}
