/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The gateway fence: interfaces behind which customers are (containers, virtual machines, routed
 * networks), and who of them may send mail. Written by user space where customers are configured;
 * read by the programs on their interfaces.
 */
#ifndef SF_MAPS_GATEWAY_H
#define SF_MAPS_GATEWAY_H

#include "abi.h"
#include "customers.h"

/* prefixlen counts the 64 bits of ifindex and family in front of the address. */
struct sf_customer_net_key {
	__u32 prefixlen;
	__u32 ifindex; /* host byte order, as family; addr in network byte order */
	__u32 family;
	struct sf_addr addr;
};
_Static_assert(sizeof(struct sf_customer_net_key) == 28, "sf_customer_net_key is part of the ABI");

#define SF_CUSTOMER_NET_BITS	 64
#define SF_CUSTOMER_NET_BITS_MAX (SF_CUSTOMER_NET_BITS + 128)

/* A source that may send mail. */
struct sf_mail_host {
	__u32 ifindex; /* behind this interface only; 0: any */
	__u32 pad;
};
_Static_assert(sizeof(struct sf_mail_host) == 8, "sf_mail_host is part of the ABI");

#define SF_GATEWAY_ANSWER_RESET (1u << 0) /* a denied SYN is answered by a TCP reset */
#define SF_GATEWAY_LIMIT_DROP	(1u << 1) /* a source above `act` of its limits is denied */
#define SF_GATEWAY_MAIL_HOSTS	(1u << 2) /* mail_hosts is not empty */
#define SF_GATEWAY_BOUND_HOSTS	(1u << 3) /* bound_hosts is not empty */

#define SF_GATEWAY_REPORT_NS 10000000ULL /* a core reports at most a hundred denials a second */

struct sf_gateway {
	__u32 abi;   /* SF_ABI_VERSION; anything else reads as no flags */
	__u32 flags; /* SF_GATEWAY_* */
};
_Static_assert(sizeof(struct sf_gateway) == 8, "sf_gateway is part of the ABI");

#ifdef __bpf__
/* Full: user space refuses, the old lists stay. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sf_customer_net_key);
	__type(value, __u32);
} customer_nets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sf_net_key);
	__type(value, struct sf_mail_host);
} mail_hosts SEC(".maps");

/*
 * Sources that may send mail from the interface in the key only; in a table of their own, so that
 * one source may have several interfaces, and hides no wider network of mail_hosts. Full: user
 * space refuses.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sf_customer_net_key);
	__type(value, __u32);
} bound_hosts SEC(".maps");

/* When this core last reported a denial (CLOCK_BOOTTIME). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} gateway_reports SEC(".maps");

/* One entry, always present. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sf_gateway);
} gateway SEC(".maps");
#endif

#endif
