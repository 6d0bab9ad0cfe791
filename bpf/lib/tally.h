/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One SYN into the census: its source's entry, its attempt, the limits, the report of a crossed
 * one. What needs a socket (the sender) is the uplink's, in egress.bpf.c.
 */
#ifndef SF_BPF_TALLY_H
#define SF_BPF_TALLY_H

#include "attempts.h"
#include "limits.h"
#include "parse.h"
#include "ports.h"

/*
 * The coarse clock moves with the jiffies, and those are read without a call (14 ns, 6.18): it is
 * asked once in each, and what follows from it is kept.
 */
static __always_inline void set_clock(struct sf_census_clock *c, __u64 jiffy,
				      const struct sf_census_settings *s)
{
	__u64 now_ns = bpf_ktime_get_coarse_ns() + (__u64)s->boot_offset_ns;
	struct sf_moment now =
		sf_moment_of(now_ns, now_ns / 1000000000ULL + (__u64)s->wall_offset_s);

	c->jiffy = jiffy;
	c->now_ns = now_ns;
	c->boot_offset_ns = s->boot_offset_ns;
	c->wall_offset_s = s->wall_offset_s;
	c->slice = now.slice;
	c->half = now.half;
	c->hour = now.hour;
}

static __always_inline void take_clock(struct syn *syn, const struct sf_census_settings *s)
{
	__u64 jiffy = bpf_jiffies64();
	__u32 zero = 0;
	struct sf_census_clock *c = bpf_map_lookup_elem(&census_clock, &zero);

	if (!c)
		return; /* can't be: an array of one */
	if (c->jiffy != jiffy || c->boot_offset_ns != s->boot_offset_ns ||
	    c->wall_offset_s != s->wall_offset_s)
		set_clock(c, jiffy, s);
	syn->now_ns = c->now_ns;
	syn->now.slice = c->slice;
	syn->now.half = c->half;
	syn->now.hour = c->hour;
}

static __always_inline void count_unparsed(enum sf_outcome outcome)
{
	switch (outcome) {
	case SF_PARSED_NOT_IP:
		census_add(SF_CENSUS_NOT_IP, 1);
		break;
	case SF_PARSED_FRAGMENT:
		census_add(SF_CENSUS_FRAGMENT, 1);
		break;
	case SF_PARSED_TINY_FRAGMENT:
		census_add(SF_CENSUS_TINY_FRAGMENT, 1);
		break;
	case SF_PARSED_TRUNCATED:
		census_add(SF_CENSUS_TRUNCATED, 1);
		break;
	case SF_PARSED_BAD_HEADER:
		census_add(SF_CENSUS_BAD_HEADER, 1);
		break;
	case SF_PARSED_TOO_MANY:
		census_add(SF_CENSUS_TOO_MANY_HEADERS, 1);
		break;
	default:
		break;
	}
}

static __always_inline void report_crossing(const struct syn *syn, enum table table, __u32 level,
					    __u32 window, const struct sf_census_trail *t)
{
	struct sf_crossing *e = bpf_ringbuf_reserve(&crossings, sizeof(*e), 0);

	if (!e) {
		census_add(SF_CENSUS_CROSSINGS_LOST, 1);
		return;
	}
	census_add(SF_CENSUS_CROSSINGS, 1);
	e->abi = SF_ABI_VERSION;
	e->kind = table == SOURCES ? SF_CROSSING_SOURCE : SF_CROSSING_SENDER;
	e->time_ns = bpf_ktime_get_boot_ns();
	e->key = table == SOURCES ? syn->source_key : syn->sender_key;
	e->saddr = syn->p.saddr;
	e->daddr = syn->p.daddr;
	e->level = level;
	e->window = window;
	e->limit = level == 2 ? t->act : t->warn;
	e->class = t->class;
	e->ifindex = syn->ifindex;
	e->sport = syn->p.sport;
	e->dport = syn->p.dport;
	bpf_ringbuf_submit(e, 0);
}

/*
 * Count what goes to a fenced port into one table's slot, and report where a limit is crossed by
 * this very SYN. `limit` is looked up by the caller where the entry's is out of date.
 */
static __always_inline void count_in(const struct syn *syn, enum table table,
				     const struct sf_census_settings *s,
				     const struct sf_limit *limit)
{
	__u32 slot = table == SOURCES ? syn->source : syn->sender, level, window = 0, fenced;
	struct sf_census_count *c = count_at(table, slot);
	struct sf_census_trail *t;

	if (!c)
		return;
	if (syn->repeated) {
		__sync_fetch_and_add(&c->retransmitted, 1);
		return;
	}
	fenced = (__u32)__sync_fetch_and_add(&c->fenced, 1) + 1;
	t = trail_at(table, slot);
	if (!t)
		return;
	if (limit) {
		t->warn = limit->warn;
		t->act = limit->act;
		t->class = limit->class;
		t->limits = s->limits;
	}
	level = sf_trail_count_at(t, fenced, &syn->now, syn->destination_hash, &window);
	if (level)
		report_crossing(syn, table, level, window, t);
}

/* Are the limits that the entry holds of an older generation? */
static __always_inline bool limits_are_old(enum table table, __u32 slot,
					   const struct sf_census_settings *s)
{
	struct sf_census_trail *t = trail_at(table, slot);

	return t && t->limits != s->limits;
}

/* To no fenced port: one count is all. */
static __always_inline void count_only(const struct syn *syn, enum table table, __u32 slot)
{
	struct sf_census_count *c = slot == SF_NO_SLOT ? NULL : count_at(table, slot);

	if (!c)
		return;
	__sync_fetch_and_add(&c->syn, 1);
	if (c->ifindex != syn->ifindex)
		c->ifindex = syn->ifindex;
}

/* Global, with the whole SYN behind one pointer: verified once, by itself. */
__noinline int count_fenced_source(struct syn *syn)
{
	__u32 zero = 0;
	struct sf_census_settings *s = bpf_map_lookup_elem(&census_settings, &zero);
	struct sf_limit limit;

	if (!syn || !s)
		return 0;
	if (limits_are_old(SOURCES, syn->source, s)) {
		source_limit(&syn->source_key, s, &limit);
		count_in(syn, SOURCES, s, &limit);
	} else {
		count_in(syn, SOURCES, s, NULL);
	}
	return 0;
}

static __always_inline void count_source(struct syn *syn)
{
	count_only(syn, SOURCES, syn->source);
	if (syn->fenced && syn->source != SF_NO_SLOT)
		count_fenced_source(syn);
}

/* What is known of a SYN by its packet alone. */
static __always_inline void syn_begin(struct syn *syn, __u32 ifindex,
				      const struct sf_census_settings *s)
{
	const __u64 *far = (const __u64 *)&syn->p.daddr, *near = (const __u64 *)&syn->p.saddr;
	__u32 word = syn->p.dport / 64;
	struct sf_port_word *ports_of = bpf_map_lookup_elem(&ports, &word);
	__u64 bit = 1ULL << (syn->p.dport % 64);

	take_clock(syn, s);
	syn->ifindex = ifindex;
	syn->fenced = ports_of && (ports_of->fenced & bit);
	syn->repeated = 0;
	syn->source = syn->sender = SF_NO_SLOT;
	syn->watched = ports_of && (ports_of->watched & bit);
	if (!syn->fenced)
		return;
	syn->destination_hash = sf_hash(s->seed, far[0], far[1]);
	syn->flow = flow_hash(near[0], near[1], syn->destination_hash, syn->p.sport, syn->p.dport);
	touch_attempt(syn->flow);
}

/* Its source's key, and what will be looked at to find its slot. */
static __always_inline void syn_source_key(struct syn *syn, const struct sf_census_settings *s)
{
	const __u64 *source = (const __u64 *)&syn->p.saddr;

	syn->source_key.word[0] = source[0];
	syn->source_key.word[1] = source[1];
	if (syn->p.family == SF_FAMILY_V6) {
		syn->source_key.word[0] &= s->v6_mask[0];
		syn->source_key.word[1] &= s->v6_mask[1];
	}
	syn->source_hash = sf_hash(s->seed, syn->source_key.word[0], syn->source_key.word[1]);
	touch_sets(SOURCES, syn->source_hash);
}

/* Its source's slot; counted as one SYN more. */
static __always_inline void syn_source(struct syn *syn)
{
	census_add(SF_CENSUS_SYN, 1);
	if (syn->fenced)
		census_add(SF_CENSUS_FENCED, 1);
	else if (syn->watched)
		census_add(SF_CENSUS_WATCHED, 1);
	syn->source = slot_of(SOURCES, &syn->source_key, syn->source_hash, syn->now_ns);
	if (syn->fenced)
		touch_row(SOURCES, syn->source, &syn->now);
}

#endif
