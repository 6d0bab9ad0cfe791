// SPDX-License-Identifier: GPL-2.0-only
#include "places.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK	      256u /* places: 50 KiB */
#define FIRST_BUCKETS 256u

int sf_places_init(struct sf_places *p, size_t most)
{
	if (!most || most > 1u << 24)
		return -EINVAL;
	*p = (struct sf_places){
		.buckets = FIRST_BUCKETS,
		.most = (uint32_t)most,
		.newest = SF_NOBODY,
		.oldest = SF_NOBODY,
	};
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): places for pointers */
	p->chunk = calloc((most + CHUNK - 1) / CHUNK, sizeof(*p->chunk));
	p->bucket = malloc(p->buckets * sizeof(*p->bucket));
	if (!p->chunk || !p->bucket) {
		sf_places_free(p);
		return -ENOMEM;
	}
	memset(p->bucket, 0xff, p->buckets * sizeof(*p->bucket));
	/* Addresses come from senders: they must not be able to choose a bucket. */
	p->seed = (uint64_t)(uintptr_t)p->bucket * 0x9e3779b97f4a7c15ULL;
	return 0;
}

void sf_places_free(struct sf_places *p)
{
	if (p->chunk) {
		for (uint32_t i = 0; i < p->used; i++)
			free(sf_places_at(p, i)->more);
		for (uint32_t i = 0; i < (p->most + CHUNK - 1) / CHUNK; i++)
			free(p->chunk[i]);
	}
	free(p->chunk);
	free(p->bucket);
	*p = (struct sf_places){.chunk = NULL};
}

struct sf_state *sf_places_at(const struct sf_places *p, uint32_t place)
{
	return &p->chunk[place / CHUNK][place % CHUNK];
}

static uint32_t bucket_of(const struct sf_places *p, uint32_t kind, const struct sf_census_key *key)
{
	uint64_t h = p->seed ^ kind;

	for (int i = 0; i < 2; i++) {
		h = (h ^ key->word[i]) * 0xff51afd7ed558ccdULL;
		h ^= h >> 31;
		h *= 0xc4ceb9fe1a85ec53ULL;
		h ^= h >> 29;
	}
	return (uint32_t)h & (p->buckets - 1);
}

struct sf_state *sf_places_find(const struct sf_places *p, const struct sf_who *who)
{
	uint32_t i = p->bucket[bucket_of(p, who->kind, &who->key)];

	while (i != SF_NOBODY) {
		struct sf_state *s = sf_places_at(p, i);

		if (s->kind == (uint8_t)who->kind && s->key.word[0] == who->key.word[0] &&
		    s->key.word[1] == who->key.word[1])
			return s;
		i = s->next;
	}
	return NULL;
}

static uint32_t index_of(const struct sf_places *p, const struct sf_state *s)
{
	/* By its neighbour in the order of activity: a place does not know its own number. */
	if (s->newer == SF_NOBODY)
		return p->newest;
	return sf_places_at(p, s->newer)->older;
}

static void unlink_activity(struct sf_places *p, struct sf_state *s)
{
	if (s->newer != SF_NOBODY)
		sf_places_at(p, s->newer)->older = s->older;
	else
		p->newest = s->older;
	if (s->older != SF_NOBODY)
		sf_places_at(p, s->older)->newer = s->newer;
	else
		p->oldest = s->newer;
}

static void link_newest(struct sf_places *p, struct sf_state *s, uint32_t place)
{
	s->newer = SF_NOBODY;
	s->older = p->newest;
	if (p->newest != SF_NOBODY)
		sf_places_at(p, p->newest)->newer = place;
	else
		p->oldest = place;
	p->newest = place;
}

void sf_places_touch(struct sf_places *p, struct sf_state *s)
{
	uint32_t place = index_of(p, s);

	if (place == p->newest)
		return;
	unlink_activity(p, s);
	link_newest(p, s, place);
}

static void unlink_bucket(struct sf_places *p, const struct sf_state *s, uint32_t place)
{
	uint32_t *at = &p->bucket[bucket_of(p, s->kind, &s->key)];

	while (*at != place)
		at = &sf_places_at(p, *at)->next;
	*at = s->next;
}

/* Twice the buckets; without memory for them the chains only get longer. */
static void grow_buckets(struct sf_places *p)
{
	uint32_t *more = malloc(sizeof(*more) * 2 * p->buckets);

	if (!more)
		return;
	free(p->bucket);
	p->bucket = more;
	p->buckets *= 2;
	memset(more, 0xff, p->buckets * sizeof(*more));
	for (uint32_t i = 0; i < p->used; i++) {
		struct sf_state *s = sf_places_at(p, i);
		uint32_t *at = &more[bucket_of(p, s->kind, &s->key)];

		s->next = *at;
		*at = i;
	}
}

struct sf_state *sf_places_take(struct sf_places *p)
{
	struct sf_state **chunk;

	if (p->used < p->most) {
		chunk = &p->chunk[p->used / CHUNK];
		if (!*chunk)
			*chunk = calloc(CHUNK, sizeof(**chunk));
		if (*chunk)
			return &(*chunk)[p->used % CHUNK];
	}
	return p->oldest == SF_NOBODY ? NULL : sf_places_at(p, p->oldest);
}

void sf_places_enter(struct sf_places *p, struct sf_state *s, const struct sf_who *who)
{
	uint32_t place, *at;

	if (s->flags & SF_STATE_USED) {
		place = p->oldest;
		unlink_bucket(p, s, place);
		unlink_activity(p, s);
		free(s->more);
	} else {
		if (p->used >= p->buckets)
			grow_buckets(p);
		place = p->used++;
	}
	*s = (struct sf_state){.key = who->key, .kind = (uint8_t)who->kind, .flags = SF_STATE_USED};
	at = &p->bucket[bucket_of(p, s->kind, &s->key)];
	s->next = *at;
	*at = place;
	link_newest(p, s, place);
}
