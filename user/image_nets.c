// SPDX-License-Identifier: GPL-2.0-only
/* Networks that lie in each other, and whole addresses apart from networks. */
#include "image_parts.h"

/*
 * The longest prefix answers alone in the kernel: give each row of a sorted table what the rows
 * around it hold. Looked for by the lengths that occur, for a policy may hold 100,000 rows.
 */
static int spread(struct sf_table *table, int (*join)(void *into, const void *from))
{
	uint8_t occurs[SF_NET_BITS_MAX + 1] = {0};
	int ret = 0;

	for (size_t i = 0; i < table->count; i++)
		occurs[((const struct sf_net_key *)sf_table_key(table, i))->prefixlen] = 1;
	for (size_t i = 0; i < table->count; i++) {
		const struct sf_net_key *net = sf_table_key(table, i);

		for (uint32_t length = SF_NET_FAMILY_BITS; length < net->prefixlen && !ret;
		     length++) {
			struct sf_net_key key;
			const void *from;

			if (!occurs[length])
				continue;
			key = sf_net_wider(net, length);
			from = sf_table_find(table, &key);
			if (from)
				ret = join(sf_table_value(table, i), from);
		}
		if (ret)
			return ret;
	}
	return 0;
}

static int join_relays(void *into, const void *from)
{
	const struct sf_grants *grants = from;
	int ret = 0;

	for (uint32_t g = 0; g < grants->count && !ret; g++)
		ret = image_add_grant(into, grants->grant[g].port, grants->grant[g].until_ns);
	return ret;
}

static int join_quarantines(void *into, const void *from)
{
	struct sf_net_quarantine *to = into;
	const struct sf_net_quarantine *wide = from;

	if (wide->until_ns > to->until_ns)
		to->until_ns = wide->until_ns;
	return 0;
}

/* Whole addresses have a table of their own; each holds what the networks around it say. */
int image_part_hosts(struct sf_image *image)
{
	struct sf_table *nets = &image->table[SF_IMAGE_QUARANTINE_NETS], wide;
	int ret = 0;

	sf_table_init(&wide, nets->key_size, nets->value_size);
	for (size_t i = 0; i < nets->count && !ret; i++) {
		const struct sf_net_key *net = sf_table_key(nets, i);

		ret = sf_table_add(net->prefixlen == SF_NET_BITS_MAX
					   ? &image->table[SF_IMAGE_QUARANTINE_HOSTS]
					   : &wide,
				   net, sf_table_value(nets, i));
	}
	sf_table_free(nets);
	*nets = wide;
	return ret;
}

int image_spread_relays(struct sf_image *image)
{
	return spread(&image->table[SF_IMAGE_RELAYS], join_relays);
}

int image_spread_quarantines(struct sf_image *image)
{
	return spread(&image->table[SF_IMAGE_QUARANTINE_NETS], join_quarantines);
}
