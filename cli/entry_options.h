/* SPDX-License-Identifier: GPL-2.0-only */
/* --user, --port, --ttl and their kind: what single entries are given on the command line. */
#ifndef SF_CLI_ENTRY_OPTIONS_H
#define SF_CLI_ENTRY_OPTIONS_H

#include "cli.h"

/* Options of entries; which of them a command takes is checked by the caller. */
struct entry_options {
	const char *users, *ports, *ttl, *on, *comment, *warn, *act;
};

/* `allowed`: the letters of those that this command takes. 0, or an exit status that was told. */
int entry_options_parse(const struct sf_cli *cli, int argc, char **argv, const char *allowed,
			struct entry_options *out);
/* Into the entry, checked. */
int entry_options_take(const struct entry_options *options, struct sf_entry *entry,
		       struct sf_error *err);

#endif
