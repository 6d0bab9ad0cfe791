/* SPDX-License-Identifier: GPL-2.0-only */
/* The packet that path.c describes and path.bpf.c makes: Ethernet, IPv4 and TCP, no options. */
#ifndef BENCH_PATH_H
#define BENCH_PATH_H

#include <linux/types.h>

struct frame {
	__u8 to[6], from[6];
	__be16 ethertype;
	__u8 version, tos;
	__be16 length, id, fragment;
	__u8 ttl, protocol;
	__u16 check;
	__be32 saddr, daddr;
	__be16 sport, dport;
	__be32 seq, ack;
	__u8 offset, flags;
	__be16 window;
	__u16 tcp_check, urgent;
} __attribute__((packed));

#endif
