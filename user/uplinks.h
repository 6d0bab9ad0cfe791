/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which interfaces lead to the world: those of the default routes, or those that the configuration
 * names. Asked from the kernel (rtnetlink) in the network namespace of the caller.
 */
#ifndef SF_USER_UPLINKS_H
#define SF_USER_UPLINKS_H

#include <net/if.h>
#include <stddef.h>
#include "policy.h"

#define SF_UPLINKS_MAX 64

struct sf_uplink {
	int ifindex;
	char name[IFNAMSIZ];
	int raw_ip;	 /* packets begin with IP: tun, wireguard, ppp, tunnels */
	int unsupported; /* a link whose headers are not known: it can't be counted */
};

struct sf_uplinks {
	struct sf_uplink link[SF_UPLINKS_MAX];
	size_t count;
	int more; /* some did not fit */
};

/* Interfaces that match `names`: names, patterns (fnmatch), "auto" for the default routes'. */
int sf_uplinks_find(const struct sf_name_list *names, struct sf_uplinks *uplinks);

#endif
