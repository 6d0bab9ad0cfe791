// SPDX-License-Identifier: GPL-2.0-only
/* Addresses of host names: what is kept, what is dropped, and what a damaged file may do: nothing.
 */
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
#include "../../user/hosts.h"

static struct sf_hosts hosts;
static struct sf_policy policy;
static struct sf_error err;

static int fresh(void **state)
{
	(void)state;
	memset(&hosts, 0, sizeof(hosts));
	sf_policy_init(&policy);
	return 0;
}

static int done(void **state)
{
	(void)state;
	sf_hosts_free(&hosts);
	sf_policy_free(&policy);
	return 0;
}

/* Numbers need no resolver, and are looked up like names. */
static void see(const char *name, int64_t when)
{
	assert_int_equal(sf_hosts_look_up(&hosts, name, when, &err), 0);
}

static void allow(const char *name)
{
	struct sf_entry e = {.kind = SF_ENTRY_ALLOW_HOST};

	snprintf(e.value, sizeof(e.value), "%s", name);
	assert_int_equal(sf_policy_append(&policy, &e), 0);
}

/* All hosts as "name address seen" lines, as they stand in the file. */
static void load(const char *text, const char *wanted)
{
	char seen[4096] = "", address[64];

	sf_hosts_free(&hosts);
	tree_file("/hosts", text);
	assert_int_equal(sf_hosts_load(tree_root, &hosts), 0);
	for (size_t i = 0; i < hosts.count; i++) {
		sf_net_format(&hosts.address[i].net, address, sizeof(address));
		snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%s %s %lld\n",
			 hosts.address[i].name, address, (long long)hosts.address[i].seen);
	}
	assert_string_equal(seen, wanted);
}

static void looked_up(void **state)
{
	(void)state;
	see("192.0.2.1", 100);
	see("2001:db8::1", 100);
	see("192.0.2.1", 105);
	assert_int_equal(hosts.count, 2);
	assert_int_equal(hosts.address[0].seen, 105);
	assert_int_equal(hosts.address[0].net.family, SF_FAMILY_V4);
	assert_int_equal(hosts.address[0].net.prefixlen, SF_NET_BITS_MAX);
	assert_int_equal(hosts.address[1].net.family, SF_FAMILY_V6);
	assert_true(sf_hosts_know(&hosts, "192.0.2.1"));
	assert_false(sf_hosts_know(&hosts, "192.0.2.2"));
	/* What does not resolve leaves what is known. */
	assert_int_equal(sf_hosts_look_up(&hosts, "fe80::1%no-such-if", 110, &err), -ENOENT);
	assert_non_null(strstr(err.text, "does not resolve"));
	assert_int_equal(sf_hosts_look_up(&hosts, "fe80::1%no-such-if", 110, NULL), -ENOENT);
	assert_int_equal(hosts.count, 2);
}

static void kept_and_read(void **state)
{
	struct sf_hosts back;

	(void)state;
	assert_int_equal(sf_hosts_load(tree_path("/absent"), &back), 0);
	assert_int_equal(back.count, 0);
	for (int i = 0; i < 100; i++) {
		char name[32];

		snprintf(name, sizeof(name), "192.0.2.%d", i);
		see(name, 1000 + i);
	}
	see("2001:db8::1", 7);
	assert_int_equal(sf_hosts_save(tree_path("/kept"), &hosts, &err), 0);
	assert_int_equal(sf_hosts_load(tree_path("/kept"), &back), 0);
	assert_int_equal(back.count, hosts.count);
	for (size_t i = 0; i < back.count; i++) {
		assert_string_equal(back.address[i].name, hosts.address[i].name);
		assert_memory_equal(&back.address[i].net, &hosts.address[i].net,
				    sizeof(back.address[i].net));
		assert_int_equal(back.address[i].seen, hosts.address[i].seen);
	}
	sf_hosts_free(&back);
	assert_int_equal(sf_hosts_save("/proc/nowhere", &hosts, &err) < 0, 1);
}

static void damaged_files(void **state)
{
	char text[2000];

	(void)state;
	load("", "");
	load("a 192.0.2.1 100\nb 2001:db8::1 200\n", "a 192.0.2.1 100\nb 2001:db8::1 200\n");
	load("a 192.0.2.1 100\na 192.0.2.1 300\n", "a 192.0.2.1 300\n");
	load("\n\na\na 192.0.2.1\na 192.0.2.1 x\na x 5\na 192.0.2.256 5\nb 192.0.2.1 6\n",
	     "b 192.0.2.1 6\n");
	/* A network would allow more than the host. */
	load("a 0.0.0.0/0 100\na ::/0 100\na 192.0.2.0/31 100\na 192.0.2.1/32 100\n",
	     "a 192.0.2.1 100\n");
	load("a ::ffff:192.0.2.1 100\n", "");
	/* Cut in the middle of a number: not 17, but nothing. */
	load("a 192.0.2.1 100\na 192.0.2.2 17", "a 192.0.2.1 100\n");
	load("a 192.0.2.1 -5\na 192.0.2.1 -9223372036854775808\n", "");
	/* What stands at the end of a line that is too long is no line of its own. */
	memset(text, 'x', sizeof(text));
	for (size_t n = 370; n < 400; n++) {
		strcpy(text + n, " a 192.0.2.1 100\nb 192.0.2.2 100\n");
		load(text, "b 192.0.2.2 100\n");
		memset(text, 'x', sizeof(text));
	}
	memset(text + 256, ' ', sizeof(text) - 256);
	for (size_t n = 366; n < 384; n++) {
		strcpy(text + n, "a 192.0.2.1 100\nb 192.0.2.2 100\n");
		load(text, "b 192.0.2.2 100\n");
		memset(text + 256, ' ', sizeof(text) - 256);
	}
	tree_bytes("/hosts", "a 192.0\0.2.1 100\nb 192.0.2.2 100\n\0\0\0\n", 38);
	sf_hosts_free(&hosts);
	assert_int_equal(sf_hosts_load(tree_root, &hosts), 0);
	assert_int_equal(hosts.count, 1);
}

static void pruned(void **state)
{
	(void)state;
	allow("a");
	allow("b");
	load("a 192.0.2.1 10000\na 192.0.2.2 6400\na 192.0.2.3 6399\nb 192.0.2.3 5\n"
	     "gone 192.0.2.1 10000\na 2001:db8::1 10000\n",
	     "a 192.0.2.1 10000\na 192.0.2.2 6400\na 192.0.2.3 6399\nb 192.0.2.3 5\n"
	     "gone 192.0.2.1 10000\na 2001:db8::1 10000\n");
	sf_hosts_prune(&hosts, &policy);
	/* b was not looked up for long, but nothing newer is known of it. */
	assert_int_equal(hosts.count, 4);
	assert_int_equal(hosts.address[1].seen, 10000 - SF_HOST_KEEP);
	assert_string_equal(hosts.address[2].name, "b");
	assert_string_equal(hosts.address[3].name, "a");
	assert_false(sf_hosts_know(&hosts, "gone"));
	sf_hosts_prune(&hosts, &policy);
	assert_int_equal(hosts.count, 4);
	/* The newest of a name is found wherever it stands. */
	load("a 192.0.2.1 5\na 192.0.2.2 6\na 192.0.2.3 9000\na 192.0.2.4 7\n",
	     "a 192.0.2.1 5\na 192.0.2.2 6\na 192.0.2.3 9000\na 192.0.2.4 7\n");
	sf_hosts_prune(&hosts, &policy);
	assert_int_equal(hosts.count, 1);
	assert_int_equal(hosts.address[0].seen, 9000);
}

/* Seen while the clock was years ahead: what is seen now must not be taken for old. */
static void a_clock_that_was_ahead(void **state)
{
	(void)state;
	allow("192.0.2.1");
	load("192.0.2.1 192.0.2.7 99999999999\n", "192.0.2.1 192.0.2.7 99999999999\n");
	see("192.0.2.1", 1000000);
	sf_hosts_prune(&hosts, &policy);
	assert_int_equal(hosts.count, 2);
	see("192.0.2.1", 1000000 + SF_HOST_KEEP + 1);
	sf_hosts_prune(&hosts, &policy);
	assert_int_equal(hosts.count, 1);
	assert_int_equal(hosts.address[0].net.addr.b[15], 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, done)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(looked_up), TEST(kept_and_read),	       TEST(damaged_files),
		TEST(pruned),	 TEST(a_clock_that_was_ahead),
	};

	return cmocka_run_group_tests(tests, tree_setup, tree_teardown);
}
