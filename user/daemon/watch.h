/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the daemon's parts on the census share. census.c looks, alarms.c tells, chronicle.c keeps.
 */
#ifndef SF_USER_WATCH_H
#define SF_USER_WATCH_H

#include "daemon.h"
#include "../actions.h"
#include "../census.h"
#include "../history.h"
#include <sys/stat.h>

#define RAISED_MAX  4096 /* alarms that are remembered to be cleared in the history */
#define EARLIER_MAX 4096 /* and such of before this daemon */

struct raised {
	struct sf_who who;
	enum sf_rule rule;
	int64_t id, when; /* in the history, 0: not there; seconds since 1970 */
};

/* Entries that gave way in a full table, and SYNs without a place: what was told of them. */
enum { FULL_SOURCES, FULL_SENDERS, FULL_UNCOUNTED, FULL_COUNT };
struct full {
	uint64_t told;
	int64_t when; /* 0: never */
};

struct census_watch {
	struct ring_buffer *ring;
	sd_event_source *ring_source;
	uint32_t ring_map_id;
	struct sf_engine *engine;
	struct sf_actions *actions;
	struct sf_history *history; /* NULL: could not be opened, tried again */
	struct stat history_file;
	int64_t history_since; /* seconds since 1970 of its first row; 0: empty */
	int64_t history_told;  /* when a failure was told last, */
	int history_failing;   /* and it lasts */
	int history_damaged;   /* found while writing: close, open again */
	int history_was_open;  /* by this process, or it gave up opening it for the start */
	int64_t next_open, open_pause;
	char boot[64];
	uint64_t counter[SF_CENSUS_COUNTER_MAX]; /* at the last look, */
	uint64_t counted[SF_CENSUS_COUNTER_MAX]; /* and at this one */
	uint64_t last_look_ns;
	uint64_t flushed_ns; /* CLOCK_BOOTTIME: what came before stands in the history */
	struct full full[FULL_COUNT];
	int64_t last_syn, next_settle, next_quiet, next_flush, next_prune;
	struct earlier *earlier; /* earlier.c; until EARLIER_SECONDS after the start */
	size_t earlier_count;
	int64_t earlier_last; /* newer rows are ours */
	int64_t started;
	int ending; /* rows that nobody holds are then ended */
	struct raised *raised;
	size_t raised_count;
	int gathering;	       /* a transaction of this look's alarms has begun */
	int64_t gathered_from; /* its first row */
	struct sf_census *now; /* while a look is going on */
	int flushing, flush_failed;
};

/* How a sender or source is called in lines and in the history; escaped. Only while census is open.
 */
void watch_name(struct daemon *d, const struct sf_who *who, char *out, size_t size);
/* Open the tables for as long as `work` takes. Nothing happens where no census runs. */
void watch_with_census(struct daemon *d, void (*work)(struct daemon *d));

/* alarms.c: the engine's hooks */
void alarms_take(void *context, const struct sf_alarm *alarm);
void alarms_baseline(void *context, const struct sf_who *who, int64_t now,
		     struct sf_baseline *baseline);
int alarms_is_known(void *context, const struct sf_who *who);
/* An alarm that lasts, and its row in the history (0: none). */
void alarms_hold(struct census_watch *c, const struct sf_who *who, enum sf_rule rule, int64_t id,
		 int64_t when);
/* The look is over: its alarms into the history. */
void alarms_commit(struct daemon *d);
/* Who, rule and severity into a row of the history. */
void alarms_row(struct daemon *d, const struct sf_who *who, enum sf_rule rule,
		struct sf_history_alarm *row);

/* earlier.c: what was raised before this daemon, or while the history could not be written */
void alarms_load_earlier(struct daemon *d);
void alarms_free_earlier(struct census_watch *c);
void alarms_earlier(void *context, const struct sf_who *who, struct sf_earlier *out);
/* Some rows that last and that no alarm of ours belongs to are over: told. Non-zero: there are
 * more.
 */
int alarms_end_unheld(struct daemon *d);
/* The history was opened while alarms last: find their rows, or enter them. */
void alarms_rejoin(struct daemon *d);

/* chronicle.c */
void chronicle_open(struct daemon *d);
void chronicle_close(struct daemon *d);
/* Once a minute a flush; where the history is not open, try again. */
void chronicle_tick(struct daemon *d);
void chronicle_flush(struct daemon *d);
/* A failure, told when it begins. What was not written comes again with the next flush. */
void chronicle_fault(struct daemon *d, int ret);

#endif
