/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The rollback timer: a change that is undone unless it is confirmed. The managed file as it was
 * stands in state_dir/rollback; a process of its own (and the daemon, where it runs) puts it back
 * when its time has come. Whoever takes the file away has confirmed.
 */
#ifndef SF_USER_ROLLBACK_H
#define SF_USER_ROLLBACK_H

#include <stdint.h>
#include "policy.h"

/* Remember the managed file as it is now (call before the change, under the lock). */
int sf_rollback_keep(const struct sf_policy *policy, int64_t seconds, struct sf_error *err);

/* Start the process that waits; it outlives the caller and its terminal. */
int sf_rollback_start(const char *config_file, const struct sf_policy *policy,
		      struct sf_error *err);

/* Confirm: there is nothing to go back to any more. 1: there was; 0: there was not. */
int sf_rollback_confirm(const struct sf_policy *policy);

/* Seconds until it is due (0: now), or -ENOENT. */
int64_t sf_rollback_left(const struct sf_policy *policy);

/* Go back if it is due, or if the host boots (`at_boot`, and no fence stands yet). 1: did; 0:
 * nothing to do. Takes the lock. */
int sf_rollback_run(const char *config_file, int at_boot, struct sf_error *err);

#endif
