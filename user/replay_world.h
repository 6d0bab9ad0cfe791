/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside the replay's world, shared by the files that make it: who was seen (replay_senders.c),
 * connections that wait for their answers (replay_attempts.c), clock, counts and judging
 * (replay.c).
 */
#ifndef SF_USER_REPLAY_WORLD_H
#define SF_USER_REPLAY_WORLD_H

#include "../bpf/lib/census.h"
#include "detect/baseline.h"
#include "replay.h"

#define NS		1000000000ULL
#define REPLAY_BUCKETS	(1u << 16)
#define REPLAY_ATTEMPTS (1u << 18)

struct replay_entry {
	struct sf_who who;
	struct sf_census_count count;
	struct sf_census_trail trail;
	int64_t first, last;	   /* seconds since 1970 */
	struct replay_entry *next; /* same bucket */
	struct replay_entry *next_dirty;
	int is_dirty;
	uint32_t uid;
	char *text; /* address, or cgroup: escaped */
	struct sf_baseline_hour *hours;
	size_t hour_count, hour_room;
};

struct replay_attempt {
	uint64_t hash;
	uint64_t time_ns;
	uint64_t older; /* number of the one before in the chain, plus one; 0: none */
	struct replay_entry *entry;
	uint32_t seq;
	uint32_t state; /* enum sf_attempt_state */
};

struct sf_replay {
	struct sf_replay_options options;
	struct sf_replay_totals totals;
	struct sf_engine *engine;
	sf_replay_fn tell;
	void *context;
	struct replay_entry *bucket[REPLAY_BUCKETS];
	struct replay_entry *dirty;
	struct replay_attempt attempt[REPLAY_ATTEMPTS]; /* number n lies at n % REPLAY_ATTEMPTS */
	uint64_t chain[REPLAY_ATTEMPTS];		/* newest number plus one */
	uint64_t made, judged, gone; /* numbers: the next; all before are judged; are gone */
	uint64_t now_ns;
	int64_t second; /* up to which the engine has seen the trace */
	int64_t busy;	/* when something last happened */
	int is_started;
};

/* replay_senders.c ----------------------------------------------------------------------------- */

/* Where it stands, or where it would. */
struct replay_entry **replay_entry_at(struct sf_replay *r, const struct sf_who *who);
/* Made where it is new; NULL where no room is left. */
struct replay_entry *replay_entry_of(struct sf_replay *r, const struct sf_replay_event *e);
void replay_entry_free(struct replay_entry *entry);
/* Something of it changed: it is looked at with the next turn. */
void replay_mark(struct sf_replay *r, struct replay_entry *entry);
/* One more connection in the hour of that second. */
void replay_remember(struct replay_entry *entry, int64_t second);

/* replay_attempts.c ---------------------------------------------------------------------------- */

uint64_t replay_attempt_hash(const struct sf_replay_event *e);
/*
 * Of the chain, the one with this sequence number; where the trace has no ports (CSV), the oldest
 * that waits.
 */
struct replay_attempt *replay_attempt_find(struct sf_replay *r, uint64_t hash, uint32_t seq,
					   int has_ports);
void replay_attempt_begin(struct sf_replay *r, const struct sf_replay_event *e, uint64_t hash,
			  struct replay_entry *entry);
/* By the clock of the trace: unanswered for too long is silent. */
void replay_attempts_expire(struct sf_replay *r);

#endif
