/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * History in SQLite (STATE_DIR/history.db, WAL): per sender and hour what it did, and the alarms.
 * The daemon writes, the commands read. Names are text, escaped already, and stay the same over
 * restarts and reboots: "192.0.2.1", "2001:db8:1::/64", or "web1 /system.slice/php.service".
 */
#ifndef SF_USER_HISTORY_H
#define SF_USER_HISTORY_H

#include <stddef.h>
#include <stdint.h>
#include "detect/engine.h"
#include "error.h"

#define SF_HISTORY_WHO_MAX 512

struct sf_history; /* an open database */

/* What one sender did in one hour (or: is to be added to it). */
struct sf_hour {
	char who[SF_HISTORY_WHO_MAX];
	int64_t hour; /* seconds since 1970 when it begins, UTC */
	uint64_t syn, fenced, retransmitted, answered, refused, silent, denied, would_deny;
	uint64_t distinct; /* the highest estimate in that hour */
};

/* An alarm that was raised; `cleared` 0: it lasts. */
struct sf_history_alarm {
	int64_t id;		 /* of the database */
	int64_t raised, cleared; /* seconds since 1970 */
	char who[SF_HISTORY_WHO_MAX];
	char rule[32], severity[16];
	char text[1024]; /* evidence, escaped */
};

/* flags: SF_HISTORY_WRITE makes the file where there is none; one writer, any number of readers. */
#define SF_HISTORY_WRITE 1

/*
 * Open. A damaged file is set aside as history.db.damaged-SECONDS (writer only) and a new one made;
 * `set_aside` then holds its name, else "". Errors: -ENOENT no history yet (reader), -ENOSPC, -EIO;
 * -EUCLEAN damaged (reader: nothing is changed), -EPROTO made by another version, -EACCES.
 *
 * -EUCLEAN from a function later on means that the file got damaged meanwhile: close, open again.
 * One thread at a time uses a handle.
 */
int sf_history_open(const char *state_dir, int flags, struct sf_history **history, char *set_aside,
		    size_t set_aside_size, struct sf_error *err);
void sf_history_close(struct sf_history *history);

/*
 * Add to the hour's row of that sender. All between begin and commit is one transaction: when one
 * of them fails (-ENOSPC, ...) all since begin is taken back, and commit, which ends it in any
 * case, returns that error too. Keep what was added until commit said 0; the handle can be used
 * again at once. A reader's begin and commit hold one view of the history.
 */
int sf_history_begin(struct sf_history *history);
int sf_history_add(struct sf_history *history, const struct sf_hour *delta);
int sf_history_commit(struct sf_history *history);

/* Raise: sets alarm->id (in a transaction: valid once that is committed). Clear: by id; -ENOENT
 * where it is gone (pruned); one that is cleared keeps its time. */
int sf_history_raise(struct sf_history *history, struct sf_history_alarm *alarm);
int sf_history_clear(struct sf_history *history, int64_t id, int64_t when);

/* Of one sender: what of the kernel's counts is in the history already. */
enum sf_total {
	SF_TOTAL_SYN,
	SF_TOTAL_FENCED,
	SF_TOTAL_RETRANSMITTED,
	SF_TOTAL_ANSWERED,
	SF_TOTAL_REFUSED,
	SF_TOTAL_SILENT,
	SF_TOTAL_DENIED,
	SF_TOTAL_WOULD_DENY,
	SF_TOTAL_COUNT
};

struct sf_history_total {
	struct sf_who who;
	uint64_t first_ns; /* sf_tally.first_ns of the entry that was counted from */
	uint64_t count[SF_TOTAL_COUNT];
};

/* Before the others: totals of another boot than `boot` (the kernel's boot_id) are dropped. */
int sf_history_totals_begin(struct sf_history *history, const char *boot);
/* 1: found; 0: nothing of it was written yet, and `total` is zeros; or negative errno. */
int sf_history_total(struct sf_history *history, const struct sf_who *who,
		     struct sf_history_total *total);
/* Within the transaction of the hour that it belongs to. */
int sf_history_total_put(struct sf_history *history, const struct sf_history_total *total);
/* Drop those of senders that the kernel does not know any more. Not within a transaction. */
int sf_history_totals_forget(struct sf_history *history,
			     int (*is_gone)(void *context, const struct sf_who *who),
			     void *context);

/*
 * Drop what is older than `days`, and the oldest beyond `max_bytes`. Totals stay; where they fill
 * more than three quarters of it, a quarter is left for the history beside them. Not within a
 * transaction.
 */
int sf_history_prune(struct sf_history *history, int64_t now, int days, uint64_t max_bytes);

/* Was anything to fenced ports ever recorded of it? 1, 0, or negative errno. */
int sf_history_known(struct sf_history *history, const char *who);

/*
 * Rows with from <= hour < to, oldest first; `each` returns non-zero to stop. `who` NULL: all.
 * Alarms: those that lasted at any time within from <= t < to.
 */
int sf_history_hours(struct sf_history *history, const char *who, int64_t from, int64_t to,
		     int (*each)(void *context, const struct sf_hour *hour), void *context);
int sf_history_alarms(struct sf_history *history, const char *who, int64_t from, int64_t to,
		      int (*each)(void *context, const struct sf_history_alarm *alarm),
		      void *context);
/*
 * Names that match: exact; else by user, uid, or address (a network: all in it; an address: the
 * network it is in); else by the whole path; else by a part of the path. The first of these that
 * gives any is all that is given, most active first. "" gives all names.
 */
int sf_history_find(struct sf_history *history, const char *text, size_t max,
		    int (*each)(void *context, const char *who, uint64_t fenced), void *context);
/* The at most `max` (of 8) names that are most like a mistyped one, the nearest first. */
int sf_history_near(struct sf_history *history, const char *text, size_t max,
		    int (*each)(void *context, const char *who, uint64_t fenced), void *context);

#endif
