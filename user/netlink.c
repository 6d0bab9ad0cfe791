// SPDX-License-Identifier: GPL-2.0-only
#include "netlink.h"
#include "cleanup.h"
#include <errno.h>
#include <linux/if_arp.h>
#include <string.h>
#include <sys/socket.h>

int sf_netlink_has_body(const struct nlmsghdr *message, size_t size)
{
	return message->nlmsg_len >= NLMSG_LENGTH(size);
}

uint32_t sf_netlink_number(const struct rtattr *attribute)
{
	uint32_t number = 0;

	if (RTA_PAYLOAD(attribute) >= sizeof(number))
		memcpy(&number, RTA_DATA(attribute), sizeof(number));
	return number;
}

/* A list that ends by an error is not whole: NLMSG_DONE carries one, too. */
int sf_netlink_result(const struct nlmsghdr *message)
{
	int error = 0;

	if (sf_netlink_has_body(message, sizeof(error)))
		memcpy(&error, NLMSG_DATA(message), sizeof(error));
	else if (message->nlmsg_type == NLMSG_ERROR)
		return -EPROTO;
	return error > 0 ? -EPROTO : error;
}

/* The kernel answers in datagrams of several messages. */
int sf_netlink_dump(int type, int family, sf_netlink_fn take, void *context)
{
	struct {
		struct nlmsghdr header;
		union { /* of its type's own size: the kernel logs what is longer or shorter */
			struct rtmsg route;
			struct ifinfomsg link;
		} body;
	} request = {.header = {.nlmsg_len = type == RTM_GETLINK
						     ? NLMSG_LENGTH(sizeof(struct ifinfomsg))
						     : NLMSG_LENGTH(sizeof(struct rtmsg)),
				.nlmsg_type = (unsigned short)type,
				.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		     .body.link = {.ifi_family = (unsigned char)family}};
	static _Alignas(struct nlmsghdr) char buffer[65536];
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int changed = 0;

	if (fd < 0 || send(fd, &request, request.header.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
		struct nlmsghdr *message = (struct nlmsghdr *)buffer;
		ssize_t left = n > 0 ? n : 0; /* below 0 behind a message without its padding */

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		for (; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
			changed |= message->nlmsg_flags & NLM_F_DUMP_INTR;
			if (message->nlmsg_type == NLMSG_DONE && changed)
				return -EAGAIN;
			if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR)
				return sf_netlink_result(message);
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
