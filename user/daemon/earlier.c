// SPDX-License-Identifier: GPL-2.0-only
/*
 * Alarms and the history's rows of them, where the two were apart: a daemon before this one raised
 * them, or the history could not be written when they were raised. An alarm is told once, and over
 * once, whatever ends in between.
 */
#include "watch.h"
#include "../escape.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

/* A row that lasts, or was over so lately that it is still cooling down. */
struct earlier {
	char *who;
	enum sf_rule rule;
	int64_t id, raised, cleared;
};

static int rule_of(const char *name)
{
	for (int rule = 0; rule < SF_RULE_COUNT; rule++)
		if (!strcmp(sf_rule_names[rule], name))
			return rule;
	return -1;
}

/* Of too many the newest: older ones are over, or are told again. */
static int take(void *context, const struct sf_history_alarm *row)
{
	struct census_watch *c = context;
	struct earlier *e = &c->earlier[c->earlier_count % EARLIER_MAX];
	int rule = rule_of(row->rule);
	char *who;

	if (row->id > c->earlier_last)
		c->earlier_last = row->id;
	who = rule < 0 ? NULL : strdup(row->who);
	if (!who)
		return 0;
	free(e->who);
	*e = (struct earlier){who, (enum sf_rule)rule, row->id, row->raised, row->cleared};
	c->earlier_count++;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct earlier *)a)->who, ((const struct earlier *)b)->who);
}

void alarms_load_earlier(struct daemon *d)
{
	struct census_watch *c = d->census;

	c->earlier = calloc(EARLIER_MAX, sizeof(*c->earlier));
	if (!c->earlier)
		return;
	sf_history_alarms(c->history, NULL, (int64_t)time(NULL) - d->policy.alert_cooldown,
			  INT64_MAX, take, c);
	if (c->earlier_count > EARLIER_MAX)
		c->earlier_count = EARLIER_MAX;
	qsort(c->earlier, c->earlier_count, sizeof(*c->earlier), by_name);
}

void alarms_free_earlier(struct census_watch *c)
{
	for (size_t i = 0; i < c->earlier_count; i++)
		free(c->earlier[i].who);
	free(c->earlier);
	c->earlier = NULL;
	c->earlier_count = 0;
}

static uint32_t ago(int64_t when)
{
	int64_t seconds = (int64_t)time(NULL) - when;

	/* The wall clock may have been set since. */
	return seconds < 0 ? 0 : seconds >= SF_NEVER_AGO ? SF_NEVER_AGO - 1 : (uint32_t)seconds;
}

void alarms_earlier(void *context, const struct sf_who *who, struct sf_earlier *out)
{
	struct daemon *d = context;
	struct census_watch *c = d->census;
	char name[SF_HISTORY_WHO_MAX];
	const struct earlier key = {.who = name}, *e;

	if (!c->earlier_count)
		return;
	watch_name(d, who, name, sizeof(name));
	e = bsearch(&key, c->earlier, c->earlier_count, sizeof(*e), by_name);
	if (!e)
		return;
	while (e > c->earlier && !strcmp(e[-1].who, name))
		e--;
	for (; e < c->earlier + c->earlier_count && !strcmp(e->who, name); e++) {
		uint32_t then = ago(e->cleared ? e->cleared : e->raised);

		if (out->raised >> e->rule & 1)
			continue;
		if (!e->cleared) {
			out->raised = (uint16_t)(out->raised | 1u << e->rule);
			out->ago[e->rule] = then;
			alarms_hold(c, who, e->rule, e->id, e->raised);
		} else if (then < out->ago[e->rule]) {
			out->ago[e->rule] = then;
		}
	}
}

/* Rows that last ------------------------------------------------------------------------------- */

#define SOME 256

struct lasting {
	const struct census_watch *c;
	size_t count;
	struct sf_history_alarm row[SOME];
};

static int take_unheld(void *context, const struct sf_history_alarm *row)
{
	struct lasting *l = context;

	if (row->cleared || row->id > l->c->earlier_last)
		return 0;
	for (size_t i = 0; i < l->c->raised_count; i++)
		if (l->c->raised[i].id == row->id)
			return 0;
	l->row[l->count++] = *row;
	return l->count == SOME;
}

/* The name in the history as the fields of a line. */
static void put_name(const char *name, char *out, size_t size)
{
	const char *path = strstr(name, " /");

	if (!path)
		path = strstr(name, " #");
	if (path)
		snprintf(out, size, "user=\"%.*s\" cgroup=\"%s\"", (int)(path - name), name,
			 path + 1);
	else
		snprintf(out, size, "source=%s", name);
}

static void tell_over(struct daemon *d, const struct sf_history_alarm *row, int64_t now)
{
	char who[SF_HISTORY_WHO_MAX + 64];
	int rule = rule_of(row->rule);

	if (rule < 0 || d->policy.action_syslog == SF_ACTION_OFF ||
	    sf_rule_severity((enum sf_rule)rule) > d->policy.action_syslog ||
	    !denials_line_allowed(d, 1))
		return;
	put_name(row->who, who, sizeof(who));
	daemon_alert(d, LOG_INFO, "cleared", "was=%s %s after=%llds", row->rule, who,
		     (long long)(now > row->raised ? now - row->raised : 0));
}

int alarms_end_unheld(struct daemon *d)
{
	struct census_watch *c = d->census;
	struct lasting *l = malloc(sizeof(*l));
	int64_t now = (int64_t)time(NULL);
	int more = 0, ret;

	if (!l || !c->history) {
		free(l);
		return 0;
	}
	l->c = c;
	l->count = 0;
	ret = sf_history_alarms(c->history, NULL, INT64_MAX - 1, INT64_MAX, take_unheld, l);
	if (!ret)
		ret = sf_history_begin(c->history);
	if (!ret) {
		for (size_t i = 0; i < l->count; i++)
			sf_history_clear(c->history, l->row[i].id, now);
		ret = sf_history_commit(c->history);
	}
	for (size_t i = 0; i < l->count && !ret; i++)
		tell_over(d, &l->row[i], now);
	if (ret)
		chronicle_fault(d, ret);
	else
		more = l->count == SOME;
	free(l);
	return more;
}

/* The history was opened while alarms last -----------------------------------------------------
 */

struct search {
	const char *who, *rule;
	int64_t id;
};

static int is_it(void *context, const struct sf_history_alarm *row)
{
	struct search *s = context;

	if (!row->cleared && !strcmp(row->rule, s->rule))
		s->id = row->id;
	return s->id != 0;
}

void alarms_rejoin(struct daemon *d)
{
	struct census_watch *c = d->census;
	int ret = sf_history_begin(c->history);

	if (ret)
		return;
	for (size_t i = 0; i < c->raised_count; i++) {
		struct raised *r = &c->raised[i];
		struct sf_history_alarm row = {.raised = r->when};
		struct search search = {row.who, row.rule, 0};

		alarms_row(d, &r->who, r->rule, &row);
		snprintf(row.text, sizeof(row.text), "raised before this history was begun");
		sf_history_alarms(c->history, row.who, INT64_MAX - 1, INT64_MAX, is_it, &search);
		if (!search.id && !sf_history_raise(c->history, &row))
			search.id = row.id;
		r->id = search.id;
	}
	ret = sf_history_commit(c->history);
	if (ret)
		chronicle_fault(d, ret);
	c->started = daemon_now(); /* rows that nobody holds are over when all were looked at */
	c->earlier_last = INT64_MAX;
	c->ending = 1;
}
