// SPDX-License-Identifier: GPL-2.0-only
/* gateway add, remove, list: the interfaces behind which customers are. */
#include "cli.h"
#include "../user/change.h"
#include "../user/config.h"
#include "../user/escape.h"
#include "../user/gateway.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What became of a change, and what somebody has to know of it. */
static void tell(const struct sf_policy *policy, const struct sf_fence_result *result)
{
	if (result->no_census[0])
		cli_note("connections are not counted on the uplinks: %s", result->no_census);
	if (result->no_gateway[0])
		cli_note("not all customers are fenced: %s", result->no_gateway);
	if (policy->mode == SF_MODE_OFF)
		cli_note("kept; the mode is off, so it has no effect yet");
	if (!policy->mail_hosts.count && policy->mode == SF_MODE_ENFORCE)
		cli_note("note: mail_hosts is empty, so nobody behind customers' interfaces may "
			 "send mail but to allowed relays");
}

/* Another's XDP program stays where it is; whoever runs one has to know what that means. */
static void tell_of_others(const struct sf_policy *policy)
{
	struct sf_gateway_status status;

	if (policy->mode == SF_MODE_OFF || sf_gateway_read(policy, &status))
		return;
	for (size_t i = 0; i < status.customers.count; i++) {
		const struct sf_customer_link *link = &status.customers.link[i];
		const struct sf_gateway_place *place = &status.place[i];

		if (link->is_uplink)
			cli_note("note: %s is an uplink too, and is not fenced as a customer's",
				 link->name);
		else if (link->xdp_id && place->how && place->how[0] != 'x')
			cli_note("note: %s runs another XDP program (id %u), which stays; ours "
				 "serves at TC ingress, behind it",
				 link->name, link->xdp_id);
	}
	sf_gateway_status_free(&status);
}

static int commit(const struct sf_cli *cli, struct sf_change *change, const char *done,
		  const char *shown)
{
	struct sf_fence_options apply = {.keep_unresolved = 1};
	struct sf_fence_result result;
	struct sf_error err = {.code = 0};
	int ret = sf_change_commit(change, &apply, &result, &err);

	if (!ret) {
		tell(&change->policy, &result);
		tell_of_others(&change->policy);
	}
	sf_change_end(change);
	return ret ? cli_failed(cli, &err) : cli_done(cli, "%s %s", done, shown);
}

static int add(const struct sf_cli *cli, int argc, char **argv)
{
	static const struct option options[] = {{"net", required_argument, NULL, 'n'},
						{"comment", required_argument, NULL, 'c'},
						{NULL, 0, NULL, 0}};
	struct sf_entry entry = {.kind = SF_ENTRY_CUSTOMER, .managed = 1};
	const char *networks = NULL, *comment = "";
	struct sf_error err = {.code = 0};
	struct sf_change change;
	char shown[SF_NAME_MAX * 2];
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'n')
			networks = optarg;
		else if (option == 'c')
			comment = optarg;
		else
			return cli_usage(cli, "gateway add does not take this option; see "
					      "smtpfence gateway --help");
	}
	if (argc - optind != 1)
		return cli_usage(cli, "gateway add takes one interface or pattern");
	if (strlen(argv[optind]) >= sizeof(entry.value) || strlen(comment) >= sizeof(entry.comment))
		return cli_usage(cli, "gateway add: the name or the comment is too long");
	snprintf(entry.value, sizeof(entry.value), "%s", argv[optind]);
	snprintf(entry.comment, sizeof(entry.comment), "%s", comment);
	if (networks) {
		entry.user_names = strdup(networks);
		if (!entry.user_names)
			return cli_usage(cli, "no memory");
	}
	sf_escape_string(entry.value, shown, sizeof(shown));
	if (sf_entry_resolve(&entry, &err) ||
	    sf_change_begin(cli->config_file, SF_CHANGE_LENIENT, &change, &err)) {
		free(entry.user_names);
		return cli_failed(cli, &err);
	}
	if (sf_policy_put(&change.policy, &entry)) {
		sf_fail(&err, -ENOMEM, "no memory");
		sf_change_end(&change);
		return cli_failed(cli, &err);
	}
	return commit(cli, &change, "customer", shown);
}

static int names_customer(const struct sf_policy *policy, const char *value)
{
	for (uint32_t i = 0; i < policy->customers.count; i++)
		if (!strcmp(policy->customers.name[i], value))
			return 1;
	return 0;
}

static int take_out(const struct sf_cli *cli, int argc, char **argv)
{
	struct sf_error err = {.code = 0};
	struct sf_change change;
	struct sf_entry *entry;
	char shown[SF_NAME_MAX * 2];

	if (argc != 2)
		return cli_usage(cli, "gateway remove takes one interface or pattern");
	sf_escape_string(argv[1], shown, sizeof(shown));
	if (sf_change_begin(cli->config_file, SF_CHANGE_LENIENT, &change, &err))
		return cli_failed(cli, &err);
	entry = sf_policy_find(&change.policy, SF_ENTRY_CUSTOMER, argv[1]);
	if (entry && entry->managed) {
		sf_policy_remove(&change.policy, entry);
		return commit(cli, &change, "removed: customer", shown);
	}
	if (entry)
		sf_fail_usage(&err,
			      "customer \"%s\" stands in %s:%d; take it out there, then `smtpfence "
			      "apply`",
			      shown, change.policy.config_file, entry->line);
	else if (names_customer(&change.policy, argv[1]))
		sf_fail_usage(&err,
			      "\"%s\" stands in the key customers; change that: `smtpfence set "
			      "customers=...`",
			      shown);
	else
		sf_fail_usage(&err, "there is no customer \"%s\"; see smtpfence gateway list",
			      shown);
	sf_change_end(&change);
	return cli_failed(cli, &err);
}

/* Which of the policy's names an interface goes by. */
static void pattern_of(const struct sf_policy *policy, const char *name, char *out, size_t size)
{
	snprintf(out, size, "customers");
	for (size_t i = 0; i < policy->entry_count; i++)
		if (sf_customer_matches(&policy->entries[i], name))
			sf_escape_string(policy->entries[i].value, out, size);
}

static int list(const struct sf_cli *cli, int argc, char **argv)
{
	struct sf_gateway_status status;
	struct sf_error err = {.code = 0};
	struct sf_policy policy;
	struct json_object *json = NULL;
	struct libscols_table *table = NULL;
	int ret;

	if (argc > 1)
		return cli_usage(cli, "gateway list: \"%.40s\" is too much", argv[1]);
	if (sf_config_read(cli->config_file, NULL, 1, &policy, &err))
		return cli_failed(cli, &err);
	ret = sf_gateway_read(&policy, &status);
	if (ret) {
		sf_policy_free(&policy);
		sf_fail(&err, ret, "can't look at the interfaces: %s", strerror(-ret));
		return cli_failed(cli, &err);
	}
	if (cli->json)
		json = json_object_new_array();
	else
		table = cli_table("INTERFACE|KIND|BY|FENCED|PROGRAM|OTHER XDP");
	for (size_t i = 0; i < status.customers.count; i++) {
		const struct sf_customer_link *link = &status.customers.link[i];
		const struct sf_gateway_place *place = &status.place[i];
		int ours = place->how && place->how[0] == 'x';
		uint32_t other = ours ? 0 : link->xdp_id;
		char name[64], by[64], program[16], others[16];
		const char *how = link->is_uplink     ? "no: an uplink"
				  : link->unsupported ? "no: unknown kind of link"
				  : place->how	      ? place->how
						      : "no";

		sf_escape_string(link->name, name, sizeof(name));
		pattern_of(&policy, link->name, by, sizeof(by));
		if (json) {
			struct json_object *one = json_object_new_object();

			json_object_object_add(one, "interface", json_object_new_string(name));
			json_object_object_add(one, "kind", json_object_new_string(link->kind));
			json_object_object_add(one, "by", json_object_new_string(by));
			json_object_object_add(one, "fenced",
					       json_object_new_boolean(place->how != NULL));
			json_object_object_add(
				one, "how", place->how ? json_object_new_string(place->how) : NULL);
			json_object_object_add(one, "program_id",
					       json_object_new_int64(place->program_id));
			json_object_object_add(one, "other_xdp", json_object_new_int64(other));
			json_object_object_add(one, "networks",
					       json_object_new_boolean(link->has_networks));
			json_object_array_add(json, one);
			continue;
		}
		snprintf(program, sizeof(program), "%u", place->program_id);
		snprintf(others, sizeof(others), "%u", other);
		cli_table_row(table, 6, name, link->kind[0] ? link->kind : "device", by, how,
			      place->how ? program : "-", other ? others : "-");
	}
	if (json)
		cli_print_json(json);
	else
		cli_table_print(table);
	sf_gateway_status_free(&status);
	sf_policy_free(&policy);
	return SF_EXIT_OK;
}

int cmd_gateway(const struct sf_cli *cli, int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const struct sf_cli *cli, int argc, char **argv);
	} verbs[] = {{"add", add}, {"remove", take_out}, {"list", list}};

	for (size_t i = 0; argc > 1 && i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(argv[1], verbs[i].name))
			return verbs[i].run(cli, argc - 1, argv + 1);
	return cli_usage(cli, "gateway takes: add INTERFACE|PATTERN, remove INTERFACE|PATTERN, or "
			      "list");
}
