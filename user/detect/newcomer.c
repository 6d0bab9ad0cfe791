// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rules about senders that have no history: the first SMTP at all (a notice), one that writes to
 * many at once, and one of many that began together (a bot on many accounts, each of them slow).
 *
 * A new contact form or ticket system writes to one relay or to one mailbox; a bot writes to
 * strangers from its first minute on. So most of the connections must go to different hosts.
 */
#include "state.h"
#include <stdio.h>

#define FIRST_SECONDS 660 /* how a sender begins says what it is */
/* Different hosts, of the limit: who comes to the same again (greylists) stays below. */
#define SPREAD	    0.85
#define HOUR_FACTOR 4.5 /* times the limit in a sliding hour, at any time without history */
#define CROWD_LEAST 4	/* connections of one of the crowd, most of them to different hosts */

void sf_rule_newcomer(const struct sf_view *view, struct sf_finding_of_rule *out)
{
	const struct sf_tally *t = view->tally;
	double limit = view->limits->newcomer, hour_limit;
	enum sf_verdict window, hour;

	if (!view->has_history || !sf_is_stranger(t) || !t->warn ||
	    view->state->flags & SF_STATE_KNOWN)
		return;
	if (limit > t->warn)
		limit = t->warn;
	hour_limit = HOUR_FACTOR * limit;
	window = sf_against(t->window, limit);
	/* Later bursts are for the usual limits: people write to ten others now and then. */
	if (window == SF_VERDICT_RAISE && view->age > FIRST_SECONDS)
		window = SF_VERDICT_HOLD;
	if (window == SF_VERDICT_RAISE && t->distinct < SPREAD * limit)
		window = SF_VERDICT_HOLD;
	hour = sf_against(view->hour, hour_limit);
	if (hour == SF_VERDICT_RAISE && t->distinct < hour_limit / 4)
		hour = SF_VERDICT_HOLD;
	out->verdict = window > hour ? window : hour;
	out->value = hour == SF_VERDICT_RAISE ? view->hour : t->window;
	out->limit = hour == SF_VERDICT_RAISE ? hour_limit : limit;
	snprintf(out->evidence, sizeof(out->evidence),
		 "count=%.0f window=%us limit=%.0f distinct=%.0f history=none", out->value,
		 hour == SF_VERDICT_RAISE ? 3600 : SF_WINDOW_SECONDS, out->limit, t->distinct);
}

void sf_rule_crowd(const struct sf_view *view, struct sf_finding_of_rule *out)
{
	const struct sf_tally *t = view->tally;

	if (!(view->state->flags & SF_STATE_NEW) || !sf_is_stranger(t) || !t->warn)
		return;
	out->value = view->crowd;
	out->limit = view->limits->crowd;
	out->verdict = sf_against(view->crowd, out->limit);
	if (out->verdict == SF_VERDICT_RAISE &&
	    (t->fenced < CROWD_LEAST || t->distinct < .7 * view->hour ||
	     t->distinct < CROWD_LEAST - 1.5))
		out->verdict = SF_VERDICT_HOLD;
	snprintf(out->evidence, sizeof(out->evidence),
		 "began_in_hour=%u limit=%.0f count=%llu distinct=%.0f", view->crowd, out->limit,
		 (unsigned long long)t->fenced, t->distinct);
}

/* Raised at the first look alone: the engine does not ask for it again. */
void sf_rule_first(const struct sf_view *view, struct sf_finding_of_rule *out)
{
	if (!(view->state->flags & SF_STATE_NEW))
		return;
	out->value = (double)view->tally->fenced;
	out->limit = 1;
	out->verdict = view->state->flags & SF_STATE_FIRST ? SF_VERDICT_HOLD : SF_VERDICT_RAISE;
	snprintf(out->evidence, sizeof(out->evidence), "count=%llu distinct=%.0f",
		 (unsigned long long)view->tally->fenced, view->tally->distinct);
}
