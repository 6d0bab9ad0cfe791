// SPDX-License-Identifier: GPL-2.0-only
/* on, off, monitor, apply, check: what sets the whole fence. */
#include "cli.h"
#include "open_list.h"
#include "../user/change.h"
#include "../user/config.h"
#include "../user/escape.h"
#include "../user/mailservers.h"
#include "../user/prove.h"
#include "../user/rollback.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static struct json_object *changes_json(const struct sf_fence_result *result)
{
	struct json_object *changes = json_object_new_object();

	for (int i = 0; i < SF_IMAGE_COUNT; i++) {
		const struct sf_table_change *c = &result->table[i];
		struct json_object *one = json_object_new_object();

		json_object_object_add(one, "added", json_object_new_int64((int64_t)c->added));
		json_object_object_add(one, "changed", json_object_new_int64((int64_t)c->changed));
		json_object_object_add(one, "removed", json_object_new_int64((int64_t)c->removed));
		json_object_object_add(changes, sf_image_names[i], one);
	}
	return changes;
}

static void print_changes(const struct sf_fence_result *result, int dry_run)
{
	int any = 0;

	for (int i = 0; i < SF_IMAGE_COUNT; i++) {
		const struct sf_table_change *c = &result->table[i];

		if (!(c->added + c->changed + c->removed))
			continue;
		any = 1;
		printf("%s%s: %zu added, %zu changed, %zu removed\n",
		       dry_run ? "would change " : "", sf_image_names[i], c->added, c->changed,
		       c->removed);
	}
	if (result->settings_changed) {
		any = 1;
		printf("%ssettings: errno or allow_local\n",
		       dry_run ? "would change " : "changed ");
	}
	if (result->mode_before != result->mode_after) {
		any = 1;
		printf("mode: %s -> %s\n", sf_mode_name(result->mode_before),
		       sf_mode_name(result->mode_after));
	}
	if (!any)
		puts(dry_run ? "nothing would change" : "nothing to change");
}

/*
 * Give the mail servers of this host their roles. Returns how many were given one, or -ENOENT
 * where one runs that none could be given. What was done is said on stderr, because it is a
 * decision that the administrator should see.
 */
static int detect_mail(struct sf_change *change, struct sf_error *err)
{
	struct sf_mail_server list[SF_MAIL_SERVERS_MAX];
	size_t count = 0;
	int found = 0, ret;

	ret = sf_mail_servers_find("", list, SF_MAIL_SERVERS_MAX, &count, err);
	if (ret)
		return ret;
	for (size_t i = 0; i < count; i++) {
		struct sf_mail_server *server = &list[i];
		struct sf_entry entry = {.kind = SF_ENTRY_MAIL, .managed = 1};
		char shown[SF_NAME_MAX * 2], users[512] = "";

		if (!server->installed || !server->path[0] || !server->user_count)
			continue;
		snprintf(entry.value, sizeof(entry.value), "%s", server->path);
		snprintf(entry.comment, sizeof(entry.comment), "found by detection: %s",
			 server->name);
		for (size_t u = 0; u < server->user_count; u++) {
			if (sf_user_id(server->users[u], &entry.users[entry.user_count]))
				continue;
			entry.user_count++;
			snprintf(users + strlen(users), sizeof(users) - strlen(users), "%s%s",
				 users[0] ? ", " : "", server->users[u]);
		}
		if (!entry.user_count || sf_policy_put(&change->policy, &entry))
			continue;
		sf_escape_string(server->path, shown, sizeof(shown));
		cli_note("found %s: mail role for %s (users %s)", server->name, shown, users);
		found++;
		if (server->allow_user != SF_MAIL_NO_USER) {
			struct sf_entry allow = {.kind = SF_ENTRY_ALLOW_USER,
						 .managed = 1,
						 .id = server->allow_user};

			snprintf(allow.value, sizeof(allow.value), "%s", server->allow_name);
			snprintf(allow.comment, sizeof(allow.comment), "found by detection: %s",
				 server->name);
			if (!sf_policy_put(&change->policy, &allow))
				cli_note("user %s is allowed: %s", server->allow_name,
					 server->allow_why ? server->allow_why : "it delivers");
		}
		if (server->running && server->fit != SF_MAIL_FITS) {
			sf_escape_string(server->running_cgroup, shown, sizeof(shown));
			cli_note("warning: %s runs in %s (pid %d): %s", server->name, shown,
				 (int)server->pid, sf_mail_fit_text(server->fit));
		}
	}
	for (size_t i = 0; i < count; i++) {
		if (!list[i].installed && list[i].running) {
			found = found ? found : -ENOENT;
			cli_note("warning: %s runs (pid %d) but belongs to no unit: it has no "
				 "role, its "
				 "mail will be denied; give it one: smtpfence mail cgroup PATH",
				 list[i].name, (int)list[i].pid);
		}
	}
	return found;
}

static int has_mail_role(const struct sf_policy *policy)
{
	for (size_t i = 0; i < policy->entry_count; i++)
		if (policy->entries[i].kind == SF_ENTRY_MAIL)
			return 1;
	return 0;
}

static int prove(const struct sf_cli *cli, const struct sf_policy *policy, struct json_object *json)
{
	struct sf_proof_report report;
	struct sf_error err = {.code = 0};
	int ret = sf_prove(policy, &report, &err);

	if (!ret && report.passed) {
		if (json)
			json_object_object_add(json, "proved", json_object_new_boolean(1));
		else
			printf("proved: %zu real connections from %s were %s\n",
			       (size_t)report.counted, report.cgroup,
			       policy->mode == SF_MODE_ENFORCE ? "denied"
							       : "counted as would_deny");
		return SF_EXIT_OK;
	}
	if (json)
		json_object_put(json);
	if (!ret)
		sf_fail(&err, -EIO,
			"the mode is %s and the programs are attached, but a probe from a "
			"throw-away cgroup was not treated as it must be: see `smtpfence test` and "
			"`smtpfence doctor`",
			sf_mode_name(policy->mode));
	return cli_failed(cli, &err);
}

struct mode_options {
	int64_t rollback; /* seconds, or 0 */
	int confirm;
	int boot;
	int dry_run;
	int kill;
};

static int parse_mode_options(const struct sf_cli *cli, int argc, char **argv,
			      struct mode_options *out)
{
	static const struct option options[] = {
		{"rollback", required_argument, NULL, 'r'}, {"confirm", no_argument, NULL, 'c'},
		{"boot", no_argument, NULL, 'b'},	    {"dry-run", no_argument, NULL, 'n'},
		{"kill", no_argument, NULL, 'k'},	    {NULL, 0, NULL, 0},
	};
	int option;

	memset(out, 0, sizeof(*out));
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'r':
			if (sf_duration_parse(optarg, &out->rollback) ||
			    out->rollback > 365LL * 86400)
				return cli_usage(
					cli,
					"--rollback \"%.40s\": write a time like 90s, 5m or 2h",
					optarg);
			break;
		case 'c':
			out->confirm = 1;
			break;
		case 'b':
			out->boot = 1;
			break;
		case 'n':
			out->dry_run = 1;
			break;
		case 'k':
			out->kill = 1;
			break;
		default:
			return SF_EXIT_USAGE;
		}
	}
	if (optind < argc)
		return cli_usage(cli, "%s: \"%.40s\" is too much; see smtpfence %s --help", argv[0],
				 argv[optind], argv[0]);
	return 0;
}

/* What `on` does about connections that were open before. */
enum open_before { LEAVE, LIST, END };

/* Say what was done, and prove it. */
static int finish(const struct sf_cli *cli, const struct sf_policy *policy,
		  const struct sf_fence_result *result, int dry_run, int proof,
		  enum open_before open_before)
{
	struct json_object *json = cli->json ? json_object_new_object() : NULL;
	int status = SF_EXIT_OK;

	cli_note_unresolved(policy);
	if (result->no_census[0])
		cli_note("connections are not counted on the uplinks: %s", result->no_census);
	if (result->no_gateway[0])
		cli_note("not all customers are fenced: %s", result->no_gateway);
	if (result->unresolved[0])
		cli_note("not in effect until they resolve: %s", result->unresolved);
	if (result->loaded && !result->can_set_errno && policy->deny_errno != EPERM)
		cli_note(
			"this kernel can't give the chosen errno (5.18): denied callers get EPERM");
	if (result->stale[0])
		cli_note("do not resolve now and keep the addresses they had: %s", result->stale);
	if (json) {
		json_object_object_add(json, "mode",
				       json_object_new_string(sf_mode_name(policy->mode)));
		json_object_object_add(json, "dry_run", json_object_new_boolean(dry_run));
		json_object_object_add(json, "changes", changes_json(result));
	} else {
		print_changes(result, dry_run);
	}
	if (proof && !dry_run && policy->mode != SF_MODE_OFF) {
		status = prove(cli, policy, json);
		if (status)
			return status;
	}
	if (open_before != LEAVE)
		cli_open_connections(policy, open_before == END, json);
	if (json)
		cli_print_json(json);
	return status;
}

static int set_mode(const struct sf_cli *cli, int argc, char **argv, int mode)
{
	struct mode_options options;
	struct sf_fence_options apply = {.replace_programs = 1};
	struct sf_fence_result result;
	struct sf_change change;
	struct sf_error err = {.code = 0};
	int ret = parse_mode_options(cli, argc, argv, &options), status;

	if (ret)
		return ret;
	if (options.dry_run || options.boot || (options.confirm && options.rollback) ||
	    (options.rollback && mode == SF_MODE_OFF) ||
	    (options.kill && (options.confirm || mode != SF_MODE_ENFORCE)))
		return cli_usage(cli, "these options do not go with `%s`; see smtpfence %s --help",
				 argv[0], argv[0]);
	if (sf_change_begin(cli->config_file,
			    mode == SF_MODE_OFF ? SF_CHANGE_LENIENT | SF_CHANGE_OR_RECORD : 0,
			    &change, &err))
		return cli_failed(cli, &err);
	if (options.confirm) {
		ret = sf_rollback_confirm(&change.policy);
		mode = change.policy.mode;
		sf_change_end(&change);
		return ret ? cli_done(cli, "confirmed: the mode stays %s", sf_mode_name(mode))
			   : cli_done(cli, "no rollback was pending");
	}
	if (change.from_record)
		cli_note("the configuration is wrong (%s): turning off what was applied last; with "
			 "the "
			 "files mended, say `smtpfence off` again to keep it",
			 change.file_error.text);
	ret = sf_change_set(&change, "FW_OUTPUT_MTA", sf_mode_setting(mode), &err);
	if (!ret && mode != SF_MODE_OFF && change.policy.detect_mail &&
	    !has_mail_role(&change.policy)) {
		ret = detect_mail(&change, &err);
		if (ret == 0)
			cli_note("no mail server was found here: nobody but allowed users, groups "
				 "and "
				 "relays can open SMTP connections to the world. If one runs on "
				 "this "
				 "host: smtpfence mail unit NAME");
		ret = ret < 0 && ret != -ENOENT ? ret : 0;
	}
	if (!ret && options.rollback)
		ret = sf_rollback_keep(&change.policy, options.rollback, &err);
	if (!ret) {
		ret = sf_change_commit(&change, &apply, &result, &err);
		/* A change that failed leaves nothing to go back from. */
		if (options.rollback ? ret != 0 : ret == 0)
			sf_rollback_confirm(&change.policy);
	}
	if (ret) {
		sf_change_end(&change);
		return cli_failed(cli, &err);
	}
	if (options.rollback) {
		ret = sf_rollback_start(cli->config_file, &change.policy, &err);
		if (ret)
			cli_note("%s; only the daemon will roll back", err.text);
		cli_note("this is undone in %lld seconds unless you run: smtpfence %s --confirm",
			 (long long)options.rollback, mode == SF_MODE_ENFORCE ? "on" : "monitor");
	}
	status = finish(cli, &change.policy, &result, 0, 1,
			mode != SF_MODE_ENFORCE ? LEAVE
			: options.kill		? END
						: LIST);
	sf_change_end(&change);
	return status;
}

int cmd_on(const struct sf_cli *cli, int argc, char **argv)
{
	return set_mode(cli, argc, argv, SF_MODE_ENFORCE);
}

int cmd_off(const struct sf_cli *cli, int argc, char **argv)
{
	return set_mode(cli, argc, argv, SF_MODE_OFF);
}

int cmd_monitor(const struct sf_cli *cli, int argc, char **argv)
{
	return set_mode(cli, argc, argv, SF_MODE_MONITOR);
}

int cmd_apply(const struct sf_cli *cli, int argc, char **argv)
{
	struct mode_options options;
	struct sf_fence_options apply = {.refresh_hosts = 1};
	struct sf_fence_result result;
	struct sf_change change;
	struct sf_error err = {.code = 0};
	int ret = parse_mode_options(cli, argc, argv, &options), status;

	if (ret)
		return ret;
	if (options.rollback || options.confirm)
		return cli_usage(cli, "--rollback and --confirm go with `on` and `monitor`");
	if (options.kill)
		return cli_usage(cli, "--kill goes with `on`");
	if (options.boot) {
		/* A change that was not confirmed before the reboot is not kept by it. */
		if (sf_rollback_run(cli->config_file, 1, &err) == 1)
			cli_note("a change that was not confirmed before the reboot was rolled "
				 "back");
		apply.keep_unresolved = 1;
		apply.at_boot = 1;
		apply.replace_programs = 1;
	}
	apply.dry_run = options.dry_run;
	if (sf_change_begin(cli->config_file,
			    options.boot ? SF_CHANGE_OR_RECORD | SF_CHANGE_LENIENT : 0, &change,
			    &err))
		return cli_failed(cli, &err);
	if (change.from_record)
		cli_note("the configuration is wrong (%s): going on with what was applied last",
			 change.file_error.text);
	ret = sf_change_commit(&change, &apply, &result, &err);
	if (ret) {
		sf_change_end(&change);
		return cli_failed(cli, &err);
	}
	status = finish(cli, &change.policy, &result, options.dry_run, options.boot, LEAVE);
	sf_change_end(&change);
	return status;
}

int cmd_check(const struct sf_cli *cli, int argc, char **argv)
{
	struct sf_policy policy;
	struct sf_error err = {.code = 0};

	if (argc > 1)
		return cli_usage(cli, "check: \"%.40s\" is too much", argv[1]);
	if (sf_config_load(cli->config_file, &policy, &err))
		return cli_failed(cli, &err);
	if (cli->json) {
		struct json_object *json = json_object_new_object();

		json_object_object_add(json, "ok", json_object_new_boolean(1));
		json_object_object_add(json, "entries",
				       json_object_new_int64((int64_t)policy.entry_count));
		cli_print_json(json);
	} else {
		printf("%s: fine, mode %s, %zu entries\n", policy.config_file,
		       sf_mode_name(policy.mode), policy.entry_count);
	}
	sf_policy_free(&policy);
	return SF_EXIT_OK;
}
