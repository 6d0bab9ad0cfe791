// SPDX-License-Identifier: GPL-2.0-only
/* Which names are like one that was mistyped. */
#include "history_db.h"
#include <stdio.h>
#include <string.h>

#define NEAR_MAX 8

/* Letters that differ: the edit distance, a row at a time. */
static int edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
	int row[65];

	if (a_length > 64 || b_length > 64)
		return 99;
	for (size_t k = 0; k <= b_length; k++)
		row[k] = (int)k;
	for (size_t i = 0; i < a_length; i++) {
		int corner = row[0];

		row[0] = (int)i + 1;
		for (size_t k = 1; k <= b_length; k++) {
			int best = corner + (a[i] != b[k - 1]);

			corner = row[k];
			if (row[k] + 1 < best)
				best = row[k] + 1;
			if (row[k - 1] + 1 < best)
				best = row[k - 1] + 1;
			row[k] = best;
		}
	}
	return row[b_length];
}

/* How far is it from a name's nearest word (user, address, a part of the path)? */
static int distance_of(const char *typed, const char *who)
{
	int best = 99;

	for (const char *word = who; *word;) {
		size_t length = strcspn(word, " /");
		int d = edit_distance(typed, strlen(typed), word, length);

		best = d < best ? d : best;
		word += length;
		word += strspn(word, " /");
	}
	/* A beginning that was typed is nearer than a word that differs. */
	return best > 1 && strstr(who, typed) ? 1 : best;
}

struct nearest {
	const char *typed;
	size_t max, count;
	struct {
		char who[SF_HISTORY_WHO_MAX];
		int distance;
	} name[NEAR_MAX + 1]; /* one more, which then falls off */
};

static void take(struct nearest *n, const char *who)
{
	int distance = distance_of(n->typed, who), length = (int)strlen(n->typed);
	size_t at = n->count;

	if (distance > (length > 8 ? 4 : length / 2))
		return;
	while (at > 0 && n->name[at - 1].distance > distance)
		at--;
	memmove(&n->name[at + 1], &n->name[at], (n->count - at) * sizeof(n->name[0]));
	n->name[at].distance = distance;
	snprintf(n->name[at].who, sizeof(n->name[at].who), "%s", who);
	if (n->count < n->max)
		n->count++;
}

/* Only of those that are shown: of all it would take seconds. */
static int count_sent(struct sf_history *h, const char *who, uint64_t *sent)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(h->db,
				      "SELECT total(fenced) FROM hour WHERE who = "
				      "(SELECT id FROM who WHERE name = ?1)",
				      -1, &s, NULL);

	if (!code) {
		sqlite3_bind_text(s, 1, who, -1, SQLITE_STATIC);
		code = sqlite3_step(s);
	}
	if (code == SQLITE_ROW) {
		int64_t n = sqlite3_column_int64(s, 0);

		*sent = n > 0 ? (uint64_t)n : 0;
	}
	sqlite3_finalize(s);
	return sf_db_errno(h->db, code);
}

int sf_history_near(struct sf_history *history, const char *text, size_t max,
		    int (*each)(void *context, const char *who, uint64_t fenced), void *context)
{
	struct nearest nearest = {.typed = text, .max = max < NEAR_MAX ? max : NEAR_MAX};
	char name[SF_HISTORY_WHO_MAX];
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(history->db, "SELECT name FROM who", -1, &s, NULL), ret;

	if (!code) {
		while ((code = sqlite3_step(s)) == SQLITE_ROW) {
			sf_db_text(s, 0, name, sizeof(name));
			take(&nearest, name);
		}
	}
	sqlite3_finalize(s);
	ret = sf_db_errno(history->db, code);
	for (size_t i = 0; !ret && i < nearest.count; i++) {
		uint64_t sent = 0;

		ret = count_sent(history, nearest.name[i].who, &sent);
		if (!ret && each(context, nearest.name[i].who, sent))
			break;
	}
	return ret;
}
