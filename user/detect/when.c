// SPDX-License-Identifier: GPL-2.0-only
/*
 * The part of a state that few senders need, and when alarms were raised or over, which for nearly
 * all follows from when they began: the first SMTP is told at the first look.
 */
#include "state.h"
#include <stdlib.h>

struct sf_state_more *sf_state_more(struct sf_state *s)
{
	if (s->more)
		return s->more;
	s->more = calloc(1, sizeof(*s->more));
	if (s->more && s->raised >> SF_RULE_FIRST & 1)
		s->more->when[SF_RULE_FIRST] = s->begun;
	return s->more;
}

uint32_t sf_state_when(const struct sf_state *s, int rule)
{
	if (s->more)
		return s->more->when[rule];
	return s->raised >> rule & 1 ? s->begun : 0;
}

/* Without memory an alarm lasts since its sender began, and does not cool down. */
void sf_state_set_when(struct sf_state *s, int rule, uint32_t now)
{
	if (rule == SF_RULE_FIRST)
		s->flags |= SF_STATE_FIRST;
	if (rule == SF_RULE_FIRST && !s->more && (now == s->begun || s->raised >> rule & 1))
		return;
	if (sf_state_more(s))
		s->more->when[rule] = now;
}
