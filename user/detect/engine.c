// SPDX-License-Identifier: GPL-2.0-only
/*
 * The engine: remembers senders, looks at them through the rules, raises and clears. What a rule
 * thinks is in the rules' own files; places and their order are in places.c.
 */
#include "places.h"
#include "state.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../cleanup.h"

#define SECONDS_OF_HOUR 3600
#define SWEEP_SECONDS	10    /* between two searches for alarms that are over */
#define ASK_FROM	10    /* connections in an hour from which history is asked */
#define EPOCH		86400 /* the engine's own seconds begin here, so that 0 is never */

struct sf_engine {
	struct sf_engine_limits limits;
	struct sf_engine_hooks hooks;
	struct sf_places places;
	struct sf_hour_ring began[2]; /* sources, senders that were never known before */
	int64_t start;		      /* the caller's clock at EPOCH */
	uint32_t now;
	uint32_t swept;
	uint64_t raised; /* alarms that last */
	uint64_t forgotten;
	int is_started;
};

static const sf_rule_fn rules[SF_RULE_COUNT] = {
	[SF_RULE_RATE_WARN] = sf_rule_rate_warn, [SF_RULE_RATE_ACT] = sf_rule_rate_act,
	[SF_RULE_HOUR_WARN] = sf_rule_hour_warn, [SF_RULE_HOUR_ACT] = sf_rule_hour_act,
	[SF_RULE_DISTINCT] = sf_rule_distinct,	 [SF_RULE_FAILING] = sf_rule_failing,
	[SF_RULE_HISTORY] = sf_rule_history,	 [SF_RULE_NEWCOMER] = sf_rule_newcomer,
	[SF_RULE_CROWD] = sf_rule_crowd,	 [SF_RULE_FIRST] = sf_rule_first,
	/* SF_RULE_OTHER_PORT is told, not judged. */
};

void sf_engine_limits_default(struct sf_engine_limits *limits)
{
	*limits = (struct sf_engine_limits){
		.hour_warn = 100,
		.hour_act = 200,
		.distinct = 500,
		.cooldown = 3600,
		.miss_good = .15,
		.miss_bad = .5,
		.false_alarm = .001,
		.miss = .01,
		.newcomer = 10,
		.crowd = 10,
	};
}

int sf_engine_new(size_t senders, const struct sf_engine_limits *limits,
		  const struct sf_engine_hooks *hooks, struct sf_engine **engine)
{
	_cleanup_free_ struct sf_engine *e = calloc(1, sizeof(*e));
	int ret;

	if (!e)
		return -ENOMEM;
	ret = sf_places_init(&e->places, senders);
	if (ret)
		return ret;
	e->limits = *limits;
	e->hooks = *hooks;
	*engine = e;
	e = NULL;
	return 0;
}

void sf_engine_free(struct sf_engine *engine)
{
	if (!engine)
		return;
	sf_places_free(&engine->places);
	free(engine);
}

void sf_engine_limit(struct sf_engine *engine, const struct sf_engine_limits *limits)
{
	engine->limits = *limits;
}

void sf_engine_losses(const struct sf_engine *engine, uint64_t *forgotten)
{
	*forgotten = engine->forgotten;
}

/* The engine's seconds: 32 bits, never 0, never back (a clock that goes back stands still). */
static uint32_t advance(struct sf_engine *e, int64_t now)
{
	uint64_t passed;

	if (!e->is_started) {
		e->is_started = 1;
		e->start = now;
		e->now = EPOCH;
	}
	passed = now > e->start ? (uint64_t)now - (uint64_t)e->start : 0;
	if (passed > UINT32_MAX - EPOCH - 1)
		passed = UINT32_MAX - EPOCH - 1;
	if (passed + EPOCH > e->now)
		e->now = (uint32_t)passed + EPOCH;
	return e->now;
}

static void tell(struct sf_engine *e, enum sf_rule rule, int raised, const struct sf_tally *tally,
		 const struct sf_finding_of_rule *finding, uint32_t since)
{
	struct sf_alarm alarm = {.rule = rule, .raised = raised, .tally = *tally};

	alarm.value = finding->value;
	alarm.limit = finding->limit;
	memcpy(alarm.evidence, finding->evidence, sizeof(alarm.evidence));
	alarm.since = e->start + since - EPOCH;
	if (e->hooks.alarm)
		e->hooks.alarm(e->hooks.context, &alarm);
}

static void raise_alarm(struct sf_engine *e, struct sf_state *s, enum sf_rule rule,
			const struct sf_tally *tally, const struct sf_finding_of_rule *finding)
{
	uint32_t before = sf_state_when(s, (int)rule);

	if (s->raised >> rule & 1 || (before && e->now - before < e->limits.cooldown))
		return;
	sf_state_set_when(s, (int)rule, e->now);
	s->raised = (uint16_t)(s->raised | 1u << rule);
	e->raised++;
	tell(e, rule, 1, tally, finding, e->now);
}

static void clear_alarm(struct sf_engine *e, struct sf_state *s, enum sf_rule rule,
			const struct sf_tally *tally, const struct sf_finding_of_rule *finding)
{
	uint32_t since = sf_state_when(s, (int)rule);

	if (!(s->raised >> rule & 1))
		return;
	sf_state_set_when(s, (int)rule, e->now);
	s->raised = (uint16_t)(s->raised & ~(1u << rule));
	e->raised--;
	tell(e, rule, 0, tally, finding, since);
}

/* What is known of a sender without a look at it. */
static struct sf_tally remembered(const struct sf_state *s)
{
	return (struct sf_tally){
		.who = {.kind = s->kind, .key = s->key},
		.fenced = s->fenced,
		.answered = s->answered,
	};
}

/* One that gives way takes its alarms along: they are told as over, or nobody would clear them. */
static void forget(struct sf_engine *e, struct sf_state *s)
{
	static const struct sf_finding_of_rule gone = {.evidence = "reason=forgotten"};
	const struct sf_tally tally = remembered(s);

	for (int rule = 0; rule < SF_RULE_COUNT; rule++)
		clear_alarm(e, s, (enum sf_rule)rule, &tally, &gone);
	e->forgotten++;
}

/* The place of a sender, made where there was none; NULL: out of memory, it is not followed. */
static struct sf_state *place_of(struct sf_engine *e, const struct sf_tally *tally, int *is_new)
{
	struct sf_state *s = sf_places_find(&e->places, &tally->who);

	*is_new = 0;
	if (s)
		return s;
	s = sf_places_take(&e->places);
	if (!s)
		return NULL;
	if (s->flags & SF_STATE_USED)
		forget(e, s);
	sf_places_enter(&e->places, s, &tally->who);
	s->seen = s->begun = e->now;
	s->hour.newest = e->now / SF_HOUR_SLICE_SECONDS;
	*is_new = 1;
	return s;
}

/* Alarms of an engine before this one last, and cool down, as if it had not ended. */
static void take_earlier(struct sf_engine *e, struct sf_state *s, const struct sf_who *who)
{
	struct sf_earlier earlier = {.raised = 0};

	if (!e->hooks.earlier)
		return;
	memset(earlier.ago, 0xff, sizeof(earlier.ago));
	e->hooks.earlier(e->hooks.context, who, &earlier);
	for (int rule = 0; rule < SF_RULE_COUNT; rule++) {
		uint32_t ago = earlier.ago[rule];

		if (ago == SF_NEVER_AGO)
			continue;
		if (rule == SF_RULE_FIRST && !(earlier.raised >> rule & 1)) {
			s->flags |= SF_STATE_FIRST; /* once is all: when does not matter */
			continue;
		}
		sf_state_set_when(s, rule, ago < e->now ? e->now - ago : 1);
		if (!(earlier.raised >> rule & 1))
			continue;
		s->raised = (uint16_t)(s->raised | 1u << rule);
		s->flags |= SF_STATE_TAKEN;
		e->raised++;
	}
}

/*
 * Does this rule look at what only the engine remembers? Then it can't say that an alarm that was
 * taken over is over, before it has seen an hour itself.
 */
static int is_blind(const struct sf_view *view, int rule)
{
	return view->state->flags & SF_STATE_TAKEN && view->age < SECONDS_OF_HOUR &&
	       rule != SF_RULE_RATE_WARN && rule != SF_RULE_RATE_ACT && rule != SF_RULE_DISTINCT;
}

/* A crowd is of one kind: customers' servers that move in are no bot on a web server's accounts. */
static struct sf_hour_ring *began(struct sf_engine *e, const struct sf_who *who)
{
	return &e->began[who->kind == SF_WHO_SENDER];
}

/*
 * A first look may find an entry that is days old. Of its counts only those of the window are known
 * to be recent; its outcomes are taken if all of them are.
 */
static void first_look(struct sf_engine *e, struct sf_state *s, const struct sf_tally *t)
{
	uint64_t recent = t->window < t->fenced ? t->window : t->fenced;

	take_earlier(e, s, &t->who);
	s->fenced = t->fenced - recent;
	if (recent < t->fenced) {
		s->answered = t->answered;
		s->failed = t->refused + t->silent;
		s->answered_before[0] = s->answered_before[1] = (uint32_t)t->answered;
	}
	if (e->hooks.known && sf_is_stranger(t) && !e->hooks.known(e->hooks.context, &t->who)) {
		s->flags |= SF_STATE_NEW;
		sf_hour_add(began(e, &t->who), e->now, 1);
	}
}

/* Half hours as the sketches have them, so that answers and destinations are of the same time. */
static void follow_halves(struct sf_state *s, uint16_t half)
{
	if (half == s->half)
		return;
	s->answered_before[0] =
		half == (uint16_t)(s->half + 1) ? s->answered_before[1] : (uint32_t)s->answered;
	s->answered_before[1] = (uint32_t)s->answered;
	s->half = half;
}

/* The wall clock's hours, as the census has them; they begin anew where the clock was set back. */
static void follow_hours(struct sf_state *s, int64_t wall)
{
	uint32_t hour = (uint32_t)(wall / SECONDS_OF_HOUR);

	if (hour == s->wall_hour)
		return;
	s->failed_hour = (uint32_t)s->failed;
	if (hour / 24 != s->wall_hour / 24)
		s->failed_day = (uint32_t)s->failed;
	s->wall_hour = hour;
}

static uint32_t without(uint32_t count, uint32_t failed)
{
	return count > failed ? count - failed : 0;
}

/* Take over what is new since the last look. */
static void follow(struct sf_engine *e, struct sf_state *s, const struct sf_tally *t, int64_t now)
{
	uint64_t failed = t->refused + t->silent;

	if (t->fenced < s->fenced || t->answered < s->answered || failed < s->failed) {
		/* The census made the entry anew: all that it holds came since. */
		s->fenced = s->answered = s->failed = 0;
		s->answered_before[0] = s->answered_before[1] = 0;
		s->failed_hour = s->failed_day = 0;
	}
	follow_halves(s, (uint16_t)(now / SF_SKETCH_SECONDS));
	if (t->fenced > s->fenced) {
		sf_hour_add(&s->hour, e->now, t->fenced - s->fenced);
		s->seen = e->now;
		sf_places_touch(&e->places, s);
	}
	sf_failing_feed(s, &e->limits, t->answered - s->answered, failed - s->failed);
	s->fenced = t->fenced;
	s->answered = t->answered;
	s->failed = failed;
}

/* Once an hour of the wall clock, and only for who is worth the question. */
static void ask_history(struct sf_engine *e, struct sf_state *s, const struct sf_view *view,
			int64_t wall)
{
	const struct sf_tally *t = view->tally;
	struct sf_baseline baseline = {.known = 0};
	uint16_t hour = (uint16_t)(wall / SECONDS_OF_HOUR);
	int is_crowded =
		s->flags & SF_STATE_NEW && e->limits.crowd && view->crowd >= e->limits.crowd;

	if (!e->hooks.baseline || (s->flags & SF_STATE_ASKED && s->baseline_hour == hour) ||
	    (view->hour < ASK_FROM && t->hour < ASK_FROM && t->day < ASK_FROM && !is_crowded))
		return;
	e->hooks.baseline(e->hooks.context, &t->who, wall, &baseline);
	s->baseline_hour = hour;
	s->flags |= SF_STATE_ASKED;
	s->flags = (uint8_t)(s->flags & ~SF_STATE_KNOWN);
	if (!baseline.known || !sf_state_more(s))
		return;
	s->flags = (uint8_t)((s->flags & ~SF_STATE_NEW) | SF_STATE_KNOWN);
	s->more->hour_limit = (float)baseline.hour_limit;
	s->more->day_limit = (float)baseline.day_limit;
}

void sf_engine_look(struct sf_engine *e, const struct sf_tally *tally, int64_t now, int64_t wall)
{
	struct sf_view view = {.tally = tally, .limits = &e->limits};
	struct sf_state *s;
	int is_new;

	advance(e, now);
	if (!tally->fenced)
		return; /* a place is for who speaks SMTP only */
	s = place_of(e, tally, &is_new);
	if (!s)
		return;
	if (is_new)
		first_look(e, s, tally);
	follow_hours(s, wall);
	follow(e, s, tally, now);
	view.state = s;
	view.hour = sf_hour_sum(&s->hour, e->now);
	view.crowd = sf_hour_sum(began(e, &tally->who), e->now);
	view.age = e->now - s->begun;
	view.hour_worked = without(tally->hour, (uint32_t)s->failed - s->failed_hour);
	view.day_worked = without(tally->day, (uint32_t)s->failed - s->failed_day);
	view.dead_hosts = sf_failing_hosts(s, tally);
	view.has_history = e->hooks.baseline != NULL;
	ask_history(e, s, &view, wall);
	for (int rule = 0; rule < SF_RULE_COUNT; rule++) {
		struct sf_finding_of_rule finding = {.verdict = SF_VERDICT_OVER};

		if (!rules[rule] || rule == SF_RULE_FIRST)
			continue;
		rules[rule](&view, &finding);
		if (finding.verdict == SF_VERDICT_RAISE)
			raise_alarm(e, s, (enum sf_rule)rule, tally, &finding);
		else if (finding.verdict == SF_VERDICT_OVER && !is_blind(&view, rule))
			clear_alarm(e, s, (enum sf_rule)rule, tally, &finding);
	}
	if (is_new) {
		struct sf_finding_of_rule finding = {.verdict = SF_VERDICT_OVER};

		sf_rule_first(&view, &finding);
		if (finding.verdict == SF_VERDICT_RAISE)
			raise_alarm(e, s, SF_RULE_FIRST, tally, &finding);
	}
}

void sf_engine_other_port(struct sf_engine *e, const struct sf_tally *tally, uint16_t port,
			  int64_t now)
{
	struct sf_finding_of_rule finding = {.value = port};
	struct sf_state *s;
	int is_new;

	advance(e, now);
	s = place_of(e, tally, &is_new);
	if (!s)
		return;
	if (is_new)
		first_look(e, s, tally);
	s->seen = e->now;
	sf_places_touch(&e->places, s);
	snprintf(finding.evidence, sizeof(finding.evidence), "port=%u", port);
	raise_alarm(e, s, SF_RULE_OTHER_PORT, tally, &finding);
}

/* Over without a look: rates when the window is empty, notices and the rest after an hour. */
static int is_over(const struct sf_engine *e, const struct sf_state *s, int rule)
{
	uint32_t quiet = e->now - s->seen;

	switch (rule) {
	case SF_RULE_RATE_WARN:
	case SF_RULE_RATE_ACT:
	case SF_RULE_NEWCOMER:
		return quiet >= SF_WINDOW_SECONDS;
	case SF_RULE_FIRST:
	case SF_RULE_OTHER_PORT:
		return e->now - sf_state_when(s, rule) >= SECONDS_OF_HOUR;
	default:
		return quiet >= SECONDS_OF_HOUR;
	}
}

void sf_engine_tick(struct sf_engine *e, int64_t now)
{
	static const struct sf_finding_of_rule quiet = {.evidence = "reason=quiet"};

	advance(e, now);
	/* Who has no alarm costs nothing: an idle daemon sleeps. */
	if (!e->raised || e->now - e->swept < SWEEP_SECONDS)
		return;
	e->swept = e->now;
	for (uint32_t i = 0; i < e->places.used; i++) {
		struct sf_state *s = sf_places_at(&e->places, i);
		struct sf_tally tally;

		if (!s->raised)
			continue;
		tally = remembered(s);
		for (int rule = 0; rule < SF_RULE_COUNT; rule++)
			if (s->raised >> rule & 1 && is_over(e, s, rule))
				clear_alarm(e, s, (enum sf_rule)rule, &tally, &quiet);
	}
}
