// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sender of the tests: one connection attempt, made the way the command line says, and one
 * line of JSON that says what the kernel answered: {"rc":-1,"errno":"EPERM"}.
 *
 * HOW the attempt is made is the mode; WHERE the socket is made and WHERE the attempt is made are
 * options (--cgroup, --move, --inherit, --scm-from, --clone-into), so that each way can be tried
 * from each place. Nothing here knows of smtpfence.
 *
 *	client MODE --dst ADDR --port N [options]
 *	client exec [options] -- COMMAND ARG...	only enter the places, then become COMMAND
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <getopt.h>
#include <linux/sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "client_ways.h"

#define ERRNO_MAX 256

/* ---- children that make the attempt ---- */

/* A child in the cgroup behind @dir_fd from its first instruction on; like fork(). */
static pid_t clone_into(int dir_fd)
{
	struct clone_args args = {
		.flags = CLONE_INTO_CGROUP,
		.exit_signal = SIGCHLD,
		.cgroup = (unsigned int)dir_fd,
	};

	return (pid_t)syscall(__NR_clone3, &args, sizeof(args));
}

/* Children answer by exit status: 0, or the errno (all of them fit in 8 bits). */
static int wait_child(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

static int attempt_in_child(int fd, const struct options *o, attempt_fn attempt, int procs,
			    int dir_fd)
{
	pid_t pid = dir_fd >= 0 ? clone_into(dir_fd) : fork();

	if (pid)
		return wait_child(pid);
	if (procs >= 0)
		enter_cgroup(procs);
	_exit(-attempt(fd, o));
}

/* ---- loops ---- */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void count(long *counts, int ret)
{
	counts[-ret < ERRNO_MAX ? -ret : ERRNO_MAX - 1]++;
}

static int print_counts(const long *counts)
{
	const char *comma = "";
	long sum = 0;

	for (int i = 0; i < ERRNO_MAX; i++)
		sum += counts[i];
	printf("{\"rc\":0,\"attempts\":%ld,\"counts\":{", sum);
	for (int i = 0; i < ERRNO_MAX; i++) {
		if (!counts[i])
			continue;
		printf("%s\"%s\":%ld", comma, i ? strerrorname_np(i) : "OK", counts[i]);
		comma = ",";
	}
	puts("}}");
	return 0;
}

/* SIGINT ends a hammer; it stays pending until then, so that it interrupts no connect(). */
static bool told_to_end(void)
{
	sigset_t pending;

	return !sigpending(&pending) && sigismember(&pending, SIGINT);
}

static int hammer(const struct options *o)
{
	static long counts[ERRNO_MAX];
	sigset_t interrupt;
	double end = now() + o->seconds;

	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGINT);
	sigprocmask(SIG_BLOCK, &interrupt, NULL);
	for (long i = 0; !told_to_end() && (!o->count || i < o->count) && now() < end; i++) {
		int fd = make_socket(o);

		count(counts, fd < 0 ? fd : by_connect(fd, o));
		if (fd >= 0)
			close(fd);
		if (o->interval_us)
			usleep((useconds_t)o->interval_us);
	}
	return print_counts(counts);
}

/*
 * Remove and make the cgroup --clone-into again and again, as a restarting service does; the first
 * act of its first task is the connect. By turns the task is born inside, and enters by
 * cgroup.procs.
 */
static int remake(const struct options *o)
{
	static long counts[ERRNO_MAX];

	for (long i = 0; i < o->count; i++) {
		int dir, fd, ret, tries = 0;

		if (mkdir(o->clone_into, 0755) && errno != EEXIST)
			die(o->clone_into);
		dir = open(o->clone_into, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			die(o->clone_into);
		if (i % 2) {
			pid_t pid = clone_into(dir);

			if (!pid) {
				fd = make_socket(o);
				_exit(-by_connect(fd, o));
			}
			ret = wait_child(pid);
		} else {
			pid_t pid = fork();

			if (!pid) {
				enter_cgroup(open_procs(o->clone_into));
				fd = make_socket(o);
				_exit(-by_connect(fd, o));
			}
			ret = wait_child(pid);
		}
		count(counts, ret);
		close(dir);
		while (rmdir(o->clone_into) && tries++ < 1000)
			usleep(500);
		if (tries >= 1000)
			die(o->clone_into);
	}
	return print_counts(counts);
}

static int usage(const char *what)
{
	fprintf(stderr,
		"client: %s\nusage: client MODE --dst ADDR --port N [options]\nmodes: ", what);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		fprintf(stderr, "%s ", ways[i].name);
	fprintf(stderr, "hammer remake exec\n");
	return 98;
}

static int print_result(int ret)
{
	if (ret)
		printf("{\"rc\":-1,\"errno\":\"%s\"}\n", strerrorname_np(-ret));
	else
		puts("{\"rc\":0,\"errno\":\"\"}");
	return 0;
}

static void out_of_time(int sig)
{
	static const char line[] = "{\"rc\":-1,\"errno\":\"ETIMEDOUT\",\"stuck\":true}\n";

	(void)sig;
	(void)!write(STDOUT_FILENO, line, sizeof(line) - 1);
	_exit(0);
}

static bool parse_dst(struct options *o)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&o->dst;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&o->dst;

	if (inet_pton(AF_INET, o->addr, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)o->port);
		o->dst_len = sizeof(*in);
		return true;
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons((uint16_t)o->port);
	o->dst_len = sizeof(*in6);
	return inet_pton(AF_INET6, o->addr, &in6->sin6_addr) == 1;
}

static void parse_groups(struct options *o)
{
	char *rest = NULL;

	for (const char *g = o->group_list; g && *g && o->n_groups < 16; g = rest + (*rest == ','))
		o->groups[o->n_groups++] = (gid_t)strtoul(g, &rest, 10);
}

/* The command line: a name, and where its value goes. */
enum value_type { TEXT, ID, INT, LONG, SECONDS, YES };

static const struct {
	const char *name;
	enum value_type type;
	size_t offset;
} values[] = {
#define VALUE(name, type, field)                                                                   \
	{                                                                                          \
		name, type, offsetof(struct options, field)                                        \
	}
	VALUE("dst", TEXT, addr),
	VALUE("port", LONG, port),
	VALUE("cgroup", TEXT, cgroup),
	VALUE("netns", TEXT, netns),
	VALUE("move", TEXT, move),
	VALUE("inherit", TEXT, inherit),
	VALUE("scm-from", TEXT, scm_from),
	VALUE("clone-into", TEXT, clone_into),
	VALUE("comm", TEXT, comm),
	VALUE("cwd", TEXT, cwd),
	VALUE("uid", ID, uid),
	VALUE("gid", ID, gid),
	VALUE("groups", TEXT, group_list),
	VALUE("userns-uid", ID, userns_uid),
	VALUE("unshare-net", YES, unshare_net),
	VALUE("timeout-ms", INT, timeout_ms),
	VALUE("seconds", SECONDS, seconds),
	VALUE("count", LONG, count),
	VALUE("interval-us", LONG, interval_us),
#undef VALUE
};

#define VALUES (sizeof(values) / sizeof(values[0]))

static void take_value(struct options *o, size_t i, char *text)
{
	void *field = (char *)o + values[i].offset;

	switch (values[i].type) {
	case TEXT:
		*(const char **)field = text;
		break;
	case ID:
		*(unsigned int *)field = (unsigned int)strtoul(text, NULL, 10);
		break;
	case INT:
		*(int *)field = atoi(text);
		break;
	case LONG:
		*(long *)field = strtol(text, NULL, 10);
		break;
	case SECONDS:
		*(double *)field = strtod(text, NULL);
		break;
	case YES:
		*(bool *)field = true;
		break;
	}
}

static bool parse(struct options *o, int argc, char **argv)
{
	struct option names[VALUES + 1] = {0};
	int c, i = 0;

	for (size_t n = 0; n < VALUES; n++)
		names[n] = (struct option){values[n].name, values[n].type != YES, NULL, 1};
	while ((c = getopt_long(argc, argv, "+", names, &i)) != -1) {
		if (c != 1)
			return false;
		take_value(o, (size_t)i, optarg);
	}
	o->argv = argv + optind;
	parse_groups(o);
	return parse_dst(o);
}

static int one_attempt(const struct options *o, attempt_fn attempt, int chan)
{
	/* cgroup.procs is opened with the first user's rights, before become() */
	int procs = o->move || o->inherit ? open_procs(o->move ? o->move : o->inherit) : -1;
	int dir = o->clone_into ? open(o->clone_into, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int fd, ret;

	if (o->clone_into && dir < 0)
		die(o->clone_into);
	become(o);
	fd = chan >= 0 ? recv_fd(chan) : make_socket(o);
	if (fd < 0)
		return print_result(fd);
	if (o->move)
		enter_cgroup(procs);
	if (o->inherit || o->clone_into)
		ret = attempt_in_child(fd, o, attempt, o->inherit ? procs : -1, dir);
	else
		ret = attempt(fd, o);
	return print_result(ret);
}

int main(int argc, char **argv)
{
	struct options o = {.addr = "127.0.0.1",
			    .port = 25,
			    .uid = NO_ID,
			    .gid = NO_ID,
			    .userns_uid = NO_ID,
			    .timeout_ms = 3000,
			    .seconds = 30};
	attempt_fn attempt;
	int chan = -1;

	if (argc < 2)
		return usage("which mode?");
	o.mode = argv[1];
	if (!parse(&o, argc - 1, argv + 1))
		return usage("bad option or address");
	if (o.cgroup)
		enter_cgroup(open_procs(o.cgroup));
	if (!strcmp(o.mode, "exec")) {
		if (o.netns)
			enter_netns(o.netns);
		become(&o);
		if (!o.argv[0])
			return usage("exec what?");
		execvp(o.argv[0], o.argv);
		die(o.argv[0]);
	}
	if (o.scm_from) /* it goes its own way from here */
		chan = start_giver(&o);
	if (o.netns)
		enter_netns(o.netns);

	signal(SIGALRM, out_of_time);
	if (!strcmp(o.mode, "hammer")) {
		become(&o);
		return hammer(&o);
	}
	if (!strcmp(o.mode, "remake"))
		return o.clone_into && o.count ? remake(&o) : usage("remake what?");
	attempt = way_by_name(o.mode);
	if (!attempt)
		return usage("no such mode");
	alarm((unsigned int)o.timeout_ms / 1000 + 3);
	return one_attempt(&o, attempt, chan);
}
