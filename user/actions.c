// SPDX-License-Identifier: GPL-2.0-only
#include "actions_work.h"
#include "escape.h"
#include "gateway.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

int sf_rule_severity(enum sf_rule rule)
{
	static const int severities[] = {
#define X(name, label, severity, text) [SF_RULE_##name] = LOG_##severity,
		SF_RULES(X)
#undef X
	};

	return severities[rule];
}

int sf_action_follows(int threshold, const struct sf_alarm *alarm)
{
	return threshold != SF_ACTION_OFF && sf_rule_severity(alarm->rule) <= threshold;
}

int actions_allowed(struct sf_actions *a, struct actions_budget *budget, uint32_t most)
{
	int on = SD_EVENT_OFF;

	sd_event_source_get_enabled(a->slice_end, &on);
	if (on == SD_EVENT_OFF) {
		sd_event_source_set_time_relative(a->slice_end, a->hooks.slice_ms * 1000ULL);
		sd_event_source_set_enabled(a->slice_end, SD_EVENT_ONESHOT);
	}
	if (budget->used < most) {
		budget->used++;
		return 1;
	}
	budget->left_out++;
	return 0;
}

/* A line; one of many is left out, and counted. */
void actions_tell(struct sf_actions *a, int severity, const char *rule, const char *format, ...)
{
	char text[4096];
	va_list args;

	if (!actions_allowed(a, &a->lines, SF_ACTIONS_LINES))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	a->hooks.say(a->hooks.context, severity, rule, text);
}

static void tell_journal(struct sf_actions *a)
{
	char text[160];

	if (!a->journal.lost || (a->journal_told && a->journal.failing))
		return;
	snprintf(text, sizeof(text), "count=%llu text=\"%s\"", (unsigned long long)a->journal.lost,
		 a->journal.failing ? "the journal takes no entries; told once until it does"
				    : "entries that the journal did not take");
	a->hooks.say(a->hooks.context, LOG_WARNING, "journald_lost", text);
	a->journal_told = a->journal.failing;
	a->journal.lost = 0;
}

static int on_slice_end(sd_event_source *source, uint64_t usec, void *context)
{
	struct sf_actions *a = context;
	struct actions_budget *all[] = {&a->to_journal, &a->to_hook, &a->to_quarantine, &a->lines};
	uint64_t left_out = 0;
	char text[256];

	(void)source;
	(void)usec;
	for (size_t i = 0; i < 4; i++)
		left_out += all[i]->left_out;
	if (left_out) {
		snprintf(
			text, sizeof(text),
			"journald=%llu hook=%llu quarantine=%llu lines=%llu window=%ds text=\"left "
			"out: too many at once\"",
			(unsigned long long)a->to_journal.left_out,
			(unsigned long long)a->to_hook.left_out,
			(unsigned long long)a->to_quarantine.left_out,
			(unsigned long long)a->lines.left_out, SF_ACTIONS_SLICE);
		a->hooks.say(a->hooks.context, LOG_WARNING, "actions_limited", text);
	}
	for (size_t i = 0; i < 4; i++)
		memset(all[i], 0, sizeof(*all[i]));
	tell_journal(a);
	return 0;
}

static void to_journal(struct sf_actions *a, const struct sf_alarm *alarm,
		       const struct sf_subject *who, const struct actions_fields *f)
{
	const char *fields[SF_RUN_VARIABLES + 4];
	char message[2048], priority[32], subject[1500];
	size_t n = 0;

	if (!actions_allowed(a, &a->to_journal, SF_ACTIONS_JOURNAL))
		return;
	actions_name(alarm, who, subject, sizeof(subject));
	snprintf(message, sizeof(message), "MESSAGE=%s %s: %s value=%.6g limit=%.6g",
		 alarm->raised ? "raised" : "cleared", sf_rule_names[alarm->rule], subject,
		 alarm->value, alarm->limit);
	actions_one_line(message);
	snprintf(priority, sizeof(priority), "PRIORITY=%d",
		 alarm->raised ? sf_rule_severity(alarm->rule) : LOG_INFO);
	fields[n++] = message;
	fields[n++] = priority;
	fields[n++] = "SYSLOG_IDENTIFIER=smtpfenced";
	fields[n++] = "SYSLOG_FACILITY=2"; /* mail */
	for (size_t i = 0; i < f->count; i++)
		fields[n++] = f->text[i];
	sf_journal_send(&a->journal, fields, n);
}

static void to_hook(struct sf_actions *a, const struct sf_alarm *alarm,
		    const struct sf_subject *who, const struct actions_fields *f)
{
	struct sf_order order = {.program = a->policy->hook,
				 .user = a->policy->hook_user,
				 .timeout = a->policy->hook_timeout};
	char uid[16], subject[1500], program[512];

	if (a->policy->action_dry_run) {
		actions_name(alarm, who, subject, sizeof(subject));
		sf_escape_string(a->policy->hook, program, sizeof(program));
		actions_tell(a, LOG_NOTICE, "action_dry_run", "would=hook program=\"%s\" %s %s %s",
			     program, alarm->raised ? "raised" : "cleared",
			     sf_rule_names[alarm->rule], subject);
		return;
	}
	/* Names are the senders' to choose: they go into the environment only. */
	snprintf(uid, sizeof(uid), "%u", (uint32_t)alarm->tally.who.key.word[1]);
	order.arguments[0] = alarm->raised ? "raised" : "cleared";
	order.arguments[1] = sf_rule_names[alarm->rule];
	order.arguments[2] = alarm->tally.who.kind == SF_WHO_SOURCE ? who->source : uid;
	memcpy(order.variables, f->text, sizeof(f->text));
	if (!actions_allowed(a, &a->to_hook, SF_ACTIONS_HOOKS))
		return;
	if (sf_runner_start(a->runner, &order))
		a->to_hook.left_out++;
}

/* A customer's source at its second limit, where that is what gateway_limit asks for. */
static int gateway_asks(const struct sf_policy *policy, const struct sf_alarm *alarm)
{
	return policy->gateway_limit == SF_GATEWAY_LIMIT_QUARANTINE &&
	       alarm->rule == SF_RULE_RATE_ACT && alarm->tally.who.kind == SF_WHO_SOURCE &&
	       sf_gateway_has(policy->pin_dir, alarm->tally.ifindex);
}

void sf_actions_take(struct sf_actions *a, const struct sf_alarm *alarm,
		     const struct sf_subject *subject, const char *id)
{
	const struct sf_policy *p = a->policy;
	struct actions_fields fields;

	actions_describe(alarm, subject, id, &fields);
	if (sf_action_follows(p->action_journald, alarm))
		to_journal(a, alarm, subject, &fields);
	if (p->hook[0] && sf_action_follows(p->action_hook, alarm))
		to_hook(a, alarm, subject, &fields);
	/* It ends by its own time, not with the alarm. */
	if (alarm->raised &&
	    (sf_action_follows(p->action_quarantine, alarm) || gateway_asks(p, alarm)))
		actions_to_quarantine(a, alarm, subject, id);
}

static void on_run(void *context, enum sf_run_event event, const char *text)
{
	actions_tell(context, event == SF_RUN_FAILED ? LOG_WARNING : LOG_INFO,
		     event == SF_RUN_FAILED ? "hook_failed" : "hook_output", "text=\"%s\"", text);
}

static int add_timer(sd_event *loop, sd_event_source **source, sd_event_time_handler_t handler,
		     void *context)
{
	int ret = sd_event_add_time_relative(loop, source, CLOCK_MONOTONIC, 0, 1000, handler,
					     context);

	return ret < 0 ? ret : sd_event_source_set_enabled(*source, SD_EVENT_OFF);
}

int sf_actions_new(sd_event *loop, const struct sf_policy *policy, const char *config_file,
		   const struct sf_actions_hooks *hooks, struct sf_actions **actions)
{
	struct sf_actions *a = calloc(1, sizeof(*a));
	int ret;

	if (!a)
		return -ENOMEM;
	a->loop = loop;
	a->policy = policy;
	a->config_file = config_file;
	a->hooks = *hooks;
	if (!a->hooks.slice_ms)
		a->hooks.slice_ms = SF_ACTIONS_SLICE * 1000;
	a->worker_fd = a->worker_out = -1;
	sf_journal_init(&a->journal, hooks->journal);
	ret = sf_runner_new(loop, on_run, a, &a->runner);
	if (ret >= 0)
		ret = add_timer(loop, &a->slice_end, on_slice_end, a);
	if (ret >= 0)
		ret = add_timer(loop, &a->gather, actions_on_gathered, a);
	if (ret < 0) {
		sf_actions_free(a);
		return ret;
	}
	*actions = a;
	return 0;
}

void sf_actions_free(struct sf_actions *a)
{
	if (!a)
		return;
	sf_runner_free(a->runner);
	sf_journal_close(&a->journal);
	sd_event_source_disable_unref(a->slice_end);
	sd_event_source_disable_unref(a->gather);
	sd_event_source_disable_unref(a->worker_end);
	if (a->worker_fd >= 0)
		close(a->worker_fd);
	if (a->worker_out >= 0)
		close(a->worker_out);
	free(a);
}
