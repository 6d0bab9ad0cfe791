// SPDX-License-Identifier: GPL-2.0-only
/*
 * The census' tables as another build or a hostile pin may have left them: any bytes in heads,
 * counts, trails, attempts, settings and denials. Read, told, looked at by the engine. Maps are
 * files in memory here, which mmap and look-ups find as they find the kernel's.
 */
#include "fuzz.h"
#include "../../bpf/lib/census.h"
#include "../../maps/counters.h"
#include "../../user/census.h"
#include "../../user/pins.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#define SETS  64
#define SLOTS (SETS * SF_CENSUS_WAYS)

static struct map {
	const char *name;
	uint32_t type, key_size, value_size, entries;
	int fd;
	uint8_t *rows;
} maps[] = {
	{"source_heads", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct sf_census_set), SETS, -1, NULL},
	{"source_counts", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct sf_census_count), SLOTS, -1, NULL},
	{"source_trails", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct sf_census_trail), SLOTS, -1, NULL},
	{"sender_heads", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct sf_census_set), SETS, -1, NULL},
	{"sender_counts", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct sf_census_count), SLOTS, -1, NULL},
	{"sender_trails", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct sf_census_trail), SLOTS, -1, NULL},
	{"attempts", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct sf_attempt_set), SETS, -1, NULL},
	{"census_settings", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct sf_census_settings), 1, -1, NULL},
	{"denials", BPF_MAP_TYPE_LRU_HASH, sizeof(struct sf_denial_key), sizeof(struct sf_denial),
	 8, -1, NULL},
};

#define MAPS	 (sizeof(maps) / sizeof(maps[0]))
#define SETTINGS 7

static size_t bytes_of(const struct map *m)
{
	return (size_t)m->entries * m->value_size;
}

/* Each opening is a descriptor of its own, which its reader closes: which map it is, plus one. */
static int opened[64];

int __wrap_sf_pin_open(const char *pin_dir, const char *kind, const char *name);
int __wrap_sf_pin_open(const char *pin_dir, const char *kind, const char *name)
{
	(void)pin_dir;
	(void)kind;
	for (size_t i = 0; i < MAPS; i++) {
		int fd;

		if (strcmp(maps[i].name, name))
			continue;
		fd = dup(maps[i].fd);
		if (fd >= 0 && fd < 64)
			opened[fd] = (int)i + 1;
		return fd < 0 ? -errno : fd;
	}
	return -ENOENT;
}

static struct map *map_at(int fd)
{
	return fd >= 0 && fd < 64 && opened[fd] ? &maps[opened[fd] - 1] : NULL;
}

int __wrap_bpf_obj_get_info_by_fd(int fd, void *info, __u32 *length);
int __wrap_bpf_obj_get_info_by_fd(int fd, void *info, __u32 *length)
{
	const struct map *m = map_at(fd);
	struct bpf_map_info *out = info;

	(void)length;
	if (!m) {
		errno = EBADF;
		return -EBADF;
	}
	out->type = m->type;
	out->key_size = m->key_size;
	out->value_size = m->value_size;
	out->max_entries = m->entries;
	return 0;
}

int __wrap_bpf_map_lookup_elem(int fd, const void *key, void *value);
int __wrap_bpf_map_lookup_elem(int fd, const void *key, void *value)
{
	const struct map *m = map_at(fd);
	uint32_t at;

	memcpy(&at, key, sizeof(at));
	if (!m || at >= m->entries) {
		errno = ENOENT;
		return -ENOENT;
	}
	memcpy(value, m->rows + (size_t)at * m->value_size, m->value_size);
	return 0;
}

/* The table of denials: a key is the first bytes of its row. */
int __wrap_bpf_map_lookup_batch(int fd, void *in, void *out, void *keys, void *values, __u32 *count,
				const struct bpf_map_batch_opts *opts);
int __wrap_bpf_map_lookup_batch(int fd, void *in, void *out, void *keys, void *values, __u32 *count,
				const struct bpf_map_batch_opts *opts)
{
	const struct map *m = map_at(fd);

	(void)in;
	(void)out;
	(void)opts;
	for (uint32_t i = 0; i < m->entries; i++) {
		memcpy((char *)keys + i * m->key_size, m->rows + i * m->value_size, m->key_size);
		memcpy((char *)values + i * m->value_size, m->rows + i * m->value_size,
		       m->value_size);
	}
	*count = m->entries;
	errno = ENOENT;
	return -ENOENT;
}

static void make_maps(void)
{
	for (size_t i = 0; i < MAPS; i++) {
		maps[i].fd = memfd_create(maps[i].name, MFD_CLOEXEC);
		if (maps[i].fd < 0 || ftruncate(maps[i].fd, (off_t)bytes_of(&maps[i]) + 4096))
			abort();
		maps[i].rows = mmap(NULL, bytes_of(&maps[i]), PROT_READ | PROT_WRITE, MAP_SHARED,
				    maps[i].fd, 0);
		if (maps[i].rows == MAP_FAILED)
			abort();
	}
}

static struct sf_engine *engine;
static struct sf_census census;

static void on_alarm(void *context, const struct sf_alarm *a)
{
	(void)context;
	PROPERTY(a->rule < SF_RULE_COUNT && isfinite(a->value) && fuzz_is_clean(a->evidence));
}

static int each(void *context, const struct sf_tally *t)
{
	struct sf_destination most[4];
	char text[512];
	size_t n;

	(void)context;
	PROPERTY(t->class < SF_CLASS_COUNT);
	PROPERTY(isfinite(t->distinct) && t->distinct >= 0);
	PROPERTY(t->first_seen <= t->last_seen);
	if (t->who.kind == SF_WHO_SOURCE)
		sf_census_source_text(&t->who.key, &census.settings, text, sizeof(text));
	else
		sf_census_sender_text(&t->who.key, "/nowhere", text, sizeof(text));
	PROPERTY(text[0] && fuzz_is_clean_utf8(text));
	n = sf_census_destinations("", &census, &t->who, most, 4);
	PROPERTY(n <= 4);
	sf_engine_look(engine, t, 1000, census.wall);
	return 0;
}

/* Where, how many, and those bytes. */
static void write_one(struct fuzz_part *rest)
{
	struct map *m = &maps[fuzz_take(rest, 1) % MAPS];
	size_t at = fuzz_take(rest, 2) % m->entries * m->value_size, n;

	at += fuzz_take(rest, 1) % m->value_size;
	n = 1 + fuzz_take(rest, 1) % 64;
	for (; n && rest->size && at < bytes_of(m); n--)
		m->rows[at++] = (uint8_t)fuzz_take(rest, 1);
}

static void fill(struct fuzz_part rest)
{
	struct sf_census_settings *settings = (struct sf_census_settings *)maps[SETTINGS].rows;

	for (size_t i = 0; i < MAPS; i++)
		memset(maps[i].rows, 0, bytes_of(&maps[i]));
	settings->abi = SF_ABI_VERSION;
	/* Keys of one slot each, where they are looked for. */
	for (int i = 0; i < 2; i++) {
		struct sf_census_set *heads = (struct sf_census_set *)maps[3 * i].rows;
		struct sf_census_count *counts = (struct sf_census_count *)maps[3 * i + 1].rows;
		uint64_t key = fuzz_take(&rest, 2), hash = sf_hash(0, key, 0);
		uint32_t set = sf_set_first(hash, SETS);

		heads[set].way[0].tag = sf_tag(hash);
		counts[set * SF_CENSUS_WAYS].key.word[0] = key;
	}
	while (rest.size > 5)
		write_one(&rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct sf_engine_hooks hooks = {.alarm = on_alarm};
	struct sf_engine_limits limits;
	struct sf_error err = {.code = 0};

	if (!maps[0].rows)
		make_maps();
	memset(opened, 0, sizeof(opened));
	fill((struct fuzz_part){data, size});
	sf_engine_limits_default(&limits);
	if (sf_engine_new(16, &limits, &hooks, &engine))
		return 0;
	if (sf_census_open("", &census, &err)) {
		PROPERTY(err.code < 0 && fuzz_is_clean(err.text));
	} else {
		sf_census_sources(&census, 0, each, NULL);
		sf_census_senders(&census, 0, each, NULL);
		PROPERTY(sf_census_settle("", &census) <= SETS * SF_ATTEMPT_WAYS);
		sf_census_close(&census);
	}
	sf_engine_free(engine);
	return 0;
}
