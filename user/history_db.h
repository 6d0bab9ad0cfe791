/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the history share: the open database, its prepared statements, SQLite's errors
 * as errno. Nobody else includes this; history.h is the contract.
 */
#ifndef SF_USER_HISTORY_DB_H
#define SF_USER_HISTORY_DB_H

#include <sqlite3.h>
#include "history.h"

#define SF_HISTORY_NAME	  "history.db"
#define SF_HISTORY_SCHEMA 1	     /* PRAGMA user_version */
#define SF_HISTORY_APP	  0x736d7466 /* PRAGMA application_id: "smtf" */

/* Statements that are prepared once and kept: their texts are in history_file.c. */
enum sf_statement {
	SF_STATEMENT_WHO_ID,
	SF_STATEMENT_WHO_NEW,
	SF_STATEMENT_ADD,
	SF_STATEMENT_RAISE,
	SF_STATEMENT_CLEAR,
	SF_STATEMENT_KNOWN,
	SF_STATEMENT_OLD_HOURS,
	SF_STATEMENT_OLD_ALARMS,
	SF_STATEMENT_OLDEST,
	SF_STATEMENT_UNUSED_WHO,
	SF_STATEMENT_TOTAL_BOOT,
	SF_STATEMENT_TOTAL_BOOT_NEW,
	SF_STATEMENT_TOTAL,
	SF_STATEMENT_TOTAL_PUT,
	SF_STATEMENT_TOTAL_NEXT,
	SF_STATEMENT_TOTAL_GONE,
	SF_STATEMENT_COUNT
};

/* Counts stop here: the sum of two still fits SQLite's 64 bits, with their sign. */
#define SF_COUNT_MAX 4611686018427387903

struct sf_history {
	sqlite3 *db;
	sqlite3_stmt *statement[SF_STATEMENT_COUNT];
	int writer;
	int in_transaction; /* since sf_history_begin */
	int broken; /* negative errno: this transaction was taken back; sf_history_commit says it
		     */
};

/* A result code of SQLite as 0 or negative errno; `db` (may be NULL) knows the system's errno. */
int sf_db_errno(sqlite3 *db, int code);
/* Run statements that give no rows. */
int sf_db_exec(struct sf_history *history, const char *sql);
/* Run a kept statement, whose arguments are bound, to its end and make it ready again. */
int sf_db_run(struct sf_history *history, enum sf_statement which);
/* The same for one that gives at most one row of numbers: 1 and `out` set, 0: no row. */
int sf_db_row(struct sf_history *history, enum sf_statement which, int64_t *out, int columns);
/* One number of a PRAGMA or SELECT. */
int sf_db_number(struct sf_history *history, const char *sql, int64_t *out);
/* A text column, cut to its room; NULL is "". */
void sf_db_text(sqlite3_stmt *row, int column, char *out, size_t size);

/* Take a running transaction back, after an error. */
void sf_db_rollback(struct sf_history *history);

/*
 * Around statements that stand or fall together: a transaction of their own, or a part of the
 * caller's. sf_db_leave gets what came of them, and returns it, or the commit's failure.
 */
int sf_db_enter(struct sf_history *history);
int sf_db_leave(struct sf_history *history, int ret);

/* history_file.c: the file's life. Fails with -EUCLEAN where it is damaged. */
int sf_db_open(const char *path, int writer, struct sf_history **history, struct sf_error *err);
/* Rename the damaged file and its log; `out` is the new name. */
int sf_db_set_aside(const char *path, char *out, size_t size, struct sf_error *err);

#endif
