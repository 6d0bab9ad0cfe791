// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rules: connections in the window and in an hour, against the limits of the sender's class.
 *
 * A warning about a sender that does every day what it does now helps nobody: where its history
 * is known, the warn limit is not below what is usual for it. The act limits bend to nothing.
 */
#include "state.h"
#include <stdio.h>

enum sf_verdict sf_against(double value, double limit)
{
	if (limit <= 0)
		return SF_VERDICT_OVER;
	return value >= limit	    ? SF_VERDICT_RAISE
	       : value < limit * .8 ? SF_VERDICT_OVER
				    : SF_VERDICT_HOLD;
}

int sf_is_stranger(const struct sf_tally *tally)
{
	return tally->class == SF_CLASS_UNKNOWN || tally->class == SF_CLASS_OWN ||
	       tally->class == SF_CLASS_USER;
}

static double usual(const struct sf_view *view, double limit)
{
	if (limit > 0 && sf_is_stranger(view->tally) && view->state->flags & SF_STATE_KNOWN &&
	    view->state->more->hour_limit > limit)
		return view->state->more->hour_limit;
	return limit;
}

static void in_window(const struct sf_view *view, double limit, struct sf_finding_of_rule *out)
{
	const struct sf_tally *t = view->tally;

	out->value = t->window;
	out->limit = limit;
	out->verdict = sf_against(out->value, limit);
	snprintf(out->evidence, sizeof(out->evidence),
		 "count=%u window=%us limit=%.0f distinct=%.0f", t->window, SF_WINDOW_SECONDS,
		 limit, t->distinct);
}

void sf_rule_rate_warn(const struct sf_view *view, struct sf_finding_of_rule *out)
{
	in_window(view, usual(view, view->tally->warn), out);
}

void sf_rule_rate_act(const struct sf_view *view, struct sf_finding_of_rule *out)
{
	in_window(view, view->tally->act, out);
}

/*
 * Whose window limit allows as many in ten minutes already, has no limit per hour; neither has
 * who has no limits at all.
 */
static void in_hour(const struct sf_view *view, uint32_t window_limit, double limit,
		    struct sf_finding_of_rule *out)
{
	if (!window_limit || window_limit >= limit)
		limit = 0;
	out->value = view->hour;
	out->limit = limit;
	out->verdict = sf_against(out->value, limit);
	snprintf(out->evidence, sizeof(out->evidence),
		 "count=%u window=3600s limit=%.0f distinct=%.0f", view->hour, limit,
		 view->tally->distinct);
}

void sf_rule_hour_warn(const struct sf_view *view, struct sf_finding_of_rule *out)
{
	in_hour(view, view->tally->warn, usual(view, view->limits->hour_warn), out);
}

void sf_rule_hour_act(const struct sf_view *view, struct sf_finding_of_rule *out)
{
	in_hour(view, view->tally->act, view->limits->hour_act, out);
}
