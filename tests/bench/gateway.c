// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nanoseconds that the gateway fence adds to a packet, over an empty program: by TC and by XDP,
 * with 0, 1,000 and 100,000 sources in quarantine, and as many networks of customers.
 * BPF_PROG_TEST_RUN, the two interleaved, the median of the rounds; `least` is the smallest
 * difference of one round.
 *
 * usage: bench-gateway [ROUNDS [REPETITIONS [PART_OF_A_NAME]]]; one JSON object a case, of which
 * tests/bench/gateway.py makes a table.
 */
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf.h>
#include "../../maps/gateway.h"
#include "../../maps/nets.h"
#include "../../maps/settings.h"
#include "../../bpf/lib/census.h"
#include "gateway.skel.h"
#include "packets.skel.h"

#define SOURCES	   100000 /* that packets come from, and the most in quarantine */
#define ROUNDS_MAX 101

enum { VARY_SEQ = 1, VARY_SPORT = 2, VARY_SOURCE = 4, VARY_ALL = 7 };

struct packet {
	__u8 b[256];
	__u32 size;
};

static __u32 rounds = 15, repeat = 300000;
static struct gateway_bpf *skel;
static struct packets_bpf *around;

static void die(const char *what)
{
	fprintf(stderr, "bench-gateway: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void put(struct packet *p, const void *what, __u32 n)
{
	memcpy(p->b + p->size, what, n);
	p->size += n;
}

static struct packet ipv4(__u8 protocol, __u16 dport, __u8 flags)
{
	const __u8 ip[20] = {0x45, 0, 0,  40, 0, 1,  0x40, 0, 64,  protocol,
			     0,	   0, 16, 0,  0, 10, 203,  0, 113, 25};
	const __u8 tcp[20] = {0x9c, 0x40, (__u8)(dport >> 8), (__u8)dport, [12] = 0x50, flags,
			      0xfa, 0xf0};
	struct packet p = {.size = 0};

	put(&p, "\2\0\0\0\0\2\2\0\0\0\0\1\x08\0", 14);
	put(&p, ip, sizeof(ip));
	put(&p, tcp, sizeof(tcp));
	put(&p, p.b, 6); /* padding */
	return p;
}

static struct packet ipv6(int extensions, __u8 flags)
{
	__u8 ip[40] = {0x60,
		       [5] = (__u8)(20 + 8 * extensions),
		       [6] = extensions ? 60 : 6,
		       64,
		       0x20,
		       1,
		       [23] = 1,
		       0x20,
		       1,
		       [39] = 2};
	const __u8 tcp[20] = {0x9c, 0x40, 0, 80, [12] = 0x50, flags};
	struct packet p = {.size = 0};

	put(&p, "\2\0\0\0\0\2\2\0\0\0\0\1\x86\xdd", 14);
	put(&p, ip, sizeof(ip));
	for (int i = 0; i < extensions; i++) {
		__u8 ext[8] = {i + 1 < extensions ? 60 : 6, 0, 1, 4};

		put(&p, ext, sizeof(ext));
	}
	put(&p, tcp, sizeof(tcp));
	return p;
}

static void set_gateway(__u32 flags)
{
	struct sf_gateway gateway = {.abi = SF_ABI_VERSION, .flags = flags};
	__u32 zero = 0;

	if (bpf_map_update_elem(bpf_map__fd(skel->maps.gateway), &zero, &gateway, BPF_ANY))
		die("gateway");
}

static void load(void)
{
	__u32 zero = 0, sets = (SOURCES / SF_CENSUS_WAYS) * 7 / 5;
	struct sf_settings mode = {.abi = SF_ABI_VERSION,
				   .mode = SF_MODE_ENFORCE,
				   .flags = SF_SETTING_ALLOW_LOCAL | SF_SETTING_QUARANTINE_HOSTS};
	struct sf_census_settings s = {.seed = 0x9e3779b97f4a7c15,
				       .v6_mask = {~0ULL, 0},
				       .abi = SF_ABI_VERSION,
				       .limits = 1,
				       .unknown = {.warn = 15, .act = 100}};
	struct sf_port_word ports = {.fenced = 1ULL << 25};

	skel = gateway_bpf__open();
	if (!skel)
		die("open");
	bpf_map__set_max_entries(skel->maps.source_heads, sets);
	bpf_map__set_max_entries(skel->maps.source_counts, sets * SF_CENSUS_WAYS);
	bpf_map__set_max_entries(skel->maps.source_trails, sets * SF_CENSUS_WAYS);
	bpf_map__set_max_entries(skel->maps.attempts, sets);
	skel->rodata->source_sets = skel->rodata->attempt_sets = sets;
	if (gateway_bpf__load(skel) ||
	    bpf_map_update_elem(bpf_map__fd(skel->maps.settings), &zero, &mode, BPF_ANY) ||
	    bpf_map_update_elem(bpf_map__fd(skel->maps.census_settings), &zero, &s, BPF_ANY) ||
	    bpf_map_update_elem(bpf_map__fd(skel->maps.ports), &zero, &ports, BPF_ANY))
		die("load");
	set_gateway(SF_GATEWAY_MAIL_HOSTS);
}

/* 16.0.0.0 and those that follow it, with as many bits before them as a map's keys have. */
static struct sf_addr source(__u32 i)
{
	struct sf_addr a = {.b = {[10] = 0xff, [11] = 0xff}};
	__u32 address = htonl(0x10000000 + i);

	memcpy(&a.b[12], &address, 4);
	return a;
}

static void quarantine(__u32 from, __u32 to)
{
	const struct sf_net_quarantine q = {.until_ns = SF_NEVER};

	for (__u32 i = from; i < to; i++) {
		struct sf_net_key key = {
			.prefixlen = SF_NET_BITS_MAX, .family = SF_FAMILY_V4, .addr = source(i)};

		if (bpf_map_update_elem(bpf_map__fd(skel->maps.quarantine_hosts), &key, &q,
					BPF_ANY))
			die("quarantine_hosts");
	}
}

static void quarantine_none(void)
{
	for (__u32 i = 0; i < SOURCES; i++) {
		struct sf_net_key key = {
			.prefixlen = SF_NET_BITS_MAX, .family = SF_FAMILY_V4, .addr = source(i)};

		bpf_map_delete_elem(bpf_map__fd(skel->maps.quarantine_hosts), &key);
	}
}

/* The interface's own networks: each source by itself. A test run comes in at lo, number 1. */
static void own_networks(__u32 from, __u32 to)
{
	struct sf_customer customer = {.flags = to ? SF_CUSTOMER_NETS : 0};
	__u32 lo = 1, value = 0;

	for (__u32 i = from; i < to; i++) {
		struct sf_customer_net_key key = {.prefixlen = SF_CUSTOMER_NET_BITS_MAX,
						  .ifindex = lo,
						  .family = SF_FAMILY_V4,
						  .addr = source(i)};

		if (bpf_map_update_elem(bpf_map__fd(skel->maps.customer_nets), &key, &value,
					BPF_ANY))
			die("customer_nets");
	}
	if (bpf_map_update_elem(bpf_map__fd(skel->maps.customers), &lo, &customer, BPF_ANY))
		die("customers");
}

static void mail_host(__u32 prefix)
{
	struct sf_net_key key = {
		.prefixlen = 32 + 96 + prefix, .family = SF_FAMILY_V4, .addr = source(0)};
	struct sf_mail_host host = {.ifindex = 0};

	if (bpf_map_update_elem(bpf_map__fd(skel->maps.mail_hosts), &key, &host, BPF_ANY))
		die("mail_hosts");
}

static void no_mail_host(__u32 prefix)
{
	struct sf_net_key key = {
		.prefixlen = 32 + 96 + prefix, .family = SF_FAMILY_V4, .addr = source(0)};

	bpf_map_delete_elem(bpf_map__fd(skel->maps.mail_hosts), &key);
}

/* Measuring ----------------------------------------------------------------------------------- */

struct door {
	const char *name;
	int ours, empty, around, next; /* descriptors */
	int pass, drop;
};

static double run(int program, struct packet *p, int *verdict)
{
	struct bpf_test_run_opts o = {
		.sz = sizeof(o), .data_in = p->b, .data_size_in = p->size, .repeat = (int)repeat};

	if (bpf_prog_test_run_opts(program, &o))
		die("test run");
	*verdict = (int)o.retval;
	return o.duration;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *x)
{
	qsort(x, rounds, sizeof(*x), by_size);
	return x[rounds / 2];
}

static const char *wanted = "";
static __u32 entries; /* in the table that the case is about */

static void measure(const struct door *d, const char *name, struct packet p, __u32 vary, bool drops,
		    int budget)
{
	double added[ROUNDS_MAX], empty[ROUNDS_MAX];
	__u32 zero = 0;
	int verdict = 0;

	if (!strstr(name, wanted))
		return;
	around->bss->vary = vary;
	around->data->sources = SOURCES;
	for (__u32 i = 0; i < rounds + 2; i++) {
		double cost[2];

		for (int ours = 0; ours <= 1; ours++) {
			int target = ours ? d->ours : d->empty;

			if (vary && bpf_map_update_elem(d->next, &zero, &target, BPF_ANY))
				die("prog array");
			cost[ours] = run(vary ? d->around : target, &p, &verdict);
		}
		if (verdict != (drops ? d->drop : d->pass)) {
			errno = EPROTO;
			die(name);
		}
		if (i < 2)
			continue; /* tables and caches warm up */
		empty[i - 2] = cost[0];
		added[i - 2] = cost[1] - cost[0];
	}
	printf("{\"door\": \"%s\", \"case\": \"%s\", \"entries\": %u, \"ns\": %.0f, ", d->name,
	       name, entries, median(added));
	printf("\"least\": %.0f, \"empty\": %.0f, \"budget\": %d}\n", added[0], median(empty),
	       budget);
	fflush(stdout);
}

static struct packet tagged(struct packet p)
{
	memmove(p.b + 16, p.b + 12, p.size - 12);
	memcpy(p.b + 12, "\x81\0\0\x07", 4);
	p.size += 4;
	return p;
}

static struct packet arp(void)
{
	struct packet p = ipv4(17, 25, 0);

	p.b[13] = 6;
	return p;
}

/* Nothing that the tables could change: measured once. */
static void pass_by_form(const struct door *d)
{
	measure(d, "UDP", ipv4(17, 53, 0), 0, false, 8);
	measure(d, "established TCP", ipv4(6, 25, 16), 0, false, 8);
	measure(d, "established TCP, IPv6", ipv6(0, 16), 0, false, 8);
	measure(d, "established TCP, 3 IPv6 extension headers", ipv6(3, 16), 0, false, 8);
	measure(d, "established TCP, VLAN tag in the packet", tagged(ipv4(6, 25, 16)), 0, false, 8);
	measure(d, "ARP", arp(), 0, false, 8);
	measure(d, "SYN to 80, one source", ipv4(6, 80, 2), 0, false, 0);
	measure(d, "SYN to 80, 100,000 sources", ipv4(6, 80, 2), VARY_SOURCE, false, 0);
}

static void by_quarantine(const struct door *d)
{
	static const __u32 sizes[] = {0, 1000, SOURCES};

	quarantine_none();
	for (int i = 0; i < 3; i++) {
		quarantine(i ? sizes[i - 1] : 0, sizes[i]);
		entries = sizes[i];
		measure(d, "established TCP", ipv4(6, 25, 16), VARY_ALL, false, 8);
		measure(d, "SYN to 80, 100,000 sources", ipv4(6, 80, 2), VARY_ALL, false, 0);
		measure(d, "SYN to 25, one source, repeated: dropped", ipv4(6, 25, 2), 0, true, 40);
		measure(d, "SYN to 25, one source, new: dropped", ipv4(6, 25, 2),
			VARY_SEQ | VARY_SPORT, true, 40);
		measure(d, "SYN to 25, 100,000 sources: dropped", ipv4(6, 25, 2), VARY_ALL, true,
			40);
	}
	quarantine_none();
}

static void by_networks(const struct door *d)
{
	static const __u32 sizes[] = {1000, SOURCES};
	struct packet elsewhere = ipv4(6, 80, 2);

	elsewhere.b[14 + 12] = 17; /* first byte of its source */
	mail_host(8);
	entries = 1;
	measure(d, "mail hosts: SYN to 25, 100,000 sources: passes", ipv4(6, 25, 2), VARY_ALL,
		false, 0);
	no_mail_host(8);
	for (int i = 0; i < 2; i++) {
		own_networks(i ? sizes[i - 1] : 0, sizes[i]);
		entries = sizes[i];
		if (sizes[i] == SOURCES)
			measure(d, "own networks: SYN to 80, 100,000 sources", ipv4(6, 80, 2),
				VARY_ALL, false, 0);
		measure(d, "own networks: spoofed SYN to 80: dropped", elsewhere, 0, true, 40);
	}
	own_networks(0, 0);
}

int main(int argc, char **argv)
{
	cpu_set_t one;

	if (argc > 1)
		rounds = (__u32)atoi(argv[1]);
	if (argc > 2)
		repeat = (__u32)atoi(argv[2]);
	if (argc > 3)
		wanted = argv[3];
	if (!rounds || rounds > ROUNDS_MAX)
		return 2;
	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	around = packets_bpf__open_and_load();
	if (!around)
		die("packets.bpf.c");
	load();

	const struct door doors[] = {
		{"TC", bpf_program__fd(skel->progs.smtpfence_gwin),
		 bpf_program__fd(around->progs.empty), bpf_program__fd(around->progs.vary_packet),
		 bpf_map__fd(around->maps.next), TC_ACT_UNSPEC, TC_ACT_SHOT},
		{"XDP", bpf_program__fd(skel->progs.smtpfence_gwxdp),
		 bpf_program__fd(around->progs.empty_frame),
		 bpf_program__fd(around->progs.vary_frame), bpf_map__fd(around->maps.next_frame),
		 XDP_PASS, XDP_DROP},
	};
	for (size_t i = 0; i < 2; i++) {
		entries = 0;
		pass_by_form(&doors[i]);
		by_quarantine(&doors[i]);
		by_networks(&doors[i]);
	}
	return 0;
}
