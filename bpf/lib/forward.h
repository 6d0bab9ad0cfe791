/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What this host forwards to an uplink from an interface that no gateway fence stands on: one that
 * is new, or that nobody named. Judged where it leaves, if the administrator says so. Who sent it
 * can't be told there (masquerading hides it), so only an allowed destination gives a right.
 */
#ifndef SF_BPF_FORWARD_H
#define SF_BPF_FORWARD_H

#include "gateway.h"
#include "lists.h"
#include "tally.h"

/* A SYN to a fenced port, not of a local socket, and not judged where it came in. */
__noinline int forward_denied(const struct syn *syn)
{
	__u32 zero = 0;
	struct sf_settings *s = bpf_map_lookup_elem(&settings, &zero);
	struct sf_gateway_facts facts = {.fenced = 1};
	const __u64 *far, *near;
	struct sf_decision d;

	if (!syn || !s || s->abi != SF_ABI_VERSION || !(s->flags & SF_SETTING_FENCE_FORWARDED))
		return 0;
	far = (const __u64 *)&syn->p.daddr;
	near = (const __u64 *)&syn->p.saddr;
	facts.mode = s->mode;
	facts.routed = syn->p.routed;
	if (s->flags & SF_SETTING_QUARANTINES)
		facts.quarantined =
			(__u8)source_quarantined(syn->p.family, near[0], near[1], s->flags);
	if (s->flags & SF_SETTING_RELAYS)
		facts.to_relay = (__u8)relay_granted(syn->p.family, far[0], far[1], syn->p.dport);
	d = sf_gateway_decide(&facts);
	count_decision(d);
	return d.verdict == SF_VERDICT_DENIED;
}

#endif
