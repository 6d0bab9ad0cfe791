/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who was denied at the gateway, told at once: the first time, after a pause, and each time that
 * his denials doubled, so that a flood costs few reports and hides nobody for long. The counters
 * are exact.
 */
#ifndef SF_BPF_TELL_CUSTOMER_H
#define SF_BPF_TELL_CUSTOMER_H

#include "tally.h"
#include "../../maps/gateway.h"

#define PAUSE_SLICES 2

/* One more of this source: is it worth a report? `n`: how many there were with this one. */
static __always_inline bool is_worth_telling(const struct syn *syn, __u32 *n)
{
	struct sf_census_count *c = count_at(SOURCES, syn->source);
	struct sf_census_trail *t = trail_at(SOURCES, syn->source);

	if (!c || !t)
		return false;
	*n = (__u32)c->fenced + 1;
	if (syn->verdict == SF_VERDICT_DENIED)
		*n = __sync_fetch_and_add(&c->denied, 1) + 1;
	return !(*n & (*n - 1)) || syn->now.slice - t->slice >= PAUSE_SLICES;
}

static __always_inline bool report_allowed(__u64 now_ns)
{
	__u32 zero = 0;
	__u64 *last = bpf_map_lookup_elem(&gateway_reports, &zero);

	if (!last || now_ns - *last < SF_GATEWAY_REPORT_NS)
		return false;
	*last = now_ns;
	return true;
}

/* Before its source is counted. Global, as in tally.h. */
__noinline int tell_customer(struct syn *syn)
{
	struct sf_crossing *e;
	__u64 now_ns;
	__u32 n = 0;

	if (!syn || syn->repeated || syn->source == SF_NO_SLOT || !is_worth_telling(syn, &n))
		return 0;
	now_ns = bpf_ktime_get_boot_ns();
	if (!report_allowed(now_ns))
		return 0;
	e = bpf_ringbuf_reserve(&crossings, sizeof(*e), 0);
	if (!e) {
		census_add(SF_CENSUS_CROSSINGS_LOST, 1);
		return 0;
	}
	e->abi = SF_ABI_VERSION;
	e->kind = SF_CROSSING_CUSTOMER;
	e->time_ns = now_ns;
	e->key = syn->source_key;
	e->saddr = syn->p.saddr;
	e->daddr = syn->p.daddr;
	e->level = syn->reason;
	e->window = syn->verdict;
	e->limit = n;
	e->class = SF_CLASS_UNKNOWN;
	e->ifindex = syn->ifindex;
	e->sport = syn->p.sport;
	e->dport = syn->p.dport;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

#endif
