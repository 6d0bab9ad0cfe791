// SPDX-License-Identifier: GPL-2.0-only
#include "detect.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PROBES 8 /* places that a site or user may stand in */

_Static_assert(SF_DETECT_PLACES == 1 << 12, "find takes 12 bits of the hash");

int sf_detect_init(struct sf_detect *detect, const struct sf_detect_limits *limits)
{
	memset(detect, 0, sizeof(*detect));
	detect->limits = *limits;
	detect->site = calloc(SF_DETECT_PLACES, sizeof(*detect->site));
	detect->user = calloc(SF_DETECT_PLACES, sizeof(*detect->user));
	if (detect->site && detect->user)
		return 0;
	sf_detect_free(detect);
	return -ENOMEM;
}

void sf_detect_free(struct sf_detect *detect)
{
	free(detect->site);
	free(detect->user);
	detect->site = detect->user = NULL;
}

static struct sf_detect_place *place_at(struct sf_detect *detect, size_t i)
{
	return i < SF_DETECT_PLACES ? &detect->site[i] : &detect->user[i - SF_DETECT_PLACES];
}

/* Ids of cgroups follow each other, and containers' uids are 65,536 apart: the high bits differ. */
static uint32_t hash_of(uint64_t cgroup, uint32_t uid)
{
	uint64_t h = (cgroup * 0x9e3779b97f4a7c15ULL) ^ (uid * 0xff51afd7ed558ccdULL);

	h ^= h >> 29;
	return (uint32_t)(h * 0xc4ceb9fe1a85ec53ULL >> 52);
}

/* Its place; of the places it may have, the one that was quiet for longest gives way. */
static struct sf_detect_place *find(struct sf_detect *detect, struct sf_detect_place *places,
				    uint64_t cgroup, uint32_t uid, int64_t slice)
{
	struct sf_detect_place *oldest = NULL;
	uint32_t hash = hash_of(cgroup, uid);

	for (uint32_t i = 0; i < PROBES; i++) {
		struct sf_detect_place *p = &places[(hash + i) % SF_DETECT_PLACES];

		if (p->used && p->uid == uid && p->cgroup == cgroup)
			return p;
		if (!oldest || (oldest->used && (!p->used || p->newest < oldest->newest)))
			oldest = p;
	}
	if (oldest->used) {
		detect->forgotten++;
		detect->untold += oldest->swallowed;
	}
	memset(oldest, 0, sizeof(*oldest));
	oldest->used = 1;
	oldest->cgroup = cgroup;
	oldest->uid = uid;
	oldest->newest = slice;
	return oldest;
}

/* Empty the buckets between the newest and this slice of time. */
static void advance(struct sf_detect_place *u, int64_t slice)
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
	for (size_t i = 0; i < (size_t)2 * SF_DETECT_PLACES; i++) {
		struct sf_detect_place *p = place_at(detect, i);

		memset(p->bucket, 0, sizeof(p->bucket));
		p->newest = p->newest * before / after;
	}
}

static uint64_t window_count(const struct sf_detect *detect, const struct sf_detect_place *u)
{
	int64_t buckets = detect->limits.window / width_of(&detect->limits);
	uint64_t sum = 0;

	for (int64_t i = 0; i < buckets && i < SF_WINDOW_BUCKETS && u->newest - i >= 0; i++)
		sum += u->bucket[(u->newest - i) % SF_WINDOW_BUCKETS];
	return sum;
}

static void enter(struct sf_detect_place *p, int64_t slice, uint64_t count)
{
	uint32_t *bucket;

	advance(p, slice);
	bucket = &p->bucket[p->newest % SF_WINDOW_BUCKETS];
	*bucket = count > UINT32_MAX - *bucket ? UINT32_MAX : *bucket + (uint32_t)count;
}

/* Not told within the cool-down, or the limit is crossed and only a first notice was told. */
static enum sf_signal signal_of(const struct sf_detect *detect, const struct sf_detect_place *p,
				uint64_t window, int64_t now)
{
	int64_t last = p->alerted < 0 ? -p->alerted : p->alerted;
	int is_cool = !p->alerted || now - last >= (int64_t)detect->limits.cooldown;

	if (window >= detect->limits.denied)
		return p->alerted < 0 || is_cool ? SF_SIGNAL_CROSSED : SF_SIGNAL_NONE;
	return is_cool ? SF_SIGNAL_FIRST : SF_SIGNAL_NONE;
}

static void told(struct sf_detect_place *p, enum sf_signal signal, int64_t when)
{
	if (when < 1)
		when = 1; /* 0 is "never" */
	p->alerted = signal == SF_SIGNAL_CROSSED ? when : -when;
}

/* Is there room for a line about one more of this user's sites? */
static int has_room(const struct sf_detect *detect, struct sf_detect_place *user, int64_t now)
{
	if (!user->lines || now - user->lines_from >= (int64_t)detect->limits.cooldown) {
		user->lines = 0;
		user->lines_from = now;
	}
	return user->lines < SF_DETECT_LINES;
}

struct sf_finding sf_detect_denied(struct sf_detect *detect, uint64_t cgroup, uint32_t uid,
				   uint64_t count, int64_t now)
{
	int64_t slice = now / width_of(&detect->limits);
	struct sf_detect_place *site = find(detect, detect->site, cgroup, uid, slice);
	struct sf_detect_place *user = find(detect, detect->user, 0, uid, slice);
	struct sf_finding finding;
	uint64_t sum;

	enter(site, slice, count);
	enter(user, slice, count);
	site->swallowed += count;
	sum = window_count(detect, user);
	finding = (struct sf_finding){.count = window_count(detect, site)};
	finding.signal = signal_of(detect, site, finding.count, now);
	if (finding.signal != SF_SIGNAL_NONE && !has_room(detect, user, now))
		finding.signal = SF_SIGNAL_NONE;
	/* Each site stays below the limit, but not all of them: once for the user. */
	if (signal_of(detect, user, sum, now) == SF_SIGNAL_CROSSED) {
		if (finding.signal != SF_SIGNAL_CROSSED)
			finding.count = sum;
		finding.signal = SF_SIGNAL_CROSSED;
		told(user, SF_SIGNAL_CROSSED, now);
	}
	if (finding.signal == SF_SIGNAL_NONE) {
		/* No line ever named this site: its denials are summed up with the user's. */
		if (!site->alerted) {
			user->swallowed += site->swallowed;
			site->swallowed = 0;
		}
		return finding;
	}
	user->lines++;
	told(site, finding.signal, now);
	finding.swallowed = site->swallowed - count;
	site->swallowed = 0;
	return finding;
}

void sf_detect_told(struct sf_detect *detect, uint64_t cgroup, uint32_t uid, enum sf_signal signal,
		    int64_t when)
{
	int64_t slice = when / width_of(&detect->limits);
	struct sf_detect_place *site = find(detect, detect->site, cgroup, uid, slice);
	struct sf_detect_place *user = find(detect, detect->user, 0, uid, slice);

	if (has_room(detect, user, when))
		user->lines++;
	told(site, signal, when);
	if (signal == SF_SIGNAL_CROSSED)
		told(user, signal, when);
}

void sf_detect_expire(struct sf_detect *detect, int64_t now,
		      void (*tell)(void *context, uint64_t cgroup, uint32_t uid,
				   uint64_t swallowed),
		      void *context)
{
	for (size_t i = 0; i < (size_t)2 * SF_DETECT_PLACES; i++) {
		struct sf_detect_place *p = place_at(detect, i);
		int64_t last = p->cgroup ? p->alerted : p->lines_from;

		if (!p->used || !p->swallowed ||
		    now - (last < 0 ? -last : last) < (int64_t)detect->limits.cooldown)
			continue;
		tell(context, p->cgroup, p->uid, p->swallowed);
		p->swallowed = 0;
	}
}
