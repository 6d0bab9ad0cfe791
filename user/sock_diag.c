// SPDX-License-Identifier: GPL-2.0-only
#include "sock_diag.h"
#include "netlink.h"
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* include/uapi/linux/inet_diag.h of 5.8. */
#define CGROUP_ID 21

struct request {
	struct nlmsghdr head;
	struct inet_diag_req_v2 body;
};

int sf_diag_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	return fd < 0 ? -errno : fd;
}

static int ask(int fd, struct request *request)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

	request->head.nlmsg_len = sizeof(*request);
	request->body.sdiag_protocol = IPPROTO_TCP;
	return sendto(fd, request, sizeof(*request), 0, (const struct sockaddr *)&kernel,
		      sizeof(kernel)) < 0
		       ? -errno
		       : 0;
}

/* One datagram from the kernel, whole, or a negative errno. */
static ssize_t answer(int fd, void *buffer, size_t size)
{
	struct sockaddr_nl from;
	struct iovec data = {buffer, size};
	struct msghdr msg;
	ssize_t n;

	do {
		msg = (struct msghdr){.msg_name = &from,
				      .msg_namelen = sizeof(from),
				      .msg_iov = &data,
				      .msg_iovlen = 1};
		n = recvmsg(fd, &msg, 0);
	} while ((n < 0 && errno == EINTR) || (n >= 0 && from.nl_pid));
	if (n < 0)
		return -errno;
	return (msg.msg_flags & MSG_TRUNC) ? -EMSGSIZE : n;
}

static int parse(const struct nlmsghdr *head, struct sf_diag_socket *socket)
{
	size_t at = NLMSG_LENGTH(sizeof(socket->msg));
	struct rtattr a;

	if (head->nlmsg_len < at)
		return -EPROTO;
	memcpy(&socket->msg, NLMSG_DATA(head), sizeof(socket->msg));
	socket->cgroup = 0;
	while (at + sizeof(a) <= head->nlmsg_len) {
		const char *from = (const char *)head + at;

		memcpy(&a, from, sizeof(a));
		if (a.rta_len < sizeof(a) || a.rta_len > head->nlmsg_len - at)
			return -EPROTO;
		if (a.rta_type == CGROUP_ID && a.rta_len == RTA_LENGTH(sizeof(socket->cgroup)))
			memcpy(&socket->cgroup, from + RTA_LENGTH(0), sizeof(socket->cgroup));
		at += RTA_ALIGN(a.rta_len);
	}
	return 0;
}

int sf_diag_list(int fd, uint8_t family, uint32_t states,
		 int (*each)(const struct sf_diag_socket *socket, void *context), void *context)
{
	struct request request = {
		.head = {.nlmsg_type = SOCK_DIAG_BY_FAMILY,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.body = {.sdiag_family = family, .idiag_states = states},
	};
	_Alignas(struct nlmsghdr) char buffer[32768];
	int ret = ask(fd, &request), told = 0;

	while (!ret) {
		const struct nlmsghdr *head = (const struct nlmsghdr *)buffer;
		ssize_t n = answer(fd, buffer, sizeof(buffer));
		ssize_t left = n; /* below 0 behind a message without its padding */

		if (n < 0)
			return (int)n;
		for (; NLMSG_OK(head, left); head = NLMSG_NEXT(head, left)) {
			struct sf_diag_socket socket;

			if (head->nlmsg_type == NLMSG_DONE) {
				ret = sf_netlink_result(head);
				return ret ? ret : told;
			}
			if (head->nlmsg_type == NLMSG_ERROR) {
				/* No handler for this family: the module is not there. */
				ret = sf_netlink_result(head);
				return ret == -ENOENT ? -EOPNOTSUPP : ret ? ret : -EPROTO;
			}
			ret = parse(head, &socket);
			if (ret)
				return ret;
			/* Read to the end all the same, so that the next request has no old answer.
			 */
			if (!told)
				told = each(&socket, context);
		}
	}
	return ret;
}

int sf_diag_end(int fd, uint8_t family, const struct inet_diag_sockid *id)
{
	struct request request = {
		.head = {.nlmsg_type = SOCK_DESTROY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.body = {.sdiag_family = family, .id = *id},
	};
	_Alignas(struct nlmsghdr) char buffer[1024];
	const struct nlmsghdr *head = (const struct nlmsghdr *)buffer;
	int ret = ask(fd, &request);
	ssize_t n;

	if (ret)
		return ret;
	n = answer(fd, buffer, sizeof(buffer));
	if (n < 0)
		return (int)n;
	if (!NLMSG_OK(head, n) || head->nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return sf_netlink_result(head);
}
