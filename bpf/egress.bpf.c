// SPDX-License-Identifier: GPL-2.0-only
/*
 * The census on an uplink: what leaves (TC egress) is counted by source and by sender, what comes
 * back (TC ingress) says how it ended. Every packet passes on but what backstop and guard drop.
 *
 * parse -> is it a SYN? -> whose? -> new or repeated? -> count -> a limit crossed? -> report
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
#include "../maps/customers.h"
#include "../maps/events.h"
#include "../maps/judged.h"
#include "lib/plain.h"
#include "lib/look.h"
#include "lib/tally.h"
#include "lib/backstop.h"
#include "lib/forward.h"

#define GO_ON TC_ACT_UNSPEC /* to the next program, which may be somebody else's */
#define DROP  TC_ACT_SHOT

#define SOCK_STREAM 1 /* a raw socket's protocol can be TCP, too: it has had no connect() */

/* Whose socket sent it: its cgroup and who made it. */
static __always_inline int sender_of(struct __sk_buff *skb, struct sf_census_key *key)
{
	struct bpf_sock *sk = skb->sk;
	struct sock *s;

	if (!sk)
		return NO_SOCKET;
	s = (struct sock *)bpf_skc_to_tcp_sock(sk);
	if (s && typed_pointers) {
		struct cgroup *cgrp = s->sk_cgrp_data.cgroup;

		key->word[0] = cgrp ? cgrp->kn->id : 0;
		key->word[1] = s->sk_uid.val;
		return s->sk_type == SOCK_STREAM ? TCP_SOCKET : OTHER_SOCKET;
	}
	/* Raw and packet sockets: only the helpers look into them. (1: a socket without a family.)
	 */
	sk = bpf_sk_fullsock(sk);
	if (!sk || !sk->family)
		return NO_SOCKET;
	key->word[0] = bpf_skb_cgroup_id(skb);
	key->word[1] = BPF_CORE_READ((struct sk_buff *)skb, sk, sk_uid.val);
	return s && sk->type == SOCK_STREAM ? TCP_SOCKET : OTHER_SOCKET;
}

/* Global, as in tally.h. */
__noinline int count_fenced_sender(struct __sk_buff *skb, struct syn *syn)
{
	__u32 zero = 0;
	struct sf_census_settings *s = bpf_map_lookup_elem(&census_settings, &zero);
	struct sf_limit limit;

	if (!syn || !s)
		return 0;
	if (limits_are_old(SENDERS, syn->sender, s)) {
		sender_limit(skb, (__u32)syn->sender_key.word[1], s, &limit);
		count_in(syn, SENDERS, s, &limit);
	} else {
		count_in(syn, SENDERS, s, NULL);
	}
	return 0;
}

/* Forwarded from an interface whose program has counted it, and judged it, where it came in. */
static __always_inline bool counted_at_entry(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ingress_ifindex;
	struct sf_customer *c = ifindex ? bpf_map_lookup_elem(&customers, &ifindex) : NULL;

	return c && (c->flags & SF_CUSTOMER_COUNTED);
}

/*
 * Count it, and say whether it may leave: what may not waits for no answer. A container on a bridge
 * has a socket here although its SYN was counted where it came in: then its source was, too.
 */
static __always_inline bool take_syn(struct __sk_buff *skb, struct syn *syn,
				     const struct sf_census_settings *s)
{
	bool leaves;

	syn_begin(syn, skb->ifindex, s);
	if (!counted_at_entry(skb)) {
		syn_source_key(syn, s);
		syn_source(syn);
	} else if (syn->socket == NO_SOCKET) {
		return true;
	}
	leaves = !syn->fenced ||
		 !(syn->socket == NO_SOCKET ? forward_denied(syn) : packet_denied(skb, syn));
	if (syn->socket != NO_SOCKET)
		syn->sender =
			slot_of(SENDERS, &syn->sender_key,
				sf_hash(s->seed, syn->sender_key.word[0], syn->sender_key.word[1]),
				syn->now_ns);
	else
		census_add(SF_CENSUS_NO_SENDER, 1);
	/* What was dropped is a denial, told of by itself: no connection, and in no window. */
	syn->fenced = syn->fenced && leaves;
	if (syn->fenced)
		syn->repeated = (__u8)attempt_begin(syn, 0);
	count_source(syn);
	count_only(syn, SENDERS, syn->sender);
	if (syn->fenced && syn->sender != SF_NO_SLOT)
		count_fenced_sender(skb, syn);
	return leaves;
}

/* A SYN leaves. Without settings that can be trusted it is not counted, but judged all the same. */
static __always_inline int on_syn(struct __sk_buff *skb, struct syn *syn)
{
	__u32 zero = 0;
	struct sf_census_settings *s = bpf_map_lookup_elem(&census_settings, &zero);

	syn->socket = (__u8)sender_of(skb, &syn->sender_key);
	if (s && s->abi == SF_ABI_VERSION)
		return take_syn(skb, syn, s) ? GO_ON : DROP;
	census_add(SF_CENSUS_UNCOUNTED, 1);
	if (syn->socket != NO_SOCKET && port_is_fenced(syn->p.dport) && packet_denied(skb, syn))
		return DROP;
	return GO_ON;
}

static __always_inline int egress(struct __sk_buff *skb, __u32 link)
{
	struct sf_plain_at at;
	struct syn syn;
	enum sf_plain plain = sf_plain(start_of(skb), end_of(skb), link, &at);
	enum sf_outcome outcome;

	if (plain == SF_PLAIN_NO_TCP || (plain == SF_PLAIN_TCP && !sf_flags_of_syn(at.tcp[13])))
		return GO_ON;
	__builtin_memset(&syn, 0, sizeof(syn));
	if (plain == SF_PLAIN_TCP && !at.tagged) {
		sf_plain_take(&at, link, &syn.p);
		return on_syn(skb, &syn);
	}
	outcome = look(skb, link, &syn.p);
	if (outcome != SF_PARSED_TCP) {
		count_unparsed(outcome);
		return outcome >= SF_PARSED_TINY_FRAGMENT && unparsed_denied() ? DROP : GO_ON;
	}
	return sf_flags_of_syn(syn.p.flags) ? on_syn(skb, &syn) : GO_ON;
}

SEC("tc")
int smtpfence_out(struct __sk_buff *skb)
{
	return egress(skb, SF_ETHERNET);
}

SEC("tc")
int smtpfence_outip(struct __sk_buff *skb)
{
	return egress(skb, SF_RAW_IP);
}

#include "lib/answers.h"
#include "lib/guard.h"

static __always_inline int ingress(struct __sk_buff *skb, __u32 link)
{
	struct sf_plain_at at;
	struct sf_packet p;
	enum sf_plain plain = sf_plain(start_of(skb), end_of(skb), link, &at);
	enum sf_outcome outcome = SF_PARSED_TCP;

	if (plain == SF_PLAIN_NO_TCP ||
	    (plain == SF_PLAIN_TCP &&
	     sf_plainly_silent(&at, skb->len, GREETING_LEAST, GREETING_MOST)))
		return GO_ON;
	__builtin_memset(&p, 0, sizeof(p));
	if (plain == SF_PLAIN_TCP && !at.tagged)
		sf_plain_take(&at, link, &p);
	else
		outcome = look(skb, link, &p);
	if (guard_drops(skb, outcome, &p))
		return DROP;
	if (outcome == SF_PARSED_TCP)
		comes_back(skb, &p);
	return GO_ON;
}

SEC("tc")
int smtpfence_in(struct __sk_buff *skb)
{
	return ingress(skb, SF_ETHERNET);
}

SEC("tc")
int smtpfence_inip(struct __sk_buff *skb)
{
	return ingress(skb, SF_RAW_IP);
}

char LICENSE[] SEC("license") = "GPL";
