/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fence as a whole: bring the kernel to what a policy says, in an order in which no
 * connection is undecided and the mail server never loses its right, and read it back.
 *
 * The caller holds the lock of state_dir (change.h does).
 */
#ifndef SF_USER_FENCE_H
#define SF_USER_FENCE_H

#include "image.h"
#include "loader.h"
#include "policy.h"

struct sf_fence_options {
	int replace_programs; /* load and exchange the programs, though they are there (`on`) */
	int dry_run;	      /* only tell the difference */
	int keep_unresolved;  /* a host name that does not resolve is left out, not an error (boot)
			       */
	int at_boot;	      /* fence even where it can't be recorded (full disk), and say so */
	int refresh_hosts;    /* look up all names anew, not only unknown ones */
};

struct sf_fence_result {
	struct sf_table_change table[SF_IMAGE_COUNT];
	struct sf_table_change roles;
	int settings_changed; /* errno, allow_local */
	int mode_before;      /* enum sf_mode; SF_MODE_OFF where nothing was attached */
	int mode_after;
	int loaded;		       /* programs were loaded and exchanged or attached */
	int can_set_errno;	       /* known only if `loaded` */
	char no_census[SF_ERROR_LEN];  /* why connections are not counted on the uplinks, or "" */
	char no_gateway[SF_ERROR_LEN]; /* which customers are not fenced, and why, or "" */
	char unresolved[512];	       /* names that were left out, divided by spaces */
	char stale[512]; /* names that do not resolve now and keep the addresses they had */
};

/* Apply. On an error the kernel is as it was, and the text says what was wrong. */
int sf_fence_apply(const struct sf_policy *policy, const struct sf_fence_options *options,
		   struct sf_fence_result *result, struct sf_error *err);

/* Detach and unpin all that is ours below the policy's pin_dir. Nothing there: 0. */
int sf_fence_remove(const struct sf_policy *policy, struct sf_fence_result *result,
		    struct sf_error *err);

/* Only the addresses of the host, and limits that depend on them: what the daemon follows. */
int sf_fence_refresh_local_addrs(const struct sf_policy *policy);

/* Only the uplinks: interfaces that came or went. Nothing happens where the fence is off. */
int sf_fence_refresh_uplinks(const struct sf_policy *policy, struct sf_error *err);

/* What the policy's tables would be now, with the host names that are known. */
int sf_fence_image(const struct sf_policy *policy, struct sf_image *image, struct sf_error *err);

#endif
