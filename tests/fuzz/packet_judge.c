// SPDX-License-Identifier: GPL-2.0-only
/* The lists that packets are judged by, and the judgement: design.md section 3, smtpfence.conf(5).
 */
#include "packet.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

const struct network relays[] = {{"198.51.100.0/24", {25, 587}, 0},
				 {"2001:db8::2/128", {0}, 0},
				 {"10.0.0.0/8", {465, 0}, 0},
				 {NULL, {0}, 0}};
const struct network quarantine_nets[] = {{"192.0.2.128/25", {0}, 0},
					  {"192.0.2.24/29", {0}, 0},
					  {"2001:db8:1::/48", {0}, 0},
					  {NULL, {0}, 0}};
const struct network quarantine_hosts[] = {
	{"192.0.2.77/32", {0}, 0}, {"2001:db8::77/128", {0}, 0}, {NULL, {0}, 0}};
const struct network mail_hosts[] = {
	{"192.0.2.16/28", {0}, 0}, {"2001:db8::25/128", {0}, 0}, {NULL, {0}, 0}};
const struct network bound_hosts[] = {{"192.0.2.32/28", {0}, 1},
				      {"192.0.2.48/28", {0}, 99},
				      {"2001:db8:2::/48", {0}, 1},
				      {NULL, {0}, 0}};
const struct network own_nets[] = {
	{"192.0.2.0/24", {0}, 0}, {"2001:db8::/32", {0}, 0}, {NULL, {0}, 0}};
const struct network local_addrs[] = {{"203.0.113.25/32", {0}, 0},
				      {"198.51.100.25/32", {0}, 0},
				      {"2001:db8:ffff::25/128", {0}, 0},
				      {NULL, {0}, 0}};

/* The first that the address lies in. An IPv6 address that looks like IPv4 is none. */
static const struct network *holds(const struct network *list, int family, const uint8_t *address)
{
	for (; list->text; list++) {
		uint8_t net[16], *a = net;
		char text[64];
		int bits, is_v6 = strchr(list->text, ':') != NULL;
		const uint8_t *b = is_v6 ? address : address + 12;

		if (is_v6 != (family == 6))
			continue;
		strcpy(text, list->text);
		bits = atoi(strchr(text, '/') + 1);
		*strchr(text, '/') = '\0';
		inet_pton(is_v6 ? AF_INET6 : AF_INET, text, net);
		while (bits >= 8 && *a == *b)
			a++, b++, bits -= 8;
		if (!bits || (bits < 8 && !((*a ^ *b) >> (8 - bits))))
			return list;
	}
	return NULL;
}

static bool is_fenced(uint16_t port)
{
	return port == 25 || port == 465 || port == 587;
}

static struct judgement said(enum verdict verdict, const char *reason)
{
	return (struct judgement){verdict, reason};
}

static struct judgement denied(const struct policy *p, const char *reason)
{
	return said(p->mode == MONITOR ? WOULD_DENY : DENIED, reason);
}

static const struct judgement nothing = {NOT_COUNTED, ""};

static bool is_quarantined(const struct policy *p, const struct segment *s)
{
	return (p->quarantine_nets && holds(quarantine_nets, s->family, s->source)) ||
	       (p->quarantine_hosts && holds(quarantine_hosts, s->family, s->source));
}

static bool is_relayed(const struct policy *p, const struct segment *s)
{
	const struct network *n =
		p->relays && !s->routed ? holds(relays, s->family, s->destination) : NULL;

	return n && (!n->ports[0] || n->ports[0] == s->dport || n->ports[1] == s->dport);
}

static bool is_mail_host(const struct policy *p, const struct segment *s)
{
	const struct network *bound =
		p->bound_hosts ? holds(bound_hosts, s->family, s->source) : NULL;

	return (p->mail_hosts && holds(mail_hosts, s->family, s->source)) ||
	       (bound && bound->ifindex == 1);
}

struct judgement gateway_syn(const struct policy *p, const struct segment *s)
{
	bool fenced = is_fenced(s->dport);

	if (p->mode == OFF)
		return fenced ? said(ALLOWED, "off") : nothing;
	if (p->mode == WIPED)
		return fenced ? said(DENIED, "no_settings") : nothing;
	if (p->own_nets && !holds(own_nets, s->family, s->source))
		return denied(p, "spoofed");
	if (!fenced)
		return nothing;
	if (p->allow_local && !s->routed && holds(local_addrs, s->family, s->destination))
		return said(ALLOWED, "local");
	if (is_quarantined(p, s))
		return denied(p, "quarantine");
	if (is_mail_host(p, s))
		return said(ALLOWED, "mail_host");
	return is_relayed(p, s) ? said(ALLOWED, "relay") : denied(p, "no_role");
}

struct judgement gateway_unparsed(const struct policy *p)
{
	return p->mode == OFF ? said(ALLOWED, "off") : denied(p, "unparsed");
}

/* What a socket without a role sends; what is allowed there is not counted, connect() did that. */
static struct judgement local_syn(const struct policy *p, const struct segment *s)
{
	if (p->mode == OFF)
		return nothing;
	if (p->mode == WIPED)
		return said(DENIED, "no_settings");
	if (is_quarantined(p, s))
		return denied(p, "quarantine");
	return is_relayed(p, s) ? nothing : denied(p, "no_role");
}

struct judgement uplink_syn(const struct policy *p, const struct segment *s, bool has_sender)
{
	if (!is_fenced(s->dport))
		return nothing;
	if (has_sender)
		return local_syn(p, s);
	if (!p->fence_forwarded || p->mode == WIPED)
		return nothing;
	if (p->mode == OFF)
		return said(ALLOWED, "off");
	if (is_quarantined(p, s))
		return denied(p, "quarantine");
	return is_relayed(p, s) ? said(ALLOWED, "relay") : denied(p, "no_role");
}

struct judgement uplink_unparsed(const struct policy *p)
{
	return p->mode == OFF ? nothing : denied(p, "unparsed");
}
