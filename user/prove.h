/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The proof: real connect() calls from a throw-away cgroup, to see that they are denied.
 *
 * They are made in a new network namespace without any route, so no packet can leave even where
 * the fence is open: then the errno is ENETUNREACH instead of the fence's.
 */
#ifndef SF_USER_PROVE_H
#define SF_USER_PROVE_H

#include "policy.h"

#define SF_PROOFS_MAX (2 * SF_PORT_LIST_MAX + 4)

struct sf_proof {
	int family; /* AF_INET, AF_INET6 */
	uint16_t port;
	int expected; /* errno, positive; -1: anything but the fence's */
	int seen;     /* errno, positive; 0: connected */
	int skipped;  /* the host has no such family, or relays allow this port to everywhere */
	char to[64];  /* the address that was tried */
};

struct sf_proof_report {
	struct sf_proof proof[SF_PROOFS_MAX];
	size_t count;
	char cgroup[SF_NAME_MAX]; /* where it was tried */
	uint64_t counted;	  /* connects that the kernel counted as this probe's */
	int passed;
};

/*
 * Try each fenced port on IPv4 and IPv6, and one port that is not fenced. 0: tried, see `passed`.
 * -ENOENT: no place is fenced (all is exempt), so nothing could be denied.
 */
int sf_prove(const struct sf_policy *policy, struct sf_proof_report *report, struct sf_error *err);

#endif
