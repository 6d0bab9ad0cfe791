/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Quarantine as the answer to an alarm: who may never be put there, for how long somebody is, and
 * how it is entered: as a command would do it, in the managed file, by a process of its own.
 *
 * That somebody was there before is known from state_dir/quarantines, for entries that are over
 * leave the managed file: a line for each, "user 1001 TIME..." or "net 192.0.2.1 TIME...".
 */
#ifndef SF_USER_PENALTY_H
#define SF_USER_PENALTY_H

#include "policy.h"
#include "detect/engine.h"

#define SF_PENALTY_BATCH    64	     /* entered by one process */
#define SF_PENALTY_KEEP	    16	     /* times of one sender that are kept */
#define SF_PENALTY_ROOM	    4096     /* senders; the one that came back longest ago goes */
#define SF_PENALTY_MEMORY   2592000  /* seconds after which one is forgotten: 30 days */
#define SF_PENALTY_LONGEST  31536000 /* seconds: a year */
#define SF_PENALTY_DAY	    86400
#define SF_PENALTY_PATIENCE 60 /* seconds that the process may take */

struct sf_offence {
	uint32_t uid;	       /* of a local sender, */
	int is_net;	       /* or the network of a source: */
	struct sf_net_key net; /* as it is counted */
	const char *rule;      /* of the alarm */
	char alarm[64];	       /* its id */
};

/*
 * Who is meant by an alarm, and NULL; or why he is not put in quarantine whatever happens. `cgroup`
 * is a local sender's, escaped. The addresses of this host are listed where a source is judged.
 */
const char *sf_penalty_find(const struct sf_policy *policy, const struct sf_tally *tally,
			    const char *cgroup, struct sf_offence *offence);

/*
 * How long for this time, in seconds (0: without end), when it began at `times` before: doubled
 * with each of the last 30 days, and without end for the quarantine_permanent-th of a day.
 */
int64_t sf_penalty_length(const struct sf_policy *policy, const int64_t *times, size_t count,
			  int64_t now);

/*
 * Enter all of them as one change, under the lock; blocks. Who is in quarantine already is left as
 * he is. What was done and what failed is written to `out`, a line each: "SEVERITY RULE TEXT",
 * escaped. Returns 0 or the error of the change.
 */
int sf_penalty_enter(const char *config_file, const struct sf_offence *offences, size_t count,
		     int out);

/* The same in a process of its own; `out` is then the reading end of its lines. The pid. */
int sf_penalty_start(const char *config_file, const struct sf_offence *offences, size_t count,
		     int *out);

#endif
