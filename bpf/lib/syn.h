/* SPDX-License-Identifier: GPL-2.0-only */
/* One SYN on its way through the census: what is known of it, each step adds its own. */
#ifndef SF_BPF_SYN_H
#define SF_BPF_SYN_H

#include "census.h"
#include "parse.h"

#define NO_SOCKET    0 /* forwarded, or not a whole socket */
#define TCP_SOCKET   1
#define OTHER_SOCKET 2 /* raw, packet */

struct syn {
	struct sf_packet p;
	struct sf_census_key source_key, sender_key;
	__u64 now_ns, source_hash, destination_hash, flow; /* flow: of both ends and their ports */
	struct sf_moment now;
	__u32 source, sender; /* slots */
	__u32 ifindex;
	__u8 fenced;
	__u8 watched;
	__u8 repeated;
	__u8 socket;	      /* above; the uplink's programs say it */
	__u8 verdict, reason; /* the gateway's programs say them, */
	__u8 quarantined;     /* and this */
};

#endif
