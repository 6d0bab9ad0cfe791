// SPDX-License-Identifier: GPL-2.0-only
#include "gateway_work.h"
#include "cleanup.h"
#include "gateway.skel.h"
#include "tc.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

static void close_all(int *fd, int count)
{
	for (int i = 0; i < count; i++) {
		if (fd[i] >= 0)
			close(fd[i]);
		fd[i] = -1;
	}
}

void gateway_close_pins(struct gateway_work *w)
{
	close_all(w->map, SF_GATEWAY_MAP_COUNT);
	close_all(w->program, SF_GATEWAY_PROGRAM_COUNT);
}

int gateway_open_pins(struct gateway_work *w)
{
	int ret = 0;

	for (int i = 0; i < SF_GATEWAY_MAP_COUNT; i++) {
		w->map[i] = sf_pin_open(w->policy->pin_dir, "maps", sf_gateway_map_names[i]);
		if (w->map[i] < 0 && (!ret || ret == -ENOENT))
			ret = w->map[i];
	}
	for (int i = 0; i < SF_GATEWAY_PROGRAM_COUNT; i++) {
		w->program[i] =
			sf_pin_open(w->policy->pin_dir, "programs", sf_gateway_program_names[i]);
		if (w->program[i] < 0 && (!ret || ret == -ENOENT))
			ret = w->program[i];
	}
	return ret;
}

void gateway_recover_census(const struct gateway_work *w, struct sf_census_maps *census)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	if (w->program[SF_GATEWAY_PROGRAM_IN] < 0 ||
	    bpf_obj_get_info_by_fd(w->program[SF_GATEWAY_PROGRAM_IN], &info, &len))
		return;
	for (int m = 0; m < SF_CENSUS_MAP_COUNT; m++)
		if (census->map[m] < 0)
			census->map[m] = sf_tc_program_map(info.id, sf_census_map_names[m]);
}

static int map_id(int fd, __u32 *id, __u32 *entries)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
		return -EBADF;
	*id = info.id;
	*entries = info.max_entries;
	return 0;
}

static int program_uses(const __u32 *ids, __u32 count, int map_fd)
{
	__u32 id, entries;

	if (map_id(map_fd, &id, &entries))
		return 0;
	for (__u32 i = 0; i < count; i++)
		if (ids[i] == id)
			return 1;
	return 0;
}

int gateway_programs_fit(const struct gateway_work *w, const struct sf_loaded *fence,
			 const struct sf_census_maps *census)
{
	static const enum sf_map of_fence[] = {SF_MAP_SETTINGS,		SF_MAP_PORTS,
					       SF_MAP_RELAYS,		SF_MAP_QUARANTINE_NETS,
					       SF_MAP_QUARANTINE_HOSTS, SF_MAP_LOCAL_FILTER,
					       SF_MAP_LOCAL_ADDRS,	SF_MAP_COUNTERS,
					       SF_MAP_SOURCE_LIMITS};
	static const enum sf_census_map of_census[] = {
		SF_CENSUS_MAP_SOURCE_HEADS, SF_CENSUS_MAP_SOURCE_COUNTS, SF_CENSUS_MAP_ATTEMPTS,
		SF_CENSUS_MAP_SETTINGS,	    SF_CENSUS_MAP_COUNTERS,	 SF_CENSUS_MAP_CROSSINGS};
	struct bpf_prog_info info = {};
	__u32 ids[64], len = sizeof(info), id, sets = 0;
	int fit = 1;

	info.nr_map_ids = sizeof(ids) / sizeof(ids[0]);
	info.map_ids = (__u64)(uintptr_t)ids;
	if (bpf_obj_get_info_by_fd(w->program[SF_GATEWAY_PROGRAM_IN], &info, &len))
		return 0;
	for (size_t i = 0; i < sizeof(of_fence) / sizeof(of_fence[0]); i++)
		fit &= program_uses(ids, info.nr_map_ids, fence->map[of_fence[i]]);
	for (size_t i = 0; i < sizeof(of_census) / sizeof(of_census[0]); i++)
		fit &= program_uses(ids, info.nr_map_ids, census->map[of_census[i]]);
	for (int i = 0; i < SF_GATEWAY_MAP_COUNT; i++)
		fit &= program_uses(ids, info.nr_map_ids, w->map[i]);
	return fit && !map_id(census->map[SF_CENSUS_MAP_SOURCE_HEADS], &id, &sets) &&
	       sets == sf_census_sets(w->policy->max_sources);
}

/* Own lists are taken over where they are of the right form. */
static int share_lists(const struct gateway_work *w, struct gateway_bpf *skel)
{
	int ret = 0;

	/* `customers` is shared with the uplinks' programs, in egress.c. */
	for (int i = 0; i < SF_GATEWAY_MAP_COUNT && !ret; i++) {
		struct bpf_map *map =
			bpf_object__find_map_by_name(skel->obj, sf_gateway_map_names[i]);
		struct bpf_map_info info = {};
		__u32 len = sizeof(info);

		if (i != SF_GATEWAY_MAP_CUSTOMERS && w->map[i] >= 0 &&
		    !bpf_obj_get_info_by_fd(w->map[i], &info, &len) &&
		    info.key_size == bpf_map__key_size(map) &&
		    info.value_size == bpf_map__value_size(map) &&
		    info.max_entries == bpf_map__max_entries(map))
			ret = bpf_map__reuse_fd(map, w->map[i]);
	}
	return ret;
}

static int load(const struct gateway_work *w, const struct sf_loaded *fence,
		const struct sf_census_maps *census, struct gateway_bpf **out, struct sf_error *err)
{
	struct gateway_bpf *skel = gateway_bpf__open();
	struct sf_census_sizes sizes;
	int ret;

	if (!skel)
		return sf_fail(err, -errno, "can't open the gateway's programs: %s",
			       strerror(errno));
	sizes = sf_census_set_sizes(skel->obj, w->policy);
	skel->rodata->source_sets = sizes.sources;
	skel->rodata->sender_sets = sizes.senders;
	skel->rodata->attempt_sets = sizes.attempts;
	ret = sf_census_share_maps(skel->obj, fence, census);
	if (!ret)
		ret = share_lists(w, skel);
	if (!ret)
		ret = gateway_bpf__load(skel);
	if (!ret) {
		*out = skel;
		return 0;
	}
	gateway_bpf__destroy(skel);
	return sf_fail(err, ret,
		       "the kernel refused the gateway's programs: %s; they need Linux 5.12, the "
		       "process fence does not",
		       strerror(-ret));
}

static int pin_all(const struct gateway_work *w, const struct gateway_bpf *skel,
		   struct sf_error *err)
{
	int ret = sf_census_pin_maps(w->policy->pin_dir, skel->obj, err);

	for (int i = 0; i < SF_GATEWAY_MAP_COUNT && !ret; i++)
		ret = sf_pin_replace(w->policy->pin_dir, "maps", sf_gateway_map_names[i],
				     bpf_map__fd(bpf_object__find_map_by_name(
					     skel->obj, sf_gateway_map_names[i])),
				     err);
	for (int i = 0; i < SF_GATEWAY_PROGRAM_COUNT && !ret; i++)
		ret = sf_pin_replace(w->policy->pin_dir, "programs", sf_gateway_program_names[i],
				     bpf_program__fd(bpf_object__find_program_by_name(
					     skel->obj, sf_gateway_program_names[i])),
				     err);
	return ret;
}

int gateway_load(struct gateway_work *w, const struct sf_loaded *fence,
		 const struct sf_census_maps *census, const struct sf_census_settings *settings,
		 struct sf_error *err)
{
	struct gateway_bpf *skel = NULL;
	int ret = load(w, fence, census, &skel, err);

	if (ret)
		return ret;
	ret = sf_census_write_settings(bpf_map__fd(skel->maps.census_settings), settings);
	if (ret)
		sf_fail(err, ret, "can't write the census' settings: %s", strerror(-ret));
	if (!ret)
		ret = pin_all(w, skel, err);
	gateway_bpf__destroy(skel);
	if (ret)
		return ret;
	gateway_close_pins(w);
	ret = gateway_open_pins(w);
	return ret ? sf_fail(err, ret, "can't open the gateway's pins: %s", strerror(-ret)) : 0;
}

void gateway_unpin(const char *pin_dir)
{
	_cleanup_close_ int customers =
		sf_pin_open(pin_dir, "maps", sf_gateway_map_names[SF_GATEWAY_MAP_CUSTOMERS]);
	__u32 key;

	/* The uplinks' programs go on to look into this one. */
	while (customers >= 0 && !bpf_map_get_next_key(customers, NULL, &key) &&
	       !bpf_map_delete_elem(customers, &key))
		;
	for (int i = 0; i < SF_GATEWAY_MAP_COUNT; i++)
		if (i != SF_GATEWAY_MAP_CUSTOMERS)
			sf_pin_remove(pin_dir, "maps", sf_gateway_map_names[i]);
	for (int i = 0; i < SF_GATEWAY_PROGRAM_COUNT; i++)
		sf_pin_remove(pin_dir, "programs", sf_gateway_program_names[i]);
}
