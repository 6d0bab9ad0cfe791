// SPDX-License-Identifier: GPL-2.0-only
/* Connections that wait for their answer: silence is settled, destinations are found among them. */
#include "census_work.h"
#include "cleanup.h"
#include "../bpf/lib/census.h"
#include <bpf/bpf.h>
#include <string.h>
#include <sys/mman.h>

/*
 * One owner, by the tables' rows alone: silence is rare. Added in a mapping of that row's page, as
 * the kernel adds at the same time.
 */
static void count_silence(const struct sf_census_table *t, uint32_t slot, uint16_t check)
{
	const size_t per_page = 4096 / sizeof(struct sf_census_count);
	uint32_t set = slot / SF_CENSUS_WAYS;
	struct sf_census_set sets;
	struct sf_census_count *counts;
	size_t first = slot / per_page * per_page;

	if (slot >= t->slots || bpf_map_lookup_elem(t->heads, &set, &sets) ||
	    (uint16_t)(sets.way[slot % SF_CENSUS_WAYS].tag >> 16) != check)
		return;
	counts = census_map(t->counts, sizeof(*counts), first, per_page, 1);
	if (!counts)
		return;
	__sync_fetch_and_add(&counts[slot - first].silent, 1);
	munmap(counts, per_page * sizeof(*counts));
}

int sf_census_settle(const char *pin_dir, struct sf_census *census)
{
	size_t rows = 0;
	_cleanup_close_ int fd =
		census_open_array(pin_dir, "attempts", sizeof(struct sf_attempt_set), &rows);
	struct sf_attempt_set *sets = fd < 0 ? NULL : census_map(fd, sizeof(*sets), 0, rows, 1);
	uint32_t now = (uint32_t)(census->now_ns >> SF_TICK_SHIFT);
	int settled = 0;

	for (size_t i = 0; sets && i < rows * SF_ATTEMPT_WAYS; i++) {
		struct sf_attempt *a = &sets[i / SF_ATTEMPT_WAYS].way[i % SF_ATTEMPT_WAYS];

		if (!a->tag || a->state != SF_ATTEMPT_WAITING || (int32_t)(now - a->tick) < 0 ||
		    now - a->tick < (uint32_t)(SF_SILENCE_NS >> SF_TICK_SHIFT) ||
		    !__sync_bool_compare_and_swap(&a->state, SF_ATTEMPT_WAITING, SF_ATTEMPT_SILENT))
			continue;
		count_silence(&census->sources, a->source, a->source_check);
		count_silence(&census->senders, a->sender, a->sender_check);
		settled++;
	}
	if (sets)
		munmap(sets, rows * sizeof(*sets));
	return settled;
}

size_t sf_census_destinations(const char *pin_dir, struct sf_census *census,
			      const struct sf_who *who, struct sf_destination *out, size_t max)
{
	const struct sf_census_table *t =
		who->kind == SF_WHO_SOURCE ? &census->sources : &census->senders;
	struct sf_destination seen[256] = {{.count = 0}};
	const struct sf_attempt_set *sets;
	size_t rows = 0, used = 0, given = 0;
	_cleanup_close_ int fd =
		census_open_array(pin_dir, "attempts", sizeof(struct sf_attempt_set), &rows);
	struct sf_census_head head = {.tag = 0};
	uint32_t slot = 0;
	uint16_t check;

	if (fd < 0 || census_find_slot(census, t, &who->key, &slot, &head))
		return 0;
	check = (uint16_t)(head.tag >> 16);
	sets = census_map(fd, sizeof(*sets), 0, rows, 0);
	if (!sets)
		return 0;
	for (size_t i = 0; i < rows * SF_ATTEMPT_WAYS; i++) {
		const struct sf_attempt *a = &sets[i / SF_ATTEMPT_WAYS].way[i % SF_ATTEMPT_WAYS];
		size_t k = 0;

		if (!a->tag ||
		    (who->kind == SF_WHO_SOURCE ? a->source != slot || a->source_check != check
						: a->sender != slot || a->sender_check != check))
			continue;
		while (k < used && memcmp(&seen[k].addr, &a->daddr, sizeof(a->daddr)))
			k++;
		if (k == used && used < sizeof(seen) / sizeof(seen[0]))
			seen[used++].addr = a->daddr;
		if (k < used)
			seen[k].count++;
	}
	munmap((void *)sets, rows * sizeof(*sets));
	for (; given < max; given++) {
		size_t best = 0;

		for (size_t k = 1; k < used; k++)
			if (seen[k].count > seen[best].count)
				best = k;
		if (!used || !seen[best].count)
			break;
		out[given] = seen[best];
		seen[best].count = 0;
	}
	return given;
}
