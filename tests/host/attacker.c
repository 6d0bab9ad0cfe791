// SPDX-License-Identifier: GPL-2.0-only
// A hijacked sender that never gives up: attacker LOG ADDRESS [RATE]
//
// Connects to the address' port 25 RATE times a second (100), and each tenth time to port 26,
// the neighbour that is open. LOG is kept up to date: a line "port errno count first last" for
// each answer (errno 0: connected; times: seconds since boot).
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define ERRNOS 256

struct answer {
	unsigned long count;
	double first, last;
};

static struct answer answers[2][ERRNOS];
static volatile sig_atomic_t ending;

static void on_term(int number)
{
	(void)number;
	ending = 1;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int try_once(const char *address, int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
	struct timeval limit = {.tv_sec = 10}; /* a busy machine is no fault */
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), error = 0;

	inet_pton(AF_INET, address, &to.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		error = errno;
	close(fd);
	return error;
}

static void note(int neighbour, int error, double when)
{
	struct answer *a = &answers[neighbour][error < ERRNOS ? error : ERRNOS - 1];

	if (!a->count++)
		a->first = when;
	a->last = when;
}

static void write_log(const char *name)
{
	char other[256];
	FILE *f;

	snprintf(other, sizeof(other), "%s.new", name);
	f = fopen(other, "w");
	if (!f)
		return;
	for (int n = 0; n < 2; n++)
		for (int e = 0; e < ERRNOS; e++)
			if (answers[n][e].count)
				fprintf(f, "%d %d %lu %.3f %.3f\n", 25 + n, e, answers[n][e].count,
					answers[n][e].first, answers[n][e].last);
	fclose(f);
	rename(other, name);
}

int main(int argc, char **argv)
{
	const char *log = argc > 1 ? argv[1] : "/run/attacker", *to = argc > 2 ? argv[2] : "";
	long rate = argc > 3 ? atol(argv[3]) : 100;
	struct timespec pause = {.tv_nsec = 1000000000 / (rate > 1 ? rate : 2)};
	double written = 0;

	signal(SIGTERM, on_term);
	for (unsigned long i = 0; !ending; i++) {
		double start = now();

		note(0, try_once(to, 25), start);
		if (i % 10 == 0)
			note(1, try_once(to, 26), now());
		if (start > written + 0.25) {
			write_log(log);
			written = start;
		}
		nanosleep(&pause, NULL);
	}
	write_log(log);
	return 0;
}
