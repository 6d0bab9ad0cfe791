// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rule: too many connections fail. Lists of spammers are old, so their bots meet dead hosts at
 * every turn; a mail server meets few, but tries those again and again for days.
 *
 * Two conditions, so that retries accuse nobody: the sequential test over all outcomes (sprt.h)
 * says bad, and the failures are spread over several destinations. The census does not count those,
 * but a bound follows from what it counts: of D different destinations at most A can have
 * answered in A answers, so D - A failed at least.
 *
 * Fed by what the network answered only. What the fence denied left no SYN and is in no count.
 */
#include "sprt.h"
#include "state.h"
#include <math.h>
#include <stdio.h>

#define DEAD_HOSTS    6 /* that many failing destinations are more than a queue's usual leftovers */
#define STEPS_AT_ONCE 4096 /* a look that brings more tells nothing new after so many */

/* The state that an accusation leaves: full. It goes down from there with each success. */
static void step(struct sf_state *state, const struct sf_sprt *test, int is_bad)
{
	double walk = (double)state->walk;

	switch (sf_sprt_step(test, &walk, is_bad)) {
	case SF_SPRT_GOOD:
		walk = 0;
		state->good = state->bad = 0;
		break;
	case SF_SPRT_BAD:
		walk = test->upper;
		/* fall through */
	default:
		if (is_bad)
			state->bad += state->bad < UINT32_MAX;
		else
			state->good += state->good < UINT32_MAX;
	}
	state->walk = (float)walk;
}

/* Outcomes of one look have no order: they go in evenly mixed. */
void sf_failing_feed(struct sf_state *state, const struct sf_engine_limits *limits, uint64_t good,
		     uint64_t bad)
{
	uint64_t all, fed = 0;
	struct sf_sprt test;

	if (!(good | bad) || sf_sprt_init(&test, limits->miss_good, limits->miss_bad,
					  limits->false_alarm, limits->miss))
		return;
	/* Beyond, only the proportion counts; without overflow however large the counts. */
	while (good > STEPS_AT_ONCE || bad > STEPS_AT_ONCE) {
		good /= 2;
		bad /= 2;
	}
	all = good + bad;
	for (uint64_t i = 1; i <= all; i++) {
		uint64_t due = i * bad / all;

		step(state, &test, due > fed);
		fed = due;
	}
}

/* Standard error of the sketch (Whang et al. 1990 for linear counting, where it is small). */
static double sketch_error(double n)
{
	const double m = SF_SKETCH_REGISTERS;
	double t = n / m, linear = sqrt(m * (exp(t < 5 ? t : 5) - t - 1));

	return fmin(linear, 1.04 / sqrt(m) * n);
}

double sf_failing_hosts(const struct sf_state *state, const struct sf_tally *t)
{
	uint64_t over = t->answered + t->refused + t->silent + t->untracked;
	double waiting = t->fenced > over ? (double)(t->fenced - over) : 0;
	double answered = (double)((uint32_t)t->answered - state->answered_before[0]);
	double hosts = t->distinct - 2 * sketch_error(t->distinct);

	hosts -= answered + waiting + (double)t->untracked;
	return hosts > 0 ? hosts : 0;
}

void sf_rule_failing(const struct sf_view *view, struct sf_finding_of_rule *out)
{
	const struct sf_state *s = view->state;
	struct sf_sprt test;

	if ((!view->tally->warn && !view->tally->act) ||
	    sf_sprt_init(&test, view->limits->miss_good, view->limits->miss_bad,
			 view->limits->false_alarm, view->limits->miss))
		return;
	out->value = s->bad;
	out->limit = view->limits->miss_good * (s->good + s->bad);
	if ((double)s->walk >= test.upper * .999)
		out->verdict = view->dead_hosts >= DEAD_HOSTS ? SF_VERDICT_RAISE : SF_VERDICT_HOLD;
	else
		out->verdict = s->walk > 0 ? SF_VERDICT_HOLD : SF_VERDICT_OVER;
	snprintf(out->evidence, sizeof(out->evidence),
		 "failed=%u of=%llu usual_share=%.2f dead_hosts=%.0f walk=%.1f bound=%.1f", s->bad,
		 (unsigned long long)s->good + s->bad, view->limits->miss_good, view->dead_hosts,
		 (double)s->walk, test.upper);
}
