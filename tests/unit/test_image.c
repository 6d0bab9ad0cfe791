// SPDX-License-Identifier: GPL-2.0-only
/* The image against the policy itself: settings, ends, senders, roles, hosts. */
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

static void settings_and_ports(void **state)
{
	struct sf_port_word word;

	(void)state;
	assert_int_equal(
		sf_key_set(&policy, &sf_keys[sf_key_find("ports")], "1,63,64,25,65535", NULL), 0);
	policy.mode = SF_MODE_ENFORCE;
	policy.deny_errno = EACCES;
	build(NULL);
	assert_int_equal(image.settings.abi, SF_ABI_VERSION);
	assert_int_equal(image.settings.mode, SF_MODE_ENFORCE);
	assert_int_equal(image.settings.deny_errno, EACCES);
	assert_int_equal(image.settings.flags, SF_SETTING_ALLOW_LOCAL);
	assert_int_equal(rows(SF_IMAGE_PORTS), SF_PORT_WORDS);
	for (uint32_t w = 0; w < SF_PORT_WORDS; w++) {
		uint64_t fenced = w == 0      ? 1ULL << 1 | 1ULL << 63 | 1ULL << 25
				  : w == 1    ? 1
				  : w == 1023 ? 1ULL << 63
					      : 0;

		memcpy(&word, sf_table_find(&image.table[SF_IMAGE_PORTS], &w), sizeof(word));
		assert_int_equal(word.fenced, fenced);
		assert_int_equal(word.watched, w == 2525 / 64 ? 1ULL << (2525 % 64) : 0);
	}
	sf_image_free(&image);
	policy.allow_local = 0;
	build(NULL);
	assert_int_equal(image.settings.flags, 0);
	assert_true(rows(SF_IMAGE_LOCAL_ADDRS) > 0);
	sf_image_free(&image);
}

/* A flag that is missing makes the programs pass the table by. */
static void flags_follow_the_tables(void **state)
{
	(void)state;
	policy.allow_local = 0;
	entry(SF_ENTRY_ALLOW_NET, "10.0.0.0/8", 0, NULL);
	build(NULL);
	assert_int_equal(image.settings.flags, SF_SETTING_RELAYS);
	sf_image_free(&image);
	entry(SF_ENTRY_QUARANTINE_USER, "5", 0, NULL);
	build(NULL);
	assert_int_equal(image.settings.flags, SF_SETTING_RELAYS | SF_SETTING_SENDERS);
	sf_image_free(&image);
	entry(SF_ENTRY_QUARANTINE_NET, "10.0.0.0/8", 0, NULL);
	build(NULL);
	assert_int_equal(image.settings.flags,
			 SF_SETTING_RELAYS | SF_SETTING_SENDERS | SF_SETTING_QUARANTINE_NETS);
	sf_image_free(&image);
}

static void ends(void **state)
{
	(void)state;
	entry(SF_ENTRY_ALLOW_NET, "10.0.0.1", 1, NULL);
	entry(SF_ENTRY_ALLOW_NET, "10.0.0.2", -1, NULL);
	entry(SF_ENTRY_ALLOW_NET, "10.0.0.3", 0, NULL);
	entry(SF_ENTRY_ALLOW_USER, "5", -1, NULL);
	entry(SF_ENTRY_QUARANTINE_USER, "6", -5, NULL);
	entry(SF_ENTRY_QUARANTINE_NET, "10.0.0.1", -5, NULL);
	entry(SF_ENTRY_QUARANTINE_CGROUP, "/q", -5, NULL);
	entry(SF_ENTRY_ALLOW_NET, "10.0.0.4", 6000000000, NULL);   /* 190 years: no overflow */
	policy.entries[policy.entry_count - 1].expires = now.wall; /* just now is over */
	entry(SF_ENTRY_ALLOW_NET, "10.0.0.5", 6000000000, NULL);
	build(NULL);
	assert_true(granted("10.0.0.1", 25, BOOT_NS));
	assert_true(granted("10.0.0.1", 25, BOOT_NS + 999999999));
	assert_false(granted("10.0.0.1", 25, BOOT_NS + 1000000000));
	assert_false(granted("10.0.0.2", 25, 0));
	assert_true(granted("10.0.0.3", 25, SF_NEVER - 1));
	assert_false(granted("10.0.0.4", 25, 0));
	assert_true(granted("10.0.0.5", 25, BOOT_NS + 5999999999ULL * 1000000000));
	assert_false(granted("10.0.0.5", 25, BOOT_NS + 6000000000ULL * 1000000000));
	assert_int_equal(rows(SF_IMAGE_SENDERS), 0);
	assert_int_equal(rows(SF_IMAGE_QUARANTINE_NETS), 0);
	assert_int_equal(rows(SF_IMAGE_ROLE_PATHS), 0);
	sf_image_free(&image);
}

/* The clock was read within a second: what is left of that second is left out. */
static void ends_within_a_second(void **state)
{
	struct sf_clock late = now;

	(void)state;
	late.wall_ns = 990000000;
	entry(SF_ENTRY_ALLOW_NET, "10.0.0.1", 1, NULL);
	assert_int_equal(sf_image_build(&policy, NULL, &late, &image, &err), 0);
	assert_true(granted("10.0.0.1", 25, BOOT_NS + 9999999));
	assert_false(granted("10.0.0.1", 25, BOOT_NS + 10000000));
	sf_image_free(&image);
	sf_clock_now(&late);
	assert_in_range(late.wall_ns, 0, 999999999);
	assert_true(late.wall > 1600000000 && late.boot_ns > 0);
}

static void senders(void **state)
{
	const struct sf_sender *s;

	(void)state;
	entry(SF_ENTRY_ALLOW_USER, "root", 10, PORTS(25));
	entry(SF_ENTRY_ALLOW_USER, "0", 20, PORTS(465)); /* the same one */
	entry(SF_ENTRY_ALLOW_GROUP, "0", 0, NULL);
	/* The longer quarantine holds, in whichever order they stand. */
	entry(SF_ENTRY_QUARANTINE_USER, "root", 0, NULL);
	entry(SF_ENTRY_QUARANTINE_USER, "0", 5, NULL);
	entry(SF_ENTRY_QUARANTINE_USER, "7", 5, NULL);
	entry(SF_ENTRY_ALLOW_USER, "12345", 0, NULL);
	policy.entries[policy.entry_count - 1].unresolved = 1; /* its id is nobody's */
	build(NULL);
	assert_int_equal(rows(SF_IMAGE_SENDERS), 3);
	s = sender_of(SF_SENDER_USER, 0);
	assert_non_null(s);
	assert_int_equal(s->quarantine_until_ns, SF_NEVER);
	assert_true(sf_grants_hold(&s->allowed, 25, BOOT_NS));
	assert_false(sf_grants_hold(&s->allowed, 25, BOOT_NS + 10000000000));
	assert_true(sf_grants_hold(&s->allowed, 465, BOOT_NS + 10000000000));
	assert_true(s->allowed.has_end);
	s = sender_of(SF_SENDER_GROUP, 0);
	assert_non_null(s);
	assert_true(sf_grants_hold(&s->allowed, 25, 0));
	assert_false(s->allowed.has_end);
	assert_int_equal(s->quarantine_until_ns, 0);
	s = sender_of(SF_SENDER_USER, 7);
	assert_non_null(s);
	assert_int_equal(s->quarantine_until_ns, BOOT_NS + 5000000000);
	assert_false(sf_grants_hold(&s->allowed, 25, 0));
	sf_image_free(&image);
}

static void roles(void **state)
{
	struct sf_entry *e;

	(void)state;
	/* One path, three roles: the stricter. In every order. */
	entry(SF_ENTRY_FENCE, "/a", 0, NULL);
	entry(SF_ENTRY_EXEMPT, "/a", 0, NULL);
	entry(SF_ENTRY_MAIL, "/a", 0, NULL);
	entry(SF_ENTRY_MAIL, "/b", 0, NULL);
	entry(SF_ENTRY_EXEMPT, "/b", 0, NULL);
	e = entry(SF_ENTRY_MAIL, "/c", 0, NULL);
	e->user_count = 2;
	e->users[1] = 77;
	/* A quarantine joins the role, or stands alone. */
	entry(SF_ENTRY_QUARANTINE_CGROUP, "/c", 7, NULL);
	entry(SF_ENTRY_QUARANTINE_CGROUP, "/d", 0, NULL);
	entry(SF_ENTRY_QUARANTINE_CGROUP, "/c/below", 0, NULL);
	entry(SF_ENTRY_QUARANTINE_CGROUP, "/a", -1, NULL); /* over */
	build(NULL);
	assert_int_equal(rows(SF_IMAGE_ROLE_PATHS), 5);
	assert_int_equal(role_of("/a")->kind, SF_ROLE_FENCE);
	assert_int_equal(role_of("/a")->quarantine_until_ns, 0);
	assert_int_equal(role_of("/b")->kind, SF_ROLE_EXEMPT);
	assert_int_equal(role_of("/c")->kind, SF_ROLE_MAIL);
	assert_int_equal(role_of("/c")->quarantine_until_ns, BOOT_NS + 7000000000);
	assert_true(sf_role_has_user(role_of("/c"), 77));
	assert_true(sf_role_has_user(role_of("/c"), 0));
	assert_false(sf_role_has_user(role_of("/c"), 78));
	assert_int_equal(role_of("/d")->kind, SF_ROLE_NONE);
	assert_int_equal(role_of("/d")->quarantine_until_ns, SF_NEVER);
	assert_int_equal(role_of("/c/below")->kind, SF_ROLE_NONE);
	assert_null(role_of("/c/"));
	sf_image_free(&image);
}

static void hosts_by_their_addresses(void **state)
{
	struct sf_host_address addresses[] = {
		{.name = "a.example"}, {.name = "a.example"}, {.name = "b.example"}, {.name = "c"}};
	const struct sf_hosts hosts = {.address = addresses, .count = 4};

	(void)state;
	sf_net_parse("192.0.2.1", &addresses[0].net, NULL);
	sf_net_parse("2001:db8::1", &addresses[1].net, NULL);
	sf_net_parse("192.0.2.1", &addresses[2].net, NULL); /* two names, one address */
	sf_net_parse("192.0.2.9", &addresses[3].net, NULL);
	entry(SF_ENTRY_ALLOW_HOST, "a.example", 0, PORTS(25));
	entry(SF_ENTRY_ALLOW_HOST, "b.example", 10, PORTS(465));
	entry(SF_ENTRY_ALLOW_HOST, "unknown.example", 0, NULL);
	entry(SF_ENTRY_ALLOW_NET, "192.0.2.0/24", 0, PORTS(587));
	build(&hosts);
	assert_true(granted("192.0.2.1", 25, BOOT_NS));
	assert_true(granted("192.0.2.1", 465, BOOT_NS));
	assert_true(granted("192.0.2.1", 587, BOOT_NS));
	assert_true(granted("2001:db8::1", 25, BOOT_NS));
	assert_false(granted("2001:db8::1", 465, BOOT_NS));
	assert_false(granted("192.0.2.9", 25, BOOT_NS));
	sf_image_free(&image);
	build(NULL);
	assert_false(granted("192.0.2.1", 25, BOOT_NS));
	sf_image_free(&image);
}

static void own_addresses(void **state)
{
	struct sf_local_filter filter;
	struct sf_image local;

	(void)state;
	sf_image_init(&local);
	assert_int_equal(sf_image_local_addrs(&local), 0);
	memcpy(&filter, sf_table_value(&local.table[SF_IMAGE_LOCAL_FILTER], 0), sizeof(filter));
	/* The filter never says no to an address that is there. */
	for (size_t i = 0; i < local.table[SF_IMAGE_LOCAL_ADDRS].count; i++) {
		uint32_t bit =
			sf_local_filter_bit(sf_table_key(&local.table[SF_IMAGE_LOCAL_ADDRS], i));

		assert_true(bit < SF_LOCAL_FILTER_BITS);
		assert_true(filter.word[bit / 64] >> (bit % 64) & 1);
	}
	sf_image_free(&local);
	sf_image_free(&local);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(settings_and_ports),
		TEST(flags_follow_the_tables),
		TEST(ends),
		TEST(ends_within_a_second),
		TEST(senders),
		TEST(roles),
		TEST(hosts_by_their_addresses),
		TEST(own_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
