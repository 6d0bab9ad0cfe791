// SPDX-License-Identifier: GPL-2.0-only
/* status and test: what the kernel does, and the proof by real connections. */
#include "cli.h"
#include "../user/census.h"
#include "../user/change.h"
#include "../user/config.h"
#include "../user/escape.h"
#include "../user/prove.h"
#include "../user/rollback.h"
#include "../user/status.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static uint64_t sum(const struct sf_status *status, int verdict)
{
	uint64_t n = 0;

	for (int r = 0; r < SF_REASON_COUNT; r++)
		if (r != SF_REASON_PROBE) /* our own test is nobody's denial */
			n += status->counter[SF_COUNTER(verdict, r)];
	return n;
}

static struct json_object *counters_json(const struct sf_status *status)
{
	struct json_object *counters = json_object_new_object();
	struct json_object *reasons = json_object_new_object();
	struct json_object *losses = json_object_new_object();

	for (int v = 0; v < SF_VERDICT_COUNT; v++)
		json_object_object_add(counters, sf_verdict_names[v],
				       json_object_new_uint64(sum(status, v)));
	for (int r = 0; r < SF_REASON_COUNT; r++) {
		uint64_t n = 0;

		for (int v = 0; v < SF_VERDICT_COUNT; v++)
			n += status->counter[SF_COUNTER(v, r)];
		json_object_object_add(reasons, sf_reason_names[r], json_object_new_uint64(n));
	}
	for (int l = 0; l < SF_LOSS_COUNT; l++)
		json_object_object_add(losses, sf_loss_names[l],
				       json_object_new_uint64(status->counter[SF_COUNTER_LOSS(l)]));
	json_object_object_add(counters, "by_reason", reasons);
	json_object_object_add(
		counters, "events_lost",
		json_object_new_uint64(status->counter[SF_COUNTER_LOSS(SF_LOSS_EVENTS_FULL)]));
	json_object_object_add(counters, "losses", losses);
	return counters;
}

static void add_uplink(struct json_object *attached, const char *hook, const char *name,
		       const struct sf_tc_state *state)
{
	struct json_object *one;

	if (!state->in_effect)
		return;
	one = json_object_new_object();
	json_object_object_add(one, "hook", json_object_new_string(hook));
	json_object_object_add(one, "target", cli_json_text(name));
	json_object_object_add(one, "program_id", json_object_new_int64(state->program_id));
	json_object_array_add(attached, one);
}

static void add_uplinks(struct json_object *attached, const struct sf_status *status)
{
	const struct sf_egress_status *e = &status->egress;

	for (size_t i = 0; i < e->uplinks.count; i++) {
		add_uplink(attached, "egress", e->uplinks.link[i].name, &e->out[i]);
		add_uplink(attached, "ingress", e->uplinks.link[i].name, &e->in[i]);
	}
}

static void add_customers(struct json_object *attached, const struct sf_status *status)
{
	const struct sf_gateway_status *g = &status->gateway;

	for (size_t i = 0; i < g->customers.count; i++) {
		struct json_object *one;

		if (!g->place[i].how)
			continue;
		one = json_object_new_object();
		json_object_object_add(one, "hook", json_object_new_string("gateway"));
		json_object_object_add(one, "target", cli_json_text(g->customers.link[i].name));
		json_object_object_add(one, "program_id",
				       json_object_new_int64(g->place[i].program_id));
		json_object_object_add(one, "how", json_object_new_string(g->place[i].how));
		json_object_array_add(attached, one);
	}
}

static struct json_object *census_json(const struct sf_policy *policy)
{
	struct json_object *json = json_object_new_object();
	uint64_t counter[SF_CENSUS_COUNTER_MAX];

	sf_census_counters(policy->pin_dir, counter);
	for (int i = 0; i < SF_CENSUS_COUNTER_COUNT; i++)
		json_object_object_add(json, sf_census_counter_names[i],
				       json_object_new_uint64(counter[i]));
	return json;
}

static void print_census(const struct sf_policy *policy)
{
	uint64_t counter[SF_CENSUS_COUNTER_MAX];

	sf_census_counters(policy->pin_dir, counter);
	if (counter[SF_CENSUS_SYN])
		printf("on the uplinks: %" PRIu64 " SYNs, %" PRIu64 " to fenced ports\n",
		       counter[SF_CENSUS_SYN], counter[SF_CENSUS_FENCED]);
	for (int i = SF_CENSUS_FENCED + 1; i < SF_CENSUS_COUNTER_COUNT; i++)
		if (counter[i])
			printf("  %s: %" PRIu64 "\n", sf_census_counter_names[i], counter[i]);
}

static void print_json(const struct sf_status *status, const struct sf_policy *policy)
{
	struct json_object *json = json_object_new_object();
	struct json_object *attached = json_object_new_array(), *roles = json_object_new_array();
	struct json_object *faults = json_object_new_array();

	json_object_object_add(json, "mode", json_object_new_string(sf_mode_name(status->mode)));
	json_object_object_add(json, "wanted",
			       json_object_new_string(sf_mode_name(status->wanted)));
	json_object_object_add(json, "enforcing", json_object_new_boolean(status->enforcing));
	json_object_object_add(json, "daemon", json_object_new_boolean(status->daemon_runs));
	json_object_object_add(json, "since", json_object_new_uint64(status->since));
	for (int h = 0; h < SF_HOOK_COUNT; h++) {
		const struct sf_hook_status *hook = &status->hook[h];
		struct json_object *one;

		if (!hook->in_effect)
			continue;
		one = json_object_new_object();
		json_object_object_add(one, "hook", json_object_new_string(sf_hooks[h].name));
		json_object_object_add(one, "target", cli_json_text(hook->target));
		json_object_object_add(one, "program_id", json_object_new_int64(hook->program_id));
		json_object_array_add(attached, one);
	}
	add_uplinks(attached, status);
	add_customers(attached, status);
	for (size_t i = 0; i < status->role_count; i++) {
		const struct sf_role_status *role = &status->role[i];
		struct json_object *one = json_object_new_object();

		json_object_object_add(one, "path", cli_json_text(role->entry->value));
		json_object_object_add(
			one, "role", json_object_new_string(sf_entry_sections[role->entry->kind]));
		json_object_object_add(one, "present", json_object_new_boolean(role->present));
		json_object_array_add(roles, one);
	}
	for (size_t i = 0; i < status->fault_count; i++)
		json_object_array_add(faults, cli_json_text(status->fault[i]));
	json_object_object_add(json, "attached", attached);
	json_object_object_add(json, "roles", roles);
	json_object_object_add(json, "counters", counters_json(status));
	json_object_object_add(json, "census", census_json(policy));
	json_object_object_add(json, "faults", faults);
	json_object_object_add(json, "config", cli_json_text(policy->config_file));
	cli_print_json(json);
}

static void add_hook(struct libscols_table *table, const char *hook, const char *at, int in_effect,
		     uint32_t program_id)
{
	char number[32], loaded[64];

	snprintf(number, sizeof(number), "%u", program_id);
	cli_time((int64_t)sf_status_loaded_at(program_id), loaded, sizeof(loaded));
	cli_table_row(table, 4, hook, at, in_effect ? number : "not in effect",
		      in_effect ? loaded : "-");
}

static void print_hooks(const struct sf_status *status)
{
	struct libscols_table *table = cli_table("HOOK|AT|PROGRAM|LOADED");
	char name[IF_NAMESIZE * 4], kind[32];

	for (int h = 0; h < SF_HOOK_COUNT; h++)
		add_hook(table, sf_hooks[h].name, status->hook[h].target, status->hook[h].in_effect,
			 status->hook[h].program_id);
	for (size_t i = 0; i < status->egress.uplinks.count; i++) {
		const struct sf_tc_state *state = &status->egress.out[i];

		sf_escape_string(status->egress.uplinks.link[i].name, name, sizeof(name));
		add_hook(table, state->tcx ? "egress (tcx)" : "egress (clsact)", name,
			 state->in_effect, state->program_id);
	}
	for (size_t i = 0; i < status->gateway.customers.count; i++) {
		const struct sf_gateway_place *place = &status->gateway.place[i];

		if (status->gateway.customers.link[i].is_uplink)
			continue;
		snprintf(kind, sizeof(kind), "gateway (%s)", place->how ? place->how : "-");
		sf_escape_string(status->gateway.customers.link[i].name, name, sizeof(name));
		add_hook(table, kind, name, place->how != NULL, place->program_id);
	}
	cli_table_print(table);
}

static void print_table(const struct sf_status *status, const struct sf_policy *policy)
{
	struct libscols_table *table;
	char text[512], name[SF_NAME_MAX * 2];

	int part = status->wanted == SF_MODE_ENFORCE && (status->hook[SF_HOOK_CONNECT4].in_effect ||
							 status->hook[SF_HOOK_CONNECT6].in_effect);

	cli_time((int64_t)status->since, text, sizeof(text));
	printf("mode: %s%s, since %s\n", sf_mode_name(status->mode),
	       status->enforcing ? " (the kernel denies)"
	       : part		 ? " (only a part is denied, see below)"
				 : " (nothing is denied)",
	       text);
	sf_key_get(policy, &sf_keys[sf_key_find("ports")], text, sizeof(text));
	printf("fenced ports: %s\n\n", text);
	print_hooks(status);
	if (status->role_count) {
		putchar('\n');
		table = cli_table("ROLE|CGROUP|NOW");
		for (size_t i = 0; i < status->role_count && i < 50; i++) {
			const struct sf_role_status *role = &status->role[i];

			sf_escape_string(role->entry->value, name, sizeof(name));
			cli_table_row(table, 3, sf_entry_sections[role->entry->kind], name,
				      role->present ? "there" : "not there");
		}
		cli_table_print(table);
		if (status->role_count > 50)
			printf("and %zu more: smtpfence list\n", status->role_count - 50);
	}
	printf("\nallowed %" PRIu64 ", denied %" PRIu64 ", would_deny %" PRIu64 "\n",
	       sum(status, SF_VERDICT_ALLOWED), sum(status, SF_VERDICT_DENIED),
	       sum(status, SF_VERDICT_WOULD_DENY));
	for (int v = 0; v < SF_VERDICT_COUNT; v++)
		for (int r = 0; r < SF_REASON_COUNT; r++)
			if (status->counter[SF_COUNTER(v, r)])
				printf("  %s, %s: %" PRIu64 "\n", sf_verdict_names[v],
				       sf_reason_names[r], status->counter[SF_COUNTER(v, r)]);
	for (int l = 0; l < SF_LOSS_COUNT; l++)
		if (status->counter[SF_COUNTER_LOSS(l)])
			printf("  %s: %" PRIu64 "\n", sf_loss_names[l],
			       status->counter[SF_COUNTER_LOSS(l)]);
	print_census(policy);
	if (!status->daemon_runs && status->mode != SF_MODE_OFF)
		puts("\nsmtpfenced does not run: what is denied is counted, but nobody explains or "
		     "alerts");
	if (status->fault_count)
		putchar('\n');
	for (size_t i = 0; i < status->fault_count; i++) {
		char shown[1024];

		sf_escape_string(status->fault[i], shown, sizeof(shown));
		printf("! %s\n", shown);
	}
}

int cmd_status(const struct sf_cli *cli, int argc, char **argv)
{
	struct sf_policy files, applied, *policy = &files;
	struct sf_error err = {.code = 0};
	struct sf_status status;
	int ret, has_record, exit_status;
	int64_t left;

	if (argc > 1)
		return cli_usage(cli, "status: \"%.40s\" is too much", argv[1]);
	if (sf_config_read(cli->config_file, NULL, 1, &files, &err)) {
		struct sf_policy defaults;

		/* The kernel can be looked at all the same, by what was applied last. */
		sf_policy_init(&defaults);
		if (cli->config_file || sf_applied_load(defaults.state_dir, &files, NULL))
			return cli_failed(cli, &err);
		cli_note("%s; this is compared with what was applied last", err.text);
	}
	/*
	 * Compared is what was applied last, where it agrees on the locations; that the files
	 * changed since is said besides.
	 */
	has_record = !sf_applied_load(files.state_dir, &applied, NULL);
	if (has_record && !strcmp(applied.cgroup_root, files.cgroup_root) &&
	    !strcmp(applied.pin_dir, files.pin_dir))
		policy = &applied;
	ret = sf_status_read(policy, 0, &status, &err);
	if (!ret && has_record && sf_applied_differs(&files) == 1 &&
	    status.fault_count < SF_FAULTS_MAX)
		snprintf(status.fault[status.fault_count++], sizeof(status.fault[0]),
			 "the files were changed since they were applied: run `smtpfence apply`");
	if (!ret) {
		if (cli->json)
			print_json(&status, policy);
		else
			print_table(&status, policy);
		left = sf_rollback_left(&files);
		if (left >= 0)
			cli_note("rolled back in %lld seconds unless confirmed", (long long)left);
	}
	exit_status = ret ? cli_failed(cli, &err) : sf_status_exit(&status);
	if (!ret)
		sf_status_free(&status);
	if (has_record)
		sf_policy_free(&applied);
	sf_policy_free(&files);
	return exit_status;
}

static const char *errno_name(int number)
{
	return number == 0 ? "connected" : number < 0 ? "any other" : strerrorname_np(number);
}

int cmd_test(const struct sf_cli *cli, int argc, char **argv)
{
	struct sf_proof_report report;
	struct sf_error err = {.code = 0};
	struct sf_change change;
	struct json_object *list = NULL, *json;
	struct libscols_table *table = NULL;
	int ret;

	if (argc > 1)
		return cli_usage(cli, "test: \"%.40s\" is too much", argv[1]);
	/* Under the lock: the probe marks itself in the settings, which a change writes whole. */
	if (sf_change_begin(cli->config_file, SF_CHANGE_LENIENT, &change, &err))
		return cli_failed(cli, &err);
	ret = sf_prove(&change.policy, &report, &err);
	sf_change_end(&change);
	if (ret)
		return cli_failed(cli, &err);
	if (cli->json)
		list = json_object_new_array();
	else
		table = cli_table("FAMILY|PORT|EXPECTED|SEEN");
	for (size_t i = 0; i < report.count; i++) {
		const struct sf_proof *p = &report.proof[i];
		const char *family = p->family == AF_INET ? "IPv4" : "IPv6";
		const char *seen = p->skipped ? "not tried" : errno_name(p->seen);
		char port[16];

		snprintf(port, sizeof(port), "%u", p->port);
		if (list) {
			json = json_object_new_object();
			json_object_object_add(json, "family", json_object_new_string(family));
			json_object_object_add(json, "port", json_object_new_int(p->port));
			json_object_object_add(json, "expected",
					       json_object_new_string(errno_name(p->expected)));
			json_object_object_add(json, "seen", json_object_new_string(seen));
			json_object_array_add(list, json);
		} else {
			cli_table_row(table, 4, family, port, errno_name(p->expected), seen);
		}
	}
	if (list) {
		json = json_object_new_object();
		json_object_object_add(json, "passed", json_object_new_boolean(report.passed));
		json_object_object_add(json, "connections", list);
		cli_print_json(json);
	} else {
		cli_table_print(table);
		puts(report.passed ? "passed: the kernel did what the policy says"
				   : "FAILED: the kernel does not do what the policy says");
	}
	return report.passed ? SF_EXIT_OK : SF_EXIT_FAILED;
}
