/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What this kernel can do, found out by trying and never by its version: distributions carry
 * features back. Needs root; leaves nothing behind.
 */
#ifndef SF_USER_PROBE_H
#define SF_USER_PROBE_H

#include <stddef.h>

#define SF_PROBES_MAX 8

enum sf_probe_need {
	SF_PROBE_MUST, /* no fence without it */
	SF_PROBE_WISH, /* something is weaker without it */
	SF_PROBE_INFO, /* good to know */
};

struct sf_probe {
	const char *subject;
	enum sf_probe_need need;
	int result;	      /* 1: it can; 0: it can't; negative errno: the trial itself failed */
	const char *yes, *no; /* what that means */
};

/* Fills at most `max` and returns how many. */
size_t sf_probe_kernel(struct sf_probe *list, size_t max);

/*
 * Single ones: 1, 0, or a negative errno. The socket's cgroup is hidden where net_cls or net_prio
 * is in use on a kernel that keeps both in one word (before 5.15, told by its types).
 */
int sf_probe_set_retval(void);
int sf_probe_tcx(void);
int sf_probe_compare_and_swap(void);
int sf_probe_socket_cgroup_safe(void);
/* Does a socket always show its cgroup on this kernel (from 5.15, and where that went back to)? */
int sf_probe_socket_cgroup_shown(void);

#endif
