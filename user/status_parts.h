/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the status share: status_hooks.c looks at the fence's own hooks,
 * status_wires.c at uplinks and customers' interfaces, status.c judges all of it.
 */
#ifndef SF_USER_STATUS_PARTS_H
#define SF_USER_STATUS_PARTS_H

#include "loader.h"
#include "status.h"

/* The policy itself can't be had whole on this host: applying it again would mend nothing. */
void status_lack(struct sf_status *status, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Is our program really in effect at this hook, with the maps that are pinned? */
void status_read_hook(const struct sf_policy *policy, enum sf_hook h, int cgroup_fd,
		      uint64_t cgroup_id, const struct sf_loaded *maps, struct sf_status *status);

/* What is missing on them is said, and mended by who follows the interfaces (the daemon). */
void status_read_uplinks(const struct sf_policy *policy, struct sf_status *status);
void status_read_customers(const struct sf_policy *policy, struct sf_status *status);

#endif
