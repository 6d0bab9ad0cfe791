// SPDX-License-Identifier: GPL-2.0-only
/* Keeping the history small: what is too old goes, and the oldest where it grew too big. */
#include "history_db.h"
#include <errno.h>

#define HOUR	     3600
#define PRUNE_ROWS   4096 /* in one transaction: keeps the write-ahead log small */
#define VACUUM_PAGES "512"
#define TOTAL_BYTES  100 /* of a row of totals, with its share of the tree */

/* Up to PRUNE_ROWS of the oldest below `before`; how many went, or negative errno. */
static int drop_old(struct sf_history *h, enum sf_statement which, int64_t before)
{
	int ret = sf_db_enter(h), gone = 0;

	if (ret)
		return ret;
	sqlite3_bind_int64(h->statement[which], 1, before);
	sqlite3_bind_int64(h->statement[which], 2, PRUNE_ROWS);
	ret = sf_db_run(h, which);
	if (!ret)
		gone = sqlite3_changes(h->db);
	ret = sf_db_leave(h, ret);
	return ret ? ret : gone;
}

static int drop_all_old(struct sf_history *h, int64_t before, int64_t *dropped)
{
	for (enum sf_statement which = SF_STATEMENT_OLD_HOURS; which <= SF_STATEMENT_OLD_ALARMS;
	     which++) {
		int n;

		do {
			n = drop_old(h, which, before);
			if (n < 0)
				return n;
			*dropped += n;
		} while (n == PRUNE_ROWS);
	}
	return 0;
}

struct pages {
	int64_t all, unused, size;
};

static int count_pages(struct sf_history *h, struct pages *pages)
{
	int ret = sf_db_number(h, "PRAGMA page_count", &pages->all);

	if (!ret)
		ret = sf_db_number(h, "PRAGMA freelist_count", &pages->unused);
	return ret ? ret : sf_db_number(h, "PRAGMA page_size", &pages->size);
}

/*
 * Totals are no history: how many there are is the kernel's tables' size, and who drops one writes
 * all of its counts again. They must not push the history out: a quarter of the bound is its own.
 */
static int bound_of(struct sf_history *h, uint64_t max_bytes, uint64_t *bound)
{
	int64_t totals = 0;
	int ret = sf_db_number(h, "SELECT count(*) FROM total", &totals);
	uint64_t least = (uint64_t)totals * TOTAL_BYTES + max_bytes / 4;

	if (!ret)
		*bound = totals && least > max_bytes ? least : max_bytes;
	return ret;
}

/* The oldest go, hours and alarms alike, until what is used fits. */
static int drop_beyond(struct sf_history *h, uint64_t max_bytes, int64_t *dropped)
{
	for (;;) {
		int64_t oldest[2] = {0, 0}; /* 0 where there is none: nothing is from 1970 */
		enum sf_statement which = SF_STATEMENT_OLD_HOURS;
		struct pages pages;
		int ret = count_pages(h, &pages);

		if (ret)
			return ret;
		if ((uint64_t)((pages.all - pages.unused) * pages.size) <= max_bytes)
			return 0;
		ret = sf_db_row(h, SF_STATEMENT_OLDEST, oldest, 2);
		if (ret < 0)
			return ret;
		if (oldest[1] && (!oldest[0] || oldest[1] < oldest[0] + HOUR))
			which = SF_STATEMENT_OLD_ALARMS;
		/* Never beyond the other's oldest: a chunk must not take newer ones first. */
		ret = drop_old(h, which,
			       which == SF_STATEMENT_OLD_ALARMS
				       ? (oldest[0] ? oldest[0] + HOUR : INT64_MAX)
				       : (oldest[1] ? oldest[1] - oldest[1] % HOUR : INT64_MAX));
		if (ret < 0)
			return ret;
		if (!ret)
			return 0; /* an empty database is as small as it gets */
		*dropped += ret;
	}
}

int sf_history_prune(struct sf_history *history, int64_t now, int days, uint64_t max_bytes)
{
	struct pages pages;
	uint64_t bound = max_bytes;
	int64_t dropped = 0;
	int ret;

	if (days < 0 || history->in_transaction)
		return -EINVAL;
	ret = drop_all_old(history, now - (int64_t)days * 86400, &dropped);
	if (!ret)
		ret = bound_of(history, max_bytes, &bound);
	if (!ret)
		ret = drop_beyond(history, bound, &dropped);
	if (!ret && dropped) {
		ret = sf_db_enter(history);
		if (!ret)
			ret = sf_db_leave(history, sf_db_run(history, SF_STATEMENT_UNUSED_WHO));
	}
	if (!ret)
		ret = count_pages(history, &pages);
	if (ret)
		return ret;
	/*
	 * Free pages are used again; they go back to the disk when they are many, or over the
	 * bound. In parts: what moves in one transaction makes the log as long.
	 */
	if (pages.unused * 2 <= pages.all && (uint64_t)(pages.all * pages.size) <= bound)
		return 0;
	while (!ret && pages.unused) {
		int64_t before = pages.unused;

		ret = sf_db_exec(history, "PRAGMA incremental_vacuum(" VACUUM_PAGES ")");
		if (!ret)
			ret = count_pages(history, &pages);
		if (pages.unused >= before)
			break; /* made without auto_vacuum: it stays as long as it is */
	}
	return ret;
}
