// SPDX-License-Identifier: GPL-2.0-only
#include "actions.h"
#include "cleanup.h"
#include "escape.h"
#include "gateway.h"
#include "journal.h"
#include "penalty.h"
#include "runner.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

/* What comes so close together becomes one change of the policy. */
#define GATHER_US 20000

/* What was done in this slice of time, and what was left out. */
struct budget {
	uint32_t used;
	uint64_t left_out;
};

struct sf_actions {
	sd_event *loop;
	const struct sf_policy *policy;
	const char *config_file;
	struct sf_actions_hooks hooks;
	struct sf_runner *runner;
	struct sf_journal journal;
	int journal_told; /* that it does not take entries */
	struct budget to_journal, to_hook, to_quarantine, lines;
	sd_event_source *slice_end;

	/* Quarantines: those that wait, and the process that enters those before them. */
	struct sf_offence pending[SF_PENALTY_BATCH];
	size_t pending_count;
	pid_t worker;
	int worker_fd, worker_out;
	sd_event_source *worker_end, *gather;
};

/* An alarm as "SMTPFENCE_X=..." texts: the same for the journal and the hook. */
struct fields {
	const char *text[SF_RUN_VARIABLES + 1];
	size_t count, used;
	char room[8192];
};

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

static int allowed(struct sf_actions *a, struct budget *budget, uint32_t most)
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
static void __attribute__((format(printf, 4, 5)))
tell(struct sf_actions *a, int severity, const char *rule, const char *format, ...)
{
	char text[4096];
	va_list args;

	if (!allowed(a, &a->lines, SF_ACTIONS_LINES))
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
	struct budget *all[] = {&a->to_journal, &a->to_hook, &a->to_quarantine, &a->lines};
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

/* Fields --------------------------------------------------------------------------------------- */

/* Texts are escaped already; but whatever they are, none may begin a field of its own. */
static void make_one_line(char *text)
{
	for (char *p = text; *p; p++)
		if (*p == '\n')
			*p = ' ';
}

static void __attribute__((format(printf, 2, 3))) add(struct fields *f, const char *format, ...)
{
	size_t room = sizeof(f->room) - f->used;
	va_list args;
	char *start;
	int n;

	if (f->count == SF_RUN_VARIABLES || room < 64)
		return;
	va_start(args, format);
	n = vsnprintf(f->room + f->used, room, format, args);
	va_end(args);
	start = f->room + f->used;
	f->text[f->count++] = start;
	f->used += (size_t)n < room ? (size_t)n + 1 : room;
	make_one_line(start);
}

static void describe(const struct sf_alarm *alarm, const struct sf_subject *who, const char *id,
		     struct fields *f)
{
	const struct sf_tally *t = &alarm->tally;

	f->count = f->used = 0;
	add(f, "SMTPFENCE_ID=%s", id);
	add(f, "SMTPFENCE_STATE=%s", alarm->raised ? "raised" : "cleared");
	add(f, "SMTPFENCE_RULE=%s", sf_rule_names[alarm->rule]);
	add(f, "SMTPFENCE_SEVERITY=%s", sf_severity_name(sf_rule_severity(alarm->rule)));
	add(f, "SMTPFENCE_KIND=%s", t->who.kind == SF_WHO_SOURCE ? "source" : "sender");
	add(f, "SMTPFENCE_CLASS=%s", t->class < SF_CLASS_COUNT ? sf_class_names[t->class] : "");
	add(f, "SMTPFENCE_SOURCE=%.1024s", who->source);
	add(f, "SMTPFENCE_USER=%.1024s", who->user);
	if (t->who.kind == SF_WHO_SENDER)
		add(f, "SMTPFENCE_UID=%u", (uint32_t)t->who.key.word[1]);
	else
		add(f, "SMTPFENCE_UID=");
	add(f, "SMTPFENCE_CGROUP=%.1024s", who->cgroup);
	add(f, "SMTPFENCE_WINDOW=%u", t->window);
	add(f, "SMTPFENCE_HOUR=%u", t->hour);
	add(f, "SMTPFENCE_CONNECTIONS=%llu", (unsigned long long)t->fenced);
	add(f, "SMTPFENCE_FAILED=%llu", (unsigned long long)(t->refused + t->silent));
	add(f, "SMTPFENCE_DENIED=%llu", (unsigned long long)t->denied);
	add(f, "SMTPFENCE_DISTINCT=%.0f", t->distinct);
	add(f, "SMTPFENCE_VALUE=%.6g", alarm->value);
	add(f, "SMTPFENCE_LIMIT=%.6g", alarm->limit);
	add(f, "SMTPFENCE_EVIDENCE=%.160s", alarm->evidence);
	f->text[f->count] = NULL;
}

/* For the lines: user="web1" uid=1001 cgroup="/...", or source="192.0.2.1". */
static void name(const struct sf_alarm *alarm, const struct sf_subject *who, char *out, size_t size)
{
	if (alarm->tally.who.kind == SF_WHO_SOURCE)
		snprintf(out, size, "source=\"%.200s\"", who->source);
	else
		snprintf(out, size, "user=\"%.200s\" uid=%u cgroup=\"%.1024s\"", who->user,
			 (uint32_t)alarm->tally.who.key.word[1], who->cgroup);
}

/* The actions ---------------------------------------------------------------------------------- */

static void to_journal(struct sf_actions *a, const struct sf_alarm *alarm,
		       const struct sf_subject *who, const struct fields *f)
{
	const char *fields[SF_RUN_VARIABLES + 4];
	char message[2048], priority[32], subject[1500];
	size_t n = 0;

	if (!allowed(a, &a->to_journal, SF_ACTIONS_JOURNAL))
		return;
	name(alarm, who, subject, sizeof(subject));
	snprintf(message, sizeof(message), "MESSAGE=%s %s: %s value=%.6g limit=%.6g",
		 alarm->raised ? "raised" : "cleared", sf_rule_names[alarm->rule], subject,
		 alarm->value, alarm->limit);
	make_one_line(message);
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
		    const struct sf_subject *who, const struct fields *f)
{
	struct sf_order order = {.program = a->policy->hook,
				 .user = a->policy->hook_user,
				 .timeout = a->policy->hook_timeout};
	char uid[16], subject[1500], program[512];

	if (a->policy->action_dry_run) {
		name(alarm, who, subject, sizeof(subject));
		sf_escape_string(a->policy->hook, program, sizeof(program));
		tell(a, LOG_NOTICE, "action_dry_run", "would=hook program=\"%s\" %s %s %s", program,
		     alarm->raised ? "raised" : "cleared", sf_rule_names[alarm->rule], subject);
		return;
	}
	/* Names are the senders' to choose: they go into the environment only. */
	snprintf(uid, sizeof(uid), "%u", (uint32_t)alarm->tally.who.key.word[1]);
	order.arguments[0] = alarm->raised ? "raised" : "cleared";
	order.arguments[1] = sf_rule_names[alarm->rule];
	order.arguments[2] = alarm->tally.who.kind == SF_WHO_SOURCE ? who->source : uid;
	memcpy(order.variables, f->text, sizeof(f->text));
	if (!allowed(a, &a->to_hook, SF_ACTIONS_HOOKS))
		return;
	if (sf_runner_start(a->runner, &order))
		a->to_hook.left_out++;
}

static void start_worker(struct sf_actions *a);

/* "4 quarantined user=..." */
static void tell_line(struct sf_actions *a, char *line)
{
	char *rule = strchr(line, ' '), *text = rule ? strchr(rule + 1, ' ') : NULL;

	if (!text)
		return;
	*rule++ = *text++ = '\0';
	a->hooks.say(a->hooks.context, atoi(line), rule, text);
}

static void tell_worker(struct sf_actions *a)
{
	_cleanup_fclose_ FILE *lines = fdopen(a->worker_out, "r");
	char line[1100];

	if (!lines) {
		close(a->worker_out);
		return;
	}
	while (fgets(line, sizeof(line), lines)) {
		line[strcspn(line, "\n")] = '\0';
		tell_line(a, line);
	}
}

static int on_worker_end(sd_event_source *source, int fd, uint32_t events, void *context)
{
	struct sf_actions *a = context;
	int status = 0;

	(void)source;
	(void)events;
	waitpid(a->worker, &status, 0);
	/* A child of its own that lives on may hold the other end: what is there, and no more. */
	fcntl(a->worker_out, F_SETFL, O_NONBLOCK);
	tell_worker(a);
	if (WIFSIGNALED(status))
		tell(a, LOG_ERR, "quarantine_failed",
		     "text=\"ended by signal %d%s; what was not entered is not in quarantine\"",
		     WTERMSIG(status),
		     WTERMSIG(status) == SIGALRM ? ": took longer than a minute" : "");
	a->worker_end = sd_event_source_disable_unref(a->worker_end);
	close(fd);
	a->worker = 0;
	a->worker_out = a->worker_fd = -1;
	if (a->pending_count)
		start_worker(a);
	return 0;
}

static void start_worker(struct sf_actions *a)
{
	int ret = sf_penalty_start(a->config_file, a->pending, a->pending_count, &a->worker_out);

	if (ret > 0) {
		a->pending_count = 0;
		a->worker = ret;
		a->worker_fd = (int)syscall(SYS_pidfd_open, a->worker, 0);
		ret = a->worker_fd < 0 ? -errno
				       : sd_event_add_io(a->loop, &a->worker_end, a->worker_fd,
							 EPOLLIN, on_worker_end, a);
		if (ret >= 0)
			return;
		/* It can't be watched, so it is waited for. */
		waitpid(a->worker, NULL, 0);
		tell_worker(a);
		a->worker = 0;
		a->worker_out = -1;
		return;
	}
	tell(a, LOG_ERR, "quarantine_failed", "count=%zu text=\"can't start a process: %s\"",
	     a->pending_count, strerror(-ret));
	a->pending_count = 0;
}

static int on_gathered(sd_event_source *source, uint64_t usec, void *context)
{
	struct sf_actions *a = context;

	(void)source;
	(void)usec;
	if (!a->worker && a->pending_count)
		start_worker(a);
	return 0;
}

static int waits_already(const struct sf_actions *a, const struct sf_offence *offence)
{
	for (size_t i = 0; i < a->pending_count; i++)
		if (a->pending[i].is_net == offence->is_net && a->pending[i].uid == offence->uid &&
		    !memcmp(&a->pending[i].net, &offence->net, sizeof(offence->net)))
			return 1;
	return 0;
}

static void to_quarantine(struct sf_actions *a, const struct sf_alarm *alarm,
			  const struct sf_subject *who, const char *id)
{
	struct sf_offence offence;
	const char *hindrance = sf_penalty_find(a->policy, &alarm->tally, who->cgroup, &offence);
	char subject[1500];

	name(alarm, who, subject, sizeof(subject));
	if (hindrance) {
		tell(a, LOG_NOTICE, "quarantine_left_out", "%s by=%s alert=%.60s text=\"%s\"",
		     subject, sf_rule_names[alarm->rule], id, hindrance);
		return;
	}
	if (a->policy->action_dry_run) {
		tell(a, LOG_NOTICE, "action_dry_run", "would=quarantine %s by=%s alert=%.60s",
		     subject, sf_rule_names[alarm->rule], id);
		return;
	}
	if (waits_already(a, &offence))
		return;
	if (a->pending_count == SF_PENALTY_BATCH) {
		allowed(a, &a->to_quarantine, 0); /* only so that it is told */
		return;
	}
	if (!allowed(a, &a->to_quarantine, SF_ACTIONS_QUARANTINE))
		return;
	offence.rule = sf_rule_names[alarm->rule];
	snprintf(offence.alarm, sizeof(offence.alarm), "%s", id);
	a->pending[a->pending_count++] = offence;
	if (!a->worker && a->pending_count == 1) {
		sd_event_source_set_time_relative(a->gather, GATHER_US);
		sd_event_source_set_enabled(a->gather, SD_EVENT_ONESHOT);
	}
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
	struct fields fields;

	describe(alarm, subject, id, &fields);
	if (sf_action_follows(p->action_journald, alarm))
		to_journal(a, alarm, subject, &fields);
	if (p->hook[0] && sf_action_follows(p->action_hook, alarm))
		to_hook(a, alarm, subject, &fields);
	/* It ends by its own time, not with the alarm. */
	if (alarm->raised &&
	    (sf_action_follows(p->action_quarantine, alarm) || gateway_asks(p, alarm)))
		to_quarantine(a, alarm, subject, id);
}

static void on_run(void *context, enum sf_run_event event, const char *text)
{
	tell(context, event == SF_RUN_FAILED ? LOG_WARNING : LOG_INFO,
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
		ret = add_timer(loop, &a->gather, on_gathered, a);
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
