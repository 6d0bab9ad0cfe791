// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table of keys: every key's range with the values next to its edges, that a refused value
 * changes nothing, and that what is read back is what was set.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <cmocka.h>
#include "../../user/policy.h"

static struct sf_policy policy;

static const struct sf_key *key(const char *name)
{
	int i = sf_key_find(name);

	assert_true(i >= 0);
	return &sf_keys[i];
}

static void takes(const char *name, const char *text, const char *read_back)
{
	char out[4096];
	struct sf_error err = {.code = 0};

	if (sf_key_set(&policy, key(name), text, &err))
		fail_msg("%s = \"%s\": %s", name, text, err.text);
	sf_key_get(&policy, key(name), out, sizeof(out));
	assert_string_equal(out, read_back);
}

static void refuses(const char *name, const char *text)
{
	struct sf_policy before = policy;
	struct sf_error err = {.code = 0};

	if (sf_key_set(&policy, key(name), text, &err) != -EINVAL)
		fail_msg("%s = \"%s\" was taken", name, text);
	assert_memory_equal(&policy, &before, sizeof(policy));
	assert_true(err.is_usage);
	assert_memory_equal(err.text, name, strlen(name));
	for (const char *p = err.text; *p; p++)
		assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
	assert_int_equal(sf_key_set(&policy, key(name), text, NULL), -EINVAL);
}

static int fresh(void **state)
{
	(void)state;
	sf_policy_init(&policy);
	return 0;
}

static void the_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sf_key_count; i++) {
		const struct sf_key *k = &sf_keys[i];
		char out[4096];

		assert_int_equal(sf_key_find(k->name), i);
		assert_true(k->help[0] != '\0');
		/* The default is taken, and is what a new policy holds. */
		sf_key_get(&policy, k, out, sizeof(out));
		assert_string_equal(out, k->fallback);
		takes(k->name, out, out);
		/* Nothing is written past the room. */
		for (size_t size = 1; size < 12; size++) {
			memset(out, 'X', sizeof(out));
			sf_key_get(&policy, k, out, size);
			assert_true(strlen(out) < size);
			assert_int_equal(out[size], 'X');
		}
		/* What no key takes; an empty list is one, and no program. */
		if (!sf_key_is_list(k)) {
			if (k->type != SF_KEY_PROGRAM)
				refuses(k->name, "");
			refuses(k->name, "\"\x1b[31m\xff\n");
		}
	}
	assert_int_equal(sf_key_find("PORTS"), -1);
	assert_int_equal(sf_key_find(""), -1);
}

static void modes_and_words(void **state)
{
	static const char *const yes[] = {"yes", "YES", "true", "on", "1"};
	static const char *const no[] = {"no", "No", "false", "off", "0"};

	(void)state;
	takes("FW_OUTPUT_MTA", "YES", "yes");
	assert_int_equal(policy.mode, SF_MODE_ENFORCE);
	takes("FW_OUTPUT_MTA", "Monitor", "monitor");
	assert_int_equal(policy.mode, SF_MODE_MONITOR);
	takes("FW_OUTPUT_MTA", "no", "no");
	assert_int_equal(policy.mode, SF_MODE_OFF);
	refuses("FW_OUTPUT_MTA", "maybe");
	refuses("FW_OUTPUT_MTA", "yes ");
	refuses("FW_OUTPUT_MTA", " yes");
	refuses("FW_OUTPUT_MTA", "yesno");
	for (size_t i = 0; i < 5; i++) {
		takes("allow_local", yes[i], "yes");
		assert_int_equal(policy.allow_local, 1);
		takes("allow_local", no[i], "no");
		assert_int_equal(policy.allow_local, 0);
	}
	refuses("allow_local", "2");
	refuses("allow_local", "y");
	refuses("detect_mail", "monitor");
	takes("errno", "EACCES", "EACCES");
	assert_int_equal(policy.deny_errno, EACCES);
	takes("errno", "ECONNREFUSED", "ECONNREFUSED");
	takes("errno", "EPERM", "EPERM");
	refuses("errno", "EIO");
	refuses("errno", "eperm");
	refuses("errno", "1");
	assert_string_equal(sf_mode_name(SF_MODE_ENFORCE), "enforce");
	assert_string_equal(sf_mode_name(0), "unknown");
	assert_string_equal(sf_mode_setting(SF_MODE_ENFORCE), "yes");
}

static void numbers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sf_key_count; i++) {
		const struct sf_key *k = &sf_keys[i];
		char text[64];

		if (k->type != SF_KEY_INT)
			continue;
		assert_true(k->min < k->max);
		snprintf(text, sizeof(text), "%ld", k->min);
		takes(k->name, text, text);
		snprintf(text, sizeof(text), "%ld", k->max);
		takes(k->name, text, text);
		snprintf(text, sizeof(text), "%ld", k->min - 1);
		refuses(k->name, text);
		snprintf(text, sizeof(text), "%ld", k->max + 1);
		refuses(k->name, text);
		/* Whose low 32 bits would do. */
		snprintf(text, sizeof(text), "%lld", (1LL << 32) + k->min);
		refuses(k->name, text);
		refuses(k->name, "99999999999999999999999");
		refuses(k->name, "-99999999999999999999999");
		refuses(k->name, "0x20");
		refuses(k->name, "60s");
		refuses(k->name, "60 ");
		refuses(k->name, "6.0");
		refuses(k->name, "1e2");
	}
}

static void paths(void **state)
{
	char text[300];

	(void)state;
	memset(text, 'a', sizeof(text));
	text[0] = '/';
	for (size_t i = 0; i < sf_key_count; i++) {
		const struct sf_key *k = &sf_keys[i];
		size_t most = k->max ? (size_t)k->max : SF_NAME_MAX - 33;

		if (k->type != SF_KEY_PATH)
			continue;
		text[most] = '\0';
		takes(k->name, text, text);
		text[most] = 'a';
		text[most + 1] = '\0';
		refuses(k->name, text);
		text[most + 1] = 'a';
		refuses(k->name, "etc/x");
		refuses(k->name, "./x");
	}
	/* As long as a socket's address can be. */
	assert_int_equal(key("syslog_socket")->max, 107);
	takes("cgroup_root", "/", "/");
	takes("cgroup_root", "/a.slice/b", "/a.slice/b");
	refuses("cgroup_root", "/a/");
	refuses("cgroup_root", "//");
	refuses("cgroup_root", "/a/../b");
	refuses("cgroup_root", "/sys/fs/cgroup/a");
	text[SF_PATH_LIMIT] = '\0';
	takes("cgroup_root", text, text);
	text[SF_PATH_LIMIT] = 'a';
	text[SF_PATH_LIMIT + 1] = '\0';
	refuses("cgroup_root", text);
}

static void port_lists(void **state)
{
	char text[1024] = "";

	(void)state;
	takes("ports", "25", "25");
	takes("ports", "1,65535", "1,65535");
	takes("ports", " 25 , 26,,27\t28 ", "25,26,27,28");
	takes("ports", "25,26,25,26", "25,26");
	takes("ports", "", "");
	assert_int_equal(policy.ports.count, 0);
	refuses("ports", "0");
	refuses("ports", "65536");
	refuses("ports", "-25");
	refuses("ports", "smtp");
	refuses("ports", "25-27");
	refuses("ports", "25,x");
	refuses("ports", "25;26");
	refuses("ports", "4294967321"); /* 25 in the low 32 bits, */
	refuses("ports", "65561");	/* and in the low 16 */
	for (int i = 1; i <= SF_PORT_LIST_MAX; i++)
		snprintf(text + strlen(text), 16, "%s%d", i > 1 ? "," : "", i);
	takes("ports", text, text);
	strcat(text, ",1"); /* again */
	assert_int_equal(sf_key_set(&policy, key("ports"), text, NULL), 0);
	strcat(text, ",999");
	refuses("ports", text);
}

static void name_lists(void **state)
{
	char text[SF_NAME_LIST_MAX * 65 + 80] = "", name[80];

	(void)state;
	takes("uplinks", "auto", "auto");
	takes("uplinks", "eth*, ens? ,veth-a.1", "eth*,ens?,veth-a.1");
	takes("customers", "", "");
	for (int i = 0; i < SF_NAME_LIST_MAX; i++)
		snprintf(text + strlen(text), 70, "%s%063d", i ? "," : "", i);
	takes("uplinks", text, text);
	strcat(text, ",a");
	refuses("uplinks", text);
	snprintf(name, sizeof(name), "%064d", 1);
	refuses("uplinks", name);
}

static void pairs(void **state)
{
	(void)state;
	for (size_t i = 0; i < sf_key_count; i++) {
		const char *name = sf_keys[i].name;

		if (sf_keys[i].type != SF_KEY_PAIR)
			continue;
		takes(name, "15,100", "15,100");
		takes(name, " 15 ,\t100 ", "15,100");
		takes(name, "7,7", "7,7");
		takes(name, "0,0", "0,0");
		takes(name, "0,5", "0,5"); /* 0 is no limit, not the smallest one */
		takes(name, "5,0", "5,0");
		takes(name, "1000000,1000000", "1000000,1000000");
		refuses(name, "");
		refuses(name, "15");
		refuses(name, "15,");
		refuses(name, "15,100,200");
		refuses(name, "101,100");
		refuses(name, "-1,100");
		refuses(name, "0,1000001");
		refuses(name, "1000001,0");
		refuses(name, "4294967311,4294967396");
		refuses(name, "15,x");
		refuses(name, "x,15");
		refuses(name, "15;100");
		refuses(name, "0x1,2");
		refuses(name, "\x1b[31m,1");
	}
	takes("limit_own", "3,4", "3,4");
	assert_int_equal(policy.limit_own.warn, 3);
	assert_int_equal(policy.limit_own.act, 4);
	assert_int_equal(policy.limit_source.warn, SF_LIMIT_MAX); /* its neighbour */
}

static void networks(void **state)
{
	char text[4096] = "";

	(void)state;
	takes("own_networks", "", "");
	takes("own_networks", "10.0.0.0/8", "10.0.0.0/8");
	takes("own_networks", "2001:DB8:0::/32, 192.0.2.1/32,,10.0.0.0/8",
	      "2001:db8::/32,192.0.2.1,10.0.0.0/8");
	assert_int_equal(policy.own_networks.count, 3);
	assert_int_equal(policy.own_networks.net[1].prefixlen, SF_NET_BITS_MAX);
	takes("own_networks", "10.0.0.1,10.0.0.1/32", "10.0.0.1"); /* the same one */
	refuses("own_networks", "10.0.0.1/8");
	refuses("own_networks", "10.0.0.0/8,x");
	refuses("own_networks", "10.0.0.0/33");
	refuses("own_networks", "::ffff:10.0.0.1");
	/* As many as there is room for, at their longest: what is read back is whole. */
	for (int i = 0; i < SF_NET_LIST_MAX; i++)
		snprintf(text + strlen(text), 64, "%s2001:db8:aaaa:bbbb:cccc:dddd:%x:8000/113",
			 i ? "," : "", i + 0x1000);
	takes("own_networks", text, text);
	strcat(text, ",10.0.0.1");
	refuses("own_networks", text);
}

static void what_follows_alarms(void **state)
{
	(void)state;
	takes("action_hook", "Critical", "critical");
	assert_int_equal(policy.action_hook, LOG_CRIT);
	takes("action_hook", "notice", "notice");
	assert_int_equal(policy.action_hook, LOG_NOTICE);
	takes("action_hook", "off", "off");
	assert_int_equal(policy.action_hook, SF_ACTION_OFF);
	refuses("action_hook", "yes");
	refuses("action_hook", "error");
	refuses("action_hook", "2");
	takes("hook", "/usr/local/sbin/x y", "/usr/local/sbin/x y");
	takes("hook", "", "");
	assert_string_equal(policy.hook, "");
	refuses("hook", "x");
	refuses("hook", "./x");
	takes("hook_user", "www-data", "www-data");
	takes("hook_user", "65534", "65534");
	refuses("hook_user", "root");
	refuses("hook_user", "0");
	refuses("hook_user", "00");
	refuses("hook_user", "a b");
	refuses("hook_user", "a:b");
	refuses("hook_user", "-a");
	refuses("hook_user", "a\n");
	refuses("hook_user", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
}

static void guesses(void **state)
{
	char longest[300];

	(void)state;
	assert_string_equal(sf_key_guess("port"), "ports");
	assert_string_equal(sf_key_guess("PORTS"), "ports");
	assert_string_equal(sf_key_guess("fw_output_mta"), "FW_OUTPUT_MTA");
	assert_string_equal(sf_key_guess("FW_OUTPUT_MTTA"), "FW_OUTPUT_MTA");
	assert_string_equal(sf_key_guess("alow_user"), "allow_user");
	assert_string_equal(sf_key_guess("quarantine_usr"), "quarantine_user");
	assert_string_equal(sf_key_guess("watchports"), "watch_ports");
	assert_null(sf_key_guess("something_else_entirely"));
	assert_null(sf_key_guess("\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\xf6"));
	memset(longest, 'x', sizeof(longest) - 1);
	for (size_t n = sizeof(longest) - 1; n > 30; n--) {
		longest[n] = '\0';
		assert_null(sf_key_guess(longest));
	}
	sf_key_guess("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_table, fresh),
		cmocka_unit_test_setup(modes_and_words, fresh),
		cmocka_unit_test_setup(numbers, fresh),
		cmocka_unit_test_setup(paths, fresh),
		cmocka_unit_test_setup(port_lists, fresh),
		cmocka_unit_test_setup(name_lists, fresh),
		cmocka_unit_test_setup(pairs, fresh),
		cmocka_unit_test_setup(networks, fresh),
		cmocka_unit_test_setup(what_follows_alarms, fresh),
		cmocka_unit_test_setup(guesses, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
