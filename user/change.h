/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A change of the policy from its begin to its end, under the lock: read the files, let the caller
 * alter the managed part, check it as a file, apply it, and only then keep it.
 */
#ifndef SF_USER_CHANGE_H
#define SF_USER_CHANGE_H

#include "fence.h"

struct sf_change {
	const char *config_file; /* as given on the command line, or NULL; not owned */
	int lock;
	int lenient;
	struct sf_policy policy; /* the files; alter entries with `managed`, keys by managed_keys */
	int from_record;	 /* the files are wrong: this is what was applied last */
	struct sf_error file_error; /* and this is what is wrong with them */
};

#define SF_CHANGE_OR_RECORD 1 /* with wrong files go on with what was applied last */
#define SF_CHANGE_LENIENT   2 /* users that are gone are no mistake; see config.h */

/* Take the lock and read. Release with sf_change_end, also after a failed commit. */
int sf_change_begin(const char *config_file, int flags, struct sf_change *change,
		    struct sf_error *err);
int sf_change_commit(struct sf_change *change, const struct sf_fence_options *options,
		     struct sf_fence_result *result, struct sf_error *err);
void sf_change_end(struct sf_change *change);

/* Set a key in the managed part. */
int sf_change_set(struct sf_change *change, const char *key, const char *value,
		  struct sf_error *err);

/* The policy that was applied last, from its record. -ENOENT: none. */
int sf_applied_load(const char *state_dir, struct sf_policy *policy, struct sf_error *err);

/* Do the files say something else than what was applied last? 1, 0, or a negative errno. */
int sf_applied_differs(const struct sf_policy *files);

#endif
