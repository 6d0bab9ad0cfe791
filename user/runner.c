// SPDX-License-Identifier: GPL-2.0-only
/*
 * A run is a process group. Its leader is watched by a pidfd and stays unreaped until the group
 * was killed, so that no number is ever killed that has become somebody else's.
 */
#include "runner.h"
#include "runner_child.h"
#include "cleanup.h"
#include "escape.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct run {
	struct sf_runner *all;
	pid_t pid; /* 0: this place is free */
	int pidfd, output, fault;
	int timeout, timed_out;
	sd_event_source *ended, *readable, *timer;
	char line[SF_RUN_LINE_LENGTH];
	size_t used, lines, cut; /* cut: lines that were not told */
};

struct sf_runner {
	sd_event *loop;
	sf_run_fn tell;
	void *context;
	struct run run[SF_RUN_AT_ONCE];
	struct sf_order *waiting[SF_RUN_WAITING]; /* oldest first */
	size_t waiting_count;
};

/* One allocation for all of an order. */
static struct sf_order *copy_order(const struct sf_order *from)
{
	const char *const *texts[] = {&from->program, &from->user, &from->arguments[0],
				      &from->arguments[1], &from->arguments[2]};
	size_t room = sizeof(*from), variables = 0;
	struct sf_order *to;
	char *p;

	for (size_t i = 0; i < 5; i++)
		room += strlen(*texts[i]) + 1;
	for (; variables < SF_RUN_VARIABLES && from->variables[variables]; variables++)
		room += strlen(from->variables[variables]) + 1;
	to = calloc(1, room);
	if (!to)
		return NULL;
	p = (char *)(to + 1);
	to->timeout = from->timeout;
	to->program = p, p = stpcpy(p, from->program) + 1;
	to->user = p, p = stpcpy(p, from->user) + 1;
	for (size_t i = 0; i < 3; i++)
		to->arguments[i] = p, p = stpcpy(p, from->arguments[i]) + 1;
	for (size_t i = 0; i < variables; i++)
		to->variables[i] = p, p = stpcpy(p, from->variables[i]) + 1;
	return to;
}

int sf_program_check(const char *program, struct sf_error *err)
{
	char path[PATH_MAX], real[PATH_MAX], shown[PATH_MAX];
	struct stat st;

	sf_escape_string(program, shown, 512);
	if (program[0] != '/' || strlen(program) >= sizeof(path))
		return sf_fail(err, -EPERM, "hook %s: write an absolute path", shown);
	if (!realpath(program, real))
		return sf_fail(err, -EPERM, "hook %s: %s", shown, strerror(errno));
	if (strcmp(real, program)) {
		sf_escape_string(real, shown, 512);
		return sf_fail(err, -EPERM, "hook: is a link or lies behind one; write %s", shown);
	}
	/* The file itself, then each directory up to the root. */
	snprintf(path, sizeof(path), "%s", program);
	for (int is_file = 1;; is_file = 0) {
		char *slash = strrchr(path, '/');
		int sticky;

		sf_escape_string(path[0] ? path : "/", shown, 512);
		if (lstat(path[0] ? path : "/", &st))
			return sf_fail(err, -EPERM, "hook: %s: %s", shown, strerror(errno));
		if (is_file && !S_ISREG(st.st_mode))
			return sf_fail(err, -EPERM, "hook %s: is no file", shown);
		if (st.st_uid != 0)
			return sf_fail(err, -EPERM,
				       "hook: %s belongs to uid %u: it must be root's, or whoever "
				       "owns it chooses what runs; chown root it",
				       shown, st.st_uid);
		/* In a sticky directory nobody exchanges what is root's. */
		sticky = !is_file && st.st_mode & S_ISVTX;
		if (st.st_mode & (S_IWGRP | S_IWOTH) && !sticky)
			return sf_fail(err, -EPERM,
				       "hook: %s is writable by others than root; chmod go-w it",
				       shown);
		if (!slash)
			return 0;
		*slash = '\0';
	}
}

static void tell_line(struct run *r)
{
	char text[SF_RUN_LINE_LENGTH * 4 + 1];

	if (r->lines++ >= SF_RUN_LINES) {
		r->cut++;
	} else {
		sf_escape(r->line, r->used, text, sizeof(text));
		r->all->tell(r->all->context, SF_RUN_OUTPUT, text);
	}
	r->used = 0;
}

/* Take what is there, but no more than 64 KiB at a time: others want to be heard too. */
static int read_output(struct run *r)
{
	char buffer[4096];
	ssize_t n = 0;

	for (int i = 0; i < 16 && r->output >= 0; i++) {
		n = read(r->output, buffer, sizeof(buffer));
		if (n <= 0)
			break;
		for (ssize_t k = 0; k < n; k++) {
			if (buffer[k] == '\n')
				tell_line(r);
			else if (r->used < sizeof(r->line)) /* the rest of a long line is cut */
				r->line[r->used++] = buffer[k];
		}
	}
	return n > 0 || (n < 0 && errno == EAGAIN);
}

static int on_output(sd_event_source *source, int fd, uint32_t events, void *context)
{
	struct run *r = context;

	(void)source;
	(void)fd;
	(void)events;
	if (!read_output(r))
		r->readable = sd_event_source_disable_unref(r->readable);
	return 0;
}

static void kill_group(const struct run *r)
{
	kill(-r->pid, SIGKILL);
	kill(r->pid, SIGKILL); /* before it made its group */
}

static void close_run(struct run *r)
{
	r->ended = sd_event_source_disable_unref(r->ended);
	r->readable = sd_event_source_disable_unref(r->readable);
	r->timer = sd_event_source_disable_unref(r->timer);
	if (r->pidfd >= 0)
		close(r->pidfd);
	if (r->output >= 0)
		close(r->output);
	if (r->fault >= 0)
		close(r->fault);
	r->pidfd = r->output = r->fault = -1;
	r->pid = 0;
	r->used = r->lines = r->cut = 0;
	r->timed_out = 0;
}

static void tell_end(struct run *r, int status)
{
	char fault[512], text[2200];
	ssize_t n = read(r->fault, fault, sizeof(fault));

	text[0] = '\0';
	if (n > 0)
		sf_escape(fault, (size_t)n, text, sizeof(text));
	else if (r->timed_out)
		snprintf(text, sizeof(text), "killed after %d s (hook_timeout)", r->timeout);
	else if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "ended by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		snprintf(text, sizeof(text), "exit status %d", WEXITSTATUS(status));
	if (text[0])
		r->all->tell(r->all->context, SF_RUN_FAILED, text);
	if (r->cut) {
		snprintf(text, sizeof(text), "%zu more lines are left out", r->cut);
		r->all->tell(r->all->context, SF_RUN_OUTPUT, text);
	}
}

static void start_waiting(struct sf_runner *runner);

/* The leader ended. What it left behind in its group goes with it, before its number is freed. */
static int on_end(sd_event_source *source, int fd, uint32_t events, void *context)
{
	struct run *r = context;
	struct sf_runner *runner = r->all;
	int status = 0;

	(void)source;
	(void)fd;
	(void)events;
	kill_group(r);
	if (waitpid(r->pid, &status, 0) < 0)
		status = 0;
	read_output(r);
	if (r->used)
		tell_line(r);
	tell_end(r, status);
	close_run(r);
	start_waiting(runner);
	return 0;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *context)
{
	struct run *r = context;

	(void)source;
	(void)usec;
	r->timed_out = 1;
	kill_group(r);
	return 0;
}

static int watch(struct run *r)
{
	sd_event *loop = r->all->loop;
	int ret;

	r->pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0);
	if (r->pidfd < 0)
		return -errno;
	ret = sd_event_add_io(loop, &r->ended, r->pidfd, EPOLLIN, on_end, r);
	if (ret >= 0)
		ret = sd_event_add_io(loop, &r->readable, r->output, EPOLLIN, on_output, r);
	if (ret >= 0)
		ret = sd_event_add_time_relative(loop, &r->timer, CLOCK_MONOTONIC,
						 (uint64_t)r->timeout * 1000000, 100000, on_timeout,
						 r);
	return ret;
}

/* Start an order in a free place. */
static int start(struct run *r, const struct sf_order *order)
{
	int output[2], fault[2], ret;

	if (pipe2(output, O_CLOEXEC))
		return -errno;
	if (pipe2(fault, O_CLOEXEC)) {
		ret = -errno;
		close(output[0]);
		close(output[1]);
		return ret;
	}
	fcntl(output[0], F_SETFL, O_NONBLOCK);
	fcntl(fault[0], F_SETFL, O_NONBLOCK);
	r->timeout = order->timeout;
	r->output = output[0];
	r->fault = fault[0];
	r->pid = fork();
	ret = r->pid < 0 ? -errno : 0;
	if (r->pid == 0)
		sf_runner_child(order, output[1], fault[1]);
	close(output[1]);
	close(fault[1]);
	if (!ret) {
		setpgid(r->pid, r->pid); /* whoever of the two comes first */
		ret = watch(r);
		if (ret < 0) {
			kill_group(r);
			waitpid(r->pid, NULL, 0);
		}
	}
	if (ret < 0)
		close_run(r);
	return ret < 0 ? ret : 0;
}

static void start_waiting(struct sf_runner *runner)
{
	for (size_t i = 0; i < SF_RUN_AT_ONCE && runner->waiting_count; i++) {
		_cleanup_free_ struct sf_order *order = NULL;
		char text[128];
		int ret;

		if (runner->run[i].pid)
			continue;
		order = runner->waiting[0];
		memmove(runner->waiting, runner->waiting + 1,
			/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are moved */
			--runner->waiting_count * sizeof(runner->waiting[0]));
		ret = start(&runner->run[i], order);
		if (ret) {
			snprintf(text, sizeof(text), "can't be started: %s", strerror(-ret));
			runner->tell(runner->context, SF_RUN_FAILED, text);
		}
	}
}

int sf_runner_start(struct sf_runner *runner, const struct sf_order *order)
{
	struct sf_order *copy;

	if (runner->waiting_count == SF_RUN_WAITING)
		return -EAGAIN;
	copy = copy_order(order);
	if (!copy)
		return -ENOMEM;
	runner->waiting[runner->waiting_count++] = copy;
	start_waiting(runner);
	return 0;
}

size_t sf_runner_busy(const struct sf_runner *runner, size_t *waiting)
{
	size_t running = 0;

	for (size_t i = 0; i < SF_RUN_AT_ONCE; i++)
		running += runner->run[i].pid != 0;
	*waiting = runner->waiting_count;
	return running;
}

int sf_runner_new(sd_event *loop, sf_run_fn tell, void *context, struct sf_runner **runner)
{
	struct sf_runner *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->loop = loop;
	r->tell = tell;
	r->context = context;
	for (size_t i = 0; i < SF_RUN_AT_ONCE; i++) {
		r->run[i].all = r;
		r->run[i].pidfd = r->run[i].output = r->run[i].fault = -1;
	}
	*runner = r;
	return 0;
}

void sf_runner_free(struct sf_runner *runner)
{
	if (!runner)
		return;
	for (size_t i = 0; i < SF_RUN_AT_ONCE; i++) {
		if (!runner->run[i].pid)
			continue;
		kill_group(&runner->run[i]);
		waitpid(runner->run[i].pid, NULL, 0);
		close_run(&runner->run[i]);
	}
	for (size_t i = 0; i < runner->waiting_count; i++)
		free(runner->waiting[i]);
	free(runner);
}
