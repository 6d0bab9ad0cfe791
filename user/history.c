// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writing the history: transactions, hours, alarms. How the file is made and checked is
 * history_file.c's, what gives way to age and size history_prune.c's, reading history_read.c's.
 */
#include "history_db.h"
#include "files.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOUR 3600

int sf_db_errno(sqlite3 *db, int code)
{
	int system;

	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EACCES;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CANTOPEN:
	case SQLITE_IOERR:
		system = db ? sqlite3_system_errno(db) : 0;
		switch (system) {
		case ENOSPC:
		case EDQUOT:
			return -ENOSPC;
		case EACCES:
		case EPERM:
		case EROFS:
		case EMFILE:
		case ENFILE:
		case ENOENT:
			return -system;
		}
		return -EIO;
	default:
		return -EIO;
	}
}

int sf_db_exec(struct sf_history *history, const char *sql)
{
	return sf_db_errno(history->db, sqlite3_exec(history->db, sql, NULL, NULL, NULL));
}

int sf_db_row(struct sf_history *history, enum sf_statement which, int64_t *out, int columns)
{
	sqlite3_stmt *s = history->statement[which];
	int code = sqlite3_step(s), ret;

	if (code == SQLITE_ROW)
		for (int i = 0; i < columns; i++)
			out[i] = sqlite3_column_int64(s, i);
	ret = code == SQLITE_ROW ? 1 : sf_db_errno(history->db, code);
	/* Also lets go of what the statement holds: a reader that stays stops every checkpoint. */
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	return ret;
}

int sf_db_run(struct sf_history *history, enum sf_statement which)
{
	return sf_db_row(history, which, NULL, 0);
}

int sf_db_number(struct sf_history *history, const char *sql, int64_t *out)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(history->db, sql, -1, &s, NULL), ret;

	if (!code)
		code = sqlite3_step(s);
	if (code == SQLITE_ROW)
		*out = sqlite3_column_int64(s, 0);
	ret = code == SQLITE_DONE ? -EUCLEAN : sf_db_errno(history->db, code);
	sqlite3_finalize(s);
	return ret;
}

void sf_db_text(sqlite3_stmt *row, int column, char *out, size_t size)
{
	const unsigned char *text = sqlite3_column_text(row, column);

	snprintf(out, size, "%s", text ? (const char *)text : "");
}

void sf_db_rollback(struct sf_history *history)
{
	/* SQLite has taken some errors' transactions back by itself. */
	if (!sqlite3_get_autocommit(history->db))
		sqlite3_exec(history->db, "ROLLBACK", NULL, NULL, NULL);
}

int sf_history_open(const char *state_dir, int flags, struct sf_history **history, char *set_aside,
		    size_t set_aside_size, struct sf_error *err)
{
	char path[PATH_MAX], aside[PATH_MAX];
	int writer = flags & SF_HISTORY_WRITE, ret;

	if (set_aside && set_aside_size)
		set_aside[0] = '\0';
	if (snprintf(path, sizeof(path), "%s/" SF_HISTORY_NAME, state_dir) >= PATH_MAX - 64)
		return sf_fail(err, -ENAMETOOLONG, "%.200s...: the path is too long", path);
	if (writer) {
		ret = sf_dir_make(state_dir, err);
		if (ret)
			return ret;
	}
	ret = sf_db_open(path, writer, history, err);
	if (ret != -EUCLEAN || !writer)
		return ret;
	ret = sf_db_set_aside(path, aside, sizeof(aside), err);
	if (ret)
		return ret;
	/* Said even if making the new one fails: the old one is not where it was. */
	if (set_aside && set_aside_size)
		snprintf(set_aside, set_aside_size, "%s", aside);
	return sf_db_open(path, writer, history, err);
}

void sf_history_close(struct sf_history *history)
{
	if (!history)
		return;
	for (int i = 0; i < SF_STATEMENT_COUNT; i++)
		sqlite3_finalize(history->statement[i]);
	sqlite3_close(history->db); /* rolls an open transaction back */
	free(history);
}

int sf_history_begin(struct sf_history *history)
{
	int ret;

	if (history->in_transaction)
		return -EINVAL;
	/* At once: a lock that can't be had must show before anything is added. */
	ret = sf_db_exec(history, history->writer ? "BEGIN IMMEDIATE" : "BEGIN");
	if (ret)
		return ret;
	history->in_transaction = 1;
	history->broken = 0;
	return 0;
}

/* SQLite takes some errors' transactions back by itself: what came after would stand alone. */
static void notice_rollback(struct sf_history *h)
{
	if (!h->broken && sqlite3_get_autocommit(h->db))
		h->broken = -EIO;
}

int sf_history_commit(struct sf_history *history)
{
	int ret;

	if (!history->in_transaction)
		return -EINVAL;
	notice_rollback(history);
	ret = history->broken;
	if (!ret)
		ret = sf_db_exec(history, "COMMIT");
	if (ret)
		sf_db_rollback(history);
	history->in_transaction = 0;
	history->broken = 0;
	return ret;
}

int sf_db_enter(struct sf_history *h)
{
	if (!h->writer)
		return -EROFS;
	if (!h->in_transaction)
		return sf_db_exec(h, "BEGIN IMMEDIATE");
	notice_rollback(h);
	return h->broken;
}

int sf_db_leave(struct sf_history *h, int ret)
{
	if (!ret && !h->in_transaction)
		ret = sf_db_exec(h, "COMMIT");
	if (ret) {
		/*
		 * All of it goes, also what the caller added before: the rest would otherwise be
		 * committed row by row, and the caller could not know what to add again.
		 */
		sf_db_rollback(h);
		if (h->in_transaction)
			h->broken = ret;
	}
	return ret;
}

static int who_id(struct sf_history *h, const char *who, int64_t *id)
{
	int ret;

	sqlite3_bind_text(h->statement[SF_STATEMENT_WHO_ID], 1, who, -1, SQLITE_STATIC);
	ret = sf_db_row(h, SF_STATEMENT_WHO_ID, id, 1);
	if (ret)
		return ret < 0 ? ret : 0;
	sqlite3_bind_text(h->statement[SF_STATEMENT_WHO_NEW], 1, who, -1, SQLITE_STATIC);
	ret = sf_db_run(h, SF_STATEMENT_WHO_NEW);
	if (!ret)
		*id = sqlite3_last_insert_rowid(h->db);
	return ret;
}

static int is_name(const char *who)
{
	return who[0] && strnlen(who, SF_HISTORY_WHO_MAX) < SF_HISTORY_WHO_MAX;
}

static void bind_count(sqlite3_stmt *s, int at, uint64_t count)
{
	sqlite3_bind_int64(s, at, (int64_t)(count < SF_COUNT_MAX ? count : SF_COUNT_MAX));
}

int sf_history_add(struct sf_history *history, const struct sf_hour *delta)
{
	sqlite3_stmt *s = history->statement[SF_STATEMENT_ADD];
	int64_t id;
	int ret;

	if (!is_name(delta->who) || delta->hour < 0)
		return -EINVAL;
	ret = sf_db_enter(history);
	if (ret)
		return ret;
	ret = who_id(history, delta->who, &id);
	if (!ret) {
		sqlite3_bind_int64(s, 1, delta->hour - delta->hour % HOUR);
		sqlite3_bind_int64(s, 2, id);
		bind_count(s, 3, delta->syn);
		bind_count(s, 4, delta->fenced);
		bind_count(s, 5, delta->retransmitted);
		bind_count(s, 6, delta->answered);
		bind_count(s, 7, delta->refused);
		bind_count(s, 8, delta->silent);
		bind_count(s, 9, delta->denied);
		bind_count(s, 10, delta->would_deny);
		bind_count(s, 11, delta->distinct);
		ret = sf_db_run(history, SF_STATEMENT_ADD);
	}
	return sf_db_leave(history, ret);
}

int sf_history_raise(struct sf_history *history, struct sf_history_alarm *alarm)
{
	sqlite3_stmt *s = history->statement[SF_STATEMENT_RAISE];
	int64_t who, id = 0;
	int ret;

	if (!is_name(alarm->who))
		return -EINVAL;
	ret = sf_db_enter(history);
	if (ret)
		return ret;
	ret = who_id(history, alarm->who, &who);
	if (!ret) {
		sqlite3_bind_int64(s, 1, alarm->raised);
		sqlite3_bind_int64(s, 2, alarm->cleared);
		sqlite3_bind_int64(s, 3, who);
		sqlite3_bind_text(s, 4, alarm->rule, -1, SQLITE_STATIC);
		sqlite3_bind_text(s, 5, alarm->severity, -1, SQLITE_STATIC);
		sqlite3_bind_text(s, 6, alarm->text, -1, SQLITE_STATIC);
		ret = sf_db_run(history, SF_STATEMENT_RAISE);
		id = sqlite3_last_insert_rowid(history->db);
	}
	ret = sf_db_leave(history, ret);
	if (!ret)
		alarm->id = id;
	return ret;
}

int sf_history_clear(struct sf_history *history, int64_t id, int64_t when)
{
	sqlite3_stmt *s = history->statement[SF_STATEMENT_CLEAR];
	int ret = sf_db_enter(history), found = 0;

	if (ret)
		return ret;
	sqlite3_bind_int64(s, 1, id);
	sqlite3_bind_int64(s, 2, when);
	ret = sf_db_run(history, SF_STATEMENT_CLEAR);
	if (!ret)
		found = sqlite3_changes(history->db);
	ret = sf_db_leave(history, ret);
	if (ret)
		return ret;
	return found ? 0 : -ENOENT;
}
