// SPDX-License-Identifier: GPL-2.0-only
/* mail, fence, exempt, allow, quarantine, limit, remove, list, set, get: what changes single
 * entries. */
#include "cli.h"
#include "../user/change.h"
#include "../user/config.h"
#include "../user/escape.h"
#include "../user/hosts.h"
#include "../user/rollback.h"
#include "../user/units.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Options of entries; which of them a command takes is checked by the caller. */
struct entry_options {
	const char *users, *ports, *ttl, *on, *comment, *warn, *act;
};

static int parse_entry_options(const struct sf_cli *cli, int argc, char **argv, const char *allowed,
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

static int take_options(const struct entry_options *options, struct sf_entry *entry,
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

/* A host name that is added now must resolve now: a typing error shows at once. */
static int check_host(const struct sf_entry *entry, struct sf_error *err)
{
	struct sf_hosts hosts = {.count = 0};
	int ret;

	if (entry->kind != SF_ENTRY_ALLOW_HOST)
		return 0;
	ret = sf_hosts_look_up(&hosts, entry->value, (int64_t)time(NULL), err);
	sf_hosts_free(&hosts);
	return ret;
}

/* While a mode is on trial, what is kept meanwhile goes back with it. */
static void note_trial(const struct sf_policy *policy)
{
	int64_t left = sf_rollback_left(policy);

	if (left >= 0)
		cli_note("this is undone too in %lld seconds, with the change on trial, unless "
			 "that is "
			 "confirmed",
			 (long long)left);
}

static int put_entry(const struct sf_cli *cli, struct sf_entry *entry,
		     const struct entry_options *options)
{
	struct sf_fence_options apply = {.keep_unresolved = 1};
	struct sf_fence_result result;
	struct sf_change change;
	struct sf_error err = {.code = 0};
	const struct sf_entry *old;
	char shown[SF_NAME_MAX * 2];

	entry->managed = 1;
	if (take_options(options, entry, &err) || sf_entry_resolve(entry, &err) ||
	    check_host(entry, &err))
		return cli_failed(cli, &err);
	if (sf_change_begin(cli->config_file, SF_CHANGE_LENIENT, &change, &err))
		return cli_failed(cli, &err);
	sf_escape_string(entry->value, shown, sizeof(shown));
	old = sf_policy_find(&change.policy, entry->kind, entry->value);
	if (old && !old->managed)
		cli_note("note: %s:%d says %s \"%s\" too; this one counts",
			 change.policy.config_file, old->line, sf_entry_sections[entry->kind],
			 shown);
	if (sf_policy_put(&change.policy, entry)) {
		sf_fail(&err, -ENOMEM, "no memory");
		sf_change_end(&change);
		return cli_failed(cli, &err);
	}
	if (sf_change_commit(&change, &apply, &result, &err)) {
		sf_change_end(&change);
		return cli_failed(cli, &err);
	}
	if (result.no_census[0])
		cli_note("connections are not counted on the uplinks: %s", result.no_census);
	if (result.no_gateway[0])
		cli_note("not all customers are fenced: %s", result.no_gateway);
	if (result.unresolved[0])
		cli_note("not in effect until they resolve: %s", result.unresolved);
	if (change.policy.mode == SF_MODE_OFF)
		cli_note("kept; the mode is off, so it has no effect yet");
	cli_note_unresolved(&change.policy);
	note_trial(&change.policy);
	sf_change_end(&change);
	return cli_done(cli, "%s %s", sf_entry_words[entry->kind], shown);
}

/* A unit's cgroup: as its unit file says, else where systemd puts services by itself. */
static int unit_path(const char *unit, char *path, size_t size, struct sf_error *err)
{
	char name[256], file[PATH_MAX] = "", shown[512];
	const char *dot = strrchr(unit, '.');
	int known, ret;

	sf_escape_string(unit, shown, sizeof(shown));
	known = dot &&
		(!strcmp(dot, ".service") || !strcmp(dot, ".scope") || !strcmp(dot, ".slice"));
	if (snprintf(name, sizeof(name), "%s%s", unit, known ? "" : ".service") >=
		    (int)sizeof(name) ||
	    strchr(unit, '/') || !unit[0])
		return sf_fail_usage(err, "\"%s\" is no unit's name", shown);
	if (dot && !strcmp(dot, ".slice")) {
		ret = sf_unit_slice_path(name, path, size);
	} else {
		if (sf_unit_file("", name, file, sizeof(file)))
			cli_note("note: no unit file of %s is here; taking its usual cgroup",
				 shown);
		ret = sf_unit_cgroup("", name, file, path, size);
	}
	return ret ? sf_fail_usage(err, "the cgroup of unit %s can't be told; name it: cgroup PATH",
				   shown)
		   : 0;
}

/* `words` = first word of the command, `kind` = the second: which entry is meant? */
static int find_kind(const char *words, const char *kind)
{
	char both[64];

	snprintf(both, sizeof(both), "%s %s", words, kind);
	for (int k = 0; k < SF_ENTRY_KINDS; k++)
		if (!strcmp(sf_entry_words[k], both))
			return k;
	return -1;
}

static int set_value(const struct sf_cli *cli, struct sf_entry *entry, const char *value)
{
	if (strlen(value) >= sizeof(entry->value))
		return cli_usage(cli,
				 "the value is longer than %zu bytes, the most that is matched",
				 sizeof(entry->value) - 2);
	snprintf(entry->value, sizeof(entry->value), "%s", value);
	return 0;
}

int cmd_role(const struct sf_cli *cli, int argc, char **argv)
{
	struct sf_entry entry = {.kind = SF_ENTRY_KINDS};
	struct entry_options options;
	struct sf_error err = {.code = 0};
	int is_mail = !strcmp(argv[0], "mail"), ret;

	ret = parse_entry_options(cli, argc, argv, is_mail ? "uc" : "c", &options);
	if (ret)
		return ret;
	if (argc - optind != 2)
		return cli_usage(cli, "%s takes: cgroup PATH, or unit NAME", argv[0]);
	for (int k = 0; k < SF_ENTRY_KINDS; k++)
		if (!strcmp(sf_entry_words[k], argv[0]))
			entry.kind = (enum sf_entry_kind)k;
	if (!strcmp(argv[optind], "unit")) {
		if (unit_path(argv[optind + 1], entry.value, sizeof(entry.value), &err))
			return cli_failed(cli, &err);
	} else if (strcmp(argv[optind], "cgroup")) {
		return cli_usage(cli, "%s takes: cgroup PATH, or unit NAME; not \"%.40s\"", argv[0],
				 argv[optind]);
	} else {
		ret = set_value(cli, &entry, argv[optind + 1]);
		if (ret)
			return ret;
	}
	return put_entry(cli, &entry, &options);
}

static int cmd_sender(const struct sf_cli *cli, int argc, char **argv, const char *allowed,
		      const char *kinds)
{
	struct sf_entry entry = {.kind = SF_ENTRY_KINDS};
	struct entry_options options;
	int ret = parse_entry_options(cli, argc, argv, allowed, &options), kind;

	if (ret)
		return ret;
	if (argc - optind != 2)
		return cli_usage(cli, "%s takes: %s VALUE", argv[0], kinds);
	kind = find_kind(argv[0], argv[optind]);
	if (kind < 0)
		return cli_usage(cli, "%s takes: %s VALUE; not \"%.40s\"", argv[0], kinds,
				 argv[optind]);
	/* A network with its interface is a source: destinations have none. */
	if (kind == SF_ENTRY_ALLOW_NET && options.on)
		kind = SF_ENTRY_ALLOW_SOURCE;
	entry.kind = (enum sf_entry_kind)kind;
	if (options.on && kind != SF_ENTRY_ALLOW_SOURCE)
		return cli_usage(cli, "--on is for allow source and allow net");
	if (kind == SF_ENTRY_ALLOW_SOURCE && (options.ttl || options.ports))
		return cli_usage(cli, "a source takes no --ttl and no --port: it may send mail "
				      "until it is removed");
	if (kind >= SF_ENTRY_LIMIT_USER && !options.warn && !options.act)
		return cli_usage(cli, "%s needs --warn N, --act N, or both", argv[0]);
	ret = set_value(cli, &entry, argv[optind + 1]);
	return ret ? ret : put_entry(cli, &entry, &options);
}

int cmd_allow(const struct sf_cli *cli, int argc, char **argv)
{
	return cmd_sender(cli, argc, argv, "ptco", "user|group|net|host|source");
}

int cmd_quarantine(const struct sf_cli *cli, int argc, char **argv)
{
	return cmd_sender(cli, argc, argv, "tc", "user|cgroup|net");
}

int cmd_limit(const struct sf_cli *cli, int argc, char **argv)
{
	return cmd_sender(cli, argc, argv, "wac", "user|cgroup|net");
}

int cmd_remove(const struct sf_cli *cli, int argc, char **argv)
{
	struct sf_fence_options apply = {.keep_unresolved = 1};
	struct sf_fence_result result;
	struct sf_entry wanted = {.kind = SF_ENTRY_KINDS}, *entry;
	struct sf_change change;
	struct sf_error err = {.code = 0};
	char words[64] = "", shown[SF_NAME_MAX * 2];
	int kind = -1, ret;

	/* KIND is one or two words, as the commands have it: mail, mail cgroup, allow user. */
	if (argc < 3 || argc > 4)
		return cli_usage(cli,
				 "remove takes KIND VALUE, like: mail cgroup PATH, mail unit NAME, "
				 "allow user NAME, quarantine net NETWORK");
	snprintf(words, sizeof(words), "%.30s%s%.30s", argv[1], argc == 4 ? " " : "",
		 argc == 4 ? argv[2] : "");
	for (int k = 0; k < SF_ENTRY_KINDS; k++) {
		char with_cgroup[64], with_unit[64];

		snprintf(with_cgroup, sizeof(with_cgroup), "%s cgroup", sf_entry_words[k]);
		snprintf(with_unit, sizeof(with_unit), "%s unit", sf_entry_words[k]);
		if (!strcmp(words, sf_entry_words[k]) || !strcmp(words, sf_entry_sections[k]) ||
		    (k <= SF_ENTRY_EXEMPT &&
		     (!strcmp(words, with_cgroup) || !strcmp(words, with_unit))))
			kind = k;
	}
	if (kind < 0)
		return cli_usage(cli, "remove: no kind \"%s\"; see smtpfence list", words);
	wanted.kind = (enum sf_entry_kind)kind;
	if (argc == 4 && !strcmp(argv[2], "unit")) {
		if (unit_path(argv[3], wanted.value, sizeof(wanted.value), &err))
			return cli_failed(cli, &err);
	} else {
		ret = set_value(cli, &wanted, argv[argc - 1]);
		if (ret)
			return ret;
		/* Networks are kept in their shortest form; a user who is gone can still go. */
		if (sf_entry_resolve(&wanted, &err) && kind != SF_ENTRY_ALLOW_USER &&
		    kind != SF_ENTRY_ALLOW_GROUP && kind != SF_ENTRY_QUARANTINE_USER &&
		    kind != SF_ENTRY_LIMIT_USER)
			return cli_failed(cli, &err);
	}
	sf_escape_string(wanted.value, shown, sizeof(shown));
	if (sf_change_begin(cli->config_file, SF_CHANGE_LENIENT, &change, &err))
		return cli_failed(cli, &err);
	entry = sf_policy_find(&change.policy, wanted.kind, wanted.value);
	if (!entry || !entry->managed) {
		if (entry)
			sf_fail_usage(&err,
				      "%s \"%s\" stands in %s:%d; take it out there, then "
				      "`smtpfence apply`",
				      sf_entry_sections[kind], shown, change.policy.config_file,
				      entry->line);
		else
			sf_fail_usage(&err, "there is no %s \"%s\"; see smtpfence list",
				      sf_entry_words[kind], shown);
		sf_change_end(&change);
		return cli_failed(cli, &err);
	}
	sf_policy_remove(&change.policy, entry);
	ret = sf_change_commit(&change, &apply, &result, &err);
	sf_change_end(&change);
	if (ret)
		return cli_failed(cli, &err);
	return cli_done(cli, "removed: %s %s", sf_entry_words[kind], shown);
}

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
