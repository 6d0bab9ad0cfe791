/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One XDP program at one interface, by a link that is pinned below PIN_DIR/links/gw-IFINDEX.
 * Another's program there is never replaced: the kernel says that the place is taken.
 */
#ifndef SF_USER_XDP_H
#define SF_USER_XDP_H

#include "error.h"

/* Attach, or exchange ours without a gap. -EBUSY: another's stands there; else what XDP lacks. */
int sf_xdp_attach(const char *pin_dir, int ifindex, int program_fd, int generic,
		  struct sf_error *err);
void sf_xdp_detach(const char *pin_dir, int ifindex);

#endif
