// SPDX-License-Identifier: GPL-2.0-only
/* How sources, senders and counters of the census are called. */
#include "census.h"
#include "cgroup.h"
#include "escape.h"
#include "explain.h"
#include "net.h"
#include <stdio.h>
#include <string.h>

const char *const sf_census_counter_names[SF_CENSUS_COUNTER_COUNT] = {
#define X(name, label, text) label,
	SF_CENSUS_COUNTERS(X)
#undef X
};

static int is_v4(const struct sf_addr *addr)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return !memcmp(addr->b, mapped, sizeof(mapped));
}

void sf_census_source_text(const struct sf_census_key *key,
			   const struct sf_census_settings *settings, char *out, size_t size)
{
	struct sf_net_key net = {.prefixlen = SF_NET_BITS_MAX, .family = SF_FAMILY_V6};

	memcpy(&net.addr, key, sizeof(net.addr));
	if (is_v4(&net.addr))
		net.family = SF_FAMILY_V4;
	else
		net.prefixlen = SF_NET_FAMILY_BITS +
				(uint32_t)__builtin_popcountll(settings->v6_mask[0]) +
				(uint32_t)__builtin_popcountll(settings->v6_mask[1]);
	sf_net_format(&net, out, size);
}

void sf_census_sender_text(const struct sf_census_key *key, const char *mount, char *out,
			   size_t size)
{
	char user[128], path[4096];
	size_t used;

	sf_explain_user((uint32_t)key->word[1], user, sizeof(user));
	if (sf_cgroup_path(mount, key->word[0], path, sizeof(path)))
		snprintf(path, sizeof(path), "#%llu", (unsigned long long)key->word[0]);
	used = (size_t)snprintf(out, size, "%s ", user);
	/* Into what is left: a cut within an escape would take the quote behind it along. */
	if (used < size)
		sf_escape_string(path, out + used, size - used);
}
