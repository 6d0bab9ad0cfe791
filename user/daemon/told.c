// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lines about denials, as rows of the history: `history` and `report` show them, and a daemon that
 * is started within the cool-down does not tell them again.
 */
#include "watch.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TEXT "count=%" PRIu64 " cgroup_id=%" PRIu64 " uid=%" PRIu32

void told_note(struct daemon *d, uint64_t cgroup, uint32_t uid, int severity, const char *rule,
	       uint64_t count)
{
	struct census_watch *c = d->census;
	const struct sf_census_key key = {{cgroup, uid}};
	struct sf_history_alarm row = {.raised = (int64_t)time(NULL)};
	int ret;

	if (!c || !c->history)
		return;
	row.cleared = row.raised; /* a moment, nothing that lasts */
	sf_census_sender_text(&key, d->mount, row.who, sizeof(row.who));
	snprintf(row.rule, sizeof(row.rule), "%s", rule);
	snprintf(row.severity, sizeof(row.severity), "%s", sf_severity_name(severity));
	snprintf(row.text, sizeof(row.text), TEXT, count, cgroup, uid);
	ret = sf_history_raise(c->history, &row);
	if (ret)
		chronicle_fault(d, ret);
}

static int take(void *context, const struct sf_history_alarm *row)
{
	struct daemon *d = context;
	int64_t when = daemon_now() - ((int64_t)time(NULL) - row->raised);
	uint64_t count, cgroup;
	uint32_t uid;

	/* Ids of cgroups are of one boot; a wall clock that was set back tells nothing. */
	if (when <= 0 || when > daemon_now() ||
	    /* NOLINTNEXTLINE(cert-err34-c): our own record; what is too large stops at the end */
	    sscanf(row->text, "count=%" SCNu64 " cgroup_id=%" SCNu64 " uid=%" SCNu32, &count,
		   &cgroup, &uid) != 3)
		return 0;
	if (!strcmp(row->rule, "denied"))
		sf_detect_told(&d->detect, cgroup, uid, SF_SIGNAL_CROSSED, when);
	else if (!strcmp(row->rule, "attempt"))
		sf_detect_told(&d->detect, cgroup, uid, SF_SIGNAL_FIRST, when);
	return 0;
}

void told_load(struct daemon *d)
{
	sf_history_alarms(d->census->history, NULL, (int64_t)time(NULL) - d->detect.limits.cooldown,
			  INT64_MAX, take, d);
}
