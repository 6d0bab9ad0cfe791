// SPDX-License-Identifier: GPL-2.0-only
/*
 * bench-connect: times one kind of TCP connect(), or a round trip, and prints the raw samples.
 *
 * Here lives what has to be timed close to the system call. Under which namespace, rules and fence
 * it runs, how often, and what the numbers mean is bench.py's business. One run is one slice of one
 * cell of the table; samples go to stdout as native unsigned 32-bit nanoseconds.
 *
 * One thread plays both ends: the listening socket is made in the server's network namespace, the
 * client's in the client's. On a veth pair the packets of a handshake are all handled within the
 * sending system call, so no wake-up of another task (the noise of every two-process benchmark) is
 * in the time.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct options {
	const char *cgroup;	/* -c: cgroup directory of the client */
	const char *client_net; /* -n: network namespace's file; must be given */
	const char *server_net; /* -N: the same; null: nobody listens */
	struct sockaddr_in to;	/* -a, -p */
	uid_t uid;		/* -u */
	int expect;		/* -e: the errno that every connect must give, 0: success */
	uint32_t limit;		/* -s: samples at most */
	uint32_t warm_up;	/* -w: samples taken and thrown away first */
	uint32_t batch;		/* -b: connects in one sample of "repeat" */
	int64_t bound;		/* -t: ns after which the slice ends, warm-up apart */
	int64_t pace;		/* -i: ns before each sample of "fail" */
	int verdict;		/* -P: attach a program that only returns this; -1: don't */
};

/* A slice: the samples and when to stop. */
struct slice {
	uint32_t *ns;
	uint32_t count;
	uint32_t skip;
	uint32_t clock; /* what reading the clock twice costs; taken off each sample */
	int64_t end;
	int listener; /* of the server's namespace; -1: none */
	const struct options *opt;
};

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	int saved = errno;
	va_list args;

	fputs("bench-connect: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, ": %s\n", strerror(saved));
	exit(1);
}

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* The least of many readings: only what cannot be avoided is taken off. */
static uint32_t clock_cost(void)
{
	int64_t least = INT64_MAX;

	for (int i = 0; i < 1000; i++) {
		int64_t start = now(), cost = now() - start;

		least = cost < least ? cost : least;
	}
	return (uint32_t)least;
}

static bool next_sample(const struct slice *s)
{
	return s->count < s->opt->limit && now() < s->end;
}

static void keep(struct slice *s, int64_t ns)
{
	if (s->skip) {
		if (!--s->skip)
			s->end = now() + s->opt->bound;
		return;
	}
	ns -= s->clock;
	s->ns[s->count++] = ns < 0 ? 0 : ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

static int client_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);

	if (fd < 0)
		die("socket");
	return fd;
}

/* No answer but the expected one is ever counted: a bench of the wrong thing looks just as good. */
static int64_t timed_connect(int fd, const struct options *opt)
{
	int64_t start, end;
	int ret;

	errno = 0;
	start = now();
	ret = connect(fd, (const struct sockaddr *)&opt->to, sizeof(opt->to));
	end = now();
	if ((ret ? errno : 0) != opt->expect)
		die("port %d: errno %d expected", ntohs(opt->to.sin_port), opt->expect);
	return end - start;
}

/*
 * Let the time of one pace go by; awake, and with one connect() to where no route leads and no
 * fence looks at the end. A core that slept, or has not connected for 5 ms, takes 3 to 10 times as
 * long for any connect(), fence or not, and that would hide what the denial costs.
 */
static void wait_warm(const struct options *opt)
{
	const struct sockaddr_in nowhere = {
		.sin_family = AF_INET,
		.sin_port = htons(9),
		.sin_addr.s_addr = htonl(0xcb007101), /* 203.0.113.1 */
	};
	int64_t end = now() + opt->pace;
	int fd;

	while (now() < end)
		;
	fd = client_socket();
	if (!connect(fd, (const struct sockaddr *)&nowhere, sizeof(nowhere)))
		die("a route to nowhere");
	close(fd);
}

/* fail: a new socket each time, and a connect() that must fail. */
static void run_fail(struct slice *s)
{
	while (next_sample(s)) {
		int fd;

		if (s->opt->pace)
			wait_warm(s->opt);
		fd = client_socket();
		keep(s, timed_connect(fd, s->opt));
		close(fd);
	}
}

/* repeat: batches of failing connects on one socket; for differences of a few ns. */
static void run_repeat(struct slice *s)
{
	const struct sockaddr *to = (const struct sockaddr *)&s->opt->to;
	int fd = client_socket();

	timed_connect(fd, s->opt);
	while (next_sample(s)) {
		int64_t start = now();

		for (uint32_t i = 0; i < s->opt->batch; i++)
			connect(fd, to, sizeof(s->opt->to));
		keep(s, now() - start);
	}
	timed_connect(fd, s->opt);
	close(fd);
}

static void close_with_reset(int fd)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)); /* no TIME_WAIT left */
	close(fd);
}

static int accept_one(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		die("accept");
	return fd;
}

/* accept: whole handshakes. */
static void run_accept(struct slice *s)
{
	while (next_sample(s)) {
		int fd = client_socket();
		int64_t ns = timed_connect(fd, s->opt);
		int peer = accept_one(s->listener);

		keep(s, ns);
		close_with_reset(fd);
		close_with_reset(peer);
	}
}

static void pass_on(int from, int to, char *message, size_t size)
{
	if (send(from, message, size, 0) != (ssize_t)size ||
	    recv(to, message, size, MSG_WAITALL) != (ssize_t)size)
		die("ping-pong");
}

/* pingpong: 64 bytes there and back on an established connection. */
static void run_pingpong(struct slice *s)
{
	const int on = 1;
	char message[64] = "ping";
	int fd = client_socket(), peer;

	timed_connect(fd, s->opt);
	peer = accept_one(s->listener);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	while (next_sample(s)) {
		int64_t start = now();

		pass_on(fd, peer, message, sizeof(message));
		pass_on(peer, fd, message, sizeof(message));
		keep(s, now() - start);
	}
	close_with_reset(fd);
	close_with_reset(peer);
}

static void join_cgroup(const char *cgroup)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) < 0)
		die("%s", path);
	close(fd);
}

/* A listening socket of the server's namespace; this thread comes back to the client's. */
static int listen_far(const struct options *opt)
{
	const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = opt->to.sin_port};
	const int on = 1;
	int far = open(opt->server_net, O_RDONLY | O_CLOEXEC);
	int fd;

	if (far < 0 || setns(far, CLONE_NEWNET))
		die("%s", opt->server_net);
	close(far);
	fd = client_socket();
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&any, sizeof(any)) || listen(fd, 128))
		die("listen");
	return fd;
}

/* The cheapest program there can be, on this cgroup until the process ends. */
static void attach_trivial(const char *cgroup, int verdict)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = verdict}, /* r0 = verdict */
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
		.expected_attach_type = BPF_CGROUP_INET4_CONNECT,
		.insns = (uintptr_t)insns,
		.insn_cnt = 2,
		.license = (uintptr_t) "GPL",
	};
	union bpf_attr link = {.link_create.attach_type = BPF_CGROUP_INET4_CONNECT};
	long prog = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));
	int dir = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (prog < 0 || dir < 0)
		die("loading a program for %s", cgroup);
	link.link_create.prog_fd = (uint32_t)prog;
	link.link_create.target_fd = (uint32_t)dir;
	if (syscall(SYS_bpf, BPF_LINK_CREATE, &link, sizeof(link)) < 0)
		die("attaching to %s", cgroup);
}

static const struct mode {
	const char *name;
	void (*run)(struct slice *s);
} modes[] = {
	{"fail", run_fail},
	{"repeat", run_repeat},
	{"accept", run_accept},
	{"pingpong", run_pingpong},
};

static const struct mode *find_mode(const char *name)
{
	for (size_t i = 0; name && i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(modes[i].name, name))
			return &modes[i];
	fputs("usage: bench-connect OPTIONS fail|repeat|accept|pingpong\n", stderr);
	exit(2);
}

static const struct mode *parse(int argc, char **argv, struct options *opt)
{
	for (int c; (c = getopt(argc, argv, "a:b:c:e:i:n:N:p:P:s:t:u:w:")) != -1;) {
		long long number = optarg ? atoll(optarg) : 0;

		/* clang-format off */
		switch (c) {
		case 'a': opt->to.sin_addr.s_addr = inet_addr(optarg); break;
		case 'b': opt->batch = (uint32_t)number; break;
		case 'c': opt->cgroup = optarg; break;
		case 'e': opt->expect = (int)number; break;
		case 'i': opt->pace = number; break;
		case 'n': opt->client_net = optarg; break;
		case 'N': opt->server_net = optarg; break;
		case 'p': opt->to.sin_port = htons((uint16_t)number); break;
		case 'P': opt->verdict = (int)number; break;
		case 's': opt->limit = (uint32_t)number; break;
		case 't': opt->bound = number; break;
		case 'u': opt->uid = (uid_t)number; break;
		case 'w': opt->warm_up = (uint32_t)number; break;
		default: return find_mode(NULL);
		}
		/* clang-format on */
	}
	if (!opt->client_net) /* so that a slip never reaches a real network */
		return find_mode(NULL);
	return find_mode(argv[optind]);
}

/* One core for all that a slice does; the reader of events may have the other one. */
static void stay_on_last_core(void)
{
	long core = sysconf(_SC_NPROCESSORS_ONLN) - 1;
	cpu_set_t set = {};

	CPU_SET((size_t)core, &set);
	sched_setaffinity(0, sizeof(set), &set); /* where it is refused, there is more noise */
}

static void enter(const struct options *opt)
{
	int net = open(opt->client_net, O_RDONLY | O_CLOEXEC);

	if (net < 0 || setns(net, CLONE_NEWNET))
		die("%s", opt->client_net);
	close(net);
	if (opt->verdict >= 0)
		attach_trivial(opt->cgroup, opt->verdict);
	if (opt->cgroup)
		join_cgroup(opt->cgroup);
	if (opt->uid && setuid(opt->uid))
		die("setuid");
}

int main(int argc, char **argv)
{
	struct options opt = {
		.to.sin_family = AF_INET,
		.limit = 100000,
		.warm_up = 32,
		.batch = 1,
		.bound = 100000000,
		.verdict = -1,
	};
	const struct mode *mode = parse(argc, argv, &opt);
	struct slice s = {.skip = opt.warm_up, .opt = &opt, .listener = -1};

	stay_on_last_core();
	if (opt.server_net)
		s.listener = listen_far(&opt);
	enter(&opt);
	s.ns = calloc(opt.limit, sizeof(*s.ns));
	if (!s.ns)
		die("memory");
	s.clock = clock_cost();
	s.end = now() + 20 * opt.bound; /* of the warm-up */
	mode->run(&s);
	if (fwrite(s.ns, sizeof(*s.ns), s.count, stdout) != s.count || fflush(stdout))
		die("stdout");
}
