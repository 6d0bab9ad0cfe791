/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Room in the event ring, within the limits: per sender, per core, and for waking the reader. What
 * does not come is counted, by cause.
 */
#ifndef SF_BPF_EVENT_H
#define SF_BPF_EVENT_H

#include "count.h"
#include "kernel.h"

/*
 * A bucket kept as one time: it is full up to `used_ns`. Room for one more at `now_ns`? Two cores
 * may both take the last place: a few events more than stated, never a wrong count.
 */
static __always_inline bool bucket_take(__u64 *used_ns, __u64 now_ns, __u64 interval_ns,
					__u32 burst)
{
	__u64 used = *used_ns;

	if (used < now_ns)
		used = now_ns;
	if (used - now_ns > interval_ns * (burst - 1))
		return false;
	*used_ns = used + interval_ns;
	return true;
}

/* What the hook knows already, so that nothing is read twice. */
struct report {
	struct sf_decision decision;
	struct sf_addr daddr;
	__u32 family;
	__u16 dport;
	bool kernel_thread;
	__u32 uid;
	__u32 gid;
	__u64 task_cgroup;
	struct cgroup *socket;
	__u64 now_ns;
	__u64 jiffy;
};

/* A record with what every hook knows; the rest is the caller's, and to submit it with `flags`. */
static __always_inline struct sf_event *event_begin(const struct report *r,
						    struct sf_denial *sender, __u64 *flags)
{
	struct sf_event_limit *limit;
	struct sf_event *e;
	__u32 zero = 0;

	limit = bpf_map_lookup_elem(&event_limits, &zero);
	if (!limit)
		return NULL;
	/* The sender's own limit first, so that one flood does not use up what others need. */
	if (sender && !bucket_take(&sender->events_ns, r->now_ns, SF_EVENT_SENDER_INTERVAL_NS,
				   SF_EVENT_SENDER_BURST)) {
		sender->refused_jiffy = r->jiffy;
		count_loss(SF_LOSS_EVENTS_LIMITED);
		return NULL;
	}
	if (!bucket_take(&limit->used_ns, r->now_ns, SF_EVENT_CPU_INTERVAL_NS,
			 SF_EVENT_CPU_BURST)) {
		count_loss(SF_LOSS_EVENTS_LIMITED);
		return NULL;
	}
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		count_loss(SF_LOSS_EVENTS_FULL);
		return NULL;
	}
	e->abi = SF_ABI_VERSION;
	e->size = sizeof(*e);
	e->time_ns = r->now_ns;
	e->daddr = r->daddr;
	e->uid = r->uid;
	e->gid = r->gid;
	e->dport = r->dport;
	e->verdict = r->decision.verdict;
	e->reason = r->decision.reason;
	e->family = (__u8)r->family;
	e->cmdline_used = 0;
	e->exe.used = 0;
	e->cwd.used = 0;
	e->cgroup.used = 0;
	if (r->now_ns - limit->wake_ns >= SF_EVENT_WAKE_INTERVAL_NS) {
		limit->wake_ns = r->now_ns;
		*flags = BPF_RB_FORCE_WAKEUP;
	}
	return e;
}

#endif
