// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gateway fence: on an interface behind which customers are, each SYN that comes in is counted
 * and judged by its source. XDP and TC ingress are two doors to the same decision; what leaves
 * towards the customer (TC egress) says how his attempts ended, also behind a masquerade.
 *
 * parse -> is it a SYN? -> count -> decide -> count the verdict -> new or repeated? -> drop or pass
 */
#include "lib/kernel.h"
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include "../maps/settings.h"
#include "../maps/roles.h"
#include "../maps/senders.h"
#include "../maps/nets.h"
#include "../maps/census.h"
#include "../maps/counters.h"
#include "../maps/gateway.h"
#include "lib/merge.h"
#include "lib/count.h"
#include "lib/lists.h"
#include "lib/tally.h"
#include "lib/look.h"
#include "lib/gateway.h"
#include "lib/tell_customer.h"
#include "lib/plain.h"

#define GO_ON TC_ACT_UNSPEC /* to the next program, which may be somebody else's */
#include "lib/answers.h"
#include "lib/reset.h"

/* Is the source, at this interface, in one of the tables that are kept by interface? */
static __always_inline bool is_listed_here(void *table, const struct syn *syn)
{
	struct sf_customer_net_key key = {.prefixlen = SF_CUSTOMER_NET_BITS_MAX,
					  .ifindex = syn->ifindex,
					  .family = syn->p.family,
					  .addr = syn->p.saddr};

	return bpf_map_lookup_elem(table, &key) != NULL;
}

/* Is a source one of the networks that the interface is said to have? */
static __always_inline bool is_spoofed(const struct syn *syn)
{
	__u32 ifindex = syn->ifindex; /* a key on the stack: 6.1 takes none behind `syn` */
	struct sf_customer *c = bpf_map_lookup_elem(&customers, &ifindex);

	return c && (c->flags & SF_CUSTOMER_NETS) && !is_listed_here(&customer_nets, syn);
}

static __always_inline bool is_local(const struct sf_addr *addr)
{
	struct sf_addr key = *addr; /* on the stack, as above */
	__u32 zero = 0, bit = sf_local_filter_bit(addr);
	struct sf_local_filter *filter = bpf_map_lookup_elem(&local_filter, &zero);

	bit &= SF_LOCAL_FILTER_BITS - 1;
	return filter && (filter->word[bit / 64] >> (bit % 64) & 1) &&
	       bpf_map_lookup_elem(&local_addrs, &key);
}

static __always_inline bool is_mail_host(const struct syn *syn, __u32 flags)
{
	struct sf_net_key key = {
		.prefixlen = SF_NET_BITS_MAX, .family = syn->p.family, .addr = syn->p.saddr};
	struct sf_mail_host *host = NULL;

	if (flags & SF_GATEWAY_MAIL_HOSTS)
		host = bpf_map_lookup_elem(&mail_hosts, &key);
	if (host && (!host->ifindex || host->ifindex == syn->ifindex))
		return true;
	return (flags & SF_GATEWAY_BOUND_HOSTS) && is_listed_here(&bound_hosts, syn);
}

static __always_inline __u32 gateway_flags(void)
{
	__u32 zero = 0;
	struct sf_gateway *g = bpf_map_lookup_elem(&gateway, &zero);

	return g && g->abi == SF_ABI_VERSION ? g->flags : 0;
}

/*
 * Has the source had its connections of this window? Those that were denied count too: who goes on
 * trying stays out. A mail host has no limit but one that names it.
 */
static __always_inline bool is_over_limit(const struct syn *syn, bool mail_host)
{
	struct sf_census_count *c = count_at(SOURCES, syn->source);
	struct sf_census_trail *t = trail_at(SOURCES, syn->source);

	return c && t && t->act && (!mail_host || t->class == SF_CLASS_NAMED) &&
	       sf_trail_window(t, syn->now.slice, (__u32)c->fenced) >= t->act;
}

/* Asked while the source's sets are on their way into the cache: see touch(). */
static __always_inline void look_for_quarantine(struct syn *syn)
{
	const __u64 *near = (const __u64 *)&syn->p.saddr;
	__u32 zero = 0;
	struct sf_settings *s = bpf_map_lookup_elem(&settings, &zero);

	if (syn->fenced && s && (s->flags & SF_SETTING_QUARANTINES))
		syn->quarantined =
			(__u8)source_quarantined(syn->p.family, near[0], near[1], s->flags);
}

/* The dearest look-ups only where no earlier one has decided: gateway.h has the order. */
static __always_inline void gateway_facts(const struct syn *syn, const struct sf_settings *s,
					  __u32 flags, struct sf_gateway_facts *f)
{
	const __u64 *far = (const __u64 *)&syn->p.daddr;

	f->fenced = syn->fenced;
	f->spoofed = is_spoofed(syn);
	if (!s || s->abi != SF_ABI_VERSION)
		return;
	f->mode = s->mode;
	f->routed = syn->p.routed;
	f->allow_local = (s->flags & SF_SETTING_ALLOW_LOCAL) != 0;
	if (!syn->fenced || f->spoofed || s->mode == SF_MODE_OFF)
		return;
	f->to_local = f->allow_local && is_local(&syn->p.daddr);
	f->quarantined = syn->quarantined;
	if (f->quarantined)
		return;
	f->from_mail_host = is_mail_host(syn, flags);
	if (!f->from_mail_host && (s->flags & SF_SETTING_RELAYS))
		f->to_relay = (__u8)relay_granted(syn->p.family, far[0], far[1], syn->p.dport);
	if ((flags & SF_GATEWAY_LIMIT_DROP) && syn->source != SF_NO_SLOT)
		f->over_limit = is_over_limit(syn, f->from_mail_host);
}

#define PASS  0
#define DROP  1
#define RESET 2 /* drop, and answer it */

/* Global, as in tally.h. */
__noinline int judge_syn(struct syn *syn)
{
	__u32 zero = 0;
	struct sf_settings *s = bpf_map_lookup_elem(&settings, &zero);
	struct sf_gateway_facts facts = {};
	__u32 flags = gateway_flags();
	struct sf_decision d;
	__u64 merged;

	if (!syn)
		return PASS;
	gateway_facts(syn, s, flags, &facts);
	d = sf_gateway_decide(&facts);
	merged = merge_paths(d.verdict | (__u32)d.reason << 8);
	d.verdict = merged & 0xff;
	d.reason = (merged >> 8) & 0xff;
	if (d.reason != SF_GATEWAY_NOT_ASKED)
		count_decision(d);
	syn->verdict = d.verdict;
	syn->reason = d.reason;
	if (d.verdict != SF_VERDICT_DENIED)
		return PASS;
	/* Whom to answer is not known where the source is a lie. */
	return (flags & SF_GATEWAY_ANSWER_RESET) && d.reason != SF_REASON_SPOOFED ? RESET : DROP;
}

/* Without the census' settings nothing is counted, but the fence stands. */
static __always_inline int take_syn(struct syn *syn, __u32 ifindex)
{
	__u32 zero = 0;
	struct sf_census_settings *s = bpf_map_lookup_elem(&census_settings, &zero);
	int dropped;

	if (!s || s->abi != SF_ABI_VERSION) {
		census_add(SF_CENSUS_UNCOUNTED, 1);
		syn->ifindex = ifindex;
		syn->fenced = port_is_fenced(syn->p.dport);
		syn->source = SF_NO_SLOT;
		look_for_quarantine(syn);
		return judge_syn(syn);
	}
	syn_begin(syn, ifindex, s);
	syn_source_key(syn, s);
	look_for_quarantine(syn);
	syn_source(syn);
	dropped = judge_syn(syn);
	if (syn->fenced)
		syn->repeated = (__u8)attempt_begin(syn, (__u32)dropped);
	if (syn->verdict != SF_VERDICT_ALLOWED)
		tell_customer(syn);
	count_source(syn);
	return dropped;
}

static __always_inline int take_unparsed(enum sf_outcome outcome)
{
	__u32 zero = 0;
	struct sf_settings *s;
	struct sf_decision d;

	if (outcome < SF_PARSED_TINY_FRAGMENT)
		return PASS;
	count_unparsed(outcome);
	s = bpf_map_lookup_elem(&settings, &zero);
	d = sf_gateway_unparsed(s && s->abi == SF_ABI_VERSION ? s->mode : 0);
	count_decision(d);
	return d.verdict == SF_VERDICT_DENIED ? DROP : PASS;
}

/* TC ------------------------------------------------------------------------------------------ */

static __always_inline int from_customer(struct __sk_buff *skb, __u32 link)
{
	struct sf_plain_at at;
	struct syn syn;
	enum sf_plain plain = sf_plain(start_of(skb), end_of(skb), link, &at);
	enum sf_outcome outcome = SF_PARSED_TCP;
	int what;

	if (plain == SF_PLAIN_NO_TCP || (plain == SF_PLAIN_TCP && !sf_flags_of_syn(at.tcp[13])))
		return GO_ON;
	__builtin_memset(&syn, 0, sizeof(syn));
	if (plain == SF_PLAIN_TCP && !at.tagged)
		sf_plain_take(&at, link, &syn.p);
	else
		outcome = look(skb, link, &syn.p);
	if (outcome != SF_PARSED_TCP)
		what = take_unparsed(outcome);
	else
		what = sf_flags_of_syn(syn.p.flags) ? take_syn(&syn, skb->ifindex) : PASS;
	if (what == RESET && turn_into_reset(skb, link, &syn.p))
		return (int)bpf_redirect(skb->ifindex, 0);
	return what == PASS ? GO_ON : TC_ACT_SHOT;
}

SEC("tc")
int smtpfence_gwin(struct __sk_buff *skb)
{
	return from_customer(skb, SF_ETHERNET);
}

SEC("tc")
int smtpfence_gwip(struct __sk_buff *skb)
{
	return from_customer(skb, SF_RAW_IP);
}

static __always_inline int to_customer(struct __sk_buff *skb, __u32 link)
{
	struct sf_plain_at at;
	struct sf_packet p;
	enum sf_plain plain = sf_plain(start_of(skb), end_of(skb), link, &at);
	struct sf_census_settings *s;
	__u32 zero = 0;

	if (plain == SF_PLAIN_NO_TCP ||
	    (plain == SF_PLAIN_TCP && !(at.tcp[13] & (SF_TCP_SYN | SF_TCP_RST))))
		return GO_ON;
	__builtin_memset(&p, 0, sizeof(p));
	if (plain == SF_PLAIN_TCP && !at.tagged)
		sf_plain_take(&at, link, &p);
	else if (look(skb, link, &p) != SF_PARSED_TCP)
		return GO_ON;
	if (!(p.flags & (SF_TCP_SYN | SF_TCP_RST)) || !(p.flags & SF_TCP_ACK) ||
	    !port_is_fenced(p.sport))
		return GO_ON;
	s = bpf_map_lookup_elem(&census_settings, &zero);
	if (s && s->abi == SF_ABI_VERSION)
		answer(&p, s->seed, p.flags & SF_TCP_RST);
	return GO_ON;
}

SEC("tc")
int smtpfence_gwout(struct __sk_buff *skb)
{
	return to_customer(skb, SF_ETHERNET);
}

SEC("tc")
int smtpfence_gwoip(struct __sk_buff *skb)
{
	return to_customer(skb, SF_RAW_IP);
}

/* XDP ----------------------------------------------------------------------------------------- */

static __always_inline const __u8 *start_of_frame(struct xdp_md *ctx)
{
	return (const __u8 *)(long)ctx->data;
}

static __always_inline const __u8 *end_of_frame(struct xdp_md *ctx)
{
	return (const __u8 *)(long)ctx->data_end;
}

/*
 * Only the linear part of a frame is seen. What of its headers lies behind that (no driver is known
 * to do so) is "truncated", with the verdict of what can't be parsed.
 */
__noinline int look_at_frame(struct xdp_md *ctx, struct sf_packet *p)
{
	enum sf_outcome outcome;

	if (!p)
		return SF_PARSED_BAD_HEADER;
	outcome = sf_parse(start_of_frame(ctx), end_of_frame(ctx), SF_ETHERNET, p);
	if (outcome == SF_PARSED_TCP && (p->flags & SF_TCP_SYN) &&
	    !sf_packet_addresses(start_of_frame(ctx), end_of_frame(ctx), p))
		return SF_PARSED_TRUNCATED;
	return outcome;
}

SEC("xdp")
int smtpfence_gwxdp(struct xdp_md *ctx)
{
	struct sf_plain_at at;
	struct syn syn;
	enum sf_plain plain = sf_plain(start_of_frame(ctx), end_of_frame(ctx), SF_ETHERNET, &at);
	enum sf_outcome outcome = SF_PARSED_TCP;
	int what;

	if (plain == SF_PLAIN_NO_TCP || (plain == SF_PLAIN_TCP && !sf_flags_of_syn(at.tcp[13])))
		return XDP_PASS;
	__builtin_memset(&syn, 0, sizeof(syn));
	if (plain == SF_PLAIN_TCP && !at.tagged)
		sf_plain_take(&at, SF_ETHERNET, &syn.p);
	else
		outcome = look_at_frame(ctx, &syn.p);
	if (outcome != SF_PARSED_TCP)
		what = take_unparsed(outcome);
	else
		what = sf_flags_of_syn(syn.p.flags) ? take_syn(&syn, ctx->ingress_ifindex) : PASS;
	if (what == RESET && frame_into_reset(ctx))
		return XDP_TX;
	return what == PASS ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
