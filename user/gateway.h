/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The gateway fence on the customers' interfaces: its programs loaded beside the fence and the
 * census, attached, exchanged, taken off, looked at. The caller holds the lock of state_dir.
 */
#ifndef SF_USER_GATEWAY_H
#define SF_USER_GATEWAY_H

#include "customers.h"
#include "image.h"
#include "loader.h"
#include "policy.h"
#include <net/if.h>

/*
 * Bring the customers' interfaces to what the policy says: lists first, programs on those that
 * match, off those that do not. `replace`: load anew and exchange (`on`). `settings` is of the
 * image. An error leaves the process fence as it is; the text says what is not fenced.
 */
int sf_gateway_apply(const struct sf_policy *policy, const struct sf_loaded *fence,
		     const struct sf_census_settings *settings, int replace, struct sf_error *err);
void sf_gateway_remove(const char *pin_dir);

/* Interfaces that were fenced before, but off which somebody had taken a program of ours. */
struct sf_gateway_restored {
	size_t count;
	char first[IF_NAMESIZE]; /* whose name is the sender's to choose */
};

/*
 * Interfaces came or went: fence what matches. Cheap where nothing has to be loaded, so that it
 * can follow each link event. Nothing happens where the fence is off.
 */
int sf_gateway_refresh(const struct sf_policy *policy, struct sf_gateway_restored *restored,
		       struct sf_error *err);

/* What really is in effect at one interface. */
struct sf_gateway_place {
	const char *how; /* "xdp", "xdpgeneric", "tcx", "clsact"; NULL: not fenced */
	uint32_t program_id;
	int answers; /* the program towards the customer is in effect */
	int listed;  /* the kernel's table of customers has it */
};

struct sf_gateway_status {
	struct sf_customers customers;
	struct sf_gateway_place *place; /* one for each of customers.link */
	int whole;			/* all that can be fenced is, with the lists as wanted */
	int lists_differ;		/* mail hosts, networks or settings are not as wanted */
};

int sf_gateway_read(const struct sf_policy *policy, struct sf_gateway_status *status);
void sf_gateway_status_free(struct sf_gateway_status *status);

/* Does a gateway fence of ours stand on this interface now? By the kernel's table. */
int sf_gateway_has(const char *pin_dir, uint32_t ifindex);

/* Is XDP what should stand at this interface, where nothing is in its way? */
int sf_gateway_wants_xdp(const struct sf_policy *policy, const struct sf_customer_link *link);

#endif
