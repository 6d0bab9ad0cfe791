// SPDX-License-Identifier: GPL-2.0-only
/*
 * Roles of the cgroups that exist: found by path one by one and by a walk, in a plain directory
 * (whose inode numbers are as good as ids), and entered into a real map for real cgroups.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <cmocka.h>
#include "tree.h"
#include "../../maps/roles.h"
#include "../../user/cgroup.h"
#include "../../user/roles.h"

static void add(struct sf_table *paths, const char *path, uint32_t kind)
{
	struct sf_role_path key = {.path = ""};
	struct sf_role role = {.kind = kind};

	memcpy(key.path, path, strlen(path));
	assert_int_equal(sf_table_add(paths, &key, &role), 0);
}

static void start(struct sf_table *paths)
{
	sf_table_init(paths, sizeof(struct sf_role_path), sizeof(struct sf_role));
}

/* Paths that lead nowhere, so many that the tree is walked. */
static void crowd(struct sf_table *paths)
{
	for (int i = 0; i <= SF_ROLES_WALK; i++) {
		char path[32];

		snprintf(path, sizeof(path), "/absent/%d", i);
		add(paths, path, SF_ROLE_FENCE);
	}
}

static uint32_t kind_at(const struct sf_table *roles, const char *path)
{
	const struct sf_role *role;
	uint64_t id;

	assert_int_equal(sf_cgroup_id(tree_root, path, &id), 0);
	role = sf_table_find(roles, &id);
	return role ? role->kind : 0;
}

static void found_by_path(void **state)
{
	char longest[SF_PATH_MAX + 8] = "/";

	(void)state;
	tree_path("/a.slice/b.service/c/");
	tree_path("/a.slice/b.service2/");
	tree_path("/\xff\n\"/");
	memset(longest + 1, 'l', 240);
	strcat(longest, "/mmmmmmmmmmmm");
	assert_int_equal(strlen(longest), SF_PATH_LIMIT);
	strcat(longest, "n/"); /* one too long, */
	tree_path(longest);
	longest[SF_PATH_LIMIT] = '/'; /* and as long as may be */
	longest[SF_PATH_LIMIT + 1] = '\0';
	tree_path(longest);
	longest[SF_PATH_LIMIT] = '\0';
	tree_file("/a.slice/file", "x");
	tree_link("/a.slice/link", "b.service");
	for (int walk = 0; walk < 2; walk++) {
		struct sf_table paths, roles;

		start(&paths);
		add(&paths, "/", SF_ROLE_EXEMPT);
		add(&paths, "/a.slice/b.service", SF_ROLE_MAIL);
		add(&paths, "/a.slice/b.service/c", SF_ROLE_FENCE);
		add(&paths, "/a.slice/link", SF_ROLE_MAIL); /* no directory, no cgroup */
		add(&paths, "/a.slice/file", SF_ROLE_MAIL);
		add(&paths, "/a.slice/absent", SF_ROLE_MAIL);
		add(&paths, "/\xff\n\"", SF_ROLE_EXEMPT);
		add(&paths, longest, SF_ROLE_FENCE);
		if (walk)
			crowd(&paths);
		assert_int_equal(sf_table_sort(&paths), 0);
		assert_int_equal(sf_roles_wanted(tree_root, &paths, &roles), 0);
		assert_int_equal(roles.count, 5);
		assert_int_equal(kind_at(&roles, "/"), SF_ROLE_EXEMPT);
		assert_int_equal(kind_at(&roles, "/a.slice"), 0);
		assert_int_equal(kind_at(&roles, "/a.slice/b.service"), SF_ROLE_MAIL);
		assert_int_equal(kind_at(&roles, "/a.slice/b.service2"), 0);
		assert_int_equal(kind_at(&roles, "/a.slice/b.service/c"), SF_ROLE_FENCE);
		assert_int_equal(kind_at(&roles, "/\xff\n\""), SF_ROLE_EXEMPT);
		assert_int_equal(kind_at(&roles, longest), SF_ROLE_FENCE);
		sf_table_free(&roles);
		sf_table_free(&paths);
	}
}

static void none(void **state)
{
	struct sf_table paths, roles;

	(void)state;
	start(&paths);
	assert_int_equal(sf_roles_wanted(tree_root, &paths, &roles), 0);
	assert_int_equal(roles.count, 0);
	sf_table_free(&roles);
	crowd(&paths);
	assert_int_equal(sf_table_sort(&paths), 0);
	assert_int_equal(sf_roles_wanted(tree_root, &paths, &roles), 0);
	assert_int_equal(roles.count, 0);
	sf_table_free(&roles);
	sf_table_free(&paths);
}

static char cgroup_name[64], cgroup_dir[PATH_MAX + 80];

static int real_cgroup_remove(void **state)
{
	(void)state;
	if (cgroup_dir[0])
		rmdir(cgroup_dir);
	return 0;
}

static void in_a_real_map(void **state)
{
	const struct sf_role other = {.kind = SF_ROLE_FENCE};
	const uint64_t dead = 0x7fffffff0000ULL;
	struct sf_table paths, now;
	struct sf_table_change change = {0, 0, 0};
	char mount[PATH_MAX];
	struct sf_role role;
	uint64_t id;
	int fd;

	(void)state;
	fd = bpf_map_create(BPF_MAP_TYPE_HASH, "sf_unit_test", sizeof(uint64_t), sizeof(role), 64,
			    NULL);
	snprintf(cgroup_name, sizeof(cgroup_name), "/smtpfence-unit-%d", (int)getpid());
	if (fd >= 0 && !sf_cgroup_mount(mount, sizeof(mount), NULL)) {
		snprintf(cgroup_dir, sizeof(cgroup_dir), "%s%s", mount, cgroup_name);
		if (mkdir(cgroup_dir, 0755))
			cgroup_dir[0] = '\0';
	}
	if (!cgroup_dir[0]) {
		print_message("no BPF maps or no cgroups here: not tested\n");
		skip();
	}
	start(&paths);
	add(&paths, cgroup_name, SF_ROLE_MAIL);
	add(&paths, "/smtpfence-unit-absent", SF_ROLE_MAIL);
	assert_int_equal(sf_table_sort(&paths), 0);
	assert_int_equal(bpf_map_update_elem(fd, &dead, &other, BPF_ANY), 0);
	assert_int_equal(sf_roles_follow(fd, mount, &paths, 0, &change), 0);
	assert_int_equal(change.added, 1);
	assert_int_equal(sf_cgroup_id(mount, cgroup_name, &id), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &id, &role), 0);
	assert_int_equal(role.kind, SF_ROLE_MAIL);
	/* What the paths do not name stays, unless it is said to be surplus. */
	assert_int_equal(bpf_map_lookup_elem(fd, &dead, &role), 0);
	change = (struct sf_table_change){0, 0, 0};
	assert_int_equal(sf_roles_follow(fd, mount, &paths, 1, &change), 0);
	assert_int_equal(change.added + change.changed, 0);
	assert_int_equal(change.removed, 1);
	assert_int_equal(bpf_map_lookup_elem(fd, &dead, &role), -ENOENT);
	/* The walk finds the same. */
	crowd(&paths);
	assert_int_equal(sf_table_sort(&paths), 0);
	change = (struct sf_table_change){0, 0, 0};
	assert_int_equal(sf_roles_follow(fd, mount, &paths, 1, &change), 0);
	assert_int_equal(change.added + change.changed + change.removed, 0);
	/* Gone. */
	assert_int_equal(rmdir(cgroup_dir), 0);
	assert_int_equal(sf_roles_follow(fd, mount, &paths, 1, &change), 0);
	sf_table_init(&now, sizeof(uint64_t), sizeof(role));
	assert_int_equal(sf_table_read(fd, &now), 0);
	assert_int_equal(now.count, 0);
	sf_table_free(&now);
	sf_table_free(&paths);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(found_by_path),
		cmocka_unit_test(none),
		cmocka_unit_test_teardown(in_a_real_map, real_cgroup_remove),
	};

	return cmocka_run_group_tests(tests, tree_setup, tree_teardown);
}
