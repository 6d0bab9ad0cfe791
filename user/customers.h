/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which interfaces have customers behind them, and of what kind they are. Asked from the kernel
 * (rtnetlink) in the network namespace of the caller.
 */
#ifndef SF_USER_CUSTOMERS_H
#define SF_USER_CUSTOMERS_H

#include <net/if.h>
#include <stddef.h>
#include "policy.h"

struct sf_customer_link {
	int ifindex;
	char name[IFNAMSIZ];
	char kind[16]; /* "veth", "tun", "vlan": as `ip link` names it; "": a device with a driver
			*/
	int up;
	int raw_ip;	   /* packets begin with IP */
	int unsupported;   /* a link whose headers are not known: it can't be fenced */
	int is_uplink;	   /* matches uplinks too: it is one, and is not fenced as a customer's */
	int has_networks;  /* an entry says which sources it may have */
	uint32_t xdp_id;   /* of the XDP program there, whoever's; 0: none */
	int xdp_is_native; /* 0: generic */
};

struct sf_customers {
	struct sf_customer_link *link;
	size_t count, room;
	/*
	 * Interfaces that packets seem to come from when they are routed, after they came in by one
	 * that is fenced: bridges and bonds all of whose ports are, VLANs upon such.
	 */
	int *covered;
	size_t covered_count;
};

/* Does the policy name any, present or not? */
int sf_customers_wanted(const struct sf_policy *policy);
/* Is the name one of a list of names and patterns, divided by commas? */
int sf_names_match(const char *list, const char *name);
/* An entry of the policy that speaks of this interface. */
int sf_customer_matches(const struct sf_entry *entry, const char *name);
/* Those that are there now; release with sf_customers_free. */
int sf_customers_find(const struct sf_policy *policy, struct sf_customers *customers);
void sf_customers_free(struct sf_customers *customers);

#endif
