// SPDX-License-Identifier: GPL-2.0-only
/* The v2 hierarchy of this machine (where there is one and we are root), and role paths. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "../../maps/abi.h"
#include "../../user/cgroup.h"

static char mount_point[PATH_MAX];
static char group[64]; /* our own, from the v2 root */

static void make(const char *path)
{
	char full[2 * PATH_MAX];

	snprintf(full, sizeof(full), "%s%s", mount_point, path);
	assert_int_equal(mkdir(full, 0755), 0);
}

static void drop(const char *path)
{
	char full[2 * PATH_MAX];

	snprintf(full, sizeof(full), "%s%s", mount_point, path);
	assert_int_equal(rmdir(full), 0);
}

static int setup(void **state)
{
	struct sf_error err = {};

	(void)state;
	if (geteuid() || sf_cgroup_mount(mount_point, sizeof(mount_point), &err)) {
		mount_point[0] = '\0';
		return 0;
	}
	snprintf(group, sizeof(group), "/smtpfence-unit-%d", (int)getpid());
	make(group);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (mount_point[0])
		drop(group);
	return 0;
}

static void need_hierarchy(void)
{
	if (!mount_point[0]) {
		print_message("needs root and a cgroup v2 mount\n");
		skip();
	}
}

static void ids_and_paths_agree(void **state)
{
	static const char *const names[] = {"/plain", "/with space", "/x (deleted)",
					    "/quote\"\\\x1b[1m", "/\xff\xfe"};
	char path[PATH_MAX], found[PATH_MAX];
	uint64_t id = 0;

	(void)state;
	need_hierarchy();
	assert_int_equal(sf_cgroup_id(mount_point, "/", &id), 0);
	assert_int_equal(sf_cgroup_path(mount_point, id, found, sizeof(found)), 0);
	assert_string_equal(found, "/");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", group, names[i]);
		make(path);
		assert_int_equal(sf_cgroup_id(mount_point, path, &id), 0);
		assert_int_equal(sf_cgroup_path(mount_point, id, found, sizeof(found)), 0);
		assert_string_equal(found, path);
		/* One byte short is refused and leaves the output alone; just enough is enough. */
		strcpy(found, "untouched");
		assert_int_equal(sf_cgroup_path(mount_point, id, found, strlen(path)),
				 -ENAMETOOLONG);
		assert_string_equal(found, "untouched");
		assert_int_equal(sf_cgroup_path(mount_point, id, found, strlen(path) + 1), 0);
		drop(path);
	}
}

static void the_gone_are_gone(void **state)
{
	char path[PATH_MAX], found[PATH_MAX] = "untouched";
	uint64_t id = 0, again = 0;
	int ret;

	(void)state;
	need_hierarchy();
	snprintf(path, sizeof(path), "%s/gone", group);
	make(path);
	assert_int_equal(sf_cgroup_id(mount_point, path, &id), 0);
	drop(path);
	ret = sf_cgroup_path(mount_point, id, found, sizeof(found));
	assert_true(ret == -ESTALE || ret == -ENOENT);
	make(path);
	assert_int_equal(sf_cgroup_id(mount_point, path, &again), 0);
	assert_true(again != id);
	ret = sf_cgroup_path(mount_point, id, found, sizeof(found));
	assert_true(ret == -ESTALE || ret == -ENOENT);
	assert_string_equal(found, "untouched");
	drop(path);
	assert_int_equal(sf_cgroup_id(mount_point, path, &again), -ENOENT);
	assert_true(sf_cgroup_path(mount_point, UINT64_MAX, found, sizeof(found)) < 0);
	assert_int_equal(sf_cgroup_path("/nowhere", 1, found, sizeof(found)), -ENOENT);
}

static void files_are_no_groups(void **state)
{
	char path[PATH_MAX];

	(void)state;
	need_hierarchy();
	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	assert_int_equal(sf_cgroup_open(mount_point, path, O_PATH), -ENOTDIR);
	snprintf(path, sizeof(path), "%s/../..", group);
	assert_non_null(sf_cgroup_path_fault(path));
}

static void processes_have_paths(void **state)
{
	char path[PATH_MAX], procs[PATH_MAX + 128], short_path[4] = "abc";
	pid_t child;
	int ends[2], fd, status;
	char byte = 0;

	(void)state;
	need_hierarchy();
	assert_int_equal(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		close(ends[1]);
		_exit(read(ends[0], &byte, 1) < 0);
	}
	snprintf(procs, sizeof(procs), "%s%s/cgroup.procs", mount_point, group);
	fd = open(procs, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(dprintf(fd, "%d", (int)child) > 0);
	assert_int_equal(sf_cgroup_of_pid(child, path, sizeof(path)), 0);
	assert_string_equal(path, group);
	assert_int_equal(sf_cgroup_of_pid(child, short_path, sizeof(short_path)), -ENAMETOOLONG);
	assert_string_equal(short_path, "abc");
	close(ends[1]);
	close(ends[0]);
	close(fd);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(sf_cgroup_of_pid(child, path, sizeof(path)), -ENOENT);
	/* The last of a group leaves it a moment after it can be waited for. */
	snprintf(procs, sizeof(procs), "%s%s/cgroup.events", mount_point, group);
	for (int i = 0; i < 1000; i++) {
		char text[64] = "";

		fd = open(procs, O_RDONLY | O_CLOEXEC);
		assert_true(read(fd, text, sizeof(text) - 1) > 0);
		close(fd);
		if (strstr(text, "populated 0"))
			break;
		usleep(1000);
	}
}

/* In a cgroup namespace a part of the hierarchy calls itself "/": it must not be taken for it. */
static void part_is_not_the_whole(void **state)
{
	char found[PATH_MAX], procs[PATH_MAX + 128];
	int status, fd;
	pid_t child;

	(void)state;
	need_hierarchy();
	child = fork();
	if (child == 0) {
		struct sf_error err = {};

		snprintf(procs, sizeof(procs), "%s%s/cgroup.procs", mount_point, group);
		fd = open(procs, O_WRONLY | O_CLOEXEC);
		if (write(fd, "0", 1) != 1 || unshare(CLONE_NEWCGROUP | CLONE_NEWNS))
			_exit(2);
		if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("none", "/mnt", "cgroup2", 0, NULL))
			_exit(3);
		/* Hide the whole one; the part on /mnt is listed as root "/". */
		if (umount2(mount_point, MNT_DETACH))
			_exit(4);
		_exit(sf_cgroup_mount(found, sizeof(found), &err) == -ENOENT ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* A mount that lies under another is in the table, but its path leads elsewhere. */
static void hidden_mount_is_passed_over(void **state)
{
	char found[PATH_MAX];
	int status;
	pid_t child;

	(void)state;
	need_hierarchy();
	child = fork();
	if (child == 0) {
		struct sf_error err = {};

		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("none", mount_point, "tmpfs", 0, NULL))
			_exit(2);
		if (sf_cgroup_mount(found, sizeof(found), &err) != -ENOENT || !err.text[0])
			_exit(1);
		/* With a space in its name the mount point is found all the same. */
		if (chdir(mount_point) || mkdir("a b\\", 0755) ||
		    mount("none", "a b\\", "cgroup2", 0, NULL))
			_exit(3);
		if (sf_cgroup_mount(found, sizeof(found), &err))
			_exit(4);
		_exit(strcmp(strrchr(found, '/'), "/a b\\") != 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void mount_needs_room(void **state)
{
	char found[2] = "x";

	(void)state;
	need_hierarchy();
	assert_int_equal(sf_cgroup_mount(found, sizeof(found), NULL), -ENOENT);
	assert_string_equal(found, "x");
}

static void good_paths(void **state)
{
	char path[SF_PATH_MAX + 8];

	(void)state;
	assert_null(sf_cgroup_path_fault("/"));
	assert_null(sf_cgroup_path_fault("/a"));
	assert_null(sf_cgroup_path_fault("/system.slice/postfix.service"));
	assert_null(sf_cgroup_path_fault("/..."));
	assert_null(sf_cgroup_path_fault("/.a/a./a..b"));
	assert_null(sf_cgroup_path_fault("/sys/fs"));
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[SF_PATH_LIMIT] = '\0';
	assert_null(sf_cgroup_path_fault(path));
}

static void bad_paths(void **state)
{
	static const char *const bad[] = {
		"",	 "a",	  "a/b",     " /a",  "//",
		"/a/",	 "/a//b", "//a",     "/.",   "/..",
		"/a/..", "/./a",  "/a/../b", "/a/.", "/sys/fs/cgroup/system.slice",
	};
	char path[SF_PATH_MAX + 8];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!sf_cgroup_path_fault(bad[i]))
			fail_msg("no fault in '%s'", bad[i]);
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[SF_PATH_LIMIT + 1] = '\0';
	assert_non_null(sf_cgroup_path_fault(path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_and_paths_agree),
		cmocka_unit_test(the_gone_are_gone),
		cmocka_unit_test(files_are_no_groups),
		cmocka_unit_test(processes_have_paths),
		cmocka_unit_test(part_is_not_the_whole),
		cmocka_unit_test(hidden_mount_is_passed_over),
		cmocka_unit_test(mount_needs_room),
		cmocka_unit_test(good_paths),
		cmocka_unit_test(bad_paths),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
