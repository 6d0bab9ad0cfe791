/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The administrator's program: started without a shell, as a user without privileges, with a time
 * limit; at most a few at once, and a few that wait.
 */
#ifndef SF_USER_RUNNER_H
#define SF_USER_RUNNER_H

#include <systemd/sd-event.h>
#include "error.h"

#define SF_RUN_AT_ONCE	   8
#define SF_RUN_WAITING	   64
#define SF_RUN_VARIABLES   24
#define SF_RUN_LINES	   20  /* of output that one run may write to the log, */
#define SF_RUN_LINE_LENGTH 512 /* of so many bytes each */

struct sf_order {
	const char *program;
	const char *user;
	int timeout; /* seconds */
	const char *arguments[3];
	/* "SMTPFENCE_X=..."; ended by NULL */
	const char *variables[SF_RUN_VARIABLES + 1];
};

enum sf_run_event {
	SF_RUN_OUTPUT, /* a line that it wrote, escaped */
	SF_RUN_FAILED, /* could not be started, was killed, or ended with an error; escaped */
};

typedef void (*sf_run_fn)(void *context, enum sf_run_event event, const char *text);

struct sf_runner;

int sf_runner_new(sd_event *loop, sf_run_fn tell, void *context, struct sf_runner **runner);
/* Kills those that run, forgets those that wait. */
void sf_runner_free(struct sf_runner *runner);
/* Copies the order. -EAGAIN: too many wait. */
int sf_runner_start(struct sf_runner *runner, const struct sf_order *order);
/* How many run, and how many wait. */
size_t sf_runner_busy(const struct sf_runner *runner, size_t *waiting);

/*
 * May this program be started? An absolute path without links, a file of root's, and it and all
 * directories above it are writable by nobody else. 0, or -EPERM and the mend.
 */
int sf_program_check(const char *program, struct sf_error *err);

#endif
