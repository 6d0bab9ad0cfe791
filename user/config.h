/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reading the configuration: the administrator's file, then the managed one over it (libconfuse).
 * This is the one validator: what a command wants is written as a managed file and read by it.
 */
#ifndef SF_USER_CONFIG_H
#define SF_USER_CONFIG_H

#include "policy.h"

#define SF_CONFIG_DEFAULT "/etc/smtpfence/smtpfence.conf"

/*
 * Read both files into `policy`, which the caller then frees. `file` NULL: the default file, and
 * the built-in values where that does not exist. Errors name file, line, key and the mend;
 * `policy` is then released.
 */
int sf_config_load(const char *file, struct sf_policy *policy, struct sf_error *err);

/*
 * All of it: `managed` (a file's path) in place of the managed file that the keys name, if not
 * NULL; `lenient`: a user or group that the host does not have any more is no mistake, its entry
 * is marked `unresolved` and is not in effect. For whatever must work on a host whose users
 * changed since: status, off, remove, boot, the daemon.
 */
int sf_config_read(const char *file, const char *managed, int lenient, struct sf_policy *policy,
		   struct sf_error *err);

/* The same with `managed` (a file's path) in place of the managed file that the keys name. */
int sf_config_load_with(const char *file, const char *managed, struct sf_policy *policy,
			struct sf_error *err);

#endif
