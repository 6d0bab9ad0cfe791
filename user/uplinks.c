// SPDX-License-Identifier: GPL-2.0-only
#include "uplinks.h"
#include "netlink.h"
#include <errno.h>
#include <fnmatch.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct search {
	const struct sf_name_list *names;
	struct sf_uplinks *uplinks;
	int by_default[SF_UPLINKS_MAX]; /* interfaces of default routes */
	size_t by_default_count;
};

static void add_default(struct search *s, int ifindex)
{
	for (size_t i = 0; i < s->by_default_count; i++)
		if (s->by_default[i] == ifindex)
			return;
	if (ifindex > 0 && s->by_default_count < SF_UPLINKS_MAX)
		s->by_default[s->by_default_count++] = ifindex;
}

/* A default route of any table: its interface, or those of its several next hops. */
static void take_route(void *context, const struct nlmsghdr *message)
{
	struct search *s = context;
	const struct rtmsg *route = NLMSG_DATA(message);
	ssize_t left = (ssize_t)RTM_PAYLOAD(message);

	if (message->nlmsg_type != RTM_NEWROUTE || !sf_netlink_has_body(message, sizeof(*route)) ||
	    route->rtm_dst_len || route->rtm_src_len || route->rtm_type != RTN_UNICAST)
		return;
	for (const struct rtattr *a = RTM_RTA(route); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == RTA_OIF)
			add_default(s, (int)sf_netlink_number(a));
		if (a->rta_type == RTA_MULTIPATH) {
			const struct rtnexthop *hop = RTA_DATA(a);
			int hops = (int)RTA_PAYLOAD(a);

			while (hops >= (int)sizeof(*hop) && RTNH_OK(hop, hops)) {
				add_default(s, hop->rtnh_ifindex);
				hops -= (int)RTNH_ALIGN(hop->rtnh_len);
				hop = RTNH_NEXT(hop);
			}
		}
	}
}

static int is_wanted(const struct search *s, int ifindex, const char *name)
{
	for (uint32_t i = 0; i < s->names->count; i++) {
		if (!strcmp(s->names->name[i], "auto")) {
			for (size_t d = 0; d < s->by_default_count; d++)
				if (s->by_default[d] == ifindex)
					return 1;
		} else if (!fnmatch(s->names->name[i], name, 0)) {
			return 1;
		}
	}
	return 0;
}

static void take_link(void *context, const struct nlmsghdr *message)
{
	struct search *s = context;
	const struct ifinfomsg *info = NLMSG_DATA(message);
	ssize_t left = (ssize_t)IFLA_PAYLOAD(message);
	struct sf_uplink link = {.ifindex = 0};

	if (message->nlmsg_type != RTM_NEWLINK || !sf_netlink_has_body(message, sizeof(*info)) ||
	    info->ifi_flags & IFF_LOOPBACK)
		return;
	for (const struct rtattr *a = IFLA_RTA(info); RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == IFLA_IFNAME)
			snprintf(link.name, sizeof(link.name), "%.*s", (int)RTA_PAYLOAD(a),
				 (const char *)RTA_DATA(a));
	if (!link.name[0] || !is_wanted(s, info->ifi_index, link.name))
		return;
	link.ifindex = info->ifi_index;
	link.raw_ip = sf_link_is_raw_ip(info->ifi_type);
	link.unsupported = !link.raw_ip && info->ifi_type != ARPHRD_ETHER;
	if (s->uplinks->count == SF_UPLINKS_MAX)
		s->uplinks->more = 1;
	else
		s->uplinks->link[s->uplinks->count++] = link;
}

static int find(const struct sf_name_list *names, struct sf_uplinks *uplinks)
{
	struct search s = {.names = names, .uplinks = uplinks};
	int ret = sf_netlink_dump(RTM_GETROUTE, AF_INET, take_route, &s);

	memset(uplinks, 0, sizeof(*uplinks));
	if (!ret)
		ret = sf_netlink_dump(RTM_GETROUTE, AF_INET6, take_route, &s);
	return ret ? ret : sf_netlink_dump(RTM_GETLINK, AF_UNSPEC, take_link, &s);
}

int sf_uplinks_find(const struct sf_name_list *names, struct sf_uplinks *uplinks)
{
	int ret = -EAGAIN;

	memset(uplinks, 0, sizeof(*uplinks));
	if (!names->count)
		return 0;
	for (int i = 0; i < SF_NETLINK_TRIES && ret == -EAGAIN; i++)
		ret = find(names, uplinks);
	return ret;
}
