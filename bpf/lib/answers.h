/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The return path of an uplink: answers to attempts, and greetings of SMTP servers on ports that
 * are in no list.
 */
#ifndef SF_BPF_ANSWERS_H
#define SF_BPF_ANSWERS_H

/* Bytes of a greeting that are looked through for "SMTP": "220 mail.example.org ESMTP". */
#define GREETING_BYTES 128
/* Greetings are short (RFC 5321 4.5.3.1.5: 512 bytes); what is longer is not looked at. */
#define GREETING_LEAST 8
#define GREETING_MOST  600

/*
 * "220 " or "220-", and SMTP in the rest: FTP servers greet with 220 too. RFC 5321 does not ask for
 * the word; all servers that are in use say it.
 */
__noinline int is_greeting(struct __sk_buff *skb, __u32 off)
{
	const __u8 *end = end_of(skb), *at = sf_at(start_of(skb), end, off, 8);

	if (!at || at[0] != '2' || at[1] != '2' || at[2] != '0' || (at[3] != ' ' && at[3] != '-'))
		return false;
	for (int i = 4; i < GREETING_BYTES; i++) {
		if (at + i + 4 > end)
			return false;
		if (*(const sf_load32 *)(at + i) == bpf_htonl(0x534d5450)) /* "SMTP" */
			return true;
	}
	return false;
}

/*
 * Drivers leave the text outside of the linear part. Its first bytes are looked at where they are,
 * and the rest is pulled in only for what begins like a greeting.
 */
static __always_inline bool may_greet(struct __sk_buff *skb, __u32 off)
{
	__u32 begin = 0, size = skb->len - off;

	if (skb->len < off || size < GREETING_LEAST || size > GREETING_MOST)
		return false;
	if (off + GREETING_LEAST <= skb->data_end - skb->data)
		return true;
	if (bpf_skb_load_bytes(skb, off, &begin, 4) ||
	    (begin & bpf_htonl(0xffffff00)) != bpf_htonl(0x32323000)) /* "220" */
		return false;
	return !bpf_skb_pull_data(skb, skb->len);
}

/* The local sender of a connection, by its socket; only where it has one in this namespace. */
static __always_inline bool receiver_of(struct __sk_buff *skb, const struct sf_packet *p,
					struct sf_census_key *key, bool *is_first)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	struct sock *s;
	__u32 size;

	if (p->family == SF_FAMILY_V4) {
		size = sizeof(tuple.ipv4);
		__builtin_memcpy(&tuple.ipv4.saddr, &p->saddr.b[12], 4);
		__builtin_memcpy(&tuple.ipv4.daddr, &p->daddr.b[12], 4);
		tuple.ipv4.sport = bpf_htons(p->sport);
		tuple.ipv4.dport = bpf_htons(p->dport);
	} else {
		size = sizeof(tuple.ipv6);
		__builtin_memcpy(&tuple.ipv6.saddr, &p->saddr, 16);
		__builtin_memcpy(&tuple.ipv6.daddr, &p->daddr, 16);
		tuple.ipv6.sport = bpf_htons(p->sport);
		tuple.ipv6.dport = bpf_htons(p->dport);
	}
	sk = bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	s = (struct sock *)bpf_skc_to_tcp_sock(sk);
	if (s) {
		key->word[0] = BPF_CORE_READ(s, sk_cgrp_data.cgroup, kn, id);
		key->word[1] = BPF_CORE_READ(s, sk_uid.val);
		*is_first = !BPF_CORE_READ((struct tcp_sock *)s, bytes_received);
	}
	bpf_sk_release(sk);
	return s != NULL;
}

/* One report a core and interval: a greeting costs its sender nothing, so reports are rationed. */
static __always_inline bool greeting_allowed(__u64 now_ns)
{
	__u32 zero = 0;
	__u64 *last = bpf_map_lookup_elem(&greeting_limit, &zero);

	if (!last || now_ns - *last < SF_GREETING_INTERVAL_NS)
		return false;
	*last = now_ns;
	return true;
}

static __always_inline void report_greeting(struct __sk_buff *skb, const struct sf_packet *p)
{
	struct sf_census_key key = {};
	bool is_first = true;
	struct sf_crossing *e;
	__u64 now_ns;

	receiver_of(skb, p, &key, &is_first);
	if (!is_first)
		return;
	now_ns = bpf_ktime_get_boot_ns();
	if (!greeting_allowed(now_ns))
		return;
	e = bpf_ringbuf_reserve(&crossings, sizeof(*e), 0);
	if (!e) {
		census_add(SF_CENSUS_CROSSINGS_LOST, 1);
		return;
	}
	e->abi = SF_ABI_VERSION;
	e->kind = SF_CROSSING_GREETING;
	e->time_ns = now_ns;
	e->key = key;
	/* As the SYN had it: from us to the server. */
	e->saddr = p->daddr;
	e->daddr = p->saddr;
	e->sport = p->dport;
	e->dport = p->sport;
	e->level = 0;
	e->window = 0;
	e->limit = 0;
	e->class = SF_CLASS_UNKNOWN;
	e->ifindex = skb->ifindex;
	bpf_ringbuf_submit(e, 0);
}

static __always_inline void answer(const struct sf_packet *p, __u64 seed, __u32 refused)
{
	const __u64 *near = (const __u64 *)&p->daddr, *far = (const __u64 *)&p->saddr;

	attempt_end(flow_hash(near[0], near[1], sf_hash(seed, far[0], far[1]), p->dport, p->sport),
		    p->ack, refused);
}

/* What comes back by an uplink, parsed: does it say how an attempt ended, or greet? */
static __always_inline void comes_back(struct __sk_buff *skb, struct sf_packet *p)
{
	struct sf_census_settings *s;
	__u32 zero = 0;

	if (p->flags & (SF_TCP_SYN | SF_TCP_RST)) {
		if (!(p->flags & SF_TCP_ACK) || !port_is_fenced(p->sport))
			return;
		s = bpf_map_lookup_elem(&census_settings, &zero);
		if (s && s->abi == SF_ABI_VERSION &&
		    sf_packet_addresses(start_of(skb), end_of(skb), p))
			answer(p, s->seed, p->flags & SF_TCP_RST);
		return;
	}
	if (may_greet(skb, p->payload) && is_greeting(skb, p->payload) &&
	    !port_is_listed(p->sport) && sf_packet_addresses(start_of(skb), end_of(skb), p))
		report_greeting(skb, p);
}

#endif
