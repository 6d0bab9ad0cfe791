/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Attempts: a new connection to a fenced port waits here for its answer, so that repeated SYNs are
 * told from new ones, and what failed is known to whom it belongs.
 */
#ifndef SF_BPF_ATTEMPTS_H
#define SF_BPF_ATTEMPTS_H

#include "slots.h"
#include "syn.h"

const volatile __u32 attempt_sets = 64;

enum outcome_of_attempt {
	CAME_ANSWER,
	CAME_REFUSAL,
	CAME_SILENCE,
	CAME_UNKNOWN,
};

static __always_inline void settle_one(enum table table, __u32 slot, __u16 check,
				       enum outcome_of_attempt what)
{
	struct sf_census_count *c;

	if (slot == SF_NO_SLOT || slot_check(table, slot) != check)
		return; /* it gave way meanwhile */
	c = count_at(table, slot);
	if (!c)
		return;
	__sync_fetch_and_add(what == CAME_ANSWER    ? &c->answered
			     : what == CAME_REFUSAL ? &c->refused
			     : what == CAME_SILENCE ? &c->silent
						    : &c->untracked,
			     1);
}

/* Tell the owners how it ended. The caller has taken the attempt out of WAITING, alone. */
static __always_inline void settle(const struct sf_attempt *a, enum outcome_of_attempt what)
{
	settle_one(SOURCES, a->source, a->source_check, what);
	settle_one(SENDERS, a->sender, a->sender_check, what);
}

/* An attempt that gives way before its answer came. */
static __always_inline void give_up(struct sf_attempt *a, __u32 tick)
{
	bool silent = tick - a->tick >= (__u32)(SF_SILENCE_NS >> SF_TICK_SHIFT);

	if (__sync_val_compare_and_swap(&a->state, SF_ATTEMPT_WAITING, SF_ATTEMPT_SILENT) !=
	    SF_ATTEMPT_WAITING)
		return;
	settle(a, silent ? CAME_SILENCE : CAME_UNKNOWN);
	if (!silent)
		census_add(SF_CENSUS_UNTRACKED, 1);
}

static __always_inline __u64 flow_hash(__u64 seed, __u64 near_hash, __u64 far_hash, __u16 near_port,
				       __u16 far_port)
{
	return sf_hash(seed, near_hash + ((__u64)near_port << 16 | far_port), far_hash);
}

/* All of its set is looked at, soon: see touch(). */
static __always_inline void touch_attempt(__u64 flow)
{
	__u32 index = sf_set_first(flow, attempt_sets);
	const struct sf_attempt_set *set = bpf_map_lookup_elem(&attempts, &index);

	if (!set)
		return;
	touch(&set->way[0]);
	touch(&set->way[1].daddr);
	touch(&set->way[3]);
}

#define ATTEMPT_NEW	 0
#define ATTEMPT_REPEATED 1

/*
 * A SYN that was entered for its source where it came in (a customer's interface) has met its
 * sender's socket on the uplink: the answer is for both.
 */
static __always_inline bool joins(struct sf_attempt *a, const struct syn *syn)
{
	if (syn->source != SF_NO_SLOT || syn->sender == SF_NO_SLOT || a->sender != SF_NO_SLOT)
		return false;
	a->sender_check = slot_check(SENDERS, syn->sender);
	a->sender = syn->sender;
	return true;
}

/*
 * Enter a SYN. Says whether it only repeats one. `dropped`: by us, so no answer of the far end is
 * waited for; repeated SYNs are still told. Global: the verifier takes it once.
 */
__noinline int attempt_begin(const struct syn *syn, __u32 dropped)
{
	__u32 index, oldest = 0, oldest_age = 0, tick, seq;
	struct sf_attempt_set *set;
	struct sf_attempt *a;
	__u64 tag, old;

	if (!syn)
		return ATTEMPT_NEW;
	index = sf_set_first(syn->flow, attempt_sets);
	tag = sf_tag(syn->flow);
	tick = (__u32)(syn->now_ns >> SF_TICK_SHIFT);
	seq = syn->p.seq;
	set = bpf_map_lookup_elem(&attempts, &index);
	if (!set)
		return ATTEMPT_NEW;
	for (__u32 i = 0; i < SF_ATTEMPT_WAYS; i++) {
		__u32 age = tick - set->way[i].tick;

		if (set->way[i].tag == tag) {
			oldest = i;
			if (set->way[i].seq != seq)
				break;
			if (dropped)
				__sync_val_compare_and_swap(&set->way[i].state, SF_ATTEMPT_WAITING,
							    SF_ATTEMPT_REFUSED);
			return joins(&set->way[i], syn) ? ATTEMPT_NEW : ATTEMPT_REPEATED;
		}
		/* Whose answer came needs no place any more. */
		if (!set->way[i].tag || set->way[i].state != SF_ATTEMPT_WAITING)
			age |= 1u << 31;
		if (age >= oldest_age) {
			oldest_age = age;
			oldest = i;
		}
	}
	a = &set->way[oldest & (SF_ATTEMPT_WAYS - 1)];
	old = *(volatile __u64 *)&a->tag;
	if (old && a->state == SF_ATTEMPT_WAITING)
		give_up(a, tick);
	if (__sync_val_compare_and_swap(&a->tag, old, tag) != old) {
		census_add(SF_CENSUS_UNTRACKED, 1);
		return ATTEMPT_NEW;
	}
	/* The answer can't come before this SYN left. */
	a->seq = seq;
	a->tick = tick;
	a->daddr = syn->p.daddr;
	a->source = syn->source;
	a->sender = syn->sender;
	a->source_check = slot_check(SOURCES, syn->source);
	a->sender_check = slot_check(SENDERS, syn->sender);
	*(volatile __u32 *)&a->state = dropped ? SF_ATTEMPT_REFUSED : SF_ATTEMPT_WAITING;
	return ATTEMPT_NEW;
}

/* An answer came: `ack` is what it acknowledges (the SYN, and data that it carried). */
__noinline int attempt_end(__u64 hash, __u32 ack, __u32 refused)
{
	__u32 index = sf_set_first(hash, attempt_sets);
	struct sf_attempt_set *set = bpf_map_lookup_elem(&attempts, &index);
	__u64 tag = sf_tag(hash);

	if (!set)
		return 0;
	for (int i = 0; i < SF_ATTEMPT_WAYS; i++) {
		struct sf_attempt *a = &set->way[i];

		if (a->tag != tag || ack - a->seq - 1 > 0xffff)
			continue;
		if (__sync_val_compare_and_swap(&a->state, SF_ATTEMPT_WAITING,
						refused ? SF_ATTEMPT_REFUSED
							: SF_ATTEMPT_ANSWERED) ==
		    SF_ATTEMPT_WAITING)
			settle(a, refused ? CAME_REFUSAL : CAME_ANSWER);
		return 1;
	}
	/* A RST on an old connection is nothing to us. */
	if (!refused)
		census_add(SF_CENSUS_STRAY_ANSWER, 1);
	return 0;
}

#endif
