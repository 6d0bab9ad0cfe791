/* SPDX-License-Identifier: GPL-2.0-only */
/* A disk that is soon full: a small tmpfs in a mount namespace of the test's own. */
#ifndef SF_TESTS_UNIT_SMALLDISK_H
#define SF_TESTS_UNIT_SMALLDISK_H

#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

/* 0, or -1 where this process may not. It goes with the process, whatever happens. */
static int small_disk(const char *path, unsigned int bytes)
{
	char options[64];

	snprintf(options, sizeof(options), "size=%u,mode=0700", bytes);
	if (geteuid() || unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", path, "tmpfs", 0, options))
		return -1;
	return 0;
}

#endif
