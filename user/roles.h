/* SPDX-License-Identifier: GPL-2.0-only */
/* The `roles` map, by cgroup id: entering the cgroups that exist already. */
#ifndef SF_USER_ROLES_H
#define SF_USER_ROLES_H

#include "table.h"

/* The ids of those paths (rows of role_paths) whose cgroup exists now, with their roles. */
int sf_roles_wanted(const char *mount, const struct sf_table *paths, struct sf_table *roles);

/* Above so many paths the tree of cgroups is walked once instead of looking for each path. */
#define SF_ROLES_WALK 64

/*
 * Make the map of ids follow the paths. Call it with role_paths written and the tracepoint
 * program attached: what is made meanwhile is entered by that program. Cgroups in the map that
 * the paths do not name are taken out only with `delete_surplus`.
 */
int sf_roles_follow(int roles_fd, const char *mount, const struct sf_table *paths,
		    int delete_surplus, struct sf_table_change *change);

#endif
