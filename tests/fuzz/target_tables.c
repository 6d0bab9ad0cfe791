// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a pin holds, whoever left it, against what the policy wants: read, compared, brought to be
 * the same. The map is a list here, which now and then refuses, changes while it is walked, knows
 * no batches. At the end it holds what was wanted, or an error was given.
 */
#include "fuzz.h"
#include "../../user/table.h"
#include <bpf/bpf.h>
#include <errno.h>

#define KEY   4
#define VALUE 3
#define ROOM  64

static struct {
	uint8_t key[KEY], value[VALUE];
} rows[ROOM];
static uint32_t count, type;
static int refusals; /* so many calls go well before one fails; below 0: all do */
static int batches;

static int refuse(void)
{
	if (refusals < 0 || refusals--)
		return 0;
	errno = ENOMEM;
	return -ENOMEM;
}

static uint32_t find(const void *key)
{
	for (uint32_t i = 0; i < count; i++)
		if (!memcmp(rows[i].key, key, KEY))
			return i;
	return ROOM;
}

int __wrap_bpf_obj_get_info_by_fd(int fd, void *info, __u32 *length);
int __wrap_bpf_obj_get_info_by_fd(int fd, void *info, __u32 *length)
{
	struct bpf_map_info *out = info;

	(void)fd;
	(void)length;
	out->type = type;
	out->key_size = KEY;
	out->value_size = VALUE;
	out->max_entries = ROOM;
	return 0;
}

int __wrap_bpf_map_lookup_batch(int fd, void *in, void *out, void *keys, void *values, __u32 *n,
				const struct bpf_map_batch_opts *opts);
int __wrap_bpf_map_lookup_batch(int fd, void *in, void *out, void *keys, void *values, __u32 *n,
				const struct bpf_map_batch_opts *opts)
{
	uint32_t first = in ? *(uint32_t *)in : 0, i = first;

	(void)fd;
	(void)opts;
	if (!batches) {
		errno = ENOTSUP;
		return -ENOTSUP;
	}
	for (; i < count && i - first < 7; i++) { /* few at a time: several rounds */
		memcpy((char *)keys + (i - first) * KEY, rows[i].key, KEY);
		memcpy((char *)values + (i - first) * VALUE, rows[i].value, VALUE);
	}
	*n = i - first;
	*(uint32_t *)out = i;
	errno = ENOENT;
	return i < count ? 0 : -ENOENT;
}

int __wrap_bpf_map_get_next_key(int fd, const void *key, void *next);
int __wrap_bpf_map_get_next_key(int fd, const void *key, void *next)
{
	uint32_t i = key ? find(key) : ROOM;

	(void)fd;
	i = i == ROOM ? 0
		      : i + 1; /* a key that is gone: from the first again, as the kernel does */
	errno = ENOENT;
	if (i >= count)
		return -ENOENT;
	memcpy(next, rows[i].key, KEY);
	return 0;
}

int __wrap_bpf_map_lookup_elem(int fd, const void *key, void *value);
int __wrap_bpf_map_lookup_elem(int fd, const void *key, void *value)
{
	uint32_t i = find(key);

	(void)fd;
	errno = ENOENT;
	if (i == ROOM)
		return -ENOENT;
	memcpy(value, rows[i].value, VALUE);
	return 0;
}

int __wrap_bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags);
int __wrap_bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
	uint32_t i = find(key);

	(void)fd;
	(void)flags;
	if (refuse())
		return -ENOMEM;
	if (i == ROOM && count == ROOM) {
		errno = ENOSPC;
		return -ENOSPC;
	}
	if (i == ROOM)
		memcpy(rows[i = count++].key, key, KEY);
	memcpy(rows[i].value, value, VALUE);
	return 0;
}

int __wrap_bpf_map_update_batch(int fd, const void *keys, const void *values, __u32 *n,
				const struct bpf_map_batch_opts *opts);
int __wrap_bpf_map_update_batch(int fd, const void *keys, const void *values, __u32 *n,
				const struct bpf_map_batch_opts *opts)
{
	(void)opts;
	for (__u32 i = 0; i < *n; i++)
		if (!batches || __wrap_bpf_map_update_elem(fd, (const char *)keys + i * KEY,
							   (const char *)values + i * VALUE, 0)) {
			*n = i;
			return -1;
		}
	return 0;
}

int __wrap_bpf_map_delete_elem(int fd, const void *key);
int __wrap_bpf_map_delete_elem(int fd, const void *key)
{
	uint32_t i = find(key);

	(void)fd;
	if (refuse())
		return -ENOMEM;
	errno = ENOENT;
	if (i == ROOM)
		return -ENOENT;
	rows[i] = rows[--count];
	return 0;
}

/* Rows from the input, keys near to each other. */
static void take_rows(struct fuzz_part *rest, struct sf_table *table, size_t n)
{
	for (; n && rest->size; n--) {
		uint8_t key[KEY] = {0, 0, 0, (uint8_t)(fuzz_take(rest, 1) % (ROOM + 8))};
		uint8_t value[VALUE] = {(uint8_t)(fuzz_take(rest, 1) % 3), 0, 1};

		if (table)
			PROPERTY(!sf_table_add(table, key, value));
		else
			__wrap_bpf_map_update_elem(0, key, value, 0);
	}
}

static void check_same(const struct sf_table *want)
{
	PROPERTY(count == want->count);
	for (size_t i = 0; i < want->count; i++) {
		uint32_t at = find(sf_table_key(want, i));

		PROPERTY(at < ROOM &&
			 !memcmp(rows[at].value, sf_table_value((void *)want, i), VALUE));
		PROPERTY(!i || memcmp(sf_table_key(want, i - 1), sf_table_key(want, i), KEY) < 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_ARRAY,
					 BPF_MAP_TYPE_LPM_TRIE};
	struct fuzz_part rest = {data, size};
	uint8_t how = (uint8_t)fuzz_take(&rest, 1), limit = (uint8_t)fuzz_take(&rest, 1);
	size_t n = (size_t)fuzz_take(&rest, 1);
	struct sf_table_change change = {0, 0, 0}, told = {0, 0, 0};
	struct sf_table have, want;
	int ret;

	count = 0;
	refusals = -1;
	batches = how >> 2 & 1;
	type = types[(how & 3) % 3];
	take_rows(&rest, NULL, n);
	sf_table_init(&want, KEY, VALUE);
	take_rows(&rest, &want, 2 * ROOM);
	PROPERTY(!sf_table_sort(&want));
	sf_table_init(&have, KEY, VALUE);
	PROPERTY(!sf_table_read(7, &have) && have.count == count);
	sf_table_compare(&have, &want, &change);
	PROPERTY(have.count + change.added == want.count + change.removed);
	refusals = limit < 200 ? -1 : limit - 200;
	ret = sf_table_write(7, &have, &want, &told);
	if (!ret)
		ret = sf_table_delete_surplus(7, &have, &want, &told);
	PROPERTY(ret <= 0);
	if (!ret) {
		PROPERTY(!memcmp(&change, &told, sizeof(change)));
		check_same(&want);
		PROPERTY(!sf_table_differs(7, &want));
	} else {
		PROPERTY(refusals >= -1 && (limit >= 200 || want.count + have.count > ROOM));
	}
	sf_table_free(&have);
	sf_table_free(&want);
	return 0;
}
