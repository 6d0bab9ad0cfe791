// SPDX-License-Identifier: GPL-2.0-only
#include "fence.h"
#include "attach.h"
#include "cgroup.h"
#include "cleanup.h"
#include "egress.h"
#include "gateway.h"
#include "probe.h"
#include "roles.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

static const enum sf_map table_map[SF_IMAGE_COUNT] = {
#define X(NAME, name, key, value) [SF_IMAGE_##NAME] = SF_MAP_##NAME,
	SF_IMAGE_TABLES(X)
#undef X
};

/* All that one application works with; released as one. */
struct work {
	const struct sf_policy *policy;
	struct sf_loaded loaded;
	struct sf_image want, have;
	struct sf_settings old_settings;
	char mount[PATH_MAX];
	int cgroup_fd;
	uint64_t cgroup_id;
	int must_load;
	int attached; /* something was attached before we came */
};

static int look_up_hosts(const struct sf_policy *policy, const struct sf_fence_options *options,
			 struct sf_hosts *hosts, struct sf_fence_result *result,
			 struct sf_error *err)
{
	int64_t now = (int64_t)time(NULL);
	int changed = 0, ret = sf_hosts_load(policy->state_dir, hosts);

	if (ret)
		return sf_fail(err, ret, "can't read %s/hosts: %s", policy->state_dir,
			       strerror(-ret));
	for (size_t i = 0; i < policy->entry_count; i++) {
		const struct sf_entry *entry = &policy->entries[i];
		struct sf_error why = {.code = 0};
		int known = sf_hosts_know(hosts, entry->value);
		char *list;

		if (entry->kind != SF_ENTRY_ALLOW_HOST || (known && !options->refresh_hosts))
			continue;
		if (!sf_hosts_look_up(hosts, entry->value, now, &why)) {
			changed = 1;
			continue;
		}
		if (!known && !options->keep_unresolved)
			return sf_fail(err, why.code, "%s", why.text);
		list = known ? result->stale : result->unresolved;
		snprintf(list + strlen(list), sizeof(result->stale) - strlen(list), "%s%s",
			 list[0] ? " " : "", entry->value);
	}
	if (changed && !options->dry_run) {
		sf_hosts_prune(hosts, policy);
		return sf_hosts_save(policy->state_dir, hosts, err);
	}
	return 0;
}

static int build_image(const struct sf_policy *policy, const struct sf_fence_options *options,
		       struct sf_image *image, struct sf_fence_result *result, struct sf_error *err)
{
	struct sf_hosts hosts = {.count = 0};
	struct sf_clock clock;
	int ret = look_up_hosts(policy, options, &hosts, result, err);

	if (!ret) {
		sf_clock_now(&clock);
		ret = sf_image_build(policy, &hosts, &clock, image, err);
	}
	sf_hosts_free(&hosts);
	return ret;
}

int sf_fence_image(const struct sf_policy *policy, struct sf_image *image, struct sf_error *err)
{
	struct sf_hosts hosts;
	struct sf_clock clock;
	int ret = sf_hosts_load(policy->state_dir, &hosts);

	if (ret)
		return sf_fail(err, ret, "can't read %s/hosts", policy->state_dir);
	sf_clock_now(&clock);
	ret = sf_image_build(policy, &hosts, &clock, image, err);
	sf_hosts_free(&hosts);
	return ret;
}

/* Does it all fit? Asked before anything is changed. */
static int check_room(struct work *w, struct sf_error *err)
{
	for (int i = 0; i < SF_IMAGE_COUNT; i++) {
		struct bpf_map_info info = {};
		__u32 len = sizeof(info);

		if (bpf_obj_get_info_by_fd(w->loaded.map[table_map[i]], &info, &len))
			return sf_fail(err, -errno, "can't read %s: %s", sf_image_names[i],
				       strerror(errno));
		/* Writes come before deletes, so both must find room for a moment. */
		if (w->want.table[i].count > info.max_entries)
			return sf_fail(
				err, -E2BIG,
				"%s has room for %u entries, the policy has %zu: %s; nothing was "
				"changed",
				sf_image_names[i], info.max_entries, w->want.table[i].count,
				i == SF_IMAGE_ROLE_PATHS ? "raise max_roles and run "
							   "`smtpfence on`"
							 : "take some out");
	}
	return 0;
}

static int read_have(struct work *w, struct sf_error *err)
{
	__u32 zero = 0;
	int ret = 0;

	for (int i = 0; i < SF_IMAGE_COUNT && !ret; i++)
		ret = sf_table_read(w->loaded.map[table_map[i]], &w->have.table[i]);
	if (!ret && bpf_map_lookup_elem(w->loaded.map[SF_MAP_SETTINGS], &zero, &w->old_settings))
		ret = -errno;
	return ret ? sf_fail(err, ret, "can't read the kernel's tables: %s", strerror(-ret)) : 0;
}

static int write_settings(struct work *w, const struct sf_settings *settings)
{
	__u32 zero = 0;

	return bpf_map_update_elem(w->loaded.map[SF_MAP_SETTINGS], &zero, settings, BPF_ANY)
		       ? -errno
		       : 0;
}

/*
 * Write the tables. All writes come before all deletes, so that whoever has a right before and
 * after never lacks it in between; with one exception by the maps' room: a table that is too
 * full for both at once is deleted from first.
 */
static int write_tables(struct work *w, const struct sf_image *have, const struct sf_image *want,
			struct sf_fence_result *result)
{
	int ret = 0;

	for (int i = 0; i < SF_IMAGE_COUNT && !ret; i++) {
		int fd = w->loaded.map[table_map[i]];

		ret = sf_table_write(fd, &have->table[i], &want->table[i], &result->table[i]);
		if ((ret == -E2BIG || ret == -ENOSPC) &&
		    !sf_image_is_array((enum sf_image_table)i)) {
			ret = sf_table_delete_surplus(fd, &have->table[i], &want->table[i],
						      &result->table[i]);
			if (!ret)
				ret = sf_table_write(fd, &have->table[i], &want->table[i],
						     &result->table[i]);
		}
	}
	return ret;
}

static int delete_tables(struct work *w, const struct sf_image *have, const struct sf_image *want,
			 struct sf_fence_result *result)
{
	int ret = 0;

	for (int i = 0; i < SF_IMAGE_COUNT && !ret; i++)
		if (!sf_image_is_array((enum sf_image_table)i))
			ret = sf_table_delete_surplus(w->loaded.map[table_map[i]], &have->table[i],
						      &want->table[i], &result->table[i]);
	return ret;
}

static int attach_hooks(struct work *w, enum sf_hook first, enum sf_hook last, struct sf_error *err)
{
	int made = 0, ret = 0;

	for (int h = (int)first; h <= (int)last && !ret; h++)
		ret = sf_attach(w->policy->pin_dir, (enum sf_hook)h, w->cgroup_fd, w->cgroup_id,
				w->loaded.program[h], &made, err);
	return ret;
}

static int pin_maps(struct work *w, struct sf_error *err)
{
	int ret = 0;

	for (int i = 0; i < SF_MAP_COUNT && !ret; i++) {
		_cleanup_close_ int pinned =
			sf_pin_open(w->policy->pin_dir, "maps", sf_map_names[i]);

		if (pinned < 0 || w->loaded.fresh[i])
			ret = sf_pin_replace(w->policy->pin_dir, "maps", sf_map_names[i],
					     w->loaded.map[i], err);
	}
	return ret;
}

/* Every living cgroup with a role must have it in the kernel, the mail server's above all. */
static int roles_entered(struct work *w)
{
	struct sf_table want;
	int ret = sf_roles_wanted(w->mount, &w->want.table[SF_IMAGE_ROLE_PATHS], &want);

	if (ret)
		return ret;
	for (size_t i = 0; i < want.count && !ret; i++) {
		uint64_t id = *(const uint64_t *)sf_table_key(&want, i);
		char path[PATH_MAX];
		struct sf_role role;

		/* One that went meanwhile took its id with it. */
		if (bpf_map_lookup_elem(w->loaded.map[SF_MAP_ROLES], &id, &role) &&
		    !sf_cgroup_path(w->mount, id, path, sizeof(path)))
			ret = -EIO;
	}
	sf_table_free(&want);
	return ret;
}

/* What was written is read again; a kernel that holds something else is told, not believed. */
static int read_back(struct work *w, struct sf_error *err)
{
	struct sf_settings now = {.abi = 0};
	struct sf_table_change change = {0, 0, 0};
	__u32 zero = 0;
	int ret = 0;

	for (int i = 0; i < SF_IMAGE_COUNT && !ret; i++) {
		struct sf_table table;

		sf_table_init(&table, w->want.table[i].key_size, w->want.table[i].value_size);
		ret = sf_table_read(w->loaded.map[table_map[i]], &table);
		if (!ret)
			sf_table_compare(&table, &w->want.table[i], &change);
		sf_table_free(&table);
		if (!ret && change.added + change.changed + change.removed)
			return sf_fail(err, -EIO,
				       "the kernel's table %s is not what was written: %zu "
				       "missing, %zu different, %zu too many",
				       sf_image_names[i], change.added, change.changed,
				       change.removed);
	}
	if (!ret)
		ret = roles_entered(w);
	if (!ret && bpf_map_lookup_elem(w->loaded.map[SF_MAP_SETTINGS], &zero, &now))
		ret = -errno;
	if (ret)
		return sf_fail(err, ret, "can't read the kernel's tables back: %s", strerror(-ret));
	if (now.abi != SF_ABI_VERSION || now.mode != w->want.settings.mode)
		return sf_fail(err, -EIO, "the kernel's settings are not what was written");
	return 0;
}

/* The steps that change the kernel, in their order. */
static int carry_out(struct work *w, struct sf_fence_result *result, struct sf_error *err)
{
	const struct sf_role_path root = {.path = "/"};
	struct sf_settings settings = w->want.settings;
	uint64_t root_id = 0;
	int ret;

	if (!sf_table_find(&w->want.table[SF_IMAGE_ROLE_PATHS], &root))
		sf_cgroup_id(w->mount, "/", &root_id);
	settings.bare_root = root_id;
	settings.fence_root = strcmp(w->policy->cgroup_root, "/") ? w->cgroup_id : 0;
	settings.mode_since = w->old_settings.mode == settings.mode ? w->old_settings.mode_since
								    : (__u64)time(NULL);
	/* A root that gets a role must be looked up before the role is there. */
	if (w->old_settings.abi && !settings.bare_root && w->old_settings.bare_root) {
		struct sf_settings between = w->old_settings;

		between.bare_root = 0;
		ret = write_settings(w, &between);
		if (ret)
			goto table_error;
	}
	/* Policy before attach: the paths first, then who follows them, then the ids. */
	ret = write_tables(w, &w->have, &w->want, result);
	if (ret)
		goto table_error;
	if (w->must_load) {
		ret = attach_hooks(w, SF_HOOK_MKDIR, SF_HOOK_RMDIR, err);
		if (ret)
			return ret;
	}
	ret = sf_roles_follow(w->loaded.map[SF_MAP_ROLES], w->mount,
			      &w->want.table[SF_IMAGE_ROLE_PATHS], 0, &result->roles);
	if (!ret)
		ret = write_settings(w, &settings);
	if (!ret)
		ret = delete_tables(w, &w->have, &w->want, result);
	if (!ret)
		ret = sf_roles_follow(w->loaded.map[SF_MAP_ROLES], w->mount,
				      &w->want.table[SF_IMAGE_ROLE_PATHS], 1, &result->roles);
	if (ret)
		goto table_error;
	if (w->must_load) {
		ret = attach_hooks(w, SF_HOOK_CONNECT4, SF_HOOK_CONNECT6, err);
		if (ret)
			return ret;
	}
	ret = pin_maps(w, err);
	return ret ? ret : read_back(w, err);
table_error:
	return sf_fail(err, ret, "can't write the kernel's tables: %s", strerror(-ret));
}

/* Put back what was. If that fails too, the text says so: the administrator must know. */
static void undo(struct work *w, struct sf_error *err)
{
	struct sf_fence_result ignored = {.loaded = 0};
	struct sf_image now;
	int ret = 0;

	if (!w->attached) {
		for (int h = 0; h < SF_HOOK_COUNT; h++)
			sf_detach(w->policy->pin_dir, (enum sf_hook)h);
		sf_gateway_remove(w->policy->pin_dir);
		sf_egress_remove(w->policy->pin_dir);
		sf_pins_remove_all(w->policy->pin_dir, NULL);
		return;
	}
	sf_image_init(&now);
	for (int i = 0; i < SF_IMAGE_COUNT && !ret; i++)
		ret = sf_table_read(w->loaded.map[table_map[i]], &now.table[i]);
	if (!ret)
		ret = write_tables(w, &now, &w->have, &ignored);
	if (!ret)
		ret = sf_roles_follow(w->loaded.map[SF_MAP_ROLES], w->mount,
				      &w->have.table[SF_IMAGE_ROLE_PATHS], 1, &ignored.roles);
	if (!ret)
		ret = write_settings(w, &w->old_settings);
	if (!ret)
		ret = delete_tables(w, &now, &w->have, &ignored);
	sf_image_free(&now);
	if (ret && err)
		snprintf(err->text + strlen(err->text), sizeof(err->text) - strlen(err->text),
			 "; and the old policy could not be put back whole: run `smtpfence apply`");
}

/*
 * Do all our links stand at this cgroup? 1, 0, or a negative errno: a link that could not be
 * opened for want of descriptors or memory is not a link that is not there.
 */
static int hooks_all_stand(struct work *w, struct sf_error *err)
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

static void tell_difference(struct work *w, struct sf_fence_result *result)
{
	for (int i = 0; i < SF_IMAGE_COUNT; i++)
		sf_table_compare(&w->have.table[i], &w->want.table[i], &result->table[i]);
}

static int open_place(struct work *w, struct sf_error *err)
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
static void count_on_uplinks(struct work *w, const struct sf_fence_options *options,
			     struct sf_fence_result *result)
{
	struct sf_error err = {.code = 0};

	if (sf_egress_apply(w->policy, &w->loaded, &w->want.census, options->replace_programs,
			    &err))
		snprintf(result->no_census, sizeof(result->no_census), "%s", err.text);
}

/* As above: what of the customers' interfaces is not fenced is told, and by `status` too. */
static void fence_customers(struct work *w, const struct sf_fence_options *options,
			    struct sf_fence_result *result)
{
	struct sf_error err = {.code = 0};

	if (sf_gateway_apply(w->policy, &w->loaded, &w->want.census, options->replace_programs,
			     &err))
		snprintf(result->no_gateway, sizeof(result->no_gateway), "%s", err.text);
}

int sf_fence_apply(const struct sf_policy *policy, const struct sf_fence_options *options,
		   struct sf_fence_result *result, struct sf_error *err)
{
	struct work w = {.policy = policy, .cgroup_fd = -1};
	int ret, stand;

	memset(result, 0, sizeof(*result));
	sf_loaded_init(&w.loaded);
	sf_image_init(&w.want);
	sf_image_init(&w.have);
	ret = open_place(&w, err);
	if (!ret)
		ret = build_image(policy, options, &w.want, result, err);
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
		ret = sf_loader_load(policy->pin_dir, (unsigned int)policy->max_roles, &w.loaded,
				     err);
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
		ret = check_room(&w, err);
	if (!ret)
		ret = read_have(&w, err);
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
	ret = carry_out(&w, result, err);
	if (ret) {
		undo(&w, err);
	} else {
		count_on_uplinks(&w, options, result);
		fence_customers(&w, options, result);
	}
out:
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

int sf_fence_refresh_uplinks(const struct sf_policy *policy, struct sf_error *err)
{
	struct sf_loaded fence;
	struct sf_image image;
	int ret;

	sf_loaded_init(&fence);
	ret = sf_loader_open_maps(policy->pin_dir, &fence, err);
	if (!ret) {
		ret = sf_fence_image(policy, &image, err);
		if (!ret) {
			ret = sf_egress_apply(policy, &fence, &image.census, 0, err);
			sf_image_free(&image);
		}
	}
	sf_loaded_close(&fence);
	return ret == -ENOENT ? 0 : ret;
}

int sf_fence_refresh_local_addrs(const struct sf_policy *policy)
{
	static const enum sf_image_table tables[] = {SF_IMAGE_LOCAL_FILTER, SF_IMAGE_LOCAL_ADDRS,
						     SF_IMAGE_SOURCE_LIMITS};
	struct sf_hosts hosts = {.count = 0};
	struct sf_clock clock;
	struct sf_table_change change = {0, 0, 0};
	struct sf_image image;
	int ret;

	sf_image_init(&image);
	ret = sf_image_local_addrs(&image);
	if (!ret)
		ret = sf_hosts_load(policy->state_dir, &hosts);
	sf_clock_now(&clock);
	if (!ret)
		ret = sf_image_source_limits(policy, &hosts, &clock, &image);
	sf_hosts_free(&hosts);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]) && !ret; i++) {
		_cleanup_close_ int fd =
			sf_pin_open(policy->pin_dir, "maps", sf_image_names[tables[i]]);
		const struct sf_table *want = &image.table[tables[i]];
		struct sf_table have;

		sf_table_init(&have, want->key_size, want->value_size);
		ret = fd < 0 ? fd : sf_table_read(fd, &have);
		if (!ret)
			ret = sf_table_write(fd, &have, want, &change);
		if (!ret && !sf_image_is_array(tables[i]))
			ret = sf_table_delete_surplus(fd, &have, want, &change);
		sf_table_free(&have);
	}
	sf_image_free(&image);
	if (!ret)
		sf_egress_limits_changed(policy->pin_dir);
	return ret;
}
