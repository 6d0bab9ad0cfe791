/* SPDX-License-Identifier: GPL-2.0-only */
/* The ways to open a connection (or send a datagram): each returns 0 or -errno. */
#ifndef SMTPFENCE_TEST_CLIENT_WAYS_H
#define SMTPFENCE_TEST_CLIENT_WAYS_H

#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>

#include "client_places.h"
#include "client_uring.h"

#ifndef TCP_FASTOPEN_CONNECT
#define TCP_FASTOPEN_CONNECT 30
#endif

typedef int (*attempt_fn)(int fd, const struct options *o);

static const struct sockaddr *dst(const struct options *o)
{
	return (const struct sockaddr *)&o->dst;
}

static int result(ssize_t rc)
{
	return rc < 0 ? -errno : 0;
}

static int by_connect(int fd, const struct options *o)
{
	return result(connect(fd, dst(o), o->dst_len));
}

static int by_nonblock(int fd, const struct options *o)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(int);
	int err = 0;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (!connect(fd, dst(o), o->dst_len))
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	if (poll(&p, 1, o->timeout_ms) != 1)
		return -ETIMEDOUT;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
	return -err;
}

static int by_reconnect(int fd, const struct options *o)
{
	struct sockaddr_storage first = o->dst;
	struct sockaddr none = {.sa_family = AF_UNSPEC};

	/* sin_port and sin6_port lie at the same place */
	((struct sockaddr_in *)&first)->sin_port = htons(80);
	if (connect(fd, (struct sockaddr *)&first, o->dst_len))
		return -errno;
	if (connect(fd, &none, sizeof(none)))
		return -errno;
	return by_connect(fd, o);
}

static int by_tfo_sendto(int fd, const struct options *o)
{
	return result(sendto(fd, "EHLO x\r\n", 8, MSG_FASTOPEN, dst(o), o->dst_len));
}

static struct msghdr tfo_message(const struct options *o, struct iovec *data)
{
	return (struct msghdr){.msg_name = (void *)(uintptr_t)&o->dst,
			       .msg_namelen = o->dst_len,
			       .msg_iov = data,
			       .msg_iovlen = 1};
}

static int by_tfo_sendmsg(int fd, const struct options *o)
{
	struct iovec data = {(char[]){"EHLO x\r\n"}, 8};
	struct msghdr msg = tfo_message(o, &data);

	return result(sendmsg(fd, &msg, MSG_FASTOPEN));
}

static int by_tfo_sendmmsg(int fd, const struct options *o)
{
	struct iovec data = {(char[]){"EHLO x\r\n"}, 8};
	struct mmsghdr msg = {.msg_hdr = tfo_message(o, &data)};

	return result(sendmmsg(fd, &msg, 1, MSG_FASTOPEN));
}

static int by_tfo_connect(int fd, const struct options *o)
{
	if (setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &(int){1}, sizeof(int)))
		return -errno;
	if (connect(fd, dst(o), o->dst_len))
		return -errno;
	return result(write(fd, "EHLO x\r\n", 8));
}

static int by_uring(int fd, const struct options *o)
{
	return uring_connect(fd, dst(o), o->dst_len, 0, 0);
}

static int by_uring_async(int fd, const struct options *o)
{
	return uring_connect(fd, dst(o), o->dst_len, IOSQE_ASYNC, 0);
}

static int by_uring_sqpoll(int fd, const struct options *o)
{
	return uring_connect(fd, dst(o), o->dst_len, 0, IORING_SETUP_SQPOLL);
}

static int by_udp(int fd, const struct options *o)
{
	return result(sendto(fd, "smtpfence test", 14, 0, dst(o), o->dst_len));
}

static int by_udp_connect(int fd, const struct options *o)
{
	if (connect(fd, dst(o), o->dst_len))
		return -errno;
	return result(send(fd, "smtpfence test", 14, 0));
}

struct thread_work {
	const struct options *o;
	int fd;
	int ret;
};

static void *thread_main(void *arg)
{
	struct thread_work *w = arg;

	if (w->o->comm) /* the name is a thread's */
		prctl(PR_SET_NAME, w->o->comm);
	w->ret = by_connect(w->fd, w->o);
	return NULL;
}

static int by_thread(int fd, const struct options *o)
{
	struct thread_work w = {.o = o, .fd = fd};
	pthread_t t;

	if (pthread_create(&t, NULL, thread_main, &w))
		return -EAGAIN;
	pthread_join(t, NULL);
	return w.ret;
}

static const struct {
	const char *name;
	attempt_fn attempt;
} ways[] = {
	{"connect", by_connect},
	{"nonblock", by_nonblock},
	{"reconnect", by_reconnect},
	{"thread", by_thread},
	{"mptcp", by_connect},
	{"tfo-sendto", by_tfo_sendto},
	{"tfo-sendmsg", by_tfo_sendmsg},
	{"tfo-sendmmsg", by_tfo_sendmmsg},
	{"tfo-connect", by_tfo_connect},
	{"uring", by_uring},
	{"uring-async", by_uring_async},
	{"uring-sqpoll", by_uring_sqpoll},
	{"udp", by_udp},
	{"udp-connect", by_udp_connect},
};

static attempt_fn way_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (!strcmp(ways[i].name, name))
			return ways[i].attempt;
	return NULL;
}

#endif
