// SPDX-License-Identifier: GPL-2.0-only
#include "units.h"
#include "cleanup.h"
#include "../maps/abi.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

/* systemd's own order: what stands earlier hides what stands later. */
static const char *const unit_dirs[] = {
	"/etc/systemd/system",	   "/run/systemd/system", "/usr/local/lib/systemd/system",
	"/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/generator.late",
};

#define UNIT_DIR_COUNT (sizeof(unit_dirs) / sizeof(unit_dirs[0]))

/* Like snprintf, but a text that doesn't fit is an error: a cut path is another path. */
static int __attribute__((format(printf, 3, 4)))
put(char *out, size_t size, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(out, size, format, args);
	va_end(args);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int sf_unit_slice_path(const char *slice, char *path, size_t size)
{
	char made[SF_PATH_MAX] = "", next[SF_PATH_MAX];
	size_t len = strlen(slice);

	if (len < 7 || strcmp(slice + len - 6, ".slice") || strchr(slice, '/'))
		return -EINVAL;
	len -= 6;
	if (len == 1 && slice[0] == '-')
		len = 0;
	else if (slice[0] == '-' || slice[len - 1] == '-')
		return -EINVAL;
	/* Each dash is a level: a-b.slice lies in a.slice. */
	for (size_t end = 1; end <= len; end++) {
		if (end < len && slice[end] != '-')
			continue;
		if (end < len && slice[end + 1] == '-')
			return -EINVAL;
		if (put(next, sizeof(next), "%s/%.*s.slice", made, (int)end, slice))
			return -ENAMETOOLONG;
		memcpy(made, next, sizeof(made));
	}
	return put(path, size, "%s", made);
}

int sf_unit_file(const char *root, const char *unit, char *file, size_t size)
{
	for (size_t i = 0; i < UNIT_DIR_COUNT; i++) {
		char found[PATH_MAX], link[PATH_MAX];
		const char *base;
		struct stat st;
		ssize_t n;

		if (put(found, sizeof(found), "%s%s/%s", root, unit_dirs[i], unit) ||
		    lstat(found, &st))
			continue;
		if (S_ISLNK(st.st_mode)) {
			n = readlink(found, link, sizeof(link) - 1);
			if (n <= 0)
				return -ENOENT;
			link[n] = '\0';
			base = strrchr(link, '/');
			base = base ? base + 1 : link;
			/* /dev/null masks; under another name the cgroup has that name. */
			if (strcmp(base, unit))
				return -ENOENT;
			if (link[0] == '/' && put(found, sizeof(found), "%s%s", root, link))
				return -ENOENT;
			if (stat(found, &st))
				return -ENOENT;
		}
		if (!S_ISREG(st.st_mode) || st.st_size == 0)
			return -ENOENT;
		return put(file, size, "%s", found);
	}
	return -ENOENT;
}

/* The last value of `key` in a unit file or drop-in. Leaves `value` alone when it isn't there. */
static void read_unit_key(const char *file, const char *key, char *value, size_t size)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_fclose_ FILE *unit = fd < 0 ? NULL : fdopen(fd, "r");
	char line[1024];
	size_t len = strlen(key);

	if (!unit) {
		if (fd >= 0)
			close(fd);
		return;
	}
	for (int i = 0; i < 4096 && fgets(line, sizeof(line), unit); i++) {
		char *p = line + strspn(line, " \t"), *end;

		if (strncmp(p, key, len))
			continue;
		p += len + strspn(p + len, " \t");
		if (*p != '=')
			continue;
		p += 1 + strspn(p + 1, " \t");
		end = p + strlen(p);
		while (end > p && isspace((unsigned char)end[-1]))
			*--end = '\0';
		if (put(value, size, "%s", p))
			value[0] = '\0'; /* cut it would be another path */
	}
}

void sf_unit_setting(const char *root, const char *unit, const char *file, const char *key,
		     char *value, size_t size)
{
	value[0] = '\0';
	if (file[0])
		read_unit_key(file, key, value, size);
	for (size_t i = UNIT_DIR_COUNT; i-- > 0;) {
		char name[PATH_MAX];
		struct dirent **drop;
		int n;

		if (put(name, sizeof(name), "%s%s/%s.d", root, unit_dirs[i], unit))
			continue;
		n = scandir(name, &drop, NULL, alphasort);
		for (int d = 0; d < n; d++) {
			if (!fnmatch("*.conf", drop[d]->d_name, FNM_PERIOD) &&
			    !put(name, sizeof(name), "%s%s/%s.d/%s", root, unit_dirs[i], unit,
				 drop[d]->d_name))
				read_unit_key(name, key, value, size);
			free(drop[d]);
		}
		if (n >= 0)
			free(drop);
	}
}

int sf_unit_cgroup(const char *root, const char *unit, const char *file, char *path, size_t size)
{
	char slice[SF_PATH_MAX], above[SF_PATH_MAX];

	sf_unit_setting(root, unit, file, "Slice", slice, sizeof(slice));
	if (!slice[0] || sf_unit_slice_path(slice, above, sizeof(above)))
		put(above, sizeof(above), "/system.slice");
	return put(path, size, "%s/%s", above, unit);
}
