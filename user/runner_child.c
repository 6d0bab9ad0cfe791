// SPDX-License-Identifier: GPL-2.0-only
#include "runner_child.h"
#include "policy.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FAULT_FD 3

static void __attribute__((noreturn)) give_up(int fault, const char *text)
{
	ssize_t ignored = write(fault, text, strlen(text));

	(void)ignored;
	_exit(127);
}

static void __attribute__((noreturn)) give_up_errno(int fault, const char *what)
{
	char text[256];

	snprintf(text, sizeof(text), "can't be started: %s: %s", what, strerror(errno));
	give_up(fault, text);
}

/* All descriptors but the standard ones and `fault`, which closes itself on exec. */
static void set_descriptors(int output, int fault)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int keep = fcntl(fault, F_DUPFD_CLOEXEC, FAULT_FD + 2);

	/* Out of the way first: each of them may be one of those that are laid over. */
	output = fcntl(output, F_DUPFD_CLOEXEC, FAULT_FD + 2);
	if (null < 0 || output < 0 || keep < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 ||
	    dup2(output, 2) < 0 || dup3(keep, FAULT_FD, O_CLOEXEC) < 0)
		give_up_errno(fault, "descriptors");
	if (syscall(SYS_close_range, FAULT_FD + 1, ~0U, 0))
		give_up_errno(FAULT_FD, "close_range");
}

static void reset_signals(void)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		sigaction(s, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void find_user(const char *name, uid_t *uid, gid_t *gid)
{
	const struct passwd *pw;
	uint32_t id;

	/* A number needs an account too: from it comes the group. */
	pw = sf_user_id(name, &id) ? NULL : getpwuid(id);
	if (!pw)
		give_up(FAULT_FD, "hook_user: this host has no such user; create it, or name "
				  "another one");
	if (pw->pw_uid == 0 || pw->pw_gid == 0)
		give_up(FAULT_FD, "hook_user: has root's uid or group; name a user without "
				  "privileges");
	*uid = pw->pw_uid;
	*gid = pw->pw_gid;
}

/* Nothing is left, and nothing can be won back: checked, not believed. */
static void lay_down_privileges(uid_t uid, gid_t gid)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2], none[2];
	uid_t r, e, s;

	memset(none, 0, sizeof(none));
	/* Not possible for a daemon without SETPCAP, and not needed with no_new_privs. */
	for (int cap = 0; !prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); cap++)
		;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		give_up_errno(FAULT_FD, "no_new_privs");
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		give_up_errno(FAULT_FD, "can't become hook_user");
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, none))
		give_up_errno(FAULT_FD, "capset");
	if (getresuid(&r, &e, &s) || r != uid || e != uid || s != uid || getgroups(0, NULL) ||
	    syscall(SYS_capget, &header, data) || memcmp(data, none, sizeof(data)) ||
	    setresuid(0, 0, 0) == 0)
		give_up(FAULT_FD, "can't be started: privileges were left");
}

void sf_runner_child(const struct sf_order *order, int output, int fault)
{
	const struct rlimit no_core = {0, 0};
	char *arguments[] = {(char *)order->program, (char *)order->arguments[0],
			     (char *)order->arguments[1], (char *)order->arguments[2], NULL};
	char *variables[SF_RUN_VARIABLES + 3] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
						 "LANG=C.UTF-8"};
	pid_t parent = getppid();
	struct sf_error err;
	uid_t uid;
	gid_t gid;

	for (size_t i = 0; i < SF_RUN_VARIABLES && order->variables[i]; i++)
		variables[i + 2] = (char *)order->variables[i];
	setpgid(0, 0);
	reset_signals();
	/* A look-up that hangs ends with us, not with a daemon that waits. */
	alarm((unsigned int)order->timeout);
	set_descriptors(output, fault);
	if (sf_program_check(order->program, &err))
		give_up(FAULT_FD, err.text);
	find_user(order->user, &uid, &gid);
	umask(077);
	setrlimit(RLIMIT_CORE, &no_core);
	if (chdir("/"))
		give_up_errno(FAULT_FD, "/");
	lay_down_privileges(uid, gid);
	/* Forgotten when the uid changes, so only now: a daemon that died leaves no hook. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	alarm(0);
	execve(order->program, arguments, variables);
	give_up_errno(FAULT_FD, "exec");
}
