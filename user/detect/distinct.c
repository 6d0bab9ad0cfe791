// SPDX-License-Identifier: GPL-2.0-only
/* Rule: too many different destinations. Not for senders without limits: a mail server has many. */
#include "state.h"
#include <stdio.h>

void sf_rule_distinct(const struct sf_view *view, struct sf_finding_of_rule *out)
{
	const struct sf_tally *t = view->tally;

	out->value = t->distinct;
	out->limit = t->warn || t->act ? view->limits->distinct : 0;
	out->verdict = sf_against(out->value, out->limit);
	snprintf(out->evidence, sizeof(out->evidence),
		 "distinct=%.0f error=9%% window=3600s limit=%.0f count=%u", t->distinct,
		 out->limit, view->hour);
}
