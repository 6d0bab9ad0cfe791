/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What follows an alarm besides its line in syslog: a journal entry with fields, a program of the
 * administrator's (runner.h), a quarantine (penalty.h); each from its own severity on, none of them
 * in the daemon's way, and all of them bounded in a storm.
 */
#ifndef SF_USER_ACTIONS_H
#define SF_USER_ACTIONS_H

#include <systemd/sd-event.h>
#include "policy.h"
#include "detect/engine.h"

/* In any 10 seconds. What is left out is counted and told at their end. */
#define SF_ACTIONS_SLICE      10
#define SF_ACTIONS_JOURNAL    1000 /* entries */
#define SF_ACTIONS_HOOKS      100  /* starts, */
#define SF_ACTIONS_QUARANTINE 64   /* quarantines */
#define SF_ACTIONS_LINES      40   /* lines about what was done and what was not */

struct sf_actions;

/* Who an alarm is about; texts escaped already (escape.h), "" where there is none. */
struct sf_subject {
	const char *source; /* address, or network where IPv6 sources are counted by network */
	const char *user;
	const char *cgroup;
};

struct sf_actions_hooks {
	void *context;
	/* A line of syslog: "ALERT id=... rule=RULE severity=... TEXT"; the text is escaped. */
	void (*say)(void *context, int severity, const char *rule, const char *text);
	/* For tests; NULL and 0: as on every host. */
	const char *journal;   /* its socket */
	unsigned int slice_ms; /* SF_ACTIONS_SLICE */
};

/*
 * `policy` stays the caller's; it is looked at with each alarm, so what it holds may change in
 * between. `config_file` as on the command line, or NULL.
 */
int sf_actions_new(sd_event *loop, const struct sf_policy *policy, const char *config_file,
		   const struct sf_actions_hooks *hooks, struct sf_actions **actions);
/* Kills hooks that still run. A quarantine that is being entered is let finish. */
void sf_actions_free(struct sf_actions *actions);

/* An alarm was raised or is over. `id` is that of its line in syslog. Does not wait. */
void sf_actions_take(struct sf_actions *actions, const struct sf_alarm *alarm,
		     const struct sf_subject *subject, const char *id);

/* Does an action with this threshold (action_* of the policy) follow this alarm? */
int sf_action_follows(int threshold, const struct sf_alarm *alarm);

/* LOG_NOTICE, LOG_WARNING or LOG_CRIT. */
int sf_rule_severity(enum sf_rule rule);

#endif
