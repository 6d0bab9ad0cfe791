/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Detection: from counts to signals. Pure: no I/O, the clock is an argument, memory is bounded
 * whatever the senders do.
 */
#ifndef SF_USER_DETECT_H
#define SF_USER_DETECT_H

#include <stddef.h>
#include <stdint.h>

#define SF_WINDOW_BUCKETS 60
#define SF_DETECT_PLACES  4096 /* of sites, and as many of users */
#define SF_DETECT_LINES	  32   /* of one user's sites in a cool-down: cgroups are free to make */

struct sf_detect_limits {
	uint32_t denied;   /* denials of one site or user ... */
	uint32_t window;   /* ... within so many seconds raise the alert */
	uint32_t cooldown; /* seconds in which it is not raised again */
};

/*
 * A site is a user in a cgroup, and has lines of its own: two containers may have the same uid. A
 * user's sum over all sites is watched too, for whoever spreads over many cgroups.
 */
struct sf_detect_place {
	uint64_t cgroup; /* 0: a user's sum */
	uint32_t uid;
	uint8_t used;
	uint32_t lines;			    /* of a user: what was told of its sites, */
	int64_t lines_from;		    /* since then */
	uint32_t bucket[SF_WINDOW_BUCKETS]; /* the denials of one slice of time each */
	int64_t newest;			    /* slice number of the newest bucket */
	int64_t alerted;    /* seconds; 0: never; negative: a first notice, no alert */
	uint64_t swallowed; /* denials since then, not told yet; of a user: of sites without a line
			     */
};

struct sf_detect {
	struct sf_detect_limits limits;
	struct sf_detect_place *site, *user; /* SF_DETECT_PLACES each, hashed */
	uint64_t forgotten;		     /* sites and users that gave way to others */
	uint64_t untold; /* and their denials that no line told of; the teller sets it to 0 */
};

enum sf_signal {
	SF_SIGNAL_NONE,
	SF_SIGNAL_FIRST,   /* the first denial of this site for a cool-down's time */
	SF_SIGNAL_CROSSED, /* the limit is crossed, now: by the site, or by its user's sum */
};

struct sf_finding {
	enum sf_signal signal;
	uint64_t count;	    /* denials in the window */
	uint64_t swallowed; /* denials since the last alert that no line told of */
};

int sf_detect_init(struct sf_detect *detect, const struct sf_detect_limits *limits);
void sf_detect_free(struct sf_detect *detect);

/* Other limits from now on. A window of another grain starts empty. */
void sf_detect_limit(struct sf_detect *detect, const struct sf_detect_limits *limits);

/* `count` more denials of `uid` in `cgroup` at `now` (seconds of a clock that does not jump). */
struct sf_finding sf_detect_denied(struct sf_detect *detect, uint64_t cgroup, uint32_t uid,
				   uint64_t count, int64_t now);
/* What was told at `when`, by a process before this one: it cools down still. */
void sf_detect_told(struct sf_detect *detect, uint64_t cgroup, uint32_t uid, enum sf_signal signal,
		    int64_t when);

/*
 * Cool-downs that are over with denials that no line told of: calls `tell` for each, once.
 */
void sf_detect_expire(struct sf_detect *detect, int64_t now,
		      void (*tell)(void *context, uint64_t cgroup, uint32_t uid,
				   uint64_t swallowed),
		      void *context);

#endif
