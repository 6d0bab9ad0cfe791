// SPDX-License-Identifier: GPL-2.0-only
/* What one longest match in the image's networks answers must be what all entries together say. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(networks_in_networks),  TEST(any_networks),  TEST(too_many_ports),
		TEST(whole_addresses_apart), TEST(many_networks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
