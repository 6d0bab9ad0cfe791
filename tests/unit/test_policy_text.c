// SPDX-License-Identifier: GPL-2.0-only
/* What is written back is read as the same policy: every key, every entry, every byte. */
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
#include "../../user/config.h"
#include "../../user/policy_text.h"

static char main_file[PATH_MAX];

static int with_main_file(void **state)
{
	(void)state;
	if (tree_setup(state))
		return -1;
	tree_file("/main.conf", "\n");
	snprintf(main_file, sizeof(main_file), "%s/main.conf", tree_root);
	return 0;
}

static struct sf_entry entry_of(enum sf_entry_kind kind, const char *value)
{
	struct sf_entry e = {.kind = kind, .managed = 1};

	snprintf(e.value, sizeof(e.value), "%s", value);
	assert_int_equal(sf_entry_resolve(&e, NULL), 0);
	return e;
}

static void put(struct sf_policy *policy, struct sf_entry *entry, const char *comment)
{
	snprintf(entry->comment, sizeof(entry->comment), "%s", comment);
	assert_int_equal(sf_policy_put(policy, entry), 0);
}

static int same_text(const char *a, const char *b)
{
	return (!a && !b) || (a && b && !strcmp(a, b));
}

static void assert_same_entry(const struct sf_entry *a, const struct sf_entry *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_string_equal(a->value, b->value);
	assert_string_equal(a->comment, b->comment);
	assert_int_equal(a->port_count, b->port_count);
	assert_memory_equal(a->ports, b->ports, sizeof(a->ports));
	assert_int_equal(a->user_count, b->user_count);
	assert_memory_equal(a->users, b->users, sizeof(a->users));
	assert_true(same_text(a->user_names, b->user_names));
	assert_int_equal(a->warn, b->warn);
	assert_int_equal(a->act, b->act);
	assert_int_equal(a->expires, b->expires);
	assert_int_equal(a->id, b->id);
	assert_memory_equal(&a->net, &b->net, sizeof(a->net));
	assert_int_equal(a->managed, b->managed);
}

/* Write, read, and compare; and what is read is written as the same text. */
static void round_trip(const struct sf_policy *policy)
{
	char *text = sf_managed_text(policy, 0), *again;
	struct sf_policy back;
	struct sf_error err;

	assert_non_null(text);
	if (sf_managed_check(main_file, text, 0, &back, &err))
		fail_msg("%s\n--\n%s", err.text, text);
	assert_int_equal(back.entry_count, policy->entry_count);
	for (size_t i = 0; i < back.entry_count; i++)
		assert_same_entry(&policy->entries[i], &back.entries[i]);
	assert_int_equal(back.managed_keys, policy->managed_keys);
	for (size_t k = 0; k < sf_key_count; k++) {
		char one[4096], other[4096];

		sf_key_get(policy, &sf_keys[k], one, sizeof(one));
		sf_key_get(&back, &sf_keys[k], other, sizeof(other));
		assert_string_equal(one, other);
	}
	again = sf_managed_text(&back, 0);
	assert_string_equal(text, again);
	free(again);
	free(text);
	sf_policy_free(&back);
}

static void every_kind_of_entry(void **state)
{
	static const char *const values[SF_ENTRY_KINDS] = {
		[SF_ENTRY_MAIL] = "/system.slice/a b\"\\$x{}#.service",
		[SF_ENTRY_FENCE] = "/",
		[SF_ENTRY_EXEMPT] = "/\xff\x01\n/\xe6\xbc\xa2",
		[SF_ENTRY_ALLOW_USER] = "root",
		[SF_ENTRY_ALLOW_GROUP] = "4294967294",
		[SF_ENTRY_ALLOW_NET] = "0.0.0.0/0",
		[SF_ENTRY_ALLOW_HOST] = "relay.example",
		[SF_ENTRY_ALLOW_SOURCE] = "192.0.2.0/24",
		[SF_ENTRY_CUSTOMER] = "veth$[0-9]*",
		[SF_ENTRY_QUARANTINE_USER] = "12345",
		[SF_ENTRY_QUARANTINE_CGROUP] = "/'${HOME}'",
		[SF_ENTRY_QUARANTINE_NET] = "2001:db8::/64",
		[SF_ENTRY_LIMIT_USER] = "12345",
		[SF_ENTRY_LIMIT_CGROUP] = "/a\"b",
		[SF_ENTRY_LIMIT_NET] = "10.0.0.0/8",
	};
	struct sf_policy policy;

	(void)state;
	sf_policy_init(&policy);
	round_trip(&policy);
	for (int k = 0; k < SF_ENTRY_KINDS; k++) {
		struct sf_entry e = entry_of((enum sf_entry_kind)k, values[k]);

		if (k >= SF_ENTRY_ALLOW_USER && k <= SF_ENTRY_ALLOW_HOST) {
			for (e.port_count = 0; e.port_count < SF_GRANTS_MAX; e.port_count++)
				e.ports[e.port_count] = (uint16_t)(65535 - e.port_count);
			e.expires = 4102444799 + k;
		}
		if (k >= SF_ENTRY_LIMIT_USER) {
			e.warn = (uint32_t)(k - SF_ENTRY_LIMIT_USER); /* 0 too */
			e.act = SF_LIMIT_MAX;
		} else if (k >= SF_ENTRY_QUARANTINE_USER) {
			e.expires = 1 + k;
		}
		put(&policy, &e, "why");
	}
	round_trip(&policy);
	sf_policy_free(&policy);
}

static void users_of_a_mail_server(void **state)
{
	struct sf_policy policy;
	struct sf_entry e = {.kind = SF_ENTRY_MAIL, .managed = 1, .value = "/a"};

	(void)state;
	sf_policy_init(&policy);
	/* As they were written: a name stays a name. */
	e.user_names = strdup("root,4294967294,12");
	assert_int_equal(sf_entry_resolve(&e, NULL), 0);
	assert_int_equal(e.user_count, 3);
	put(&policy, &e, "");
	round_trip(&policy);
	sf_policy_free(&policy);
}

static void every_key(void **state)
{
	static const struct {
		const char *key, *value;
	} values[] = {
		{"FW_OUTPUT_MTA", "yes"},
		{"ports", ""},
		{"watch_ports", "26,27,65535"},
		{"allow_local", "no"},
		{"errno", "ECONNREFUSED"},
		{"detect_mail", "no"},
		{"resolve_interval", "86400"},
		{"alert_denied", "1000000"},
		{"alert_window", "3600"},
		{"alert_cooldown", "0"},
		{"alert_hour", "0,7"},
		{"alert_distinct", "0"},
		{"limit_source", "1,2"},
		{"limit_own", "2,2"},
		{"limit_local", "3,0"},
		{"limit_relay", "0,4"},
		{"limit_loopback", "0,0"},
		{"limit_sender", "5,1000000"},
		{"limit_mail", "6,7"},
		{"own_networks", "10.0.0.0/8,2001:db8::/32,192.0.2.1"},
		{"history_days", "1"},
		{"history_max_mb", "100000"},
		{"action_syslog", "off"},
		{"action_journald", "notice"},
		{"action_hook", "off"},
		{"action_quarantine", "critical"},
		{"action_dry_run", "yes"},
		{"hook", "/a b/\"\\$\xff"},
		{"hook_user", "a$b\\c"},
		{"hook_timeout", "600"},
		{"quarantine_time", "60"},
		{"quarantine_permanent", "0"},
		{"max_roles", "1048576"},
		{"max_sources", "4194304"},
		{"max_senders", "64"},
		{"ipv6_prefix", "16"},
		{"uplinks", "eth*,e\"t$h'\\,\xff\x01{#}"},
		{"customers", "veth[0-9]"},
		{"mail_hosts", "192.0.2.25/32,2001:db8::19"},
		{"gateway_hook", "generic"},
		{"gateway_answer", "reset"},
		{"gateway_limit", "quarantine"},
		{"gateway_others", "deny"},
		{"guard_hosts", "192.0.2.25/32,2001:db8::19"},
		{"guard_filters", "198.51.100.0/28"},
		{"guard_ports", "25,587"},
		{"guard_limit", "300"},
	};
	struct sf_policy policy;
	size_t k;

	(void)state;
	sf_policy_init(&policy);
	for (k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
		assert_false(sf_keys[k].fixed);
		assert_string_equal(sf_keys[k].name, values[k].key);
		assert_int_equal(sf_key_set(&policy, &sf_keys[k], values[k].value, NULL), 0);
		policy.managed_keys |= 1ULL << k;
		round_trip(&policy);
	}
	for (; k < sf_key_count; k++)
		assert_true(sf_keys[k].fixed); /* a new key needs a value above */
	sf_policy_free(&policy);
}

/* Comments come from the command line, and so from scripts that were handed anything. */
static void hostile_comments(void **state)
{
	static const char *const comments[] = {
		"\"",
		"\\",
		"\"\"\"",
		"\\\"",
		"\\\\",
		"a\\",
		"'",
		"' }",
		"\" }\nmail \"/\" {\n}\n",
		"${HOME}",
		"$",
		"${",
		"$${PATH}",
		"\n",
		"\r\n",
		"\t",
		" ",
		"  a  ",
		"#",
		"//",
		"/*",
		"*/",
		"a # b",
		"{}",
		"}",
		"{",
		"=",
		"+=",
		",",
		"()",
		"\x01\x02\x7f",
		"\x1b[31m",
		"\xff\xfe\x80",
		"\xc3",
		"\xc3\xbc",
		"\xe2\x80\xae",
		"%s%n%d",
		"\\x41",
		"\\101",
		"\\n",
		"0x",
		"\x0a"
		"bcdef",
		"\xff"
		"f",
		"`id`",
		"$(id)",
		"!",
		"&",
		";",
		"|",
		"~",
	};
	struct sf_policy policy;
	char all[SF_COMMENT_MAX], longest[SF_COMMENT_MAX];
	uint32_t seed = 3;

	(void)state;
	sf_policy_init(&policy);
	for (size_t i = 0; i < sizeof(comments) / sizeof(comments[0]); i++) {
		char value[32];
		struct sf_entry e;

		snprintf(value, sizeof(value), "%zu", i + 1);
		e = entry_of(SF_ENTRY_ALLOW_USER, value);
		put(&policy, &e, comments[i]);
	}
	round_trip(&policy);
	for (int i = 1; i < 256; i++)
		all[i - 1] = (char)i;
	all[255] = '\0';
	struct sf_entry e = entry_of(SF_ENTRY_ALLOW_NET, "10.0.0.1");
	put(&policy, &e, all);
	memset(longest, '\xff', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	e = entry_of(SF_ENTRY_ALLOW_NET, "10.0.0.2");
	put(&policy, &e, longest);
	round_trip(&policy);
	for (int round = 0; round < 300; round++) {
		for (size_t i = 0; i < sizeof(all) - 1; i++) {
			seed = seed * 1664525 + 1013904223;
			all[i] = seed >> 31 ? "\"\\$'{}\n#/*x0a"[(seed >> 20) % 13]
					    : (char)(1 + (seed >> 16) % 255);
		}
		e = entry_of(SF_ENTRY_ALLOW_NET, "10.0.0.1");
		put(&policy, &e, all);
		round_trip(&policy);
	}
	sf_policy_free(&policy);
}

/* The record of what was applied: a whole policy, read as an administrator's file. */
static void the_whole_policy(void **state)
{
	struct sf_policy policy, back;
	struct sf_error err = {.code = 0};
	struct sf_entry e;
	char *text, *again;

	(void)state;
	sf_policy_init(&policy);
	assert_int_equal(sf_key_set(&policy, &sf_keys[sf_key_find("state_dir")], "/a b#\"$", NULL),
			 0);
	e = entry_of(SF_ENTRY_ALLOW_USER, "root");
	e.managed = 0;
	e.expires = 5; /* over, but it is a record */
	put(&policy, &e, "by hand");
	text = sf_policy_text(&policy);
	tree_file("/whole.conf", text);
	assert_int_equal(sf_config_load_with(tree_path("/whole.conf"), "/nonexistent", &back, &err),
			 0);
	assert_string_equal(back.state_dir, "/a b#\"$");
	assert_int_equal(back.entry_count, 1);
	assert_same_entry(&policy.entries[0], &back.entries[0]);
	again = sf_policy_text(&back);
	assert_string_equal(text, again);
	free(text);
	free(again);
	sf_policy_free(&policy);
	sf_policy_free(&back);
}

static void what_the_commands_keep(void **state)
{
	struct sf_policy policy, back;
	struct sf_error err = {.code = 0};
	struct sf_entry e;
	char *text;

	(void)state;
	sf_policy_init(&policy);
	e = entry_of(SF_ENTRY_ALLOW_USER, "1");
	e.managed = 0;
	put(&policy, &e, "the administrator's");
	for (int64_t end = 99; end <= 101; end++) {
		char value[32];

		snprintf(value, sizeof(value), "%d", (int)end);
		e = entry_of(SF_ENTRY_ALLOW_USER, value);
		e.expires = end;
		put(&policy, &e, "");
	}
	text = sf_managed_text(&policy, 100);
	assert_int_equal(sf_managed_check(main_file, text, 0, &back, &err), 0);
	assert_int_equal(back.entry_count, 1);
	assert_string_equal(back.entries[0].value, "101");
	assert_int_equal(back.managed_keys, 0);
	free(text);
	sf_policy_free(&policy);
	sf_policy_free(&back);
	/* The validator is the file's: what it refuses, leaves nothing behind. */
	assert_int_not_equal(sf_managed_check(main_file, "state_dir = /a\n", 0, &back, &err), 0);
	assert_int_not_equal(sf_managed_check(main_file, "mail /a {", 0, &back, &err), 0);
	assert_true(err.is_usage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_entry), cmocka_unit_test(users_of_a_mail_server),
		cmocka_unit_test(every_key),	       cmocka_unit_test(hostile_comments),
		cmocka_unit_test(the_whole_policy),    cmocka_unit_test(what_the_commands_keep),
	};

	return cmocka_run_group_tests(tests, with_main_file, tree_teardown);
}
