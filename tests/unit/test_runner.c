// SPDX-License-Identifier: GPL-2.0-only
/*
 * The administrator's program as it finds itself: arguments, environment, rights, descriptors; its
 * end by the clock; and which programs are not started. Needs root, for there are rights to lose.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "tree.h"
#include "../../user/runner.h"

static sd_event *loop;
static struct sf_runner *runner;
static char output[1 << 16], failures[1 << 16];
static size_t lines, failed;

static void tell(void *context, enum sf_run_event event, const char *text)
{
	char *to = event == SF_RUN_OUTPUT ? output : failures;

	assert_ptr_equal(context, &loop);
	for (const char *p = text; *p; p++)
		assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
	lines += event == SF_RUN_OUTPUT;
	failed += event == SF_RUN_FAILED;
	snprintf(to + strlen(to), sizeof(output) - strlen(to), "%s\n", text);
}

static int fresh(void **state)
{
	(void)state;
	output[0] = failures[0] = '\0';
	lines = failed = 0;
	return sf_runner_new(loop, tell, &loop, &runner);
}

static int done(void **state)
{
	(void)state;
	sf_runner_free(runner);
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Until nothing runs and nothing waits. */
static void settle(void)
{
	int64_t end = now_ms() + 20000;
	size_t waiting = 0;

	while (sf_runner_busy(runner, &waiting) || waiting) {
		assert_true(now_ms() < end);
		sd_event_run(loop, 100000);
	}
}

static const char *script(const char *path, const char *text)
{
	const char *full;

	tree_file(path, text);
	full = tree_path(path);
	assert_int_equal(chmod(full, 0755), 0);
	return full;
}

static struct sf_order order_of(const char *program)
{
	return (struct sf_order){.program = program,
				 .user = "nobody",
				 .timeout = 10,
				 .arguments = {"raised", "rate_act", "192.0.2.1"},
				 .variables = {"SMTPFENCE_USER=a b\\\"$(id)`id`;", "SMTPFENCE_X="}};
}

static void run(const char *program)
{
	struct sf_order order = order_of(program);

	assert_int_equal(sf_runner_start(runner, &order), 0);
	settle();
}

static void has(const char *line)
{
	char both[512];

	snprintf(both, sizeof(both), "\n%s\n", line);
	if (strncmp(output, line, strlen(line)) && !strstr(output, both))
		fail_msg("no line \"%s\" in\n%s%s", line, output, failures);
}

static void what_it_is_given(void **state)
{
	if (geteuid())
		skip();
	(void)state;
	assert_int_equal(setenv("LD_PRELOAD_X", "1", 1), 0);
	run(script("/hook",
		   "#!/bin/sh\n"
		   "printf 'args %s|%s|%s|%s\\n' $# \"$1\" \"$2\" \"$3\"\n"
		   "printf 'user %s\\n' \"$SMTPFENCE_USER\"\n"
		   "echo \"cwd $(pwd)\"\n"
		   "cat; echo stdin $?\n"
		   "env -u PWD -u SHLVL -u _ -u OLDPWD | cut -d= -f1 | sort | tr '\\n' ' '; "
		   "echo\n"
		   "echo to stderr >&2\n"));
	assert_string_equal(failures, "");
	has("args 3|raised|rate_act|192.0.2.1");
	has("user a b\\\\\\\"$(id)`id`;"); /* as it was, and escaped once more for the log */
	has("cwd /");
	has("stdin 0");
	has("LANG PATH SMTPFENCE_USER SMTPFENCE_X ");
	has("to stderr");
}

static void what_it_may(void **state)
{
	if (geteuid())
		skip();
	(void)state;
	/* Descriptors that the daemon forgot to close on exec, high ones too. */
	assert_true(dup2(1, 77) >= 0);
	run(script(
		"/hook",
		"#!/bin/sh\n"
		"grep -E '^(Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapAmb|NoNewPrivs|SigBlk|SigIgn)'"
		/* 32 and 33 are the C library's own: whoever started us may ignore them. */
		" /proc/self/status | tr '\\t' ' ' | sed 's/^SigIgn: 00000001/SigIgn: 00000000/;"
		" s/^\\(SigIgn: 00000000\\)8/\\10/'\n"
		"printf 'fds '; ls /proc/$$/fd | sort -n | tr '\\n' ' '; echo\n"
		"echo group $(ps -o pgid= -p $$ 2>/dev/null || awk '{print $5}' /proc/$$/stat) $$\n"
		"(echo x > /etc/smtpfence-test) 2>/dev/null || echo no file\n"));
	close(77);
	assert_string_equal(failures, "");
	has("Uid: 65534 65534 65534 65534");
	has("Gid: 65534 65534 65534 65534");
	has("Groups:  ");
	has("CapInh: 0000000000000000");
	has("CapPrm: 0000000000000000");
	has("CapEff: 0000000000000000");
	has("CapAmb: 0000000000000000");
	has("NoNewPrivs: 1");
	has("SigBlk: 0000000000000000");
	has("SigIgn: 0000000000000000");
	has("fds 0 1 2 10 "); /* 10: the shell's own, of its script */
	has("no file");
}

static int gone(pid_t pid)
{
	int64_t end = now_ms() + 5000;

	while (kill(pid, 0) == 0) {
		char path[64], text[256] = "";
		FILE *stat;

		/* A zombie whose parent does not look is dead too. */
		snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
		stat = fopen(path, "re");
		if (stat) {
			if (!fgets(text, sizeof(text), stat))
				text[0] = '\0';
			fclose(stat);
		}
		if (strstr(text, ") Z "))
			return 1;
		if (now_ms() > end)
			return 0;
		usleep(10000);
	}
	return 1;
}

static void its_time_is_over(void **state)
{
	struct sf_order order;
	int64_t begin = now_ms();
	pid_t child;

	if (geteuid())
		skip();
	(void)state;
	order = order_of(script("/hook", "#!/bin/sh\ntrap '' TERM INT HUP\n"
					 "sleep 1000 &\necho $!\nsleep 1000\n"));
	order.timeout = 1;
	assert_int_equal(sf_runner_start(runner, &order), 0);
	settle();
	assert_true(now_ms() - begin >= 900 && now_ms() - begin < 10000);
	assert_string_equal(failures, "killed after 1 s (hook_timeout)\n");
	child = (pid_t)atoi(output);
	assert_true(child > 1);
	assert_true(gone(child)); /* the whole group */
}

/* Who leaves somebody behind, with our pipe in his hand, is not waited for. */
static void it_leaves_somebody_behind(void **state)
{
	int64_t begin = now_ms();

	if (geteuid())
		skip();
	(void)state;
	run(script("/hook", "#!/bin/sh\nsleep 1000 &\necho $!\n"));
	assert_true(now_ms() - begin < 5000);
	assert_string_equal(failures, "");
	assert_true(gone((pid_t)atoi(output)));
}

static void how_it_ends(void **state)
{
	if (geteuid())
		skip();
	(void)state;
	run(script("/hook", "#!/bin/sh\nexit 7\n"));
	assert_string_equal(failures, "exit status 7\n");
	failures[0] = '\0';
	run(script("/hook", "#!/bin/sh\nkill -USR1 $$\n"));
	assert_string_equal(failures, "ended by signal 10\n");
	failures[0] = '\0';
	run(script("/hook", "#!/no/such/shell\n"));
	assert_non_null(strstr(failures, "No such file"));
	failures[0] = '\0';
	assert_int_equal(chmod(script("/hook", "#!/bin/sh\n"), 0700), 0);
	run(tree_path("/hook"));
	assert_non_null(strstr(failures, "Permission denied"));
}

static void what_it_writes(void **state)
{
	if (geteuid())
		skip();
	(void)state;
	run(script("/hook", "#!/bin/sh\nprintf 'a\\033[31m\\377\"\\n'\n"
			    "head -c 100000 /dev/zero | tr '\\0' x\n"
			    "echo\nfor i in $(seq 100); do echo $i; done\nprintf end\n"));
	assert_string_equal(failures, "");
	has("a\\x1b[31m\\xff\\\"");
	has("18");
	assert_null(strstr(output, "\n19\n"));
	assert_int_equal(lines, SF_RUN_LINES + 1);
	has("83 more lines are left out");
	assert_true(strlen(output) < 1200);
	/* A flood is read on, and ends with its time. */
	output[0] = '\0';
	struct sf_order order = order_of(script("/hook", "#!/bin/sh\nexec yes\n"));

	order.timeout = 1;
	assert_int_equal(sf_runner_start(runner, &order), 0);
	settle();
	assert_string_equal(failures, "killed after 1 s (hook_timeout)\n");
	assert_non_null(strstr(output, "more lines are left out"));
	assert_true(strlen(output) < 200);
}

static void many_at_once(void **state)
{
	struct sf_order order;
	size_t waiting = 0;

	if (geteuid())
		skip();
	(void)state;
	order = order_of(script("/hook", "#!/bin/sh\nsleep 0.2\necho done\n"));
	for (int i = 0; i < SF_RUN_AT_ONCE + SF_RUN_WAITING; i++)
		assert_int_equal(sf_runner_start(runner, &order), 0);
	assert_int_equal(sf_runner_start(runner, &order), -EAGAIN);
	assert_int_equal(sf_runner_busy(runner, &waiting), SF_RUN_AT_ONCE);
	assert_int_equal(waiting, SF_RUN_WAITING);
	settle();
	assert_int_equal(lines, SF_RUN_AT_ONCE + SF_RUN_WAITING);
	assert_string_equal(failures, "");
}

static void refused(const char *program, const char *why)
{
	size_t before = lines;

	failures[0] = '\0';
	run(program);
	if (!strstr(failures, why))
		fail_msg("%s: not \"%s\" but \"%s\"", program, why, failures);
	assert_int_equal(lines, before); /* it did not run */
	assert_int_equal(sf_program_check(program, NULL), -EPERM);
}

static void which_are_not_started(void **state)
{
	char real[PATH_MAX], path[PATH_MAX];

	if (geteuid())
		skip();
	(void)state;
	snprintf(path, sizeof(path), "%s", script("/d/hook", "#!/bin/sh\necho ran\n"));
	assert_int_equal(sf_program_check(path, NULL), 0);
	run(path);
	assert_string_equal(output, "ran\n");
	refused("hook", "absolute");
	refused("/no/such/file", "No such file");
	refused(tree_path("/d"), "no file");
	assert_int_equal(chown(path, 65534, 0), 0);
	refused(path, "chown root");
	assert_int_equal(chown(path, 0, 0), 0);
	assert_int_equal(chmod(path, 0775), 0);
	refused(path, "chmod go-w");
	assert_int_equal(chmod(path, 0757), 0);
	refused(path, "chmod go-w");
	assert_int_equal(chmod(path, 0755), 0);
	/* Who may write the directory exchanges the file. */
	assert_int_equal(chmod(tree_path("/d"), 0777), 0);
	refused(path, "/d is writable");
	assert_int_equal(chmod(tree_path("/d"), 01777), 0); /* but not root's in a sticky one */
	assert_int_equal(sf_program_check(path, NULL), 0);
	assert_int_equal(chmod(tree_path("/d"), 0755), 0);
	assert_int_equal(chown(tree_path("/d"), 65534, 0), 0);
	refused(path, "belongs to uid 65534");
	assert_int_equal(chown(tree_path("/d"), 0, 0), 0);
	tree_link("/link", path);
	refused(tree_path("/link"), "write");
	snprintf(real, sizeof(real), "%s/d", tree_root);
	tree_link("/e", real);
	snprintf(real, sizeof(real), "%s/e/hook", tree_root);
	refused(real, "write");
	snprintf(real, sizeof(real), "%s/d/../d/hook", tree_root);
	refused(real, "write");
	/* Looked at each time: what was good a moment ago. */
	lines = 0;
	run(path);
	assert_int_equal(lines, 1);
}

static void whom_it_runs_as(void **state)
{
	struct sf_order order;

	if (geteuid())
		skip();
	(void)state;
	order = order_of(script("/hook", "#!/bin/sh\nid -u\n"));
	order.user = "65534";
	assert_int_equal(sf_runner_start(runner, &order), 0);
	settle();
	assert_string_equal(output, "65534\n");
	order.user = "no-such-user-here";
	assert_int_equal(sf_runner_start(runner, &order), 0);
	order.user = "3999999999"; /* no account, so no group */
	assert_int_equal(sf_runner_start(runner, &order), 0);
	order.user = "root";
	assert_int_equal(sf_runner_start(runner, &order), 0);
	settle();
	assert_int_equal(lines, 1);
	assert_int_equal(failed, 3);
	assert_non_null(strstr(failures, "no such user"));
	assert_non_null(strstr(failures, "root's uid"));
}

static void stopped_while_they_run(void **state)
{
	struct sf_order order;
	int64_t end = now_ms() + 10000;

	if (geteuid())
		skip();
	(void)state;
	order = order_of(script("/hook", "#!/bin/sh\necho $$\nexec sleep 1000\n"));
	for (int i = 0; i < 12; i++)
		assert_int_equal(sf_runner_start(runner, &order), 0);
	while (lines < SF_RUN_AT_ONCE && now_ms() < end)
		sd_event_run(loop, 100000);
	sf_runner_free(runner);
	runner = NULL;
	for (char *p = output; *p; p = strchr(p, '\n') + 1)
		assert_true(gone((pid_t)atoi(p)));
}

static int setup(void **state)
{
	if (tree_setup(state) || chmod(tree_root, 0755))
		return -1;
	signal(SIGPIPE, SIG_IGN); /* as the daemon has it */
	return sd_event_new(&loop) < 0;
}

static int teardown(void **state)
{
	sd_event_unref(loop);
	return tree_teardown(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, done)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_it_is_given), TEST(what_it_may),
		TEST(its_time_is_over), TEST(it_leaves_somebody_behind),
		TEST(how_it_ends),	TEST(what_it_writes),
		TEST(many_at_once),	TEST(which_are_not_started),
		TEST(whom_it_runs_as),	TEST(stopped_while_they_run),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
