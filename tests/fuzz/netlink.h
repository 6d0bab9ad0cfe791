/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A netlink socket that answers with the input: datagrams, each with two bytes of its size before
 * it. What lies behind a datagram in the reader's buffer must not be read: AddressSanitizer is
 * told. Included by one target each, which are linked with socket, send, sendto, recv and recvmsg
 * put here.
 */
#ifndef SF_TESTS_FUZZ_NETLINK_H
#define SF_TESTS_FUZZ_NETLINK_H

#include "fuzz.h"
#include <errno.h>
#include <fcntl.h>
#include <sanitizer/asan_interface.h>
#include <sys/socket.h>

static struct fuzz_part answers;
static char *poisoned;
static size_t poisoned_size;

static void unpoison(void)
{
	if (poisoned)
		ASAN_UNPOISON_MEMORY_REGION(poisoned, poisoned_size);
	poisoned = NULL;
}

static ssize_t next_answer(void *buffer, size_t room)
{
	size_t size = (size_t)fuzz_take(&answers, 2), n;

	unpoison();
	if (!answers.size) {
		errno = ENOBUFS; /* the kernel's word for "some were lost" */
		return -1;
	}
	n = size % 4096;
	n = n < answers.size ? n : answers.size;
	n = n < room ? n : room;
	memcpy(buffer, answers.data, n);
	answers.data += n;
	answers.size -= n;
	poisoned = (char *)buffer + n;
	poisoned_size = room - n;
	ASAN_POISON_MEMORY_REGION(poisoned, poisoned_size);
	return (ssize_t)n;
}

int __wrap_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol)
{
	(void)domain;
	(void)type;
	(void)protocol;
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

ssize_t __wrap_send(int fd, const void *data, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t size, int flags)
{
	(void)fd;
	(void)data;
	(void)flags;
	return (ssize_t)size;
}

ssize_t __wrap_sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
		      socklen_t length);
ssize_t __wrap_sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
		      socklen_t length)
{
	(void)to;
	(void)length;
	return __wrap_send(fd, data, size, flags);
}

ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags)
{
	(void)fd;
	(void)flags;
	return next_answer(buffer, size);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
	(void)fd;
	(void)flags;
	memset(msg->msg_name, 0, msg->msg_namelen);
	msg->msg_flags = 0;
	return next_answer(msg->msg_iov[0].iov_base, msg->msg_iov[0].iov_len);
}

#endif
