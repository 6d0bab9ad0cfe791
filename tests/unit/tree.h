/* SPDX-License-Identifier: GPL-2.0-only */
/* A directory tree for a test: made in a temporary directory, removed with all that is in it. */
#ifndef SF_TESTS_UNIT_TREE_H
#define SF_TESTS_UNIT_TREE_H

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char tree_root[64];

static int tree_setup(void **state)
{
	(void)state;
	strcpy(tree_root, "/tmp/smtpfence-unit-XXXXXX");
	return mkdtemp(tree_root) ? 0 : -1;
}

static int tree_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int tree_teardown(void **state)
{
	(void)state;
	return nftw(tree_root, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The full name of a path in the tree, its directories made. */
static const char *tree_path(const char *path)
{
	static char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s%s", tree_root, path);
	for (char *p = full + strlen(tree_root) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(full, 0755);
		*p = '/';
	}
	return full;
}

static void __attribute__((unused)) tree_bytes(const char *path, const void *bytes, size_t length)
{
	FILE *file = fopen(tree_path(path), "we");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, length, file), length);
	assert_int_equal(fclose(file), 0);
}

static void __attribute__((unused)) tree_file(const char *path, const char *text)
{
	tree_bytes(path, text, strlen(text));
}

static void __attribute__((unused)) tree_link(const char *path, const char *target)
{
	const char *full = tree_path(path);

	unlink(full);
	assert_int_equal(symlink(target, full), 0);
}

#endif
