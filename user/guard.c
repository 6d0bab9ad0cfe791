// SPDX-License-Identifier: GPL-2.0-only
#include "guard.h"
#include "pins.h"
#include "table.h"
#include "../maps/guard.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

static void close_maps(int map[SF_GUARD_MAP_COUNT])
{
	for (int i = 0; i < SF_GUARD_MAP_COUNT; i++)
		if (map[i] >= 0)
			close(map[i]);
}

static int open_maps(const char *pin_dir, int map[SF_GUARD_MAP_COUNT])
{
	int ret = 0;

	for (int i = 0; i < SF_GUARD_MAP_COUNT; i++) {
		map[i] = sf_pin_open(pin_dir, "maps", sf_guard_map_names[i]);
		if (map[i] < 0)
			ret = map[i];
	}
	return ret;
}

int sf_guard_is_pinned(const char *pin_dir)
{
	int map[SF_GUARD_MAP_COUNT], ret = open_maps(pin_dir, map);

	close_maps(map);
	return !ret;
}

static int is_of_form(int fd, const struct bpf_map *map)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) &&
	       info.type == bpf_map__type(map) && info.key_size == bpf_map__key_size(map) &&
	       info.value_size == bpf_map__value_size(map) &&
	       info.max_entries == bpf_map__max_entries(map);
}

int sf_guard_share(const char *pin_dir, struct bpf_object *object)
{
	int map[SF_GUARD_MAP_COUNT], ret = 0;

	open_maps(pin_dir, map);
	for (int i = 0; i < SF_GUARD_MAP_COUNT && !ret; i++) {
		struct bpf_map *own = bpf_object__find_map_by_name(object, sf_guard_map_names[i]);

		if (is_of_form(map[i], own))
			ret = bpf_map__reuse_fd(own, map[i]);
	}
	close_maps(map);
	return ret;
}

static void want_settings(const struct sf_policy *policy, struct sf_guard *guard)
{
	memset(guard, 0, sizeof(*guard));
	guard->abi = SF_ABI_VERSION;
	if (policy->guard_hosts.count)
		guard->flags |= SF_GUARD_ON;
	if (policy->guard_limit)
		guard->interval_ns = SF_GUARD_WINDOW_NS / (__u64)policy->guard_limit;
	for (uint32_t i = 0; i < policy->guard_ports.count; i++) {
		uint16_t port = policy->guard_ports.port[i];

		guard->port[port / 64] |= 1ULL << (port % 64);
	}
}

/* The networks as a sorted table; released by the caller in any case. */
static int want_nets(const struct sf_net_list *list, struct sf_table *table)
{
	const uint32_t one = 1;
	int ret = 0;

	sf_table_init(table, sizeof(struct sf_net_key), sizeof(uint32_t));
	for (uint32_t i = 0; i < list->count && !ret; i++)
		ret = sf_table_add(table, &list->net[i], &one);
	return ret ? ret : sf_table_sort(table);
}

/* Additions before the settings that switch the guard on, removals after. */
static int write_maps(const struct sf_policy *policy, const int map[SF_GUARD_MAP_COUNT])
{
	struct sf_table hosts, filters;
	struct sf_guard settings;
	uint32_t zero = 0;
	int ret = want_nets(&policy->guard_hosts, &hosts);
	int more = want_nets(&policy->guard_filters, &filters);

	ret = ret ? ret : more;
	want_settings(policy, &settings);
	if (!ret)
		ret = sf_table_bring(map[SF_GUARD_MAP_FILTERS], &filters, 0);
	if (!ret)
		ret = sf_table_bring(map[SF_GUARD_MAP_HOSTS], &hosts, 0);
	if (!ret && bpf_map_update_elem(map[SF_GUARD_MAP_SETTINGS], &zero, &settings, BPF_ANY))
		ret = -errno;
	if (!ret)
		ret = sf_table_bring(map[SF_GUARD_MAP_HOSTS], &hosts, 1);
	if (!ret)
		ret = sf_table_bring(map[SF_GUARD_MAP_FILTERS], &filters, 1);
	sf_table_free(&hosts);
	sf_table_free(&filters);
	return ret;
}

static int failed(int ret, struct sf_error *err)
{
	return ret ? sf_fail(err, ret, "can't write the guard's tables: %s", strerror(-ret)) : 0;
}

int sf_guard_begin(const struct sf_policy *policy, const struct bpf_object *object,
		   struct sf_error *err)
{
	int map[SF_GUARD_MAP_COUNT], ret;

	for (int i = 0; i < SF_GUARD_MAP_COUNT; i++)
		map[i] = bpf_map__fd(bpf_object__find_map_by_name(object, sf_guard_map_names[i]));
	ret = failed(write_maps(policy, map), err);
	for (int i = 0; i < SF_GUARD_MAP_COUNT && !ret; i++)
		ret = sf_pin_replace(policy->pin_dir, "maps", sf_guard_map_names[i], map[i], err);
	return ret;
}

int sf_guard_apply(const struct sf_policy *policy, struct sf_error *err)
{
	int map[SF_GUARD_MAP_COUNT], ret = open_maps(policy->pin_dir, map);

	if (!ret)
		ret = write_maps(policy, map);
	close_maps(map);
	return failed(ret, err);
}

static int settings_differ(const struct sf_policy *policy, int map_fd)
{
	struct sf_guard want, have;
	uint32_t zero = 0;

	want_settings(policy, &want);
	return bpf_map_lookup_elem(map_fd, &zero, &have) || memcmp(&have, &want, sizeof(have));
}

int sf_guard_differs(const struct sf_policy *policy)
{
	int map[SF_GUARD_MAP_COUNT], differs;
	struct sf_table hosts, filters;

	if (!policy->guard_hosts.count)
		return 0;
	differs = open_maps(policy->pin_dir, map) != 0;
	differs |= want_nets(&policy->guard_hosts, &hosts) != 0;
	differs |= want_nets(&policy->guard_filters, &filters) != 0;
	differs = differs || settings_differ(policy, map[SF_GUARD_MAP_SETTINGS]) ||
		  sf_table_differs(map[SF_GUARD_MAP_HOSTS], &hosts) ||
		  sf_table_differs(map[SF_GUARD_MAP_FILTERS], &filters);
	sf_table_free(&hosts);
	sf_table_free(&filters);
	close_maps(map);
	return differs;
}
