// SPDX-License-Identifier: GPL-2.0-only
#include "files.h"
#include "cleanup.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define TEMPORARY "smtpfence-"
#define RANDOM	  "XXXXXX" /* mkostemp(3)'s */
#define STALE	  60	   /* seconds */

/* What a writer that was killed left beside its file; a minute old, for another may be at work. */
static void drop_stale(const char *path)
{
	char dir_copy[PATH_MAX], name_copy[PATH_MAX], stale[PATH_MAX + 256];
	const char *name, *place;
	struct dirent *entry;
	size_t length;
	DIR *dir;

	snprintf(dir_copy, sizeof(dir_copy), "%s", path);
	snprintf(name_copy, sizeof(name_copy), "%s", path);
	place = dirname(dir_copy);
	name = basename(name_copy);
	length = strlen(name);
	dir = opendir(place);
	while (dir && (entry = readdir(dir))) {
		const char *rest = entry->d_name + length + 1;
		struct stat st;

		if (strncmp(entry->d_name, name, length) || entry->d_name[length] != '.' ||
		    strlen(rest) != strlen(TEMPORARY RANDOM) ||
		    strncmp(rest, TEMPORARY, strlen(TEMPORARY)))
			continue;
		snprintf(stale, sizeof(stale), "%s/%s", place, entry->d_name);
		if (!lstat(stale, &st) && S_ISREG(st.st_mode) && st.st_mtime < time(NULL) - STALE)
			unlink(stale);
	}
	if (dir)
		closedir(dir);
}

int sf_file_prepare(const char *path, const char *text, size_t length, char *temporary,
		    struct sf_error *err)
{
	_cleanup_close_ int fd = -1;
	char copy[PATH_MAX];
	int ret;

	if (snprintf(temporary, PATH_MAX, "%s." TEMPORARY RANDOM, path) >= PATH_MAX)
		return sf_fail(err, -ENAMETOOLONG, "%s: the path is too long", path);
	snprintf(copy, sizeof(copy), "%s", path);
	ret = sf_dir_make(dirname(copy), err);
	if (ret)
		return ret;
	drop_stale(path);
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return sf_fail(err, -errno, "can't write %s: %s", path, strerror(errno));
	for (size_t done = 0; done < length;) {
		ssize_t n = write(fd, text + done, length - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			goto fail;
		done += (size_t)n;
	}
	if (!fchmod(fd, 0644) && !fsync(fd))
		return 0;
fail:
	ret = -errno;
	unlink(temporary);
	return sf_fail(err, ret, "can't write %s: %s; it stays as it was", path, strerror(-ret));
}

int sf_file_commit(const char *path, const char *temporary, struct sf_error *err)
{
	_cleanup_close_ int dir = -1;
	char copy[PATH_MAX];

	if (rename(temporary, path)) {
		int ret = -errno;

		unlink(temporary);
		return sf_fail(err, ret, "can't write %s: %s; it stays as it was", path,
			       strerror(-ret));
	}
	/* A rename that is not on the disk yet is undone by a power cut: fsync the directory. */
	snprintf(copy, sizeof(copy), "%s", path);
	dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		fsync(dir);
	return 0;
}

void sf_file_drop(const char *temporary)
{
	if (temporary[0])
		unlink(temporary);
}

int sf_file_write(const char *path, const char *text, size_t length, struct sf_error *err)
{
	char temporary[PATH_MAX];
	int ret = sf_file_prepare(path, text, length, temporary, err);

	return ret ? ret : sf_file_commit(path, temporary, err);
}

int sf_file_read(const char *path, char *out, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while (used < size - 1 && (n = read(fd, out + used, size - 1 - used)) != 0) {
		if (n < 0)
			return -errno;
		used += (size_t)n;
	}
	out[used] = '\0';
	return 0;
}

int sf_dir_make(const char *path, struct sf_error *err)
{
	char part[PATH_MAX];

	if (strlen(path) >= sizeof(part))
		return sf_fail(err, -ENAMETOOLONG, "%s: the path is too long", path);
	for (size_t i = 1; i <= strlen(path); i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0755) && errno != EEXIST)
			return sf_fail(err, -errno, "can't make the directory %s: %s", part,
				       strerror(errno));
	}
	return 0;
}

int sf_lock(const char *state_dir, const char *name, int seconds, struct sf_error *err)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	char path[PATH_MAX];
	int fd, ret = sf_dir_make(state_dir, err);

	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s/%s", state_dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return sf_fail(err, -errno, "can't open the lock %s: %s", path, strerror(errno));
	for (int tries = seconds * 50;; tries--) {
		if (!flock(fd, LOCK_EX | LOCK_NB))
			return fd;
		if (errno != EWOULDBLOCK && errno != EINTR) {
			ret = -errno;
			break;
		}
		if (tries <= 0) {
			ret = -EBUSY;
			break;
		}
		nanosleep(&pause, NULL);
	}
	close(fd);
	return sf_fail(err, ret,
		       "%s is held by another smtpfence (waited %d s): see who by "
		       "`fuser %s`",
		       path, seconds, path);
}
