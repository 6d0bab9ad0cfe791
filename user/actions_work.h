/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the actions share: actions_fields.c writes an alarm as fields,
 * actions_quarantine.c has the process that enters quarantines, actions.c the bounds and the rest.
 */
#ifndef SF_USER_ACTIONS_WORK_H
#define SF_USER_ACTIONS_WORK_H

#include "actions.h"
#include "journal.h"
#include "penalty.h"
#include "runner.h"

/* What was done in this slice of time, and what was left out. */
struct actions_budget {
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
	struct actions_budget to_journal, to_hook, to_quarantine, lines;
	sd_event_source *slice_end;

	/* Quarantines: those that wait, and the process that enters those before them. */
	struct sf_offence pending[SF_PENALTY_BATCH];
	size_t pending_count;
	pid_t worker;
	int worker_fd, worker_out;
	sd_event_source *worker_end, *gather;
};

/* An alarm as "SMTPFENCE_X=..." texts: the same for the journal and the hook. */
struct actions_fields {
	const char *text[SF_RUN_VARIABLES + 1];
	size_t count, used;
	char room[8192];
};

/* One more of these in this slice of time, of `most`? What is left out is counted. */
int actions_allowed(struct sf_actions *a, struct actions_budget *budget, uint32_t most);
/* A line; one of many is left out, and counted. */
void actions_tell(struct sf_actions *a, int severity, const char *rule, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* actions_fields.c ----------------------------------------------------------------------------- */

/* Texts are escaped already; but whatever they are, none may begin a field of its own. */
void actions_one_line(char *text);
void actions_describe(const struct sf_alarm *alarm, const struct sf_subject *who, const char *id,
		      struct actions_fields *f);
/* For the lines: user="web1" uid=1001 cgroup="/...", or source="192.0.2.1". */
void actions_name(const struct sf_alarm *alarm, const struct sf_subject *who, char *out,
		  size_t size);

/* actions_quarantine.c ------------------------------------------------------------------------- */

void actions_to_quarantine(struct sf_actions *a, const struct sf_alarm *alarm,
			   const struct sf_subject *who, const char *id);
/* The timer `gather`: what came since is entered, by one process. */
int actions_on_gathered(sd_event_source *source, uint64_t usec, void *context);

#endif
