// SPDX-License-Identifier: GPL-2.0-only
/* Reading the two files: what is taken, and which of several holds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "config_lab.h"

static void keys_and_sections(void **state)
{
	const struct sf_entry *e;

	(void)state;
	good("FW_OUTPUT_MTA=\"yes\"\n"
	     "ports = {25, \"465\"} watch_ports = {}\n"
	     "errno = ECONNREFUSED\n"
	     "allow_local = no\nresolve_interval = 60\n"
	     "uplinks = {eth0, 'wg*'}\n"
	     "state_dir = '/tmp/a # b'\n"
	     "mail \"/system.slice/postfix.service\" { users = {root, 7, 5} comment = \"the #1\" "
	     "}\n"
	     "allow_net 10.0.0.0/8 { ports = {25} expires = \"2030-01-02T03:04:05Z\" }\n"
	     "quarantine_user nobody { }\n");
	assert_int_equal(policy.mode, SF_MODE_ENFORCE);
	assert_int_equal(policy.ports.count, 2);
	assert_int_equal(policy.ports.port[1], 465);
	assert_int_equal(policy.watch_ports.count, 0);
	assert_int_equal(policy.deny_errno, ECONNREFUSED);
	assert_int_equal(policy.allow_local, 0);
	assert_int_equal(policy.resolve_interval, 60);
	assert_int_equal(policy.uplinks.count, 2);
	assert_string_equal(policy.uplinks.name[1], "wg*");
	assert_string_equal(policy.state_dir, "/tmp/a # b");
	assert_int_equal(policy.alert_denied, 10); /* the default */
	assert_int_equal(policy.entry_count, 3);
	e = sf_policy_find(&policy, SF_ENTRY_MAIL, "/system.slice/postfix.service");
	assert_non_null(e);
	assert_int_equal(e->user_count, 3);
	assert_int_equal(e->users[0], 0);
	assert_int_equal(e->users[1], 5); /* ascending */
	assert_int_equal(e->users[2], 7);
	assert_string_equal(e->comment, "the #1");
	assert_int_equal(e->line, 8);
	e = sf_policy_find(&policy, SF_ENTRY_ALLOW_NET, "10.0.0.0/8");
	assert_non_null(e);
	assert_int_equal(e->port_count, 1);
	assert_int_equal(e->expires, 1893553445);
	assert_int_equal(policy.managed_keys, 0);
	sf_policy_free(&policy);
}

static void limits(void **state)
{
	const struct sf_entry *e;

	(void)state;
	/* Pairs as list and as text; a section and the key of local senders side by side. */
	good("limit_source = {3, 4}\nlimit_own = \"5,6\"\nlimit_sender = {\"0\", 9}\n"
	     "own_networks = {10.0.0.0/8, \"2001:db8::/32\"}\n"
	     "limit_user root { warn = 5 act = 20 }\n"
	     "limit_cgroup \"/a\" { act = \"7\" comment = c }\n"
	     "limit_net 10.1.0.0/16 { warn = 0 act = 0 }\n");
	assert_int_equal(policy.limit_source.warn, 3);
	assert_int_equal(policy.limit_own.act, 6);
	assert_int_equal(policy.limit_sender.act, 9);
	assert_int_equal(policy.limit_relay.warn, 300); /* the default */
	assert_int_equal(policy.own_networks.count, 2);
	e = sf_policy_find(&policy, SF_ENTRY_LIMIT_USER, "root");
	assert_non_null(e);
	assert_int_equal(e->warn, 5);
	assert_int_equal(e->act, 20);
	e = sf_policy_find(&policy, SF_ENTRY_LIMIT_CGROUP, "/a");
	assert_non_null(e);
	assert_int_equal(e->warn, 0);
	assert_int_equal(e->act, 7);
	assert_string_equal(e->comment, "c");
	assert_non_null(sf_policy_find(&policy, SF_ENTRY_LIMIT_NET, "10.1.0.0/16"));
	sf_policy_free(&policy);
	bad("\nlimit_user root { }\n", 2, "limit_user: no limit");
	bad("limit_user root { comment = c }\n", 1, "warn = 15");
	bad("limit_user root { warn = 5 act = 3 }\n", 1, "warn (5) is above act (3)");
	bad("limit_user root { warn = -1 }\n", 1, "\"-1\"");
	bad("limit_user root { act = 1000001 }\n", 1, "\"1000001\"");
	bad("limit_user root { warn = \"1,2\" act = \"\" }\n", 1, "\"1,2\"");
	bad("limit_user root { warn = {1} }\n", 1, "'{'");
	bad("limit_user root { act = 3 expires = \"2030-01-01T00:00:00Z\" }\n", 1, "expires");
	bad("limit_net 10.0.0.1/8 { act = 3 }\n", 1, "10.0.0.1/8");
	bad("limit_cgroup a { act = 3 }\n", 1, "limit_cgroup");
	bad("limit_user no-such-user { act = 3 }\n", 1, "no-such-user");
	bad("quarantine_user root { act = 3 }\n", 1, "act");
	bad("\nlimit_source = {15}\n", 2, "limit_source");
	bad("limit_source = 15\n", 1, "two numbers");
	bad("limit_source = {}\n", 1, "two numbers");
	bad("errno = EPERM\n\nlimit_source = { }\n\n", 3, "two numbers");
	bad("limit_source = {15, 10}\n", 1, "above");
	bad("own_networks = {10.0.0.0/8,\n10.1.0.1/16}\n", 2, "10.1.0.1/16");
	/* The daemon would be told to start nothing. */
	assert_int_not_equal(load("action_hook = warning\n"), 0);
	assert_non_null(strstr(err.text, "hook names no program"));
	good("hook = /bin/true\naction_hook = warning\n");
	sf_policy_free(&policy);
}

static void nothing_is_all_defaults(void **state)
{
	static const char *const empty[] = {"\n", " ", "# only", "/* a */", "// b", "\r\n\r\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		good(empty[i]);
		assert_int_equal(policy.mode, SF_MODE_MONITOR);
		assert_int_equal(policy.ports.count, 3);
		assert_int_equal(policy.entry_count, 0);
		assert_string_equal(policy.cgroup_root, "/");
		sf_policy_free(&policy);
	}
}

static void many_sections(void **state)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	assert_non_null(out);
	for (int i = 0; i < 10000; i++)
		fprintf(out, "allow_user \"%d\" { ports = {25} } # %d\n", i % 9000, i);
	fprintf(out, "allow_user \"x y\" { }\n");
	fclose(out);
	bad(text, 10001, "allow_user");
	*strstr(text, "allow_user \"x") = '\0';
	good(text);
	assert_int_equal(policy.entry_count, 9000);
	assert_int_equal(sf_policy_find(&policy, SF_ENTRY_ALLOW_USER, "999")->line, 10000);
	assert_int_equal(sf_policy_find(&policy, SF_ENTRY_ALLOW_USER, "1000")->line, 1001);
	sf_policy_free(&policy);
	free(text);
}

static void later_wins(void **state)
{
	(void)state;
	good("errno = EPERM\nerrno = EACCES\nports = {25}\nports = {26, 27}\n"
	     "allow_user root { comment = first ports = {25} }\n"
	     "allow_net 10.0.0.0/8 { }\n"
	     "allow_user root { comment = second }\n"
	     "allow_net 10.0.0.0/8 { ports = {26} }\n");
	assert_int_equal(policy.deny_errno, EACCES);
	assert_int_equal(policy.ports.count, 2);
	assert_int_equal(policy.ports.port[0], 26);
	assert_int_equal(policy.entry_count, 2);
	assert_string_equal(policy.entries[0].comment, "second");
	assert_int_equal(policy.entries[0].port_count, 0);
	assert_int_equal(policy.entries[0].line, 7);
	assert_int_equal(policy.entries[1].ports[0], 26);
	sf_policy_free(&policy);
	good("ports = {25}\nports += {26}\n");
	assert_int_equal(policy.ports.count, 2);
	sf_policy_free(&policy);
	/* One network, written in two ways. */
	good("allow_net 2001:DB8:0::/32 { }\nallow_net 2001:db8::/32 { ports = {25} }\n");
	assert_int_equal(policy.entry_count, 1);
	assert_int_equal(policy.entries[0].port_count, 1);
	sf_policy_free(&policy);
}

/* The file as a whole is wrong: no line to name. */
static void whole(void **state)
{
	(void)state;
	assert_int_not_equal(load("ports = {25, 2525}\n"), 0);
	assert_non_null(strstr(err.text, "watch_ports"));
	assert_true(err.is_usage);
	good("ports = {25, 2525}\nwatch_ports = {}\n");
	sf_policy_free(&policy);
}

static int load_both(const char *main_text, const char *managed_text)
{
	char managed[PATH_MAX];

	memset(&err, 0, sizeof(err));
	tree_file("/main.conf", main_text);
	tree_file("/managed.conf", managed_text);
	snprintf(managed, sizeof(managed), "%s", tree_path("/managed.conf"));
	return sf_config_load_with(tree_path("/main.conf"), managed, &policy, &err);
}

static void managed_over_the_file(void **state)
{
	(void)state;
	assert_int_equal(load_both("FW_OUTPUT_MTA = no\nerrno = EACCES\nports = {25, 26}\n"
				   "allow_user root { comment = file }\nfence /a { }\n",
				   "FW_OUTPUT_MTA = yes\nports = {}\n"
				   "allow_user root { comment = managed }\nmail /a { }\n"),
			 0);
	assert_int_equal(policy.mode, SF_MODE_ENFORCE);
	assert_int_equal(policy.deny_errno, EACCES);
	assert_int_equal(policy.ports.count, 0);
	assert_int_equal(policy.managed_keys,
			 1ULL << sf_key_find("FW_OUTPUT_MTA") | 1ULL << sf_key_find("ports"));
	assert_int_equal(policy.entry_count, 3); /* mail and fence of one path are two entries */
	assert_string_equal(sf_policy_find(&policy, SF_ENTRY_ALLOW_USER, "root")->comment,
			    "managed");
	assert_true(sf_policy_find(&policy, SF_ENTRY_ALLOW_USER, "root")->managed);
	assert_false(sf_policy_find(&policy, SF_ENTRY_FENCE, "/a")->managed);
	sf_policy_free(&policy);

	assert_int_not_equal(load_both("\n", "# a\nerrno = EIO\n"), 0);
	assert_non_null(strstr(err.text, "/managed.conf:2: "));
	/* A mistake in the first file is told, though the second has one too. */
	assert_int_not_equal(load_both("\n\nerrno = EIO\n", "x\n"), 0);
	assert_non_null(strstr(err.text, "/main.conf:3: "));
}

static void locations_are_the_administrators(void **state)
{
	(void)state;
	for (size_t k = 0; k < sf_key_count; k++) {
		char text[256], value[128];

		if (!sf_keys[k].fixed)
			continue;
		snprintf(value, sizeof(value), "%s = \"%s\"\n", sf_keys[k].name,
			 sf_keys[k].fallback);
		snprintf(text, sizeof(text), "FW_OUTPUT_MTA = yes\n%s", value);
		assert_int_equal(load_both(text, "\n"), 0);
		sf_policy_free(&policy);
		assert_int_not_equal(load_both("\n", text), 0);
		assert_non_null(strstr(err.text, "/managed.conf:2: "));
		assert_null(policy.entries);
	}
}

static void managed_file_by_its_key(void **state)
{
	char text[PATH_MAX + 64];

	(void)state;
	tree_file("/kept.conf", "errno = EACCES\n");
	snprintf(text, sizeof(text), "managed_file = \"%s\"\n", tree_path("/kept.conf"));
	tree_file("/main.conf", text);
	assert_int_equal(sf_config_load(tree_path("/main.conf"), &policy, &err), 0);
	assert_int_equal(policy.deny_errno, EACCES);
	assert_string_equal(policy.config_file, tree_path("/main.conf"));
	sf_policy_free(&policy);
}

static void no_such_file(void **state)
{
	(void)state;
	assert_int_not_equal(sf_config_load(tree_path("/absent.conf"), &policy, &err), 0);
	assert_true(err.is_usage);
	assert_non_null(strstr(err.text, "/absent.conf"));
	assert_int_not_equal(sf_config_load(tree_path("/"), &policy, &err), 0);
	assert_non_null(strstr(err.text, "not a file"));
	/* A FIFO would hang, a device never end. */
	assert_int_equal(mkfifo(tree_path("/fifo"), 0600), 0);
	assert_int_not_equal(sf_config_load(tree_path("/fifo"), &policy, &err), 0);
	assert_int_not_equal(sf_config_load("/dev/zero", &policy, &err), 0);
	/* err may be NULL. */
	assert_int_not_equal(sf_config_load(tree_path("/absent.conf"), &policy, NULL), 0);
	tree_file("/main.conf", "errno = EIO\n");
	assert_int_not_equal(sf_config_load_with(tree_path("/main.conf"), NO_FILE, &policy, NULL),
			     0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_and_sections),
		cmocka_unit_test(limits),
		cmocka_unit_test(nothing_is_all_defaults),
		cmocka_unit_test(many_sections),
		cmocka_unit_test(later_wins),
		cmocka_unit_test(whole),
		cmocka_unit_test(managed_over_the_file),
		cmocka_unit_test(locations_are_the_administrators),
		cmocka_unit_test(managed_file_by_its_key),
		cmocka_unit_test(no_such_file),
	};

	return cmocka_run_group_tests(tests, tree_setup, tree_teardown);
}
