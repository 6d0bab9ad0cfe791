// SPDX-License-Identifier: GPL-2.0-only
#include "customers.h"
#include "netlink.h"
#include "uplinks.h"
#include <errno.h>
#include <fnmatch.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* How any interface stands to others. */
struct place {
	int ifindex;
	int lower;	/* of a VLAN: what it lies upon; 0: none */
	int master;	/* the bridge or bond that it is a port of; 0: none */
	int takes_over; /* routes what its ports or its lower one took in */
	int covered;	/* what comes by it was seen by a program of ours */
};

struct search {
	const struct sf_policy *policy;
	const struct sf_uplinks *uplinks;
	struct sf_customers *customers;
	struct place *places;
	size_t count, room;
	int ret;
};

int sf_customers_wanted(const struct sf_policy *policy)
{
	for (size_t i = 0; i < policy->entry_count; i++)
		if (policy->entries[i].kind == SF_ENTRY_CUSTOMER)
			return 1;
	return policy->customers.count > 0;
}

int sf_names_match(const char *list, const char *name)
{
	char pattern[IFNAMSIZ];

	for (const char *at = list; at;) {
		size_t n = strcspn(at, ",");

		if (n < sizeof(pattern)) {
			memcpy(pattern, at, n);
			pattern[n] = '\0';
			if (!fnmatch(pattern, name, 0))
				return 1;
		}
		at = at[n] ? at + n + 1 : NULL;
	}
	return 0;
}

int sf_customer_matches(const struct sf_entry *entry, const char *name)
{
	return entry->kind == SF_ENTRY_CUSTOMER && !fnmatch(entry->value, name, 0);
}

static int is_wanted(const struct sf_policy *policy, struct sf_customer_link *link)
{
	int wanted = 0;

	for (uint32_t i = 0; i < policy->customers.count; i++)
		wanted |= !fnmatch(policy->customers.name[i], link->name, 0);
	for (size_t i = 0; i < policy->entry_count; i++) {
		if (!sf_customer_matches(&policy->entries[i], link->name))
			continue;
		wanted = 1;
		link->has_networks |= policy->entries[i].user_names != NULL;
	}
	return wanted;
}

static void take_kind(struct sf_customer_link *link, const struct rtattr *info)
{
	ssize_t left = (ssize_t)RTA_PAYLOAD(info);

	for (const struct rtattr *a = RTA_DATA(info); RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == IFLA_INFO_KIND)
			snprintf(link->kind, sizeof(link->kind), "%.*s", (int)RTA_PAYLOAD(a),
				 (const char *)RTA_DATA(a));
}

static void take_xdp(struct sf_customer_link *link, const struct rtattr *xdp)
{
	ssize_t left = (ssize_t)RTA_PAYLOAD(xdp);

	for (const struct rtattr *a = RTA_DATA(xdp); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == IFLA_XDP_PROG_ID)
			link->xdp_id = sf_netlink_number(a);
		if (a->rta_type == IFLA_XDP_ATTACHED && RTA_PAYLOAD(a))
			link->xdp_is_native = *(const uint8_t *)RTA_DATA(a) != XDP_ATTACHED_SKB;
	}
}

/* Room for one more, doubled where there is none. */
static int make_room(void **array, size_t count, size_t *room, size_t size)
{
	size_t more = *room ? *room * 2 : 64;
	void *grown;

	if (count < *room)
		return 0;
	grown = reallocarray(*array, more, size);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	*room = more;
	return 0;
}

static void add_place(struct search *s, const struct sf_customer_link *link,
		      const struct place *place)
{
	void *array = s->places;
	int is_vlan = !strcmp(link->kind, "vlan");

	if (make_room(&array, s->count, &s->room, sizeof(*place))) {
		s->ret = -ENOMEM;
		return;
	}
	s->places = array;
	s->places[s->count] = *place;
	s->places[s->count].takes_over = is_vlan || !strcmp(link->kind, "bridge") ||
					 !strcmp(link->kind, "bond") || !strcmp(link->kind, "team");
	if (!is_vlan)
		s->places[s->count].lower = 0;
	s->count++;
}

/* Is all that comes by it taken in by interfaces that are covered? */
static int is_taken_over(const struct search *s, const struct place *place)
{
	int ports = 0;

	for (size_t i = 0; i < s->count; i++) {
		const struct place *other = &s->places[i];

		if (other->master != place->ifindex && other->ifindex != place->lower)
			continue;
		if (!other->covered)
			return 0;
		ports++;
	}
	return ports > 0;
}

/* Again while one more is found: a VLAN upon a bridge of bonds. */
static int find_covered(struct search *s)
{
	struct sf_customers *all = s->customers;
	int again = 1;

	all->covered = calloc(s->count + 1, sizeof(*all->covered));
	if (!all->covered)
		return -ENOMEM;
	while (again) {
		again = 0;
		for (size_t i = 0; i < s->count; i++) {
			struct place *place = &s->places[i];

			if (place->covered || !place->takes_over || !is_taken_over(s, place))
				continue;
			place->covered = again = 1;
			all->covered[all->covered_count++] = place->ifindex;
		}
	}
	return 0;
}

static void take_link(void *context, const struct nlmsghdr *message)
{
	struct search *s = context;
	struct place place = {.ifindex = 0};
	void *array;
	const struct ifinfomsg *info = NLMSG_DATA(message);
	ssize_t left = (ssize_t)IFLA_PAYLOAD(message);
	struct sf_customer_link link = {.ifindex = 0};
	struct sf_customers *all = s->customers;

	if (message->nlmsg_type != RTM_NEWLINK || !sf_netlink_has_body(message, sizeof(*info)) ||
	    info->ifi_flags & IFF_LOOPBACK)
		return;
	link.ifindex = info->ifi_index;
	for (const struct rtattr *a = IFLA_RTA(info); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		int type = a->rta_type & NLA_TYPE_MASK;

		if (type == IFLA_IFNAME)
			snprintf(link.name, sizeof(link.name), "%.*s", (int)RTA_PAYLOAD(a),
				 (const char *)RTA_DATA(a));
		else if (type == IFLA_LINKINFO)
			take_kind(&link, a);
		else if (type == IFLA_XDP)
			take_xdp(&link, a);
		else if (type == IFLA_LINK)
			place.lower = (int)sf_netlink_number(a);
		else if (type == IFLA_MASTER)
			place.master = (int)sf_netlink_number(a);
	}
	if (!link.name[0])
		return;
	place.ifindex = link.ifindex;
	if (!is_wanted(s->policy, &link)) {
		add_place(s, &link, &place);
		return;
	}
	link.up = (info->ifi_flags & IFF_UP) != 0;
	link.raw_ip = sf_link_is_raw_ip(info->ifi_type);
	link.unsupported = !link.raw_ip && info->ifi_type != ARPHRD_ETHER;
	for (size_t i = 0; i < s->uplinks->count; i++)
		link.is_uplink |= s->uplinks->link[i].ifindex == link.ifindex;
	place.covered = !link.unsupported && !link.is_uplink;
	add_place(s, &link, &place);
	array = all->link;
	if (make_room(&array, all->count, &all->room, sizeof(link))) {
		s->ret = -ENOMEM;
		return;
	}
	all->link = array;
	all->link[all->count++] = link;
}

static int find(const struct sf_policy *policy, const struct sf_uplinks *uplinks,
		struct sf_customers *customers)
{
	struct search s = {.policy = policy, .uplinks = uplinks, .customers = customers};
	int ret = sf_netlink_dump(RTM_GETLINK, AF_UNSPEC, take_link, &s);

	if (!ret)
		ret = s.ret;
	if (!ret)
		ret = find_covered(&s);
	free(s.places);
	if (ret)
		sf_customers_free(customers);
	return ret;
}

int sf_customers_find(const struct sf_policy *policy, struct sf_customers *customers)
{
	struct sf_uplinks uplinks;
	int ret;

	memset(customers, 0, sizeof(*customers));
	if (!sf_customers_wanted(policy))
		return 0;
	ret = sf_uplinks_find(&policy->uplinks, &uplinks);
	if (ret)
		return ret;
	/* One that is missed would be taken for gone, and lose its fence. */
	ret = -EAGAIN;
	for (int i = 0; i < SF_NETLINK_TRIES && ret == -EAGAIN; i++)
		ret = find(policy, &uplinks, customers);
	return ret;
}

void sf_customers_free(struct sf_customers *customers)
{
	free(customers->link);
	free(customers->covered);
	memset(customers, 0, sizeof(*customers));
}
