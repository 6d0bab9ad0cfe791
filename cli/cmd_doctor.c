// SPDX-License-Identifier: GPL-2.0-only
/* doctor: the library's checks as a table. */
#include "cli.h"
#include "../user/cgroup.h"
#include "../user/config.h"
#include "../user/doctor.h"
#include "../user/files.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int cmd_doctor(const struct sf_cli *cli, int argc, char **argv)
{
	struct sf_doctor_report *report = calloc(1, sizeof(*report));
	struct json_object *list = NULL, *one;
	struct libscols_table *table = NULL;
	struct sf_error err = {.code = 0};
	struct sf_policy policy;
	struct sf_doctor_input input = {.root = ""};
	const char **paths;
	char mount[PATH_MAX];
	int status;

	if (argc > 1) {
		free(report);
		return cli_usage(cli, "doctor: \"%.40s\" is too much", argv[1]);
	}
	if (geteuid() != 0 || !report) {
		free(report);
		sf_fail(&err, -EPERM, "this needs root");
		return cli_failed(cli, &err);
	}
	/* A wrong file is no reason not to look at the host. */
	if (sf_config_read(cli->config_file, NULL, 1, &policy, &err)) {
		cli_note("%s", err.text);
		sf_policy_init(&policy);
	}
	paths = calloc(policy.entry_count + 1, sizeof(*paths));
	for (size_t i = 0; paths && i < policy.entry_count; i++)
		if (policy.entries[i].kind == SF_ENTRY_MAIL)
			paths[input.mail_path_count++] = policy.entries[i].value;
	input.mail_paths = paths;
	input.pin_dir = policy.pin_dir;
	input.policy = &policy;
	input.config_file = policy.config_file;
	if (!sf_cgroup_mount(mount, sizeof(mount), NULL))
		input.mount = mount;
	sf_doctor_run(&input, report);
	if (cli->json)
		list = json_object_new_array();
	else
		table = cli_table("STATE|SUBJECT|WHAT");
	for (size_t i = 0; i < report->count; i++) {
		const struct sf_doctor_check *check = &report->checks[i];
		const char *state = sf_doctor_state_name(check->state);

		if (table) {
			cli_table_row(table, 3, state, check->subject, check->text);
			continue;
		}
		one = json_object_new_object();
		json_object_object_add(one, "state", json_object_new_string(state));
		json_object_object_add(one, "subject", json_object_new_string(check->subject));
		json_object_object_add(one, "text", json_object_new_string(check->text));
		json_object_array_add(list, one);
	}
	if (table)
		cli_table_print(table);
	else
		cli_print_json(list);
	status = sf_doctor_worst(report) == SF_DOCTOR_FAIL ? SF_EXIT_FAILED : SF_EXIT_OK;
	free(paths);
	free(report);
	sf_policy_free(&policy);
	return status;
}
