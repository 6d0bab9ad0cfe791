// SPDX-License-Identifier: GPL-2.0-only
#include "packet_run.h"
#include "../../maps/census.h"
#include "../../maps/counters.h"
#include "../../maps/gateway.h"
#include "../../maps/nets.h"
#include "../../maps/settings.h"
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "egress.skel.h"
#include "gateway.skel.h"

#define SETS 1024
#define HERE 1 /* a test run's packets come in at lo */

const char *const program_names[PROGRAMS] = {"smtpfence_out", "smtpfence_outip", "smtpfence_gwin",
					     "smtpfence_gwip", "smtpfence_gwxdp"};
static int fds[PROGRAMS];

/* The maps of one object that are shared with this process. */
static struct side {
	struct bpf_object *object;
	struct sf_settings *settings;
	struct sf_gateway *gateway;
	const volatile uint64_t *decisions, *census;
	int customers, own;
} sides[2];

#define DECISIONS (SF_VERDICT_COUNT * SF_REASON_MAX)

static void must(bool worked, const char *what)
{
	if (worked)
		return;
	fprintf(stderr, "packets: %s: %s\n", what, strerror(errno));
	_exit(2);
}

/* Loading -------------------------------------------------------------------------------------- */

static struct bpf_map *map_of(const struct side *side, const char *name)
{
	return bpf_object__find_map_by_name(side->object, name);
}

static void size_map(const struct side *side, const char *name, uint32_t entries)
{
	struct bpf_map *map = map_of(side, name);

	if (map)
		must(!bpf_map__set_max_entries(map, entries), name);
}

/* Reading per-CPU maps takes ten times as long as the packet: here they are arrays. */
static void share(const struct side *side, const char *name)
{
	struct bpf_map *map = map_of(side, name);

	if (map)
		must(!bpf_map__set_type(map, BPF_MAP_TYPE_ARRAY) &&
			     !bpf_map__set_map_flags(map, BPF_F_MMAPABLE),
		     name);
}

static void *memory(const struct side *side, const char *name)
{
	struct bpf_map *map = map_of(side, name);
	size_t size = map ? bpf_map__max_entries(map) * bpf_map__value_size(map) : 0;
	void *p = map ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0)
		      : NULL;

	must(p != MAP_FAILED, name);
	return p;
}

static void put(const struct side *side, const char *name, const void *key, const void *value)
{
	struct bpf_map *map = map_of(side, name);

	if (map)
		must(!bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY), name);
}

/* A network as family, bits and address; the bits of what a key has before them are added there. */
static struct sf_net_key key_of(const struct network *n)
{
	struct sf_net_key key = {.family = strchr(n->text, ':') ? 6 : 4};
	uint32_t bits = (uint32_t)atoi(strchr(n->text, '/') + 1);
	char text[64];

	strcpy(text, n->text);
	*strchr(text, '/') = '\0';
	if (key.family == 4) {
		key.addr.b[10] = key.addr.b[11] = 0xff;
		inet_pton(AF_INET, text, key.addr.b + 12);
		bits += 96;
	} else {
		inet_pton(AF_INET6, text, key.addr.b);
	}
	key.prefixlen = 32 + bits;
	return key;
}

static void put_nets(const struct side *side, const char *name, const struct network *list,
		     const void *value)
{
	for (; list->text; list++) {
		struct sf_net_key key = key_of(list);

		put(side, name, &key, value);
	}
}

static void put_nets_of(const struct side *side, const char *name, const struct network *list)
{
	for (; list->text; list++) {
		struct sf_net_key net = key_of(list);
		struct sf_customer_net_key key = {.prefixlen = net.prefixlen + 32,
						  .ifindex = list->ifindex ? list->ifindex : HERE,
						  .family = net.family,
						  .addr = net.addr};
		uint32_t value = 0;

		put(side, name, &key, &value);
	}
}

static void fill(const struct side *side)
{
	const struct sf_net_quarantine always = {.until_ns = SF_NEVER};
	const struct sf_census_settings census = {.seed = 0x9e3779b97f4a7c15ULL,
						  .v6_mask = {~0ULL, 0},
						  .abi = SF_ABI_VERSION,
						  .limits = 1};
	const struct sf_mail_host anywhere = {.ifindex = 0};
	struct sf_local_filter filter;
	uint32_t zero = 0;
	uint8_t one = 1;

	memset(&filter, 0xff, sizeof(filter));
	put(side, "census_settings", &zero, &census);
	put(side, "local_filter", &zero, &filter);
	for (uint32_t port = 0; port < 65536; port++) {
		struct sf_port_word word = {.fenced = 0};
		uint32_t at = port / 64;

		if (port != 25 && port != 465 && port != 587 && port != 2525)
			continue;
		word.fenced = port == 2525 ? 0 : 1ULL << port % 64;
		word.watched = port == 2525 ? 1ULL << port % 64 : 0;
		put(side, "ports", &at, &word);
	}
	for (const struct network *n = relays; n->text; n++) {
		struct sf_net_key key = key_of(n);
		struct sf_grants grants = {.count = n->ports[1] ? 2 : 1};

		for (int i = 0; i < 2; i++)
			grants.grant[i] = (struct sf_grant){SF_NEVER, n->ports[i], {0}};
		put(side, "relays", &key, &grants);
	}
	put_nets(side, "quarantine_nets", quarantine_nets, &always);
	put_nets(side, "quarantine_hosts", quarantine_hosts, &always);
	put_nets(side, "mail_hosts", mail_hosts, &anywhere);
	put_nets_of(side, "bound_hosts", bound_hosts);
	put_nets_of(side, "customer_nets", own_nets);
	for (const struct network *n = local_addrs; n->text; n++) {
		struct sf_net_key key = key_of(n);

		put(side, "local_addrs", &key.addr, &one);
	}
}

static void load(struct side *side)
{
	static const char *const shared[] = {"counters", "census_counters", "settings", "gateway"};

	size_map(side, "source_heads", SETS);
	size_map(side, "source_counts", SETS * SF_CENSUS_WAYS);
	size_map(side, "source_trails", SETS * SF_CENSUS_WAYS);
	size_map(side, "attempts", SETS);
	for (size_t i = 0; i < 4; i++)
		share(side, shared[i]);
	must(!bpf_object__load(side->object), "can't load the programs");
	side->settings = memory(side, "settings");
	side->gateway = memory(side, "gateway");
	side->decisions = memory(side, "counters");
	side->census = memory(side, "census_counters");
	side->customers = bpf_map__fd(map_of(side, "customers"));
	fill(side);
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

void packet_load(void)
{
	static struct egress_bpf *egress;
	static struct gateway_bpf *gateway;

	libbpf_set_print(quiet);
	egress = egress_bpf__open();
	gateway = gateway_bpf__open();
	must(egress && gateway, "open");
	egress->rodata->source_sets = egress->rodata->attempt_sets = SETS;
	gateway->rodata->source_sets = gateway->rodata->attempt_sets = SETS;
	sides[0].object = egress->obj;
	sides[1].object = gateway->obj;
	for (int i = 0; i < 2; i++)
		load(&sides[i]);
	for (int i = 0; i < PROGRAMS; i++)
		fds[i] = bpf_program__fd(bpf_object__find_program_by_name(sides[i >= GWIN].object,
									  program_names[i]));
}

/* Running -------------------------------------------------------------------------------------- */

static void apply(struct side *side, const struct policy *p)
{
	static const uint32_t modes[] = {
		[OFF] = SF_MODE_OFF, [MONITOR] = SF_MODE_MONITOR, [ENFORCE] = SF_MODE_ENFORCE};
	struct sf_settings *s = side->settings;

	s->abi = p->mode == WIPED ? 0 : SF_ABI_VERSION;
	s->mode = p->mode == WIPED ? SF_MODE_OFF : modes[p->mode]; /* must not be believed */
	s->flags = (p->allow_local ? SF_SETTING_ALLOW_LOCAL : 0) |
		   (p->relays ? SF_SETTING_RELAYS : 0) |
		   (p->quarantine_nets ? SF_SETTING_QUARANTINE_NETS : 0) |
		   (p->quarantine_hosts ? SF_SETTING_QUARANTINE_HOSTS : 0) |
		   (p->fence_forwarded ? SF_SETTING_FENCE_FORWARDED : 0);
	s->deny_errno = EPERM;
	if (!side->gateway)
		return;
	side->gateway->abi = SF_ABI_VERSION;
	side->gateway->flags = (p->resets ? SF_GATEWAY_ANSWER_RESET : 0) |
			       (p->mail_hosts ? SF_GATEWAY_MAIL_HOSTS : 0) |
			       (p->bound_hosts ? SF_GATEWAY_BOUND_HOSTS : 0);
	if (side->own != 1 + p->own_nets) {
		const struct sf_customer c = {.flags = p->own_nets ? SF_CUSTOMER_NETS : 0};
		const uint32_t here = HERE;

		must(!bpf_map_update_elem(side->customers, &here, &c, BPF_ANY), "customers");
		side->own = 1 + p->own_nets;
	}
}

static enum fate fate_of(enum program program, uint32_t code)
{
	if (program == XDP)
		return code == XDP_PASS	  ? PASSES
		       : code == XDP_DROP ? DROPPED
		       : code == XDP_TX	  ? RESET
					  : STRANGE;
	return (int)code == TC_ACT_UNSPEC ? PASSES
	       : code == TC_ACT_SHOT	  ? DROPPED
	       : code == TC_ACT_REDIRECT  ? RESET
					  : STRANGE;
}

/* What is no property of one packet: what full tables do. */
#define APART                                                                                      \
	(1u << SF_CENSUS_FORGOTTEN_SOURCES | 1u << SF_CENSUS_FORGOTTEN_SOURCE_SYN |                \
	 1u << SF_CENSUS_FORGOTTEN_SENDERS | 1u << SF_CENSUS_FORGOTTEN_SENDER_SYN |                \
	 1u << SF_CENSUS_UNTRACKED | 1u << SF_CENSUS_CROSSINGS | 1u << SF_CENSUS_CROSSINGS_LOST)

bool packet_run(enum program program, const struct policy *policy, const uint8_t *frame,
		size_t size, struct seen *seen)
{
	struct side *side = &sides[program >= GWIN];
	uint64_t decisions[DECISIONS], census[SF_CENSUS_COUNTER_COUNT];
	struct bpf_test_run_opts o = {.sz = sizeof(o),
				      .data_in = frame,
				      .data_size_in = (uint32_t)size,
				      .data_out = seen->out,
				      .data_size_out = sizeof(seen->out),
				      .repeat = 1};

	apply(side, policy);
	memcpy(decisions, (const void *)side->decisions, sizeof(decisions));
	memcpy(census, (const void *)side->census, sizeof(census));
	if (bpf_prog_test_run_opts(fds[program], &o))
		return false;
	seen->fate = fate_of(program, o.retval);
	seen->out_size = o.data_size_out;
	seen->verdict = seen->reason = -1;
	seen->more = false;
	seen->census = 0;
	for (int i = 0; i < DECISIONS; i++) {
		if (side->decisions[i] == decisions[i])
			continue;
		seen->more |= seen->verdict >= 0 || side->decisions[i] != decisions[i] + 1;
		seen->verdict = i / SF_REASON_MAX;
		seen->reason = i % SF_REASON_MAX;
	}
	for (int i = 0; i < SF_CENSUS_COUNTER_COUNT; i++)
		if (side->census[i] != census[i])
			seen->census |= 1u << i;
	seen->census &= ~APART;
	return true;
}
