// SPDX-License-Identifier: GPL-2.0-only
#include "table.h"
#include "cleanup.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

static size_t row_size(const struct sf_table *t)
{
	return (size_t)t->key_size + t->value_size;
}

void sf_table_init(struct sf_table *table, uint32_t key_size, uint32_t value_size)
{
	memset(table, 0, sizeof(*table));
	table->key_size = key_size;
	table->value_size = value_size;
}

void sf_table_free(struct sf_table *table)
{
	free(table->rows);
	table->rows = NULL;
	table->count = table->room = 0;
}

static int reserve(struct sf_table *table, size_t more)
{
	size_t room = table->room ? table->room : 64;
	unsigned char *rows;

	if (table->count + more <= table->room)
		return 0;
	while (room < table->count + more)
		room *= 2;
	rows = reallocarray(table->rows, room, row_size(table));
	if (!rows)
		return -ENOMEM;
	table->rows = rows;
	table->room = room;
	return 0;
}

const void *sf_table_key(const struct sf_table *table, size_t i)
{
	return table->rows + i * row_size(table);
}

void *sf_table_value(const struct sf_table *table, size_t i)
{
	return table->rows + i * row_size(table) + table->key_size;
}

int sf_table_add(struct sf_table *table, const void *key, const void *value)
{
	int ret = reserve(table, 1);

	if (ret)
		return ret;
	memcpy(table->rows + table->count * row_size(table), key, table->key_size);
	memcpy(sf_table_value(table, table->count), value, table->value_size);
	table->count++;
	return 0;
}

/* Order by key, then by age, so that of equal keys the newest is last. */
static int by_key(const void *a, const void *b, void *size)
{
	const unsigned char *const *x = a, *const *y = b;
	int order = memcmp(*x, *y, *(uint32_t *)size);

	return order ? order : *x < *y ? -1 : *x > *y;
}

int sf_table_sort(struct sf_table *table)
{
	size_t size = row_size(table), kept = 0;
	_cleanup_free_ unsigned char **order = calloc(table->count + 1, sizeof(*order));
	unsigned char *rows = NULL;

	if (!order)
		return -ENOMEM;
	if (table->count < 2)
		return 0;
	rows = malloc(table->room * size);
	if (!rows)
		return -ENOMEM;
	for (size_t i = 0; i < table->count; i++)
		order[i] = table->rows + i * size;
	qsort_r(order, table->count, sizeof(*order), by_key, &table->key_size);
	for (size_t i = 0; i < table->count; i++) {
		if (i + 1 < table->count && !memcmp(order[i], order[i + 1], table->key_size))
			continue;
		memcpy(rows + kept++ * size, order[i], size);
	}
	free(table->rows);
	table->rows = rows;
	table->count = kept;
	return 0;
}

void *sf_table_find(const struct sf_table *table, const void *key)
{
	size_t low = 0, high = table->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = memcmp(sf_table_key(table, middle), key, table->key_size);

		if (!order)
			return sf_table_value(table, middle);
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* One by one: for tries, and where the kernel has no batches for this map. */
static int read_singly(int map_fd, struct sf_table *table)
{
	_cleanup_free_ unsigned char *key = malloc(table->key_size);
	_cleanup_free_ unsigned char *value = malloc(table->value_size);
	const void *previous = NULL;
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	if (!key || !value)
		return -ENOMEM;
	if (bpf_obj_get_info_by_fd(map_fd, &info, &len))
		return -errno;
	/* A key that goes away under the walk starts it again: bounded, and made unique by sorting.
	 */
	for (uint64_t i = 0; i < 2ULL * info.max_entries + 2; i++) {
		if (bpf_map_get_next_key(map_fd, previous, key))
			return errno == ENOENT ? 0 : -errno;
		previous = key;
		if (bpf_map_lookup_elem(map_fd, key, value))
			continue;
		if (sf_table_add(table, key, value))
			return -ENOMEM;
	}
	return 0;
}

static int read_batches(int map_fd, struct sf_table *table)
{
	enum { ROWS = 1024 };
	_cleanup_free_ unsigned char *keys = calloc(ROWS, table->key_size);
	_cleanup_free_ unsigned char *values = calloc(ROWS, table->value_size);
	__u32 place = 0;
	int first = 1, ret;

	if (!keys || !values)
		return -ENOMEM;
	do {
		__u32 n = ROWS;

		ret = bpf_map_lookup_batch(map_fd, first ? NULL : &place, &place, keys, values, &n,
					   NULL);
		if (ret && errno != ENOENT)
			return -errno;
		for (__u32 i = 0; i < n; i++)
			if (sf_table_add(table, keys + (size_t)i * table->key_size,
					 values + (size_t)i * table->value_size))
				return -ENOMEM;
		first = 0;
	} while (!ret);
	return 0;
}

int sf_table_read(int map_fd, struct sf_table *table)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	int ret = -ENOTSUP;

	if (bpf_obj_get_info_by_fd(map_fd, &info, &len))
		return -errno;
	if (info.key_size != table->key_size || info.value_size != table->value_size)
		return -EPROTO;
	if (info.type == BPF_MAP_TYPE_HASH || info.type == BPF_MAP_TYPE_LRU_HASH ||
	    info.type == BPF_MAP_TYPE_ARRAY)
		ret = read_batches(map_fd, table);
	if (ret) {
		table->count = 0;
		ret = read_singly(map_fd, table);
	}
	return ret ? ret : sf_table_sort(table);
}

/* Rows on their way to the kernel: many at a time where it can (5.6), else one by one. */
struct batch {
	int map_fd;
	unsigned char *keys, *values;
	__u32 count;
};

#define BATCH_ROWS 512

static int batch_send(struct batch *b, const struct sf_table *table)
{
	__u32 sent = b->count;
	int ret = 0;

	if (!b->count)
		return 0;
	if (b->count == 1 || bpf_map_update_batch(b->map_fd, b->keys, b->values, &sent, NULL)) {
		/* All once more, one by one: a write twice does no harm, and the errno is true. */
		for (__u32 i = 0; i < b->count && !ret; i++)
			if (bpf_map_update_elem(b->map_fd, b->keys + (size_t)i * table->key_size,
						b->values + (size_t)i * table->value_size, BPF_ANY))
				ret = -errno;
	}
	b->count = 0;
	return ret;
}

int sf_table_write(int map_fd, const struct sf_table *have, const struct sf_table *want,
		   struct sf_table_change *change)
{
	_cleanup_free_ unsigned char *keys = calloc(BATCH_ROWS, want->key_size);
	_cleanup_free_ unsigned char *values = calloc(BATCH_ROWS, want->value_size);
	struct batch b = {.map_fd = map_fd, .keys = keys, .values = values};
	int ret = 0;

	if (!keys || !values)
		return -ENOMEM;
	for (size_t i = 0; i < want->count && !ret; i++) {
		const void *key = sf_table_key(want, i), *value = sf_table_value(want, i);
		const void *old = sf_table_find(have, key);

		if (old && !memcmp(old, value, want->value_size))
			continue;
		memcpy(keys + (size_t)b.count * want->key_size, key, want->key_size);
		memcpy(values + (size_t)b.count * want->value_size, value, want->value_size);
		if (++b.count == BATCH_ROWS)
			ret = batch_send(&b, want);
		if (old)
			change->changed++;
		else
			change->added++;
	}
	return ret ? ret : batch_send(&b, want);
}

int sf_table_delete_surplus(int map_fd, const struct sf_table *have, const struct sf_table *want,
			    struct sf_table_change *change)
{
	for (size_t i = 0; i < have->count; i++) {
		if (sf_table_find(want, sf_table_key(have, i)))
			continue;
		if (bpf_map_delete_elem(map_fd, sf_table_key(have, i)) && errno != ENOENT)
			return -errno;
		change->removed++;
	}
	return 0;
}

void sf_table_compare(const struct sf_table *have, const struct sf_table *want,
		      struct sf_table_change *change)
{
	for (size_t i = 0; i < want->count; i++) {
		const void *old = sf_table_find(have, sf_table_key(want, i));

		if (!old)
			change->added++;
		else if (memcmp(old, sf_table_value(want, i), want->value_size))
			change->changed++;
	}
	for (size_t i = 0; i < have->count; i++)
		if (!sf_table_find(want, sf_table_key(have, i)))
			change->removed++;
}

int sf_table_differs(int map_fd, const struct sf_table *want)
{
	struct sf_table_change change = {0, 0, 0};
	struct sf_table have;
	int ret;

	sf_table_init(&have, want->key_size, want->value_size);
	ret = sf_table_read(map_fd, &have);
	if (!ret)
		sf_table_compare(&have, want, &change);
	sf_table_free(&have);
	return ret || change.added + change.changed + change.removed;
}

int sf_table_bring(int map_fd, const struct sf_table *want, int surplus)
{
	struct sf_table_change change = {0, 0, 0};
	struct sf_table have;
	int ret;

	sf_table_init(&have, want->key_size, want->value_size);
	ret = sf_table_read(map_fd, &have);
	if (!ret)
		ret = surplus ? sf_table_delete_surplus(map_fd, &have, want, &change)
			      : sf_table_write(map_fd, &have, want, &change);
	sf_table_free(&have);
	return ret;
}
