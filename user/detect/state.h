/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the rules of detection see: what the engine remembers of a sender, one look at it, and the
 * verdict that a rule gives. Rules are pure functions of a look; raising, clearing and cool-downs
 * are the engine's alone.
 */
#ifndef SF_USER_DETECT_STATE_H
#define SF_USER_DETECT_STATE_H

#include "engine.h"

#define SF_HOUR_SLICES	      12
#define SF_HOUR_SLICE_SECONDS 300
#define SF_NOBODY	      UINT32_MAX

/*
 * A sliding hour: what was counted in each of the last 12 slices of 5 minutes. 65,535 and more in a
 * slice are one and the same: far above any limit.
 */
struct sf_hour_ring {
	uint32_t newest;
	uint16_t count[SF_HOUR_SLICES];
};

#define SF_STATE_USED  1  /* the place is taken */
#define SF_STATE_NEW   2  /* never known to speak SMTP before the first look */
#define SF_STATE_ASKED 4  /* baseline_hour is set */
#define SF_STATE_KNOWN 8  /* its history is enough for limits of its own: more->*_limit */
#define SF_STATE_TAKEN 16 /* alarms were taken over from an engine before this one */
#define SF_STATE_FIRST 32 /* its first SMTP was told, by this engine or one before it */

/* What few senders need: those with a history of their own, or more alarms than the first. */
struct sf_state_more {
	float hour_limit, day_limit;
	uint32_t when[SF_RULE_COUNT]; /* raised: since; else: when it was over; 0: never */
};

/* One sender. 65,536 of them must fit into a daemon of 16 MiB. Times: seconds, engine's count. */
struct sf_state {
	struct sf_census_key key;
	uint64_t fenced, answered, failed; /* at the last look */
	uint8_t kind;
	uint8_t flags;
	uint16_t raised;	     /* bit per rule */
	uint32_t next, newer, older; /* places: same bucket, order of activity */
	uint32_t begun, seen;	     /* first look, last activity */
	struct sf_hour_ring hour;
	uint16_t half;		     /* half hour of the last look, as the sketches have it, */
	uint16_t baseline_hour;	     /* and the wall clock's hour of the last question: 16 bits */
	uint32_t answered_before[2]; /* low 32 bits of answered: a half hour ago, at its start */
	float walk;		     /* the sequential test: log likelihood ratio, */
	uint32_t good, bad;	     /* and the outcomes that led there */
	uint32_t wall_hour; /* of the wall clock, UTC; low 32 bits of failed when it began, */
	uint32_t failed_hour, failed_day; /* and when its day began */
	struct sf_state_more *more;	  /* or NULL */
};
_Static_assert(sizeof(struct sf_state) <= 136, "65,536 senders must fit into 16 MiB");
_Static_assert(SF_RULE_COUNT <= 16, "sf_state.raised has 16 bits");

/* One look: everything that a rule may use. */
struct sf_view {
	const struct sf_tally *tally;
	const struct sf_engine_limits *limits;
	const struct sf_state *state;
	uint32_t hour;			  /* connections in the sliding hour */
	uint32_t age;			  /* seconds since the first look */
	uint32_t crowd;			  /* senders of its kind that began in the last hour */
	uint32_t hour_worked, day_worked; /* of the wall clock's hour and day, without failures */
	double dead_hosts;		  /* so many destinations at least failed (failing.h) */
	int has_history;		  /* somebody keeps history: its absence means something */
};

enum sf_verdict {
	SF_VERDICT_OVER,  /* below the limit, with a margin, or the rule holds no more */
	SF_VERDICT_HOLD,  /* in between: leave it as it is */
	SF_VERDICT_RAISE, /* at the limit or above */
};

struct sf_finding_of_rule {
	enum sf_verdict verdict;
	double value, limit;
	char evidence[160];
};

typedef void (*sf_rule_fn)(const struct sf_view *view, struct sf_finding_of_rule *out);

/* A count against its limit, with hysteresis: over only below 4/5 of it. A limit of 0 is none. */
enum sf_verdict sf_against(double value, double limit);
/* Nobody vouches for it: no list, no role. Only for those absence of history is evidence. */
int sf_is_stranger(const struct sf_tally *tally);

/* when.c: made where it is first needed; NULL: no memory. It goes with its place. */
struct sf_state_more *sf_state_more(struct sf_state *s);
/* As struct sf_state_more has it. Set before the bit of `raised` is. */
uint32_t sf_state_when(const struct sf_state *s, int rule);
void sf_state_set_when(struct sf_state *s, int rule, uint32_t now);

/* hours.c */
void sf_hour_add(struct sf_hour_ring *ring, uint32_t now, uint64_t count);
uint32_t sf_hour_sum(const struct sf_hour_ring *ring, uint32_t now);

/* rate.c */
void sf_rule_rate_warn(const struct sf_view *view, struct sf_finding_of_rule *out);
void sf_rule_rate_act(const struct sf_view *view, struct sf_finding_of_rule *out);
void sf_rule_hour_warn(const struct sf_view *view, struct sf_finding_of_rule *out);
void sf_rule_hour_act(const struct sf_view *view, struct sf_finding_of_rule *out);
/* distinct.c */
void sf_rule_distinct(const struct sf_view *view, struct sf_finding_of_rule *out);
/* failing.c */
void sf_failing_feed(struct sf_state *state, const struct sf_engine_limits *limits, uint64_t good,
		     uint64_t bad);
double sf_failing_hosts(const struct sf_state *state, const struct sf_tally *tally);
void sf_rule_failing(const struct sf_view *view, struct sf_finding_of_rule *out);
/* usual.c */
void sf_rule_history(const struct sf_view *view, struct sf_finding_of_rule *out);
/* newcomer.c */
void sf_rule_newcomer(const struct sf_view *view, struct sf_finding_of_rule *out);
void sf_rule_crowd(const struct sf_view *view, struct sf_finding_of_rule *out);
void sf_rule_first(const struct sf_view *view, struct sf_finding_of_rule *out);

#endif
