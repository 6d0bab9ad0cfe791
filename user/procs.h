/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What /proc says of a process, bounded, under a root prefix. For detection, which must not
 * believe what a process can choose: comm and the command line are its own, exe is a file's name
 * in its own mount namespace.
 */
#ifndef SF_USER_PROCS_H
#define SF_USER_PROCS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct sf_proc {
	uid_t uid; /* real; (uid_t)-1: not told */
	pid_t parent;
	/* Not in process 1's mount namespace (not ours: we may run in a sandbox with its own). */
	bool contained;
	char cgroup[1024]; /* v2 path as read; "": not told, or longer than this */
};

/* `proc` is a directory like /proc/42; `name` one of its links or files. 0 or a negative errno. */
int sf_proc_link(const char *proc, const char *name, char *link, size_t size);

/* The first size - 1 bytes of a file, with a NUL behind them. Returns how many; 0: none. */
size_t sf_proc_read(const char *proc, const char *name, char *text, size_t size);

/* `root` is where process 1 is looked for. What can't be read is left as "not told". */
void sf_proc_look(const char *root, const char *proc, struct sf_proc *out);

#endif
