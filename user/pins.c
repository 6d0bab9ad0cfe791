// SPDX-License-Identifier: GPL-2.0-only
#include "pins.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BPFFS "/sys/fs/bpf"

const char *const sf_map_names[SF_MAP_COUNT] = {
#define X(NAME, name) #name,
	SF_MAPS(X)
#undef X
};

const char *const sf_census_map_names[SF_CENSUS_MAP_COUNT] = {
#define X(NAME, name) #name,
	SF_CENSUS_MAPS(X)
#undef X
};

const char *const sf_guard_map_names[SF_GUARD_MAP_COUNT] = {
#define X(NAME, name) #name,
	SF_GUARD_MAPS(X)
#undef X
};

const char *const sf_gateway_map_names[SF_GATEWAY_MAP_COUNT] = {
#define X(NAME, name) #name,
	SF_GATEWAY_MAPS(X)
#undef X
};

const char *const sf_gateway_program_names[SF_GATEWAY_PROGRAM_COUNT] = {
#define X(NAME, name) #name,
	SF_GATEWAY_PROGRAMS(X)
#undef X
};

const struct sf_hook_info sf_hooks[SF_HOOK_COUNT] = {
#define X(NAME, pin, program, type) {pin, program, type},
	SF_HOOKS(X)
#undef X
};

static const char *const folders[] = {"maps", "links", "programs"};
#define FOLDERS (sizeof(folders) / sizeof(folders[0]))

int sf_pin_open(const char *pin_dir, const char *folder, const char *name)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s/%s", pin_dir, folder, name);
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

int sf_pin_replace(const char *pin_dir, const char *folder, const char *name, int fd,
		   struct sf_error *err)
{
	char path[PATH_MAX], fresh[PATH_MAX];
	int ret;

	snprintf(path, sizeof(path), "%s/%s/%s", pin_dir, folder, name);
	/* bpffs refuses a dot in names that come from user space. */
	snprintf(fresh, sizeof(fresh), "%s/%s/%s_new", pin_dir, folder, name);
	unlink(fresh);
	if (bpf_obj_pin(fd, fresh) || rename(fresh, path)) {
		ret = -errno;
		unlink(fresh);
		return sf_fail(err, ret, "can't pin %s: %s", path, strerror(-ret));
	}
	return 0;
}

int sf_pin_remove(const char *pin_dir, const char *folder, const char *name)
{
	char path[PATH_MAX];

	/* With what a command that was killed between pin and rename left behind. */
	snprintf(path, sizeof(path), "%s/%s/%s_new", pin_dir, folder, name);
	if (unlink(path) && errno != ENOENT)
		return -errno;
	snprintf(path, sizeof(path), "%s/%s/%s", pin_dir, folder, name);
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

static int is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

int sf_pins_prepare(const char *pin_dir, struct sf_error *err)
{
	char path[PATH_MAX];
	size_t end;

	if (!strncmp(pin_dir, BPFFS "/", sizeof(BPFFS)) && !is_bpffs(BPFFS) &&
	    mount("bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
		return sf_fail(err, -errno,
			       "%s is not mounted, and mounting it failed: %s; "
			       "mount -t bpf bpf %s",
			       BPFFS, strerror(errno), BPFFS);
	/* The nearest directory above that exists must be on a bpffs before anything is made. */
	snprintf(path, sizeof(path), "%s", pin_dir);
	for (end = strlen(path); end > 1 && access(path, F_OK); path[end] = '\0')
		while (end > 1 && path[--end] != '/')
			;
	if (!is_bpffs(path))
		return sf_fail_usage(err,
				     "pin_dir %s is not on a bpffs, where pins could stand; use a "
				     "directory below %s, or mount -t bpf bpf DIRECTORY",
				     pin_dir, BPFFS);
	for (end = strlen(path) + 1; end <= strlen(pin_dir); end++) {
		if (pin_dir[end] && pin_dir[end] != '/')
			continue;
		snprintf(path, sizeof(path), "%.*s", (int)end, pin_dir);
		if (mkdir(path, 0700) && errno != EEXIST)
			return sf_fail(err, -errno, "can't make %s: %s", path, strerror(errno));
	}
	for (size_t i = 0; i < FOLDERS; i++) {
		snprintf(path, sizeof(path), "%s/%s", pin_dir, folders[i]);
		if (mkdir(path, 0700) && errno != EEXIST)
			return sf_fail(err, -errno, "can't make %s: %s", path, strerror(errno));
	}
	return 0;
}

int sf_pins_remove_all(const char *pin_dir, struct sf_error *err)
{
	char path[PATH_MAX];
	int ret = 0;

	for (int i = 0; i < SF_HOOK_COUNT && !ret; i++)
		ret = sf_pin_remove(pin_dir, "links", sf_hooks[i].name);
	for (int i = 0; i < SF_MAP_COUNT && !ret; i++)
		ret = sf_pin_remove(pin_dir, "maps", sf_map_names[i]);
	for (int i = 0; i < SF_CENSUS_MAP_COUNT && !ret; i++)
		ret = sf_pin_remove(pin_dir, "maps", sf_census_map_names[i]);
	for (int i = 0; i < SF_GUARD_MAP_COUNT && !ret; i++)
		ret = sf_pin_remove(pin_dir, "maps", sf_guard_map_names[i]);
	for (int i = 0; i < SF_GATEWAY_MAP_COUNT && !ret; i++)
		ret = sf_pin_remove(pin_dir, "maps", sf_gateway_map_names[i]);
	for (int i = 0; i < SF_GATEWAY_PROGRAM_COUNT && !ret; i++)
		ret = sf_pin_remove(pin_dir, "programs", sf_gateway_program_names[i]);
	if (ret)
		return sf_fail(err, ret, "can't remove the pins in %s: %s", pin_dir,
			       strerror(-ret));
	for (size_t i = 0; i < FOLDERS; i++) {
		snprintf(path, sizeof(path), "%s/%s", pin_dir, folders[i]);
		rmdir(path);
	}
	rmdir(pin_dir); /* fails where something that is not ours stands in it: it stays */
	return 0;
}
