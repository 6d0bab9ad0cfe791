/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The cgroup v2 hierarchy: where it is mounted, and ids, paths and directories of its groups.
 * Paths are written from the v2 root ("/system.slice/x.service"), whatever the mount point.
 */
#ifndef SF_USER_CGROUP_H
#define SF_USER_CGROUP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "error.h"

/*
 * Find the whole v2 hierarchy in the mount table (/proc/self/mountinfo): a mount of type cgroup2
 * whose root is "/". Puts its mount point into `mount` (PATH_MAX bytes). -ENOENT: there is none.
 */
int sf_cgroup_mount(char *mount, size_t size, struct sf_error *err);

/* Open the directory of a path under the mount; O_PATH is enough for ids, not for attaching. */
int sf_cgroup_open(const char *mount, const char *path, int flags);

/* The v2 id of the group at `path` (its inode number), or a negative errno. */
int sf_cgroup_id(const char *mount, const char *path, uint64_t *id);

/* The path of a living group by its id, or a negative errno (-ENOENT/-ESTALE: it is gone). */
int sf_cgroup_path(const char *mount, uint64_t id, char *path, size_t size);

/* The v2 path of a process, or a negative errno. */
int sf_cgroup_of_pid(pid_t pid, char *path, size_t size);

/*
 * Is a role path well formed: absolute, no empty, "." or ".." part, no trailing slash (but "/"),
 * at most SF_PATH_LIMIT bytes? NULL, or what is wrong with it.
 */
const char *sf_cgroup_path_fault(const char *path);

#endif
