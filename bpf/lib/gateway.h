/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The gateway's decision on a SYN that comes in from a customer: facts in, verdict out. Pure, as
 * decide.h, whose order it keeps (design.md section 3); there is no cgroup and no user to look at.
 */
#ifndef SF_BPF_GATEWAY_H
#define SF_BPF_GATEWAY_H

#include "decide.h"

struct sf_gateway_facts {
	__u32 mode;	  /* enum sf_mode; anything else: the settings can't be trusted */
	__u8 fenced;	  /* the port is */
	__u8 spoofed;	  /* the source is none of the interface's networks */
	__u8 allow_local; /* the setting */
	__u8 to_local;	  /* the destination is an address of this host */
	__u8 to_relay;	  /* the destination is granted, on this port, now */
	__u8 routed;	  /* the packet may be sent on by a source route: no right from there */
	__u8 quarantined; /* the source */
	__u8 from_mail_host;
	__u8 over_limit; /* the source's connections reached `act`, and such are dropped */
};

#define SF_GATEWAY_NOT_ASKED SF_REASON_COUNT /* no fenced port, no wrong source: nothing to say */

SF_PURE __u8 sf_gateway_reason(const struct sf_gateway_facts *f)
{
	if (!f->fenced && !f->spoofed)
		return SF_GATEWAY_NOT_ASKED;
	if (f->mode == SF_MODE_OFF)
		return f->fenced ? SF_REASON_OFF : SF_GATEWAY_NOT_ASKED;
	if (f->mode != SF_MODE_MONITOR && f->mode != SF_MODE_ENFORCE)
		return f->fenced ? SF_REASON_NO_SETTINGS : SF_GATEWAY_NOT_ASKED;
	if (f->spoofed)
		return SF_REASON_SPOOFED;
	if (f->to_local && f->allow_local && !f->routed)
		return SF_REASON_LOCAL;
	if (f->quarantined)
		return SF_REASON_QUARANTINE;
	if (f->from_mail_host)
		return f->over_limit ? SF_REASON_LIMIT : SF_REASON_MAIL_HOST;
	if (f->to_relay && !f->routed)
		return f->over_limit ? SF_REASON_LIMIT : SF_REASON_RELAY;
	return SF_REASON_NO_ROLE;
}

/* The verdict on a reason, also on SF_REASON_UNPARSED. */
SF_PURE struct sf_decision sf_gateway_verdict(__u8 reason, __u32 mode)
{
	struct sf_decision d = {.verdict = SF_VERDICT_ALLOWED, .reason = reason};

	if (sf_reason_denies(reason))
		d.verdict = mode == SF_MODE_MONITOR ? SF_VERDICT_WOULD_DENY : SF_VERDICT_DENIED;
	return d;
}

SF_PURE struct sf_decision sf_gateway_decide(const struct sf_gateway_facts *f)
{
	__u8 reason = sf_gateway_reason(f);

	if (reason == SF_GATEWAY_NOT_ASKED)
		return (struct sf_decision){SF_VERDICT_ALLOWED, SF_GATEWAY_NOT_ASKED};
	return sf_gateway_verdict(reason, f->mode);
}

/* What can't be followed to TCP's ports but may be TCP. An off fence has no opinion. */
SF_PURE struct sf_decision sf_gateway_unparsed(__u32 mode)
{
	if (mode == SF_MODE_OFF)
		return (struct sf_decision){SF_VERDICT_ALLOWED, SF_REASON_OFF};
	return sf_gateway_verdict(SF_REASON_UNPARSED, mode);
}

#endif
