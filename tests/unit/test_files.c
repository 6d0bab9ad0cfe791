// SPDX-License-Identifier: GPL-2.0-only
/* Files are whole or as they were: under readers, on a full disk, in places that can't be written.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "tree.h"
#include "smalldisk.h"
#include "../../user/files.h"

#define DISK_SIZE 131072

static char path[PATH_MAX];

static const char *in_tree(const char *name)
{
	snprintf(path, sizeof(path), "%s%s", tree_root, name);
	return path;
}

/* How many names stand in a directory: temporary files must not stay. */
static int names_in(const char *directory)
{
	DIR *dir = opendir(directory);
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

static void content_is(const char *file, const char *text)
{
	char out[256];

	assert_int_equal(sf_file_read(file, out, sizeof(out)), 0);
	assert_string_equal(out, text);
}

static void written_and_read(void **state)
{
	struct sf_error err;
	struct stat st;
	char small[4], out[256];

	(void)state;
	in_tree("/a/b/c/file");
	assert_int_equal(sf_file_write(path, "one", 3, &err), 0); /* makes the directories */
	content_is(path, "one");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(sf_file_write(path, "two\n", 4, &err), 0);
	content_is(path, "two\n");
	assert_int_equal(sf_file_write(path, "", 0, &err), 0);
	content_is(path, "");
	assert_int_equal(names_in(in_tree("/a/b/c")), 1);
	in_tree("/a/b/c/file");
	assert_int_equal(sf_file_write(path, "longer", 6, &err), 0);
	assert_int_equal(sf_file_read(path, small, sizeof(small)), 0);
	assert_string_equal(small, "lon");
	assert_int_equal(sf_file_read(path, out, 1), 0);
	assert_string_equal(out, "");
	assert_int_equal(sf_file_read(in_tree("/absent"), out, sizeof(out)), -ENOENT);
	assert_int_equal(sf_file_read(tree_root, out, sizeof(out)), -EISDIR);
	/* A link is replaced, what it points to is not written. */
	tree_file("/target", "target");
	tree_link("/link", in_tree("/target"));
	assert_int_equal(sf_file_write(in_tree("/link"), "x", 1, &err), 0);
	content_is(in_tree("/target"), "target");
}

static void in_two_steps(void **state)
{
	char temporary[PATH_MAX], file[PATH_MAX];
	struct sf_error err;

	(void)state;
	snprintf(file, sizeof(file), "%s/steps/file", tree_root);
	assert_int_equal(sf_file_write(file, "old", 3, &err), 0);
	assert_int_equal(sf_file_prepare(file, "new", 3, temporary, &err), 0);
	content_is(file, "old");
	content_is(temporary, "new");
	sf_file_drop(temporary);
	assert_int_equal(names_in(in_tree("/steps")), 1);
	assert_int_equal(sf_file_prepare(file, "new", 3, temporary, &err), 0);
	assert_int_equal(sf_file_commit(file, temporary, &err), 0);
	content_is(file, "new");
	sf_file_drop(temporary); /* nothing is there any more */
	sf_file_drop("");
	content_is(file, "new");
	/* The temporary file went away: told, and the old stays. */
	assert_int_equal(sf_file_prepare(file, "third", 5, temporary, &err), 0);
	unlink(temporary);
	assert_int_equal(sf_file_commit(file, temporary, &err), -ENOENT);
	assert_non_null(strstr(err.text, file));
	content_is(file, "new");
}

/* Writers that were killed: theirs goes with the next write, nobody else's does. */
static void what_killed_writers_left(void **state)
{
	static const char *const stays[] = {
		"/killed/file.smtpfence-fresh1", "/killed/file.smtpfence-longer77",
		"/killed/filer.smtpfence-abc123", "/killed/file.backup", "/killed/file.abc123"};
	const struct timespec old[2] = {{.tv_sec = time(NULL) - 120}, {.tv_sec = time(NULL) - 120}};
	char file[PATH_MAX];

	(void)state;
	snprintf(file, sizeof(file), "%s/killed/file", tree_root);
	tree_file("/killed/file.smtpfence-aB3xYz", "half");
	assert_int_equal(utimensat(AT_FDCWD, in_tree("/killed/file.smtpfence-aB3xYz"), old, 0), 0);
	for (size_t i = 0; i < sizeof(stays) / sizeof(stays[0]); i++) {
		tree_file(stays[i], "x");
		if (i)
			utimensat(AT_FDCWD, in_tree(stays[i]), old, 0);
	}
	assert_int_equal(sf_file_write(file, "new", 3, NULL), 0);
	content_is(file, "new");
	assert_int_not_equal(access(in_tree("/killed/file.smtpfence-aB3xYz"), F_OK), 0);
	for (size_t i = 0; i < sizeof(stays) / sizeof(stays[0]); i++)
		assert_int_equal(access(in_tree(stays[i]), F_OK), 0);
}

static void where_it_can_not(void **state)
{
	char longest[PATH_MAX + 64];
	struct sf_error err;

	(void)state;
	tree_file("/plain", "x");
	assert_int_equal(sf_file_write(in_tree("/plain/file"), "x", 1, &err), -ENOTDIR);
	assert_non_null(strstr(err.text, "/plain"));
	assert_int_equal(sf_dir_make(in_tree("/plain/dir/dir"), &err), -ENOTDIR);
	mkdir(in_tree("/dir"), 0755);
	assert_int_equal(sf_file_write(path, "x", 1, &err), -EISDIR);
	memset(longest, 'a', sizeof(longest));
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(sf_file_write(longest, "x", 1, &err), -ENAMETOOLONG);
	longest[PATH_MAX - 4] = '\0'; /* fits, but not with what mkostemp needs */
	assert_int_equal(sf_file_write(longest, "x", 1, &err), -ENAMETOOLONG);
	assert_int_equal(sf_dir_make(longest, &err), -ENAMETOOLONG);
	assert_int_equal(sf_file_write(in_tree("/dir"), "x", 1, NULL), -EISDIR);
	assert_int_equal(sf_dir_make("/", &err), 0);
	assert_int_equal(sf_dir_make(in_tree("/x//y///z/"), &err), 0);
	assert_int_equal(sf_dir_make(in_tree("/x/y/z"), &err), 0); /* again */
}

/* A reader at any moment sees one of the two, whole. */
static void whole_under_readers(void **state)
{
	enum { SIZE = 60000 };
	static char a[SIZE], b[SIZE / 3], seen[SIZE + 1];
	struct sf_error err;
	pid_t writer;
	int status, reads = 0;

	(void)state;
	memset(a, 'a', sizeof(a));
	memset(b, 'b', sizeof(b));
	in_tree("/atomic");
	assert_int_equal(sf_file_write(path, a, sizeof(a), &err), 0);
	writer = fork();
	assert_true(writer >= 0);
	if (!writer) {
		for (int i = 0; i < 300; i++)
			if (sf_file_write(path, i % 2 ? a : b, i % 2 ? sizeof(a) : sizeof(b), NULL))
				_exit(1);
		_exit(0);
	}
	while (waitpid(writer, &status, WNOHANG) == 0 || reads == 0) {
		size_t n;

		assert_int_equal(sf_file_read(path, seen, sizeof(seen)), 0);
		n = strlen(seen);
		assert_true(n == sizeof(a) || n == sizeof(b));
		assert_int_equal(strspn(seen, n == sizeof(a) ? "a" : "b"), n);
		reads++;
	}
	assert_int_equal(status, 0);
}

static void full_disk(void **state)
{
	static char large[2 * DISK_SIZE], temporary[PATH_MAX];
	char disk[PATH_MAX], file[PATH_MAX + 8], filler[PATH_MAX + 8];
	struct sf_error err;
	FILE *out;

	(void)state;
	snprintf(disk, sizeof(disk), "%s", tree_path("/disk/."));
	disk[strlen(disk) - 2] = '\0';
	if (small_disk(disk, DISK_SIZE)) {
		print_message("no root, or no mounts here: not tested\n");
		skip();
	}
	snprintf(file, sizeof(file), "%s/file", disk);
	snprintf(filler, sizeof(filler), "%s/filler", disk);
	memset(large, 'x', sizeof(large));
	assert_int_equal(sf_file_write(file, "old", 3, &err), 0);
	assert_int_equal(sf_file_write(file, large, sizeof(large), &err), -ENOSPC);
	assert_non_null(strstr(err.text, "stays as it was"));
	content_is(file, "old");
	assert_int_equal(names_in(disk), 1);
	assert_int_equal(sf_file_prepare(file, large, sizeof(large), temporary, &err), -ENOSPC);
	assert_int_equal(names_in(disk), 1);
	/* Not a byte left: even a small one is refused, and the old stays. */
	out = fopen(filler, "we");
	assert_non_null(out);
	setvbuf(out, NULL, _IONBF, 0);
	while (fwrite(large, 1, 512, out) == 512)
		;
	fclose(out);
	assert_int_equal(sf_file_write(file, "new", 3, &err), -ENOSPC);
	content_is(file, "old");
	assert_int_equal(names_in(disk), 2);
	unlink(filler);
	assert_int_equal(sf_file_write(file, "new", 3, &err), 0);
	content_is(file, "new");
	/* Mounted read-only. */
	assert_int_equal(mount(NULL, disk, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	assert_int_equal(sf_file_write(file, "newer", 5, &err), -EROFS);
	assert_int_equal(sf_dir_make(disk, &err), 0); /* is there */
	content_is(file, "new");
	assert_int_equal(umount(disk), 0);
}

static void one_at_a_time(void **state)
{
	struct sf_error err = {.code = 0};
	int first, other, status, ready[2];
	char byte = 0;
	pid_t holder;

	(void)state;
	in_tree("/locks/deep");
	first = sf_lock(path, "lock", 0, &err);
	assert_true(first >= 0);
	assert_int_equal(sf_lock(path, "lock", 0, &err), -EBUSY);
	assert_non_null(strstr(err.text, "/locks/deep/lock"));
	assert_int_equal(sf_lock(path, "lock", 0, NULL), -EBUSY);
	other = sf_lock(path, "other", 0, &err); /* of another name: free */
	assert_true(other >= 0);
	close(other);
	close(first);
	first = sf_lock(path, "lock", 0, &err);
	assert_true(first >= 0);
	close(first);
	/* Held by a process that dies without a word: free again at once. */
	assert_int_equal(pipe(ready), 0);
	holder = fork();
	assert_true(holder >= 0);
	if (!holder) {
		if (sf_lock(path, "lock", 0, NULL) < 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(sf_lock(path, "lock", 0, &err), -EBUSY);
	kill(holder, SIGKILL);
	assert_int_equal(waitpid(holder, &status, 0), holder);
	first = sf_lock(path, "lock", 0, &err);
	assert_true(first >= 0);
	close(first);
	close(ready[0]);
	close(ready[1]);
	tree_file("/file", "x");
	assert_true(sf_lock(in_tree("/file"), "lock", 0, &err) < 0);
}

/* It waits for a holder that ends. */
static void waits(void **state)
{
	int fd, status, ready[2];
	char byte = 0;
	pid_t holder;

	(void)state;
	in_tree("/locks");
	assert_int_equal(pipe(ready), 0);
	holder = fork();
	assert_true(holder >= 0);
	if (!holder) {
		const struct timespec pause_time = {.tv_nsec = 50000000};

		if (sf_lock(path, "waited", 0, NULL) < 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		nanosleep(&pause_time, NULL);
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	fd = sf_lock(path, "waited", 30, NULL);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(waitpid(holder, &status, 0), holder);
	assert_int_equal(status, 0);
	close(ready[0]);
	close(ready[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_and_read),
		cmocka_unit_test(in_two_steps),
		cmocka_unit_test(what_killed_writers_left),
		cmocka_unit_test(where_it_can_not),
		cmocka_unit_test(whole_under_readers),
		cmocka_unit_test(full_disk),
		cmocka_unit_test(one_at_a_time),
		cmocka_unit_test(waits),
	};

	return cmocka_run_group_tests(tests, tree_setup, tree_teardown);
}
