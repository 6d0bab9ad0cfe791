// SPDX-License-Identifier: GPL-2.0-only
/* Tables of bytes: sorting, finding, differences; and against the kernel's own maps. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <cmocka.h>
#include "../../user/table.h"

static uint32_t seed = 1;

static uint32_t any(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)seed * below >> 32);
}

static void add(struct sf_table *table, uint32_t key, uint64_t value)
{
	assert_int_equal(sf_table_add(table, &key, &value), 0);
}

/* Values stand where the key ends, aligned or not. */
static uint64_t value_at(const struct sf_table *table, size_t i)
{
	uint64_t value;

	memcpy(&value, sf_table_value(table, i), sizeof(value));
	return value;
}

static int find(const struct sf_table *table, uint32_t key, uint64_t *value)
{
	void *found = sf_table_find(table, &key);

	if (found)
		memcpy(value, found, sizeof(*value));
	return found != NULL;
}

static void the_last_stays(void **state)
{
	enum { KEYS = 500, ROWS = 4000 };
	uint64_t last[KEYS] = {0}, value = 0;
	struct sf_table t;
	size_t different = 0;

	(void)state;
	sf_table_init(&t, sizeof(uint32_t), sizeof(uint64_t));
	assert_int_equal(sf_table_sort(&t), 0);
	assert_false(find(&t, 5, &value));
	for (uint64_t i = 1; i <= ROWS; i++) {
		uint32_t key = any(KEYS);

		add(&t, key, i);
		different += !last[key];
		last[key] = i;
		/* Sorted in between: what comes later is still later. */
		if (i == ROWS / 2 || i == ROWS / 3)
			assert_int_equal(sf_table_sort(&t), 0);
	}
	assert_int_equal(sf_table_sort(&t), 0);
	assert_int_equal(t.count, different);
	for (uint32_t key = 0; key < KEYS; key++) {
		assert_int_equal(find(&t, key, &value), last[key] != 0);
		if (last[key])
			assert_int_equal(value, last[key]);
	}
	assert_false(find(&t, KEYS, &value));
	assert_false(find(&t, UINT32_MAX, &value));
	for (size_t i = 1; i < t.count; i++)
		assert_true(memcmp(sf_table_key(&t, i - 1), sf_table_key(&t, i), 4) < 0);
	assert_int_equal(sf_table_sort(&t), 0);
	assert_int_equal(t.count, different);
	sf_table_free(&t);
	assert_int_equal(t.count, 0);
	sf_table_free(&t);
}

static void one_row(void **state)
{
	struct sf_table t;
	uint64_t value;

	(void)state;
	sf_table_init(&t, sizeof(uint32_t), sizeof(uint64_t));
	add(&t, 7, 70);
	assert_int_equal(sf_table_sort(&t), 0);
	assert_true(find(&t, 7, &value));
	assert_int_equal(value, 70);
	assert_false(find(&t, 6, &value));
	add(&t, 7, 71);
	assert_int_equal(sf_table_sort(&t), 0);
	assert_int_equal(t.count, 1);
	assert_int_equal(value_at(&t, 0), 71);
	sf_table_free(&t);
}

/* Two tables: `have` with keys 0..99, `want` with 50..149, of which 50..74 differ. */
static void have_and_want(struct sf_table *have, struct sf_table *want)
{
	sf_table_init(have, sizeof(uint32_t), sizeof(uint64_t));
	sf_table_init(want, sizeof(uint32_t), sizeof(uint64_t));
	for (uint32_t i = 0; i < 100; i++)
		add(have, i, i);
	for (uint32_t i = 50; i < 150; i++)
		add(want, i, i < 75 ? i + 1000 : i);
	assert_int_equal(sf_table_sort(have), 0);
	assert_int_equal(sf_table_sort(want), 0);
}

static void differences(void **state)
{
	struct sf_table_change change = {0, 0, 0};
	struct sf_table have, want, empty;

	(void)state;
	have_and_want(&have, &want);
	sf_table_init(&empty, sizeof(uint32_t), sizeof(uint64_t));
	sf_table_compare(&have, &want, &change);
	assert_int_equal(change.added, 50);
	assert_int_equal(change.changed, 25);
	assert_int_equal(change.removed, 50);
	change = (struct sf_table_change){0, 0, 0};
	sf_table_compare(&have, &have, &change);
	assert_int_equal(change.added + change.changed + change.removed, 0);
	sf_table_compare(&empty, &empty, &change);
	assert_int_equal(change.added + change.changed + change.removed, 0);
	sf_table_compare(&empty, &want, &change);
	assert_int_equal(change.added, 100);
	sf_table_compare(&want, &empty, &change);
	assert_int_equal(change.removed, 100);
	assert_int_equal(change.changed, 0);
	sf_table_free(&have);
	sf_table_free(&want);
}

static int map_of(enum bpf_map_type type, uint32_t key, uint32_t value, uint32_t entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, options,
		    .map_flags = type == BPF_MAP_TYPE_LPM_TRIE ? BPF_F_NO_PREALLOC : 0);
	int fd = bpf_map_create(type, "sf_unit_test", key, value, entries, &options);

	if (fd < 0) {
		print_message("no BPF maps here (%s): not tested\n", strerror(errno));
		skip();
	}
	return fd;
}

static void holds(int fd, const struct sf_table *want)
{
	struct sf_table_change change = {0, 0, 0};
	struct sf_table now;

	sf_table_init(&now, want->key_size, want->value_size);
	assert_int_equal(sf_table_read(fd, &now), 0);
	assert_int_equal(now.count, want->count);
	sf_table_compare(&now, want, &change);
	assert_int_equal(change.added + change.changed + change.removed, 0);
	sf_table_free(&now);
}

static void hash_maps(void **state)
{
	static const enum bpf_map_type types[] = {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		int fd = map_of(types[i], 4, 8, 1000);
		struct sf_table_change change = {0, 0, 0};
		struct sf_table have, want, empty;

		have_and_want(&have, &want);
		sf_table_init(&empty, 4, 8);
		holds(fd, &empty);
		assert_int_equal(sf_table_write(fd, &empty, &have, &change), 0);
		assert_int_equal(change.added, 100);
		holds(fd, &have);
		change = (struct sf_table_change){0, 0, 0};
		assert_int_equal(sf_table_write(fd, &have, &want, &change), 0);
		assert_int_equal(change.added, 50);
		assert_int_equal(change.changed, 25);
		assert_int_equal(change.removed, 0);
		assert_int_equal(sf_table_delete_surplus(fd, &have, &want, &change), 0);
		assert_int_equal(change.removed, 50);
		holds(fd, &want);
		/* Rows that went away meanwhile are as good as deleted. */
		assert_int_equal(sf_table_delete_surplus(fd, &have, &empty, &change), 0);
		assert_int_equal(sf_table_delete_surplus(fd, &want, &empty, &change), 0);
		holds(fd, &empty);
		sf_table_free(&have);
		sf_table_free(&want);
		close(fd);
	}
}

/* More rows than one batch, and hash chains of all lengths. */
static void large_maps(void **state)
{
	static const uint32_t sizes[] = {1, 2, 1023, 1024, 1025, 5000, 20000};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int fd = map_of(BPF_MAP_TYPE_HASH, 4, 8, sizes[i]);
		struct sf_table_change change = {0, 0, 0};
		struct sf_table want, empty;

		sf_table_init(&want, 4, 8);
		sf_table_init(&empty, 4, 8);
		for (uint32_t n = 0; n < sizes[i]; n++)
			add(&want, n * 2654435761u, n);
		assert_int_equal(sf_table_sort(&want), 0);
		assert_int_equal(sf_table_write(fd, &empty, &want, &change), 0);
		holds(fd, &want);
		sf_table_free(&want);
		close(fd);
	}
}

static void arrays_and_tries(void **state)
{
	struct sf_table_change change = {0, 0, 0};
	struct sf_table have, want;
	int fd = map_of(BPF_MAP_TYPE_ARRAY, 4, 8, 100);

	(void)state;
	sf_table_init(&have, 4, 8);
	sf_table_init(&want, 4, 8);
	assert_int_equal(sf_table_read(fd, &have), 0);
	assert_int_equal(have.count, 100); /* all there, all zero */
	for (uint32_t i = 0; i < 100; i++)
		add(&want, i, i % 3);
	assert_int_equal(sf_table_sort(&want), 0);
	assert_int_equal(sf_table_write(fd, &have, &want, &change), 0);
	assert_int_equal(change.changed, 66);
	holds(fd, &want);
	sf_table_free(&have);
	sf_table_free(&want);
	close(fd);

	fd = map_of(BPF_MAP_TYPE_LPM_TRIE, 8, 8, 3000);
	sf_table_init(&have, 8, 8);
	sf_table_init(&want, 8, 8);
	for (uint32_t i = 0; i < 2000; i++) {
		struct {
			uint32_t prefixlen;
			uint8_t bytes[4];
		} key = {.prefixlen = 32, .bytes = {10, (uint8_t)(i >> 8), (uint8_t)i, 1}};
		uint64_t value = i;

		if (i % 2) {
			key.prefixlen = 24;
			key.bytes[3] = 0;
		}
		assert_int_equal(sf_table_add(&want, &key, &value), 0);
	}
	assert_int_equal(sf_table_sort(&want), 0);
	assert_int_equal(sf_table_write(fd, &have, &want, &change), 0);
	holds(fd, &want);
	assert_int_equal(sf_table_delete_surplus(fd, &want, &have, &change), 0);
	holds(fd, &have);
	sf_table_free(&want);
	close(fd);
}

static void a_map_that_is_full(void **state)
{
	int fd = map_of(BPF_MAP_TYPE_HASH, 4, 8, 10);
	struct sf_table_change change = {0, 0, 0};
	struct sf_table want, empty;

	(void)state;
	sf_table_init(&want, 4, 8);
	sf_table_init(&empty, 4, 8);
	for (uint32_t i = 0; i < 30; i++)
		add(&want, i, i);
	assert_int_equal(sf_table_sort(&want), 0);
	assert_int_equal(sf_table_write(fd, &empty, &want, &change), -E2BIG);
	assert_true(change.added >= 10);
	sf_table_init(&empty, 4, 8);
	assert_int_equal(sf_table_read(fd, &empty), 0);
	assert_int_equal(empty.count, 10);
	sf_table_free(&empty);
	/* Of another shape: refused, before a byte of it is read into too little room. */
	sf_table_init(&empty, 4, 4);
	assert_int_equal(sf_table_read(fd, &empty), -EPROTO);
	sf_table_init(&empty, 8, 8);
	assert_int_equal(sf_table_read(fd, &empty), -EPROTO);
	sf_table_free(&want);
	close(fd);
	assert_true(sf_table_read(-1, &empty) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_stays),     cmocka_unit_test(one_row),
		cmocka_unit_test(differences),	      cmocka_unit_test(hash_maps),
		cmocka_unit_test(large_maps),	      cmocka_unit_test(arrays_and_tries),
		cmocka_unit_test(a_map_that_is_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
