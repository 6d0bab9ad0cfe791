// SPDX-License-Identifier: GPL-2.0-only
/* A report as one JSON object on one line. Numbers of time are seconds since 1970. */
#include "report.h"
#include "cleanup.h"
#include "escape.h"
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

static void add(struct json_object *to, const char *key, struct json_object *value)
{
	json_object_object_add(to, key, value);
}

/* Escaped already when it was written; once more only what could not have been. */
static void add_text(struct json_object *to, const char *key, const char *text)
{
	size_t room = strlen(text) * 4 + 1;
	_cleanup_free_ char *safe = malloc(room);

	if (!safe)
		return;
	sf_escape_controls(text, safe, room);
	add(to, key, json_object_new_string(safe));
}

static void add_counts(struct json_object *to, const struct sf_hour *hour)
{
	add(to, "syn", json_object_new_uint64(hour->syn));
	add(to, "fenced", json_object_new_uint64(hour->fenced));
	add(to, "retransmitted", json_object_new_uint64(hour->retransmitted));
	add(to, "answered", json_object_new_uint64(hour->answered));
	add(to, "refused", json_object_new_uint64(hour->refused));
	add(to, "silent", json_object_new_uint64(hour->silent));
	add(to, "denied", json_object_new_uint64(hour->denied));
	add(to, "would_deny", json_object_new_uint64(hour->would_deny));
	add(to, "distinct", json_object_new_uint64(hour->distinct));
}

static struct json_object *of_event(const struct sf_report_event *e)
{
	struct json_object *o = json_object_new_object();

	add_text(o, "time", e->time);
	add_text(o, "verdict", e->verdict);
	add_text(o, "reason", e->reason);
	add_text(o, "exe", e->exe);
	add_text(o, "cwd", e->cwd);
	add_text(o, "cmdline", e->cmdline);
	add_text(o, "cgroup", e->cgroup);
	add_text(o, "daddr", e->daddr);
	add(o, "dport", json_object_new_int64(e->dport));
	return o;
}

struct json_object *sf_report_json_hour(const struct sf_hour *hour)
{
	struct json_object *o = json_object_new_object();

	add(o, "hour", json_object_new_int64(hour->hour));
	add_counts(o, hour);
	return o;
}

struct json_object *sf_report_json_alarm(const struct sf_history_alarm *alarm)
{
	struct json_object *o = json_object_new_object();

	add(o, "id", json_object_new_int64(alarm->id));
	add(o, "raised", json_object_new_int64(alarm->raised));
	add(o, "cleared", json_object_new_int64(alarm->cleared));
	add_text(o, "rule", alarm->rule);
	add_text(o, "severity", alarm->severity);
	add_text(o, "text", alarm->text);
	return o;
}

int sf_report_json(const struct sf_report *r, FILE *out)
{
	struct json_object *o = json_object_new_object(), *hours = json_object_new_array(),
			   *alarms = json_object_new_array(), *events = json_object_new_array(),
			   *totals = json_object_new_object();
	const struct sf_report_event *e;
	const char *text;
	int ret = 0;

	add_text(o, "who", r->who);
	add_text(o, "user", r->user);
	add_text(o, "cgroup", r->cgroup);
	add_text(o, "host", r->host);
	add(o, "made", json_object_new_int64(r->made));
	add(o, "from", json_object_new_int64(r->from));
	add(o, "to", json_object_new_int64(r->to));
	add(o, "first_seen", json_object_new_int64(r->first_seen));
	add(o, "last_seen", json_object_new_int64(r->last_seen));
	add_counts(totals, &r->total);
	add(o, "totals", totals);
	add(o, "busiest_hour", json_object_new_int64(r->total.hour));
	add(o, "busiest", json_object_new_uint64(r->busiest));
	for (size_t i = 0; i < r->hour_count; i++)
		json_object_array_add(hours, sf_report_json_hour(&r->hours[i]));
	add(o, "hours", hours);
	for (size_t i = 0; i < r->alarm_count; i++)
		json_object_array_add(alarms, sf_report_json_alarm(&r->alarms[i]));
	add(o, "alarms", alarms);
	add(o, "alarms_in_all", json_object_new_uint64(r->alarms_in_all));
	for (size_t i = 0; (e = sf_report_event_at(r, i)); i++)
		json_object_array_add(events, of_event(e));
	add(o, "events", events);
	add(o, "events_in_all", json_object_new_uint64(r->events_in_all));
	add_text(o, "mode", sf_mode_name(r->mode));
	add_text(o, "quarantine", r->quarantine);
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_SPACED |
							 JSON_C_TO_STRING_NOSLASHESCAPE);
	if (text)
		fprintf(out, "%s\n", text);
	else
		ret = -ENOMEM;
	json_object_put(o);
	return ferror(out) ? -EIO : ret;
}
