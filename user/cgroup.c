// SPDX-License-Identifier: GPL-2.0-only
#include "cgroup.h"
#include "cleanup.h"
#include "../maps/abi.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* mountinfo writes space, tab, newline and backslash as three octal digits (proc(5)). */
static void unescape_octal(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3 && from[1] <= '3') {
			*to++ = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 |
				       (from[3] - '0'));
			from += 3;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
}

/*
 * The table also lists mounts that lie under another one, and in a cgroup namespace (a container)
 * a part of the hierarchy has the root "/". Only the true root lacks cgroup.events.
 */
static bool is_whole_v2(const char *point)
{
	_cleanup_close_ int fd = open(point, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	return fd >= 0 && !fstatfs(fd, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC &&
	       faccessat(fd, "cgroup.events", F_OK, 0) && errno == ENOENT;
}

int sf_cgroup_mount(char *mount, size_t size, struct sf_error *err)
{
	_cleanup_fclose_ FILE *table = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	size_t room = 0;

	if (!table)
		return sf_fail(err, -errno,
			       "can't read /proc/self/mountinfo: %s; is /proc mounted?",
			       strerror(errno));
	/* 36 35 98:0 /root /mount/point options... - type source options */
	while (getline(&line, &room, table) > 0) {
		char *type = strstr(line, " - "), *root, *point, *save = NULL;

		if (!type || strncmp(type + 3, "cgroup2 ", 8))
			continue;
		strtok_r(line, " ", &save);
		strtok_r(NULL, " ", &save);
		strtok_r(NULL, " ", &save);
		root = strtok_r(NULL, " ", &save);
		point = strtok_r(NULL, " ", &save);
		if (!root || !point || strcmp(root, "/"))
			continue;
		unescape_octal(point);
		if (strlen(point) >= size || !is_whole_v2(point))
			continue;
		memcpy(mount, point, strlen(point) + 1);
		return 0;
	}
	return sf_fail(err, -ENOENT,
		       "no cgroup v2 hierarchy is mounted here (whole, from its root); mount it: "
		       "mount -t cgroup2 none /sys/fs/cgroup/unified");
}

int sf_cgroup_open(const char *mount, const char *path, int flags)
{
	_cleanup_free_ char *full = NULL;
	int fd;

	if (asprintf(&full, "%s%s", mount, strcmp(path, "/") ? path : "") < 0) {
		full = NULL;
		return -ENOMEM;
	}
	fd = open(full, flags | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

int sf_cgroup_id(const char *mount, const char *path, uint64_t *id)
{
	_cleanup_close_ int fd = sf_cgroup_open(mount, path, O_PATH);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		return -errno;
	*id = st.st_ino;
	return 0;
}

int sf_cgroup_path(const char *mount, uint64_t id, char *path, size_t size)
{
	/* FILEID_KERNFS (include/linux/exportfs.h, 5.5): the handle is the 64-bit id. */
	struct {
		struct file_handle head;
		uint64_t id;
	} handle = {.head = {.handle_bytes = sizeof(uint64_t), .handle_type = 0xfe}};
	/* open_by_handle_at takes no O_PATH descriptor (EBADF). */
	_cleanup_close_ int root = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = -1;
	char link[64], full[PATH_MAX];
	size_t skip = strlen(mount);
	ssize_t n;

	if (root < 0)
		return -errno;
	memcpy(handle.head.f_handle, &id, sizeof(id));
	fd = open_by_handle_at(root, &handle.head, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, full, sizeof(full) - 1);
	if (n < 0)
		return -errno;
	full[n] = '\0';
	if ((size_t)n < skip || memcmp(full, mount, skip) || (full[skip] && full[skip] != '/'))
		return -ENOENT;
	/* Removed after it was opened: the kernel says so behind the path; a name may look so too.
	 */
	if (n > 10 && !strcmp(full + n - 10, " (deleted)") && access(full, F_OK))
		return -ENOENT;
	if ((size_t)n - skip + 1 > size)
		return -ENAMETOOLONG;
	snprintf(path, size, "%s", full[skip] ? full + skip : "/");
	return 0;
}

int sf_cgroup_of_pid(pid_t pid, char *path, size_t size)
{
	_cleanup_fclose_ FILE *file = NULL;
	_cleanup_free_ char *line = NULL;
	char name[64];
	size_t room = 0;
	ssize_t n;

	snprintf(name, sizeof(name), "/proc/%d/cgroup", (int)pid);
	file = fopen(name, "re");
	if (!file)
		return -errno;
	while ((n = getline(&line, &room, file)) > 0) {
		if (strncmp(line, "0::", 3))
			continue;
		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		if (strlen(line + 3) >= size)
			return -ENAMETOOLONG;
		memcpy(path, line + 3, strlen(line + 3) + 1);
		return 0;
	}
	return -ENOENT;
}

const char *sf_cgroup_path_fault(const char *path)
{
	const char *part;

	if (path[0] != '/')
		return "it must start with / (paths are written from the cgroup v2 root)";
	if (strlen(path) > SF_PATH_LIMIT)
		return "it is longer than 254 bytes, the most that is matched in the kernel";
	if (!strcmp(path, "/"))
		return NULL;
	for (part = path; part; part = strchr(part + 1, '/')) {
		size_t len = strcspn(part + 1, "/");

		if (len == 0)
			return "it has an empty part or ends with /";
		if ((len == 1 && part[1] == '.') || (len == 2 && !strncmp(part + 1, "..", 2)))
			return "it has a part . or ..";
	}
	if (!strncmp(path, "/sys/fs/cgroup/", 15))
		return "it is written from the mount point; leave /sys/fs/cgroup (and /unified) "
		       "out";
	return NULL;
}
