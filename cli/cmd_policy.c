// SPDX-License-Identifier: GPL-2.0-only
/* mail, fence, exempt, allow, quarantine, limit, remove: what changes single entries. */
#include "cli.h"
#include "entry_options.h"
#include "../user/change.h"
#include "../user/escape.h"
#include "../user/hosts.h"
#include "../user/rollback.h"
#include "../user/units.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

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
	if (entry_options_take(options, entry, &err) || sf_entry_resolve(entry, &err) ||
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

	ret = entry_options_parse(cli, argc, argv, is_mail ? "uc" : "c", &options);
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
	int ret = entry_options_parse(cli, argc, argv, allowed, &options), kind;

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
