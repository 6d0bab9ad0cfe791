// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nanoseconds that the census adds to a packet, over an empty program: BPF_PROG_TEST_RUN with many
 * repetitions, the two interleaved, the median of the rounds. And how long user space takes to read
 * a million sources by mmap.
 *
 * usage: bench-packets [ROUNDS [REPETITIONS [PART_OF_A_NAME]]]
 * Prints one JSON object a case; tests/bench/packets.py makes a table of them.
 */
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include "../../maps/settings.h"
#include "../../bpf/lib/census.h"
#include "egress.skel.h"
#include "packets.skel.h"

#define ROUNDS_MAX 101

struct packet {
	__u8 b[256];
	__u32 size;
};

enum { VARY_SEQ = 1, VARY_SPORT = 2, VARY_SOURCE = 4, VARY_ALL = 7 };

static __u32 rounds = 15;

static void die(const char *what)
{
	fprintf(stderr, "bench-packets: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Packets -------------------------------------------------------------------------------------- */

static void put(struct packet *p, const void *what, __u32 n)
{
	memcpy(p->b + p->size, what, n);
	p->size += n;
}

static void put_ports(struct packet *p, __u16 dport, __u8 flags)
{
	const __u8 tcp[20] = {0x9c, 0x40, (__u8)(dport >> 8), (__u8)dport, [12] = 0x50, flags,
			      0xfa, 0xf0};

	put(p, tcp, sizeof(tcp));
}

static struct packet ipv4(__u8 protocol, __u16 dport, __u8 flags)
{
	const __u8 ip[20] = {0x45, 0, 0,   40, 0, 1,  0x40, 0, 64,  protocol,
			     0,	   0, 192, 0,  2, 10, 203,  0, 113, 25};
	struct packet p = {};

	put(&p, "\2\0\0\0\0\2\2\0\0\0\0\1\x08\0", 14);
	put(&p, ip, sizeof(ip));
	put_ports(&p, dport, flags);
	put(&p, p.b, 6); /* padding */
	return p;
}

/* What is forwarded has no socket. In a test run only a raw IP packet is like that. */
static struct packet forwarded(__u16 dport, __u8 flags)
{
	struct packet p = ipv4(6, dport, flags);

	p.size -= 14;
	memmove(p.b, p.b + 14, p.size);
	return p;
}

static struct packet ipv6(int extensions, __u16 dport, __u8 flags)
{
	static const __u8 kinds[] = {0, 43, 60};
	__u8 ip[40] = {0x60,
		       [5] = (__u8)(20 + 8 * extensions),
		       [6] = extensions ? kinds[0] : 6,
		       64,
		       0x20,
		       1,
		       0xd,
		       0xb8,
		       [23] = 1,
		       0x20,
		       1,
		       0xd,
		       0xb8,
		       [39] = 2};
	struct packet p = {};

	put(&p, "\2\0\0\0\0\2\2\0\0\0\0\1\x86\xdd", 14);
	put(&p, ip, sizeof(ip));
	for (int i = 0; i < extensions; i++) {
		__u8 ext[8] = {i + 1 < extensions ? kinds[i + 1] : 6, 0, 1, 4};

		put(&p, ext, sizeof(ext));
	}
	put_ports(&p, dport, flags);
	return p;
}

/* The programs -------------------------------------------------------------------------------- */

struct census {
	struct egress_bpf *skel;
	__u32 places;
};

static void set_port(struct census *c, __u16 port)
{
	__u32 word = port / 64;
	struct sf_port_word w;

	if (bpf_map_lookup_elem(bpf_map__fd(c->skel->maps.ports), &word, &w))
		die("ports");
	w.fenced |= 1ULL << (port % 64);
	bpf_map_update_elem(bpf_map__fd(c->skel->maps.ports), &word, &w, BPF_ANY);
}

/* Tables as large as user space makes them: two fifths more of slots than sources. */
static struct census load(__u32 sources)
{
	struct census c = {egress_bpf__open(), sources};
	__u32 zero = 0, sets = sources / SF_CENSUS_WAYS * 7 / 5;
	struct sf_settings mode = {.abi = SF_ABI_VERSION, .mode = SF_MODE_OFF};
	struct sf_census_settings s = {
		.seed = 0x9e3779b97f4a7c15,
		.v6_mask = {~0ULL, 0},
		.wall_offset_s = 1750000000,
		.abi = SF_ABI_VERSION,
		.limits = 1,
		.unknown = {.warn = 15, .act = 100},
		.user = {.warn = 15, .act = 100},
	};

	if (!c.skel)
		die("open");
	bpf_map__set_max_entries(c.skel->maps.source_heads, sets);
	bpf_map__set_max_entries(c.skel->maps.source_counts, sets * SF_CENSUS_WAYS);
	bpf_map__set_max_entries(c.skel->maps.source_trails, sets * SF_CENSUS_WAYS);
	bpf_map__set_max_entries(c.skel->maps.attempts, sets);
	c.skel->rodata->source_sets = c.skel->rodata->attempt_sets = sets;
	if (egress_bpf__load(c.skel))
		die("load");
	if (bpf_map_update_elem(bpf_map__fd(c.skel->maps.settings), &zero, &mode, BPF_ANY))
		die("settings");
	if (bpf_map_update_elem(bpf_map__fd(c.skel->maps.census_settings), &zero, &s, BPF_ANY))
		die("census_settings");
	set_port(&c, 25);
	set_port(&c, 465);
	set_port(&c, 587);
	return c;
}

/* Measuring ----------------------------------------------------------------------------------- */

static __u32 run(int program, struct packet *p, __u32 repeat)
{
	struct bpf_test_run_opts o = {
		.sz = sizeof(o), .data_in = p->b, .data_size_in = p->size, .repeat = (int)repeat};

	if (bpf_prog_test_run_opts(program, &o))
		die("test run");
	if ((int)o.retval != -1) {
		errno = EPROTO;
		die("a program did not let the packet pass");
	}
	return o.duration;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *x, __u32 n)
{
	qsort(x, n, sizeof(*x), by_size);
	return x[n / 2];
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void empty_map(struct bpf_map *map)
{
	size_t size = (size_t)bpf_map__value_size(map) * bpf_map__max_entries(map);
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	if (p == MAP_FAILED)
		die("mmap");
	memset(p, 0, size);
	munmap(p, size);
}

static struct packets_bpf *around;
static const char *wanted = "";

/*
 * The empty program and ours in turn; a difference each round. `attempts`: emptied before each, or
 * every new SYN would have to end one that still waits: here nobody ever answers.
 */
static void measure(const char *name, int program, struct packet p, __u32 vary, __u32 sources,
		    __u32 repeat, double budget, struct bpf_map *attempts)
{
	double added[ROUNDS_MAX], empty[ROUNDS_MAX], least = 1e9;
	int wrapper = bpf_program__fd(around->progs.vary_packet),
	    nothing = bpf_program__fd(around->progs.empty);
	__u32 zero = 0;

	if (!strstr(name, wanted))
		return;
	if (attempts)
		repeat = bpf_map__max_entries(attempts);
	around->bss->vary = vary;
	around->data->sources = sources;
	around->data->link_size = p.b[0] >> 4 == 4 ? 0 : 14;
	for (__u32 i = 0; i < rounds + 2; i++) {
		double cost[2];

		for (int ours = 0; ours <= 1; ours++) {
			int target = ours ? program : nothing;

			if (!vary) {
				cost[ours] = run(target, &p, repeat);
				continue;
			}
			if (bpf_map_update_elem(bpf_map__fd(around->maps.next), &zero, &target,
						BPF_ANY))
				die("prog array");
			if (attempts)
				empty_map(attempts);
			cost[ours] = run(wrapper, &p, repeat);
		}
		if (i < 2)
			continue; /* tables and caches warm up */
		empty[i - 2] = cost[0];
		added[i - 2] = cost[1] - cost[0];
		least = added[i - 2] < least ? added[i - 2] : least;
	}
	printf("{\"case\": \"%s\", \"ns\": %.0f, \"least\": %.0f, \"empty\": %.0f, \"budget\": "
	       "%.0f}\n",
	       name, median(added, rounds), least, median(empty, rounds), budget);
	fflush(stdout);
}

/* So many SYNs of sources at random that nearly every one of them has come. */
static void fill(struct census *c, __u32 sources)
{
	struct packet p = forwarded(80, 2);
	int target = bpf_program__fd(c->skel->progs.smtpfence_outip);
	__u32 zero = 0;

	around->bss->vary = VARY_ALL;
	around->data->sources = sources;
	around->data->link_size = 0;
	if (bpf_map_update_elem(bpf_map__fd(around->maps.next), &zero, &target, BPF_ANY))
		die("prog array");
	run(bpf_program__fd(around->progs.vary_packet), &p, 7 * sources);
}

/* Every source: who, how much, since when; what `smtpfence sources` has to read. */
static void measure_reading(struct census *c)
{
	__u32 sets = bpf_map__max_entries(c->skel->maps.source_heads);
	size_t slots = (size_t)sets * SF_CENSUS_WAYS;
	struct sf_census_set *heads = mmap(NULL, sets * sizeof(*heads), PROT_READ, MAP_SHARED,
					   bpf_map__fd(c->skel->maps.source_heads), 0);
	struct sf_census_count *counts = mmap(NULL, slots * sizeof(*counts), PROT_READ, MAP_SHARED,
					      bpf_map__fd(c->skel->maps.source_counts), 0);
	double first = 0, times[ROUNDS_MAX];
	__u64 syn = 0, found = 0, newest = 0;

	if (heads == MAP_FAILED || counts == MAP_FAILED)
		die("mmap");
	for (__u32 i = 0; i <= rounds; i++) {
		double begin = now_s();

		syn = found = newest = 0;
		for (size_t slot = 0; slot < slots; slot++) {
			const struct sf_census_head *h =
				&heads[slot / SF_CENSUS_WAYS].way[slot % SF_CENSUS_WAYS];

			if (!h->tag || h->tag & SF_TAG_BUSY)
				continue;
			found++;
			newest = h->last > newest ? h->last : newest;
			syn += counts[slot].syn + counts[slot].fenced +
			       counts[slot].key.word[1] % 2;
		}
		if (i)
			times[i - 1] = now_s() - begin;
		else
			first = now_s() - begin; /* with its page faults */
	}
	printf("{\"case\": \"reading %llu sources by mmap\", \"ms\": %.2f, \"first_ms\": %.2f, "
	       "\"budget_ms\": 10, \"sum\": %llu}\n",
	       (unsigned long long)found, median(times, rounds) * 1e3, first * 1e3,
	       (unsigned long long)(syn + newest));
}

/*
 * Each as forwarded, and as of a local socket. A test run's socket is no TCP socket: the program
 * reads who made it as it does for raw sockets, which is slower than for a connect().
 */
static void measure_syns(struct census *c, const char *places, __u32 many)
{
	static const struct {
		const char *name;
		__u32 vary, sources;
		__u16 dport;
		__u16 budget;
		bool room;
	} rows[] = {
		{"SYN to 80, one source", 0, 1, 80, 40, false},
		{"SYN to 25, repeated", 0, 1, 25, 40, false},
		{"new SYN to 25, one source", VARY_SEQ | VARY_SPORT, 1, 25, 40, true},
		{"new SYN to 25, 1,000 sources", VARY_ALL, 1000, 25, 40, true},
		{"new SYN to 25, 1,000 sources, attempts full", VARY_ALL, 1000, 25, 0, false},
		{"new SYN to 25, 1,000,000 sources", VARY_ALL, 1000000, 25, 200, false},
		{"SYN to 80, 1,000,000 sources", VARY_ALL, 1000000, 80, 200, false},
	};
	char name[128];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (int local = 0; local <= 1; local++) {
			snprintf(name, sizeof(name), "%s%s, %s", rows[i].name,
				 local ? " (local)" : "", places);
			measure(name,
				bpf_program__fd(local ? c->skel->progs.smtpfence_out
						      : c->skel->progs.smtpfence_outip),
				local ? ipv4(6, rows[i].dport, 2) : forwarded(rows[i].dport, 2),
				rows[i].vary, rows[i].sources, many, rows[i].budget,
				rows[i].room ? c->skel->maps.attempts : NULL);
		}
}

int main(int argc, char **argv)
{
	cpu_set_t one;
	__u32 many = argc > 2 ? (__u32)atoi(argv[2]) : 2000000;
	struct census small, large;
	int program;

	if (argc > 1)
		rounds = (__u32)atoi(argv[1]);
	if (!rounds || rounds > ROUNDS_MAX)
		rounds = ROUNDS_MAX;
	if (argc > 3)
		wanted = argv[3];
	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	around = packets_bpf__open_and_load();
	if (!around)
		die("packets.bpf.o");
	small = load(65536);
	program = bpf_program__fd(small.skel->progs.smtpfence_out);
	measure("ACK with data", program, ipv4(6, 25, 0x10), 0, 1, many, 5, NULL);
	measure("ACK with data, IPv6", program, ipv6(0, 25, 0x10), 0, 1, many, 5, NULL);
	measure("UDP", program, ipv4(17, 53, 0), 0, 1, many, 5, NULL);
	measure("ACK, 3 IPv6 extension headers", program, ipv6(3, 25, 0x10), 0, 1, many, 5, NULL);
	measure("return path: ACK with data", bpf_program__fd(small.skel->progs.smtpfence_in),
		ipv4(6, 40000, 0x10), 0, 1, many, 5, NULL);
	measure("return path: SYN-ACK, stray", bpf_program__fd(small.skel->progs.smtpfence_in),
		ipv4(6, 40000, 0x12), 0, 1, many, 0, NULL);
	measure_syns(&small, "65,536 places", many);
	egress_bpf__destroy(small.skel);
	large = load(1000000);
	measure_syns(&large, "1,000,000 places", many);
	if (strstr("reading by mmap", wanted)) {
		fill(&large, 1000000);
		measure_reading(&large);
	}
	egress_bpf__destroy(large.skel);
	packets_bpf__destroy(around);
	return 0;
}
