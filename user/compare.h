/* SPDX-License-Identifier: GPL-2.0-only */
/* Do the kernel's tables hold what the policy says? What they do not becomes a fault of the status.
 */
#ifndef SF_USER_COMPARE_H
#define SF_USER_COMPARE_H

#include "status.h"

/* All of it. */
void sf_compare_tables(const struct sf_policy *policy, const struct sf_loaded *maps,
		       const struct sf_settings *settings, struct sf_status *status);

/*
 * A sample of the policy, others each time, all of a small one: a wiped table shows at once,
 * whatever the size of the policy.
 */
void sf_compare_sample(const struct sf_policy *policy, const char *mount,
		       const struct sf_loaded *maps, struct sf_status *status);

#endif
