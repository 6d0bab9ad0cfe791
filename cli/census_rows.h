/* SPDX-License-Identifier: GPL-2.0-only */
/* Rows of the census for the commands that show them: read, sorted, named. */
#ifndef SF_CLI_CENSUS_ROWS_H
#define SF_CLI_CENSUS_ROWS_H

#include "../user/census.h"
#include "../user/policy.h"

struct census_rows {
	struct sf_tally *row; /* the busiest first, by the chosen figure */
	size_t count, room;
	int failed; /* no memory */
};

/* A figure to sort by, by its name; -1: there is none of that name. */
int census_figure(const char *name);
/* All names, divided by ", ". */
const char *census_figures(void);

/*
 * The rows of one kind (enum sf_who_kind), seen at `since_ns` or later (CLOCK_BOOTTIME; 0: all),
 * sorted. Release with census_rows_free.
 */
int census_rows_read(struct sf_census *census, uint32_t kind, uint64_t since_ns, int figure,
		     struct census_rows *rows);
void census_rows_free(struct census_rows *rows);

/* How one is called, escaped. `mount`: of cgroup v2. */
void census_row_name(const struct sf_census *census, const struct sf_tally *tally,
		     const char *mount, char *out, size_t size);

#endif
