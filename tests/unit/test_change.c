// SPDX-License-Identifier: GPL-2.0-only
/* A change up to the kernel's part: keys, the record of what was applied, the lock, wrong files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "tree.h"
#include "../../user/change.h"
#include "../../user/config.h"
#include "../../user/files.h"
#include "../../user/policy_text.h"

static char main_file[PATH_MAX], state_dir[PATH_MAX];

static int place(void **state)
{
	if (tree_setup(state))
		return -1;
	snprintf(main_file, sizeof(main_file), "%s/main.conf", tree_root);
	snprintf(state_dir, sizeof(state_dir), "%s/state", tree_root);
	return 0;
}

/* The administrator's file: its locations in the tree, and these lines. */
static void main_says(const char *lines)
{
	char text[3 * PATH_MAX];

	snprintf(text, sizeof(text), "state_dir = \"%s\"\nmanaged_file = \"%s/managed.conf\"\n%s",
		 state_dir, tree_root, lines);
	tree_file("/main.conf", text);
}

static void keys_are_set(void **state)
{
	struct sf_change change = {.lock = -1};
	struct sf_error err;

	(void)state;
	sf_policy_init(&change.policy);
	assert_int_equal(sf_change_set(&change, "FW_OUTPUT_MTA", "yes", &err), 0);
	assert_int_equal(change.policy.mode, SF_MODE_ENFORCE);
	assert_int_equal(change.policy.managed_keys, 1ULL << sf_key_find("FW_OUTPUT_MTA"));
	/* What is refused is not marked as set. */
	assert_int_equal(sf_change_set(&change, "ports", "0", &err), -EINVAL);
	assert_int_equal(sf_change_set(&change, "port", "25", &err), -EINVAL);
	assert_non_null(strstr(err.text, "did you mean ports"));
	assert_int_equal(sf_change_set(&change, "", "25", &err), -EINVAL);
	for (size_t k = 0; k < sf_key_count; k++)
		if (sf_keys[k].fixed)
			assert_int_equal(
				sf_change_set(&change, sf_keys[k].name, sf_keys[k].fallback, &err),
				-EINVAL);
	assert_true(err.is_usage);
	assert_int_equal(change.policy.managed_keys, 1ULL << sf_key_find("FW_OUTPUT_MTA"));
	sf_change_end(&change);
	sf_change_end(&change);
}

static void load_main(struct sf_policy *policy)
{
	struct sf_error err;

	if (sf_config_load(main_file, policy, &err))
		fail_msg("%s", err.text);
}

static void record(const struct sf_policy *policy)
{
	char path[PATH_MAX + 32], *text = sf_policy_text(policy);

	assert_non_null(text);
	snprintf(path, sizeof(path), "%s/applied.conf", state_dir);
	assert_int_equal(sf_file_write(path, text, strlen(text), NULL), 0);
	free(text);
}

static void what_was_applied(void **state)
{
	struct sf_policy files, applied;
	struct sf_error err;

	(void)state;
	main_says("FW_OUTPUT_MTA = yes\nmail /a { users = {root, 5} comment = \"#\" }\n");
	load_main(&files);
	assert_int_equal(sf_applied_load(state_dir, &applied, &err), -ENOENT);
	assert_int_equal(sf_applied_differs(&files), -ENOENT);
	record(&files);
	assert_int_equal(sf_applied_differs(&files), 0);
	assert_int_equal(sf_applied_load(state_dir, &applied, &err), 0);
	assert_int_equal(applied.mode, SF_MODE_ENFORCE);
	assert_string_equal(applied.state_dir, state_dir);
	sf_policy_free(&applied);
	sf_policy_free(&files);
	/* A key, an entry, a comment: all of it is a difference. */
	main_says("FW_OUTPUT_MTA = yes\nmail /a { users = {root, 5} comment = \"x\" }\n");
	load_main(&files);
	assert_int_equal(sf_applied_differs(&files), 1);
	sf_policy_free(&files);
	main_says("FW_OUTPUT_MTA = yes\nmail /a { users = {root, 5} comment = \"#\" }\n"
		  "errno = EPERM\n");
	load_main(&files); /* the default, said aloud, is none */
	assert_int_equal(sf_applied_differs(&files), 0);
	sf_policy_free(&files);
	/* A damaged record is said to be one, and nothing is taken from it. */
	tree_file("/state/applied.conf", "FW_OUTPUT_MTA = \"yes");
	assert_int_equal(sf_applied_load(state_dir, &applied, &err), -EINVAL);
	load_main(&files);
	assert_true(sf_applied_differs(&files) < 0);
	sf_policy_free(&files);
}

static void the_lock_is_held(void **state)
{
	struct sf_change change, other;
	struct sf_error err = {.code = 0};
	int lock;

	(void)state;
	if (geteuid() != 0) {
		assert_int_equal(sf_change_begin(main_file, 0, &change, &err), -EPERM);
		print_message("no root: not tested\n");
		skip();
	}
	main_says("FW_OUTPUT_MTA = yes\n");
	if (sf_change_begin(main_file, 0, &change, &err))
		fail_msg("%s", err.text);
	assert_int_equal(change.policy.mode, SF_MODE_ENFORCE);
	assert_false(change.from_record);
	assert_int_equal(sf_lock(state_dir, "lock", 0, &err), -EBUSY);
	sf_change_end(&change);
	lock = sf_lock(state_dir, "lock", 0, &err);
	assert_true(lock >= 0);
	close(lock);
	/* Wrong files: refused, nothing held, and released all the same. */
	main_says("FW_OUTPUT_MTA = maybe\n");
	assert_int_equal(sf_change_begin(main_file, 0, &other, &err), -EINVAL);
	assert_non_null(strstr(err.text, "main.conf:3: "));
	sf_change_end(&other);
	lock = sf_lock(state_dir, "lock", 0, &err);
	assert_true(lock >= 0);
	close(lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_set),
		cmocka_unit_test(what_was_applied),
		cmocka_unit_test(the_lock_is_held),
	};

	return cmocka_run_group_tests(tests, place, tree_teardown);
}
