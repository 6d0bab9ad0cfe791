/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Verdicts and their reasons. One list each: enum, name, counter label and documentation come from
 * here, and a new one is one line. The order of reasons is the ABI of the counters: append only.
 */
#ifndef SF_MAPS_VERDICT_H
#define SF_MAPS_VERDICT_H

#define SF_VERDICTS(X)                                                                             \
	X(ALLOWED, "allowed", "the connection went on")                                            \
	X(DENIED, "denied", "the caller got an errno, no packet left")                             \
	X(WOULD_DENY, "would_deny", "monitor mode: it went on, enforce would have denied it")

/* label, which verdict it leads to under enforce, what it means */
#define SF_REASONS(X)                                                                              \
	X(OFF, "off", ALLOWED, "the mode is off")                                                  \
	X(LOCAL, "local", ALLOWED, "the destination is an address of this host")                   \
	X(QUARANTINE, "quarantine", DENIED, "the sender is in quarantine")                         \
	X(RELAY, "relay", ALLOWED, "the destination is an allowed network or host")                \
	X(MAIL, "mail", ALLOWED, "socket and task lie in one mail server's cgroup")                \
	X(SENDER, "sender", ALLOWED, "the user or group is on the allowed list")                   \
	X(EXEMPT, "exempt", ALLOWED, "the nearest role of the cgroup is exempt")                   \
	X(NO_ROLE, "no_role", DENIED, "no rule allows this sender")                                \
	X(SOCKET_MOVED, "socket_moved", DENIED, "only one of socket and task is in the cgroup")    \
	X(MAIL_USER, "mail_user", DENIED, "in the mail server's cgroup, but not one of its users") \
	X(TOO_DEEP, "too_deep", DENIED, "the cgroup lies deeper than is looked at")                \
	X(NO_IDENTITY, "no_identity", DENIED, "the kernel did not show the socket's cgroup")       \
	X(NO_SETTINGS, "no_settings", DENIED, "the settings are missing or not of this version")   \
	X(PROBE, "probe", DENIED, "smtpfence's own test, denied like anybody")                     \
	X(WATCHED, "watched", ALLOWED, "a watched port: counted, not fenced")                      \
	X(MAIL_HOST, "mail_host", ALLOWED, "gateway: the source is a mail host")                   \
	X(SPOOFED, "spoofed", DENIED, "gateway: the source is none of this interface's networks")  \
	X(UNPARSED, "unparsed", DENIED, "a packet whose headers can't be followed to TCP's ports") \
	X(LIMIT, "limit", DENIED,                                                                  \
	  "gateway: the source is at its second limit, and gateway_limit is drop")                 \
	X(FILTER, "filter", ALLOWED, "guard: the source is a filter")                              \
	X(NO_FILTER, "no_filter", DENIED, "guard: the source is no filter of this host")           \
	X(FILTER_LIMIT, "filter_limit", DENIED, "guard: a filter above guard_limit")

enum sf_verdict {
#define X(name, label, text) SF_VERDICT_##name,
	SF_VERDICTS(X)
#undef X
		SF_VERDICT_COUNT
};

enum sf_reason {
#define X(name, label, verdict, text) SF_REASON_##name,
	SF_REASONS(X)
#undef X
		SF_REASON_COUNT
};

/* The counters' table is made for this many; see counters.h. */
#define SF_REASON_MAX 32
_Static_assert(SF_REASON_COUNT <= SF_REASON_MAX, "raise SF_REASON_MAX and the ABI version");

#endif
