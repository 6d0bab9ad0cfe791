// SPDX-License-Identifier: GPL-2.0-only
#include "customers.h"
#include "doctor.h"
#include "escape.h"
#include "uplinks.h"
#include <stdio.h>
#include <string.h>

#define SUBJECT "interfaces"

/* Names go into the text as they are shown: who makes an interface names it. */
static void add_name(char *list, size_t size, const char *name)
{
	char shown[4 * IFNAMSIZ];
	size_t used = strlen(list);

	sf_escape_string(name, shown, sizeof(shown));
	snprintf(list + used, size - used, "%s%s", used ? ", " : "", shown);
}

static void check_uplinks(const struct sf_policy *policy, struct sf_doctor_report *report)
{
	char names[256] = "";
	struct sf_uplinks uplinks;

	if (!policy->uplinks.count) {
		sf_doctor_say(report, SUBJECT, SF_DOCTOR_WARN,
			      "uplinks is empty: connections are not counted, and what needs no "
			      "connect() (raw sockets) is not fenced");
		return;
	}
	if (sf_uplinks_find(&policy->uplinks, &uplinks)) {
		sf_doctor_say(report, SUBJECT, SF_DOCTOR_WARN, "can't be listed");
		return;
	}
	for (size_t i = 0; i < uplinks.count; i++) {
		if (uplinks.link[i].unsupported)
			sf_doctor_say(report, SUBJECT, SF_DOCTOR_WARN,
				      "%s is an uplink whose headers are not known: nothing is "
				      "counted there",
				      uplinks.link[i].name);
		else
			add_name(names, sizeof(names), uplinks.link[i].name);
	}
	if (names[0])
		sf_doctor_say(report, SUBJECT, SF_DOCTOR_OK, "uplinks: %s", names);
	else
		sf_doctor_say(report, SUBJECT, SF_DOCTOR_WARN,
			      "no uplink is there: connections are not counted; name them "
			      "(uplinks = {\"eth0\"}) where there is no default route");
}

/* A tap: an Ethernet interface that a program holds the other end of, mostly QEMU. */
static int is_tap(const struct sf_customer_link *link)
{
	return !strcmp(link->kind, "tun") && !link->raw_ip;
}

static int is_fenced(const struct sf_customers *fenced, int ifindex)
{
	for (size_t i = 0; i < fenced->count; i++)
		if (fenced->link[i].ifindex == ifindex)
			return 1;
	return 0;
}

static void check_machines(const struct sf_policy *policy, struct sf_doctor_report *report)
{
	struct sf_policy any = {.uplinks = {.count = 0}, .customers = {.name = {"*"}, .count = 1}};
	struct sf_customers all, fenced;
	char names[256] = "";

	if (sf_customers_find(&any, &all))
		return;
	if (!sf_customers_find(policy, &fenced)) {
		for (size_t i = 0; i < all.count; i++)
			if (is_tap(&all.link[i]) && !is_fenced(&fenced, all.link[i].ifindex))
				add_name(names, sizeof(names), all.link[i].name);
		sf_customers_free(&fenced);
	}
	sf_customers_free(&all);
	if (names[0])
		sf_doctor_say(report, SUBJECT, SF_DOCTOR_WARN,
			      "nobody fences the virtual machines behind %s: smtpfence gateway add "
			      "\"PATTERN\"",
			      names);
}

void sf_doctor_check_wires(const struct sf_policy *policy, struct sf_doctor_report *report)
{
	check_uplinks(policy, report);
	check_machines(policy, report);
}
