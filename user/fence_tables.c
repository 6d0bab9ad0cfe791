// SPDX-License-Identifier: GPL-2.0-only
/* The policy's tables in the kernel: is there room, what is there, write, take out, read back. */
#include "fence_work.h"
#include "cgroup.h"
#include "roles.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

static const enum sf_map table_map[SF_IMAGE_COUNT] = {
#define X(NAME, name, key, value) [SF_IMAGE_##NAME] = SF_MAP_##NAME,
	SF_IMAGE_TABLES(X)
#undef X
};

/* Does it all fit? Asked before anything is changed. */
int fence_check_room(struct fence_work *w, struct sf_error *err)
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

int fence_read_tables(struct fence_work *w, struct sf_image *image)
{
	int ret = 0;

	for (int i = 0; i < SF_IMAGE_COUNT && !ret; i++)
		ret = sf_table_read(w->loaded.map[table_map[i]], &image->table[i]);
	return ret;
}

int fence_read_have(struct fence_work *w, struct sf_error *err)
{
	__u32 zero = 0;
	int ret = fence_read_tables(w, &w->have);

	if (!ret && bpf_map_lookup_elem(w->loaded.map[SF_MAP_SETTINGS], &zero, &w->old_settings))
		ret = -errno;
	return ret ? sf_fail(err, ret, "can't read the kernel's tables: %s", strerror(-ret)) : 0;
}

int fence_write_settings(struct fence_work *w, const struct sf_settings *settings)
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
int fence_write_tables(struct fence_work *w, const struct sf_image *have,
		       const struct sf_image *want, struct sf_fence_result *result)
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

int fence_delete_tables(struct fence_work *w, const struct sf_image *have,
			const struct sf_image *want, struct sf_fence_result *result)
{
	int ret = 0;

	for (int i = 0; i < SF_IMAGE_COUNT && !ret; i++)
		if (!sf_image_is_array((enum sf_image_table)i))
			ret = sf_table_delete_surplus(w->loaded.map[table_map[i]], &have->table[i],
						      &want->table[i], &result->table[i]);
	return ret;
}

/* Every living cgroup with a role must have it in the kernel, the mail server's above all. */
static int roles_entered(struct fence_work *w)
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
int fence_read_back(struct fence_work *w, struct sf_error *err)
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
