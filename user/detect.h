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
#define SF_DETECT_USERS	  4096

struct sf_detect_limits {
	uint32_t denied;   /* denials of one user ... */
	uint32_t window;   /* ... within so many seconds raise the alert */
	uint32_t cooldown; /* seconds in which it is not raised again */
};

/* One user's sliding window; bucket i holds the denials of one slice of time. */
struct sf_detect_user {
	uint32_t uid;
	uint8_t used;
	uint32_t bucket[SF_WINDOW_BUCKETS];
	int64_t newest;	    /* slice number of the newest bucket */
	int64_t alerted;    /* seconds; 0: never */
	uint64_t swallowed; /* denials since then, not told yet */
};

struct sf_detect {
	struct sf_detect_limits limits;
	struct sf_detect_user *user; /* SF_DETECT_USERS places, hashed by uid */
	uint64_t forgotten;	     /* users that gave way to others */
	uint64_t untold; /* and their denials that no line told of; the teller sets it to 0 */
};

enum sf_signal {
	SF_SIGNAL_NONE,
	SF_SIGNAL_FIRST,   /* the first denial of this user for a cool-down's time */
	SF_SIGNAL_CROSSED, /* the limit is crossed, now */
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

/* `count` more denials of `uid` at `now` (seconds of a clock that does not jump). */
struct sf_finding sf_detect_denied(struct sf_detect *detect, uint32_t uid, uint64_t count,
				   int64_t now);

/*
 * Cool-downs that are over with denials that no line told of: calls `tell` for each, once.
 */
void sf_detect_expire(struct sf_detect *detect, int64_t now,
		      void (*tell)(void *context, uint32_t uid, uint64_t swallowed), void *context);

#endif
