/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Loading our programs with their maps: pinned maps that fit are taken over, others made anew.
 * Nothing is attached or pinned here.
 */
#ifndef SF_USER_LOADER_H
#define SF_USER_LOADER_H

#include "pins.h"

struct sf_loaded {
	int map[SF_MAP_COUNT]; /* descriptors, or -1 */
	int program[SF_HOOK_COUNT];
	int can_set_errno;	 /* bpf_set_retval is there: the chosen errno is given */
	int typed_pointers;	 /* the programs read the kernel's structures the fast way */
	int can_capture;	 /* exe, cwd, cgroup and command line are taken in the kernel */
	int can_mark;		 /* allowed sockets are marked for the packet backstop */
	int fresh[SF_MAP_COUNT]; /* made anew: nothing is in it yet */
};

void sf_loaded_init(struct sf_loaded *loaded);
void sf_loaded_close(struct sf_loaded *loaded);

/* Open the pinned maps only. -ENOENT: there are none (or not all). -EPROTO: other ABI version. */
int sf_loader_open_maps(const char *pin_dir, struct sf_loaded *loaded, struct sf_error *err);

/* Load the programs; `max_roles` is the room for roles. */
int sf_loader_load(const char *pin_dir, unsigned int max_roles, struct sf_loaded *loaded,
		   struct sf_error *err);

#endif
