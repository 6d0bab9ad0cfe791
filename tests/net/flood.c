// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sends SYNs as fast as the machine can, and says exactly how many: one line of JSON,
 * {"sent":20000,"seconds":0.03}. Nothing here knows of smtpfence.
 *
 *	flood packets --dev IF --src ADDR [options]	by AF_PACKET, from made-up addresses
 *	flood users --first UID --dst ADDR [options]	real connects, by turns as many users
 *
 * Source i is ADDR + (i << shift). Each packet has a sequence number of its own: none repeats
 * another. A packet socket's frame passes TC egress before the device may refuse it, so a frame
 * that the far end had no room for (ENOBUFS) was sent, as far as this host is concerned.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <netpacket/packet.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BATCH	    64
#define FRAME	    1024
#define THREADS_MAX 16

struct flood {
	const char *dev;
	struct in6_addr src, dst;
	int v6;
	int ifindex;
	unsigned long sources, each, dsts, shift, threads;
	unsigned long port, sport, vlan, options, ext, first, users;
	int same; /* every thread sends all, in the same order; else they share the sources */
};

struct worker {
	struct flood *f;
	pthread_t thread;
	unsigned long number, sent;
	pthread_barrier_t *start;
};

static void die(const char *what)
{
	fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
	exit(99);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* An address plus (i << shift), as numbers; IPv4 in the first four bytes. */
static void address(const struct flood *f, const struct in6_addr *base, unsigned long i,
		    unsigned long shift, uint8_t *out)
{
	int last = f->v6 ? 15 : 3;
	unsigned __int128 n = 0;

	for (int b = 0; b <= last; b++)
		n = n << 8 | base->s6_addr[b];
	n += (unsigned __int128)i << shift;
	for (int b = last; b >= 0; b--, n >>= 8)
		out[b] = (uint8_t)n;
}

static void put16(uint8_t *at, unsigned long value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Of an IPv4 header, for routers look at it. */
static void put_checksum(uint8_t *ip)
{
	uint32_t sum = 0;

	put16(ip + 10, 0);
	for (int i = 0; i < (ip[0] & 15) * 4; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	put16(ip + 10, ~(sum + (sum >> 16)));
}

/* Where in the frame things are that change from packet to packet. */
struct places {
	size_t length, src, dst, tcp;
};

static struct places frame(const struct flood *f, uint8_t *out)
{
	static const uint8_t link[12] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
	struct places p;
	uint8_t *ip, *tcp;
	size_t at = 12;

	memset(out, 0, FRAME);
	memcpy(out, link, sizeof(link));
	if (f->vlan) {
		put16(out + at, 0x8100);
		put16(out + at + 2, f->vlan);
		at += 4;
	}
	put16(out + at, f->v6 ? 0x86dd : 0x0800);
	ip = out + at + 2;
	if (f->v6) {
		size_t more = 8 * f->ext;

		ip[0] = 0x60;
		put16(ip + 4, 20 + more);
		ip[6] = f->ext ? 60 : 6;
		ip[7] = 64;
		tcp = ip + 40;
		for (unsigned long i = 0; i < f->ext; i++, tcp += 8) {
			tcp[0] = i + 1 < f->ext ? 60 : 6; /* destination options, */
			tcp[2] = 1;			  /* padding */
			tcp[3] = 4;
		}
	} else {
		size_t header = 20 + f->options;

		ip[0] = (uint8_t)(0x40 | header / 4);
		put16(ip + 2, header + 20);
		ip[8] = 64;
		ip[9] = 6;
		memset(ip + 20, 1, f->options); /* no operation */
		tcp = ip + header;
	}
	put16(tcp + 2, f->port);
	tcp[12] = 5 << 4;
	tcp[13] = 2; /* SYN */
	p.src = (size_t)(ip - out) + (f->v6 ? 8 : 12);
	p.dst = (size_t)(ip - out) + (f->v6 ? 24 : 16);
	p.tcp = (size_t)(tcp - out);
	p.length = p.tcp + 20;
	return p;
}

static void send_batch(int fd, struct mmsghdr *messages, unsigned int n, struct worker *w)
{
	for (unsigned int done = 0; done < n;) {
		int ret = sendmmsg(fd, messages + done, n - done, 0);

		if (ret > 0) {
			done += (unsigned int)ret;
			w->sent += (unsigned long)ret;
		} else if (errno == ENOBUFS) { /* this one was counted on its way, and dropped */
			done++;
			w->sent++;
		} else if (errno != EINTR && errno != EAGAIN) {
			die("send");
		}
	}
}

static void *run_packets(void *context)
{
	struct worker *w = context;
	const struct flood *f = w->f;
	static __thread uint8_t frames[BATCH][FRAME];
	struct mmsghdr messages[BATCH] = {0};
	struct iovec parts[BATCH];
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET, .sll_ifindex = f->ifindex, .sll_halen = 6};
	unsigned long step = f->same ? 1 : f->threads, sequence = w->number << 28;
	struct places p = {0};
	unsigned int n = 0;
	cpu_set_t cpu;
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)))
		die("socket");
	CPU_ZERO(&cpu);
	CPU_SET(w->number % (unsigned long)sysconf(_SC_NPROCESSORS_ONLN), &cpu);
	pthread_setaffinity_np(pthread_self(), sizeof(cpu), &cpu);
	for (int i = 0; i < BATCH; i++) {
		p = frame(f, frames[i]);
		parts[i] = (struct iovec){frames[i], p.length};
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	pthread_barrier_wait(w->start);
	for (unsigned long pass = 0; pass < f->each; pass++) {
		for (unsigned long i = f->same ? 0 : w->number; i < f->sources; i += step) {
			uint8_t *at = frames[n];

			address(f, &f->src, i, f->shift, at + p.src);
			address(f, &f->dst, (i + pass) % f->dsts, 0, at + p.dst);
			if (!f->v6)
				put_checksum(at + p.src - 12);
			put16(at + p.tcp, f->sport + w->number * 16384 + pass % 16384);
			sequence++;
			put16(at + p.tcp + 4, sequence >> 16);
			put16(at + p.tcp + 6, sequence);
			if (++n == BATCH) {
				send_batch(fd, messages, n, w);
				n = 0;
			}
		}
	}
	send_batch(fd, messages, n, w);
	close(fd);
	return NULL;
}

static unsigned long packets(struct flood *f)
{
	static struct worker workers[THREADS_MAX];
	pthread_barrier_t start;
	unsigned long sent = 0;

	f->ifindex = (int)if_nametoindex(f->dev);
	if (!f->ifindex)
		die(f->dev);
	pthread_barrier_init(&start, NULL, (unsigned int)f->threads);
	for (unsigned long i = 0; i < f->threads; i++) {
		workers[i] = (struct worker){.f = f, .number = i, .start = &start};
		if (pthread_create(&workers[i].thread, NULL, run_packets, &workers[i]))
			die("thread");
	}
	for (unsigned long i = 0; i < f->threads; i++) {
		pthread_join(workers[i].thread, NULL);
		sent += workers[i].sent;
	}
	return sent;
}

/* As the users first..first+users, by turns, `each` connects; the calling thread alone changes. */
static unsigned long users(const struct flood *f)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
				   .sin6_port = htons((uint16_t)f->port),
				   .sin6_addr = f->dst};
	const struct linger at_once = {.l_onoff = 1};
	unsigned long tried = 0;

	memcpy(&in.sin_addr, &f->dst, 4);
	for (unsigned long pass = 0; pass < f->each; pass++) {
		for (unsigned long u = 0; u < f->users; u++) {
			int fd;

			if (syscall(SYS_setresuid, f->first + u, f->first + u, 0))
				die("setresuid");
			fd = socket(f->v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
			if (fd < 0)
				die("socket");
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
			if (f->v6)
				connect(fd, (struct sockaddr *)&in6, sizeof(in6));
			else
				connect(fd, (struct sockaddr *)&in, sizeof(in));
			tried++;
			close(fd);
			if (syscall(SYS_setresuid, 0, 0, 0))
				die("setresuid back");
		}
	}
	return tried;
}

static int parse_address(const char *text, struct in6_addr *out)
{
	memset(out, 0, sizeof(*out));
	if (strchr(text, ':'))
		return inet_pton(AF_INET6, text, out) == 1 ? 1 : -1;
	return inet_pton(AF_INET, text, out) == 1 ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct flood f = {.sources = 1,
			  .each = 1,
			  .dsts = 1,
			  .threads = 1,
			  .port = 25,
			  .sport = 1024,
			  .first = 100000,
			  .users = 1};
	const struct {
		const char *name;
		unsigned long *value;
	} numbers[] = {
		{"sources", &f.sources}, {"each", &f.each},	  {"dsts", &f.dsts},
		{"shift", &f.shift},	 {"threads", &f.threads}, {"port", &f.port},
		{"sport", &f.sport},	 {"vlan", &f.vlan},	  {"options", &f.options},
		{"ext", &f.ext},	 {"first", &f.first},	  {"users", &f.users},
	};
	const char *src = NULL, *dst = "203.0.113.1";
	unsigned long sent;
	double begun;

	if (argc < 2)
		return 98;
	for (int i = 2; i < argc; i++) {
		const char *name = argv[i] + 2;

		if (!strcmp(argv[i], "--same")) {
			f.same = 1;
			continue;
		}
		if (++i == argc)
			return 98;
		if (!strcmp(name, "dev"))
			f.dev = argv[i];
		else if (!strcmp(name, "src"))
			src = argv[i];
		else if (!strcmp(name, "dst"))
			dst = argv[i];
		for (size_t n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++)
			if (!strcmp(name, numbers[n].name))
				*numbers[n].value = strtoul(argv[i], NULL, 0);
	}
	f.v6 = parse_address(dst, &f.dst);
	if (f.v6 < 0 || (src && parse_address(src, &f.src) != f.v6) || f.options > 40 ||
	    f.options % 4 || f.ext > 40 || !f.threads || f.threads > THREADS_MAX || !f.dsts) {
		fprintf(stderr, "flood: addresses of one family, options in words\n");
		return 98;
	}
	begun = now();
	sent = !strcmp(argv[1], "users") ? users(&f) : packets(&f);
	printf("{\"sent\":%lu,\"seconds\":%.6f}\n", sent, now() - begun);
	return 0;
}
