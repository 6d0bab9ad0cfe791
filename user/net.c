// SPDX-License-Identifier: GPL-2.0-only
#include "net.h"
#include "escape.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse_prefix(const char *text, uint32_t *bits)
{
	char *end;
	unsigned long n;

	/* No zeros before it: cut to the room of a list's word it would be a wider network. */
	if (!isdigit((unsigned char)text[0]) || strlen(text) > 3)
		return -1;
	n = strtoul(text, &end, 10);
	if (*end || n > 128)
		return -1;
	*bits = (uint32_t)n;
	return 0;
}

int sf_net_parse(const char *text, struct sf_net_key *net, struct sf_error *err)
{
	struct sf_net_key key = {.family = SF_FAMILY_V4};
	char address[INET6_ADDRSTRLEN], shown[128];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	uint32_t bits, most = 32, offset = 96;

	sf_escape_string(text, shown, sizeof(shown));
	if (len >= sizeof(address))
		return sf_fail_usage(err, "\"%s\" is not an address", shown);
	memcpy(address, text, len);
	address[len] = '\0';
	if (inet_pton(AF_INET, address, &key.addr.b[12]) == 1) {
		key.addr.b[10] = key.addr.b[11] = 0xff;
	} else if (inet_pton(AF_INET6, address, &key.addr) == 1) {
		static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

		key.family = SF_FAMILY_V6;
		most = 128;
		offset = 0;
		if (!memcmp(&key.addr, mapped, sizeof(mapped)))
			return sf_fail_usage(
				err, "\"%s\" is IPv4 in IPv6's clothes: write it as IPv4", shown);
	} else {
		return sf_fail_usage(err,
				     "\"%s\" is not an address: write 192.0.2.1, 192.0.2.0/24, "
				     "2001:db8::1 or 2001:db8::/32",
				     shown);
	}
	bits = most;
	if (slash && (parse_prefix(slash + 1, &bits) || bits > most))
		return sf_fail_usage(err, "\"%s\": the prefix length is from 0 to %u", shown, most);
	for (uint32_t i = bits + offset; i < 128; i++)
		if (key.addr.b[i / 8] & (0x80 >> (i % 8)))
			return sf_fail_usage(err,
					     "\"%s\": bits are set beyond the /%u; clear them, or "
					     "write a longer prefix",
					     shown, bits);
	key.prefixlen = SF_NET_FAMILY_BITS + offset + bits;
	*net = key;
	return 0;
}

int sf_net_covers(const struct sf_net_key *wide, const struct sf_net_key *narrow)
{
	uint32_t bits = wide->prefixlen - SF_NET_FAMILY_BITS;

	if (wide->family != narrow->family || wide->prefixlen > narrow->prefixlen ||
	    memcmp(&wide->addr, &narrow->addr, bits / 8))
		return 0;
	return !(bits % 8) ||
	       !((wide->addr.b[bits / 8] ^ narrow->addr.b[bits / 8]) >> (8 - bits % 8));
}

struct sf_net_key sf_net_wider(const struct sf_net_key *net, uint32_t prefixlen)
{
	struct sf_net_key key = *net;
	uint32_t bits = prefixlen - SF_NET_FAMILY_BITS;

	key.prefixlen = prefixlen;
	for (uint32_t i = (bits + 7) / 8; i < sizeof(key.addr.b); i++)
		key.addr.b[i] = 0;
	if (bits % 8)
		key.addr.b[bits / 8] &= (__u8)(0xff00 >> (bits % 8));
	return key;
}

void sf_net_format(const struct sf_net_key *net, char *out, size_t size)
{
	uint32_t bits = net->prefixlen - SF_NET_FAMILY_BITS;
	char address[INET6_ADDRSTRLEN];

	if (net->family == SF_FAMILY_V4) {
		inet_ntop(AF_INET, &net->addr.b[12], address, sizeof(address));
		bits -= 96;
		if (bits == 32)
			snprintf(out, size, "%s", address);
		else
			snprintf(out, size, "%s/%u", address, bits);
		return;
	}
	inet_ntop(AF_INET6, &net->addr, address, sizeof(address));
	if (bits == 128)
		snprintf(out, size, "%s", address);
	else
		snprintf(out, size, "%s/%u", address, bits);
}
