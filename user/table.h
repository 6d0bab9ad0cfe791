/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A map's content as a sorted table of bytes: what the policy wants, what the kernel holds, and the
 * difference. Knows no policy; works for every map with fixed keys and values.
 */
#ifndef SF_USER_TABLE_H
#define SF_USER_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct sf_table {
	uint32_t key_size, value_size;
	size_t count, room;
	unsigned char *rows; /* key, value; sorted by key's bytes once sf_table_sort was called */
};

void sf_table_init(struct sf_table *table, uint32_t key_size, uint32_t value_size);
void sf_table_free(struct sf_table *table);
int sf_table_add(struct sf_table *table, const void *key, const void *value);
/* Sort by key; of rows with the same key the last added stays. */
int sf_table_sort(struct sf_table *table);
const void *sf_table_key(const struct sf_table *table, size_t i);
void *sf_table_value(const struct sf_table *table, size_t i);
/* The value under `key` in a sorted table, or NULL. */
void *sf_table_find(const struct sf_table *table, const void *key);

/* Read a whole map (hash, array, LPM trie) into `table`, sorted. The table must be empty. */
int sf_table_read(int map_fd, struct sf_table *table);

/* How two sorted tables differ: rows to write (new or other value), and rows to delete. */
struct sf_table_change {
	size_t added, changed, removed;
};

/*
 * Make the map hold what `want` says where it differs from `have`: writes first. `deletes` 0
 * leaves surplus rows. Stops at the first error (negative errno); `change` then counts what was
 * tried, for the rows go many at a time.
 */
int sf_table_write(int map_fd, const struct sf_table *have, const struct sf_table *want,
		   struct sf_table_change *change);
int sf_table_delete_surplus(int map_fd, const struct sf_table *have, const struct sf_table *want,
			    struct sf_table_change *change);
/* For small tables, read anew: one half of the change (0: what to write; 1: what is surplus). */
int sf_table_bring(int map_fd, const struct sf_table *want, int surplus);
/* Not as wanted, or can't be read. */
int sf_table_differs(int map_fd, const struct sf_table *want);
/* Only count the difference. */
void sf_table_compare(const struct sf_table *have, const struct sf_table *want,
		      struct sf_table_change *change);

#endif
