/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections that were open before `on`, as a part of its answer: listed, or ended and counted. */
#ifndef SF_CLI_OPEN_LIST_H
#define SF_CLI_OPEN_LIST_H

#include "cli.h"

/*
 * Look, with `end` end them, and say so: where `json` is not NULL, in its `open_connections`.
 * Nothing here makes `on` fail: what went wrong is a remark, and a field `error` there.
 */
void cli_open_connections(const struct sf_policy *policy, int end, struct json_object *json);

#endif
