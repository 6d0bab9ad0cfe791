// SPDX-License-Identifier: GPL-2.0-only
/*
 * What follows an alarm: from which severity on, what journal and program are told, that a dry run
 * does nothing, and that a storm stays bounded with every alarm counted.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <cmocka.h>
#include "tree.h"
#include "../../user/actions.h"
#include "../../user/config.h"
#include "../../user/penalty.h"
#include "../../user/runner.h"

static sd_event *loop;
static struct sf_policy policy;
static struct sf_actions *actions;
static char told[1 << 17], main_file[PATH_MAX], journal_path[100];
static size_t lines;

static void say(void *context, int severity, const char *rule, const char *text)
{
	size_t used = strlen(told);

	assert_ptr_equal(context, &loop);
	assert_true(severity >= LOG_CRIT && severity <= LOG_INFO);
	for (const char *p = text; *p; p++)
		assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
	lines++;
	snprintf(told + used, sizeof(told) - used, "%s %s\n", rule, text);
}

static void set(const char *key, const char *value)
{
	assert_int_equal(sf_key_set(&policy, &sf_keys[sf_key_find(key)], value, NULL), 0);
}

static int fresh(void **state)
{
	const struct sf_actions_hooks hooks = {
		.context = &loop, .say = say, .journal = journal_path, .slice_ms = 1000};

	(void)state;
	sf_policy_init(&policy);
	told[0] = '\0';
	lines = 0;
	return sf_actions_new(loop, &policy, main_file, &hooks, &actions);
}

static int done(void **state)
{
	(void)state;
	sf_actions_free(actions);
	actions = NULL;
	sf_policy_free(&policy);
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void wait_for(const char *words)
{
	int64_t end = now_ms() + 20000;

	while (!strstr(told, words)) {
		if (now_ms() > end)
			fail_msg("no \"%s\" in \"%s\"", words, told);
		sd_event_run(loop, 100000);
	}
}

static size_t count_of(const char *words)
{
	size_t n = 0;

	for (const char *p = told; (p = strstr(p, words)); p++)
		n++;
	return n;
}

static const struct sf_subject web = {.source = "", .user = "web1", .cgroup = "/web"};

static struct sf_alarm alarm_of(enum sf_rule rule, uint32_t uid)
{
	return (struct sf_alarm){
		.rule = rule,
		.raised = 1,
		.tally = {.who = {.kind = SF_WHO_SENDER, .key = {.word = {77, uid}}},
			  .class = SF_CLASS_USER,
			  .window = 123,
			  .fenced = 456,
			  .distinct = 78.6},
		.value = 123,
		.limit = 100,
		.evidence = "a=1"};
}

static void take(enum sf_rule rule, uint32_t uid)
{
	struct sf_alarm alarm = alarm_of(rule, uid);

	sf_actions_take(actions, &alarm, &web, "5f-1-2");
}

static void from_which_severity(void **state)
{
	(void)state;
	for (int r = 0; r < SF_RULE_COUNT; r++) {
		struct sf_alarm alarm = alarm_of((enum sf_rule)r, 1);
		int severity = sf_rule_severity((enum sf_rule)r);

		assert_true(severity == LOG_NOTICE || severity == LOG_WARNING ||
			    severity == LOG_CRIT);
		assert_false(sf_action_follows(SF_ACTION_OFF, &alarm));
		assert_true(sf_action_follows(LOG_NOTICE, &alarm));
		assert_int_equal(sf_action_follows(LOG_WARNING, &alarm), severity != LOG_NOTICE);
		assert_int_equal(sf_action_follows(LOG_CRIT, &alarm), severity == LOG_CRIT);
	}
	assert_int_equal(sf_rule_severity(SF_RULE_FIRST), LOG_NOTICE);
	assert_int_equal(sf_rule_severity(SF_RULE_RATE_WARN), LOG_WARNING);
	assert_int_equal(sf_rule_severity(SF_RULE_RATE_ACT), LOG_CRIT);
	/* By default only syslog, which is the caller's: nothing is done here. */
	for (int r = 0; r < SF_RULE_COUNT; r++)
		take((enum sf_rule)r, 1001);
	sd_event_run(loop, 0);
	assert_int_equal(lines, 0);
}

static int open_journal(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", journal_path);
	unlink(journal_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static size_t entries(int fd, char *last, size_t size)
{
	size_t n = 0;
	ssize_t got;

	last[0] = '\0';
	while ((got = recv(fd, last, size - 1, 0)) > 0) {
		last[got] = '\0';
		n++;
	}
	return n;
}

static void fields_of_the_journal(void **state)
{
	struct sf_subject hostile = {
		.source = "", .user = "x\nSMTPFENCE_RULE=none", .cgroup = "/a \\\"b\\\" \xc3\xbc"};
	char text[16384];
	struct sf_alarm alarm = alarm_of(SF_RULE_RATE_ACT, 1001);
	int fd = open_journal();

	(void)state;
	set("action_journald", "critical");
	take(SF_RULE_RATE_WARN, 1001);
	assert_int_equal(entries(fd, text, sizeof(text)), 0);
	take(SF_RULE_RATE_ACT, 1001);
	assert_int_equal(entries(fd, text, sizeof(text)), 1);
	assert_string_equal(
		text, "MESSAGE=raised rate_act: user=\"web1\" uid=1001 cgroup=\"/web\" value=123 "
		      "limit=100\nPRIORITY=2\nSYSLOG_IDENTIFIER=smtpfenced\nSYSLOG_FACILITY=2\n"
		      "SMTPFENCE_ID=5f-1-2\nSMTPFENCE_STATE=raised\nSMTPFENCE_RULE=rate_act\n"
		      "SMTPFENCE_SEVERITY=critical\nSMTPFENCE_KIND=sender\nSMTPFENCE_CLASS=user\n"
		      "SMTPFENCE_SOURCE=\nSMTPFENCE_USER=web1\nSMTPFENCE_UID=1001\n"
		      "SMTPFENCE_CGROUP=/web\nSMTPFENCE_WINDOW=123\nSMTPFENCE_HOUR=0\n"
		      "SMTPFENCE_CONNECTIONS=456\nSMTPFENCE_FAILED=0\nSMTPFENCE_DENIED=0\n"
		      "SMTPFENCE_DISTINCT=79\nSMTPFENCE_VALUE=123\nSMTPFENCE_LIMIT=100\n"
		      "SMTPFENCE_EVIDENCE=a=1\n");
	/* Even an escape that was forgotten makes no field of its own. */
	alarm.raised = 0;
	sf_actions_take(actions, &alarm, &hostile, "i");
	assert_int_equal(entries(fd, text, sizeof(text)), 1);
	assert_null(strstr(text, "\nSMTPFENCE_RULE=none"));
	assert_non_null(strstr(text, "\nSMTPFENCE_STATE=cleared\n"));
	assert_non_null(strstr(text, "\nPRIORITY=6\n"));
	close(fd);
}

static void no_journal(void **state)
{
	char text[16384];
	int fd;

	(void)state;
	set("action_journald", "notice");
	unlink(journal_path);
	for (int i = 0; i < 5; i++)
		take(SF_RULE_DISTINCT, 1001);
	assert_int_equal(lines, 0); /* told at the end of the slice */
	wait_for("journald_lost count=5 ");
	for (int i = 0; i < 3; i++)
		take(SF_RULE_DISTINCT, 1001);
	fd = open_journal();
	take(SF_RULE_DISTINCT, 1001);
	assert_int_equal(entries(fd, text, sizeof(text)), 1);
	wait_for("journald_lost count=3 ");
	assert_int_equal(lines, 2);
	close(fd);
}

static const char *script(const char *text)
{
	const char *full;

	tree_file("/hook", text);
	full = tree_path("/hook");
	assert_int_equal(chmod(full, 0755), 0);
	return full;
}

static void the_hook(void **state)
{
	struct sf_alarm alarm = alarm_of(SF_RULE_RATE_ACT, 1001);
	struct sf_subject hostile = {.source = "2001:db8::/64",
				     .user = "$(touch /tmp/x)\\n\\\"",
				     .cgroup = "/-e `id`; \xff"};

	if (geteuid())
		skip();
	(void)state;
	set("hook", script("#!/bin/sh\nprintf '%s|' \"$@\"; env | grep -a ^SMTPFENCE_ | sort | tr "
			   "'\\n' '|'; echo\n"));
	set("action_hook", "warning");
	take(SF_RULE_FIRST, 1001);
	take(SF_RULE_RATE_ACT, 1001);
	wait_for("SMTPFENCE_WINDOW=123");
	assert_non_null(strstr(told,
			       "hook_output text=\"raised|rate_act|1001|SMTPFENCE_CGROUP=/web|"
			       "SMTPFENCE_CLASS=user|SMTPFENCE_CONNECTIONS=456|"));
	assert_non_null(strstr(told, "|SMTPFENCE_ID=5f-1-2|"));
	assert_non_null(strstr(told, "|SMTPFENCE_USER=web1|"));
	assert_int_equal(lines, 1);
	/* Names are the sender's to choose: in the environment, and nowhere else. */
	told[0] = '\0';
	alarm.raised = 0;
	sf_actions_take(actions, &alarm, &hostile, "i");
	wait_for("SMTPFENCE_WINDOW=123");
	assert_non_null(
		strstr(told, "text=\"cleared|rate_act|1001|SMTPFENCE_CGROUP=/-e `id`; \\xff|"));
	assert_non_null(strstr(told, "|SMTPFENCE_USER=$(touch /tmp/x)\\\\n\\\\\\\"|"));
	told[0] = '\0';
	alarm.tally.who.kind = SF_WHO_SOURCE;
	sf_actions_take(actions, &alarm, &hostile, "i");
	wait_for("SMTPFENCE_WINDOW=123");
	assert_non_null(strstr(told, "text=\"cleared|rate_act|2001:db8::/64|"));
	assert_non_null(strstr(told, "|SMTPFENCE_UID=|"));
	/* Not root's: told, not started. */
	told[0] = '\0';
	assert_int_equal(chown(tree_path("/hook"), 65534, 0), 0);
	take(SF_RULE_RATE_ACT, 1001);
	wait_for("hook_failed text=\"hook: ");
	assert_non_null(strstr(told, "belongs to uid 65534"));
	assert_null(strstr(told, "hook_output"));
	assert_int_equal(chown(tree_path("/hook"), 0, 0), 0);
}

static void a_dry_run(void **state)
{
	if (geteuid())
		skip();
	(void)state;
	set("hook", script("#!/bin/sh\necho ran\n"));
	set("action_hook", "notice");
	set("action_quarantine", "critical");
	set("action_dry_run", "yes");
	tree_file("/main.conf", "syntax error");
	take(SF_RULE_RATE_ACT, 1001);
	take(SF_RULE_RATE_WARN, 1002);
	for (int i = 0; i < 5; i++)
		sd_event_run(loop, 20000);
	assert_int_equal(lines, 3);
	assert_int_equal(count_of("action_dry_run would=hook program=\""), 2);
	assert_int_equal(count_of("action_dry_run would=quarantine user=\"web1\" uid=1001 "
				  "cgroup=\"/web\" by=rate_act alert=5f-1-2"),
			 1);
	assert_null(strstr(told, "hook_output"));
	/* Who would be spared is said as such. */
	take(SF_RULE_RATE_ACT, 0);
	assert_non_null(strstr(told, "quarantine_left_out user=\"web1\" uid=0 "));
}

static void main_says(const char *text)
{
	char all[4 * PATH_MAX];

	snprintf(all, sizeof(all),
		 "FW_OUTPUT_MTA = no\nstate_dir = \"%s/state\"\nmanaged_file = "
		 "\"%s/managed.conf\"\npin_dir = \"%s/pins\"\n%s",
		 tree_root, tree_root, tree_root, text);
	tree_file("/main.conf", all);
	unlink(tree_path("/managed.conf"));
	unlink(tree_path("/state/quarantines"));
}

static void quarantines(void **state)
{
	struct sf_policy now;
	struct sf_error err;

	if (geteuid())
		skip();
	(void)state;
	main_says("");
	set("action_quarantine", "critical");
	take(SF_RULE_RATE_WARN, 1001);
	/* Many at a time are one change; the same one twice is one. */
	for (uint32_t i = 0; i < 30; i++) {
		take(SF_RULE_RATE_ACT, 50000 + i);
		take(SF_RULE_HOUR_ACT, 50000 + i);
	}
	take(SF_RULE_RATE_ACT, 0);
	wait_for("uid=50029 until=");
	assert_int_equal(count_of("quarantined user=\""), 30);
	assert_int_equal(count_of("quarantine_left_out"), 1);
	assert_int_equal(sf_config_load(main_file, &now, &err), 0);
	assert_int_equal(now.entry_count, 30);
	assert_non_null(sf_policy_find(&now, SF_ENTRY_QUARANTINE_USER, "50007"));
	sf_policy_free(&now);
	/* Those that come while one change is made become the next one. */
	take(SF_RULE_RATE_ACT, 60000);
	for (int i = 0; i < 3; i++)
		sd_event_run(loop, 30000);
	take(SF_RULE_RATE_ACT, 60001);
	wait_for("uid=60001 until=");
	assert_int_equal(count_of("uid=60000 until="), 1);
	/* What can't be entered is told. */
	tree_file("/main.conf", "syntax error");
	take(SF_RULE_RATE_ACT, 60002);
	wait_for("quarantine_failed count=1 text=\"");
}

static uint64_t number_after(const char *words)
{
	const char *p = strstr(told, words);

	if (!p)
		fail_msg("no \"%s\" in \"%s\"", words, told);
	return strtoull(p + strlen(words), NULL, 10);
}

/* 100,000 senders: bounded lines, programs and changes, and the rest is in the sums. */
static void a_storm(void **state)
{
	const uint64_t all = 100000;
	int64_t begin = now_ms();
	uint64_t dry = 0;
	int fd;

	if (geteuid())
		skip();
	(void)state;
	main_says("");
	fd = open_journal();
	set("hook", script("#!/bin/sh\nexit 0\n"));
	set("action_journald", "notice");
	set("action_hook", "notice");
	set("action_quarantine", "critical");
	for (uint32_t i = 0; i < all; i++)
		take(SF_RULE_RATE_ACT, 100000 + i);
	assert_true(now_ms() - begin < 5000);
	wait_for("actions_limited");
	wait_for("uid=100063 until=");
	assert_true(lines < SF_ACTIONS_LINES + SF_ACTIONS_QUARANTINE + 5);
	assert_int_equal(number_after("journald="), all - SF_ACTIONS_JOURNAL);
	assert_int_equal(number_after("hook="), all - (SF_RUN_AT_ONCE + SF_RUN_WAITING));
	assert_int_equal(count_of("quarantined user="), SF_ACTIONS_QUARANTINE);
	assert_int_equal(number_after("quarantine="), all - SF_ACTIONS_QUARANTINE);
	close(fd);
	/* The lines of a dry run, and the next slice begins anew. */
	set("action_dry_run", "yes");
	set("action_journald", "off");
	set("action_quarantine", "off");
	told[0] = '\0';
	for (uint32_t i = 0; i < all; i++)
		take(SF_RULE_RATE_ACT, 100000 + i);
	dry = count_of("action_dry_run");
	assert_int_equal(dry, SF_ACTIONS_LINES);
	wait_for("actions_limited");
	assert_int_equal(number_after(" lines="), all - dry);
}

static int setup(void **state)
{
	if (tree_setup(state) || chmod(tree_root, 0755))
		return -1;
	signal(SIGPIPE, SIG_IGN);
	snprintf(main_file, sizeof(main_file), "%s/main.conf", tree_root);
	snprintf(journal_path, sizeof(journal_path), "%s/journal", tree_root);
	if (!geteuid() && unshare(CLONE_NEWNET))
		return -1;
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
		TEST(from_which_severity),
		TEST(fields_of_the_journal),
		TEST(no_journal),
		TEST(the_hook),
		TEST(a_dry_run),
		TEST(quarantines),
		TEST(a_storm),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
