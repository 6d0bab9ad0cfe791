/* SPDX-License-Identifier: GPL-2.0-only */
/* A policy made entry by entry, its image, and what the kernel would find in it. */
#ifndef SF_TESTS_UNIT_IMAGE_LAB_H
#define SF_TESTS_UNIT_IMAGE_LAB_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "../../user/image.h"
#include "../../bpf/lib/decide.h"

#define BOOT_NS 5000000000ULL

static const struct sf_clock now = {.wall = 1000000, .boot_ns = BOOT_NS, .wall_ns = 0};
static struct sf_policy policy;
static struct sf_image image;
static struct sf_error err;

static inline int fresh(void **state)
{
	(void)state;
	sf_policy_init(&policy);
	return 0;
}

static inline int done(void **state)
{
	(void)state;
	sf_policy_free(&policy);
	return 0;
}

/* An entry that ends `left` seconds from now (0: never), for these ports (ended by 0). */
static inline struct sf_entry *entry(enum sf_entry_kind kind, const char *value, int64_t left,
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

static inline void build(const struct sf_hosts *hosts)
{
	memset(&err, 0, sizeof(err));
	if (sf_image_build(&policy, hosts, &now, &image, &err))
		fail_msg("%s", err.text);
}

static inline size_t rows(enum sf_image_table table)
{
	return image.table[table].count;
}

/* As a trie would: the longest prefix around the address. */
static inline const void *longest(enum sf_image_table table, const struct sf_net_key *address)
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

static inline int granted(const char *address, uint16_t port, uint64_t at_ns)
{
	const struct sf_grants *grants;
	struct sf_net_key key;

	assert_int_equal(sf_net_parse(address, &key, NULL), 0);
	grants = longest(SF_IMAGE_RELAYS, &key);
	/* The programs read no clock where nothing ends. */
	return grants && sf_grants_hold(grants, port, grants->has_end ? at_ns : 0);
}

static inline const struct sf_role *role_of(const char *path)
{
	struct sf_role_path key = {.path = ""};

	memcpy(key.path, path, strlen(path));
	return sf_table_find(&image.table[SF_IMAGE_ROLE_PATHS], &key);
}

static inline const struct sf_sender *sender_of(uint32_t kind, uint32_t id)
{
	struct sf_sender_key key = {.kind = kind, .id = id};

	return sf_table_find(&image.table[SF_IMAGE_SENDERS], &key);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, done)

#endif
