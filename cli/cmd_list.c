// SPDX-License-Identifier: GPL-2.0-only
/* list: every entry of the policy, from the files and from the commands. */
#include "cli.h"
#include "../user/config.h"
#include "../user/escape.h"
#include "../user/times.h"
#include <stdio.h>
#include <string.h>

int cmd_list(const struct sf_cli *cli, int argc, char **argv)
{
	struct json_object *list = NULL;
	struct libscols_table *table = NULL;
	struct sf_error err = {.code = 0};
	struct sf_policy policy;

	if (argc > 1)
		return cli_usage(cli, "list: \"%.40s\" is too much", argv[1]);
	if (sf_config_read(cli->config_file, NULL, 1, &policy, &err))
		return cli_failed(cli, &err);
	if (cli->json)
		list = json_object_new_array();
	else
		table = cli_table("KIND|VALUE|USERS|PORTS|LIMIT|UNTIL|FROM|COMMENT");
	for (size_t i = 0; i < policy.entry_count; i++) {
		const struct sf_entry *e = &policy.entries[i];
		char value[SF_NAME_MAX * 4], comment[SF_COMMENT_MAX * 4];
		char users[256] = "", ports[64] = "", until[64] = "", limit[32] = "";
		const char *from = e->managed ? "command" : "file";
		int limited = e->kind >= SF_ENTRY_LIMIT_USER;

		sf_escape_string(e->value, value, sizeof(value));
		sf_escape_string(e->comment, comment, sizeof(comment));
		if (e->user_names)
			sf_escape_string(e->user_names, users, sizeof(users));
		for (uint32_t u = 0; !e->user_names && u < e->user_count; u++)
			snprintf(users + strlen(users), sizeof(users) - strlen(users), "%s%u",
				 u ? "," : "", e->users[u]);
		for (uint32_t p = 0; p < e->port_count; p++)
			snprintf(ports + strlen(ports), sizeof(ports) - strlen(ports), "%s%u",
				 p ? "," : "", e->ports[p]);
		if (e->expires)
			sf_time_format(e->expires, until, sizeof(until));
		if (limited)
			snprintf(limit, sizeof(limit), "%u,%u", e->warn, e->act);
		if (table) {
			cli_table_row(table, 8, sf_entry_words[e->kind], value,
				      users[0] ? users : "-", ports[0] ? ports : "-",
				      limit[0] ? limit : "-", until[0] ? until : "-", from,
				      comment);
			continue;
		}
		struct json_object *one = json_object_new_object();

		json_object_object_add(one, "kind",
				       json_object_new_string(sf_entry_words[e->kind]));
		json_object_object_add(one, "value", json_object_new_string(value));
		json_object_object_add(one, "users", json_object_new_string(users));
		json_object_object_add(one, "ports", json_object_new_string(ports));
		json_object_object_add(one, "warn",
				       limited ? json_object_new_int64(e->warn) : NULL);
		json_object_object_add(one, "act", limited ? json_object_new_int64(e->act) : NULL);
		json_object_object_add(one, "until", json_object_new_string(until));
		json_object_object_add(one, "from", json_object_new_string(from));
		json_object_object_add(one, "comment", json_object_new_string(comment));
		json_object_array_add(list, one);
	}
	if (table)
		cli_table_print(table);
	else
		cli_print_json(list);
	sf_policy_free(&policy);
	return SF_EXIT_OK;
}
