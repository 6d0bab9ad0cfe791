// SPDX-License-Identifier: GPL-2.0-only
/* Paths with their roles, quarantines and limits, each path once. */
#include "image_parts.h"
#include <string.h>

static void path_of(const struct sf_entry *entry, struct sf_role_path *path)
{
	memset(path, 0, sizeof(*path));
	memcpy(path->path, entry->value, strlen(entry->value));
}

static int add_role(struct sf_table *table, const struct sf_entry *entry)
{
	static const uint32_t kinds[] = {[SF_ENTRY_MAIL] = SF_ROLE_MAIL,
					 [SF_ENTRY_FENCE] = SF_ROLE_FENCE,
					 [SF_ENTRY_EXEMPT] = SF_ROLE_EXEMPT};
	struct sf_role role = {.kind = kinds[entry->kind], .user_count = entry->user_count};
	struct sf_role_path path;

	path_of(entry, &path);
	memcpy(role.users, entry->users, sizeof(role.users));
	return sf_table_add(table, &path, &role);
}

static int joins_a_role(const struct sf_entry *entry, const struct sf_clock *clock)
{
	return (entry->kind == SF_ENTRY_QUARANTINE_CGROUP ||
		entry->kind == SF_ENTRY_LIMIT_CGROUP) &&
	       !image_is_over(entry, clock);
}

/* Quarantines and limits of paths, each joined with the role that is there, if one is. */
static int join_roles(struct sf_table *table, const struct sf_policy *policy,
		      const struct sf_clock *clock)
{
	static const struct sf_role none = {.kind = SF_ROLE_NONE};
	struct sf_role_path path;
	struct sf_table joined;
	int ret = 0;

	sf_table_init(&joined, table->key_size, table->value_size);
	for (size_t i = 0; i < policy->entry_count && !ret; i++) {
		const struct sf_role *role;

		if (!joins_a_role(&policy->entries[i], clock))
			continue;
		path_of(&policy->entries[i], &path);
		role = sf_table_find(table, &path);
		ret = sf_table_add(&joined, &path, role ? role : &none);
	}
	if (!ret)
		ret = sf_table_sort(&joined);
	for (size_t i = 0; i < policy->entry_count && !ret; i++) {
		const struct sf_entry *entry = &policy->entries[i];
		struct sf_role *role;

		if (!joins_a_role(entry, clock))
			continue;
		path_of(entry, &path);
		role = sf_table_find(&joined, &path);
		if (entry->kind == SF_ENTRY_QUARANTINE_CGROUP) {
			role->quarantine_until_ns = image_until(entry, clock);
			continue;
		}
		role->limited = 1;
		role->warn = entry->warn;
		role->act = entry->act;
	}
	/* Added last, so they take the place of the roles they were joined with. */
	for (size_t i = 0; i < joined.count && !ret; i++)
		ret = sf_table_add(table, sf_table_key(&joined, i), sf_table_value(&joined, i));
	sf_table_free(&joined);
	return ret ? ret : sf_table_sort(table);
}

/*
 * All role entries, each path once. One path may be said to be mail and fence at a time (in two
 * files): the stricter stays, fence before exempt before mail.
 */
int image_add_roles(struct sf_image *image, const struct sf_policy *policy,
		    const struct sf_clock *clock)
{
	static const enum sf_entry_kind order[] = {SF_ENTRY_MAIL, SF_ENTRY_EXEMPT, SF_ENTRY_FENCE};
	struct sf_table *table = &image->table[SF_IMAGE_ROLE_PATHS];
	int ret = 0;

	for (size_t k = 0; k < 3 && !ret; k++)
		for (size_t i = 0; i < policy->entry_count && !ret; i++)
			if (policy->entries[i].kind == order[k])
				ret = add_role(table, &policy->entries[i]);
	if (!ret)
		ret = sf_table_sort(table);
	return ret ? ret : join_roles(table, policy, clock);
}
