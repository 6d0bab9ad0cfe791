// SPDX-License-Identifier: GPL-2.0-only
/* The census' limits in the image: which one holds for a sender, which for a source. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "image_lab.h"

static struct sf_entry *limited(enum sf_entry_kind kind, const char *value, uint32_t warn,
				uint32_t act)
{
	struct sf_entry *e = entry(kind, value, 0, NULL);

	e->warn = warn;
	e->act = act;
	return e;
}

static void limits_of_senders(void **state)
{
	const struct sf_role *role;
	const struct sf_sender *s;

	(void)state;
	policy.allow_local = 0;
	limited(SF_ENTRY_LIMIT_USER, "7", 5, 20);
	build(NULL);
	s = sender_of(SF_SENDER_USER, 7);
	assert_non_null(s);
	assert_int_equal(s->limited, 1);
	assert_int_equal(s->warn, 5);
	assert_int_equal(s->act, 20);
	assert_int_equal(s->quarantine_until_ns, 0);
	assert_int_equal(s->allowed.count, 0);
	/* connect() need not look at a table that only holds limits. */
	assert_int_equal(image.settings.flags, 0);
	sf_image_free(&image);

	/* One row for all that is said of a user, a path. 0 and 0 is a limit too: none. */
	entry(SF_ENTRY_ALLOW_USER, "7", 0, PORTS(25));
	entry(SF_ENTRY_QUARANTINE_USER, "8", 5, NULL);
	limited(SF_ENTRY_LIMIT_USER, "8", 0, 0);
	limited(SF_ENTRY_LIMIT_USER, "12345", 1, 1);
	policy.entries[policy.entry_count - 1].unresolved = 1;
	entry(SF_ENTRY_MAIL, "/m", 0, NULL);
	limited(SF_ENTRY_LIMIT_CGROUP, "/m", 50, 60);
	entry(SF_ENTRY_QUARANTINE_CGROUP, "/q", 0, NULL);
	limited(SF_ENTRY_LIMIT_CGROUP, "/q", 0, 3);
	limited(SF_ENTRY_LIMIT_CGROUP, "/l", 1, 0);
	entry(SF_ENTRY_FENCE, "/f", 0, NULL);
	entry(SF_ENTRY_QUARANTINE_CGROUP, "/m", -1, NULL); /* over */
	build(NULL);
	assert_int_equal(image.settings.flags, SF_SETTING_SENDERS);
	assert_int_equal(rows(SF_IMAGE_SENDERS), 2);
	s = sender_of(SF_SENDER_USER, 7);
	assert_int_equal(s->limited, 1);
	assert_int_equal(s->act, 20);
	assert_true(sf_grants_hold(&s->allowed, 25, BOOT_NS));
	s = sender_of(SF_SENDER_USER, 8);
	assert_int_equal(s->limited, 1);
	assert_int_equal(s->act, 0);
	assert_int_equal(s->quarantine_until_ns, BOOT_NS + 5000000000);
	assert_int_equal(rows(SF_IMAGE_ROLE_PATHS), 4);
	role = role_of("/m");
	assert_int_equal(role->kind, SF_ROLE_MAIL);
	assert_int_equal(role->limited, 1);
	assert_int_equal(role->warn, 50);
	assert_int_equal(role->act, 60);
	assert_int_equal(role->quarantine_until_ns, 0);
	role = role_of("/q");
	assert_int_equal(role->kind, SF_ROLE_NONE);
	assert_int_equal(role->quarantine_until_ns, SF_NEVER);
	assert_int_equal(role->limited, 1);
	assert_int_equal(role->act, 3);
	role = role_of("/l");
	assert_int_equal(role->kind, SF_ROLE_NONE);
	assert_int_equal(role->quarantine_until_ns, 0);
	assert_int_equal(role->limited, 1);
	assert_int_equal(role_of("/f")->limited, 0);
	sf_image_free(&image);
}

/* What the census would find for a source, cut as it cuts it. */
static const struct sf_limit *source(const char *address)
{
	const struct sf_limit *found;
	struct sf_net_key key;

	assert_int_equal(sf_net_parse(address, &key, NULL), 0);
	for (size_t i = 0; key.family == SF_FAMILY_V6 && i < 16; i++)
		key.addr.b[i] &= ((const uint8_t *)image.census.v6_mask)[i];
	found = longest(SF_IMAGE_SOURCE_LIMITS, &key);
	return found ? found : &image.census.unknown;
}

static void source_is(const char *address, enum sf_class class, uint32_t warn, uint32_t act)
{
	const struct sf_limit *limit = source(address);

	if (limit->class != class || limit->warn != warn || limit->act != act)
		fail_msg("%s: class %u, %u, %u", address, limit->class, limit->warn, limit->act);
}

static void set(const char *key, const char *value)
{
	assert_int_equal(sf_key_set(&policy, &sf_keys[sf_key_find(key)], value, NULL), 0);
}

static void census_settings(void **state)
{
	static const uint8_t halves[16] = {255, 255, 255, 255, 255, 255, 255, 255};
	static const uint8_t odd[16] = {255, 255, 255, 255, 255, 255, 0xfe};
	uint8_t all[16];

	(void)state;
	memset(all, 255, sizeof(all));
	set("limit_source", "1,2");
	set("limit_sender", "3,4");
	set("limit_mail", "5,6");
	build(NULL);
	assert_int_equal(image.census.abi, SF_ABI_VERSION);
	assert_memory_equal(image.census.v6_mask, halves, 16);
	assert_int_equal(image.census.unknown.class, SF_CLASS_UNKNOWN);
	assert_int_equal(image.census.unknown.warn, 1);
	assert_int_equal(image.census.unknown.act, 2);
	assert_int_equal(image.census.user.class, SF_CLASS_USER);
	assert_int_equal(image.census.user.act, 4);
	assert_int_equal(image.census.mail.class, SF_CLASS_MAIL);
	assert_int_equal(image.census.mail.warn, 5);
	/* The census keeps these itself. */
	assert_true(!image.census.seed && !image.census.limits && !image.census.boot_offset_ns &&
		    !image.census.wall_offset_s);
	sf_image_free(&image);
	set("ipv6_prefix", "55");
	build(NULL);
	assert_memory_equal(image.census.v6_mask, odd, 16);
	sf_image_free(&image);
	set("ipv6_prefix", "128");
	build(NULL);
	assert_memory_equal(image.census.v6_mask, all, 16);
	sf_image_free(&image);
}

static void limits_of_sources(void **state)
{
	struct sf_host_address address = {.name = "relay.example"};
	const struct sf_hosts hosts = {.address = &address, .count = 1};

	(void)state;
	sf_net_parse("203.0.113.9", &address.net, NULL);
	set("own_networks", "100.64.0.0/10,2001:db8:1::/48,198.51.100.7,100.127.0.0/16");
	entry(SF_ENTRY_ALLOW_NET, "192.0.2.0/24", 0, NULL);
	entry(SF_ENTRY_ALLOW_NET, "100.64.1.0/24", 0, NULL);
	entry(SF_ENTRY_ALLOW_NET, "198.51.100.7", 0, NULL);
	entry(SF_ENTRY_ALLOW_NET, "0.0.0.0/0", 0, PORTS(587)); /* the world is no relay */
	entry(SF_ENTRY_ALLOW_NET, "::/0", 0, PORTS(587));
	entry(SF_ENTRY_ALLOW_NET, "192.0.3.1", -1, NULL); /* over */
	entry(SF_ENTRY_ALLOW_HOST, "relay.example", 0, NULL);
	limited(SF_ENTRY_LIMIT_NET, "100.64.2.0/24", 7, 8);
	limited(SF_ENTRY_LIMIT_NET, "100.127.0.0/16", 0, 0);
	limited(SF_ENTRY_LIMIT_NET, "2001:db8:1:5::/64", 9, 10);
	build(&hosts);
	source_is("8.8.8.8", SF_CLASS_UNKNOWN, 15, 100);
	source_is("2001:db8:2::1", SF_CLASS_UNKNOWN, 15, 100);
	source_is("127.0.0.1", SF_CLASS_LOOPBACK, 1000, 3000);
	source_is("127.255.0.9", SF_CLASS_LOOPBACK, 1000, 3000);
	source_is("128.0.0.1", SF_CLASS_UNKNOWN, 15, 100);
	source_is("::1", SF_CLASS_LOOPBACK, 1000, 3000);
	source_is("100.64.0.1", SF_CLASS_OWN, 15, 100);
	source_is("100.63.255.255", SF_CLASS_UNKNOWN, 15, 100);
	source_is("100.64.1.1", SF_CLASS_RELAY, 300, 1000); /* nearer than the own network */
	source_is("100.64.2.1", SF_CLASS_NAMED, 7, 8);
	source_is("100.127.3.1", SF_CLASS_NAMED, 0, 0);	  /* as long as the own network */
	source_is("198.51.100.7", SF_CLASS_OWN, 15, 100); /* own before relay */
	source_is("192.0.2.77", SF_CLASS_RELAY, 300, 1000);
	source_is("192.0.3.1", SF_CLASS_UNKNOWN, 15, 100);
	source_is("203.0.113.9", SF_CLASS_RELAY, 300, 1000);
	source_is("2001:db8:1:4::1", SF_CLASS_OWN, 15, 100);
	source_is("2001:db8:1:5::1", SF_CLASS_NAMED, 9, 10);
	sf_image_free(&image);
	/* Everything may have a limit of its own, where that is said. */
	limited(SF_ENTRY_LIMIT_NET, "0.0.0.0/0", 1, 2);
	limited(SF_ENTRY_LIMIT_NET, "127.0.0.0/8", 3, 4);
	build(NULL);
	source_is("8.8.8.8", SF_CLASS_NAMED, 1, 2);
	source_is("127.0.0.1", SF_CLASS_NAMED, 3, 4);
	source_is("203.0.113.9", SF_CLASS_NAMED, 1, 2); /* the host's addresses are not known */
	source_is("2001:db8:2::1", SF_CLASS_UNKNOWN, 15, 100);
	sf_image_free(&image);
}

/* Sources are counted by their /64: what is longer must be entered so, or it would match none. */
static void longer_than_what_is_counted(void **state)
{
	(void)state;
	set("own_networks", "2001:db8:1::5,2001:db8:3::/96");
	set("limit_own", "21,22");
	entry(SF_ENTRY_ALLOW_NET, "2001:db8:1::/120", 0, NULL);
	entry(SF_ENTRY_ALLOW_NET, "2001:db8:2::7", 0, NULL);
	limited(SF_ENTRY_LIMIT_NET, "2001:db8:3::9", 1, 2);
	build(NULL);
	source_is("2001:db8:1::ffff:1", SF_CLASS_OWN, 21, 22);
	source_is("2001:db8:2::8", SF_CLASS_RELAY, 300, 1000);
	source_is("2001:db8:2:1::8", SF_CLASS_UNKNOWN, 15, 100);
	source_is("2001:db8:3::1", SF_CLASS_NAMED, 1, 2);
	for (size_t i = 0; i < rows(SF_IMAGE_SOURCE_LIMITS); i++) {
		const struct sf_net_key *net =
			sf_table_key(&image.table[SF_IMAGE_SOURCE_LIMITS], i);

		assert_true(net->family == SF_FAMILY_V4 ||
			    net->prefixlen <= SF_NET_FAMILY_BITS + 64);
	}
	sf_image_free(&image);
	set("ipv6_prefix", "128");
	build(NULL);
	source_is("2001:db8:1::5", SF_CLASS_OWN, 21, 22);
	source_is("2001:db8:1::6", SF_CLASS_RELAY, 300, 1000);
	source_is("2001:db8:2::8", SF_CLASS_UNKNOWN, 15, 100);
	source_is("2001:db8:3::9", SF_CLASS_NAMED, 1, 2);
	source_is("2001:db8:3::8", SF_CLASS_OWN, 21, 22);
	source_is("::1", SF_CLASS_LOOPBACK, 1000, 3000);
	source_is("::2", SF_CLASS_UNKNOWN, 15, 100);
	sf_image_free(&image);
}

/* Rebuilt alone from addresses that are given; as the daemon does when they change. */
static void only_the_sources(void **state)
{
	static const struct sf_addr addresses[] = {
		{.b = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}},
		{.b = {[10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 2, [15] = 5}},
		{.b = {[10] = 0xff, [11] = 0xff, [12] = 100, [13] = 64, [14] = 0, [15] = 5}},
		{.b = {[15] = 1}},
		{.b = {0x20, 0x01, 0x0d, 0xb8, 0, 1, [15] = 7}},
	};
	const uint8_t one = 1;

	(void)state;
	set("own_networks", "192.0.2.0/24,100.64.0.5");
	sf_image_init(&image);
	memset(image.census.v6_mask, 255, 8);
	image.census.unknown = (struct sf_limit){.warn = 15, .act = 100};
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
		assert_int_equal(
			sf_table_add(&image.table[SF_IMAGE_LOCAL_ADDRS], &addresses[i], &one), 0);
	assert_int_equal(sf_table_sort(&image.table[SF_IMAGE_LOCAL_ADDRS]), 0);
	assert_int_equal(sf_image_source_limits(&policy, NULL, &now, &image), 0);
	source_is("127.0.0.1", SF_CLASS_LOOPBACK, 1000, 3000); /* the host's own too */
	source_is("::1", SF_CLASS_LOOPBACK, 1000, 3000);
	source_is("192.0.2.5", SF_CLASS_LOCAL, 300, 1000);
	source_is("192.0.2.6", SF_CLASS_OWN, 15, 100);
	source_is("100.64.0.5", SF_CLASS_OWN, 15, 100); /* own before local */
	source_is("2001:db8:1::1", SF_CLASS_LOCAL, 300, 1000);
	source_is("8.8.8.8", SF_CLASS_UNKNOWN, 15, 100);
	assert_int_equal(rows(SF_IMAGE_SOURCE_LIMITS), 6);
	sf_image_free(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(limits_of_senders),	   TEST(census_settings),  TEST(limits_of_sources),
		TEST(longer_than_what_is_counted), TEST(only_the_sources),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
