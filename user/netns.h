/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The network namespaces of this host. They have no list of their own: they are found by the tasks
 * that are in them (/proc), so one that holds a socket but no task is not seen.
 */
#ifndef SF_USER_NETNS_H
#define SF_USER_NETNS_H

#include <stddef.h>
#include <stdint.h>

#define SF_NETNS_MAX 4096 /* that are visited in one walk */

struct sf_netns_walk {
	size_t visited;
	int incomplete; /* there were more, or one could not be entered */
};

/*
 * Call `visit` once in each of them, with the namespace's inode. It runs in a thread of its own,
 * one namespace after the other, while the caller waits and stays where it is. A visit that
 * returns a negative errno ends the walk, which then returns it.
 */
int sf_netns_each(int (*visit)(uint64_t inode, void *context), void *context,
		  struct sf_netns_walk *out);

#endif
