// SPDX-License-Identifier: GPL-2.0-only
#include "netlink.h"
#include "cleanup.h"
#include <errno.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

/* The kernel answers in datagrams of several messages. */
int sf_netlink_dump(int type, int family, sf_netlink_fn take, void *context)
{
	struct {
		struct nlmsghdr header;
		struct rtmsg body; /* as large as ifinfomsg's beginning; the rest is not asked */
	} request = {.header = {.nlmsg_len = sizeof(request),
				.nlmsg_type = (unsigned short)type,
				.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		     .body = {.rtm_family = (unsigned char)family}};
	static _Alignas(struct nlmsghdr) char buffer[65536];
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int changed = 0;

	if (fd < 0 || send(fd, &request, sizeof(request), 0) < 0)
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
			changed |= message->nlmsg_flags & NLM_F_DUMP_INTR;
			if (message->nlmsg_type == NLMSG_DONE)
				return changed ? -EAGAIN : 0;
			if (message->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(message))->error;
			take(context, message);
		}
	}
}

int sf_link_is_raw_ip(unsigned short type)
{
	return type == ARPHRD_NONE || type == ARPHRD_PPP || type == ARPHRD_TUNNEL ||
	       type == ARPHRD_TUNNEL6 || type == ARPHRD_SIT || type == ARPHRD_IPGRE ||
	       type == ARPHRD_RAWIP;
}
