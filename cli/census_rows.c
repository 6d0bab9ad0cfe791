// SPDX-License-Identifier: GPL-2.0-only
#include "census_rows.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* name, value */
#define FIGURES(X)                                                                                 \
	X(window, t->window)                                                                       \
	X(syn, t->syn)                                                                             \
	X(fenced, t->fenced)                                                                       \
	X(distinct, t->distinct)                                                                   \
	X(failed, t->refused + t->silent)                                                          \
	X(retransmitted, t->retransmitted)                                                         \
	X(denied, t->denied)                                                                       \
	X(hour, t->hour)                                                                           \
	X(day, t->day)                                                                             \
	X(last, t->last_seen)

#define X(name, value)                                                                             \
	static uint64_t by_##name(const struct sf_tally *t)                                        \
	{                                                                                          \
		return (uint64_t)(value);                                                          \
	}
FIGURES(X)
#undef X

static uint64_t (*const figure_of[])(const struct sf_tally *t) = {
#define X(name, value) by_##name,
	FIGURES(X)
#undef X
};
static const char *const figure_names[] = {
#define X(name, value) #name,
	FIGURES(X)
#undef X
};

int census_figure(const char *name)
{
	for (size_t i = 0; i < sizeof(figure_names) / sizeof(figure_names[0]); i++)
		if (!strcmp(figure_names[i], name))
			return (int)i;
	return -1;
}

const char *census_figures(void)
{
	return "window, syn, fenced, distinct, failed, retransmitted, denied, hour, day, last";
}

static _Thread_local int sort_by; /* qsort takes no argument for the comparison */

static int compare(const void *a, const void *b)
{
	uint64_t x = figure_of[sort_by](a), y = figure_of[sort_by](b);

	if (x != y)
		return x < y ? 1 : -1;
	return memcmp(&((const struct sf_tally *)a)->who.key,
		      &((const struct sf_tally *)b)->who.key, sizeof(struct sf_census_key));
}

static int take(void *context, const struct sf_tally *tally)
{
	struct census_rows *rows = context;

	if (rows->count == rows->room) {
		size_t room = rows->room ? rows->room * 2 : 1024;
		struct sf_tally *more = realloc(rows->row, room * sizeof(*more));

		if (!more) {
			rows->failed = 1;
			return 1;
		}
		rows->row = more;
		rows->room = room;
	}
	rows->row[rows->count++] = *tally;
	return 0;
}

int census_rows_read(struct sf_census *census, uint32_t kind, uint64_t since_ns, int figure,
		     struct census_rows *rows)
{
	memset(rows, 0, sizeof(*rows));
	if (kind == SF_WHO_SOURCE)
		sf_census_sources(census, since_ns, take, rows);
	else
		sf_census_senders(census, since_ns, take, rows);
	if (rows->failed) {
		census_rows_free(rows);
		return -ENOMEM;
	}
	sort_by = figure;
	if (rows->count)
		qsort(rows->row, rows->count, sizeof(*rows->row), compare);
	return 0;
}

void census_rows_free(struct census_rows *rows)
{
	free(rows->row);
	memset(rows, 0, sizeof(*rows));
}

void census_row_name(const struct sf_census *census, const struct sf_tally *tally,
		     const char *mount, char *out, size_t size)
{
	if (tally->who.kind == SF_WHO_SOURCE)
		sf_census_source_text(&tally->who.key, &census->settings, out, size);
	else
		sf_census_sender_text(&tally->who.key, mount, out, size);
}
