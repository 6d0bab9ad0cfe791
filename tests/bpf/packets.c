// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs packets through the census' programs, unattached and unpinned (BPF_PROG_TEST_RUN), and says
 * what became of each. What is right is not known here: the Python next to this file judges.
 *
 * Standard input: records, each a struct record and its data (native byte order). Results go to
 * the file of -r, one struct result a record; standard output gets JSON lines: events, then
 * counters, sources, senders. With -t N the packets are shared among N threads, record i going to
 * thread i % N (-T: each gets all), and results hold no counters. With -i NAME the programs are
 * attached to that interface of this network namespace instead, until standard input ends.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <bpf/bpf.h>
#include "../../maps/settings.h"
#include "../../bpf/lib/census.h"
#include "egress.skel.h"

enum op { /* programs first */
	  OP_OUT,
	  OP_OUTIP,
	  OP_IN,
	  OP_INIP,
	  OP_JUMP,	/* __s64: the programs' clock goes on by so many ns */
	  OP_LIMIT,	/* struct sf_limit: of unknown sources, and of senders */
	  OP_NET_LIMIT, /* struct sf_net_key, struct sf_limit */
	  OP_DUMP,	/* sources and senders as they are now */
	  OP_ABI,	/* __u32: the settings' version */
};

struct record {
	__u32 size;
	__u16 linear; /* bytes of the skb's linear part; 0: all (needs a kernel that can) */
	__u8 op;
	__u8 pad;
};

struct result {
	__s32 verdict;	/* what the program returned; below -1000: -1000 - errno of the test run */
	__u32 counters; /* bit n: enum sf_census_counter n grew */
};

struct packet {
	struct record head;
	const __u8 *data;
};

static struct {
	__u32 source_sets, sender_sets, attempt_sets, threads, warn, act, ring, mode, repeat;
	bool each_gets_all;
	const char *results, *fenced, *watched, *interface;
} options = {.source_sets = 1024,
	     .sender_sets = 64,
	     .attempt_sets = 4096,
	     .repeat = 1,
	     .mode = SF_MODE_OFF, /* no packet is judged, all are counted */
	     .fenced = "25,465,587",
	     .watched = "2525"};

static const char *const counter_names[] = {
#define X(name, label, text) [SF_CENSUS_##name] = label,
	SF_CENSUS_COUNTERS(X)
#undef X
};

static struct egress_bpf *skel;
static struct sf_census_settings settings_now;
static struct packet *packets;
static struct result *results;
static size_t packet_count;
static int program_fds[4];
static int cpus;

static void die(const char *what, int error)
{
	fprintf(stderr, "packets: %s: %s\n", what, strerror(error < 0 ? -error : error));
	exit(1);
}

static void *map_memory(struct bpf_map *map)
{
	size_t size = (size_t)bpf_map__value_size(map) * bpf_map__max_entries(map);
	void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, bpf_map__fd(map), 0);

	if (p == MAP_FAILED)
		die(bpf_map__name(map), errno);
	return p;
}

/* Loading ------------------------------------------------------------------------------------- */

static void write_settings(void)
{
	__u32 zero = 0;

	if (bpf_map_update_elem(bpf_map__fd(skel->maps.census_settings), &zero, &settings_now,
				BPF_ANY))
		die("census_settings", errno);
}

static void set_limits(const struct sf_limit *limit)
{
	settings_now.unknown = settings_now.user = settings_now.mail = *limit;
	settings_now.unknown.class = SF_CLASS_UNKNOWN;
	settings_now.user.class = SF_CLASS_USER;
	settings_now.mail.class = SF_CLASS_MAIL;
	settings_now.limits++;
	write_settings();
}

static void set_mode(void)
{
	struct sf_settings s = {.abi = SF_ABI_VERSION, .mode = options.mode, .deny_errno = EPERM};
	__u32 zero = 0;

	if (bpf_map_update_elem(bpf_map__fd(skel->maps.settings), &zero, &s, BPF_ANY))
		die("settings", errno);
}

static void set_ports(const char *list, bool fenced)
{
	char *text = strdup(list), *rest = text;

	for (char *one; (one = strsep(&rest, ","));) {
		__u32 port = (__u32)atoi(one), word = port / 64;
		struct sf_port_word w;

		if (!*one)
			continue;
		if (bpf_map_lookup_elem(bpf_map__fd(skel->maps.ports), &word, &w))
			die("ports", errno);
		*(fenced ? &w.fenced : &w.watched) |= 1ULL << (port % 64);
		if (bpf_map_update_elem(bpf_map__fd(skel->maps.ports), &word, &w, BPF_ANY))
			die("ports", errno);
	}
	free(text);
}

static void size_maps(void)
{
	const struct {
		struct bpf_map *map;
		__u32 entries;
	} sizes[] = {
		{skel->maps.source_heads, options.source_sets},
		{skel->maps.source_counts, options.source_sets * SF_CENSUS_WAYS},
		{skel->maps.source_trails, options.source_sets * SF_CENSUS_WAYS},
		{skel->maps.sender_heads, options.sender_sets},
		{skel->maps.sender_counts, options.sender_sets * SF_CENSUS_WAYS},
		{skel->maps.sender_trails, options.sender_sets * SF_CENSUS_WAYS},
		{skel->maps.attempts, options.attempt_sets},
		{skel->maps.crossings, options.ring},
	};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		if (sizes[i].entries && bpf_map__set_max_entries(sizes[i].map, sizes[i].entries))
			die(bpf_map__name(sizes[i].map), errno);
	skel->rodata->source_sets = options.source_sets;
	skel->rodata->sender_sets = options.sender_sets;
	skel->rodata->attempt_sets = options.attempt_sets;
}

static void load(void)
{
	const struct bpf_program *programs[4];
	struct timespec boot, wall;

	skel = egress_bpf__open();
	if (!skel)
		die("open", errno);
	size_maps();
	if (egress_bpf__load(skel))
		die("load", errno);
	programs[OP_OUT] = skel->progs.smtpfence_out;
	programs[OP_OUTIP] = skel->progs.smtpfence_outip;
	programs[OP_IN] = skel->progs.smtpfence_in;
	programs[OP_INIP] = skel->progs.smtpfence_inip;
	for (int i = 0; i < 4; i++)
		program_fds[i] = bpf_program__fd(programs[i]);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_REALTIME, &wall);
	settings_now = (struct sf_census_settings){
		.seed = 0x9e3779b97f4a7c15,
		.v6_mask = {~0ULL, 0}, /* /64 */
		.wall_offset_s = wall.tv_sec - boot.tv_sec,
		.abi = SF_ABI_VERSION,
	};
	set_limits(&(struct sf_limit){.warn = options.warn, .act = options.act});
	set_mode();
	set_ports(options.fenced, true);
	set_ports(options.watched, false);
}

/* What is told ----------------------------------------------------------------------------------
 */

static const char *address(const void *b)
{
	static char text[4][INET6_ADDRSTRLEN];
	static int next;
	char *t = text[next++ & 3];

	return inet_ntop(AF_INET6, b, t, INET6_ADDRSTRLEN);
}

static size_t current; /* record that is being run */

static int print_event(void *context, void *data, size_t size)
{
	const struct sf_crossing *e = data;

	(void)context;
	if (size != sizeof(*e))
		die("an event of another size", EPROTO);
	printf("{\"event\": %zu, \"abi\": %u, \"kind\": %u, \"time\": %" PRIu64
	       ", \"key\": [%" PRIu64 ", %" PRIu64 "], \"address\": \"%s\", \"saddr\": \"%s\", "
	       "\"daddr\": \"%s\", \"sport\": %u, \"dport\": %u, \"level\": %u, \"window\": %u, "
	       "\"limit\": %u, \"class\": %u, \"ifindex\": %u}\n",
	       current, e->abi, e->kind, (uint64_t)e->time_ns, (uint64_t)e->key.word[0],
	       (uint64_t)e->key.word[1], address(&e->key), address(&e->saddr), address(&e->daddr),
	       e->sport, e->dport, e->level, e->window, e->limit, e->class, e->ifindex);
	return 0;
}

static __u64 clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (__u64)t.tv_sec * 1000000000ULL + (__u64)t.tv_nsec +
	       (__u64)settings_now.boot_offset_ns;
}

static void dump_table(const char *name, struct bpf_map *heads_map, struct bpf_map *counts_map,
		       struct bpf_map *trails_map, __u32 sets)
{
	struct sf_census_set *heads = map_memory(heads_map);
	struct sf_census_count *counts = map_memory(counts_map);
	struct sf_census_trail *trails = map_memory(trails_map);
	__u32 now = sf_slice_of(clock_ns());

	for (__u32 slot = 0; slot < sets * SF_CENSUS_WAYS; slot++) {
		const struct sf_census_head *h = &heads[slot / SF_CENSUS_WAYS].way[slot % 8];
		const struct sf_census_count *c = &counts[slot];
		struct sf_census_trail t = trails[slot];

		if (!h->tag)
			continue;
		printf("{\"%s\": \"%s\", \"slot\": %u, \"busy\": %d, \"word0\": %" PRIu64
		       ", \"word1\": %" PRIu64 ", \"syn\": %" PRIu64 ", \"fenced\": %" PRIu64
		       ", \"retransmitted\": %u, \"answered\": %u, \"refused\": %u, \"silent\": "
		       "%u, \"untracked\": %u, \"window\": %u, \"told\": %u, \"class\": %u, "
		       "\"hour\": %u, \"day\": %u, \"ifindex\": %u}\n",
		       name, address(&c->key), slot, (int)(h->tag & SF_TAG_BUSY),
		       (uint64_t)c->key.word[0], (uint64_t)c->key.word[1], (uint64_t)c->syn,
		       (uint64_t)c->fenced, c->retransmitted, c->answered, c->refused, c->silent,
		       c->untracked, sf_trail_window(&t, now, (__u32)c->fenced), t.told, t.class,
		       t.hour ? (__u32)c->fenced - t.hour_base : 0,
		       t.hour ? (__u32)c->fenced - t.day_base : 0, c->ifindex);
	}
	munmap(heads, sets * sizeof(*heads));
	munmap(counts, sets * SF_CENSUS_WAYS * sizeof(*counts));
	munmap(trails, sets * SF_CENSUS_WAYS * sizeof(*trails));
}

static void dump(void)
{
	dump_table("source", skel->maps.source_heads, skel->maps.source_counts,
		   skel->maps.source_trails, options.source_sets);
	dump_table("sender", skel->maps.sender_heads, skel->maps.sender_counts,
		   skel->maps.sender_trails, options.sender_sets);
}

static void read_counters(__u64 *sums)
{
	static __u64 *values;
	__u32 count = SF_CENSUS_COUNTER_MAX, batch, keys[SF_CENSUS_COUNTER_MAX];

	if (!values)
		values = calloc((size_t)cpus * SF_CENSUS_COUNTER_MAX, sizeof(*values));
	if (bpf_map_lookup_batch(bpf_map__fd(skel->maps.census_counters), NULL, &batch, keys,
				 values, &count, NULL) &&
	    errno != ENOENT)
		die("census_counters", errno);
	memset(sums, 0, SF_CENSUS_COUNTER_MAX * sizeof(*sums));
	for (__u32 i = 0; i < count; i++)
		for (int cpu = 0; cpu < cpus; cpu++)
			sums[keys[i]] += values[i * (__u32)cpus + (__u32)cpu];
}

/* Running ------------------------------------------------------------------------------------- */

static __s32 run_packet(const struct packet *p)
{
	struct __sk_buff skb = {.data_end = p->head.linear};
	struct bpf_test_run_opts o = {
		.sz = sizeof(o),
		.data_in = p->data,
		.data_size_in = p->head.size,
		.ctx_in = p->head.linear ? &skb : NULL,
		.ctx_size_in = p->head.linear ? sizeof(skb) : 0,
		.repeat = (int)options.repeat,
	};

	if (bpf_prog_test_run_opts(program_fds[p->head.op], &o))
		return -1000 - errno;
	return (__s32)o.retval;
}

static void control(const struct packet *p)
{
	const struct sf_limit *limit;

	switch ((enum op)p->head.op) {
	case OP_JUMP:
		settings_now.boot_offset_ns += *(const __s64 *)(const void *)p->data;
		return write_settings();
	case OP_LIMIT:
		return set_limits((const struct sf_limit *)(const void *)p->data);
	case OP_NET_LIMIT:
		limit = (const void *)(p->data + sizeof(struct sf_net_key));
		if (bpf_map_update_elem(bpf_map__fd(skel->maps.source_limits), p->data, limit,
					BPF_ANY))
			die("source_limits", errno);
		settings_now.limits++;
		return write_settings();
	case OP_DUMP:
		printf("{\"dump\": %zu}\n", current);
		return dump();
	case OP_ABI:
		settings_now.abi = *(const __u32 *)(const void *)p->data;
		return write_settings();
	default:
		die("a record of no kind", EINVAL);
	}
}

/* One by one, the counters read after each. Returns the seconds that it took. */
static void run_single(struct ring_buffer *ring)
{
	__u64 before[SF_CENSUS_COUNTER_MAX], after[SF_CENSUS_COUNTER_MAX];

	read_counters(before);
	for (current = 0; current < packet_count; current++) {
		const struct packet *p = &packets[current];

		if (p->head.op > OP_INIP) {
			control(p);
			continue;
		}
		results[current].verdict = run_packet(p);
		read_counters(after);
		for (int i = 0; i < SF_CENSUS_COUNTER_MAX; i++)
			if (after[i] != before[i])
				results[current].counters |= 1u << i;
		memcpy(before, after, sizeof(before));
		ring_buffer__consume(ring);
	}
}

static pthread_barrier_t start;

static void *run_share(void *argument)
{
	size_t me = (size_t)argument, step = options.each_gets_all ? 1 : options.threads;

	pthread_barrier_wait(&start);
	for (size_t i = options.each_gets_all ? 0 : me; i < packet_count; i += step)
		results[i].verdict = run_packet(&packets[i]);
	return NULL;
}

static void run_threads(struct ring_buffer *ring)
{
	pthread_t thread[64];

	if (options.threads > 64)
		die("threads", EINVAL);
	pthread_barrier_init(&start, NULL, options.threads);
	for (size_t i = 0; i < options.threads; i++)
		pthread_create(&thread[i], NULL, run_share, (void *)i);
	for (size_t i = 0; i < options.threads; i++)
		pthread_join(thread[i], NULL);
	ring_buffer__consume(ring);
}

/* What really leaves an interface: skbs that a test run can't make. */
static void run_attached(struct ring_buffer *ring)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex(options.interface),
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, out, .prog_fd = program_fds[OP_OUT]);
	LIBBPF_OPTS(bpf_tc_opts, in, .prog_fd = program_fds[OP_IN]);
	char byte;
	int error = bpf_tc_hook_create(&hook);

	if (error && error != -EEXIST)
		die(options.interface, error);
	hook.attach_point = BPF_TC_EGRESS;
	error = bpf_tc_attach(&hook, &out);
	hook.attach_point = BPF_TC_INGRESS;
	if (!error)
		error = bpf_tc_attach(&hook, &in);
	if (error)
		die(options.interface, error);
	printf("{\"ready\": 1}\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	bpf_tc_hook_destroy(&hook);
	ring_buffer__consume(ring);
}

/* Input ---------------------------------------------------------------------------------------- */

static __u8 *read_all(size_t *size)
{
	size_t room = 1 << 20;
	__u8 *b = malloc(room);

	*size = 0;
	for (size_t n; (n = fread(b + *size, 1, room - *size, stdin));) {
		*size += n;
		if (*size == room)
			b = realloc(b, room *= 2); /* cppcheck-suppress memleakOnRealloc */
	}
	return b;
}

static void read_packets(void)
{
	size_t size, at, n = 0;
	__u8 *b = read_all(&size);

	for (int pass = 0; pass < 2; pass++) {
		for (at = 0, n = 0; at < size; n++) {
			struct record head;

			if (size - at < sizeof(head))
				die("input ends in a record's head", EINVAL);
			memcpy(&head, b + at, sizeof(head));
			at += sizeof(head);
			if (size - at < head.size)
				die("input ends in a record", EINVAL);
			if (pass)
				packets[n] = (struct packet){head, b + at};
			at += head.size;
		}
		if (!pass) {
			packets = calloc(n + 1, sizeof(*packets));
			results = calloc(n + 1, sizeof(*results));
		}
	}
	packet_count = n;
}

static void write_results(void)
{
	FILE *f = fopen(options.results, "w");

	if (!f || fwrite(results, sizeof(*results), packet_count, f) != packet_count || fclose(f))
		die(options.results, errno);
}

static void parse_options(int argc, char **argv)
{
	static const char usage[] =
		"usage: packets [-s SOURCE_SETS] [-d SENDER_SETS] [-a ATTEMPT_SETS]\n"
		"       [-t THREADS [-T]] [-f FENCED] [-w WATCHED] [-l WARN,ACT] [-b RING_BYTES]\n"
		"       [-r RESULTS] [-i INTERFACE] [-m MODE] [-n REPEAT] < RECORDS\n";

	for (int c; (c = getopt(argc, argv, "s:d:a:t:Tf:w:l:b:r:i:m:n:")) != -1;)
		switch (c) {
		case 's':
			options.source_sets = (__u32)atoi(optarg);
			break;
		case 'd':
			options.sender_sets = (__u32)atoi(optarg);
			break;
		case 'a':
			options.attempt_sets = (__u32)atoi(optarg);
			break;
		case 't':
			options.threads = (__u32)atoi(optarg);
			break;
		case 'T':
			options.each_gets_all = true;
			break;
		case 'f':
			options.fenced = optarg;
			break;
		case 'w':
			options.watched = optarg;
			break;
		case 'l':
			if (sscanf(optarg, "%u,%u", &options.warn, &options.act) != 2)
				die(optarg, EINVAL);
			break;
		case 'b':
			options.ring = (__u32)atoi(optarg);
			break;
		case 'm': /* enum sf_mode */
			options.mode = (__u32)atoi(optarg);
			break;
		case 'n': /* runs of each packet */
			options.repeat = (__u32)atoi(optarg);
			break;
		case 'i':
			options.interface = optarg;
			break;
		case 'r':
			options.results = optarg;
			break;
		default:
			fputs(usage, stderr);
			exit(2);
		}
}

int main(int argc, char **argv)
{
	__u64 counters[SF_CENSUS_COUNTER_MAX];
	struct ring_buffer *ring;
	struct timespec begin, end;

	parse_options(argc, argv);
	cpus = libbpf_num_possible_cpus();
	if (!options.interface)
		read_packets();
	load();
	ring = ring_buffer__new(bpf_map__fd(skel->maps.crossings), print_event, NULL, NULL);
	if (!ring)
		die("crossings", errno);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	if (options.interface)
		run_attached(ring);
	else if (options.threads)
		run_threads(ring);
	else
		run_single(ring);
	clock_gettime(CLOCK_MONOTONIC, &end);
	if (options.results)
		write_results();
	read_counters(counters);
	printf("{\"counters\": {");
	for (int i = 0; i < SF_CENSUS_COUNTER_COUNT; i++)
		printf("%s\"%s\": %" PRIu64, i ? ", " : "", counter_names[i],
		       (uint64_t)counters[i]);
	printf("}, \"seconds\": %.6f}\n{\"dump\": %zu}\n",
	       (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9,
	       packet_count);
	dump();
	ring_buffer__free(ring);
	egress_bpf__destroy(skel);
	return 0;
}
