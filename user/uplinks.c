// SPDX-License-Identifier: GPL-2.0-only
#include "uplinks.h"
#include "cleanup.h"
#include <errno.h>
#include <fnmatch.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

struct search {
	const struct sf_name_list *names;
	struct sf_uplinks *uplinks;
	int by_default[SF_UPLINKS_MAX]; /* interfaces of default routes */
	size_t by_default_count;
};

typedef void (*message_fn)(struct search *s, const struct nlmsghdr *message);

/* Ask for all of a kind; the kernel answers in datagrams of several messages. */
static int dump(int fd, int type, int family, struct search *s, message_fn take)
{
	struct {
		struct nlmsghdr header;
		struct rtmsg body; /* as large as ifinfomsg's beginning; the rest is not asked */
	} request = {.header = {.nlmsg_len = sizeof(request),
				.nlmsg_type = (unsigned short)type,
				.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		     .body = {.rtm_family = (unsigned char)family}};
	static _Alignas(struct nlmsghdr) char buffer[65536];

	if (send(fd, &request, sizeof(request), 0) < 0)
		return -errno;
	for (;;) {
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
		struct nlmsghdr *message = (struct nlmsghdr *)buffer;
		unsigned int left = n > 0 ? (unsigned int)n : 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		for (; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
			if (message->nlmsg_type == NLMSG_DONE)
				return 0;
			if (message->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(message))->error;
			take(s, message);
		}
	}
}

static void add_default(struct search *s, int ifindex)
{
	for (size_t i = 0; i < s->by_default_count; i++)
		if (s->by_default[i] == ifindex)
			return;
	if (ifindex > 0 && s->by_default_count < SF_UPLINKS_MAX)
		s->by_default[s->by_default_count++] = ifindex;
}

/* A default route of any table: its interface, or those of its several next hops. */
static void take_route(struct search *s, const struct nlmsghdr *message)
{
	const struct rtmsg *route = NLMSG_DATA(message);
	unsigned int left = (unsigned int)RTM_PAYLOAD(message);

	if (message->nlmsg_type != RTM_NEWROUTE || route->rtm_dst_len || route->rtm_src_len ||
	    route->rtm_type != RTN_UNICAST)
		return;
	for (const struct rtattr *a = RTM_RTA(route); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == RTA_OIF)
			add_default(s, *(const int *)RTA_DATA(a));
		if (a->rta_type == RTA_MULTIPATH) {
			const struct rtnexthop *hop = RTA_DATA(a);
			int hops = (int)RTA_PAYLOAD(a);

			while (RTNH_OK(hop, hops)) {
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

static int is_raw_ip(unsigned short type)
{
	return type == ARPHRD_NONE || type == ARPHRD_PPP || type == ARPHRD_TUNNEL ||
	       type == ARPHRD_TUNNEL6 || type == ARPHRD_SIT || type == ARPHRD_IPGRE ||
	       type == ARPHRD_RAWIP;
}

static void take_link(struct search *s, const struct nlmsghdr *message)
{
	const struct ifinfomsg *info = NLMSG_DATA(message);
	unsigned int left = (unsigned int)IFLA_PAYLOAD(message);
	struct sf_uplink link = {.ifindex = 0};

	if (message->nlmsg_type != RTM_NEWLINK || info->ifi_flags & IFF_LOOPBACK)
		return;
	for (const struct rtattr *a = IFLA_RTA(info); RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == IFLA_IFNAME)
			snprintf(link.name, sizeof(link.name), "%s", (const char *)RTA_DATA(a));
	if (!link.name[0] || !is_wanted(s, info->ifi_index, link.name))
		return;
	link.ifindex = info->ifi_index;
	link.raw_ip = is_raw_ip(info->ifi_type);
	link.unsupported = !link.raw_ip && info->ifi_type != ARPHRD_ETHER;
	if (s->uplinks->count == SF_UPLINKS_MAX)
		s->uplinks->more = 1;
	else
		s->uplinks->link[s->uplinks->count++] = link;
}

int sf_uplinks_find(const struct sf_name_list *names, struct sf_uplinks *uplinks)
{
	_cleanup_close_ int fd = -1;
	struct search s = {.names = names, .uplinks = uplinks};
	int ret;

	memset(uplinks, 0, sizeof(*uplinks));
	if (!names->count)
		return 0;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	ret = dump(fd, RTM_GETROUTE, AF_INET, &s, take_route);
	if (!ret)
		ret = dump(fd, RTM_GETROUTE, AF_INET6, &s, take_route);
	return ret ? ret : dump(fd, RTM_GETLINK, AF_UNSPEC, &s, take_link);
}
