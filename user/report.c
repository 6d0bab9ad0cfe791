// SPDX-License-Identifier: GPL-2.0-only
/*
 * Gathering: from history, from events.jsonl, from the policy. Both files are taken for hostile:
 * bounded, no line believed. How it looks is report_text.c's, report_html.c's, report_json.c's.
 */
#include "report.h"
#include "cleanup.h"
#include "escape.h"
#include "record.h"
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HOUR	       3600
#define DAY	       86400
#define LINE_MAX_BYTES 65536 /* ours are below 10,000 */

static uint64_t sum(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static void add_hour(struct sf_hour *total, const struct sf_hour *hour)
{
	total->syn = sum(total->syn, hour->syn);
	total->fenced = sum(total->fenced, hour->fenced);
	total->retransmitted = sum(total->retransmitted, hour->retransmitted);
	total->answered = sum(total->answered, hour->answered);
	total->refused = sum(total->refused, hour->refused);
	total->silent = sum(total->silent, hour->silent);
	total->denied = sum(total->denied, hour->denied);
	total->would_deny = sum(total->would_deny, hour->would_deny);
	if (hour->distinct > total->distinct)
		total->distinct = hour->distinct;
}

struct gathering {
	struct sf_report *report;
	size_t room, begin; /* of the hours: where the oldest stands once they go in a circle */
	int failed;
};

static int take_hour(void *context, const struct sf_hour *hour)
{
	struct gathering *g = context;
	struct sf_report *r = g->report;
	uint64_t tried = sum(hour->fenced, hour->denied);

	if (!r->first_seen || hour->hour < r->first_seen)
		r->first_seen = hour->hour;
	if (hour->hour > r->last_seen)
		r->last_seen = hour->hour;
	if (hour->hour <= r->from - HOUR)
		return 0;
	add_hour(&r->total, hour);
	if (tried > r->busiest) {
		r->busiest = tried;
		r->total.hour = hour->hour;
	}
	if (r->hour_count == SF_REPORT_HOURS) {
		r->hours[g->begin] = *hour;
		g->begin = (g->begin + 1) % SF_REPORT_HOURS;
		r->hours_left_out++;
		return 0;
	}
	if (r->hour_count == g->room) {
		size_t room = g->room ? g->room * 2 : 64;
		struct sf_hour *more = realloc(r->hours, room * sizeof(*more));

		if (!more) {
			g->failed = -ENOMEM;
			return 1;
		}
		r->hours = more;
		g->room = room;
	}
	r->hours[r->hour_count++] = *hour;
	return 0;
}

static int take_alarm(void *context, const struct sf_history_alarm *alarm)
{
	struct gathering *g = context;
	struct sf_report *r = g->report;

	r->alarms_in_all++;
	if (r->alarm_count == SF_REPORT_ALARMS) {
		memmove(r->alarms, r->alarms + 1, (SF_REPORT_ALARMS - 1) * sizeof(*alarm));
		r->alarm_count--;
	}
	r->alarms[r->alarm_count++] = *alarm;
	return 0;
}

static int hour_order(const void *a, const void *b)
{
	const struct sf_hour *one = a, *two = b;

	return (one->hour > two->hour) - (one->hour < two->hour);
}

int sf_report_gather(struct sf_history *history, const char *who, int64_t from, int64_t to,
		     struct sf_report *report, struct sf_error *err)
{
	struct gathering g = {.report = report};
	const char *path = strstr(who, " /");
	int ret;

	memset(report, 0, sizeof(*report));
	report->made = (int64_t)time(NULL);
	report->from = from;
	report->to = to;
	snprintf(report->who, sizeof(report->who), "%s", who);
	if (path) {
		snprintf(report->user, sizeof(report->user), "%.*s", (int)(path - who), who);
		snprintf(report->cgroup, sizeof(report->cgroup), "%s", path + 1);
	}
	if (gethostname(report->host, sizeof(report->host) - 1))
		report->host[0] = '\0';
	/* One view of both: an alarm must not stand beside hours that don't show it. */
	ret = sf_history_begin(history);
	if (!ret) {
		ret = sf_history_hours(history, who, 0, to, take_hour, &g);
		if (!ret)
			ret = g.failed;
		if (!ret)
			ret = sf_history_alarms(history, who, from, to, take_alarm, &g);
		sf_history_commit(history); /* nothing was written: only the view ends */
	}
	if (ret) {
		sf_report_free(report);
		return sf_fail(err, ret, "can't read the history: %s",
			       ret == -EUCLEAN ? "it is damaged" : strerror(-ret));
	}
	if (g.begin)
		qsort(report->hours, report->hour_count, sizeof(*report->hours), hour_order);
	return 0;
}

void sf_report_free(struct sf_report *report)
{
	free(report->hours);
	memset(report, 0, sizeof(*report));
}

/* Events ----------------------------------------------------------------------------------------
 */

static void copy_member(struct json_object *event, const char *key, char *out, size_t size)
{
	struct json_object *value = NULL;
	const char *text = NULL;

	if (json_object_object_get_ex(event, key, &value) &&
	    json_object_is_type(value, json_type_string))
		text = json_object_get_string(value);
	snprintf(out, size, "%s", text ? text : "");
}

static void take_event(struct sf_report *report, const char *line, const char *user)
{
	struct sf_report_event *e;
	struct json_object *event = json_tokener_parse(line), *port = NULL;
	char name[SF_HISTORY_WHO_MAX], stamp[32];
	int64_t when;

	copy_member(event, "user", name, sizeof(name));
	copy_member(event, "time", stamp, sizeof(stamp));
	/* To the second: "2026-11-23T10:11:12.000000Z" */
	if (strlen(stamp) > 19)
		memcpy(stamp + 19, "Z", 2);
	if (strcmp(name, user) || sf_time_parse(stamp, &when) || when < report->from ||
	    when >= report->to) {
		json_object_put(event);
		return;
	}
	e = &report->events[report->events_in_all++ % SF_REPORT_EVENTS];
	memset(e, 0, sizeof(*e));
	snprintf(e->time, sizeof(e->time), "%.20s", stamp);
	copy_member(event, "verdict", e->verdict, sizeof(e->verdict));
	copy_member(event, "reason", e->reason, sizeof(e->reason));
	copy_member(event, "exe", e->exe, sizeof(e->exe));
	copy_member(event, "cwd", e->cwd, sizeof(e->cwd));
	copy_member(event, "cmdline", e->cmdline, sizeof(e->cmdline));
	copy_member(event, "cgroup", e->cgroup, sizeof(e->cgroup));
	copy_member(event, "daddr", e->daddr, sizeof(e->daddr));
	if (json_object_object_get_ex(event, "dport", &port))
		e->dport = json_object_get_int64(port);
	json_object_put(event);
}

static int read_events(struct sf_report *report, const char *path, const char *user,
		       struct sf_error *err)
{
	_cleanup_fclose_ FILE *in = NULL;
	_cleanup_free_ char *line = malloc(LINE_MAX_BYTES);
	int fd, whole = 1; /* the last piece ended its line */
	struct stat st;

	if (!line)
		return sf_fail(err, -ENOMEM, "no memory");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us */
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st))
		return sf_fail(err, -errno, "can't read %s: %s", path, strerror(errno));
	in = fdopen(fd, "r");
	if (!in || !S_ISREG(st.st_mode)) {
		if (!in)
			close(fd);
		return sf_fail(err, -EINVAL, "%s is not a regular file", path);
	}
	while (fgets(line, LINE_MAX_BYTES, in)) {
		int ends = line[0] && line[strlen(line) - 1] == '\n';

		/* Of a line that is too long every piece is passed over. */
		if (whole && ends)
			take_event(report, line, user);
		whole = ends;
	}
	return ferror(in) ? sf_fail(err, -EIO, "can't read %s", path) : 0;
}

int sf_report_add_events(struct sf_report *report, const char *state_dir, struct sf_error *err)
{
	char user[SF_HISTORY_WHO_MAX], path[PATH_MAX];
	size_t n = 0;
	int ret;

	if (!report->user[0])
		return 0; /* events are of users of this host, not of addresses */
	/* As record.c writes it: JSON has its own backslash before a quote. */
	for (const char *p = report->user; *p; p++) {
		if (p[0] == '\\' && p[1] == '"')
			continue;
		if (p[0] == '\\' && p[1] == '\\')
			user[n++] = *p++;
		user[n++] = *p;
	}
	user[n] = '\0';
	snprintf(path, sizeof(path), "%.4000s/" SF_RECORD_NAME ".1", state_dir);
	ret = read_events(report, path, user, err);
	path[strlen(path) - 2] = '\0';
	return ret ? ret : read_events(report, path, user, err);
}

const struct sf_report_event *sf_report_event_at(const struct sf_report *report, size_t index)
{
	uint64_t kept =
		report->events_in_all < SF_REPORT_EVENTS ? report->events_in_all : SF_REPORT_EVENTS;

	if (index >= kept)
		return NULL;
	return &report->events[(report->events_in_all - kept + index) % SF_REPORT_EVENTS];
}

/* Policy ----------------------------------------------------------------------------------------
 */

/* Does this entry put the report's sender into quarantine? */
static int holds(const struct sf_report *r, const struct sf_entry *entry)
{
	char value[SF_NAME_MAX * 4], number[16];
	struct sf_net_key net;
	size_t length;

	sf_escape_string(entry->value, value, sizeof(value));
	length = strlen(value);
	switch (entry->kind) {
	case SF_ENTRY_QUARANTINE_USER:
		snprintf(number, sizeof(number), "#%u", entry->id);
		return r->user[0] && (!strcmp(r->user, value) || !strcmp(r->user, number));
	case SF_ENTRY_QUARANTINE_CGROUP:
		/* "/" holds all below it too. */
		return r->cgroup[0] && !strncmp(r->cgroup, value, length) &&
		       (!r->cgroup[length] || r->cgroup[length] == '/' || length == 1);
	case SF_ENTRY_QUARANTINE_NET:
		return !r->user[0] && !sf_net_parse(r->who, &net, NULL) &&
		       sf_net_covers(&entry->net, &net);
	default:
		return 0;
	}
}

void sf_report_add_policy(struct sf_report *report, const struct sf_policy *policy)
{
	size_t used = 0;

	report->mode = policy->mode;
	report->quarantine[0] = '\0';
	for (size_t i = 0; i < policy->entry_count; i++) {
		const struct sf_entry *e = &policy->entries[i];
		char until[64] = "removed";
		int n;

		if ((e->expires && e->expires <= report->made) || !holds(report, e))
			continue;
		if (e->expires)
			sf_report_time(e->expires, 0, until, sizeof(until));
		n = snprintf(report->quarantine + used, sizeof(report->quarantine) - used,
			     "%s%s %s until %s%s%s", used ? "; " : "", sf_entry_words[e->kind],
			     e->value, until, e->comment[0] ? ": " : "", e->comment);
		if (n < 0 || (size_t)n >= sizeof(report->quarantine) - used)
			return; /* cut: the rest would say the same */
		used += (size_t)n;
	}
}

/* Rows ------------------------------------------------------------------------------------------
 */

int sf_report_rows(const struct sf_report *report, int64_t length, struct sf_report_row **rows,
		   size_t *count)
{
	struct sf_report_row *made = calloc(report->hour_count + 1, sizeof(*made)), *row = NULL;
	size_t n = 0;

	if (!made)
		return -ENOMEM;
	for (size_t i = 0; i < report->hour_count; i++) {
		const struct sf_hour *hour = &report->hours[i];
		int64_t begin = hour->hour - hour->hour % length;
		uint64_t tried = sum(hour->fenced, hour->denied);

		if (!hour->syn && !tried)
			continue;
		if (!row || row->sum.hour != begin) {
			row = &made[n++];
			row->sum.hour = begin;
		}
		add_hour(&row->sum, hour);
		row->hourly[hour->hour / HOUR % 24] = tried;
	}
	*rows = made;
	*count = n;
	return 0;
}
