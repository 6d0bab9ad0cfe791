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

/* Open the pinned maps that fit and make the others; `max_roles` is the room for roles. */
int sf_loader_make_maps(const char *pin_dir, unsigned int max_roles, struct sf_loaded *loaded,
			struct sf_error *err);
/*
 * Load the programs on these maps, in the best form that they have; those that follow cgroups in a
 * thread. A failure says nothing of the kernel, as others may load beside: when they have ended,
 * sf_loader_load() tries what is left, and tells.
 */
int sf_loader_load_at_once(struct sf_loaded *loaded);
/* Load them one after the other, in the best form that this kernel takes. */
int sf_loader_load(struct sf_loaded *loaded, struct sf_error *err);

/* Before an object of programs is loaded: those of its maps that are the fence's are shared. */
struct bpf_object;
int sf_loader_share_maps(const struct sf_loaded *loaded, struct bpf_object *object);

#endif
