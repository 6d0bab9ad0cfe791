// SPDX-License-Identifier: GPL-2.0-only
/* Loading the uplinks' programs on their tables; beside the fence's own, in a thread of their own.
 */
#include "egress_work.h"
#include "egress.skel.h"
#include "guard.h"
#include "probe.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

int egress_map_fits(int fd, __u32 entries, __u32 value_size)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) && info.max_entries == entries &&
	       info.value_size == value_size;
}

/* Slots mean the same only where all the tables are as they were. */
static int tables_fit(const struct sf_census_maps *maps, const struct bpf_object *object)
{
	for (int i = 0; i < SF_CENSUS_MAP_COUNT; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, sf_census_map_names[i]);

		if (!map || !egress_map_fits(maps->map[i], bpf_map__max_entries(map),
					     bpf_map__value_size(map)))
			return 0;
	}
	return 1;
}

struct sf_census_sizes sf_census_set_sizes(struct bpf_object *object,
					   const struct sf_policy *policy)
{
	struct sf_census_sizes sizes = {
		.sources = sf_census_sets(policy->max_sources),
		.senders = sf_census_sets(policy->max_senders),
	};
	const struct {
		const char *map;
		__u32 entries;
	} table[] = {
		{"source_heads", sizes.sources},
		{"source_counts", sizes.sources * SF_CENSUS_WAYS},
		{"source_trails", sizes.sources * SF_CENSUS_WAYS},
		{"sender_heads", sizes.senders},
		{"sender_counts", sizes.senders * SF_CENSUS_WAYS},
		{"sender_trails", sizes.senders * SF_CENSUS_WAYS},
		{"attempts", sizes.sources + 1},
	};

	/* Sets of 4: half as many attempts as slots of sources. */
	sizes.attempts = sizes.sources + 1;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		bpf_map__set_max_entries(bpf_object__find_map_by_name(object, table[i].map),
					 table[i].entries);
	return sizes;
}

static void set_sizes(struct egress_bpf *skel, const struct sf_policy *policy)
{
	struct sf_census_sizes sizes = sf_census_set_sizes(skel->obj, policy);

	skel->rodata->source_sets = sizes.sources;
	skel->rodata->sender_sets = sizes.senders;
	skel->rodata->attempt_sets = sizes.attempts;
}

/* The fence's maps are shared, the census' taken over where they fit. */
int sf_census_share_maps(struct bpf_object *object, const struct sf_loaded *fence,
			 const struct sf_census_maps *old)
{
	int ret, fit = tables_fit(old, object);

	/* Asked first: the daemon tries again, and the tables are made before a program is refused.
	 */
	if (!sf_probe_compare_and_swap())
		return -EOPNOTSUPP;
	ret = sf_loader_share_maps(fence, object);
	for (int i = 0; i < SF_CENSUS_MAP_COUNT && !ret && fit; i++)
		ret = bpf_map__reuse_fd(
			bpf_object__find_map_by_name(object, sf_census_map_names[i]), old->map[i]);
	if (!ret && old->customers >= 0 && bpf_object__find_map_by_name(object, CUSTOMERS))
		ret = bpf_map__reuse_fd(bpf_object__find_map_by_name(object, CUSTOMERS),
					old->customers);
	return ret;
}

int egress_load(const struct sf_policy *policy, const struct sf_loaded *fence,
		const struct sf_census_maps *old, int raw_ip, struct egress_bpf **out,
		struct sf_error *err)
{
	int ret = -EINVAL;

	/* Typed pointers where the kernel has them, as in loader.c. */
	for (int typed = 1; typed >= 0 && ret; typed--) {
		struct egress_bpf *skel = egress_bpf__open();

		if (!skel)
			return sf_fail(err, -errno, "can't open the packet programs: %s",
				       strerror(errno));
		skel->rodata->typed_pointers = (__u8)typed;
		bpf_program__set_autoload(skel->progs.smtpfence_outip, raw_ip);
		bpf_program__set_autoload(skel->progs.smtpfence_inip, raw_ip);
		set_sizes(skel, policy);
		ret = sf_census_share_maps(skel->obj, fence, old);
		if (!ret)
			ret = sf_guard_share(policy->pin_dir, skel->obj);
		if (!ret)
			ret = egress_bpf__load(skel);
		if (ret)
			egress_bpf__destroy(skel);
		else
			*out = skel;
	}
	if (ret == -ENOMEM)
		return sf_fail(err, ret,
			       "the kernel has no memory for the census; lower max_sources");
	if (ret)
		return sf_fail(err, ret,
			       "the kernel refused the packet programs: %s; the census needs "
			       "Linux 5.12, the fence does not",
			       strerror(-ret));
	return 0;
}

struct sf_egress_loading {
	pthread_t thread;
	int runs;
	const struct sf_policy *policy;
	const struct sf_loaded *fence;
	struct sf_census_maps old;
	int raw_ip;
	struct egress_bpf *skel; /* NULL: it could not be loaded */
};

static void *load_beside(void *context)
{
	struct sf_egress_loading *l = context;
	struct sf_error untold = {.code = 0};

	if (egress_load(l->policy, l->fence, &l->old, l->raw_ip, &l->skel, &untold))
		l->skel = NULL;
	return NULL;
}

struct sf_egress_loading *sf_egress_load_begin(const struct sf_policy *policy,
					       const struct sf_loaded *fence)
{
	struct sf_egress_loading *l;
	struct sf_uplinks uplinks;
	int open;

	if (!policy->uplinks.count || sf_uplinks_find(&policy->uplinks, &uplinks))
		return NULL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->policy = policy;
	l->fence = fence;
	for (size_t i = 0; i < uplinks.count; i++)
		l->raw_ip |= uplinks.link[i].raw_ip;
	sf_census_maps_init(&l->old);
	open = sf_census_maps_open(policy->pin_dir, &l->old);
	if (open == -ENOENT)
		sf_census_maps_recover(policy, &l->old);
	if ((open && open != -ENOENT) || pthread_create(&l->thread, NULL, load_beside, l)) {
		sf_census_maps_close(&l->old);
		free(l);
		return NULL;
	}
	l->runs = 1;
	return l;
}

static void join(struct sf_egress_loading *l)
{
	if (l->runs)
		pthread_join(l->thread, NULL);
	l->runs = 0;
}

int egress_load_take(struct sf_egress_loading *l, int raw_ip, struct egress_bpf **out)
{
	if (!l)
		return -ENOENT;
	join(l);
	if (!l->skel || l->raw_ip != raw_ip)
		return -ENOENT;
	*out = l->skel;
	l->skel = NULL;
	return 0;
}

void sf_egress_load_end(struct sf_egress_loading *l)
{
	if (!l)
		return;
	join(l);
	egress_bpf__destroy(l->skel);
	sf_census_maps_close(&l->old);
	free(l);
}
