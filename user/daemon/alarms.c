// SPDX-License-Identifier: GPL-2.0-only
/*
 * From the engine's alarms to a line, a row of the history, and the actions; and what the engine
 * asks the history.
 */
#include "watch.h"
#include "../detect/baseline.h"
#include "../explain.h"
#include "../net.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LEARN_SECONDS	 86400 /* so long a history must be before "never seen" means anything */
#define TOP_DESTINATIONS 3

static int add_baseline_row(void *context, const struct sf_hour *hour)
{
	struct {
		struct sf_baseline_hour rows[SF_BASELINE_DAYS * 24];
		size_t count;
		int64_t since;
	} *b = context;

	if (!b->since)
		b->since = hour->hour;
	if (b->count == sizeof(b->rows) / sizeof(b->rows[0]))
		return 1;
	b->rows[b->count].hour = hour->hour;
	b->rows[b->count++].fenced = hour->fenced;
	return 0;
}

void alarms_baseline(void *context, const struct sf_who *who, int64_t now,
		     struct sf_baseline *baseline)
{
	struct daemon *d = context;
	struct {
		struct sf_baseline_hour rows[SF_BASELINE_DAYS * 24];
		size_t count;
		int64_t since;
	} b = {.count = 0};
	char name[SF_HISTORY_WHO_MAX];

	memset(baseline, 0, sizeof(*baseline));
	if (!d->census->history || !d->census->now)
		return;
	watch_name(d, who, name, sizeof(name));
	if (!sf_history_hours(d->census->history, name, now - SF_BASELINE_DAYS * 86400LL, now,
			      add_baseline_row, &b) &&
	    b.count)
		sf_baseline_compute(b.rows, b.count, b.since, now, baseline);
}

int alarms_is_known(void *context, const struct sf_who *who)
{
	struct daemon *d = context;
	char name[SF_HISTORY_WHO_MAX];

	/* Without a day of history everybody would be new. */
	if (!d->census->history || !d->census->now || !d->census->history_since ||
	    (int64_t)time(NULL) - d->census->history_since < LEARN_SECONDS)
		return 1;
	watch_name(d, who, name, sizeof(name));
	return sf_history_known(d->census->history, name) != 0;
}

static size_t put_destinations(struct daemon *d, const struct sf_who *who, char *out, size_t size)
{
	struct sf_destination top[TOP_DESTINATIONS];
	size_t n = sf_census_destinations(d->policy.pin_dir, d->census->now, who, top,
					  TOP_DESTINATIONS),
	       used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < n && used < size; i++) {
		struct sf_net_key net = {.prefixlen = SF_NET_BITS_MAX, .family = SF_FAMILY_V6};
		char text[64];

		net.addr = top[i].addr;
		if (!memcmp(&net.addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12))
			net.family = SF_FAMILY_V4;
		sf_net_format(&net, text, sizeof(text));
		used += (size_t)snprintf(out + used, size - used, "%s%s:%u", i ? " " : "", text,
					 top[i].count);
	}
	return n;
}

/* "source=..." or "user=... cgroup=...": who it is, for the line. */
static void put_who(struct daemon *d, const struct sf_who *who, char *out, size_t size)
{
	char name[SF_HISTORY_WHO_MAX], user[128];
	const char *path;

	watch_name(d, who, name, sizeof(name));
	if (who->kind == SF_WHO_SOURCE) {
		snprintf(out, size, "source=%s", name);
		return;
	}
	sf_explain_user((uint32_t)who->key.word[1], user, sizeof(user));
	path = name + strlen(user);
	snprintf(out, size, "user=\"%s\" uid=%u cgroup=\"%s\"", user, (uint32_t)who->key.word[1],
		 *path ? path + 1 : path);
}

void alarms_hold(struct census_watch *c, const struct sf_who *who, enum sf_rule rule, int64_t id,
		 int64_t when)
{
	struct raised *r;

	if (c->raised_count == RAISED_MAX)
		memmove(c->raised, c->raised + 1, --c->raised_count * sizeof(*c->raised));
	r = &c->raised[c->raised_count++];
	r->who = *who;
	r->rule = rule;
	r->id = id;
	r->when = when;
}

void alarms_row(struct daemon *d, const struct sf_who *who, enum sf_rule rule,
		struct sf_history_alarm *row)
{
	watch_name(d, who, row->who, sizeof(row->who));
	snprintf(row->rule, sizeof(row->rule), "%s", sf_rule_names[rule]);
	snprintf(row->severity, sizeof(row->severity), "%s",
		 sf_severity_name(sf_rule_severity(rule)));
}

/*
 * What is raised and over in one look is one transaction: of a storm, each would otherwise wait for
 * a commit of its own.
 */
static void begin(struct census_watch *c)
{
	if (c->now && !c->gathering)
		c->gathering = !sf_history_begin(c->history);
}

void alarms_commit(struct daemon *d)
{
	struct census_watch *c = d->census;
	int ret;

	if (!c->gathering)
		return;
	c->gathering = 0;
	ret = sf_history_commit(c->history);
	for (size_t i = 0; i < c->raised_count && ret; i++)
		if (c->raised[i].id >= c->gathered_from)
			c->raised[i].id = 0; /* no such row */
	c->gathered_from = INT64_MAX;
	if (ret)
		chronicle_fault(d, ret);
}

static void remember(struct daemon *d, const struct sf_alarm *alarm, const char *text)
{
	struct census_watch *c = d->census;
	struct sf_history_alarm row = {.raised = (int64_t)time(NULL)};
	int ret = 0;

	alarms_row(d, &alarm->tally.who, alarm->rule, &row);
	snprintf(row.text, sizeof(row.text), "%.1000s", text);
	if (c->history) {
		begin(c);
		ret = sf_history_raise(c->history, &row);
	}
	if (ret)
		chronicle_fault(d, ret);
	else if (row.id && row.id < c->gathered_from)
		c->gathered_from = row.id;
	/* Without a row too: it is entered when the history can be written again. */
	alarms_hold(c, &alarm->tally.who, alarm->rule, ret ? 0 : row.id, row.raised);
}

static void forget(struct daemon *d, const struct sf_alarm *alarm)
{
	struct census_watch *c = d->census;

	for (size_t i = 0; i < c->raised_count; i++) {
		if (c->raised[i].rule != alarm->rule ||
		    memcmp(&c->raised[i].who, &alarm->tally.who, sizeof(alarm->tally.who)))
			continue;
		if (c->history && c->raised[i].id) {
			begin(c);
			sf_history_clear(c->history, c->raised[i].id, (int64_t)time(NULL));
		}
		c->raised[i] = c->raised[--c->raised_count];
		return;
	}
}

struct line {
	char text[1600];
	size_t used;
};

/* A figure, unless the rule's own evidence names it already. */
static void add_figure(struct line *line, const char *key, uint64_t value)
{
	char name[32];

	snprintf(name, sizeof(name), " %s=", key);
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): a prefix is compared */
	if (strstr(line->text, name) || !strncmp(line->text, name + 1, strlen(name + 1)) ||
	    line->used >= sizeof(line->text))
		return;
	line->used += (size_t)snprintf(line->text + line->used, sizeof(line->text) - line->used,
				       "%s%s%llu", line->used ? " " : "", name + 1,
				       (unsigned long long)value);
}

/*
 * The figures of an alarm: the rule's evidence, then what else was counted, then the destinations;
 * these only for a line: they are searched for in all attempts, which a storm can't wait for.
 */
static void put_figures(struct daemon *d, const struct sf_alarm *alarm, int is_told,
			struct line *line)
{
	const struct sf_tally *t = &alarm->tally;
	char top[256] = "";

	line->used = (size_t)snprintf(line->text, sizeof(line->text), "%s", alarm->evidence);
	add_figure(line, "count", t->window);
	add_figure(line, "hour", t->hour);
	add_figure(line, "day", t->day);
	add_figure(line, "connections", t->fenced);
	add_figure(line, "distinct", (uint64_t)(t->distinct + 0.5));
	add_figure(line, "answered", t->answered);
	add_figure(line, "refused", t->refused);
	add_figure(line, "silent", t->silent);
	add_figure(line, "repeated", t->retransmitted);
	add_figure(line, "denied", t->denied);
	if (is_told)
		put_destinations(d, &t->who, top, sizeof(top));
	if (line->used < sizeof(line->text))
		snprintf(line->text + line->used, sizeof(line->text) - line->used,
			 " class=%s top=\"%s\"", sf_class_names[t->class], top);
}

/* What follows besides the line, under its id. */
static void act(struct daemon *d, const struct sf_alarm *alarm, const char *id)
{
	const struct sf_who *who = &alarm->tally.who;
	char name[SF_HISTORY_WHO_MAX], user[128] = "";
	struct sf_subject subject = {.source = "", .user = user, .cgroup = ""};

	watch_name(d, who, name, sizeof(name));
	if (who->kind == SF_WHO_SOURCE) {
		subject.source = name;
	} else {
		sf_explain_user((uint32_t)who->key.word[1], user, sizeof(user));
		subject.cgroup = name + strlen(user) + (name[strlen(user)] == ' ');
	}
	sf_actions_take(d->census->actions, alarm, &subject, id);
}

void alarms_take(void *context, const struct sf_alarm *alarm)
{
	struct daemon *d = context;
	int severity = sf_rule_severity(alarm->rule);
	int wanted = sf_action_follows(d->policy.action_syslog, alarm);
	struct line line;
	char who[1024], id[sizeof(d->last_id)];

	put_who(d, &alarm->tally.who, who, sizeof(who));
	daemon_new_id(d); /* the actions' own, where no line is written */
	if (!alarm->raised) {
		forget(d, alarm);
		if (wanted && denials_line_allowed(d, 1))
			daemon_alert(d, LOG_INFO, "cleared", "was=%s %s after=%llds",
				     sf_rule_names[alarm->rule], who,
				     (long long)(daemon_now() - alarm->since));
		act(d, alarm, d->last_id);
		return;
	}
	wanted = wanted && denials_line_allowed(d, severity <= LOG_WARNING);
	put_figures(d, alarm, wanted, &line);
	/* Told first, then entered: whoever dies between the two has it told again, not kept back.
	 */
	if (wanted)
		daemon_alert(d, severity, sf_rule_names[alarm->rule], "%s %s", who, line.text);
	memcpy(id, d->last_id, sizeof(id)); /* a failure below tells a line of its own */
	remember(d, alarm, line.text);
	if (wanted)
		alarms_commit(d);
	act(d, alarm, id);
}
