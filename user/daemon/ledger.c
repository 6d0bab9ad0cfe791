// SPDX-License-Identifier: GPL-2.0-only
#include "ledger.h"
#include <string.h>

int ledger_delta(struct sf_history_total *total, const struct sf_tally *t, struct sf_hour *delta)
{
	const uint64_t now[SF_TOTAL_COUNT] = {
		[SF_TOTAL_SYN] = t->syn,
		[SF_TOTAL_FENCED] = t->fenced,
		[SF_TOTAL_RETRANSMITTED] = t->retransmitted,
		[SF_TOTAL_ANSWERED] = t->answered,
		[SF_TOTAL_REFUSED] = t->refused,
		[SF_TOTAL_SILENT] = t->silent,
		[SF_TOTAL_DENIED] = t->denied,
		[SF_TOTAL_WOULD_DENY] = t->would_deny,
	};
	uint64_t new[SF_TOTAL_COUNT];
	int any = 0;

	for (int i = 0; i < SF_TOTAL_COUNT; i++) {
		/* Made anew since: it counts from zero. Denials are in a table of their own. */
		int same = i >= SF_TOTAL_DENIED || total->first_ns == t->first_ns;

		new[i] = same &&now[i] >= total->count[i] ? now[i] - total->count[i] : now[i];
		any |= new[i] != 0;
	}
	delta->syn = new[SF_TOTAL_SYN];
	delta->fenced = new[SF_TOTAL_FENCED];
	delta->retransmitted = new[SF_TOTAL_RETRANSMITTED];
	delta->answered = new[SF_TOTAL_ANSWERED];
	delta->refused = new[SF_TOTAL_REFUSED];
	delta->silent = new[SF_TOTAL_SILENT];
	delta->denied = new[SF_TOTAL_DENIED];
	delta->would_deny = new[SF_TOTAL_WOULD_DENY];
	delta->distinct = t->distinct > 0 ? (uint64_t)(t->distinct + 0.5) : 0;
	total->first_ns = t->first_ns;
	memcpy(total->count, now, sizeof(now));
	return any;
}
