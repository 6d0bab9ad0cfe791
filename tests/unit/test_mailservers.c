// SPDX-License-Identifier: GPL-2.0-only
/* Which mail servers are found, in trees that look like the hosts people have. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "tree.h"
#include "../../user/mailservers.h"
#include "../../user/units.h"

#define LIB  "/usr/lib/systemd/system/"
#define ETC  "/etc/systemd/system/"
#define UNIT "[Service]\nExecStart=/usr/sbin/daemon\n"

static struct sf_mail_server list[SF_MAIL_SERVERS_MAX];
static size_t count;

static int setup(void **state)
{
	if (tree_setup(state))
		return -1;
	tree_file("/proc/1/comm", "init\n");
	tree_link("/proc/1/ns/mnt", "mnt:[1]");
	tree_file("/etc/passwd", "root:x:0:0::/root:/bin/sh\nmail:x:8:8::/:/bin/sh\n"
				 "broken line\nweb1:x:1001:1001::/:/bin/sh\n");
	return 0;
}

static void users(const char *more)
{
	char text[1024];

	snprintf(text, sizeof(text), "root:x:0:0::/root:/bin/sh\nmail:x:8:8::/:/bin/sh\n%s", more);
	tree_file("/etc/passwd", text);
}

struct fake {
	int pid;
	const char *exe, *cgroup;
	int uid, parent; /* 0: an orphan */
	const char *ns, *argument;
};

static void run(const struct fake *p)
{
	char name[64], text[2048];
	int n;

	snprintf(name, sizeof(name), "/proc/%d/exe", p->pid);
	tree_link(name, p->exe);
	snprintf(name, sizeof(name), "/proc/%d/ns/mnt", p->pid);
	tree_link(name, p->ns ? p->ns : "mnt:[1]");
	snprintf(name, sizeof(name), "/proc/%d/status", p->pid);
	snprintf(text, sizeof(text), "Name:\tx\\nUid:\t0\nPid:\t%d\nPPid:\t%d\nUid:\t%d\t0\t0\t0\n",
		 p->pid, p->parent ? p->parent : 1, p->uid);
	tree_file(name, text);
	snprintf(name, sizeof(name), "/proc/%d/cgroup", p->pid);
	snprintf(text, sizeof(text), "9:name=systemd:/fake\n0::%s\n", p->cgroup);
	tree_file(name, text);
	snprintf(name, sizeof(name), "/proc/%d/cmdline", p->pid);
	n = snprintf(text, sizeof(text), "daemon%c%s%c", 0, p->argument ? p->argument : "-x", 0);
	tree_bytes(name, text, (size_t)n);
}

#define RUN(...) run(&(struct fake){__VA_ARGS__})

static void find(size_t wanted)
{
	struct sf_error err = {};

	count = 99;
	memset(list, 0xaa, sizeof(list));
	assert_int_equal(sf_mail_servers_find(tree_root, list, SF_MAIL_SERVERS_MAX, &count, &err),
			 0);
	assert_int_equal(count, wanted);
}

static void expect_users(const struct sf_mail_server *s, const char *wanted)
{
	char all[512] = "";

	for (size_t i = 0; i < s->user_count; i++)
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? "," : "",
			 s->users[i]);
	assert_string_equal(all, wanted);
}

static void nothing_is_no_error(void **state)
{
	struct sf_error err = {};

	(void)state;
	find(0);
	/* A directory without /proc is one. */
	count = 7;
	assert_true(sf_mail_servers_find("/nonexistent", list, 4, &count, &err) < 0);
	assert_int_equal(count, 7);
	assert_true(err.text[0]);
}

static void postfix_of_most(void **state)
{
	(void)state;
	users("postfix:x:89:89::/:/bin/sh\n");
	tree_file(LIB "postfix.service", UNIT);
	RUN(.pid = 50, .exe = "/usr/libexec/postfix/master",
	    .cgroup = "/system.slice/postfix.service");
	find(1);
	assert_string_equal(list[0].name, "Postfix");
	assert_string_equal(list[0].path, "/system.slice/postfix.service");
	assert_string_equal(list[0].unit, "postfix.service");
	expect_users(&list[0], "root,postfix");
	assert_int_equal(list[0].allow_user, SF_MAIL_NO_USER);
	assert_true(list[0].installed && list[0].running);
	assert_int_equal(list[0].pid, 50);
	assert_int_equal(list[0].fit, SF_MAIL_FITS);
}

static void postfix_of_debian_12(void **state)
{
	(void)state;
	tree_file(LIB "postfix.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n");
	tree_file(LIB "postfix@.service", "[Service]\nExecStart=/usr/sbin/postmulti -i %i\n");
	tree_file("/etc/init.d/postfix", "#!/bin/sh\n");
	RUN(.pid = 50, .exe = "/usr/lib/postfix/sbin/master",
	    .cgroup = "/system.slice/system-postfix.slice/postfix@-.service");
	find(1);
	assert_string_equal(list[0].path, "/system.slice/system-postfix.slice");
	assert_int_equal(list[0].fit, SF_MAIL_FITS);
	expect_users(&list[0], "root");
	/* The administrator moved the instances: only the default one gets the right. */
	tree_file(ETC "postfix@.service.d/slice.conf", "[Service]\nSlice = mail.slice \n");
	find(1);
	assert_string_equal(list[0].path, "/mail.slice/postfix@-.service");
	assert_int_equal(list[0].fit, SF_MAIL_ELSEWHERE);
}

static void postfix_of_debian_13(void **state)
{
	(void)state;
	tree_file(LIB "postfix.service", "[Service]\nExecStart=/usr/sbin/postfix start-fg\n");
	tree_file(LIB "postfix@.service", "[Service]\nExecStart=/usr/sbin/postmulti -i %i\n");
	find(1);
	assert_string_equal(list[0].path, "/system.slice/postfix.service");
	assert_false(list[0].running);
	assert_int_equal(list[0].pid, 0);
	assert_int_equal(list[0].fit, SF_MAIL_NOT_RUNNING);
}

static void exim_and_its_user(void **state)
{
	(void)state;
	users("Debian-exim:x:101:101::/:/bin/sh\n");
	tree_file("/etc/init.d/exim4", "#!/bin/sh\n");
	find(1);
	assert_string_equal(list[0].path, "/system.slice/exim4.service");
	/* mail is on every Debian, and not Exim's there. */
	expect_users(&list[0], "root,Debian-exim");
	assert_int_equal(list[0].allow_user, 101);
	assert_string_equal(list[0].allow_name, "Debian-exim");
	assert_non_null(list[0].allow_why);
	/* cPanel: exim.service, mailnull. */
	users("mailnull:x:47:47::/:/bin/sh\n");
	tree_file(ETC "exim.service", UNIT);
	find(1);
	assert_string_equal(list[0].path, "/system.slice/exim.service");
	assert_int_equal(list[0].allow_user, 47);
	/* Both exist (RHEL with sendmail's leftovers): the daemon in its place decides. */
	users("exim:x:93:93::/:/bin/sh\nmailnull:x:47:47::/:/bin/sh\n");
	find(1);
	assert_int_equal(list[0].allow_user, 93);
	RUN(.pid = 60, .exe = "/usr/sbin/exim-4.98-1", .uid = 47, .argument = "-bd",
	    .cgroup = "/system.slice/exim.service");
	find(1);
	assert_int_equal(list[0].allow_user, 47);
	assert_true(list[0].uid_listed);
	RUN(.pid = 60, .exe = "/usr/sbin/exim-4.98-1", .uid = 48, .argument = "-bd",
	    .cgroup = "/system.slice/exim.service");
	find(1);
	assert_int_equal(list[0].allow_user, 93);
	assert_false(list[0].uid_listed);
	/* Gentoo: mail is all there is. */
	users("");
	find(1);
	assert_int_equal(list[0].allow_user, 8);
}

/* A customer runs the real exim in a cgroup of his, named like the unit: no right comes of it. */
static void customers_are_not_the_daemon(void **state)
{
	(void)state;
	users("Debian-exim:x:101:101::/:/bin/sh\nweb1:x:1001:1001::/:/bin/sh\n");
	tree_file(LIB "exim4.service", UNIT);
	RUN(.pid = 70, .exe = "/usr/sbin/exim4", .uid = 1001, .argument = "-bd",
	    .cgroup = "/user.slice/user-1001.slice/exim4.service");
	find(1);
	assert_string_equal(list[0].path, "/system.slice/exim4.service");
	assert_false(list[0].running);
	/* Delivering for a customer, detached. */
	RUN(.pid = 71, .exe = "/usr/sbin/exim4", .uid = 101, .argument = "-Mc",
	    .cgroup = "/user.slice/x");
	find(1);
	assert_false(list[0].running);
	/* The daemon wins over all of them. */
	RUN(.pid = 72, .exe = "/usr/sbin/exim4 (deleted)", .uid = 101, .argument = "-bd",
	    .cgroup = "/system.slice/exim4.service");
	find(1);
	assert_int_equal(list[0].pid, 72);
	assert_int_equal(list[0].fit, SF_MAIL_FITS);
	assert_int_equal(list[0].uid, 101);
}

static void wherever_it_runs_is_told(void **state)
{
	(void)state;
	tree_file(LIB "postfix.service", UNIT);
	RUN(.pid = 80, .exe = "/usr/lib/postfix/sbin/master", .cgroup = "/");
	find(1);
	assert_int_equal(list[0].fit, SF_MAIL_IN_ROOT);
	assert_string_equal(list[0].running_cgroup, "/");
	assert_non_null(strstr(sf_mail_fit_text(list[0].fit), "open the fence"));
	RUN(.pid = 80, .exe = "/usr/lib/postfix/sbin/master",
	    .cgroup = "/user.slice/session-1.scope");
	find(1);
	assert_int_equal(list[0].fit, SF_MAIL_ELSEWHERE);
	/* The name of the unit under another parent, and as the beginning of another name. */
	RUN(.pid = 80, .exe = "/usr/lib/postfix/sbin/master",
	    .cgroup = "/user.slice/postfix.service");
	find(1);
	assert_int_equal(list[0].fit, SF_MAIL_ELSEWHERE);
	RUN(.pid = 80, .exe = "/usr/lib/postfix/sbin/master",
	    .cgroup = "/system.slice/postfix.service2");
	find(1);
	assert_int_equal(list[0].fit, SF_MAIL_ELSEWHERE);
	/* One on this host says more than a container's, whichever comes first. */
	RUN(.pid = 79, .exe = "/usr/lib/postfix/sbin/master", .ns = "mnt:[2]", .parent = 5,
	    .cgroup = "/system.slice/docker-1.scope");
	find(1);
	assert_int_equal(list[0].pid, 80);
}

static void container_without_a_unit(void **state)
{
	(void)state;
	RUN(.pid = 90, .exe = "/usr/lib/postfix/sbin/master", .ns = "mnt:[2]", .parent = 5,
	    .cgroup = "/system.slice/docker-\n.scope");
	find(1);
	assert_false(list[0].installed);
	assert_string_equal(list[0].path, "");
	assert_int_equal(list[0].fit, SF_MAIL_CONTAINED);
	/* Or in a root directory of its own, where the program has the usual name. */
	RUN(.pid = 90, .exe = "/srv/jail/usr/lib/postfix/sbin/master", .cgroup = "/a");
	find(0);
	tree_link("/proc/90/root", "/srv/jail");
	find(1);
	assert_int_equal(list[0].fit, SF_MAIL_CONTAINED);
	tree_link("/proc/90/root", "/srv/ja");
	find(0);
	tree_link("/proc/90/root", "/srv/jail");
	assert_int_equal(sf_mail_servers_find(tree_root, list, 0, &count, NULL), 0);
	assert_int_equal(count, 0);
}

static void masked_alias_and_empty(void **state)
{
	(void)state;
	tree_file(LIB "sendmail.service", UNIT);
	tree_file("/etc/init.d/sendmail", "#!/bin/sh\n");
	find(1);
	tree_link(ETC "sendmail.service", "/dev/null");
	find(0);
	tree_link(ETC "sendmail.service", "/usr/lib/systemd/system/postfix.service");
	find(0);
	unlink(tree_path(ETC "sendmail.service"));
	tree_file(ETC "sendmail.service", "");
	find(0);
	/* A link to the file of the same name is how systemctl link installs one. */
	tree_file("/opt/units/sendmail.service", UNIT);
	tree_link(ETC "sendmail.service", "/opt/units/sendmail.service");
	find(1);
	assert_string_equal(list[0].name, "Sendmail");
	expect_users(&list[0], "root,mail");
	/* A link that leads nowhere, and one to itself. */
	tree_link(ETC "sendmail.service", "/gone/sendmail.service");
	find(0);
	tree_link(ETC "sendmail.service", "sendmail.service");
	find(0);
}

static void slice_of_the_unit(void **state)
{
	(void)state;
	tree_file(LIB "smtpd.service", UNIT "Slice=mail-out.slice\n");
	find(1);
	assert_string_equal(list[0].name, "OpenSMTPD");
	assert_string_equal(list[0].path, "/mail.slice/mail-out.slice/smtpd.service");
	tree_file(ETC "smtpd.service.d/10.conf", "[Service]\nSlice=-.slice\n");
	find(1);
	assert_string_equal(list[0].path, "/smtpd.service");
	/* What is no slice, systemd refuses: the default. */
	tree_file(ETC "smtpd.service.d/20.conf", "[Service]\nSlice=../../etc\n");
	find(1);
	assert_string_equal(list[0].path, "/system.slice/smtpd.service");
	tree_file(ETC "smtpd.service.d/30.txt", "[Service]\nSlice=other.slice\n");
	find(1);
	assert_string_equal(list[0].path, "/system.slice/smtpd.service");
}

static void programs(void **state)
{
	static const struct {
		const char *exe, *name;
	} known[] = {
		{"/usr/lib/postfix/sbin/master", "Postfix"},
		{"/usr/libexec/postfix/master", "Postfix"},
		{"/usr/lib/postfix/sbin/smtpd", NULL},
		{"/usr/sbin/smtpd", "OpenSMTPD"},
		{"/usr/sbin/smtpd (deleted)", "OpenSMTPD"},
		{"/usr/sbin/exim4", "Exim"},
		{"/usr/sbin/exim", "Exim"},
		{"/usr/local/exim/bin/exim-4.97-2", "Exim"},
		{"/usr/sbin/exim_dbmbuild", NULL},
		{"/usr/lib/sm.bin/sendmail", "Sendmail"},
		{"/usr/sbin/sendmail.sendmail", "Sendmail"},
		{"/usr/sbin/sendmail", NULL},
		{"/var/qmail/bin/qmail-send", "qmail"},
		{"/home/web1/usr/sbin/exim4", NULL},
		{"/home/web1/postfix/sbin/master", NULL},
		{"/usr/bin/master", NULL},
		{"", NULL},
		{" (deleted)", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		const char *name = sf_mail_server_of_exe(known[i].exe);

		if (known[i].name)
			assert_string_equal(name ? name : known[i].exe, known[i].name);
		else if (name)
			fail_msg("%s is no %s", known[i].exe, name);
	}
}

static void slices(void **state)
{
	static const char *const bad[] = {"",		".slice",     "a",
					  "a.service",	"-a.slice",   "a-.slice",
					  "a--b.slice", "../a.slice", "a/b.slice"};
	char path[SF_PATH_MAX] = "untouched", longest[300];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(sf_unit_slice_path(bad[i], path, sizeof(path)) < 0);
		assert_string_equal(path, "untouched");
	}
	memset(longest, 'a', sizeof(longest));
	strcpy(longest + 280, ".slice");
	assert_true(sf_unit_slice_path(longest, path, sizeof(path)) < 0);
	assert_int_equal(sf_unit_slice_path("-.slice", path, sizeof(path)), 0);
	assert_string_equal(path, "");
	assert_int_equal(sf_unit_slice_path("user.slice", path, sizeof(path)), 0);
	assert_string_equal(path, "/user.slice");
	assert_int_equal(sf_unit_slice_path("a-b-c.slice", path, sizeof(path)), 0);
	assert_string_equal(path, "/a.slice/a-b.slice/a-b-c.slice");
}

static void fits(void **state)
{
	(void)state;
	assert_int_equal(sf_mail_fit_of("/a/b", "/a/b", false), SF_MAIL_FITS);
	assert_int_equal(sf_mail_fit_of("/a/b", "/a/b/c", true), SF_MAIL_FITS);
	assert_int_equal(sf_mail_fit_of("/a/b", "/a/bc", false), SF_MAIL_ELSEWHERE);
	assert_int_equal(sf_mail_fit_of("/a/b", "/a", false), SF_MAIL_ELSEWHERE);
	assert_int_equal(sf_mail_fit_of("/a/b", "/", true), SF_MAIL_IN_ROOT);
	assert_int_equal(sf_mail_fit_of("/a/b", "", false), SF_MAIL_HIDDEN);
	assert_int_equal(sf_mail_fit_of("", "/a", false), SF_MAIL_ELSEWHERE);
	assert_int_equal(sf_mail_fit_of("/", "/a", false), SF_MAIL_ELSEWHERE);
}

/* Garbage where text is expected: nothing is found, nothing breaks. */
static void garbage(void **state)
{
	char noise[8192];

	(void)state;
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (char)(i * 37);
	tree_bytes(LIB "postfix.service", noise, sizeof(noise));
	tree_bytes("/etc/passwd", noise, sizeof(noise));
	tree_link("/proc/5/exe", "/usr/lib/postfix/sbin/master");
	tree_bytes("/proc/5/status", noise, sizeof(noise));
	tree_bytes("/proc/5/cgroup", noise, sizeof(noise));
	tree_bytes("/proc/5/cmdline", noise, sizeof(noise));
	tree_file("/proc/99999999999999999999/exe", "");
	tree_file("/proc/-5/exe", "");
	find(1);
	assert_string_equal(list[0].path, "/system.slice/postfix.service");
	assert_int_equal(list[0].user_count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, tree_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_no_error),
		TEST(postfix_of_most),
		TEST(postfix_of_debian_12),
		TEST(postfix_of_debian_13),
		TEST(exim_and_its_user),
		TEST(customers_are_not_the_daemon),
		TEST(wherever_it_runs_is_told),
		TEST(container_without_a_unit),
		TEST(masked_alias_and_empty),
		TEST(slice_of_the_unit),
		TEST(garbage),
		cmocka_unit_test(programs),
		cmocka_unit_test(slices),
		cmocka_unit_test(fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
