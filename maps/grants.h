/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A grant says: this port, until then. Relays and allowed senders carry a few each.
 */
#ifndef SF_MAPS_GRANTS_H
#define SF_MAPS_GRANTS_H

#include "abi.h"

#define SF_GRANTS_MAX 8
#define SF_PORT_ANY   0
#define SF_NEVER      (~0ULL)

struct sf_grant {
	__u64 until_ns; /* CLOCK_BOOTTIME, first nanosecond that is too late; SF_NEVER: no end */
	__u16 port;	/* host byte order; SF_PORT_ANY: every fenced port */
	__u16 pad[3];
};
_Static_assert(sizeof(struct sf_grant) == 16, "sf_grant is part of the ABI");

struct sf_grants {
	__u32 count;   /* 0..SF_GRANTS_MAX */
	__u32 has_end; /* 1: at least one ends, so the clock has to be read (33 ns, 6.18) */
	struct sf_grant grant[SF_GRANTS_MAX];
};
_Static_assert(sizeof(struct sf_grants) == 8 + 16 * SF_GRANTS_MAX, "sf_grants is part of the ABI");

#endif
