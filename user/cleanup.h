/* SPDX-License-Identifier: GPL-2.0-only */
/* Ownership that one function shows: attributes that release at the end of a scope. */
#ifndef SF_USER_CLEANUP_H
#define SF_USER_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void sf_cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void sf_cleanup_free(void *memory)
{
	void *p;

	/* A pointer of whatever type: read as bytes, for it is no `void *`. */
	memcpy(&p, memory, sizeof(p));
	free(p);
}

static inline void sf_cleanup_fclose(FILE **file)
{
	if (*file)
		fclose(*file);
}

static inline void sf_cleanup_closedir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* A descriptor starts at -1. */
#define _cleanup_close_	   __attribute__((cleanup(sf_cleanup_close)))
#define _cleanup_free_	   __attribute__((cleanup(sf_cleanup_free)))
#define _cleanup_fclose_   __attribute__((cleanup(sf_cleanup_fclose)))
#define _cleanup_closedir_ __attribute__((cleanup(sf_cleanup_closedir)))

#endif
