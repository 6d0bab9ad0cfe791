/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Places of senders: a hash table over chunks that grow with the senders up to a bound, in the
 * order of their activity. Beyond the bound the one quiet for longest gives way.
 */
#ifndef SF_USER_DETECT_PLACES_H
#define SF_USER_DETECT_PLACES_H

#include "state.h"

struct sf_places {
	struct sf_state **chunk; /* a chunk is never moved */
	uint32_t *bucket;	 /* first place of each, or SF_NOBODY */
	uint32_t buckets;	 /* power of two */
	uint32_t used, most;
	uint32_t newest, oldest; /* by activity */
	uint64_t seed;
};

int sf_places_init(struct sf_places *p, size_t most);
void sf_places_free(struct sf_places *p);
struct sf_state *sf_places_at(const struct sf_places *p, uint32_t place);
struct sf_state *sf_places_find(const struct sf_places *p, const struct sf_who *who);
/*
 * A place for a newcomer: empty, or (flag USED) of the one that gives way, as it was. NULL: no
 * memory and nobody to give way. sf_places_enter then makes it the newcomer's.
 */
struct sf_state *sf_places_take(struct sf_places *p);
void sf_places_enter(struct sf_places *p, struct sf_state *s, const struct sf_who *who);
/* It is the most active now. */
void sf_places_touch(struct sf_places *p, struct sf_state *s);

#endif
