/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A policy written back as a configuration file: the managed part, which the commands keep, or the
 * whole, which is kept as what was last applied.
 */
#ifndef SF_USER_POLICY_TEXT_H
#define SF_USER_POLICY_TEXT_H

#include "policy.h"

/* What the commands keep; entries that are over at `now` are left out. free() it. */
char *sf_managed_text(const struct sf_policy *policy, int64_t now);

/* Every key and every entry. free() it. */
char *sf_policy_text(const struct sf_policy *policy);

/*
 * Check `text` by the one validator, as if it stood in the managed file. On success `policy` is
 * what it would give, and the caller frees it; nothing is written. `lenient` as in config.h.
 */
int sf_managed_check(const char *config_file, const char *text, int lenient,
		     struct sf_policy *policy, struct sf_error *err);

#endif
