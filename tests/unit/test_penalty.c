// SPDX-License-Identifier: GPL-2.0-only
/*
 * Quarantine by alarm: who never gets it, for how long others do, what is remembered, and that the
 * managed file holds what was said. In a network namespace of its own, with the mode off, so that
 * no kernel state but the files is touched. Needs root.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <cmocka.h>
#include "tree.h"
#include "../../user/config.h"
#include "../../user/files.h"
#include "../../user/penalty.h"
#include "../../user/repeats.h"

#define DAY 86400

static struct sf_policy policy;
static char main_file[PATH_MAX], state_dir[PATH_MAX];
static char told[8192];

static int fresh(void **state)
{
	(void)state;
	sf_policy_init(&policy);
	return 0;
}

static int done(void **state)
{
	(void)state;
	sf_policy_free(&policy);
	return 0;
}

static struct sf_tally sender(uint32_t uid)
{
	return (struct sf_tally){.who = {.kind = SF_WHO_SENDER, .key = {.word = {77, uid}}},
				 .class = SF_CLASS_USER};
}

static struct sf_tally source(const char *address)
{
	struct sf_tally tally = {.who = {.kind = SF_WHO_SOURCE}, .class = SF_CLASS_UNKNOWN};
	struct sf_net_key net;

	assert_int_equal(sf_net_parse(address, &net, NULL), 0);
	memcpy(&tally.who.key, &net.addr, sizeof(net.addr));
	return tally;
}

static void mail(const char *path, const char *users)
{
	struct sf_entry e = {.kind = SF_ENTRY_MAIL};

	snprintf(e.value, sizeof(e.value), "%s", path);
	e.user_names = users ? strdup(users) : NULL;
	assert_int_equal(sf_entry_resolve(&e, NULL), 0);
	assert_int_equal(sf_policy_append(&policy, &e), 0);
}

static int spared(struct sf_tally tally, const char *cgroup)
{
	struct sf_offence offence;

	return sf_penalty_find(&policy, &tally, cgroup, &offence) != NULL;
}

static void who_is_spared(void **state)
{
	static const enum sf_class ours[] = {SF_CLASS_LOOPBACK, SF_CLASS_LOCAL, SF_CLASS_MAIL};
	struct sf_tally tally;

	(void)state;
	mail("/system.slice/postfix.service", "1002,1003");
	mail("/mail \"x\"", NULL);
	assert_false(spared(sender(1001), "/web"));
	assert_true(spared(sender(0), "/web"));
	assert_true(spared(sender(UINT32_MAX), ""));
	assert_true(spared(sender(1003), "/web")); /* wherever he is */
	assert_false(spared(sender(1004), "/system.slice/postfix.service"));
	/* Everybody in a mail server's cgroup without users, as texts are escaped. */
	assert_true(spared(sender(1001), "/mail \\\"x\\\""));
	assert_true(spared(sender(1001), "/mail \\\"x\\\"/below"));
	assert_false(spared(sender(1001), "/mail \\\"x\\\"y"));
	assert_false(spared(sender(1001), "/mail"));
	for (size_t i = 0; i < 3; i++) {
		tally = sender(1001);
		tally.class = ours[i];
		assert_true(spared(tally, "/web"));
		tally = source("192.0.2.1");
		tally.class = ours[i];
		assert_true(spared(tally, ""));
	}
	mail("/", NULL);
	assert_true(spared(sender(1001), "/web"));
	assert_true(spared(sender(1001), ""));
}

static void sources(void **state)
{
	struct sf_offence offence;
	struct sf_tally tally = source("192.0.2.1");
	char text[64];

	(void)state;
	assert_null(sf_penalty_find(&policy, &tally, "", &offence));
	sf_net_format(&offence.net, text, sizeof(text));
	assert_string_equal(text, "192.0.2.1");
	tally = source("2001:db8:1:2::");
	assert_null(sf_penalty_find(&policy, &tally, "", &offence));
	sf_net_format(&offence.net, text, sizeof(text));
	assert_string_equal(text, "2001:db8:1:2::/64");
	/* The host's own, whatever class a limit of its own gave it. */
	if (geteuid() || system("ip addr add 198.51.100.9/24 dev lo; ip link set lo up; "
				"ip addr add 2001:db8:7:7::9/128 dev lo nodad") != 0)
		skip();
	tally = source("198.51.100.9");
	tally.class = SF_CLASS_NAMED;
	assert_true(spared(tally, ""));
	assert_true(spared(source("127.0.0.1"), ""));
	assert_false(spared(source("198.51.100.8"), ""));
	assert_true(spared(source("2001:db8:7:7::"), "")); /* its whole /64 */
	assert_false(spared(source("2001:db8:7:8::"), ""));
}

static void how_long(void **state)
{
	int64_t times[40], now = 1000000000;

	(void)state;
	policy.quarantine_time = 3600;
	policy.quarantine_permanent = 4;
	assert_int_equal(sf_penalty_length(&policy, NULL, 0, now), 3600);
	times[0] = now - 20 * DAY;
	assert_int_equal(sf_penalty_length(&policy, times, 1, now), 7200);
	times[1] = now - DAY;
	times[2] = now - DAY + 1;
	assert_int_equal(sf_penalty_length(&policy, times, 3, now), 8 * 3600);
	/* The fourth within a day, and not the fourth within a day and a second. */
	times[0] = now - DAY;
	times[1] = now - 5;
	times[2] = now - 1;
	assert_int_equal(sf_penalty_length(&policy, times, 3, now), 8 * 3600);
	times[0]++;
	assert_int_equal(sf_penalty_length(&policy, times, 3, now), 0);
	policy.quarantine_permanent = 1;
	assert_int_equal(sf_penalty_length(&policy, NULL, 0, now), 0);
	policy.quarantine_permanent = 0;
	assert_int_equal(sf_penalty_length(&policy, times, 3, now), 8 * 3600);
	/* Forgotten after 30 days, on either side of a clock that was wrong. */
	times[0] = now - SF_PENALTY_MEMORY;
	times[1] = now + SF_PENALTY_MEMORY;
	assert_int_equal(sf_penalty_length(&policy, times, 2, now), 3600);
	times[0]++;
	times[1]--;
	assert_int_equal(sf_penalty_length(&policy, times, 2, now), 4 * 3600);
	/* Never longer than a year, nor an overflow. */
	for (size_t i = 0; i < 40; i++)
		times[i] = now - 2 * DAY;
	assert_int_equal(sf_penalty_length(&policy, times, 40, now), SF_PENALTY_LONGEST);
	policy.quarantine_time = SF_PENALTY_LONGEST;
	assert_int_equal(sf_penalty_length(&policy, times, 40, now), SF_PENALTY_LONGEST);
}

static void the_file(void **state)
{
	struct sf_repeats repeats;
	struct sf_repeat *r;
	char who[64];

	(void)state;
	assert_int_equal(sf_repeats_load(tree_path("/none"), &repeats), 0);
	assert_int_equal(repeats.count, 0);
	for (int i = 1; i <= SF_PENALTY_KEEP + 3; i++)
		sf_repeat_add(sf_repeats_of(&repeats, "user 1001"), i * 10);
	sf_repeat_add(sf_repeats_of(&repeats, "net 2001:db8::/64"), 7);
	sf_repeats_of(&repeats, "user 5"); /* nothing came of it */
	mkdir(tree_path("/kept"), 0755);
	assert_int_equal(sf_repeats_save(tree_path("/kept"), &repeats, NULL), 0);
	sf_repeats_free(&repeats);
	assert_int_equal(sf_repeats_load(tree_path("/kept"), &repeats), 0);
	assert_int_equal(repeats.count, 2);
	r = sf_repeats_of(&repeats, "user 1001");
	assert_int_equal(r->count, SF_PENALTY_KEEP);
	assert_int_equal(r->times[0], 40);
	assert_int_equal(r->times[SF_PENALTY_KEEP - 1], (SF_PENALTY_KEEP + 3) * 10);
	sf_repeats_free(&repeats);
	/* Half a line, other words, no numbers: left out, the rest stays. */
	tree_file("/kept/quarantines", "user 1 100\nuser\n\nuser 2\nuser 3 x\nhost a 5\nuser 4 -1\n"
				       "net 192.0.2.1 5 6\nuser 9 12");
	assert_int_equal(sf_repeats_load(tree_path("/kept"), &repeats), 0);
	assert_int_equal(repeats.count, 3);
	assert_int_equal(sf_repeats_of(&repeats, "net 192.0.2.1")->count, 2);
	/* Full: whoever came back longest ago gives way. */
	for (int i = 0; i < SF_PENALTY_ROOM + 10; i++) {
		snprintf(who, sizeof(who), "user %d", 10000 + i);
		sf_repeat_add(sf_repeats_of(&repeats, who), 1000 + i);
	}
	assert_int_equal(repeats.count, SF_PENALTY_ROOM);
	assert_int_equal(sf_repeats_of(&repeats, who)->count, 1);
	for (size_t i = 0; i < repeats.count; i++)
		assert_true(repeats.list[i].times[0] >= 1010);
	sf_repeats_free(&repeats);
}

/* What the files say now, after these were entered; `told` is what was said. */
static int enter(const struct sf_offence *offences, size_t count)
{
	struct sf_error err;
	int pipe_ends[2], ret;
	ssize_t n;

	assert_int_equal(pipe(pipe_ends), 0);
	ret = sf_penalty_enter(main_file, offences, count, pipe_ends[1]);
	close(pipe_ends[1]);
	n = read(pipe_ends[0], told, sizeof(told) - 1);
	told[n > 0 ? n : 0] = '\0';
	close(pipe_ends[0]);
	sf_policy_free(&policy);
	assert_int_equal(sf_config_load(main_file, &policy, &err), 0);
	return ret;
}

static void main_says(const char *lines)
{
	char text[4 * PATH_MAX];

	snprintf(text, sizeof(text),
		 "FW_OUTPUT_MTA = no\nstate_dir = \"%s\"\nmanaged_file = \"%s/managed.conf\"\n"
		 "pin_dir = \"%s/pins\"\nquarantine_time = 3600\n%s",
		 state_dir, tree_root, tree_root, lines);
	tree_file("/main.conf", text);
	unlink(tree_path("/managed.conf"));
	unlink(tree_path("/state/quarantines"));
}

static struct sf_offence offence_of(uint32_t uid)
{
	return (struct sf_offence){.uid = uid, .rule = "rate_act", .alarm = "5f-1-2"};
}

static int64_t left(const char *value)
{
	const struct sf_entry *e = sf_policy_find(&policy, SF_ENTRY_QUARANTINE_USER, value);

	assert_non_null(e);
	assert_true(e->managed);
	return e->expires ? e->expires - (int64_t)time(NULL) : 0;
}

static void entered(void **state)
{
	struct sf_offence two[2] = {offence_of(54321), offence_of(65534)};
	const struct sf_entry *e;

	if (geteuid())
		skip();
	(void)state;
	main_says("");
	two[1].is_net = 1;
	sf_net_parse("2001:db8:1::/64", &two[1].net, NULL);
	assert_int_equal(enter(two, 2), 0);
	assert_in_range(left("54321"), 3595, 3600);
	e = sf_policy_find(&policy, SF_ENTRY_QUARANTINE_NET, "2001:db8:1::/64");
	assert_non_null(e);
	assert_string_equal(e->comment, "smtpfenced: rate_act, alert 5f-1-2");
	assert_non_null(strstr(told, "4 quarantined user=\"54321\" uid=54321 until=2"));
	assert_non_null(strstr(told, "4 quarantined source=\"2001:db8:1::/64\" until=2"));
	/* By its name, where the host has one. */
	two[0] = offence_of(65534);
	assert_int_equal(enter(two, 1), 0);
	assert_in_range(left("nobody"), 3595, 3600);
	/* Once more while he is there: nothing, and it counts for nothing. */
	for (int i = 0; i < 5; i++)
		assert_int_equal(enter(two, 1), 0);
	assert_string_equal(told, "");
	assert_in_range(left("nobody"), 3590, 3600);
}

/* Who comes back after it was over stays longer, and in the end for good. */
static void again_and_again(void **state)
{
	static const int64_t lengths[] = {3600, 7200, 14400, 0};
	struct sf_offence one = offence_of(54321);
	char line[64];

	if (geteuid())
		skip();
	(void)state;
	main_says("");
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(enter(&one, 1), 0);
		if (lengths[i])
			assert_in_range(left("54321"), lengths[i] - 5, lengths[i]);
		else
			assert_int_equal(left("54321"), 0);
		unlink(tree_path("/managed.conf")); /* let out, by whomever */
	}
	assert_non_null(strstr(told, "until=never"));
	/* Longer ago than a month: as if never. */
	snprintf(line, sizeof(line), "user 54321 %lld 1000\n",
		 (long long)time(NULL) - SF_PENALTY_MEMORY);
	tree_file("/state/quarantines", line);
	assert_int_equal(enter(&one, 1), 0);
	assert_in_range(left("54321"), 3595, 3600);
}

/* The administrator's own word stands: neither shortened nor said again. */
static void the_administrators(void **state)
{
	struct sf_offence many[3] = {offence_of(65534), offence_of(54321), offence_of(54322)};

	if (geteuid())
		skip();
	(void)state;
	main_says("quarantine_user nobody { }\nquarantine_net 10.0.0.0/8 { }\n"
		  "quarantine_user 54321 { expires = \"2001-01-01T00:00:00Z\" }\n");
	many[2].is_net = 1;
	sf_net_parse("10.1.2.3", &many[2].net, NULL);
	assert_int_equal(enter(many, 3), 0);
	assert_int_equal(policy.entry_count, 3);
	assert_in_range(left("54321"), 3595, 3600); /* that one was over */
	assert_null(strstr(told, "nobody"));
	assert_null(strstr(told, "10.1.2.3"));
}

static void it_fails(void **state)
{
	struct sf_offence one = offence_of(54321);
	struct sf_error err;

	if (geteuid())
		skip();
	(void)state;
	main_says("");
	/* By a process of its own; its lines are whole. */
	for (int good = 0; good < 2; good++) {
		int out, status, ret;
		ssize_t n, all = 0;

		if (!good)
			tree_file("/managed.conf", "errno = \"\x1b[31m\"\n");
		else
			unlink(tree_path("/managed.conf"));
		ret = sf_penalty_start(main_file, &one, 1, &out);
		assert_true(ret > 0);
		while ((n = read(out, told + all, sizeof(told) - 1 - (size_t)all)) > 0)
			all += n;
		told[all] = '\0';
		close(out);
		assert_int_equal(waitpid(ret, &status, 0), ret);
		assert_int_equal(WEXITSTATUS(status), !good);
		assert_non_null(strstr(told, good ? "4 quarantined user="
						  : "3 quarantine_failed count=1 text=\""));
		assert_null(strchr(told, '\x1b'));
		assert_int_equal(told[all - 1], '\n');
	}
	sf_policy_free(&policy);
	assert_int_equal(sf_config_load(main_file, &policy, &err), 0);
	assert_int_equal(policy.entry_count, 1);
}

static int setup(void **state)
{
	if (tree_setup(state))
		return -1;
	snprintf(main_file, sizeof(main_file), "%s/main.conf", tree_root);
	snprintf(state_dir, sizeof(state_dir), "%s/state", tree_root);
	return geteuid() ? 0 : unshare(CLONE_NEWNET);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, done)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_is_spared), TEST(sources),
		TEST(how_long),	     TEST(the_file),
		TEST(entered),	     TEST(again_and_again),
		TEST(it_fails),	     TEST(the_administrators),
	};

	return cmocka_run_group_tests(tests, setup, tree_teardown);
}
