// SPDX-License-Identifier: GPL-2.0-only
#include "detect.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PROBES 8 /* places that a uid may stand in */

_Static_assert(SF_DETECT_USERS == 1 << 12, "find_user takes 12 bits of the hash");

int sf_detect_init(struct sf_detect *detect, const struct sf_detect_limits *limits)
{
	memset(detect, 0, sizeof(*detect));
	detect->limits = *limits;
	detect->user = calloc(SF_DETECT_USERS, sizeof(*detect->user));
	return detect->user ? 0 : -ENOMEM;
}

void sf_detect_free(struct sf_detect *detect)
{
	free(detect->user);
	detect->user = NULL;
}

/* The user's place; of the places it may have, the one that was quiet for longest gives way. */
static struct sf_detect_user *find_user(struct sf_detect *detect, uint32_t uid, int64_t slice)
{
	struct sf_detect_user *oldest = NULL;
	/* The product's high bits: containers' uids are 65,536 apart and alike in the low ones. */
	uint32_t hash = (uid * 2654435761u) >> 20;

	for (uint32_t i = 0; i < PROBES; i++) {
		struct sf_detect_user *u = &detect->user[(hash + i) % SF_DETECT_USERS];

		if (u->used && u->uid == uid)
			return u;
		if (!oldest || (oldest->used && (!u->used || u->newest < oldest->newest)))
			oldest = u;
	}
	if (oldest->used) {
		detect->forgotten++;
		detect->untold += oldest->swallowed;
	}
	memset(oldest, 0, sizeof(*oldest));
	oldest->used = 1;
	oldest->uid = uid;
	oldest->newest = slice;
	return oldest;
}

/* Empty the buckets between the newest and this slice of time. */
static void advance(struct sf_detect_user *u, int64_t slice)
{
	int64_t steps = slice - u->newest;

	if (steps <= 0)
		return;
	if (steps > SF_WINDOW_BUCKETS)
		steps = SF_WINDOW_BUCKETS;
	for (int64_t i = 0; i < steps; i++)
		u->bucket[(slice - i) % SF_WINDOW_BUCKETS] = 0;
	u->newest = slice;
}

/* Seconds of one slice. */
static int64_t width_of(const struct sf_detect_limits *limits)
{
	return (limits->window + SF_WINDOW_BUCKETS - 1) / SF_WINDOW_BUCKETS;
}

void sf_detect_limit(struct sf_detect *detect, const struct sf_detect_limits *limits)
{
	int64_t before = width_of(&detect->limits), after = width_of(limits);

	detect->limits = *limits;
	if (before == after)
		return;
	for (size_t i = 0; i < SF_DETECT_USERS; i++) {
		struct sf_detect_user *u = &detect->user[i];

		memset(u->bucket, 0, sizeof(u->bucket));
		u->newest = u->newest * before / after;
	}
}

static uint64_t window_count(const struct sf_detect *detect, const struct sf_detect_user *u)
{
	int64_t buckets = detect->limits.window / width_of(&detect->limits);
	uint64_t sum = 0;

	for (int64_t i = 0; i < buckets && i < SF_WINDOW_BUCKETS && u->newest - i >= 0; i++)
		sum += u->bucket[(u->newest - i) % SF_WINDOW_BUCKETS];
	return sum;
}

struct sf_finding sf_detect_denied(struct sf_detect *detect, uint32_t uid, uint64_t count,
				   int64_t now)
{
	struct sf_finding finding = {.signal = SF_SIGNAL_NONE};
	int64_t slice = now / width_of(&detect->limits);
	struct sf_detect_user *u = find_user(detect, uid, slice);
	uint32_t *bucket;
	int is_new = u->alerted == 0;

	advance(u, slice);
	bucket = &u->bucket[u->newest % SF_WINDOW_BUCKETS];
	*bucket = count > UINT32_MAX - *bucket ? UINT32_MAX : *bucket + (uint32_t)count;
	finding.count = window_count(detect, u);
	u->swallowed += count;
	if (finding.count >= detect->limits.denied) {
		/* `alerted` is positive after an alert, negative after a first notice. */
		if (u->alerted <= 0 || now - u->alerted >= (int64_t)detect->limits.cooldown) {
			finding.signal = SF_SIGNAL_CROSSED;
			u->alerted = now > 0 ? now : 1;
		}
	} else if (is_new) {
		finding.signal = SF_SIGNAL_FIRST;
		u->alerted = now > 0 ? -now : -1;
	} else if (now - (u->alerted < 0 ? -u->alerted : u->alerted) >=
		   (int64_t)detect->limits.cooldown) {
		finding.signal = SF_SIGNAL_FIRST;
		u->alerted = now > 0 ? -now : -1;
	}
	if (finding.signal != SF_SIGNAL_NONE) {
		finding.swallowed = u->swallowed - count;
		u->swallowed = 0;
	}
	return finding;
}

void sf_detect_expire(struct sf_detect *detect, int64_t now,
		      void (*tell)(void *context, uint32_t uid, uint64_t swallowed), void *context)
{
	for (size_t i = 0; i < SF_DETECT_USERS; i++) {
		struct sf_detect_user *u = &detect->user[i];
		int64_t last = u->alerted < 0 ? -u->alerted : u->alerted;

		if (!u->used || !u->swallowed || now - last < (int64_t)detect->limits.cooldown)
			continue;
		tell(context, u->uid, u->swallowed);
		u->swallowed = 0;
	}
}
