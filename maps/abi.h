/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every shared structure builds on: the version of the whole contract, limits, addresses.
 *
 * A header in maps/ is read by both sides. Programs (clang -target bpf) also get the map
 * definitions, under #ifdef __bpf__; user space gets the structures only. Every structure has
 * explicit padding and an asserted size, so that both compilers lay it out alike.
 */
#ifndef SF_MAPS_ABI_H
#define SF_MAPS_ABI_H

#include <linux/types.h>

/*
 * Version of all pinned state. It is raised with every change to a structure, a map's type or a
 * meaning in maps/. A pinned state of another version is refused, never guessed at.
 */
#define SF_ABI_VERSION 2

/*
 * Longest role path with its final NUL, in bytes, written from the cgroup v2 root. The longest
 * path that may be configured is two shorter (SF_PATH_LIMIT): a path that the kernel's text was
 * cut to fills the buffer, and so can never equal a configured one.
 */
#define SF_PATH_MAX   256
#define SF_PATH_LIMIT (SF_PATH_MAX - 2)

/* Levels of cgroups that are looked at above a sender. What lies deeper is denied (too_deep). */
#define SF_DEPTH_MAX 32

/* An IP address, network byte order. IPv4 is kept v4-mapped (::ffff:a.b.c.d, RFC 4291 2.5.5.2). */
struct sf_addr {
	__u8 b[16];
};
_Static_assert(sizeof(struct sf_addr) == 16, "sf_addr is part of the ABI");

#define SF_FAMILY_V4 4
#define SF_FAMILY_V6 6

/*
 * Key of the address tries. prefixlen counts the 32 bits of family in front of the address, so
 * that ::/0 holds no IPv4 address: /8 of IPv4 is 32 + 96 + 8, /64 of IPv6 is 32 + 64.
 * prefixlen and family in host byte order; addr in network byte order.
 */
struct sf_net_key {
	__u32 prefixlen;
	__u32 family;
	struct sf_addr addr;
};
_Static_assert(sizeof(struct sf_net_key) == 24, "sf_net_key is part of the ABI");

#define SF_NET_FAMILY_BITS 32
#define SF_NET_BITS_MAX	   (SF_NET_FAMILY_BITS + 128)

#endif
