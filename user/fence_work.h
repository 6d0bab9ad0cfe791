/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside the fence: one application's work, shared by the files fence*.c. fence_wanted.c says what
 * the kernel should hold, fence_tables.c reads and writes its tables, fence_steps.c has the order
 * in which it is changed and the way back, fence.c decides what is to be done at all.
 */
#ifndef SF_USER_FENCE_WORK_H
#define SF_USER_FENCE_WORK_H

#include <limits.h>
#include "fence.h"

/* All that one application works with; released as one. */
struct fence_work {
	const struct sf_policy *policy;
	struct sf_loaded loaded;
	struct sf_egress_loading *loading; /* the uplinks' programs, beside; or NULL */
	struct sf_image want, have;
	struct sf_settings old_settings;
	char mount[PATH_MAX];
	int cgroup_fd;
	uint64_t cgroup_id;
	int must_load;
	int attached; /* something was attached before we came */
};

/* fence_wanted.c ------------------------------------------------------------------------------- */

/* The policy's image; host names are looked up and kept as the options say. */
int fence_build_image(const struct sf_policy *policy, const struct sf_fence_options *options,
		      struct sf_image *image, struct sf_fence_result *result, struct sf_error *err);

/* fence_tables.c ------------------------------------------------------------------------------- */

/* Does it all fit? Asked before anything is changed. */
int fence_check_room(struct fence_work *w, struct sf_error *err);
/* What the kernel holds now, into `have` and `old_settings`. */
int fence_read_have(struct fence_work *w, struct sf_error *err);
/* The policy's tables as they are now. */
int fence_read_tables(struct fence_work *w, struct sf_image *image);
int fence_write_settings(struct fence_work *w, const struct sf_settings *settings);
/* Additions and changes; what is too much goes later, by the second. */
int fence_write_tables(struct fence_work *w, const struct sf_image *have,
		       const struct sf_image *want, struct sf_fence_result *result);
int fence_delete_tables(struct fence_work *w, const struct sf_image *have,
			const struct sf_image *want, struct sf_fence_result *result);
/* What was written is read again; a kernel that holds something else is told, not believed. */
int fence_read_back(struct fence_work *w, struct sf_error *err);

/* fence_steps.c -------------------------------------------------------------------------------- */

/* The steps that change the kernel, in their order. */
int fence_carry_out(struct fence_work *w, struct sf_fence_result *result, struct sf_error *err);
/* Put back what was. If that fails too, the text says so: the administrator must know. */
void fence_undo(struct fence_work *w, struct sf_error *err);

#endif
