// SPDX-License-Identifier: GPL-2.0-only
/*
 * Quarantines that follow alarms: gathered for a moment, entered by one process at a time, whose
 * lines are told here.
 */
#include "actions_work.h"
#include "cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

/* What comes so close together becomes one change of the policy. */
#define GATHER_US 20000

static void start_worker(struct sf_actions *a);

/* "4 quarantined user=..." */
static void tell_line(struct sf_actions *a, char *line)
{
	char *rule = strchr(line, ' '), *text = rule ? strchr(rule + 1, ' ') : NULL;

	if (!text)
		return;
	*rule++ = *text++ = '\0';
	/* NOLINTNEXTLINE(cert-err34-c): our own child's line (penalty.c) */
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
		actions_tell(
			a, LOG_ERR, "quarantine_failed",
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
	actions_tell(a, LOG_ERR, "quarantine_failed",
		     "count=%zu text=\"can't start a process: %s\"", a->pending_count,
		     strerror(-ret));
	a->pending_count = 0;
}

int actions_on_gathered(sd_event_source *source, uint64_t usec, void *context)
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

void actions_to_quarantine(struct sf_actions *a, const struct sf_alarm *alarm,
			   const struct sf_subject *who, const char *id)
{
	struct sf_offence offence;
	const char *hindrance = sf_penalty_find(a->policy, &alarm->tally, who->cgroup, &offence);
	char subject[1500];

	actions_name(alarm, who, subject, sizeof(subject));
	if (hindrance) {
		actions_tell(a, LOG_NOTICE, "quarantine_left_out",
			     "%s by=%s alert=%.60s text=\"%s\"", subject,
			     sf_rule_names[alarm->rule], id, hindrance);
		return;
	}
	if (a->policy->action_dry_run) {
		actions_tell(a, LOG_NOTICE, "action_dry_run",
			     "would=quarantine %s by=%s alert=%.60s", subject,
			     sf_rule_names[alarm->rule], id);
		return;
	}
	if (waits_already(a, &offence))
		return;
	if (a->pending_count == SF_PENALTY_BATCH) {
		actions_allowed(a, &a->to_quarantine, 0); /* only so that it is told */
		return;
	}
	if (!actions_allowed(a, &a->to_quarantine, SF_ACTIONS_QUARANTINE))
		return;
	offence.rule = sf_rule_names[alarm->rule];
	snprintf(offence.alarm, sizeof(offence.alarm), "%s", id);
	a->pending[a->pending_count++] = offence;
	if (!a->worker && a->pending_count == 1) {
		sd_event_source_set_time_relative(a->gather, GATHER_US);
		sd_event_source_set_enabled(a->gather, SD_EVENT_ONESHOT);
	}
}
