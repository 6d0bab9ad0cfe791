// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs packets through the gateway's programs and the uplink's, unattached and unpinned
 * (BPF_PROG_TEST_RUN), under any content of their tables, and says what became of each. What is
 * right is not known here: the Python next to this file judges.
 *
 * Standard input: records, each a struct record and its data (native byte order): a packet for one
 * of the programs, or an entry for a map. The file of -r gets one struct result a packet; that of
 * -o what a program sent back, each with its size before it.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "../../maps/census.h"
#include "../../maps/counters.h"
#include "egress.skel.h"
#include "gateway.skel.h"

static const char *const programs[] = {"smtpfence_out",	 "smtpfence_outip", "smtpfence_gwin",
				       "smtpfence_gwip", "smtpfence_gwxdp", "smtpfence_gwout",
				       "smtpfence_gwoip"};
#define PROGRAMS (sizeof(programs) / sizeof(programs[0]))
#define XDP	 4  /* of these */
#define OP_PUT	 16 /* NAME_SIZE bytes of a map's name, then key and value */

#define NAME_SIZE 32
#define DECISIONS (SF_VERDICT_COUNT * SF_REASON_MAX)
#define COUNTERS  (DECISIONS + SF_CENSUS_COUNTER_MAX)

struct record {
	__u32 size;
	__u32 op;
};

#define CHANGED	  (1u << 31) /* in `census`: it went on, but not as it came */
#define TOLD_MORE 0xffffu    /* in `decision`: more than one was counted */

struct result {
	__s32 verdict;	/* what the program returned; below -1000: -1000 - errno of the test run */
	__u32 census;	/* bit n: enum sf_census_counter n grew */
	__u32 decision; /* 1 + SF_COUNTER(verdict, reason) that grew; 0: none */
};

static struct bpf_object *object;
static int fds[PROGRAMS];
static const volatile __u64 *decisions, *census;
static FILE *results, *answers;

static void die(const char *what, int error)
{
	fprintf(stderr, "bpf-gateway: %s: %s\n", what, strerror(error < 0 ? -error : error));
	exit(1);
}

/* Counters ------------------------------------------------------------------------------------ */

/*
 * Reading per-CPU maps would take ten times as long as the packet. Here they are ordinary arrays,
 * shared with this process; the programs, who look entries up and add to them, know no difference.
 */
static void share_map(const char *name)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);

	if (!map || bpf_map__set_type(map, BPF_MAP_TYPE_ARRAY) ||
	    bpf_map__set_map_flags(map, BPF_F_MMAPABLE))
		die(name, ENOENT);
}

static const volatile __u64 *memory_of(const char *name)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);
	void *p = mmap(NULL, bpf_map__max_entries(map) * sizeof(__u64), PROT_READ, MAP_SHARED,
		       bpf_map__fd(map), 0);

	if (p == MAP_FAILED)
		die(name, errno);
	return p;
}

static void read_counters(__u64 *sums)
{
	for (__u32 i = 0; i < DECISIONS; i++)
		sums[i] = decisions[i];
	for (__u32 i = 0; i < SF_CENSUS_COUNTER_MAX; i++)
		sums[DECISIONS + i] = census[i];
}

static void what_grew(const __u64 *before, const __u64 *after, struct result *r)
{
	for (__u32 i = 0; i < DECISIONS; i++)
		if (after[i] != before[i])
			r->decision = r->decision || after[i] != before[i] + 1 ? TOLD_MORE : i + 1;
	for (__u32 i = 0; i < SF_CENSUS_COUNTER_MAX; i++)
		if (after[DECISIONS + i] != before[DECISIONS + i])
			r->census |= 1u << i;
}

/* Loading ------------------------------------------------------------------------------------- */

static void size_map(const char *name, __u32 entries)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);

	if (map && bpf_map__set_max_entries(map, entries))
		die(name, errno);
}

static void size_maps(__u32 sets)
{
	size_map("source_heads", sets);
	size_map("source_counts", sets * SF_CENSUS_WAYS);
	size_map("source_trails", sets * SF_CENSUS_WAYS);
	size_map("attempts", sets);
}

static void open_gateway(__u32 sets)
{
	struct gateway_bpf *skel = gateway_bpf__open();

	if (!skel)
		die("open", errno);
	object = skel->obj;
	skel->rodata->source_sets = skel->rodata->attempt_sets = sets;
}

static void open_egress(__u32 sets)
{
	struct egress_bpf *skel = egress_bpf__open();

	if (!skel)
		die("open", errno);
	object = skel->obj;
	skel->rodata->source_sets = skel->rodata->attempt_sets = sets;
}

static void load(const char *what, __u32 sets)
{
	if (!strcmp(what, "egress"))
		open_egress(sets);
	else
		open_gateway(sets);
	size_maps(sets);
	share_map("counters");
	share_map("census_counters");
	if (bpf_object__load(object))
		die("load", errno);
	for (size_t i = 0; i < PROGRAMS; i++) {
		struct bpf_program *p = bpf_object__find_program_by_name(object, programs[i]);

		fds[i] = p ? bpf_program__fd(p) : -1;
	}
	decisions = memory_of("counters");
	census = memory_of("census_counters");
}

/* A value may be shorter than the map's: what comes behind is zeros. */
static void put(const char *data, __u32 size)
{
	static char value[4096];
	struct bpf_map *map = bpf_object__find_map_by_name(object, data);
	__u32 keys = map ? bpf_map__key_size(map) : 0;

	if (!map)
		return; /* the other object's */
	if (size < NAME_SIZE + keys || size > NAME_SIZE + keys + bpf_map__value_size(map) ||
	    bpf_map__value_size(map) > sizeof(value))
		die(data, EMSGSIZE);
	memset(value, 0, sizeof(value));
	memcpy(value, data + NAME_SIZE + keys, size - NAME_SIZE - keys);
	if (bpf_map_update_elem(bpf_map__fd(map), data + NAME_SIZE, value, BPF_ANY))
		die(data, errno);
}

/* Running ------------------------------------------------------------------------------------- */

static bool goes_on(__u32 op, __u32 verdict)
{
	return op == XDP ? verdict == XDP_PASS : (int)verdict == TC_ACT_UNSPEC;
}

static bool is_sent_back(__u32 op, __u32 verdict)
{
	return op == XDP ? verdict == XDP_TX : verdict == TC_ACT_REDIRECT;
}

static struct result run(__u32 op, const char *data, __u32 size)
{
	static char out[1 << 16];
	struct result r = {.verdict = 0};
	struct bpf_test_run_opts o = {
		.sz = sizeof(o),
		.data_in = data,
		.data_size_in = size,
		.data_out = out,
		.data_size_out = sizeof(out),
		.repeat = 1,
	};

	if (bpf_prog_test_run_opts(fds[op], &o)) {
		r.verdict = -1000 - errno;
		return r;
	}
	r.verdict = (__s32)o.retval;
	if (goes_on(op, o.retval) && (o.data_size_out != size || memcmp(out, data, size)))
		r.census |= CHANGED;
	if (answers && is_sent_back(op, o.retval) &&
	    (fwrite(&o.data_size_out, 4, 1, answers) != 1 ||
	     fwrite(out, o.data_size_out, 1, answers) != 1))
		die("answers", errno);
	return r;
}

static void read_all(void)
{
	static char data[1 << 16];
	static __u64 counts[2][COUNTERS];
	struct record head;
	struct result r;
	int now = 0;

	while (fread(&head, sizeof(head), 1, stdin) == 1) {
		if (head.size >= sizeof(data) ||
		    (head.size && fread(data, head.size, 1, stdin) != 1))
			die("input ends in a record", EINVAL);
		if (head.op == OP_PUT) {
			put(data, head.size);
			continue;
		}
		if (head.op >= PROGRAMS || fds[head.op] < 0)
			die("a record of no kind", EINVAL);
		r = run(head.op, data, head.size);
		read_counters(counts[!now]);
		what_grew(counts[now], counts[!now], &r);
		now = !now;
		if (fwrite(&r, sizeof(r), 1, results) != 1)
			die("results", errno);
	}
}

int main(int argc, char **argv)
{
	__u32 sets = 4096;

	for (int c; (c = getopt(argc, argv, "s:r:o:")) != -1;)
		switch (c) {
		case 's':
			sets = (__u32)atoi(optarg);
			break;
		case 'r':
			results = fopen(optarg, "w");
			break;
		case 'o':
			answers = fopen(optarg, "w");
			break;
		default:
			results = NULL;
		}
	if (!results || optind + 1 != argc) {
		fputs("usage: bpf-gateway -r RESULTS [-o ANSWERS] [-s SETS] egress|gateway < "
		      "RECORDS\n",
		      stderr);
		return 2;
	}
	load(argv[optind], sets);
	read_all();
	if (fclose(results) || (answers && fclose(answers)))
		die("results", errno);
	return 0;
}
