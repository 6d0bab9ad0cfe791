/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a sender is: cgroup, namespaces, ids, name, directory; and where its socket was made.
 * How it connects is in client_ways.h.
 */
#ifndef SMTPFENCE_TEST_CLIENT_PLACES_H
#define SMTPFENCE_TEST_CLIENT_PLACES_H

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#define NO_ID ((unsigned int)-1)

struct options {
	const char *mode;
	const char *cgroup;	/* entered before anything else */
	const char *netns;	/* path of a network namespace to enter */
	const char *move;	/* the process goes there after the socket was made */
	const char *inherit;	/* a child goes there and uses the inherited socket */
	const char *scm_from;	/* the socket is made there and handed over by SCM_RIGHTS */
	const char *clone_into; /* the attempt is the first act of a child cloned into it */
	const char *comm;
	const char *cwd;
	unsigned int uid, gid;
	const char *group_list;
	gid_t groups[16]; /* of group_list */
	size_t n_groups;
	unsigned int userns_uid; /* a user namespace of its own in which it has this uid */
	bool unshare_net;
	int timeout_ms;
	double seconds;
	long count;
	long interval_us;
	const char *addr;
	long port;
	struct sockaddr_storage dst; /* of addr and port */
	socklen_t dst_len;
	char **argv;
};

static void die(const char *what)
{
	fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
	exit(99);
}

/* ---- places ---- */

static int open_procs(const char *cgroup)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		die(path);
	return fd;
}

static void enter_cgroup(int procs)
{
	if (write(procs, "0", 1) != 1)
		die("cgroup.procs");
	close(procs);
}

static void enter_netns(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		die(path);
	close(fd);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		die(path);
	close(fd);
}

static void enter_userns(unsigned int inside)
{
	char map[64];

	snprintf(map, sizeof(map), "%u %u 1", inside, getuid());
	if (unshare(CLONE_NEWUSER))
		die("unshare user");
	write_file("/proc/self/uid_map", map);
}

static void become(const struct options *o)
{
	if (o->cwd && chdir(o->cwd))
		die(o->cwd);
	if (o->gid != NO_ID || o->uid != NO_ID || o->n_groups) {
		if (setgroups(o->n_groups, o->groups))
			die("setgroups");
	}
	if (o->gid != NO_ID && setresgid(o->gid, o->gid, o->gid))
		die("setgid");
	if (o->uid != NO_ID && setresuid(o->uid, o->uid, o->uid))
		die("setuid");
	if (o->uid != NO_ID) /* a dropped uid makes /proc/self root's; uid_map must stay ours */
		prctl(PR_SET_DUMPABLE, 1);
	if (o->userns_uid != NO_ID)
		enter_userns(o->userns_uid);
	if (o->unshare_net && unshare(CLONE_NEWNET))
		die("unshare net");
	if (o->comm)
		prctl(PR_SET_NAME, o->comm);
}

/* ---- sockets ---- */

static int make_socket(const struct options *o)
{
	struct timeval tv = {o->timeout_ms / 1000, (o->timeout_ms % 1000) * 1000};
	struct linger rst = {1, 0}; /* leave no TIME_WAIT: a hammer would run out of ports */
	bool udp = !strncmp(o->mode, "udp", 3);
	int proto = strcmp(o->mode, "mptcp") ? 0 : IPPROTO_MPTCP;
	int fd;

	fd = socket(o->dst.ss_family, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, proto);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (!udp)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst));
	return fd;
}

union control {
	char buf[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static void send_fd(int chan, int fd)
{
	struct iovec byte = {(char[]){'f'}, 1};
	union control control = {0};
	struct msghdr msg = {.msg_iov = &byte,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	if (sendmsg(chan, &msg, 0) != 1)
		die("send the socket");
}

static int recv_fd(int chan)
{
	char c;
	struct iovec byte = {&c, 1};
	union control control = {0};
	struct msghdr msg = {.msg_iov = &byte,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	int fd = -1;

	if (recvmsg(chan, &msg, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&msg))
		die("receive the socket");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

/*
 * Another process makes the socket in its own cgroup and hands it over. Returns our end of the
 * channel; that process lives until we close it, so it is no orphan's socket either.
 */
static int start_giver(const struct options *o)
{
	int pair[2], fd;
	char c;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		die("socketpair");
	switch (fork()) {
	case -1:
		die("fork");
		break;
	case 0:
		close(pair[0]);
		enter_cgroup(open_procs(o->scm_from));
		if (o->netns)
			enter_netns(o->netns);
		fd = make_socket(o);
		if (fd < 0)
			die("socket");
		send_fd(pair[1], fd);
		(void)!read(pair[1], &c, 1);
		_exit(0);
	}
	close(pair[1]);
	return pair[0];
}

#endif
