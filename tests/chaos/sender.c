// SPDX-License-Identifier: GPL-2.0-only
/*
 * A sender that does not stop: connection attempts by one way after the other, each counted by its
 * answer in a file that senders.py maps. It pauses when that file says so, so that what it counted
 * can be compared with what others did while nobody adds to it.
 *
 *	chaos-sender KEY=VALUE...
 *	counts=FILE cgroup=DIR netns=FILE uid=N interval_us=N ways=a,b to=ADDR,ADDR ports=N,N
 *	packets=FILE device=NAME	for the ways "raw" and "packet"
 */
#include "packets.h"
#include <arpa/inet.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#define LIST_MAX 16

/* Shared with senders.py: same order, same sizes. */
struct counts {
	uint32_t order;	 /* written by senders.py: 0 go, 1 pause, 2 end */
	uint32_t paused; /* written here */
	struct {
		uint64_t tried, ok, eperm, other, last_errno;
	} way[LIST_MAX];
};

static struct sender {
	struct options o;
	struct counts *counts;
	const char *device;
	char *ways[LIST_MAX], *to[LIST_MAX], *ports[LIST_MAX];
	size_t way_count, to_count, port_count;
	useconds_t interval;
} s = {.o = {.uid = NO_ID, .gid = NO_ID, .userns_uid = NO_ID, .timeout_ms = 300}};

static size_t split(char *text, char **out)
{
	size_t n = 0;

	for (char *part = strtok(text, ","); part && n < LIST_MAX; part = strtok(NULL, ","))
		out[n++] = part;
	return n;
}

static void map_counts(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die(path);
	s.counts = mmap(NULL, sizeof(*s.counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s.counts == MAP_FAILED)
		die(path);
	close(fd);
}

static void take(char *text)
{
	char *value = strchr(text, '=');

	if (!value)
		die(text);
	*value++ = '\0';
	if (!strcmp(text, "counts"))
		map_counts(value);
	else if (!strcmp(text, "cgroup"))
		s.o.cgroup = value;
	else if (!strcmp(text, "netns"))
		s.o.netns = value;
	else if (!strcmp(text, "uid"))
		s.o.uid = s.o.gid = (unsigned int)atoi(value);
	else if (!strcmp(text, "interval_us"))
		s.interval = (useconds_t)atoi(value);
	else if (!strcmp(text, "ways"))
		s.way_count = split(value, s.ways);
	else if (!strcmp(text, "to"))
		s.to_count = split(value, s.to);
	else if (!strcmp(text, "ports"))
		s.port_count = split(value, s.ports);
	else if (!strcmp(text, "packets"))
		load_packets(value);
	else if (!strcmp(text, "device"))
		s.device = value;
	else
		die(text);
}

/* ---- one attempt ---- */

static void aim(const char *address, const char *port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&s.o.dst;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&s.o.dst;

	memset(&s.o.dst, 0, sizeof(s.o.dst));
	/* sin_port and sin6_port lie at the same place */
	in->sin_port = htons((uint16_t)atoi(port));
	s.o.addr = address;
	s.o.port = atoi(port);
	if (inet_pton(AF_INET, address, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		s.o.dst_len = sizeof(*in);
	} else if (inet_pton(AF_INET6, address, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		s.o.dst_len = sizeof(*in6);
	} else {
		die(address);
	}
}

static int by_socket(const char *way)
{
	attempt_fn attempt = way_by_name(way);
	int fd, ret;

	if (!attempt)
		die(way);
	s.o.mode = way;
	fd = make_socket(&s.o);
	if (fd < 0)
		return fd;
	ret = attempt(fd, &s.o);
	close(fd);
	return ret;
}

/* A program that people have. Exit status 1 is nc's and our PHP line's, 7 curl's "no connection".
 */
static int by_tool(const char *way)
{
	char url[128], php[256];
	bool v6 = strchr(s.o.addr, ':');
	const char *before = v6 ? "[" : "", *after = v6 ? "]" : "";
	char port[16];
	int null, status;
	pid_t pid;

	snprintf(port, sizeof(port), "%ld", s.o.port);
	snprintf(url, sizeof(url), "smtp://%s%s%s:%s/", before, s.o.addr, after, port);
	snprintf(php, sizeof(php),
		 "$f = @fsockopen('%s%s%s', %s, $e, $t, 0.3); exit($f ? 0 : ($e == 1 ? 1 : 3));",
		 before, s.o.addr, after, port);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		null = open("/dev/null", O_RDWR);
		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		if (!strcmp(way, "nc"))
			execlp("nc", "nc", "-w1", s.o.addr, port, NULL);
		else if (!strcmp(way, "curl"))
			execlp("curl", "curl", "-sm1", "--url", url, NULL);
		else
			execlp("php", "php", "-n", "-r", php, NULL);
		_exit(99);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -EINTR;
	if (!WEXITSTATUS(status))
		return 0;
	return WEXITSTATUS(status) == 1 || WEXITSTATUS(status) == 7 ? -EPERM : -ETIMEDOUT;
}

/* Rings keep their memory until their process ends. */
static int in_child(const char *way)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		/* a ring knows no SO_SNDTIMEO: it would send its SYN again and again */
		setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_usec = 950000}, NULL);
		_exit(-by_socket(way));
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -EINTR;
	return -WEXITSTATUS(status);
}

static int try_once(const char *way, unsigned long n)
{
	if (!strcmp(way, "raw") || !strcmp(way, "packet")) {
		const struct packet *p = &packets[n % packet_count];

		return way[0] == 'r' ? by_raw_socket(p) : by_packet_socket(p, s.device);
	}
	aim(s.to[n % s.to_count], s.ports[n / s.to_count % s.port_count]);
	if (!strcmp(way, "php") || !strcmp(way, "nc") || !strcmp(way, "curl"))
		return by_tool(way);
	return strncmp(way, "uring", 5) ? by_socket(way) : in_child(way);
}

static void count(size_t way, int ret)
{
	uint64_t *place = ret == 0	  ? &s.counts->way[way].ok
			  : ret == -EPERM ? &s.counts->way[way].eperm
					  : &s.counts->way[way].other;

	__atomic_add_fetch(place, 1, __ATOMIC_RELEASE);
	if (ret && ret != -EPERM)
		s.counts->way[way].last_errno = (uint64_t)-ret;
}

static uint32_t order(void)
{
	return __atomic_load_n(&s.counts->order, __ATOMIC_ACQUIRE);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		take(argv[i]);
	if (!s.counts || !s.way_count)
		die("counts= and ways= are needed");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (s.o.cgroup)
		enter_cgroup(open_procs(s.o.cgroup));
	if (s.o.netns)
		enter_netns(s.o.netns);
	become(&s.o); /* raw and packet sockets need root's right: they name no uid */
	for (unsigned long n = 0; order() != 2; n++) {
		size_t way = n % s.way_count;

		if (order() == 1) {
			__atomic_store_n(&s.counts->paused, 1, __ATOMIC_RELEASE);
			while (order() == 1)
				usleep(2000);
			__atomic_store_n(&s.counts->paused, 0, __ATOMIC_RELEASE);
			continue;
		}
		__atomic_add_fetch(&s.counts->way[way].tried, 1, __ATOMIC_RELEASE);
		count(way, try_once(s.ways[way], n / s.way_count));
		usleep(s.interval);
	}
	__atomic_store_n(&s.counts->paused, 1, __ATOMIC_RELEASE);
	return 0;
}
