// SPDX-License-Identifier: GPL-2.0-only
#include "roles.h"
#include "cgroup.h"
#include "cleanup.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "../maps/roles.h"

/*
 * A cgroup that is not there, or is going. Anything else (no descriptors, no memory) must not pass
 * for it: the mail server's id would be taken for surplus.
 */
static int is_absent(int error)
{
	return error == -ENOENT || error == -ENODEV || error == -ENOTDIR || error == -ELOOP;
}

static int look_for_each(const char *mount, const struct sf_table *paths, struct sf_table *roles)
{
	for (size_t i = 0; i < paths->count; i++) {
		const struct sf_role_path *path = sf_table_key(paths, i);
		uint64_t id;
		int ret = sf_cgroup_id(mount, path->path, &id);

		/* Absent now is no error: its id comes when it is made. */
		if (is_absent(ret))
			continue;
		if (ret || sf_table_add(roles, &id, sf_table_value(paths, i)))
			return ret ? ret : -ENOMEM;
	}
	return 0;
}

/* A directory and all below it; `path` is what was walked, and is put back before the return. */
/* NOLINTNEXTLINE(misc-no-recursion): SF_PATH_LIMIT bounds the depth */
static int walk(int dir_fd, struct sf_role_path *path, size_t length, const struct sf_table *paths,
		struct sf_table *roles)
{
	_cleanup_closedir_ DIR *dir = fdopendir(dir_fd);
	struct dirent *entry;
	int ret = 0;

	if (!dir) {
		close(dir_fd);
		return -ENOMEM;
	}
	while (!ret && (entry = readdir(dir))) {
		size_t n = strlen(entry->d_name);
		uint64_t id = entry->d_ino; /* kernfs gives the 64-bit id here */
		const void *role;
		struct stat st;
		int below = -1;

		/* What is too long can't have a role, nor can what lies in it. */
		if (entry->d_type != DT_DIR || !strcmp(entry->d_name, ".") ||
		    !strcmp(entry->d_name, "..") || length + 1 + n > SF_PATH_LIMIT)
			continue;
		path->path[length] = '/';
		memcpy(path->path + length + 1, entry->d_name, n);
		role = sf_table_find(paths, path);
		if (role)
			ret = sf_table_add(roles, &id, role);
		/* kernfs counts the directories in one: most cgroups have none. */
		st.st_nlink = 0;
		if (!ret && fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		    !is_absent(-errno))
			ret = -errno;
		if (!ret && st.st_nlink > 2) {
			below = openat(dirfd(dir), entry->d_name,
				       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (below < 0 && !is_absent(-errno))
				ret = -errno;
		}
		if (below >= 0)
			ret = walk(below, path, length + 1 + n, paths, roles);
		memset(path->path + length, 0, n + 1);
	}
	return ret;
}

static int walk_tree(const char *mount, const struct sf_table *paths, struct sf_table *roles)
{
	struct sf_role_path path = {.path = "/"};
	const void *role = sf_table_find(paths, &path);
	int fd = sf_cgroup_open(mount, "/", O_RDONLY);
	uint64_t id;

	if (fd < 0)
		return fd;
	if (role && !sf_cgroup_id(mount, "/", &id) && sf_table_add(roles, &id, role)) {
		close(fd);
		return -ENOMEM;
	}
	path.path[0] = '\0';
	return walk(fd, &path, 0, paths, roles);
}

int sf_roles_wanted(const char *mount, const struct sf_table *paths, struct sf_table *roles)
{
	int ret;

	sf_table_init(roles, sizeof(uint64_t), sizeof(struct sf_role));
	ret = paths->count > SF_ROLES_WALK ? walk_tree(mount, paths, roles)
					   : look_for_each(mount, paths, roles);
	if (!ret)
		ret = sf_table_sort(roles);
	if (ret)
		sf_table_free(roles);
	return ret;
}

int sf_roles_follow(int roles_fd, const char *mount, const struct sf_table *paths,
		    int delete_surplus, struct sf_table_change *change)
{
	struct sf_table have, want;
	int ret;

	/*
	 * The map is read before the paths are looked up: an id that the tracepoint enters in
	 * between is not in `have`, and so is never taken for surplus.
	 */
	sf_table_init(&have, sizeof(uint64_t), sizeof(struct sf_role));
	ret = sf_table_read(roles_fd, &have);
	if (ret)
		goto out;
	ret = sf_roles_wanted(mount, paths, &want);
	if (ret)
		goto out;
	ret = sf_table_write(roles_fd, &have, &want, change);
	if (!ret && delete_surplus)
		ret = sf_table_delete_surplus(roles_fd, &have, &want, change);
	/* A cgroup that went between the look-up and the write would leave its id behind. */
	for (size_t i = 0; i < want.count && !ret; i++) {
		uint64_t id = *(const uint64_t *)sf_table_key(&want, i);
		char path[SF_PATH_MAX];

		if (!sf_table_find(&have, &id) && sf_cgroup_path(mount, id, path, sizeof(path)))
			bpf_map_delete_elem(roles_fd, &id);
	}
	sf_table_free(&want);
out:
	sf_table_free(&have);
	return ret;
}
