// SPDX-License-Identifier: GPL-2.0-only
/*
 * A report's file. Unlike files.c's it is for root's eyes, in a directory that anybody may own
 * (/tmp, a customer's home): what its name leads to is never opened.
 */
#include "report.h"
#include "cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

static int write_all(int fd, const char *text, size_t length)
{
	while (length) {
		ssize_t n = write(fd, text, length);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			text += n;
			length -= (size_t)n;
		}
	}
	return fsync(fd) ? -errno : 0;
}

int sf_report_write(const char *path, const char *text, size_t length, struct sf_error *err)
{
	_cleanup_close_ int fd = -1, dir = -1;
	char temporary[PATH_MAX], copy[PATH_MAX];
	struct stat st;
	int ret;

	if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= PATH_MAX)
		return sf_fail(err, -ENAMETOOLONG, "%.100s...: the path is too long", path);
	if (!lstat(path, &st) && !S_ISREG(st.st_mode))
		return sf_fail(err, -EEXIST, "%.900s is %s: nothing was written", path,
			       S_ISLNK(st.st_mode) ? "a symbolic link" : "not a plain file");
	fd = mkostemp(temporary, O_CLOEXEC); /* 0600, O_EXCL */
	if (fd < 0)
		return sf_fail(err, -errno, "can't write %.900s: %s", path, strerror(errno));
	ret = write_all(fd, text, length);
	if (!ret && rename(temporary, path))
		ret = -errno;
	if (ret) {
		unlink(temporary);
		return sf_fail(err, ret, "can't write %.900s: %s; nothing was changed", path,
			       strerror(-ret));
	}
	snprintf(copy, sizeof(copy), "%s", path);
	dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		fsync(dir);
	return 0;
}
