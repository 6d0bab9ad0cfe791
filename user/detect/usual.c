// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rule: far above the sender's own history (baseline.h).
 *
 * Connections that failed are left out: a host that dies makes a queue try all day, and is no
 * abuse. The failures of a bot are another rule's matter.
 *
 * For who has no limits (a mail server) only the day counts, and only a multiple: a newsletter is
 * an hour unlike any other and no alarm; a hijacked mailbox lasts and is more.
 */
#include "state.h"
#include <stdio.h>

#define UNLIMITED_FACTOR 5
#define STRANGER_LEAST	 10 /* fewer in an hour or day are no alarm, whatever the history */

void sf_rule_history(const struct sf_view *view, struct sf_finding_of_rule *out)
{
	const struct sf_tally *t = view->tally;
	const struct sf_state *s = view->state;
	int is_limited = t->warn || t->act;
	double hour_limit, day_limit;
	enum sf_verdict hour, day;

	if (!(s->flags & SF_STATE_KNOWN))
		return;
	hour_limit = (double)s->more->hour_limit;
	day_limit = (double)s->more->day_limit;
	if (hour_limit < STRANGER_LEAST)
		hour_limit = STRANGER_LEAST;
	if (day_limit < STRANGER_LEAST)
		day_limit = STRANGER_LEAST;
	if (!is_limited) {
		hour_limit = 0;
		day_limit *= UNLIMITED_FACTOR;
	}
	hour = sf_against(view->hour_worked, hour_limit);
	day = sf_against(view->day_worked, day_limit);
	out->verdict = day > hour ? day : hour;
	out->value = hour == SF_VERDICT_RAISE ? view->hour_worked : view->day_worked;
	out->limit = hour == SF_VERDICT_RAISE ? hour_limit : day_limit;
	snprintf(out->evidence, sizeof(out->evidence),
		 "hour=%u usual_hour=%.0f day=%u usual_day=%.0f failed_too=%u distinct=%.0f",
		 view->hour_worked, hour_limit, view->day_worked, day_limit,
		 t->day - view->day_worked, t->distinct);
}
