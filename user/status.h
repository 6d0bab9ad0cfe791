/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel really does now. Everything here is read from the kernel; the policy only says
 * what to compare it with.
 */
#ifndef SF_USER_STATUS_H
#define SF_USER_STATUS_H

#include "egress.h"
#include "fence.h"
#include "gateway.h"
#include "../maps/counters.h"

#define SF_FAULTS_MAX 24

struct sf_hook_status {
	int pinned;	     /* our link is pinned */
	int in_effect;	     /* the kernel lists its program at the hook, with our maps */
	uint32_t program_id; /* 0: none */
	uint64_t loaded_at;  /* seconds since 1970 */
	char target[SF_NAME_MAX];
};

struct sf_role_status {
	const struct sf_entry *entry; /* points into the policy */
	int present;		      /* the cgroup exists */
	int entered;		      /* and the kernel has its id with this role */
};

struct sf_status {
	int mode;   /* what the kernel does: enum sf_mode; SF_MODE_OFF where nothing is attached */
	int wanted; /* what the policy says */
	int enforcing;	   /* IPv4 and IPv6 are denied now */
	int can_set_errno; /* the wanted errno is given */
	uint64_t since;	   /* seconds since 1970 when the mode was last changed; 0: unknown */
	struct sf_hook_status hook[SF_HOOK_COUNT];
	struct sf_egress_status egress;	  /* the census on the uplinks */
	struct sf_gateway_status gateway; /* the fence on the customers' interfaces */
	struct sf_role_status *role;
	size_t role_count;
	uint64_t counter[SF_COUNTER_COUNT];
	int counters_read;
	int daemon_runs; /* somebody holds the daemon's lock */
	/* What is not as the policy says, in words; each is exit status 4 if we still enforce. */
	char fault[SF_FAULTS_MAX][384];
	size_t fault_count;
	size_t mendable; /* how many of them applying the policy again would mend */
};

#define SF_STATUS_QUICK                                                                            \
	1 /* of the tables only a sample, others each time; no roles, no uplinks                   \
	   */

/*
 * Read all of it. 0 also where nothing is attached: that is a status. A negative errno only where
 * it could not be looked at (no privilege, no cgroup v2). Release with sf_status_free.
 */
int sf_status_read(const struct sf_policy *policy, int flags, struct sf_status *status,
		   struct sf_error *err);
/* When a program was loaded, in seconds since 1970; 0: it is gone. */
uint64_t sf_status_loaded_at(uint32_t program_id);
void sf_status_free(struct sf_status *status);

/* What the kernel does is not what the policy says: applying it again would mend it. */
void sf_status_fault(struct sf_status *status, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Is all in effect that the policy says? Then 0; else the exit status of `status`: 3 or 4. */
int sf_status_exit(const struct sf_status *status);

/* One counter's sum over the cores; 0 where it can't be read. */
uint64_t sf_counter_read(int counters_fd, uint32_t index);

/* Sum of the per-CPU counters. `counter` has SF_COUNTER_COUNT places. */
int sf_counters_read(const char *pin_dir, uint64_t *counter);

extern const char *const sf_verdict_names[SF_VERDICT_COUNT];
extern const char *const sf_reason_names[SF_REASON_COUNT];
extern const char *const sf_loss_names[SF_LOSS_COUNT];

#endif
