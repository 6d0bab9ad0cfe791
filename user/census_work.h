/* SPDX-License-Identifier: GPL-2.0-only */
/* Within the census' reader: its arrays. */
#ifndef SF_USER_CENSUS_WORK_H
#define SF_USER_CENSUS_WORK_H

#include "census.h"

/*
 * Rows `first` to `first + rows` of an array, mapped; NULL with errno. `first` is at a page's
 * begin.
 */
void *census_map(int fd, size_t row, size_t first, size_t rows, int writable);

/* A pinned array of rows of this size: its descriptor, and how many; -EPROTO: of another size. */
int census_open_array(const char *pin_dir, const char *name, size_t row, size_t *rows);

/* A key's slot and head; -ENOENT where it has none. */
int census_find_slot(const struct sf_census *census, const struct sf_census_table *t,
		     const struct sf_census_key *key, uint32_t *slot, struct sf_census_head *head);

#endif
