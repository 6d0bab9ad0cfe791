// SPDX-License-Identifier: GPL-2.0-only
/*
 * bench-path: nanoseconds that a packet takes through this host: received from one interface,
 * routed, and sent by another; whatever stands on the way. The kernel makes the packets (XDP test
 * run with live frames), so that no system call, driver or second task is in the time.
 *
 * usage: bench-path NETNS IN OUT DPORT FLAGS FIRST SOURCES random|turn PACKETS SLICES
 * IN has the address IN_MAC. FLAGS: TCP's, as a number. FIRST: the first source, as a number.
 * Prints one JSON object: ns a packet of each slice, and how many of all its packets came to OUT.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/bpf.h>
#include <bpf/bpf.h>
#include "path.h"
#include "path.skel.h"

#define IN_MAC                                                                                     \
	{                                                                                          \
		2, 0, 0, 0, 0, 1                                                                   \
	}
#define FAR_MAC                                                                                    \
	{                                                                                          \
		2, 0, 0, 0, 0, 2                                                                   \
	}
#define BATCH 64

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "bench-path: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Packets that an interface was to send; what is behind it may have thrown them away. */
static unsigned long long came_to(const char *name)
{
	char line[512];
	unsigned long long n[16] = {0};
	FILE *f = fopen("/proc/thread-self/net/dev", "re");

	if (!f)
		die("/proc/net/dev");
	while (fgets(line, sizeof(line), f)) {
		char *colon = strchr(line, ':'), *at = line + strspn(line, " ");

		if (!colon || (size_t)(colon - at) != strlen(name) ||
		    strncmp(at, name, strlen(name)))
			continue;
		at = colon + 1;
		for (int i = 0; i < 16; i++)
			n[i] = strtoull(at, &at, 10);
	}
	fclose(f);
	return n[9] + n[11]; /* sent, dropped */
}

static void set_model(struct path_bpf *skel, unsigned int dport, unsigned int flags)
{
	struct frame m = {.to = IN_MAC, .from = FAR_MAC};

	m.ethertype = htons(0x0800);
	m.version = 0x45;
	m.length = htons(40);
	m.fragment = htons(0x4000);
	m.ttl = 64;
	m.protocol = IPPROTO_TCP;
	m.daddr = htonl(0xcb007119); /* 203.0.113.25 */
	m.dport = htons((__u16)dport);
	m.offset = 0x50;
	m.flags = (__u8)flags;
	m.window = htons(64240);
	memcpy(skel->bss->model, &m, sizeof(m));
}

static double slice(int program, int ifindex, int packets)
{
	__u8 frame[64] = {0};
	struct xdp_md ctx = {.data_end = sizeof(frame), .ingress_ifindex = (__u32)ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = sizeof(frame),
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = packets,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = BATCH);

	if (bpf_prog_test_run_opts(program, &o))
		die("test run of live frames");
	return o.duration;
}

/* One core for all of it: what a packet leaves to soft interrupts is done on it too. */
static void enter(const char *netns)
{
	int fd = open(netns, O_RDONLY | O_CLOEXEC);
	cpu_set_t one;

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		die(netns);
	close(fd);
	CPU_ZERO(&one);
	CPU_SET((size_t)sysconf(_SC_NPROCESSORS_ONLN) - 1, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static unsigned int number(const char *text)
{
	return (unsigned int)strtoul(text, NULL, 0);
}

int main(int argc, char **argv)
{
	unsigned long long before;
	struct path_bpf *skel;
	int in, packets;

	if (argc != 11) {
		fputs("usage: bench-path NETNS IN OUT DPORT FLAGS FIRST SOURCES random|turn "
		      "PACKETS SLICES\n",
		      stderr);
		return 2;
	}
	skel = path_bpf__open_and_load();
	if (!skel)
		die("path.bpf.o");
	enter(argv[1]);
	in = (int)if_nametoindex(argv[2]);
	packets = (int)number(argv[9]);
	set_model(skel, number(argv[4]), number(argv[5]));
	skel->data->first = number(argv[6]);
	skel->data->sources = number(argv[7]);
	skel->bss->in_turn = !strcmp(argv[8], "turn");
	skel->data->state ^= (__u64)getpid() << 32; /* not the same sources in each slice */
	before = came_to(argv[3]);
	printf("{\"ns\": [");
	for (unsigned int i = 0; i < number(argv[10]); i++)
		printf("%s%.0f", i ? ", " : "",
		       slice(bpf_program__fd(skel->progs.send_frame), in, packets));
	printf("], \"left\": %llu}\n", came_to(argv[3]) - before);
	path_bpf__destroy(skel);
	return 0;
}
