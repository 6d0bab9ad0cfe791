/* SPDX-License-Identifier: GPL-2.0-only */
/* Files of ours: written whole or not at all, directories made, one command at a time. */
#ifndef SF_USER_FILES_H
#define SF_USER_FILES_H

#include <stddef.h>
#include "error.h"

/* Put `text` under `path`: temporary file, fsync, rename. The old content stays on any failure. */
int sf_file_write(const char *path, const char *text, size_t length, struct sf_error *err);

/* The same in two steps, so that a full disk shows before anything else was changed: `temporary`
 * (PATH_MAX bytes) is the file that sf_file_commit renames; sf_file_drop takes it back. */
int sf_file_prepare(const char *path, const char *text, size_t length, char *temporary,
		    struct sf_error *err);
int sf_file_commit(const char *path, const char *temporary, struct sf_error *err);
void sf_file_drop(const char *temporary);

/* Read a small file (at most `size` - 1 bytes) into `out`, NUL-terminated. */
int sf_file_read(const char *path, char *out, size_t size);

/* Make a directory and those above it, 0755. */
int sf_dir_make(const char *path, struct sf_error *err);

/*
 * Take the lock of `state_dir` for a change; waits up to `seconds`. Returns a descriptor that
 * holds it until it is closed, or a negative errno (-EBUSY: somebody else holds it).
 */
int sf_lock(const char *state_dir, const char *name, int seconds, struct sf_error *err);

#endif
