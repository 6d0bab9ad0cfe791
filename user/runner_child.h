/* SPDX-License-Identifier: GPL-2.0-only */
/* What a hook's process does between fork and exec. Nothing here returns to the daemon. */
#ifndef SF_USER_RUNNER_CHILD_H
#define SF_USER_RUNNER_CHILD_H

#include "runner.h"

/*
 * Check the program and the user, lay down all privileges, and become the program; its output goes
 * to `output`. What hinders is written to `fault` as text, and the process ends.
 */
void sf_runner_child(const struct sf_order *order, int output, int fault) __attribute__((noreturn));

#endif
