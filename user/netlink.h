/* SPDX-License-Identifier: GPL-2.0-only */
/* A dump by rtnetlink, in the network namespace of the caller. */
#ifndef SF_USER_NETLINK_H
#define SF_USER_NETLINK_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>

typedef void (*sf_netlink_fn)(void *context, const struct nlmsghdr *message);

#define SF_NETLINK_TRIES 16 /* of a list that changes while it is read */

/*
 * Ask for all of a kind (RTM_GET*) and family; `take` is given each message. 0 or -errno. -EAGAIN:
 * the list changed meanwhile, and what was given may lack something that is there
 * (NLM_F_DUMP_INTR): begin anew.
 */
int sf_netlink_dump(int type, int family, sf_netlink_fn take, void *context);

/* Has the message a body of this size before its attributes? */
int sf_netlink_has_body(const struct nlmsghdr *message, size_t size);
/* An attribute of 32 bits; 0 where it is shorter. */
uint32_t sf_netlink_number(const struct rtattr *attribute);
/* What the kernel says at the end, or in place of an answer: 0 or a negative errno. */
int sf_netlink_result(const struct nlmsghdr *message);

/* Do packets of this kind of link (ARPHRD_*) begin with IP? */
int sf_link_is_raw_ip(unsigned short type);

#endif
