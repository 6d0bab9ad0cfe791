// SPDX-License-Identifier: GPL-2.0-only
/* The programs on uplinks and customers' interfaces, and what is not seen there. */
#include "status_parts.h"
#include "guard.h"
#include <string.h>

static int is_uplink(const struct sf_egress_status *e, const char *name)
{
	for (size_t i = 0; i < e->uplinks.count; i++)
		if (!strcmp(e->uplinks.link[i].name, name))
			return 1;
	return 0;
}

/* The census is not the fence: what is missing there is said, and mended by who watches uplinks. */
void status_read_uplinks(const struct sf_policy *policy, struct sf_status *status)
{
	const struct sf_egress_status *e = &status->egress;
	int ret = sf_egress_read(policy, &status->egress);

	if (ret)
		status_lack(status, "the uplinks can't be listed: %s", strerror(-ret));
	for (size_t i = 0; !ret && i < e->uplinks.count; i++) {
		const struct sf_uplink *link = &e->uplinks.link[i];

		if (link->unsupported)
			status_lack(
				status,
				"uplink %s: a kind of link whose headers are not known: nothing is "
				"counted there",
				link->name);
		else if (!e->out[i].in_effect || !e->in[i].in_effect)
			status_lack(status,
				    "uplink %s: our program is not in effect (%s): run `smtpfence "
				    "apply`",
				    link->name, e->out[i].in_effect ? "ingress" : "egress");
	}
	for (uint32_t i = 0; !ret && i < policy->uplinks.count; i++) {
		const char *name = policy->uplinks.name[i];

		/* A pattern may match nothing for now; and without a default route there is no way.
		 */
		if (strcmp(name, "auto") && !strpbrk(name, "*?[") && !is_uplink(e, name))
			status_lack(status, "uplink %s: there is no such interface", name);
	}
	if (!ret && e->lost_map)
		status_lack(status, "the pin of the census' map %s is gone: run `smtpfence apply`",
			    e->lost_map);
	if (!ret && sf_guard_differs(policy))
		status_lack(status, "the guard's tables in the kernel differ from the policy: run "
				    "`smtpfence apply`");
	if (!ret && e->uplinks.more)
		status_lack(status, "more than %d uplinks match: the rest is not counted",
			    SF_UPLINKS_MAX);
}

/* Asked from the interfaces, too; mended by who follows them (daemon/customers.c). */
void status_read_customers(const struct sf_policy *policy, struct sf_status *status)
{
	const struct sf_gateway_status *g = &status->gateway;
	int ret = sf_gateway_read(policy, &status->gateway);

	if (ret) {
		status_lack(status, "the customers' interfaces can't be listed: %s",
			    strerror(-ret));
		return;
	}
	if (g->lists_differ)
		status_lack(status, "the gateway's lists in the kernel differ from the policy: "
				    "run `smtpfence apply`");
	for (size_t i = 0; i < g->customers.count; i++) {
		const struct sf_customer_link *link = &g->customers.link[i];
		const struct sf_gateway_place *place = &g->place[i];

		if (link->is_uplink)
			continue;
		if (link->unsupported)
			status_lack(
				status,
				"customer %s: a kind of link whose headers are not known: it is "
				"not fenced",
				link->name);
		else if (!place->how)
			status_lack(status,
				    "customer %s: not fenced, our program is not in effect: "
				    "run `smtpfence apply`",
				    link->name);
		else if (!place->listed || !place->answers)
			status_lack(status, "customer %s: fenced, but %s: run `smtpfence apply`",
				    link->name,
				    place->listed ? "answers to it are not seen"
						  : "its entry in the kernel is not as wanted");
	}
}
