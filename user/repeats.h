/* SPDX-License-Identifier: GPL-2.0-only */
/* Who was put in quarantine, and when: a small file, so that it outlives daemon and host. */
#ifndef SF_USER_REPEATS_H
#define SF_USER_REPEATS_H

#include "penalty.h"

struct sf_repeat {
	char who[80];			/* "user 1001", "net 192.0.2.1" */
	int64_t times[SF_PENALTY_KEEP]; /* seconds since 1970, ascending */
	size_t count;
};

struct sf_repeats {
	struct sf_repeat *list; /* room for SF_PENALTY_ROOM */
	size_t count;
};

/* A file that is missing is an empty one; lines that are not understood are left out. */
int sf_repeats_load(const char *state_dir, struct sf_repeats *repeats);
void sf_repeats_free(struct sf_repeats *repeats);
int sf_repeats_save(const char *state_dir, const struct sf_repeats *repeats, struct sf_error *err);
/* The one of this name, made where it is missing; the oldest gives way to it. */
struct sf_repeat *sf_repeats_of(struct sf_repeats *repeats, const char *who);
void sf_repeat_add(struct sf_repeat *repeat, int64_t now);

#endif
