// SPDX-License-Identifier: GPL-2.0-only
/*
 * The image against the policy itself: what one longest match in the tables answers must be what
 * all entries together say.
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
#include "../../user/image.h"
#include "../../bpf/lib/decide.h"

#define BOOT_NS 5000000000ULL

static const struct sf_clock now = {.wall = 1000000, .boot_ns = BOOT_NS, .wall_ns = 0};
static struct sf_policy policy;
static struct sf_image image;
static struct sf_error err;

static int fresh(void **state)
{
	(void)state;
	sf_policy_init(&policy);
	return 0;
}

static int done(void **state)
{
	(void)state;
	sf_policy_free(&policy);
	return 0;
}

/* An entry that ends `left` seconds from now (0: never), for these ports (ended by 0). */
static struct sf_entry *entry(enum sf_entry_kind kind, const char *value, int64_t left,
			      const uint16_t *ports)
{
	struct sf_entry e = {.kind = kind, .expires = left ? now.wall + left : 0};

	snprintf(e.value, sizeof(e.value), "%s", value);
	assert_int_equal(sf_entry_resolve(&e, NULL), 0);
	while (ports && ports[e.port_count]) {
		e.ports[e.port_count] = ports[e.port_count];
		e.port_count++;
	}
	assert_int_equal(sf_policy_append(&policy, &e), 0);
	return &policy.entries[policy.entry_count - 1];
}

#define PORTS(...) ((const uint16_t[]){__VA_ARGS__, 0})

static void build(const struct sf_hosts *hosts)
{
	memset(&err, 0, sizeof(err));
	if (sf_image_build(&policy, hosts, &now, &image, &err))
		fail_msg("%s", err.text);
}

static size_t rows(enum sf_image_table table)
{
	return image.table[table].count;
}

/* As a trie would: the longest prefix around the address. */
static const void *longest(enum sf_image_table table, const struct sf_net_key *address)
{
	const void *best = NULL;
	uint32_t length = 0;

	for (size_t i = 0; i < rows(table); i++) {
		const struct sf_net_key *net = sf_table_key(&image.table[table], i);

		if (net->prefixlen < length ||
		    (net->prefixlen != SF_NET_BITS_MAX ? !sf_net_covers(net, address)
						       : memcmp(net, address, sizeof(*net))))
			continue;
		length = net->prefixlen;
		best = sf_table_value(&image.table[table], i);
	}
	return best;
}

static int granted(const char *address, uint16_t port, uint64_t at_ns)
{
	const struct sf_grants *grants;
	struct sf_net_key key;

	assert_int_equal(sf_net_parse(address, &key, NULL), 0);
	grants = longest(SF_IMAGE_RELAYS, &key);
	/* The programs read no clock where nothing ends. */
	return grants && sf_grants_hold(grants, port, grants->has_end ? at_ns : 0);
}

static const struct sf_role *role_of(const char *path)
{
	struct sf_role_path key = {.path = ""};

	memcpy(key.path, path, strlen(path));
	return sf_table_find(&image.table[SF_IMAGE_ROLE_PATHS], &key);
}

static const struct sf_sender *sender_of(uint32_t kind, uint32_t id)
{
	struct sf_sender_key key = {.kind = kind, .id = id};

	return sf_table_find(&image.table[SF_IMAGE_SENDERS], &key);
}

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

static void networks_in_networks(void **state)
{
	(void)state;
	entry(SF_ENTRY_ALLOW_NET, "10.1.2.3", 0, PORTS(25));
	entry(SF_ENTRY_ALLOW_NET, "10.1.0.0/16", 100, PORTS(465));
	entry(SF_ENTRY_ALLOW_NET, "0.0.0.0/0", 200, PORTS(587));
	entry(SF_ENTRY_ALLOW_NET, "10.1.2.0/24", 0, PORTS(2525));
	entry(SF_ENTRY_ALLOW_NET, "::/0", 0, PORTS(26));
	entry(SF_ENTRY_ALLOW_NET, "2001:db8::/127", 0, PORTS(27));
	build(NULL);
	assert_true(granted("10.1.2.3", 25, BOOT_NS));
	assert_true(granted("10.1.2.3", 465, BOOT_NS));
	assert_true(granted("10.1.2.3", 587, BOOT_NS));
	assert_true(granted("10.1.2.3", 2525, BOOT_NS));
	assert_false(granted("10.1.2.3", 26, BOOT_NS));
	assert_false(granted("10.1.2.3", 465, BOOT_NS + 100000000000));
	assert_true(granted("10.1.2.3", 587, BOOT_NS + 100000000000));
	assert_false(granted("10.1.2.4", 25, BOOT_NS));
	assert_true(granted("10.1.2.4", 2525, BOOT_NS));
	assert_true(granted("10.1.3.1", 465, BOOT_NS));
	assert_false(granted("10.1.3.1", 2525, BOOT_NS));
	assert_true(granted("10.2.0.0", 587, BOOT_NS));
	assert_false(granted("10.2.0.0", 465, BOOT_NS));
	/* ::/0 holds no IPv4. */
	assert_true(granted("2001:db8::1", 26, BOOT_NS));
	assert_true(granted("2001:db8::1", 27, BOOT_NS));
	assert_true(granted("2001:db8::2", 26, BOOT_NS));
	assert_false(granted("2001:db8::2", 27, BOOT_NS));
	sf_image_free(&image);
}

/* Networks at random, dense, of few ports and ends: every answer is that of all entries. */
static void any_networks(void **state)
{
	static const uint16_t ports[] = {25, 465, 587};
	static const int64_t lefts[] = {0, 10, 20};
	uint32_t seed = 11;

	(void)state;
	for (int round = 0; round < 300; round++) {
		fresh(NULL);
		for (int n = 0; n < 30; n++) {
			char text[32];
			uint32_t bits, low;

			seed = seed * 1664525 + 1013904223;
			bits = 24 + (seed >> 8) % 9;
			low = (seed >> 16 & 255) & (0xff00u >> (bits - 24));
			snprintf(text, sizeof(text), "10.0.0.%u/%u", low, bits);
			entry(n % 2 ? SF_ENTRY_ALLOW_NET : SF_ENTRY_QUARANTINE_NET, text,
			      lefts[(seed >> 24) % 3],
			      n % 2 && (seed >> 26) % 4 ? PORTS(ports[(seed >> 28) % 3]) : NULL);
		}
		assert_int_equal(sf_policy_settle(&policy), 0);
		build(NULL);
		for (uint32_t low = 0; low < 256; low++) {
			for (uint64_t after = 0; after <= 20; after += 10) {
				int quarantined = 0, open[3] = {0};
				const struct sf_net_quarantine *q;
				struct sf_net_key key;
				char text[32];

				snprintf(text, sizeof(text), "10.0.0.%u", low);
				assert_int_equal(sf_net_parse(text, &key, NULL), 0);
				for (size_t i = 0; i < policy.entry_count; i++) {
					struct sf_entry *e = &policy.entries[i];

					if ((memcmp(&e->net, &key, sizeof(key)) &&
					     !sf_net_covers(&e->net, &key)) ||
					    (e->expires && now.wall + (int64_t)after >= e->expires))
						continue;
					quarantined |= e->kind == SF_ENTRY_QUARANTINE_NET;
					for (int p = 0; p < 3; p++)
						open[p] |=
							e->kind == SF_ENTRY_ALLOW_NET &&
							(!e->port_count || e->ports[0] == ports[p]);
				}
				q = sf_table_find(&image.table[SF_IMAGE_QUARANTINE_HOSTS], &key);
				if (!q)
					q = longest(SF_IMAGE_QUARANTINE_NETS, &key);
				assert_int_equal(q && BOOT_NS + after * 1000000000 < q->until_ns,
						 quarantined);
				for (int p = 0; p < 3; p++)
					assert_int_equal(granted(text, ports[p],
								 BOOT_NS + after * 1000000000),
							 open[p]);
			}
		}
		sf_image_free(&image);
		done(NULL);
	}
	fresh(NULL);
}

static void too_many_ports(void **state)
{
	(void)state;
	entry(SF_ENTRY_ALLOW_NET, "10.0.0.0/8", 0, PORTS(1, 2, 3, 4, 5, 6, 7, 8));
	entry(SF_ENTRY_ALLOW_NET, "10.0.0.1", 0, PORTS(8, 7));
	build(NULL);
	sf_image_free(&image);
	/* Every port holds them all, from whichever side it comes. */
	entry(SF_ENTRY_ALLOW_NET, "10.0.0.2", 0, NULL);
	build(NULL);
	assert_true(granted("10.0.0.2", 9, 0));
	sf_image_free(&image);
	entry(SF_ENTRY_ALLOW_NET, "10.0.0.3", 0, PORTS(9));
	memset(&err, 0, sizeof(err));
	assert_int_equal(sf_image_build(&policy, NULL, &now, &image, &err), -E2BIG);
	assert_non_null(strstr(err.text, "allow_net"));
	assert_int_equal(sf_image_build(&policy, NULL, &now, &image, NULL), -E2BIG);
	entry(SF_ENTRY_ALLOW_NET, "10.0.0.0/16", 0, NULL);
	policy.entries[0].port_count = 0;
	build(NULL);
	assert_true(granted("10.0.0.3", 77, 0));
	sf_image_free(&image);
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

static void whole_addresses_apart(void **state)
{
	const struct sf_net_quarantine *q;
	struct sf_net_key key;

	(void)state;
	entry(SF_ENTRY_QUARANTINE_NET, "10.0.0.0/8", 0, NULL);
	entry(SF_ENTRY_QUARANTINE_NET, "10.1.2.3", 10, NULL);
	entry(SF_ENTRY_QUARANTINE_NET, "2001:db8::/64", 10, NULL);
	entry(SF_ENTRY_QUARANTINE_NET, "2001:db8:1::1/128", 10, NULL);
	build(NULL);
	assert_int_equal(rows(SF_IMAGE_QUARANTINE_NETS), 2);
	assert_int_equal(rows(SF_IMAGE_QUARANTINE_HOSTS), 2);
	assert_int_equal(sf_net_parse("10.1.2.3", &key, NULL), 0);
	q = sf_table_find(&image.table[SF_IMAGE_QUARANTINE_HOSTS], &key);
	assert_non_null(q);
	assert_true(q->until_ns == SF_NEVER); /* the network around it has no end */
	assert_int_equal(image.settings.flags & SF_SETTING_QUARANTINES, SF_SETTING_QUARANTINES);
	sf_image_free(&image);
}

/* As many as the maps hold, in far less than the runner's patience. */
static void many_networks(void **state)
{
	(void)state;
	entry(SF_ENTRY_QUARANTINE_NET, "10.0.0.0/8", 0, NULL);
	for (int i = 0; i < 100000; i++) {
		char text[32];

		snprintf(text, sizeof(text), "%d.%d.%d.0/24", 10 + (i >> 16), i >> 8 & 255,
			 i & 255);
		entry(SF_ENTRY_QUARANTINE_NET, text, 10, NULL);
	}
	build(NULL);
	assert_int_equal(rows(SF_IMAGE_QUARANTINE_NETS), 100001);
	for (size_t i = 0; i < rows(SF_IMAGE_QUARANTINE_NETS); i++) {
		const struct sf_net_key *net =
			sf_table_key(&image.table[SF_IMAGE_QUARANTINE_NETS], i);
		const struct sf_net_quarantine *q =
			sf_table_value(&image.table[SF_IMAGE_QUARANTINE_NETS], i);

		assert_int_equal(q->until_ns == SF_NEVER, net->addr.b[12] == 10);
	}
	sf_image_free(&image);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, done)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(settings_and_ports),
		TEST(flags_follow_the_tables),
		TEST(whole_addresses_apart),
		TEST(ends),
		TEST(ends_within_a_second),
		TEST(networks_in_networks),
		TEST(any_networks),
		TEST(too_many_ports),
		TEST(senders),
		TEST(limits_of_senders),
		TEST(census_settings),
		TEST(limits_of_sources),
		TEST(longer_than_what_is_counted),
		TEST(only_the_sources),
		TEST(roles),
		TEST(hosts_by_their_addresses),
		TEST(own_addresses),
		TEST(many_networks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
