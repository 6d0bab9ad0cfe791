/* SPDX-License-Identifier: GPL-2.0-only */
/* Attaching loaded programs to their hooks, or exchanging the one that is attached. */
#ifndef SF_USER_ATTACH_H
#define SF_USER_ATTACH_H

#include "pins.h"

/*
 * Attach `program_fd` at the hook and pin the link, which holds the program. Where our link is
 * pinned and lives at that cgroup, the program is exchanged in it (bpf_link_update): no connection
 * is undecided. A tracepoint's new link stands before the old one goes. `made` is set where there
 * was no link.
 */
int sf_attach(const char *pin_dir, enum sf_hook hook, int cgroup_fd, uint64_t cgroup_id,
	      int program_fd, int *made, struct sf_error *err);

/* Detach at once, even if somebody else holds the link's descriptor, and unpin. */
void sf_detach(const char *pin_dir, enum sf_hook hook);

#endif
