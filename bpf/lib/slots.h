/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Finding a key's slot in a table of the census, and claiming one for a newcomer. See maps/census.h
 * for the form of the tables. No lock: a slot is claimed by compare-and-swap of its tag.
 */
#ifndef SF_BPF_SLOTS_H
#define SF_BPF_SLOTS_H

#include "kernel.h"
#include "census.h"

/* Sets of each table: their maps' size, set at load. */
const volatile __u32 source_sets = 8;
const volatile __u32 sender_sets = 8;

/*
 * How long to wait for a slot that another core prepares, and how often to try: half a millisecond
 * in all. It takes 100 ns, but an interrupt may come between, or a virtual CPU lose its turn.
 */
#define WAIT_ROUNDS  64
#define WAIT_READS   8 /* of the clock, some 40 ns each, for which the verifier counts one */
#define ALONE_ROUNDS 64
#define CLAIM_ROUNDS 32

enum table {
	SOURCES,
	SENDERS,
};

/* Per CPU, and packets run with softirqs off: nobody comes between. An atomic add costs 4 ns. */
static __always_inline void census_add(__u32 index, __u64 n)
{
	__u64 *counter = bpf_map_lookup_elem(&census_counters, &index);

	if (counter)
		*(volatile __u64 *)counter += n;
}

static __always_inline struct sf_census_set *set_at(__u32 table, __u32 i)
{
	return table == SOURCES ? bpf_map_lookup_elem(&source_heads, &i)
				: bpf_map_lookup_elem(&sender_heads, &i);
}

static __always_inline struct sf_census_count *count_at(__u32 table, __u32 slot)
{
	return table == SOURCES ? bpf_map_lookup_elem(&source_counts, &slot)
				: bpf_map_lookup_elem(&sender_counts, &slot);
}

static __always_inline struct sf_census_trail *trail_at(__u32 table, __u32 slot)
{
	return table == SOURCES ? bpf_map_lookup_elem(&source_trails, &slot)
				: bpf_map_lookup_elem(&sender_trails, &slot);
}

static __always_inline struct sf_census_head *head_at(__u32 table, __u32 slot)
{
	struct sf_census_set *set = set_at(table, slot / SF_CENSUS_WAYS);

	return set ? &set->way[slot % SF_CENSUS_WAYS] : NULL;
}

/*
 * Memory that will be looked at soon. Of sources at random nothing is in a cache, and the core
 * waits for one line after the other; those that are touched in a row it fetches at once.
 */
static __always_inline void touch(const void *line)
{
	(void)*(const volatile __u64 *)line;
}

static __always_inline void touch_row(__u32 table, __u32 slot, const struct sf_moment *now)
{
	struct sf_census_count *c = slot == SF_NO_SLOT ? NULL : count_at(table, slot);
	struct sf_census_trail *t = c ? trail_at(table, slot) : NULL;

	if (!t)
		return;
	touch(c);
	touch(t);
	touch(&t->sketch[now->half & 1]);
	touch(&t->base[SF_WINDOW_SLICES / 2]);
}

/* The way that holds the tag and is ready; -1: none. */
static __always_inline int way_of(const struct sf_census_set *set, __u64 tag)
{
#pragma unroll
	for (int i = 0; i < SF_CENSUS_WAYS; i++)
		if (set->way[i].tag == tag)
			return i;
	return -1;
}

static __always_inline __u64 is_zero(__u64 x)
{
	return ((x | -x) >> 63) ^ 1;
}

/* 1 + the way that holds the tag, also while it is being prepared; 0: none. Without a branch. */
__noinline __u32 holder_of(__u32 table, __u32 index, __u64 tag)
{
	struct sf_census_set *set = set_at(table, index);
	__u64 found = 0;

	if (!set)
		return 0;
#pragma unroll
	for (__u64 i = 0; i < SF_CENSUS_WAYS; i++)
		found |= is_zero((set->way[i].tag & ~SF_TAG_BUSY) ^ tag) * (i + 1);
	return (__u32)found;
}

static __always_inline void seen(struct sf_census_head *head, __u32 tick)
{
	if (head->last != tick)
		head->last = tick;
}

/* Wait while another core prepares it, but not for ever. */
__noinline int wait_ready(__u32 table, __u32 slot, __u64 tag)
{
	struct sf_census_head *head = head_at(table, slot);

	if (!head)
		return 0;
	for (int i = 0; i < WAIT_ROUNDS; i++) {
		if (*(volatile __u64 *)&head->tag == tag)
			return 1;
#pragma unroll
		for (int n = 0; n < WAIT_READS; n++)
			bpf_ktime_get_ns();
	}
	return 0;
}

/*
 * How good a way is for a newcomer, as one number without a branch, so that sixteen of them do not
 * multiply in the verifier: free ways first, in the emptier set; then by age; 0: being prepared.
 * The number ends in the way.
 */
#define SCORE_FREE (1ULL << 40)
#define WAY_BITS   3

static __always_inline __u64 larger(__u64 a, __u64 b)
{
	__u64 take_b = (a - b) >> 63; /* both are far below 2^63 */

	asm volatile("" : "+r"(take_b));
	return a + (b - a) * take_b;
}

/* The best way of a set; 0: none. Global, as those below: the verifier takes each once, by itself.
 */
__noinline __u64 best_way(__u32 table, __u32 index, __u32 tick)
{
	struct sf_census_set *set = set_at(table, index);
	__u64 best = 0, free_ways = 0;

	if (!set)
		return 0;
#pragma unroll
	for (__u64 i = 0; i < SF_CENSUS_WAYS; i++) {
		/* A second ahead: a core whose clock was read later may have seen it "after" now.
		 */
		__u64 age = (__u32)(tick + 64 - set->way[i].last);
		__u64 tag = set->way[i].tag, free = is_zero(tag);
		__u64 score = ((age + 1) * (1 - (tag & SF_TAG_BUSY)) << WAY_BITS) | i;

		asm volatile("" : "+r"(free));
		free_ways += free;
		best = larger(best, score + (SCORE_FREE - score + i) * free);
	}
	/* Only now is it known how empty the set is. */
	return best + (free_ways << 44);
}

/* Take what a former holder counted; what another core adds meanwhile stays. */
static __always_inline __u64 empty64(__u64 *n)
{
	__u64 was = *(volatile __u64 *)n;

	if (was)
		__sync_fetch_and_sub(n, was);
	return was;
}

static __always_inline void empty32(__u32 *n)
{
	__u32 was = *(volatile __u32 *)n;

	if (was)
		__sync_fetch_and_sub(n, was);
}

/* The slot is ours alone (busy): empty it, and count what went with its former holder. */
static __always_inline void prepare(__u32 table, __u32 slot, bool evicted, __u64 word0, __u64 word1,
				    __u64 now_ns)
{
	struct sf_census_count *c = count_at(table, slot);
	struct sf_census_trail *t = trail_at(table, slot);
	__u64 syn;

	if (!c || !t)
		return;
	syn = empty64(&c->syn);
	if (evicted) {
		census_add(table == SOURCES ? SF_CENSUS_FORGOTTEN_SOURCES
					    : SF_CENSUS_FORGOTTEN_SENDERS,
			   1);
		census_add(table == SOURCES ? SF_CENSUS_FORGOTTEN_SOURCE_SYN
					    : SF_CENSUS_FORGOTTEN_SENDER_SYN,
			   syn);
	}
	c->key.word[0] = word0;
	c->key.word[1] = word1;
	c->first = (__u32)(now_ns >> SF_TICK_SHIFT);
	empty32(&c->denied);
	empty64(&c->fenced);
	empty32(&c->retransmitted);
	empty32(&c->answered);
	empty32(&c->refused);
	empty32(&c->silent);
	empty32(&c->untracked);
	c->ifindex = 0;
	sf_trail_begin(t, sf_slice_of(now_ns));
}

#define TRY_AGAIN (SF_NO_SLOT - 1)

static __always_inline bool best_is_free(__u64 best)
{
	return best & ((1ULL << 44) - 1) & SCORE_FREE;
}

#define OTHER_READY (1u << 31)

/* Another slot that holds the tag, plus one, and whether it is ready; 0: ours is the only one. */
__noinline __u32 other_holder(__u32 table, __u32 index, __u64 tag, __u32 slot)
{
	struct sf_census_set *set = set_at(table, index);
	__u64 own = slot - index * SF_CENSUS_WAYS, found = 0;

	if (!set)
		return 0;
#pragma unroll
	for (__u64 i = 0; i < SF_CENSUS_WAYS; i++) {
		__u64 differs = set->way[i].tag ^ tag, one;

		one = is_zero(differs & ~SF_TAG_BUSY) * (1 - is_zero(own ^ i));
		one *= (i + 1) | (1 - (differs & SF_TAG_BUSY)) << 31;
		asm volatile("" : "+r"(one));
		found = larger(found, one);
	}
	return found ? (__u32)found + index * SF_CENSUS_WAYS : 0;
}

/*
 * Two cores with the same newcomer may each have claimed a slot, in different sets. Each looks for
 * the other after its claim, so at least one of them sees it: who sees one that is ready, or a
 * lower slot, yields; who has the lower slot waits until the other has gone or is ready.
 */
__noinline int alone(__u32 table, __u32 first, __u32 second, __u64 tag, __u32 slot)
{
	for (int i = 0; i < ALONE_ROUNDS; i++) {
		__u32 other = other_holder(table, first, tag, slot);

		if (!other)
			other = other_holder(table, second, tag, slot);
		if (!other)
			return 1;
		if ((other & OTHER_READY) || other - 1 < slot)
			return 0;
	}
	return 0;
}

static __always_inline __u32 sets_of(__u32 table)
{
	return table == SOURCES ? source_sets : sender_sets;
}

static __always_inline void touch_sets(__u32 table, __u64 hash)
{
	struct sf_census_set *first = set_at(table, sf_set_first(hash, sets_of(table)));
	struct sf_census_set *second = set_at(table, sf_set_second(hash, sets_of(table)));

	if (!first || !second)
		return;
	touch(&first->way[0]);
	touch(&first->way[SF_CENSUS_WAYS / 2]);
	touch(&second->way[0]);
	touch(&second->way[SF_CENSUS_WAYS / 2]);
}

/* Claim one: the slot, TRY_AGAIN, or SF_NO_SLOT. For both tables, so that it is verified once. */
__noinline __u32 claim(__u32 table, __u64 hash, __u64 now_ns, const struct sf_census_key *key)
{
	__u32 first = sf_set_first(hash, sets_of(table)),
	      second = sf_set_second(hash, sets_of(table));
	__u32 tick = (__u32)(now_ns >> SF_TICK_SHIFT), set = first, held;
	__u64 best, other, old, tag = sf_tag(hash);
	struct sf_census_head *head;

	if (!key)
		return SF_NO_SLOT;
	/* Another core may have been faster with the same key. */
	held = holder_of(table, first, tag);
	if (!held) {
		held = holder_of(table, second, tag);
		if (held)
			set = second;
	}
	if (held) {
		held += set * SF_CENSUS_WAYS - 1;
		/* Not ready for too long: its core was stopped. It empties the slot when it goes
		 * on, so nothing is counted there before. */
		return wait_ready(table, held, tag) ? held : TRY_AGAIN;
	}
	best = best_way(table, first, tick);
	other = best_way(table, second, tick);
	if (other >> WAY_BITS > best >> WAY_BITS) {
		best = other;
		set = second;
	}
	if (!(best >> WAY_BITS))
		return TRY_AGAIN;
	set = set * SF_CENSUS_WAYS + ((__u32)best & (SF_CENSUS_WAYS - 1));
	head = head_at(table, set);
	if (!head)
		return SF_NO_SLOT;
	old = *(volatile __u64 *)&head->tag;
	/* A free way that was taken meanwhile belongs to a newcomer: look again. */
	if ((old & SF_TAG_BUSY) || (old && best_is_free(best)) ||
	    __sync_val_compare_and_swap(&head->tag, old, tag | SF_TAG_BUSY) != old)
		return TRY_AGAIN;
	if (!alone(table, first, second, tag, set)) {
		__sync_val_compare_and_swap(&head->tag, tag | SF_TAG_BUSY, old);
		return TRY_AGAIN;
	}
	head->last = tick;
	prepare(table, set, old != 0, key->word[0], key->word[1], now_ns);
	/* A full barrier: whoever sees the tag sees an empty entry. */
	__sync_val_compare_and_swap(&head->tag, tag | SF_TAG_BUSY, tag);
	return set;
}

/* A newcomer's slot, also where others were faster; SF_NO_SLOT: counted as `uncounted`. */
__noinline __u32 newcomer(__u32 table, __u64 hash, __u64 now_ns, const struct sf_census_key *key)
{
	for (int round = 0; round < CLAIM_ROUNDS; round++) {
		__u32 slot = claim(table, hash, now_ns, key);

		if (slot != TRY_AGAIN)
			return slot;
	}
	census_add(SF_CENSUS_UNCOUNTED, 1);
	return SF_NO_SLOT;
}

/* The key's slot, claimed if it had none. `hash` of the key gives its tag and its sets. */
static __always_inline __u32 slot_of(enum table table, const struct sf_census_key *key, __u64 hash,
				     __u64 now_ns)
{
	__u32 first = sf_set_first(hash, sets_of(table)),
	      second = sf_set_second(hash, sets_of(table));
	struct sf_census_set *set = set_at(table, first), *other = set_at(table, second);
	__u32 tick = (__u32)(now_ns >> SF_TICK_SHIFT);
	__u64 tag = sf_tag(hash);
	int way;

	if (!set || !other)
		return SF_NO_SLOT;
	way = way_of(set, tag);
	if (way >= 0) {
		seen(&set->way[way & 7], tick);
		return first * SF_CENSUS_WAYS + (__u32)way;
	}
	way = way_of(other, tag);
	if (way >= 0) {
		seen(&other->way[way & 7], tick);
		return second * SF_CENSUS_WAYS + (__u32)way;
	}
	return newcomer(table, hash, now_ns, key);
}

/* Does the slot still belong to whom `check` was taken from? */
static __always_inline __u16 slot_check(enum table table, __u32 slot)
{
	struct sf_census_head *head = slot == SF_NO_SLOT ? NULL : head_at(table, slot);

	return head ? (__u16)(head->tag >> 16) : 0;
}

#endif
