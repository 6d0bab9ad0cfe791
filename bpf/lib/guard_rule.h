/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The inbound guard's decision and its arithmetic of rates. Pure, as decide.h.
 */
#ifndef SF_BPF_GUARD_RULE_H
#define SF_BPF_GUARD_RULE_H

#include "gateway.h"

struct sf_guard_facts {
	__u32 mode; /* enum sf_mode */
	__u8 filter;
	__u8 too_many;
};

SF_PURE struct sf_decision sf_guard_decide(const struct sf_guard_facts *f)
{
	__u8 reason = !f->filter    ? SF_REASON_NO_FILTER
		      : f->too_many ? SF_REASON_FILTER_LIMIT
				    : SF_REASON_FILTER;

	if (f->mode == SF_MODE_OFF)
		reason = SF_REASON_OFF;
	return sf_gateway_verdict(reason, f->mode);
}

/*
 * A leaky bucket as one time: when all connections so far are paid for, an interval each (the
 * generic cell rate algorithm, ITU-T I.371). Returns that time with one more, or 0: it would lie
 * further ahead than a window. What is denied is not paid for, so who goes on trying gets his
 * share.
 */
SF_PURE __u64 sf_guard_pay(__u64 free_ns, __u64 now_ns, __u64 interval_ns, __u64 window_ns)
{
	__u64 from = free_ns > now_ns ? free_ns : now_ns;

	return from + interval_ns > now_ns + window_ns ? 0 : from + interval_ns;
}

#endif
