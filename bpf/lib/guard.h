/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The inbound guard: a SYN that comes in by an uplink, to a guarded host's port, passes only from a
 * listed filter that has not opened too many connections lately. Others' packets pay for one look
 * at the settings, and only where they are SYNs.
 */
#ifndef SF_BPF_GUARD_H
#define SF_BPF_GUARD_H

#include "guard_rule.h"
#include "tally.h"
#include "../../maps/guard.h"

static __always_inline bool net_listed(void *table, __u32 family, const struct sf_addr *addr)
{
	struct sf_net_key key = {.prefixlen = SF_NET_BITS_MAX, .family = family, .addr = *addr};

	return bpf_map_lookup_elem(table, &key) != NULL;
}

/* The place of a source; another's whose minute is over, or who is nearest to it, gives way. */
static __always_inline struct sf_guard_rate *rate_of(struct sf_guard_set *set, __u64 tag,
						     __u64 now_ns)
{
	__u32 best = 0;
	__u64 old;

	for (__u32 i = 0; i < SF_GUARD_WAYS; i++) {
		if (set->way[i].tag == tag)
			return &set->way[i];
		if (set->way[i].free_ns < set->way[best].free_ns)
			best = i;
	}
	best &= SF_GUARD_WAYS - 1;
	old = set->way[best].tag;
	if (set->way[best].free_ns > now_ns)
		census_add(SF_CENSUS_GUARD_CROWDED, 1);
	set->way[best].free_ns = now_ns;
	__sync_val_compare_and_swap(&set->way[best].tag, old, tag);
	return &set->way[best];
}

/* One more connection of this source: too many? */
static __always_inline bool is_too_many(const struct sf_guard *g, const struct sf_packet *p,
					const struct sf_census_settings *s)
{
	__u64 word0, word1, hash, now_ns = bpf_ktime_get_ns(), old, next;
	const __u64 *addr = (const __u64 *)&p->saddr;
	struct sf_guard_set *set;
	struct sf_guard_rate *rate;
	__u32 index;

	if (!g->interval_ns)
		return false;
	word0 = addr[0];
	word1 = addr[1];
	if (p->family == SF_FAMILY_V6) {
		word0 &= s->v6_mask[0];
		word1 &= s->v6_mask[1];
	}
	hash = sf_hash(s->seed, word0, word1);
	index = (__u32)hash & (SF_GUARD_SETS - 1);
	set = bpf_map_lookup_elem(&guard_rates, &index);
	if (!set)
		return false;
	rate = rate_of(set, hash | 1, now_ns);
	for (int i = 0; i < 4; i++) {
		old = rate->free_ns;
		next = sf_guard_pay(old, now_ns, g->interval_ns, SF_GUARD_WINDOW_NS);
		if (!next)
			return true;
		if (__sync_val_compare_and_swap(&rate->free_ns, old, next) == old)
			return false;
	}
	return false; /* other cores count the same source at this moment: it passes */
}

/* Best effort, rationed: the counters are exact. */
static __always_inline void report_guard(struct __sk_buff *skb, const struct sf_packet *p,
					 struct sf_decision d)
{
	__u32 zero = 0;
	__u64 now_ns = bpf_ktime_get_boot_ns(), *last = bpf_map_lookup_elem(&guard_reports, &zero);
	struct sf_crossing *e;

	if (!last || now_ns - *last < SF_GUARD_REPORT_NS)
		return;
	*last = now_ns;
	e = bpf_ringbuf_reserve(&crossings, sizeof(*e), 0);
	if (!e) {
		census_add(SF_CENSUS_CROSSINGS_LOST, 1);
		return;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->abi = SF_ABI_VERSION;
	e->kind = SF_CROSSING_GUARD;
	e->time_ns = now_ns;
	e->key.word[0] = *(const __u64 *)&p->saddr.b[0];
	e->key.word[1] = *(const __u64 *)&p->saddr.b[8];
	e->saddr = p->saddr;
	e->daddr = p->daddr;
	e->level = d.reason;
	e->window = d.verdict;
	e->ifindex = skb->ifindex;
	e->sport = p->sport;
	e->dport = p->dport;
	bpf_ringbuf_submit(e, 0);
}

/* A SYN to a guarded port of a guarded host. Global, as in tally.h. */
__noinline int guard_judges(struct __sk_buff *skb, const struct sf_packet *p)
{
	__u32 zero = 0;
	struct sf_guard *g = bpf_map_lookup_elem(&guard, &zero);
	struct sf_settings *s = bpf_map_lookup_elem(&settings, &zero);
	struct sf_census_settings *c = bpf_map_lookup_elem(&census_settings, &zero);
	struct sf_guard_facts facts = {};
	struct sf_decision d;

	if (!p || !g || !s || !c || s->mode == SF_MODE_OFF ||
	    !net_listed(&guard_hosts, p->family, &p->daddr))
		return 0;
	facts.mode = s->mode;
	facts.filter = net_listed(&guard_filters, p->family, &p->saddr);
	facts.too_many = facts.filter && is_too_many(g, p, c);
	d = sf_guard_decide(&facts);
	count_decision(d);
	if (d.verdict != SF_VERDICT_ALLOWED)
		report_guard(skb, p, d);
	return d.verdict == SF_VERDICT_DENIED;
}

/*
 * What can't be followed to TCP's ports and flags, but may be TCP to a guarded host, or shows no
 * destination at all.
 */
__noinline int guard_unparsed(struct __sk_buff *skb, struct sf_packet *p)
{
	__u32 zero = 0;
	struct sf_settings *s = bpf_map_lookup_elem(&settings, &zero);
	struct sf_decision d;

	if (!p || !s || s->mode == SF_MODE_OFF)
		return 0;
	if (p->family && sf_packet_addresses(start_of(skb), end_of(skb), p) &&
	    !net_listed(&guard_hosts, p->family, &p->daddr))
		return 0;
	d = sf_gateway_unparsed(s->mode);
	count_decision(d);
	return d.verdict == SF_VERDICT_DENIED;
}

/* `p` as the parser or plain.h left it, zeroed before. */
static __always_inline bool guard_drops(struct __sk_buff *skb, enum sf_outcome outcome,
					struct sf_packet *p)
{
	__u32 zero = 0;
	struct sf_guard *g;

	if (outcome == SF_PARSED_TCP ? (p->flags & (SF_TCP_SYN | SF_TCP_ACK)) != SF_TCP_SYN
				     : outcome < SF_PARSED_TINY_FRAGMENT)
		return false;
	g = bpf_map_lookup_elem(&guard, &zero);
	if (!g || !(g->flags & SF_GUARD_ON) || g->abi != SF_ABI_VERSION)
		return false;
	if (outcome != SF_PARSED_TCP)
		return guard_unparsed(skb, p);
	if (!(g->port[p->dport / 64] >> (p->dport % 64) & 1) ||
	    !sf_packet_addresses(start_of(skb), end_of(skb), p))
		return false;
	return guard_judges(skb, p);
}

#endif
