/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside the uplinks' fence: egress_load.c brings the programs into the kernel, egress.c puts them
 * on interfaces and looks what stands there.
 */
#ifndef SF_USER_EGRESS_WORK_H
#define SF_USER_EGRESS_WORK_H

#include "egress.h"

struct egress_bpf;

/* Made by whoever comes first, uplinks or gateway, and shared from then on. */
#define CUSTOMERS sf_gateway_map_names[SF_GATEWAY_MAP_CUSTOMERS]

/* Is this table open, and of that many entries of that size? */
int egress_map_fits(int fd, __u32 entries, __u32 value_size);

int egress_load(const struct sf_policy *policy, const struct sf_loaded *fence,
		const struct sf_census_maps *old, int raw_ip, struct egress_bpf **out,
		struct sf_error *err);

/* Wait for what was begun, and take it. -ENOENT: there is nothing of use, whatever the cause. */
int egress_load_take(struct sf_egress_loading *loading, int raw_ip, struct egress_bpf **out);

#endif
