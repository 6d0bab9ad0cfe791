// SPDX-License-Identifier: GPL-2.0-only
/* The image's table of source networks and their limits: loopback, own, relays, the host's own. */
#include "image.h"
#include <string.h>

static int counts(const struct sf_entry *entry, const struct sf_clock *clock)
{
	return !entry->expires || entry->expires > clock->wall;
}

/*
 * The limit of a source network. The census cuts IPv6 sources to ipv6_prefix before it looks, so
 * that a longer prefix here would match none. A network that is everything says nothing of whose
 * it is, but where the administrator gives it a limit.
 */
static int add_source(struct sf_image *image, const struct sf_policy *policy,
		      const struct sf_net_key *net, const struct sf_pair *pair, enum sf_class class)
{
	uint32_t most = SF_NET_FAMILY_BITS + (uint32_t)policy->ipv6_prefix;
	uint32_t least = SF_NET_FAMILY_BITS + (net->family == SF_FAMILY_V4 ? 96 : 0);
	struct sf_limit limit = {.warn = pair->warn, .act = pair->act, .class = class};
	struct sf_net_key key = *net;

	if (class == SF_CLASS_RELAY && net->prefixlen <= least)
		return 0;
	if (net->family == SF_FAMILY_V6 && net->prefixlen > most)
		key = sf_net_wider(net, most);
	return sf_table_add(&image->table[SF_IMAGE_SOURCE_LIMITS], &key, &limit);
}

static int add_local_sources(struct sf_image *image, const struct sf_policy *policy,
			     const struct sf_net_key *loopback)
{
	const struct sf_table *local = &image->table[SF_IMAGE_LOCAL_ADDRS];
	int ret = 0;

	for (size_t i = 0; i < local->count && !ret; i++) {
		static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
		struct sf_net_key net = {.prefixlen = SF_NET_BITS_MAX, .family = SF_FAMILY_V6};

		memcpy(&net.addr, sf_table_key(local, i), sizeof(net.addr));
		if (!memcmp(&net.addr, mapped, sizeof(mapped)))
			net.family = SF_FAMILY_V4;
		/* 127.0.0.1 is the host's own too, and would be nearer than its network. */
		if (!sf_net_covers(&loopback[0], &net) && !sf_net_covers(&loopback[1], &net))
			ret = add_source(image, policy, &net, &policy->limit_local, SF_CLASS_LOCAL);
	}
	return ret;
}

static int add_relay_sources(struct sf_image *image, const struct sf_policy *policy,
			     const struct sf_hosts *hosts, const struct sf_clock *clock)
{
	int ret = 0;

	for (size_t i = 0; i < policy->entry_count && !ret; i++) {
		const struct sf_entry *entry = &policy->entries[i];

		if (!counts(entry, clock))
			continue;
		if (entry->kind == SF_ENTRY_ALLOW_NET)
			ret = add_source(image, policy, &entry->net, &policy->limit_relay,
					 SF_CLASS_RELAY);
		for (size_t h = 0;
		     entry->kind == SF_ENTRY_ALLOW_HOST && hosts && h < hosts->count && !ret; h++)
			if (!strcmp(hosts->address[h].name, entry->value))
				ret = add_source(image, policy, &hosts->address[h].net,
						 &policy->limit_relay, SF_CLASS_RELAY);
	}
	return ret;
}

int sf_image_source_limits(const struct sf_policy *policy, const struct sf_hosts *hosts,
			   const struct sf_clock *clock, struct sf_image *image)
{
	static const struct sf_net_key loopback[] = {
		{.prefixlen = SF_NET_BITS_MAX - 24,
		 .family = SF_FAMILY_V4,
		 .addr = {.b = {[10] = 0xff, [11] = 0xff, [12] = 127}}},
		{.prefixlen = SF_NET_BITS_MAX, .family = SF_FAMILY_V6, .addr = {.b = {[15] = 1}}},
	};
	int ret;

	/* Of rows for the same network the last one added stays: the weaker come first. */
	ret = add_local_sources(image, policy, loopback);
	if (!ret)
		ret = add_relay_sources(image, policy, hosts, clock);
	for (uint32_t i = 0; i < policy->own_networks.count && !ret; i++)
		ret = add_source(image, policy, &policy->own_networks.net[i], &policy->limit_own,
				 SF_CLASS_OWN);
	for (size_t i = 0; i < 2 && !ret; i++)
		ret = add_source(image, policy, &loopback[i], &policy->limit_loopback,
				 SF_CLASS_LOOPBACK);
	for (size_t i = 0; i < policy->entry_count && !ret; i++) {
		const struct sf_entry *entry = &policy->entries[i];
		const struct sf_pair pair = {.warn = entry->warn, .act = entry->act};

		if (entry->kind == SF_ENTRY_LIMIT_NET && counts(entry, clock))
			ret = add_source(image, policy, &entry->net, &pair, SF_CLASS_NAMED);
	}
	return ret ? ret : sf_table_sort(&image->table[SF_IMAGE_SOURCE_LIMITS]);
}
