// SPDX-License-Identifier: GPL-2.0-only
#include "egress_work.h"
#include "cleanup.h"
#include "egress.skel.h"
#include "guard.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* Ethernet and raw IP, each way: the programs' names. */
static const char *const program_names[2][2] = {
	[SF_EGRESS] = {"smtpfence_out", "smtpfence_outip"},
	[SF_INGRESS] = {"smtpfence_in", "smtpfence_inip"},
};

void sf_census_maps_init(struct sf_census_maps *maps)
{
	for (int i = 0; i < SF_CENSUS_MAP_COUNT; i++)
		maps->map[i] = -1;
	maps->customers = -1;
}

void sf_census_maps_close(struct sf_census_maps *maps)
{
	for (int i = 0; i < SF_CENSUS_MAP_COUNT; i++)
		if (maps->map[i] >= 0)
			close(maps->map[i]);
	if (maps->customers >= 0)
		close(maps->customers);
	sf_census_maps_init(maps);
}

int sf_census_maps_open(const char *pin_dir, struct sf_census_maps *maps)
{
	int ret = 0;

	for (int i = 0; i < SF_CENSUS_MAP_COUNT; i++) {
		int fd = sf_pin_open(pin_dir, "maps", sf_census_map_names[i]);

		/* A shortage must not read as "not there": new tables would begin from zero. */
		if (fd < 0 && (!ret || ret == -ENOENT))
			ret = fd;
		maps->map[i] = fd < 0 ? -1 : fd;
	}
	maps->customers = sf_pin_open(pin_dir, "maps", CUSTOMERS);
	return ret;
}

/*
 * Two fifths more places than are promised: with two sets of eight to choose from, one in a million
 * gives way before (simulated; with a quarter more it is one in 3,000).
 */
__u32 sf_census_sets(int entries)
{
	return ((__u32)entries + (__u32)entries / 5 * 2 + SF_CENSUS_WAYS - 1) / SF_CENSUS_WAYS;
}

static void clocks(struct sf_census_settings *settings)
{
	struct timespec boot, mono, wall;

	clock_gettime(CLOCK_MONOTONIC, &mono);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_REALTIME, &wall);
	settings->boot_offset_ns = (boot.tv_sec - mono.tv_sec) * 1000000000LL +
				   (boot.tv_nsec - mono.tv_nsec) / 1000000 * 1000000;
	if (settings->boot_offset_ns < 1000000) /* two readings; never suspended */
		settings->boot_offset_ns = 0;
	settings->wall_offset_s = wall.tv_sec - boot.tv_sec;
}

/* The seed stays as long as the tables; the generation rises, so that limits are looked up anew. */
int sf_census_write_settings(int fd, const struct sf_census_settings *wanted)
{
	struct sf_census_settings old = {.seed = 0}, now = *wanted;
	__u32 zero = 0;

	if (bpf_map_lookup_elem(fd, &zero, &old))
		return -errno;
	now.seed = old.seed;
	if (!old.abi && getrandom(&now.seed, sizeof(now.seed), 0) != sizeof(now.seed))
		return -EIO;
	now.limits = old.limits + 1 ? old.limits + 1 : 1;
	clocks(&now);
	return bpf_map_update_elem(fd, &zero, &now, BPF_ANY) ? -errno : 0;
}

int sf_egress_limits_changed(const char *pin_dir)
{
	_cleanup_close_ int fd = sf_pin_open(pin_dir, "maps", "census_settings");
	struct sf_census_settings settings;
	__u32 zero = 0;

	if (fd < 0)
		return fd;
	if (bpf_map_lookup_elem(fd, &zero, &settings))
		return -errno;
	settings.limits = settings.limits + 1 ? settings.limits + 1 : 1;
	clocks(&settings);
	return bpf_map_update_elem(fd, &zero, &settings, BPF_ANY) ? -errno : 0;
}

static int attach_all(const struct sf_policy *policy, const struct sf_uplinks *uplinks,
		      const struct egress_bpf *skel, struct sf_error *err)
{
	int ret = 0;

	for (size_t i = 0; i < uplinks->count; i++) {
		const struct sf_uplink *link = &uplinks->link[i];
		const struct bpf_program *out =
			link->raw_ip ? skel->progs.smtpfence_outip : skel->progs.smtpfence_out;
		const struct bpf_program *in =
			link->raw_ip ? skel->progs.smtpfence_inip : skel->progs.smtpfence_in;
		int one;

		if (link->unsupported)
			continue;
		one = sf_tc_attach(policy->pin_dir, link->ifindex, SF_EGRESS, bpf_program__fd(out),
				   err);
		if (!one)
			one = sf_tc_attach(policy->pin_dir, link->ifindex, SF_INGRESS,
					   bpf_program__fd(in), err);
		/* One that went meanwhile is no fault; and one that fails keeps none of the others.
		 */
		if (one && one != -ENODEV && !ret)
			ret = one;
	}
	return ret;
}

int sf_census_pin_maps(const char *pin_dir, const struct bpf_object *object, struct sf_error *err)
{
	int ret = 0;

	for (int i = 0; i < SF_CENSUS_MAP_COUNT && !ret; i++)
		ret = sf_pin_replace(
			pin_dir, "maps", sf_census_map_names[i],
			bpf_map__fd(bpf_object__find_map_by_name(object, sf_census_map_names[i])),
			err);
	if (!ret && bpf_object__find_map_by_name(object, CUSTOMERS))
		ret = sf_pin_replace(pin_dir, "maps", CUSTOMERS,
				     bpf_map__fd(bpf_object__find_map_by_name(object, CUSTOMERS)),
				     err);
	return ret;
}

struct sweep {
	const char *pin_dir;
	const struct sf_uplinks *keep; /* NULL: none */
};

static void sweep_one(void *context, int ifindex)
{
	const struct sweep *s = context;

	for (size_t i = 0; s->keep && i < s->keep->count; i++)
		if (s->keep->link[i].ifindex == ifindex)
			return;
	sf_tc_detach(s->pin_dir, ifindex, SF_EGRESS);
	sf_tc_detach(s->pin_dir, ifindex, SF_INGRESS);
}

/* Off all interfaces but those: by our pins, and where filters keep none, by looking at each. */
static void sweep(const char *pin_dir, const struct sf_uplinks *keep)
{
	struct sweep s = {.pin_dir = pin_dir, .keep = keep};
	struct if_nameindex *all;

	sf_tc_each_pin(pin_dir, sweep_one, &s);
	if (!sf_tc_uses_filters())
		return;
	all = if_nameindex();
	for (struct if_nameindex *i = all; i && i->if_index; i++)
		if (sf_tc_has_filter((int)i->if_index, SF_EGRESS) ||
		    sf_tc_has_filter((int)i->if_index, SF_INGRESS))
			sweep_one(&s, (int)i->if_index);
	if_freenameindex(all);
}

void sf_egress_remove(const char *pin_dir)
{
	sweep(pin_dir, NULL);
}

static __u32 pinned_map_id(const char *pin_dir, const char *name)
{
	_cleanup_close_ int fd = sf_pin_open(pin_dir, "maps", name);
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) ? info.id : 0;
}

/* A table that all our programs look into, and that is in reach; 0: none. */
static __u32 known_by(const char *pin_dir)
{
	static const char *const names[] = {"source_counts", "attempts", "census_settings",
					    "ports"};
	__u32 id = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !id; i++)
		id = pinned_map_id(pin_dir, names[i]);
	return id;
}

/* What stands there is ours if it uses our tables; without these, if our link holds it. */
static void read_one(const struct sf_policy *policy, const struct sf_uplink *link,
		     enum sf_direction direction, __u32 map_id, struct sf_tc_state *state)
{
	if (map_id) {
		sf_tc_read_with(link->ifindex, direction, program_names[direction][link->raw_ip],
				map_id, state);
		return;
	}
	memset(state, 0, sizeof(*state));
	state->program_id = sf_tc_pinned_program(policy->pin_dir, link->ifindex, direction);
	state->in_effect = state->tcx = state->program_id != 0;
}

int sf_egress_read(const struct sf_policy *policy, struct sf_egress_status *status)
{
	__u32 map_id = known_by(policy->pin_dir);
	int ret = sf_uplinks_find(&policy->uplinks, &status->uplinks), attached = 0;

	status->lost_map = NULL;
	if (ret)
		return ret;
	status->whole = 1;
	for (size_t i = 0; i < status->uplinks.count; i++) {
		const struct sf_uplink *link = &status->uplinks.link[i];

		read_one(policy, link, SF_EGRESS, map_id, &status->out[i]);
		read_one(policy, link, SF_INGRESS, map_id, &status->in[i]);
		attached |= status->out[i].in_effect | status->in[i].in_effect;
		if (!link->unsupported && (!status->out[i].in_effect || !status->in[i].in_effect))
			status->whole = 0;
	}
	for (int i = 0; attached && i < SF_CENSUS_MAP_COUNT; i++)
		if (!pinned_map_id(policy->pin_dir, sf_census_map_names[i]))
			status->lost_map = sf_census_map_names[i];
	if (status->lost_map)
		status->whole = 0;
	return 0;
}

/* Maps whose pins were taken away live on in the programs that use them. */
static void recover_maps(const struct sf_egress_status *now, struct sf_census_maps *maps)
{
	for (int m = 0; m < SF_CENSUS_MAP_COUNT; m++) {
		for (size_t i = 0; i < now->uplinks.count && maps->map[m] < 0; i++) {
			maps->map[m] =
				sf_tc_program_map(now->out[i].program_id, sf_census_map_names[m]);
			if (maps->map[m] < 0)
				maps->map[m] = sf_tc_program_map(now->in[i].program_id,
								 sf_census_map_names[m]);
		}
	}
}

void sf_census_maps_recover(const struct sf_policy *policy, struct sf_census_maps *maps)
{
	struct sf_egress_status now;

	if (!sf_egress_read(policy, &now))
		recover_maps(&now, maps);
}

int sf_egress_apply(const struct sf_policy *policy, const struct sf_loaded *fence,
		    const struct sf_census_settings *settings, int replace,
		    struct sf_egress_loading *loading, struct sf_error *err)
{
	struct sf_census_maps old;
	struct sf_egress_status now;
	struct egress_bpf *skel = NULL;
	int ret = sf_egress_read(policy, &now), raw_ip = 0, open;

	if (ret)
		return sf_fail(err, ret, "can't list the interfaces: %s", strerror(-ret));
	sweep(policy->pin_dir, &now.uplinks);
	if (!policy->uplinks.count)
		return 0;
	for (size_t i = 0; i < now.uplinks.count; i++)
		raw_ip |= now.uplinks.link[i].raw_ip;
	sf_census_maps_init(&old);
	open = sf_census_maps_open(policy->pin_dir, &old);
	/* Nothing new to attach, tables as they should be: only what the policy says changes. */
	if (!replace && !open && now.whole && sf_guard_is_pinned(policy->pin_dir) &&
	    egress_map_fits(old.map[SF_CENSUS_MAP_SOURCE_HEADS],
			    sf_census_sets(policy->max_sources), sizeof(struct sf_census_set)) &&
	    egress_map_fits(old.map[SF_CENSUS_MAP_SENDER_HEADS],
			    sf_census_sets(policy->max_senders), sizeof(struct sf_census_set))) {
		ret = sf_census_write_settings(old.map[SF_CENSUS_MAP_SETTINGS], settings);
		sf_census_maps_close(&old);
		return ret ? sf_fail(err, ret, "can't write the census' settings: %s",
				     strerror(-ret))
			   : sf_guard_apply(policy, err);
	}
	if (open == -ENOENT && now.lost_map)
		recover_maps(&now, &old);
	else if (open && open != -ENOENT)
		ret = sf_fail(err, open, "can't open the census' tables: %s; they stay as they are",
			      strerror(-open));
	if (!ret)
		ret = egress_load_take(loading, raw_ip, &skel)
			      ? egress_load(policy, fence, &old, raw_ip, &skel, err)
			      : 0;
	sf_census_maps_close(&old);
	if (ret)
		return ret;
	ret = sf_census_write_settings(bpf_map__fd(skel->maps.census_settings), settings);
	if (ret)
		sf_fail(err, ret, "can't write the census' settings: %s", strerror(-ret));
	if (!ret)
		ret = sf_census_pin_maps(policy->pin_dir, skel->obj, err);
	if (!ret)
		ret = sf_guard_begin(policy, skel->obj, err);
	if (!ret)
		ret = attach_all(policy, &now.uplinks, skel, err);
	egress_bpf__destroy(skel);
	return ret;
}
