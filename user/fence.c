// SPDX-License-Identifier: GPL-2.0-only
#include "fence_work.h"
#include "attach.h"
#include "cgroup.h"
#include "cleanup.h"
#include "egress.h"
#include "gateway.h"
#include "probe.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>

/*
 * Do all our links stand at this cgroup? 1, 0, or a negative errno: a link that could not be
 * opened for want of descriptors or memory is not a link that is not there.
 */
static int hooks_all_stand(struct fence_work *w, struct sf_error *err)
{
	int all = 1;

	for (int h = 0; h < SF_HOOK_COUNT; h++) {
		_cleanup_close_ int link =
			sf_pin_open(w->policy->pin_dir, "links", sf_hooks[h].name);
		struct bpf_link_info info = {};
		__u32 len = sizeof(info);

		if (link < 0 && link != -ENOENT)
			return sf_fail(err, link, "can't open %s/links/%s: %s; nothing was changed",
				       w->policy->pin_dir, sf_hooks[h].name, strerror(-link));
		if (link < 0) {
			all = 0;
			continue;
		}
		w->attached = 1;
		if (bpf_obj_get_info_by_fd(link, &info, &len) ||
		    (sf_hooks[h].attach_type >= 0 && info.cgroup.cgroup_id != w->cgroup_id))
			all = 0;
	}
	return all;
}

static int roles_fit(const struct sf_loaded *loaded, const struct sf_policy *policy)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	return !bpf_obj_get_info_by_fd(loaded->map[SF_MAP_ROLE_PATHS], &info, &len) &&
	       info.max_entries == (__u32)policy->max_roles;
}

static void tell_difference(struct fence_work *w, struct sf_fence_result *result)
{
	for (int i = 0; i < SF_IMAGE_COUNT; i++)
		sf_table_compare(&w->have.table[i], &w->want.table[i], &result->table[i]);
}

static int open_place(struct fence_work *w, struct sf_error *err)
{
	int ret = sf_cgroup_mount(w->mount, sizeof(w->mount), err);

	if (ret)
		return ret;
	w->cgroup_fd = sf_cgroup_open(w->mount, w->policy->cgroup_root, O_RDONLY);
	if (w->cgroup_fd < 0)
		return sf_fail_usage(
			err,
			"cgroup_root \"%s\": can't open it below %s: %s; it is written "
			"from the cgroup v2 root",
			w->policy->cgroup_root, w->mount, strerror(-w->cgroup_fd));
	ret = sf_cgroup_id(w->mount, w->policy->cgroup_root, &w->cgroup_id);
	return ret ? sf_fail(err, ret, "cgroup_root: %s", strerror(-ret)) : 0;
}

/* The fence stands whatever comes of this: what can't be counted is told. */
static void count_on_uplinks(struct fence_work *w, const struct sf_fence_options *options,
			     struct sf_fence_result *result)
{
	struct sf_error err = {.code = 0};

	if (sf_egress_apply(w->policy, &w->loaded, &w->want.census, options->replace_programs,
			    w->loading, &err))
		snprintf(result->no_census, sizeof(result->no_census), "%s", err.text);
}

/* As above: what of the customers' interfaces is not fenced is told, and by `status` too. */
static void fence_customers(struct fence_work *w, const struct sf_fence_options *options,
			    struct sf_fence_result *result)
{
	struct sf_error err = {.code = 0};

	if (sf_gateway_apply(w->policy, &w->loaded, &w->want.census, options->replace_programs,
			     &err))
		snprintf(result->no_gateway, sizeof(result->no_gateway), "%s", err.text);
}

/*
 * Loading at once takes some hundred descriptors at most. Not where they could run short: what
 * libbpf can't ask the kernel for want of one it takes for missing, and never asks again.
 */
static int may_load_at_once(const struct sf_fence_options *options)
{
	struct rlimit limit;

	return options->replace_programs && !getrlimit(RLIMIT_NOFILE, &limit) &&
	       limit.rlim_cur >= 256;
}

static int load_programs(struct fence_work *w, const struct sf_fence_options *options,
			 struct sf_error *err)
{
	if (may_load_at_once(options)) {
		w->loading = sf_egress_load_begin(w->policy, &w->loaded);
		if (!sf_loader_load_at_once(&w->loaded))
			return 0;
		/* The fence comes first, with what room there is. */
		sf_egress_load_end(w->loading);
		w->loading = NULL;
	}
	return sf_loader_load(&w->loaded, err);
}

int sf_fence_apply(const struct sf_policy *policy, const struct sf_fence_options *options,
		   struct sf_fence_result *result, struct sf_error *err)
{
	struct fence_work w = {.policy = policy, .cgroup_fd = -1};
	int ret, stand;

	memset(result, 0, sizeof(*result));
	sf_loaded_init(&w.loaded);
	sf_image_init(&w.want);
	sf_image_init(&w.have);
	ret = open_place(&w, err);
	if (!ret)
		ret = fence_build_image(policy, options, &w.want, result, err);
	if (ret)
		goto out;
	if (!options->dry_run) {
		ret = sf_pins_prepare(policy->pin_dir, err);
		if (ret)
			goto out;
	}
	ret = sf_loader_open_maps(policy->pin_dir, &w.loaded, err);
	if (ret && ret != -ENOENT)
		goto out;
	stand = hooks_all_stand(&w, err);
	if (stand < 0) {
		ret = stand;
		goto out;
	}
	w.must_load = !stand || ret == -ENOENT || !roles_fit(&w.loaded, policy) ||
		      options->replace_programs;
	if (options->dry_run && ret == -ENOENT) {
		tell_difference(&w, result);
		result->mode_before = SF_MODE_OFF;
		result->mode_after = policy->mode;
		ret = 0;
		goto out;
	}
	ret = 0;
	if (w.must_load && !options->dry_run) {
		sf_loaded_close(&w.loaded);
		ret = sf_loader_make_maps(policy->pin_dir, (unsigned int)policy->max_roles,
					  &w.loaded, err);
		if (!ret)
			ret = load_programs(&w, options, err);
	}
	/* Programs that could not load the socket's cgroup as a member say where it may be hidden.
	 */
	if (!ret && w.must_load && !options->dry_run && !w.loaded.typed_pointers &&
	    strcmp(policy->cgroup_root, "/") && sf_probe_socket_cgroup_shown() == 0)
		ret = sf_fail_usage(
			err,
			"cgroup_root \"%s\": on this kernel (before 5.15) net_cls or "
			"net_prio make sockets look like the root's, which a fence below "
			"the root does not see; attach at \"/\"",
			policy->cgroup_root);
	if (!ret)
		ret = fence_check_room(&w, err);
	if (!ret)
		ret = fence_read_have(&w, err);
	if (ret) {
		if (!w.attached && !options->dry_run)
			sf_pins_remove_all(policy->pin_dir, NULL); /* only the directories */
		goto out;
	}
	result->mode_before =
		w.attached && w.old_settings.abi ? (int)w.old_settings.mode : SF_MODE_OFF;
	result->settings_changed =
		w.attached && w.old_settings.abi &&
		(w.old_settings.deny_errno != w.want.settings.deny_errno ||
		 (w.old_settings.flags ^ w.want.settings.flags) & SF_SETTING_ALLOW_LOCAL);
	result->mode_after = policy->mode;
	result->loaded = w.must_load;
	result->can_set_errno = w.loaded.can_set_errno;
	if (options->dry_run) {
		tell_difference(&w, result);
		goto out;
	}
	ret = fence_carry_out(&w, result, err);
	if (ret) {
		fence_undo(&w, err);
	} else {
		count_on_uplinks(&w, options, result);
		fence_customers(&w, options, result);
	}
out:
	sf_egress_load_end(w.loading);
	if (w.cgroup_fd >= 0)
		close(w.cgroup_fd);
	sf_loaded_close(&w.loaded);
	sf_image_free(&w.want);
	sf_image_free(&w.have);
	return ret;
}

int sf_fence_remove(const struct sf_policy *policy, struct sf_fence_result *result,
		    struct sf_error *err)
{
	_cleanup_close_ int fd = sf_pin_open(policy->pin_dir, "maps", "settings");
	struct sf_settings settings = {.abi = 0};
	__u32 zero = 0;

	memset(result, 0, sizeof(*result));
	result->mode_before = result->mode_after = SF_MODE_OFF;
	if (fd >= 0 && !bpf_map_lookup_elem(fd, &zero, &settings) && settings.abi)
		result->mode_before = (int)settings.mode;
	/* The fence goes first, those who follow cgroups after it. */
	for (int h = SF_HOOK_COUNT - 1; h >= 0; h--)
		sf_detach(policy->pin_dir, (enum sf_hook)h);
	sf_gateway_remove(policy->pin_dir);
	sf_egress_remove(policy->pin_dir);
	return sf_pins_remove_all(policy->pin_dir, err);
}
