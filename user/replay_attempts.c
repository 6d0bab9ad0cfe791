// SPDX-License-Identifier: GPL-2.0-only
/* Connections of a trace that wait for their answers: a ring, found by chains. */
#include "replay_world.h"
#include <string.h>

#define ATTEMPT_TRIES 64	 /* of one chain: a hostile trace may fill it */
#define REPEAT_NS     (130 * NS) /* a SYN is repeated for so long */

static struct replay_attempt *attempt_at(struct sf_replay *r, uint64_t number)
{
	return &r->attempt[number % REPLAY_ATTEMPTS];
}

uint64_t replay_attempt_hash(const struct sf_replay_event *e)
{
	uint64_t w[4];

	memcpy(w, &e->source, 16);
	memcpy(w + 2, &e->destination, 16);
	return sf_hash(sf_hash((uint64_t)e->sport << 16 | e->dport, w[0], w[1]), w[2],
		       w[3] ^ (e->has_sender ? (uint64_t)e->uid << 1 | 1 : 0));
}

/*
 * Of the chain, the one with this sequence number; where the trace has no ports (CSV), the oldest
 * that waits.
 */
struct replay_attempt *replay_attempt_find(struct sf_replay *r, uint64_t hash, uint32_t seq,
					   int has_ports)
{
	uint64_t number = r->chain[hash % REPLAY_ATTEMPTS];
	struct replay_attempt *found = NULL;

	for (int i = 0; i < ATTEMPT_TRIES && number > r->gone; i++) {
		struct replay_attempt *a = attempt_at(r, number - 1);

		/* An acknowledgment counts the data that the SYN carried. */
		if (a->hash == hash && has_ports && seq - a->seq <= 0xffff)
			return a;
		if (a->hash == hash && !has_ports && a->state == SF_ATTEMPT_WAITING)
			found = a;
		number = a->older;
	}
	return found;
}

static void attempt_judge(struct sf_replay *r, struct replay_attempt *a, int is_in_time)
{
	if (a->state != SF_ATTEMPT_WAITING)
		return;
	a->state = SF_ATTEMPT_SILENT;
	if (is_in_time)
		a->entry->count.untracked++;
	else
		a->entry->count.silent++;
	replay_mark(r, a->entry);
}

void replay_attempt_begin(struct sf_replay *r, const struct sf_replay_event *e, uint64_t hash,
			  struct replay_entry *entry)
{
	uint64_t *chain = &r->chain[hash % REPLAY_ATTEMPTS];

	if (r->made - r->gone == REPLAY_ATTEMPTS) {
		if (r->judged == r->gone)
			attempt_judge(r, attempt_at(r, r->judged++), 1);
		r->gone++;
	}
	*attempt_at(r, r->made) = (struct replay_attempt){
		.hash = hash,
		.time_ns = r->now_ns,
		.older = *chain,
		.entry = entry,
		.seq = e->seq,
		.state = SF_ATTEMPT_WAITING,
	};
	*chain = ++r->made;
}

void replay_attempts_expire(struct sf_replay *r)
{
	while (r->judged < r->made) {
		struct replay_attempt *a = attempt_at(r, r->judged);

		if (a->time_ns + SF_SILENCE_NS > r->now_ns)
			break;
		attempt_judge(r, a, 0);
		r->judged++;
	}
	while (r->gone < r->judged && attempt_at(r, r->gone)->time_ns + REPEAT_NS <= r->now_ns)
		r->gone++;
}
