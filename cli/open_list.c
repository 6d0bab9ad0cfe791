// SPDX-License-Identifier: GPL-2.0-only
#include "open_list.h"
#include "../user/escape.h"
#include "../user/explain.h"
#include "../user/open_connections.h"
#include "../user/status.h"
#include <arpa/inet.h>
#include <stdio.h>

#define LINES_MAX 20   /* that people are shown */
#define JSON_MAX  1000 /* connections in JSON; `count` says how many there are */

static void format_address(const struct sf_open_connection *c, const struct sf_addr *addr,
			   char *out, size_t size)
{
	if (c->family == SF_FAMILY_V4)
		inet_ntop(AF_INET, &addr->b[12], out, (socklen_t)size);
	else
		inet_ntop(AF_INET6, addr, out, (socklen_t)size);
}

static void print_list(const struct sf_open_report *report)
{
	struct libscols_table *table = cli_table("USER|CGROUP|PID|REMOTE|STATE");
	size_t shown = report->found.count < LINES_MAX ? report->found.count : LINES_MAX;

	for (size_t i = 0; i < shown; i++) {
		const struct sf_open_connection *c = sf_open_at(report, i);
		char user[128], cgroup[SF_TEXT_MAX], pid[16], addr[64], remote[80];

		sf_explain_user(c->uid, user, sizeof(user));
		sf_escape_string(c->cgroup, cgroup, sizeof(cgroup));
		snprintf(pid, sizeof(pid), c->pid ? "%d" : "-", (int)c->pid);
		format_address(c, &c->daddr, addr, sizeof(addr));
		snprintf(remote, sizeof(remote), c->family == SF_FAMILY_V4 ? "%s:%u" : "[%s]:%u",
			 addr, c->dport);
		cli_table_row(table, 5, user, cgroup, pid, remote,
			      c->ended ? "ended" : sf_open_state(c->socket.msg.idiag_state));
	}
	cli_table_print(table);
	if (shown < report->found.count)
		printf("and %zu more\n", report->found.count - shown);
}

static struct json_object *connection_json(const struct sf_open_connection *c)
{
	struct json_object *o = json_object_new_object();
	char user[128], addr[64];

	sf_explain_user(c->uid, user, sizeof(user)); /* escapes */
	json_object_object_add(o, "user", json_object_new_string(user));
	json_object_object_add(o, "uid", json_object_new_int64(c->uid));
	json_object_object_add(o, "cgroup", cli_json_text(c->cgroup));
	json_object_object_add(o, "pid", json_object_new_int(c->pid));
	format_address(c, &c->saddr, addr, sizeof(addr));
	json_object_object_add(o, "saddr", json_object_new_string(addr));
	json_object_object_add(o, "sport", json_object_new_int(c->sport));
	format_address(c, &c->daddr, addr, sizeof(addr));
	json_object_object_add(o, "daddr", json_object_new_string(addr));
	json_object_object_add(o, "dport", json_object_new_int(c->dport));
	json_object_object_add(o, "state",
			       json_object_new_string(sf_open_state(c->socket.msg.idiag_state)));
	json_object_object_add(o, "reason", json_object_new_string(sf_reason_names[c->reason]));
	json_object_object_add(o, "ended", json_object_new_boolean(c->ended));
	return o;
}

static void add_json(struct json_object *json, const struct sf_open_report *report,
		     const struct sf_error *err)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();

	for (size_t i = 0; i < report->found.count && i < JSON_MAX; i++)
		json_object_array_add(list, connection_json(sf_open_at(report, i)));
	json_object_object_add(o, "count", json_object_new_int64((int64_t)report->found.count));
	json_object_object_add(o, "ended", json_object_new_int64((int64_t)report->ended));
	json_object_object_add(o, "incoming", json_object_new_int64((int64_t)report->incoming));
	json_object_object_add(o, "unknown", json_object_new_int64((int64_t)report->unknown));
	json_object_object_add(o, "namespaces",
			       json_object_new_int64((int64_t)report->namespaces.visited));
	json_object_object_add(o, "complete",
			       json_object_new_boolean(!report->namespaces.incomplete));
	json_object_object_add(o, "list", list);
	if (err->code)
		json_object_object_add(o, "error", cli_json_text(err->text));
	json_object_object_add(json, "open_connections", o);
}

static void note(const struct sf_open_report *report, int end)
{
	size_t count = report->found.count, left = count - report->ended;

	if (end && !report->can_end)
		cli_note("this kernel can't end connections (CONFIG_INET_DIAG_DESTROY): %zu stay "
			 "open until the programs that hold them are restarted",
			 count);
	else if (end && left)
		cli_note("%zu of %zu open connections are still there: say `smtpfence on --kill` "
			 "again, or restart the programs that hold them",
			 left, count);
	else if (!end && count)
		cli_note("%zu connection%s open before, and stay%s so, that the policy would not "
			 "allow; to end them: smtpfence on --kill",
			 count, count == 1 ? " was" : "s were", count == 1 ? "s" : "");
	if (report->incoming)
		cli_note("%zu more with a fenced port at the far end look like accepted ones "
			 "(somebody listens on their local port) and are left alone",
			 report->incoming);
	if (report->unknown)
		cli_note("%zu more can't be judged and are left alone: their cgroup is gone, or "
			 "its path too long",
			 report->unknown);
	if (report->namespaces.incomplete)
		cli_note("not all network namespaces were looked at for open connections (%zu "
			 "were, at most %d are)",
			 report->namespaces.visited, SF_NETNS_MAX);
}

void cli_open_connections(const struct sf_policy *policy, int end, struct json_object *json)
{
	struct sf_open_report report;
	struct sf_error err = {.code = 0};

	if (sf_open_connections(policy, end, &report, &err))
		cli_note("%s: what was open before `on` may be open still; restart the programs "
			 "that hold it",
			 err.text);
	fflush(stdout);
	note(&report, end);
	if (json)
		add_json(json, &report, &err);
	else if (report.found.count)
		print_list(&report);
	if (end && !json && report.can_end)
		printf("open connections: ended %zu of %zu\n", report.ended, report.found.count);
	sf_open_report_free(&report);
}
