// SPDX-License-Identifier: GPL-2.0-only
/*
 * What of the kernel's counts stands in the history already, kept in the same transaction as the
 * hours: a daemon that is killed neither loses a count nor writes one twice. It is looked up where
 * it is kept, never remembered: whoever forgets a sender would write all of its counts again.
 */
#include "history_db.h"
#include <errno.h>
#include <string.h>

#define SOME 256 /* rows that are looked at together */

static void bind_who(sqlite3_stmt *s, const struct sf_who *who)
{
	sqlite3_bind_int64(s, 1, who->kind);
	sqlite3_bind_int64(s, 2, (sqlite3_int64)who->key.word[0]);
	sqlite3_bind_int64(s, 3, (sqlite3_int64)who->key.word[1]);
}

int sf_history_totals_begin(struct sf_history *history, const char *boot)
{
	sqlite3_stmt *s = history->statement[SF_STATEMENT_TOTAL_BOOT];
	int ret = sf_db_enter(history);

	if (ret)
		return ret;
	sqlite3_bind_text(s, 1, boot, -1, SQLITE_STATIC);
	ret = sf_db_row(history, SF_STATEMENT_TOTAL_BOOT, NULL, 0);
	if (!ret) {
		/* Counts of another boot will not come again. */
		ret = sf_db_exec(history, "DELETE FROM total; DELETE FROM boot");
		s = history->statement[SF_STATEMENT_TOTAL_BOOT_NEW];
		sqlite3_bind_text(s, 1, boot, -1, SQLITE_STATIC);
		if (!ret)
			ret = sf_db_run(history, SF_STATEMENT_TOTAL_BOOT_NEW);
	}
	return sf_db_leave(history, ret < 0 ? ret : 0);
}

int sf_history_total(struct sf_history *history, const struct sf_who *who,
		     struct sf_history_total *total)
{
	int64_t row[1 + SF_TOTAL_COUNT];
	int ret;

	memset(total, 0, sizeof(*total));
	total->who = *who;
	bind_who(history->statement[SF_STATEMENT_TOTAL], who);
	ret = sf_db_row(history, SF_STATEMENT_TOTAL, row, 1 + SF_TOTAL_COUNT);
	if (ret != 1)
		return ret;
	total->first_ns = (uint64_t)row[0];
	for (int i = 0; i < SF_TOTAL_COUNT; i++)
		total->count[i] = (uint64_t)row[1 + i];
	return 1;
}

int sf_history_total_put(struct sf_history *history, const struct sf_history_total *total)
{
	sqlite3_stmt *s = history->statement[SF_STATEMENT_TOTAL_PUT];
	int ret = sf_db_enter(history);

	if (ret)
		return ret;
	bind_who(s, &total->who);
	sqlite3_bind_int64(s, 4, (sqlite3_int64)total->first_ns);
	for (int i = 0; i < SF_TOTAL_COUNT; i++)
		sqlite3_bind_int64(s, 5 + i, (sqlite3_int64)total->count[i]);
	return sf_db_leave(history, sf_db_run(history, SF_STATEMENT_TOTAL_PUT));
}

/* Up to SOME rows behind `last`, in their order; how many, or negative errno. */
static int next_rows(struct sf_history *history, const struct sf_who *last, struct sf_who *rows)
{
	sqlite3_stmt *s = history->statement[SF_STATEMENT_TOTAL_NEXT];
	int code, n = 0;

	bind_who(s, last);
	sqlite3_bind_int64(s, 4, SOME);
	while ((code = sqlite3_step(s)) == SQLITE_ROW && n < SOME) {
		memset(&rows[n], 0, sizeof(rows[n]));
		rows[n].kind = (uint32_t)sqlite3_column_int64(s, 0);
		rows[n].key.word[0] = (uint64_t)sqlite3_column_int64(s, 1);
		rows[n++].key.word[1] = (uint64_t)sqlite3_column_int64(s, 2);
	}
	code = code == SQLITE_ROW || code == SQLITE_DONE ? 0 : sf_db_errno(history->db, code);
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	return code ? code : n;
}

int sf_history_totals_forget(struct sf_history *history,
			     int (*is_gone)(void *context, const struct sf_who *who), void *context)
{
	struct sf_who rows[SOME], last = {.kind = 0};
	int ret = sf_db_enter(history), n = 0;

	if (ret)
		return ret;
	do {
		n = next_rows(history, &last, rows);
		for (int i = 0; i < n && !ret; i++) {
			if (!is_gone(context, &rows[i]))
				continue;
			bind_who(history->statement[SF_STATEMENT_TOTAL_GONE], &rows[i]);
			ret = sf_db_run(history, SF_STATEMENT_TOTAL_GONE);
		}
		if (n > 0)
			last = rows[n - 1];
	} while (n == SOME && !ret);
	return sf_db_leave(history, n < 0 ? n : ret);
}
