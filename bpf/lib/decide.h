/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The decision: facts in, reason out. Nothing here touches a map, a helper or a clock, so that the
 * unit tests run the same lines in user space. The hooks gather the facts (facts.h).
 */
#ifndef SF_BPF_DECIDE_H
#define SF_BPF_DECIDE_H

#include "../../maps/abi.h"
#include "../../maps/grants.h"
#include "../../maps/roles.h"
#include "../../maps/settings.h"
#include "../../maps/verdict.h"

#ifdef __bpf__
#define SF_PURE static __always_inline
#else
#define SF_PURE static inline
#endif

/* Where a socket or a task lies: the nearest role above it, and that role's cgroup. */
struct sf_place {
	__u64 anchor;	  /* cgroup id that carries the nearest role; 0: none */
	__u32 kind;	  /* enum sf_role_kind of it */
	__u8 user_listed; /* mail: the caller's uid is in its list, or the list is empty */
	__u8 quarantined; /* this cgroup or one above it is in quarantine */
	__u8 too_deep;	  /* more than SF_DEPTH_MAX levels: not all were seen */
	__u8 unknown;	  /* the kernel did not show the cgroup */
};

struct sf_facts {
	struct sf_place task;
	struct sf_place socket;
	__u32 mode;		 /* enum sf_mode; anything else: the settings can't be trusted */
	__u8 allow_local;	 /* the setting */
	__u8 to_local;		 /* the destination is this host */
	__u8 to_relay;		 /* the destination is granted, on this port, now */
	__u8 kernel_thread;	 /* the task is one: it has no cgroup and no user of its own */
	__u8 sender_allowed;	 /* user or group is granted, on this port, now */
	__u8 sender_quarantined; /* the user */
	__u8 source_quarantined; /* the address that the socket is bound to, if it is */
	__u8 is_probe;		 /* smtpfence's own test */
};

struct sf_decision {
	__u8 verdict; /* enum sf_verdict */
	__u8 reason;  /* enum sf_reason */
};

/* Does one of the grants hold for this port (host byte order) at this time (CLOCK_BOOTTIME)? */
SF_PURE int sf_grants_hold(const struct sf_grants *grants, __u16 port, __u64 now_ns)
{
	for (__u32 i = 0; i < SF_GRANTS_MAX; i++) {
		const struct sf_grant *g = &grants->grant[i];

		if (i >= grants->count)
			break;
		if ((g->port == SF_PORT_ANY || g->port == port) && now_ns < g->until_ns)
			return 1;
	}
	return 0;
}

/* May this uid use that mail server's right? An empty list holds everybody. */
SF_PURE int sf_role_has_user(const struct sf_role *role, __u32 uid)
{
	if (role->user_count == 0)
		return 1;
	for (__u32 i = 0; i < SF_ROLE_USERS_MAX; i++) {
		if (i >= role->user_count)
			break;
		if (role->users[i] == uid)
			return 1;
	}
	return 0;
}

/* Is a (v4-mapped where IPv4) address one that no table is needed for: loopback, unspecified? */
SF_PURE int sf_addr_is_self(__u32 family, const struct sf_addr *addr)
{
	int zeros = 1;

	if (family == SF_FAMILY_V4)
		return addr->b[12] == 127 ||
		       !(addr->b[12] | addr->b[13] | addr->b[14] | addr->b[15]);
	for (int i = 0; i < 15; i++)
		zeros &= addr->b[i] == 0;
	return zeros && addr->b[15] <= 1;
}

/* The rule of design.md section 3, in its order; the first that holds is the reason. */
SF_PURE __u8 sf_reason_for(const struct sf_facts *f)
{
	/* A kernel thread acts for the socket it was given: the socket's place stands for both. */
	const struct sf_place *socket = &f->socket;
	const struct sf_place *task = f->kernel_thread ? socket : &f->task;

	if (f->mode == SF_MODE_OFF)
		return SF_REASON_OFF;
	if (f->mode != SF_MODE_MONITOR && f->mode != SF_MODE_ENFORCE)
		return SF_REASON_NO_SETTINGS;
	if (f->to_local && f->allow_local)
		return SF_REASON_LOCAL;
	if (task->quarantined || socket->quarantined || f->source_quarantined ||
	    (!f->kernel_thread && f->sender_quarantined))
		return SF_REASON_QUARANTINE;
	/* Not all levels were seen, so a quarantine may be above: nothing may allow it any more. */
	if (socket->too_deep || task->too_deep)
		return SF_REASON_TOO_DEEP;
	if (f->to_relay)
		return SF_REASON_RELAY;
	if (!socket->unknown && socket->anchor && socket->anchor == task->anchor &&
	    socket->kind == SF_ROLE_MAIL && (f->kernel_thread || task->user_listed))
		return SF_REASON_MAIL;
	if (!f->kernel_thread && f->sender_allowed)
		return SF_REASON_SENDER;
	if (!socket->unknown && socket->kind == SF_ROLE_EXEMPT && task->kind == SF_ROLE_EXEMPT)
		return SF_REASON_EXEMPT;

	/* Denied. What follows only says why, for whoever has to mend it. */
	if (f->is_probe)
		return SF_REASON_PROBE;
	if (socket->unknown)
		return SF_REASON_NO_IDENTITY;
	if (socket->kind == SF_ROLE_MAIL && socket->anchor == task->anchor)
		return SF_REASON_MAIL_USER;
	if (socket->kind == SF_ROLE_MAIL || task->kind == SF_ROLE_MAIL)
		return SF_REASON_SOCKET_MOVED;
	return SF_REASON_NO_ROLE;
}

/* Is a reason one that denies under enforce? */
SF_PURE int sf_reason_denies(__u8 reason)
{
	switch (reason) {
#define X(name, label, verdict, text)                                                              \
	case SF_REASON_##name:                                                                     \
		return SF_VERDICT_##verdict == SF_VERDICT_DENIED;
		SF_REASONS(X) /* NOLINT(bugprone-branch-clone): made of a list */
#undef X
	default:
		return 1;
	}
}

SF_PURE struct sf_decision sf_decide(const struct sf_facts *f)
{
	struct sf_decision d = {.verdict = SF_VERDICT_ALLOWED, .reason = sf_reason_for(f)};

	if (sf_reason_denies(d.reason))
		d.verdict = f->mode == SF_MODE_MONITOR ? SF_VERDICT_WOULD_DENY : SF_VERDICT_DENIED;
	return d;
}

#endif
