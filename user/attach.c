// SPDX-License-Identifier: GPL-2.0-only
#include "attach.h"
#include "cleanup.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

static int attach_tracepoint(const char *pin_dir, const struct sf_hook_info *hook, int program_fd,
			     struct sf_error *err)
{
	_cleanup_close_ int link = bpf_raw_tracepoint_open(hook->name, program_fd);

	if (link < 0)
		return sf_fail(err, -errno, "can't attach to the tracepoint %s: %s", hook->name,
			       strerror(errno));
	return sf_pin_replace(pin_dir, "links", hook->name, link, err);
}

static int attach_cgroup(const char *pin_dir, const struct sf_hook_info *hook, int cgroup_fd,
			 uint64_t cgroup_id, int program_fd, int *made, struct sf_error *err)
{
	_cleanup_close_ int link = sf_pin_open(pin_dir, "links", hook->name);
	struct bpf_link_info info = {};
	__u32 len = sizeof(info);

	if (link < 0 && link != -ENOENT)
		return sf_fail(err, link, "can't open the link of %s: %s", hook->name,
			       strerror(-link));
	/* A link that was detached from outside, or whose cgroup died, shows cgroup 0. */
	if (link >= 0 && !bpf_obj_get_info_by_fd(link, &info, &len) &&
	    info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == cgroup_id) {
		if (!bpf_link_update(link, program_fd, NULL))
			return 0;
		if (errno != ENOLINK) /* it went just now */
			return sf_fail(err, -errno, "can't exchange the program at %s: %s",
				       hook->name, strerror(errno));
	}
	if (link >= 0)
		close(link);
	link = bpf_link_create(program_fd, cgroup_fd, (enum bpf_attach_type)hook->attach_type,
			       NULL);
	if (link < 0 && errno == EPERM)
		return sf_fail(
			err, -EPERM,
			"another program is attached at the %s hook of this cgroup for itself "
			"alone (not with BPF_F_ALLOW_MULTI); see `bpftool cgroup tree`",
			hook->name);
	if (link < 0)
		return sf_fail(err, -errno, "can't attach to %s: %s", hook->name, strerror(errno));
	*made = 1;
	return sf_pin_replace(pin_dir, "links", hook->name, link, err);
}

int sf_attach(const char *pin_dir, enum sf_hook hook, int cgroup_fd, uint64_t cgroup_id,
	      int program_fd, int *made, struct sf_error *err)
{
	const struct sf_hook_info *info = &sf_hooks[hook];
	int ret;

	if (info->attach_type < 0)
		ret = attach_tracepoint(pin_dir, info, program_fd, err);
	else
		ret = attach_cgroup(pin_dir, info, cgroup_fd, cgroup_id, program_fd, made, err);
	return ret;
}

static void detach_pin(const char *pin_dir, const char *name)
{
	_cleanup_close_ int link = sf_pin_open(pin_dir, "links", name);

	if (link >= 0)
		bpf_link_detach(link);
}

void sf_detach(const char *pin_dir, enum sf_hook hook)
{
	char left_behind[64]; /* by a command that was killed; see sf_pin_replace */

	snprintf(left_behind, sizeof(left_behind), "%s_new", sf_hooks[hook].name);
	/* Tracepoint links know no detach: they go with their last descriptor. */
	if (sf_hooks[hook].attach_type >= 0) {
		detach_pin(pin_dir, sf_hooks[hook].name);
		detach_pin(pin_dir, left_behind);
	}
	sf_pin_remove(pin_dir, "links", sf_hooks[hook].name);
}
