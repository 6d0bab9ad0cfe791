// SPDX-License-Identifier: GPL-2.0-only
#include "census_work.h"
#include "cleanup.h"
#include "pins.h"
#include "status.h"
#include "../bpf/lib/census.h"
#include "../maps/counters.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

void *census_map(int fd, size_t row, size_t first, size_t rows, int writable)
{
	void *p = mmap(NULL, rows * row, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED,
		       fd, (off_t)(first * row));

	return p == MAP_FAILED ? NULL : p;
}

int census_open_array(const char *pin_dir, const char *name, size_t row, size_t *rows)
{
	int fd = sf_pin_open(pin_dir, "maps", name);
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	if (fd < 0)
		return fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) || info.value_size != row) {
		close(fd);
		return -EPROTO;
	}
	*rows = info.max_entries;
	return fd;
}

static void close_table(struct sf_census_table *t)
{
	if (t->heads >= 0)
		close(t->heads);
	if (t->counts >= 0)
		close(t->counts);
	if (t->trails >= 0)
		close(t->trails);
	t->heads = t->counts = t->trails = -1;
}

static int open_table(const char *pin_dir, const char *kind, struct sf_census_table *t)
{
	char name[32];
	size_t sets = 0, counts = 0, trails = 0;

	snprintf(name, sizeof(name), "%s_heads", kind);
	t->heads = census_open_array(pin_dir, name, sizeof(struct sf_census_set), &sets);
	snprintf(name, sizeof(name), "%s_counts", kind);
	t->counts = census_open_array(pin_dir, name, sizeof(struct sf_census_count), &counts);
	snprintf(name, sizeof(name), "%s_trails", kind);
	t->trails = census_open_array(pin_dir, name, sizeof(struct sf_census_trail), &trails);
	t->slots = sets * SF_CENSUS_WAYS;
	if (t->heads < 0 || t->counts < 0 || t->trails < 0)
		return t->heads < 0 ? t->heads : t->counts < 0 ? t->counts : t->trails;
	return counts == t->slots && trails == t->slots ? 0 : -EPROTO;
}

static int read_settings(const char *pin_dir, struct sf_census_settings *settings)
{
	_cleanup_close_ int fd = sf_pin_open(pin_dir, "maps", "census_settings");
	__u32 zero = 0;

	if (fd < 0)
		return fd;
	if (bpf_map_lookup_elem(fd, &zero, settings))
		return -errno;
	return settings->abi == SF_ABI_VERSION ? 0 : -EPROTO;
}

void sf_census_counters(const char *pin_dir, uint64_t *counter)
{
	_cleanup_close_ int fd = sf_pin_open(pin_dir, "maps", "census_counters");

	for (uint32_t i = 0; i < SF_CENSUS_COUNTER_MAX; i++)
		counter[i] = fd < 0 ? 0 : sf_counter_read(fd, i);
}

int sf_census_open(const char *pin_dir, struct sf_census *census, struct sf_error *err)
{
	_cleanup_close_ int denials = sf_pin_open(pin_dir, "maps", "denials");
	struct timespec boot;
	int ret;

	memset(census, 0, sizeof(*census));
	census->sources.heads = census->sources.counts = census->sources.trails = -1;
	census->senders.heads = census->senders.counts = census->senders.trails = -1;
	sf_table_init(&census->denials, sizeof(struct sf_denial_key), sizeof(struct sf_denial));
	ret = read_settings(pin_dir, &census->settings);
	if (!ret)
		ret = open_table(pin_dir, "source", &census->sources);
	if (!ret)
		ret = open_table(pin_dir, "sender", &census->senders);
	if (!ret && denials >= 0)
		ret = sf_table_read(denials, &census->denials);
	if (ret) {
		sf_census_close(census);
		if (ret == -ENOENT)
			return sf_fail(
				err, ret,
				"no census runs: the fence is off, or it has no uplinks; see "
				"`smtpfence status`");
		if (ret == -EPERM || ret == -EACCES)
			return sf_fail(err, ret, "can't read the census: %s; this needs root",
				       strerror(-ret));
		return sf_fail(err, ret, "can't read the census: %s", strerror(-ret));
	}
	clock_gettime(CLOCK_BOOTTIME, &boot);
	census->now_ns = (uint64_t)boot.tv_sec * 1000000000ULL + (uint64_t)boot.tv_nsec;
	census->wall = (int64_t)time(NULL);
	return 0;
}

void sf_census_close(struct sf_census *census)
{
	close_table(&census->sources);
	close_table(&census->senders);
	sf_table_free(&census->denials);
}

static int64_t wall_of(const struct sf_census *census, uint64_t ns)
{
	/* Unsigned: a time that can't be must not overflow. */
	return census->wall - (int64_t)(census->now_ns - ns) / 1000000000LL;
}

static void take_denials(const struct sf_census *census, const struct sf_denial *d,
			 struct sf_tally *tally)
{
	tally->denied = d->denied;
	tally->would_deny = d->would_deny;
	if (wall_of(census, d->last_ns) > tally->last_seen)
		tally->last_seen = wall_of(census, d->last_ns);
	if (wall_of(census, d->first_ns) < tally->first_seen)
		tally->first_seen = wall_of(census, d->first_ns);
	if (tally->last_seen < tally->first_seen)
		tally->last_seen = tally->first_seen;
}

/* The kernel may write meanwhile: each figure is right, two may be a SYN apart. */
static void fill_tally(const struct sf_census *census, const struct sf_census_head *head,
		       const struct sf_census_count *c, const struct sf_census_trail *kernels,
		       uint32_t kind, struct sf_tally *tally)
{
	struct sf_census_trail trail = *kernels;
	uint32_t fenced = (uint32_t)c->fenced, half = sf_half_of(census->now_ns);
	int64_t hour = census->wall / 3600;

	memset(tally, 0, sizeof(*tally));
	tally->who.kind = kind;
	tally->who.key = c->key;
	tally->class = trail.class < SF_CLASS_COUNT ? trail.class : SF_CLASS_UNKNOWN;
	tally->warn = trail.warn;
	tally->act = trail.act;
	tally->syn = c->syn;
	tally->fenced = c->fenced;
	tally->retransmitted = c->retransmitted;
	tally->answered = c->answered;
	tally->refused = c->refused;
	tally->silent = c->silent;
	tally->untracked = c->untracked;
	tally->ifindex = c->ifindex;
	tally->window = sf_trail_window(&trail, sf_slice_of(census->now_ns), fenced);
	for (uint32_t i = 0; i < SF_WINDOW_SLICES; i++) {
		uint32_t n = sf_slice_of(census->now_ns) - (SF_WINDOW_SLICES - 1) + i;

		/* Slices after the newest that was begun are empty; the newest ends now. */
		if ((int32_t)(trail.slice - n) > 0)
			tally->slice[i] = trail.base[(n + 1) % SF_WINDOW_SLICES] -
					  trail.base[n % SF_WINDOW_SLICES];
		else if (trail.slice == n)
			tally->slice[i] = fenced - trail.base[n % SF_WINDOW_SLICES];
	}
	tally->hour = trail.hour == hour ? fenced - trail.hour_base : 0;
	tally->day = trail.day == hour / 24 ? fenced - trail.day_base : 0;
	tally->distinct = sf_sketch_estimate(
		trail.half[half & 1] == half ? &trail.sketch[half & 1] : NULL,
		trail.half[(half - 1) & 1] == half - 1 ? &trail.sketch[(half - 1) & 1] : NULL);
	tally->denied = c->denied;
	tally->first_ns = (uint64_t)c->first << SF_TICK_SHIFT;
	tally->first_seen = wall_of(census, tally->first_ns);
	tally->last_seen = wall_of(census, (uint64_t)head->last << SF_TICK_SHIFT);
	if (tally->last_seen < tally->first_seen)
		tally->last_seen = tally->first_seen;
	if (kind == SF_WHO_SENDER) {
		const struct sf_denial_key key = {.cgroup = c->key.word[0],
						  .uid = (uint32_t)c->key.word[1]};
		const struct sf_denial *d = sf_table_find(&census->denials, &key);

		if (d)
			take_denials(census, d, tally);
	}
}

static int is_held(const struct sf_census_head *head)
{
	return head->tag && !(head->tag & SF_TAG_BUSY);
}

/* Slots that are looked at together: whole pages of all three arrays. */
#define PIECE 8192

static int each_of_piece(struct sf_census *census, const struct sf_census_table *t, uint32_t kind,
			 uint32_t since, const struct sf_census_set *sets, size_t first,
			 size_t slots, int (*each)(void *context, const struct sf_tally *tally),
			 void *context)
{
	const struct sf_census_count *counts =
		census_map(t->counts, sizeof(*counts), first, slots, 0);
	const struct sf_census_trail *trails =
		census_map(t->trails, sizeof(*trails), first, slots, 0);
	int stop = 0;

	for (size_t i = 0; counts && trails && i < slots && !stop; i++) {
		const struct sf_census_head *head =
			&sets[i / SF_CENSUS_WAYS].way[i % SF_CENSUS_WAYS];
		struct sf_tally tally;

		if (!is_held(head) || (int32_t)(head->last - since) < 0)
			continue;
		fill_tally(census, head, &counts[i], &trails[i], kind, &tally);
		stop = each(context, &tally);
	}
	if (counts)
		munmap((void *)counts, slots * sizeof(*counts));
	if (trails)
		munmap((void *)trails, slots * sizeof(*trails));
	return stop;
}

/* Returns non-zero where `each` stopped it. */
static int each_slot(struct sf_census *census, const struct sf_census_table *t, uint32_t kind,
		     uint64_t since_ns, int (*each)(void *context, const struct sf_tally *tally),
		     void *context)
{
	uint32_t since = (uint32_t)(since_ns >> SF_TICK_SHIFT);
	int stop = 0;

	for (size_t first = 0; first < t->slots && !stop; first += PIECE) {
		size_t slots = t->slots - first < PIECE ? t->slots - first : PIECE, seen = 0;
		const struct sf_census_set *sets = census_map(
			t->heads, sizeof(*sets), first / SF_CENSUS_WAYS, slots / SF_CENSUS_WAYS, 0);

		if (!sets)
			return 0;
		for (size_t i = 0; i < slots && !seen; i++) {
			const struct sf_census_head *head =
				&sets[i / SF_CENSUS_WAYS].way[i % SF_CENSUS_WAYS];

			seen = is_held(head) && (int32_t)(head->last - since) >= 0;
		}
		if (seen)
			stop = each_of_piece(census, t, kind, since, sets, first, slots, each,
					     context);
		munmap((void *)sets, slots / SF_CENSUS_WAYS * sizeof(*sets));
	}
	return stop;
}

void sf_census_sources(struct sf_census *census, uint64_t since_ns,
		       int (*each)(void *context, const struct sf_tally *tally), void *context)
{
	each_slot(census, &census->sources, SF_WHO_SOURCE, since_ns, each, context);
}

int census_find_slot(const struct sf_census *census, const struct sf_census_table *t,
		     const struct sf_census_key *key, uint32_t *slot, struct sf_census_head *head)
{
	uint64_t hash = sf_hash(census->settings.seed, key->word[0], key->word[1]);
	uint32_t sets = (uint32_t)(t->slots / SF_CENSUS_WAYS);
	const uint32_t places[2] = {sf_set_first(hash, sets), sf_set_second(hash, sets)};

	for (int i = 0; i < 2; i++) {
		struct sf_census_set set;

		if (bpf_map_lookup_elem(t->heads, &places[i], &set))
			return -errno;
		for (uint32_t way = 0; way < SF_CENSUS_WAYS; way++) {
			if (set.way[way].tag == sf_tag(hash)) {
				*slot = places[i] * SF_CENSUS_WAYS + way;
				*head = set.way[way];
				return 0;
			}
		}
	}
	return -ENOENT;
}

/* Who was only ever denied has no entry of the census: the fence's table knows him. */
static int each_denied(struct sf_census *census, uint64_t since_ns,
		       int (*each)(void *context, const struct sf_tally *tally), void *context)
{
	for (size_t i = 0; i < census->denials.count; i++) {
		const struct sf_denial_key *key = sf_table_key(&census->denials, i);
		const struct sf_denial *d = sf_table_value(&census->denials, i);
		struct sf_tally tally = {
			.who = {.kind = SF_WHO_SENDER, .key = {{key->cgroup, key->uid}}},
			.class = SF_CLASS_USER};
		struct sf_census_head head;
		uint32_t slot;

		if (d->last_ns < since_ns ||
		    !census_find_slot(census, &census->senders, &tally.who.key, &slot, &head))
			continue;
		tally.first_seen = INT64_MAX;
		take_denials(census, d, &tally);
		if (each(context, &tally))
			return 1;
	}
	return 0;
}

void sf_census_senders(struct sf_census *census, uint64_t since_ns,
		       int (*each)(void *context, const struct sf_tally *tally), void *context)
{
	if (!each_slot(census, &census->senders, SF_WHO_SENDER, since_ns, each, context))
		each_denied(census, since_ns, each, context);
}

int sf_census_find(struct sf_census *census, const struct sf_who *who, struct sf_tally *tally)
{
	const struct sf_census_table *t =
		who->kind == SF_WHO_SOURCE ? &census->sources : &census->senders;
	struct sf_census_head head = {.tag = 0};
	struct sf_census_count count;
	struct sf_census_trail trail;
	uint32_t slot;
	int ret = census_find_slot(census, t, &who->key, &slot, &head);

	if (ret)
		return ret;
	if (bpf_map_lookup_elem(t->counts, &slot, &count) ||
	    bpf_map_lookup_elem(t->trails, &slot, &trail))
		return -errno;
	fill_tally(census, &head, &count, &trail, who->kind, tally);
	return 0;
}
