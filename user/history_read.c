// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reading the history: hours, alarms, and which names are meant by what somebody typed. What comes
 * out of the file is bounded and never trusted: whoever prints it escapes it again.
 */
#include "history_db.h"
#include "escape.h"
#include "explain.h"
#include "net.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t count_at(sqlite3_stmt *row, int column)
{
	int64_t n = sqlite3_column_int64(row, column);

	return n > 0 ? (uint64_t)n : 0;
}

int sf_history_known(struct sf_history *history, const char *who)
{
	int64_t one;

	sqlite3_bind_text(history->statement[SF_STATEMENT_KNOWN], 1, who, -1, SQLITE_STATIC);
	return sf_db_row(history, SF_STATEMENT_KNOWN, &one, 1);
}

/* Prepared anew each time, so that a callback may ask again. Arguments: from, to, who. */
static int prepare(struct sf_history *h, const char *sql, const char *who, int64_t from, int64_t to,
		   sqlite3_stmt **out)
{
	int code = sqlite3_prepare_v2(h->db, sql, -1, out, NULL);

	if (code)
		return sf_db_errno(h->db, code);
	sqlite3_bind_int64(*out, 1, from);
	sqlite3_bind_int64(*out, 2, to);
	if (who)
		sqlite3_bind_text(*out, 3, who, -1, SQLITE_STATIC);
	return 0;
}

static int finish(struct sf_history *h, sqlite3_stmt *s, int code)
{
	int ret = sf_db_errno(h->db, code);

	sqlite3_finalize(s);
	return ret;
}

#define HOUR_COLUMNS                                                                               \
	"w.name, h.hour, h.syn, h.fenced, h.retransmitted, h.answered, h.refused, h.silent, "      \
	"h.denied, h.would_deny, h.destinations"

int sf_history_hours(struct sf_history *history, const char *who, int64_t from, int64_t to,
		     int (*each)(void *context, const struct sf_hour *hour), void *context)
{
	/* CROSS JOIN: hours outside, in the key's order, so that nothing is sorted. */
	static const char all[] = "SELECT " HOUR_COLUMNS " FROM hour h CROSS JOIN who w "
				  "ON w.id = h.who WHERE h.hour >= ?1 AND h.hour < ?2 "
				  "ORDER BY h.hour, h.who";
	static const char one[] = "SELECT " HOUR_COLUMNS " FROM who w CROSS JOIN hour h "
				  "INDEXED BY hour_by_who ON h.who = w.id WHERE w.name = ?3 "
				  "AND h.hour >= ?1 AND h.hour < ?2 ORDER BY h.hour";
	sqlite3_stmt *s = NULL;
	struct sf_hour hour;
	int code, ret = prepare(history, who ? one : all, who, from, to, &s);

	if (ret)
		return ret;
	while ((code = sqlite3_step(s)) == SQLITE_ROW) {
		memset(&hour, 0, sizeof(hour));
		sf_db_text(s, 0, hour.who, sizeof(hour.who));
		hour.hour = sqlite3_column_int64(s, 1);
		hour.syn = count_at(s, 2);
		hour.fenced = count_at(s, 3);
		hour.retransmitted = count_at(s, 4);
		hour.answered = count_at(s, 5);
		hour.refused = count_at(s, 6);
		hour.silent = count_at(s, 7);
		hour.denied = count_at(s, 8);
		hour.would_deny = count_at(s, 9);
		hour.distinct = count_at(s, 10);
		if (each(context, &hour))
			break;
	}
	return finish(history, s, code);
}

int sf_history_alarms(struct sf_history *history, const char *who, int64_t from, int64_t to,
		      int (*each)(void *context, const struct sf_history_alarm *alarm),
		      void *context)
{
#define ALARM_COLUMNS "a.id, a.raised, a.cleared, w.name, a.rule, a.severity, a.text"
#define ALARM_TIME    " a.raised < ?2 AND (a.cleared = 0 OR a.cleared >= ?1) ORDER BY a.raised, a.id"
	static const char all[] = "SELECT " ALARM_COLUMNS " FROM alarm a CROSS JOIN who w "
				  "ON w.id = a.who WHERE" ALARM_TIME;
	static const char one[] = "SELECT " ALARM_COLUMNS " FROM who w CROSS JOIN alarm a "
				  "ON a.who = w.id WHERE w.name = ?3 AND" ALARM_TIME;
	struct sf_history_alarm alarm;
	sqlite3_stmt *s = NULL;
	int code, ret = prepare(history, who ? one : all, who, from, to, &s);

	if (ret)
		return ret;
	while ((code = sqlite3_step(s)) == SQLITE_ROW) {
		memset(&alarm, 0, sizeof(alarm));
		alarm.id = sqlite3_column_int64(s, 0);
		alarm.raised = sqlite3_column_int64(s, 1);
		alarm.cleared = sqlite3_column_int64(s, 2);
		sf_db_text(s, 3, alarm.who, sizeof(alarm.who));
		sf_db_text(s, 4, alarm.rule, sizeof(alarm.rule));
		sf_db_text(s, 5, alarm.severity, sizeof(alarm.severity));
		sf_db_text(s, 6, alarm.text, sizeof(alarm.text));
		if (each(context, &alarm))
			break;
	}
	return finish(history, s, code);
}

/* What somebody typed, taken apart once for all names. */
struct query {
	char text[SF_HISTORY_WHO_MAX]; /* as typed: a name that was copied is escaped already */
	char escaped[SF_HISTORY_WHO_MAX];
	char user[128], number[16]; /* of a uid: its name, and "#UID"; else "" */
	int is_net;
	struct sf_net_key net;
};

/* How well a name matches: only the best rank that occurs is shown. */
enum rank {
	RANK_EXACT,   /* the whole name */
	RANK_SUBJECT, /* the user, or the address or its network */
	RANK_PATH,    /* the whole path */
	RANK_PART,    /* a part of the path */
	RANK_NONE,
};

static void read_query(const char *text, struct query *q)
{
	size_t digits = strspn(text, "0123456789");

	memset(q, 0, sizeof(*q));
	snprintf(q->text, sizeof(q->text), "%s", text);
	sf_escape_string(text, q->escaped, sizeof(q->escaped));
	q->is_net = !sf_net_parse(text, &q->net, NULL);
	if (digits && digits < 10 && !text[digits]) {
		sf_explain_user((uint32_t)strtoul(text, NULL, 10), q->user, sizeof(q->user));
		snprintf(q->number, sizeof(q->number), "#%s", text);
	}
}

static int is_either(const struct query *q, const char *name)
{
	return !strcmp(name, q->text) || !strcmp(name, q->escaped);
}

static int has_either(const struct query *q, const char *text)
{
	return strstr(text, q->text) || strstr(text, q->escaped);
}

static enum rank rank_of(const struct query *q, const char *name)
{
	const char *path = strstr(name, " /");
	struct sf_net_key net;
	char user[SF_HISTORY_WHO_MAX];

	if (!q->text[0])
		return RANK_PART;
	if (is_either(q, name))
		return RANK_EXACT;
	if (!path) {
		if (q->is_net && !sf_net_parse(name, &net, NULL) &&
		    (sf_net_covers(&net, &q->net) || sf_net_covers(&q->net, &net)))
			return RANK_SUBJECT;
		return RANK_NONE;
	}
	snprintf(user, sizeof(user), "%.*s", (int)(path - name), name);
	if (is_either(q, user) ||
	    (q->number[0] && (!strcmp(user, q->user) || !strcmp(user, q->number))))
		return RANK_SUBJECT;
	if (is_either(q, path + 1))
		return RANK_PATH;
	return has_either(q, strstr(q->text, " /") ? name : path + 1) ? RANK_PART : RANK_NONE;
}

static void rank_function(sqlite3_context *result, int count, sqlite3_value **values)
{
	const unsigned char *name = sqlite3_value_text(values[0]);

	(void)count;
	sqlite3_result_int(result,
			   name ? (int)rank_of(sqlite3_user_data(result), (const char *)name)
				: RANK_NONE);
}

int sf_history_find(struct sf_history *history, const char *text, size_t max,
		    int (*each)(void *context, const char *who, uint64_t fenced), void *context)
{
	/* Whose connections are mostly denied is active too. */
	static const char sql[] =
		"SELECT name, rank, "
		"(SELECT total(fenced) FROM hour WHERE hour.who = found.id) AS sent, "
		"(SELECT total(denied) FROM hour WHERE hour.who = found.id) AS refused "
		"FROM (SELECT id, name, sf_rank(name) AS rank FROM who) AS found "
		"WHERE rank < ?1 ORDER BY rank, sent + refused DESC, name LIMIT ?2";
	char name[SF_HISTORY_WHO_MAX];
	sqlite3_stmt *s = NULL;
	struct query query;
	int code, ret, best = RANK_NONE;

	read_query(text, &query);
	code = sqlite3_create_function_v2(history->db, "sf_rank", 1,
					  SQLITE_UTF8 | SQLITE_DETERMINISTIC, &query, rank_function,
					  NULL, NULL, NULL);
	if (code)
		return sf_db_errno(history->db, code);
	ret = prepare(history, sql, NULL, RANK_NONE, (int64_t)(max < INT32_MAX ? max : INT32_MAX),
		      &s);
	if (ret)
		return ret;
	while ((code = sqlite3_step(s)) == SQLITE_ROW) {
		int rank = sqlite3_column_int(s, 1);

		if (best != RANK_NONE && rank != best)
			break;
		best = rank;
		sf_db_text(s, 0, name, sizeof(name));
		if (each(context, name, count_at(s, 2)))
			break;
	}
	return finish(history, s, code);
}
