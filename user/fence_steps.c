// SPDX-License-Identifier: GPL-2.0-only
/* The steps that change the kernel, in an order in which no right is missing, and the way back. */
#include "fence_work.h"
#include "attach.h"
#include "cgroup.h"
#include "cleanup.h"
#include "egress.h"
#include "gateway.h"
#include "roles.h"
#include <errno.h>
#include <string.h>
#include <time.h>

static int attach_hooks(struct fence_work *w, enum sf_hook first, enum sf_hook last,
			struct sf_error *err)
{
	int made = 0, ret = 0;

	for (int h = (int)first; h <= (int)last && !ret; h++)
		ret = sf_attach(w->policy->pin_dir, (enum sf_hook)h, w->cgroup_fd, w->cgroup_id,
				w->loaded.program[h], &made, err);
	return ret;
}

static int pin_maps(struct fence_work *w, struct sf_error *err)
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

/* The steps that change the kernel, in their order. */
int fence_carry_out(struct fence_work *w, struct sf_fence_result *result, struct sf_error *err)
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
		ret = fence_write_settings(w, &between);
		if (ret)
			goto table_error;
	}
	/* Policy before attach: the paths first, then who follows them, then the ids. */
	ret = fence_write_tables(w, &w->have, &w->want, result);
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
		ret = fence_write_settings(w, &settings);
	if (!ret)
		ret = fence_delete_tables(w, &w->have, &w->want, result);
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
	return ret ? ret : fence_read_back(w, err);
table_error:
	return sf_fail(err, ret, "can't write the kernel's tables: %s", strerror(-ret));
}

/* Put back what was. If that fails too, the text says so: the administrator must know. */
void fence_undo(struct fence_work *w, struct sf_error *err)
{
	struct sf_fence_result ignored = {.loaded = 0};
	struct sf_image now;
	int ret;

	if (!w->attached) {
		for (int h = 0; h < SF_HOOK_COUNT; h++)
			sf_detach(w->policy->pin_dir, (enum sf_hook)h);
		sf_gateway_remove(w->policy->pin_dir);
		sf_egress_remove(w->policy->pin_dir);
		sf_pins_remove_all(w->policy->pin_dir, NULL);
		return;
	}
	sf_image_init(&now);
	ret = fence_read_tables(w, &now);
	if (!ret)
		ret = fence_write_tables(w, &now, &w->have, &ignored);
	if (!ret)
		ret = sf_roles_follow(w->loaded.map[SF_MAP_ROLES], w->mount,
				      &w->have.table[SF_IMAGE_ROLE_PATHS], 1, &ignored.roles);
	if (!ret)
		ret = fence_write_settings(w, &w->old_settings);
	if (!ret)
		ret = fence_delete_tables(w, &now, &w->have, &ignored);
	sf_image_free(&now);
	if (ret && err)
		snprintf(err->text + strlen(err->text), sizeof(err->text) - strlen(err->text),
			 "; and the old policy could not be put back whole: run `smtpfence apply`");
}
