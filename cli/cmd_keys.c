// SPDX-License-Identifier: GPL-2.0-only
/* set, get: single keys of the configuration. */
#include "cli.h"
#include "../user/change.h"
#include "../user/config.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

int cmd_set(const struct sf_cli *cli, int argc, char **argv)
{
	struct sf_fence_options apply = {.keep_unresolved = 1};
	struct sf_fence_result result;
	struct sf_change change;
	struct sf_error err = {.code = 0};
	char key[64], *equal;
	int ret;

	equal = argc == 2 ? strchr(argv[1], '=') : NULL;
	if (!equal || (size_t)(equal - argv[1]) >= sizeof(key))
		return cli_usage(cli, "set takes KEY=VALUE; lists are divided by commas");
	snprintf(key, sizeof(key), "%.*s", (int)(equal - argv[1]), argv[1]);
	/* The mode has its own way: detection, proof, confirmation. */
	if (!strcmp(key, "FW_OUTPUT_MTA")) {
		char *name[] = {!strcasecmp(equal + 1, "yes")	    ? "on"
				: !strcasecmp(equal + 1, "monitor") ? "monitor"
								    : "off",
				NULL};

		if (strcasecmp(equal + 1, "yes") && strcasecmp(equal + 1, "no") &&
		    strcasecmp(equal + 1, "monitor"))
			return cli_usage(cli, "FW_OUTPUT_MTA: \"%.40s\": write yes, monitor or no",
					 equal + 1);
		optind = 0;
		return (name[0][1] == 'n'   ? cmd_on
			: name[0][0] == 'm' ? cmd_monitor
					    : cmd_off)(cli, 1, name);
	}
	if (sf_change_begin(cli->config_file, SF_CHANGE_LENIENT, &change, &err))
		return cli_failed(cli, &err);
	ret = sf_change_set(&change, key, equal + 1, &err);
	if (!ret)
		ret = sf_change_commit(&change, &apply, &result, &err);
	sf_change_end(&change);
	if (ret)
		return cli_failed(cli, &err);
	return cli_done(cli, "%s", argv[1]);
}

int cmd_get(const struct sf_cli *cli, int argc, char **argv)
{
	struct sf_error err = {.code = 0};
	struct sf_policy policy;
	char text[4096];
	int i;

	if (argc != 2)
		return cli_usage(cli, "get takes one KEY");
	i = sf_key_find(argv[1]);
	if (i < 0) {
		const char *guess = sf_key_guess(argv[1]);

		return cli_usage(cli, "no key \"%.40s\"%s%s", argv[1],
				 guess ? ": did you mean " : "",
				 guess ? guess : "; see smtpfence.conf(5)");
	}
	if (sf_config_read(cli->config_file, NULL, 1, &policy, &err))
		return cli_failed(cli, &err);
	sf_key_get(&policy, &sf_keys[i], text, sizeof(text));
	sf_policy_free(&policy);
	if (cli->json) {
		struct json_object *json = json_object_new_object();

		json_object_object_add(json, argv[1], cli_json_text(text));
		cli_print_json(json);
	} else {
		puts(text);
	}
	return SF_EXIT_OK;
}
