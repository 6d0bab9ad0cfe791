/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * systemd's unit files as they lie on the disk: which one counts, what it sets, and which cgroup
 * its processes will be in. Without asking systemd, so that it works before boot is done and in a
 * directory of a test. Only Slice= moves a unit; where systemd has a unit that no file shows
 * (transient ones), its cgroup has to be named by path.
 */
#ifndef SF_USER_UNITS_H
#define SF_USER_UNITS_H

#include <stddef.h>

/* "system-postfix.slice" -> "/system.slice/system-postfix.slice", "-.slice" -> "". */
int sf_unit_slice_path(const char *slice, char *path, size_t size);

/*
 * The file of a unit below `root` ("" or a directory) into `file`; PATH_MAX bytes always do.
 * -ENOENT: there is none, it is masked, or it is an alias, whose cgroup has the other name.
 */
int sf_unit_file(const char *root, const char *unit, char *file, size_t size);

/*
 * The last value of `key` in the unit's file ("": it has none) and its drop-ins; "" if it is not
 * set, or longer than `size`.
 */
void sf_unit_setting(const char *root, const char *unit, const char *file, const char *key,
		     char *value, size_t size);

/* The unit's cgroup from the v2 root: its slice (system.slice if it names none), then its name. */
int sf_unit_cgroup(const char *root, const char *unit, const char *file, char *path, size_t size);

#endif
