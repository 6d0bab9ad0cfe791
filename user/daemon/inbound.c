// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the inbound guard and the gateway fence keep out: one line a source and cool-down. Sources
 * are the world's or a customer's to choose, so who is remembered is bounded, and so are the lines.
 */
#include "daemon.h"
#include "../escape.h"
#include "../status.h"
#include "../../maps/census.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

/* Was this source told of within the cool-down? If not, it is remembered in place of the oldest. */
static int was_told(struct daemon *d, const struct sf_addr *source, int64_t now)
{
	struct inbound_told *oldest = &d->inbound[0];

	for (size_t i = 0; i < sizeof(d->inbound) / sizeof(d->inbound[0]); i++) {
		struct inbound_told *one = &d->inbound[i];

		if (one->at && !memcmp(&one->source, source, sizeof(*source))) {
			if (now < one->at + d->policy.alert_cooldown)
				return 1;
			one->at = now;
			return 0;
		}
		if (one->at < oldest->at)
			oldest = one;
	}
	oldest->source = *source;
	oldest->at = now;
	return 0;
}

static void address(const struct sf_addr *addr, char out[INET6_ADDRSTRLEN])
{
	static const char mapped[] = "\0\0\0\0\0\0\0\0\0\0\xff\xff";

	if (!memcmp(addr->b, mapped, 12))
		inet_ntop(AF_INET, addr->b + 12, out, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, addr->b, out, INET6_ADDRSTRLEN);
}

/* Whom the cool-down is for: a source as it is counted; of made-up ones, the interface. */
static struct sf_addr whom(const struct sf_crossing *e)
{
	struct sf_addr who = e->saddr;

	if (e->kind == SF_CROSSING_GUARD)
		return who;
	memcpy(&who, &e->key, sizeof(who));
	if (e->level == SF_REASON_SPOOFED) {
		memset(&who, 0, sizeof(who));
		memcpy(&who, &e->ifindex, sizeof(e->ifindex));
	}
	return who;
}

void inbound_denied(struct daemon *d, const struct sf_crossing *e)
{
	int customer = e->kind == SF_CROSSING_CUSTOMER;
	struct sf_addr who = whom(e);
	char count[32] = "";
	char source[INET6_ADDRSTRLEN], target[INET6_ADDRSTRLEN], interface[IF_NAMESIZE] = "";
	char shown[IF_NAMESIZE * 4];

	if (e->level >= SF_REASON_COUNT || e->window >= SF_VERDICT_COUNT ||
	    was_told(d, &who, daemon_now()) || !denials_line_allowed(d, 0))
		return;
	address(&e->saddr, source);
	address(&e->daddr, target);
	if_indextoname(e->ifindex, interface);
	sf_escape_string(interface, shown, sizeof(shown));
	if (customer)
		snprintf(count, sizeof(count), " count=%u", e->limit);
	daemon_alert(d, customer ? LOG_WARNING : LOG_NOTICE, customer ? "customer" : "guard",
		     "source=%s daddr=%s dport=%u interface=\"%s\" reason=%s verdict=%s%s", source,
		     target, e->dport, shown, sf_reason_names[e->level],
		     sf_verdict_names[e->window], count);
}
