/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The inbound guard's tables (maps/guard.h): what the policy says, into the kernel, and is it
 * there? The programs are the uplinks' (egress.h); without hosts to guard they do nothing of it.
 */
#ifndef SF_USER_GUARD_H
#define SF_USER_GUARD_H

#include "error.h"
#include "policy.h"

struct bpf_object;

/* Before programs are loaded: what is pinned and of the same form is taken over. */
int sf_guard_share(const char *pin_dir, struct bpf_object *object);
/* Write, and pin, the tables of programs that were loaded but are not attached yet. */
int sf_guard_begin(const struct sf_policy *policy, const struct bpf_object *object,
		   struct sf_error *err);
/* Write those that are pinned. */
int sf_guard_apply(const struct sf_policy *policy, struct sf_error *err);
int sf_guard_is_pinned(const char *pin_dir);
/* Is the guard wanted, and its tables are not as the policy says? */
int sf_guard_differs(const struct sf_policy *policy);

#endif
