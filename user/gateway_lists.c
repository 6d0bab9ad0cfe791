// SPDX-License-Identifier: GPL-2.0-only
#include "gateway_work.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

static int add_net(struct sf_table *table, int ifindex, const struct sf_net_key *net)
{
	const struct sf_customer_net_key key = {
		.prefixlen = SF_CUSTOMER_NET_BITS + net->prefixlen - SF_NET_FAMILY_BITS,
		.ifindex = (uint32_t)ifindex,
		.family = net->family,
		.addr = net->addr,
	};
	const uint32_t one = 1;

	return sf_table_add(table, &key, &one);
}

/* An interface's networks; and link-local addresses, which no router takes further. */
static int add_networks(struct gateway_work *w, const struct sf_customer_link *link)
{
	static const struct sf_net_key link_local = {
		.prefixlen = SF_NET_FAMILY_BITS + 10,
		.family = SF_FAMILY_V6,
		.addr = {.b = {0xfe, 0x80}},
	};
	int ret = add_net(&w->nets, link->ifindex, &link_local);

	for (size_t i = 0; i < w->policy->entry_count && !ret; i++) {
		const struct sf_entry *entry = &w->policy->entries[i];
		struct sf_error err = {.code = 0};
		struct sf_net_key net;
		size_t at = 0;

		if (!sf_customer_matches(entry, link->name))
			continue;
		while (!ret && sf_next_net(entry->user_names, &at, &net, &err))
			ret = err.code ? err.code : add_net(&w->nets, link->ifindex, &net);
	}
	return ret;
}

int gateway_is_fenced(const struct sf_customer_link *link)
{
	return !link->unsupported && !link->is_uplink;
}

/* A source that is allowed, behind any interface or behind those that it names. */
static int add_source(struct gateway_work *w, const struct sf_entry *entry)
{
	const struct sf_mail_host anywhere = {.ifindex = 0};
	int ret = 0;

	if (!entry->user_names)
		return sf_table_add(&w->hosts, &entry->net, &anywhere);
	for (size_t i = 0; i < w->customers.count && !ret; i++) {
		const struct sf_customer_link *link = &w->customers.link[i];

		if (gateway_is_fenced(link) && sf_names_match(entry->user_names, link->name))
			ret = add_net(&w->bound, link->ifindex, &entry->net);
	}
	return ret;
}

static int add_sources(struct gateway_work *w)
{
	const struct sf_net_list *list = &w->policy->mail_hosts;
	const struct sf_mail_host anywhere = {.ifindex = 0};
	int ret = 0;

	for (uint32_t i = 0; i < list->count && !ret; i++)
		ret = sf_table_add(&w->hosts, &list->net[i], &anywhere);
	for (size_t i = 0; i < w->policy->entry_count && !ret; i++)
		if (w->policy->entries[i].kind == SF_ENTRY_ALLOW_SOURCE)
			ret = add_source(w, &w->policy->entries[i]);
	return ret;
}

int gateway_lists_want(struct gateway_work *w)
{
	int ret = 0;

	for (size_t i = 0; i < w->customers.count && !ret; i++)
		if (gateway_is_fenced(&w->customers.link[i]) && w->customers.link[i].has_networks)
			ret = add_networks(w, &w->customers.link[i]);
	if (!ret)
		ret = add_sources(w);
	if (!ret)
		ret = sf_table_sort(&w->nets);
	if (!ret)
		ret = sf_table_sort(&w->hosts);
	return ret ? ret : sf_table_sort(&w->bound);
}

static struct sf_gateway want_settings(const struct gateway_work *w)
{
	const struct sf_policy *policy = w->policy;
	struct sf_gateway g = {.abi = SF_ABI_VERSION};

	if (policy->gateway_answer)
		g.flags |= SF_GATEWAY_ANSWER_RESET;
	if (policy->gateway_limit != SF_GATEWAY_LIMIT_ALERT)
		g.flags |= SF_GATEWAY_LIMIT_DROP;
	if (w->hosts.count)
		g.flags |= SF_GATEWAY_MAIL_HOSTS;
	if (w->bound.count)
		g.flags |= SF_GATEWAY_BOUND_HOSTS;
	return g;
}

int gateway_lists_write(struct gateway_work *w)
{
	struct sf_gateway settings = want_settings(w);
	__u32 zero = 0;
	int ret = sf_table_bring(w->map[SF_GATEWAY_MAP_CUSTOMER_NETS], &w->nets, 0);

	if (!ret)
		ret = sf_table_bring(w->map[SF_GATEWAY_MAP_MAIL_HOSTS], &w->hosts, 0);
	if (!ret)
		ret = sf_table_bring(w->map[SF_GATEWAY_MAP_BOUND_HOSTS], &w->bound, 0);
	if (!ret && bpf_map_update_elem(w->map[SF_GATEWAY_MAP_SETTINGS], &zero, &settings, BPF_ANY))
		ret = -errno;
	if (!ret)
		ret = sf_table_bring(w->map[SF_GATEWAY_MAP_MAIL_HOSTS], &w->hosts, 1);
	if (!ret)
		ret = sf_table_bring(w->map[SF_GATEWAY_MAP_BOUND_HOSTS], &w->bound, 1);
	return ret;
}

int gateway_enter(struct gateway_work *w, const struct sf_customer_link *link, int counted)
{
	__u32 key = (__u32)link->ifindex;
	struct sf_customer now = {.flags = 0}, old;

	if (link->has_networks)
		now.flags |= SF_CUSTOMER_NETS;
	/* What was counted here before goes on to be while its program is exchanged. */
	if (counted || (!bpf_map_lookup_elem(w->map[SF_GATEWAY_MAP_CUSTOMERS], &key, &old) &&
			(old.flags & SF_CUSTOMER_COUNTED)))
		now.flags |= SF_CUSTOMER_COUNTED;
	return bpf_map_update_elem(w->map[SF_GATEWAY_MAP_CUSTOMERS], &key, &now, BPF_ANY) ? -errno
											  : 0;
}

const struct sf_customer_link *gateway_find_link(const struct sf_customers *customers, int ifindex)
{
	for (size_t i = 0; i < customers->count; i++)
		if (customers->link[i].ifindex == ifindex && gateway_is_fenced(&customers->link[i]))
			return &customers->link[i];
	return NULL;
}

static int is_covered(const struct sf_customers *customers, int ifindex)
{
	for (size_t i = 0; i < customers->covered_count; i++)
		if (customers->covered[i] == ifindex)
			return 1;
	return 0;
}

/* Only where a program stands on all that they take from; else uplinks count what comes by them. */
int gateway_enter_covered(struct gateway_work *w)
{
	const struct sf_customer counted = {.flags = SF_CUSTOMER_COUNTED};

	for (size_t i = 0; i < w->customers.covered_count; i++) {
		__u32 key = (__u32)w->customers.covered[i];

		if (bpf_map_update_elem(w->map[SF_GATEWAY_MAP_CUSTOMERS], &key, &counted, BPF_ANY))
			return -errno;
	}
	return 0;
}

static int covered_differ(const struct gateway_work *w)
{
	for (size_t i = 0; i < w->customers.covered_count; i++) {
		__u32 key = (__u32)w->customers.covered[i];
		struct sf_customer row;

		if (bpf_map_lookup_elem(w->map[SF_GATEWAY_MAP_CUSTOMERS], &key, &row) ||
		    !(row.flags & SF_CUSTOMER_COUNTED))
			return 1;
	}
	return 0;
}

static int is_ours(const struct sf_customers *customers, int ifindex)
{
	return gateway_find_link(customers, ifindex) || is_covered(customers, ifindex);
}

void gateway_forget_others(struct gateway_work *w)
{
	int fd = w->map[SF_GATEWAY_MAP_CUSTOMERS];
	__u32 key, next, *before = NULL;

	while (!bpf_map_get_next_key(fd, before, &next)) {
		if (before && !is_ours(&w->customers, (int)key))
			bpf_map_delete_elem(fd, &key);
		key = next;
		before = &key;
	}
	if (before && !is_ours(&w->customers, (int)key))
		bpf_map_delete_elem(fd, &key);
	sf_table_bring(w->map[SF_GATEWAY_MAP_CUSTOMER_NETS], &w->nets, 1);
}

static int settings_differ(const struct gateway_work *w)
{
	struct sf_gateway want = want_settings(w), have = {.abi = 0};
	__u32 zero = 0;

	return bpf_map_lookup_elem(w->map[SF_GATEWAY_MAP_SETTINGS], &zero, &have) ||
	       memcmp(&have, &want, sizeof(have)) != 0;
}

int gateway_lists_differ(const struct gateway_work *w)
{
	return sf_table_differs(w->map[SF_GATEWAY_MAP_CUSTOMER_NETS], &w->nets) ||
	       sf_table_differs(w->map[SF_GATEWAY_MAP_MAIL_HOSTS], &w->hosts) ||
	       sf_table_differs(w->map[SF_GATEWAY_MAP_BOUND_HOSTS], &w->bound) ||
	       settings_differ(w) || covered_differ(w);
}
