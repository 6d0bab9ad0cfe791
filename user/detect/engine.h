/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Detection of who sends too much, from the census' tallies. Pure: no I/O, the clock is an
 * argument, memory is bounded whatever senders do. The daemon feeds it from the kernel's tables
 * once a second and at each crossed limit; `smtpfence replay` from a trace, on the trace's own
 * clock.
 */
#ifndef SF_USER_DETECT_ENGINE_H
#define SF_USER_DETECT_ENGINE_H

#include <stddef.h>
#include <stdint.h>
#include "../../maps/census.h"

enum sf_who_kind {
	SF_WHO_SOURCE = 1, /* key: an address (maps/census.h) */
	SF_WHO_SENDER = 2, /* key: cgroup v2 id, uid */
};

struct sf_who {
	uint32_t kind; /* enum sf_who_kind */
	uint32_t pad;
	struct sf_census_key key;
};

/* One entry of the census as it was read, and the denials of the same sender. Counts only grow. */
struct sf_tally {
	struct sf_who who;
	uint32_t class; /* enum sf_class */
	uint32_t warn;	/* limits that hold for it in the window; 0: none */
	uint32_t act;
	uint64_t syn;	 /* every SYN */
	uint64_t fenced; /* new connections to fenced ports */
	uint64_t retransmitted, answered, refused, silent, untracked;
	uint64_t
		denied; /* a sender's connects that the process fence denied: no SYN, in none of the
			   others; a source's SYNs that the gateway dropped: they are in `fenced` */
	uint64_t would_deny; /* let through in monitor mode: their SYNs are in `fenced` */
	uint32_t window;     /* of fenced: in the last 600 s */
	uint32_t hour;	     /* of fenced: in this hour and day of the wall clock, UTC */
	uint32_t day;
	uint32_t ifindex;		  /* a source's: where it was last seen; 0: not known */
	uint32_t slice[SF_WINDOW_SLICES]; /* the window's slices, oldest first: for people to look
					     at */
	uint64_t first_ns; /* CLOCK_BOOTTIME when the entry was made; 0: it was only ever denied */
	double distinct; /* estimate: destinations in the last 30 to 60 minutes, 9 % standard error
			  */
	int64_t first_seen; /* seconds since 1970 */
	int64_t last_seen;
};

/* rule, severity of an alert, text. Labels are part of the syslog contract. */
#define SF_RULES(X)                                                                                \
	X(RATE_WARN, "rate_warn", WARNING, "connections in the window reached the warn limit")     \
	X(RATE_ACT, "rate_act", CRIT, "connections in the window reached the act limit")           \
	X(HOUR_WARN, "hour_warn", WARNING, "connections in an hour reached the warn limit")        \
	X(HOUR_ACT, "hour_act", CRIT, "connections in an hour reached the act limit")              \
	X(DISTINCT, "distinct", WARNING, "too many different destinations")                        \
	X(FAILING, "failing", WARNING, "too many connections fail (sequential test)")              \
	X(HISTORY, "history", WARNING, "far above this sender's own history")                      \
	X(NEWCOMER, "newcomer", WARNING, "a sender without history writes to many")                \
	X(CROWD, "crowd", WARNING, "one of many senders that began within an hour")                \
	X(FIRST, "first_smtp", NOTICE, "the first SMTP ever seen from this sender")                \
	X(OTHER_PORT, "other_port", WARNING, "SMTP on a port that is in no list")

enum sf_rule {
#define X(name, label, severity, text) SF_RULE_##name,
	SF_RULES(X)
#undef X
		SF_RULE_COUNT
};

/* What is found: raised once, cleared once; while raised it is not raised again. */
struct sf_alarm {
	enum sf_rule rule;
	int raised;	       /* 1: raised; 0: over */
	struct sf_tally tally; /* as it was at that moment */
	double value;	       /* the figure that the rule looks at, */
	double limit;	       /* and what it may be */
	char evidence[160]; /* key=value figures of the rule, from numbers only: no text of senders
			     */
	int64_t since;	    /* when it was raised, of the engine's clock */
};

/*
 * What the sender usually does. `known` 0: no history yet, or not enough of it. From the hours of
 * the last weeks, day of week and hour aware, robust to a few outliers (see baseline.h).
 */
struct sf_baseline {
	int known;
	double hour_limit; /* connections in this hour of this day that are still usual */
	double day_limit;
};

struct sf_engine_limits {
	uint32_t hour_warn,
		hour_act;	    /* 0: no limit; a sender without limits (mail) has none here */
	uint32_t distinct;	    /* destinations in an hour; 0: off */
	uint32_t cooldown;	    /* seconds: not raised again so soon after it was over */
	double miss_good, miss_bad; /* share of failing connections of a good and of a bad sender */
	double false_alarm, miss;   /* error bounds of the sequential test (Wald 1945) */
	uint32_t newcomer; /* connections in the window of a sender without history; 0: off */
	uint32_t crowd;	   /* senders that begin within an hour; 0: off */
};

struct sf_engine;

typedef void (*sf_alarm_fn)(void *context, const struct sf_alarm *alarm);
/* Asked rarely: when the hour's count is worth a look. `now`: seconds since 1970. */
typedef void (*sf_baseline_fn)(void *context, const struct sf_who *who, int64_t now,
			       struct sf_baseline *baseline);
/* Was this sender ever seen to speak SMTP (history)? Asked once, at the first look. */
typedef int (*sf_known_fn)(void *context, const struct sf_who *who);

/*
 * What was raised of a sender before this engine began: a bit per rule that lasts, and how many
 * seconds ago each was raised, or, where it lasts no more, was over. SF_NEVER_AGO: never.
 */
#define SF_NEVER_AGO UINT32_MAX
struct sf_earlier {
	uint16_t raised;
	uint32_t ago[SF_RULE_COUNT];
};
/* Asked once, at the first look; `earlier` is "never" for all rules. */
typedef void (*sf_earlier_fn)(void *context, const struct sf_who *who, struct sf_earlier *earlier);

struct sf_engine_hooks {
	void *context;
	sf_alarm_fn alarm;	 /* called within look and tick */
	sf_baseline_fn baseline; /* or NULL */
	sf_known_fn known;	 /* or NULL: first_smtp is then silent until `learned` */
	sf_earlier_fn earlier;	 /* or NULL */
};

void sf_engine_limits_default(struct sf_engine_limits *limits);
/* `senders`: how many are followed; beyond, the one quiet for longest gives way, and is counted. */
int sf_engine_new(size_t senders, const struct sf_engine_limits *limits,
		  const struct sf_engine_hooks *hooks, struct sf_engine **engine);
void sf_engine_free(struct sf_engine *engine);
void sf_engine_limit(struct sf_engine *engine, const struct sf_engine_limits *limits);

/*
 * One look at one sender. `now`: seconds of a clock that does not jump; `wall`: seconds since 1970.
 * Counts below those of the last look mean that the entry was made anew.
 */
void sf_engine_look(struct sf_engine *engine, const struct sf_tally *tally, int64_t now,
		    int64_t wall);
/* A server greeted this sender as SMTP on a port outside the lists. */
void sf_engine_other_port(struct sf_engine *engine, const struct sf_tally *tally, uint16_t port,
			  int64_t now);
/* Clear what is over: call once a second or less often. */
void sf_engine_tick(struct sf_engine *engine, int64_t now);

/* Senders that gave way, and alarms that were raised then. */
void sf_engine_losses(const struct sf_engine *engine, uint64_t *forgotten);

/* HyperLogLog estimate of the union of two sketches (maps/census.h). Either may be NULL. */
double sf_sketch_estimate(const struct sf_sketch *a, const struct sf_sketch *b);

extern const char *const sf_rule_names[SF_RULE_COUNT];
extern const char *const sf_class_names[SF_CLASS_COUNT];

#endif
