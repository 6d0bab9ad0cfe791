/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The packet programs on the uplinks: loaded with the census' maps, attached, exchanged, taken off,
 * looked at. The fence (fence.h) does not depend on them: where they can't run, it says so and
 * goes on. The caller holds the lock of state_dir.
 */
#ifndef SF_USER_EGRESS_H
#define SF_USER_EGRESS_H

#include "image.h"
#include "loader.h"
#include "policy.h"
#include "tc.h"
#include "uplinks.h"
#include "../maps/census.h"

/* The census' maps, open, or -1; and the gateway's table that uplinks look into, where there is
 * one.
 */
struct sf_census_maps {
	int map[SF_CENSUS_MAP_COUNT];
	int customers;
};

void sf_census_maps_init(struct sf_census_maps *maps);
void sf_census_maps_close(struct sf_census_maps *maps);
/* -ENOENT: there is no census (or not all of it); another error: that can't be said. */
int sf_census_maps_open(const char *pin_dir, struct sf_census_maps *maps);
/* Those whose pins were taken away, by the uplinks' programs, in which they live on. */
void sf_census_maps_recover(const struct sf_policy *policy, struct sf_census_maps *maps);

/*
 * For whoever loads programs on the census' tables (gateway.c too). Sizes: sets of sources, of
 * senders, of attempts; they go into the programs' constants as well.
 */
struct bpf_object;
struct sf_census_sizes {
	__u32 sources, senders, attempts;
};
__u32 sf_census_sets(int entries);
struct sf_census_sizes sf_census_set_sizes(struct bpf_object *object,
					   const struct sf_policy *policy);
/* Before loading: the fence's maps are shared, the census' taken over where they fit. */
int sf_census_share_maps(struct bpf_object *object, const struct sf_loaded *fence,
			 const struct sf_census_maps *old);
int sf_census_write_settings(int fd, const struct sf_census_settings *wanted);
int sf_census_pin_maps(const char *pin_dir, const struct bpf_object *object, struct sf_error *err);

/*
 * The verifier takes longer than all else that `on` does: load the programs in a thread, while the
 * caller goes on. Nothing is attached or pinned by it. Needs the fence's maps only; they and the
 * policy stay as they are until the end. NULL: sf_egress_apply() loads, as it does whenever this
 * failed, so that an error is found and told there.
 */
struct sf_egress_loading;
struct sf_egress_loading *sf_egress_load_begin(const struct sf_policy *policy,
					       const struct sf_loaded *fence);
void sf_egress_load_end(struct sf_egress_loading *loading); /* waits for the thread */

/*
 * Bring the uplinks to what the policy says: programs on those that match, off those that do not.
 * Counts are kept, unless the tables' sizes changed. `replace`: load anew and exchange (`on`).
 * `settings` is of the image; `loading`: what was begun, or NULL. An error leaves the fence as it
 * is; the text says what is missing.
 */
int sf_egress_apply(const struct sf_policy *policy, const struct sf_loaded *fence,
		    const struct sf_census_settings *settings, int replace,
		    struct sf_egress_loading *loading, struct sf_error *err);
void sf_egress_remove(const char *pin_dir);

/* Limits of networks were changed in the tables: entries look theirs up anew. */
int sf_egress_limits_changed(const char *pin_dir);

struct sf_egress_status {
	struct sf_uplinks uplinks;
	struct sf_tc_state out[SF_UPLINKS_MAX], in[SF_UPLINKS_MAX];
	int whole;	      /* all that can be counted is, and can be read */
	const char *lost_map; /* the pin of this one is gone; NULL: none */
};

int sf_egress_read(const struct sf_policy *policy, struct sf_egress_status *status);

#endif
