// SPDX-License-Identifier: GPL-2.0-only
#include "entry_options.h"
#include "../user/times.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int entry_options_parse(const struct sf_cli *cli, int argc, char **argv, const char *allowed,
			struct entry_options *out)
{
	static const struct option options[] = {
		{"user", required_argument, NULL, 'u'},	   {"port", required_argument, NULL, 'p'},
		{"ttl", required_argument, NULL, 't'},	   {"on", required_argument, NULL, 'o'},
		{"comment", required_argument, NULL, 'c'}, {"warn", required_argument, NULL, 'w'},
		{"act", required_argument, NULL, 'a'},	   {NULL, 0, NULL, 0},
	};
	int option;

	memset(out, 0, sizeof(*out));
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == '?' || !strchr(allowed, option))
			return cli_usage(cli,
					 "%s does not take this option; see smtpfence %s --help",
					 argv[0], argv[0]);
		if (option == 'u')
			out->users = optarg;
		else if (option == 'p')
			out->ports = optarg;
		else if (option == 't')
			out->ttl = optarg;
		else if (option == 'o')
			out->on = optarg;
		else if (option == 'w')
			out->warn = optarg;
		else if (option == 'a')
			out->act = optarg;
		else
			out->comment = optarg;
	}
	return 0;
}

/* --warn and --act; one that is left out is no limit. */
static int take_limits(const struct entry_options *options, struct sf_entry *entry,
		       struct sf_error *err)
{
	struct sf_error inner = {.code = 0};
	struct sf_pair pair;

	if (!options->warn && !options->act)
		return 0;
	if (sf_pair_parse(options->warn ? options->warn : "0", options->act ? options->act : "0",
			  &pair, &inner))
		return sf_fail_usage(err, "--warn, --act: %s", inner.text);
	entry->warn = pair.warn;
	entry->act = pair.act;
	return 0;
}

int entry_options_take(const struct entry_options *options, struct sf_entry *entry,
		       struct sf_error *err)
{
	struct sf_policy scratch;
	int64_t seconds;

	if (options->ttl) {
		if (sf_duration_parse(options->ttl, &seconds))
			return sf_fail_usage(err,
					     "--ttl \"%.40s\": write a time like 90s, 5m, 2h or 1d",
					     options->ttl);
		entry->expires = (int64_t)time(NULL) + seconds;
	}
	if (options->comment) {
		if (strlen(options->comment) >= sizeof(entry->comment))
			return sf_fail_usage(err, "--comment is longer than %zu bytes",
					     sizeof(entry->comment) - 1);
		snprintf(entry->comment, sizeof(entry->comment), "%s", options->comment);
	}
	if (options->ports) {
		sf_policy_init(&scratch);
		if (sf_key_set(&scratch, &sf_keys[sf_key_find("ports")], options->ports, err))
			return -EINVAL;
		if (scratch.ports.count == 0 || scratch.ports.count > SF_GRANTS_MAX)
			return sf_fail_usage(err,
					     "--port takes 1 to %d ports; leave it out to mean "
					     "every fenced port",
					     SF_GRANTS_MAX);
		memcpy(entry->ports, scratch.ports.port, sizeof(entry->ports));
		entry->port_count = scratch.ports.count;
	}
	if (take_limits(options, entry, err))
		return -EINVAL;
	if (!options->users && !options->on)
		return 0;
	entry->user_names = strdup(options->on ? options->on : options->users);
	return entry->user_names ? 0 : sf_fail(err, -ENOMEM, "no memory");
}
