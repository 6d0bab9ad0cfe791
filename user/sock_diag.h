/* SPDX-License-Identifier: GPL-2.0-only */
/* TCP sockets of a network namespace by NETLINK_SOCK_DIAG: listed, and ended. Judges nothing. */
#ifndef SF_USER_SOCK_DIAG_H
#define SF_USER_SOCK_DIAG_H

#include <linux/inet_diag.h>
#include <stdint.h>

struct sf_diag_socket {
	/* As the kernel has it: v4-mapped addresses of an AF_INET6 socket stay so. uid of the
	 * caller's user namespace; inode 0: no process holds it any more. */
	struct inet_diag_msg msg;
	uint64_t cgroup; /* v2 id of the cgroup that it was made in; 0: not told */
};

/* For the namespace that the calling thread is in, whoever uses it then: a descriptor. */
int sf_diag_open(void);

/*
 * Call `each` for the sockets of AF_INET or AF_INET6 in `states` (a bit per TCP_* state). What it
 * returns but 0 is returned at last, when all were called. -EOPNOTSUPP: the kernel can't list them.
 */
int sf_diag_list(int fd, uint8_t family, uint32_t states,
		 int (*each)(const struct sf_diag_socket *socket, void *context), void *context);

/*
 * End it: its holder gets ECONNABORTED, its peer a reset. -ENOENT: it is no more (or another one
 * has its addresses); -EOPNOTSUPP: this kernel has no CONFIG_INET_DIAG_DESTROY.
 */
int sf_diag_end(int fd, uint8_t family, const struct inet_diag_sockid *id);

#endif
