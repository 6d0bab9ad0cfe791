/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The packet backstop: the same rule for what leaves without a connect() that was judged. Raw and
 * packet sockets, connections that began before the fence, a deferred Fast Open whose route was
 * changed after its connect(). Sees the socket's cgroup and who made it; see maps/judged.h.
 */
#ifndef SF_BPF_BACKSTOP_H
#define SF_BPF_BACKSTOP_H

#include "event.h"
#include "gateway.h"
#include "identity.h"
#include "lists.h"
#include "tally.h"

/*
 * The nearest role above the socket of this packet, as walk_task does it for a task; and whether
 * the fence's root is above it: the connect programs see nobody else.
 */
__noinline __u64 walk_packet(struct __sk_buff *skb, __u32 uid, __u64 bare_root, __u64 fence_root)
{
	__u64 nearest = 0, quarantined = 0, outside = fence_root ? ROLE_OUTSIDE : 0;

	for (int level = 0; level < SF_DEPTH_MAX; level++) {
		__u64 id = bpf_skb_ancestor_cgroup_id(skb, level), role;

		if (!id)
			return nearest | quarantined | outside;
		if (id == fence_root)
			outside = 0;
		role = role_at(id, uid, bare_root);
		quarantined |= role & ROLE_QUARANTINED;
		if (ROLE_KIND(role))
			nearest = role;
	}
	return quarantined | ROLE_TOO_DEEP | outside;
}

static __always_inline bool was_judged(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return false;
	sk = bpf_sk_fullsock(sk);
	return sk && bpf_sk_storage_get(&judged, sk, NULL, 0);
}

/* Whether the packet is this fence's to judge. */
static __always_inline bool packet_facts(struct __sk_buff *skb, const struct syn *syn,
					 const struct sf_settings *s, struct sf_facts *facts)
{
	const __u64 *far = (const __u64 *)&syn->p.daddr, *near = (const __u64 *)&syn->p.saddr;
	__u32 uid = (__u32)syn->sender_key.word[1];
	__u64 found = walk_packet(skb, uid, s->bare_root, s->fence_root);
	int user;

	if (found & ROLE_OUTSIDE)
		return false;
	unpack_place(found, &facts->socket);
	facts->socket.unknown = !syn->sender_key.word[0];
	facts->task = facts->socket;
	facts->mode = s->mode;
	if ((s->flags & SF_SETTING_RELAYS) && !syn->p.routed)
		facts->to_relay = (__u8)relay_granted(syn->p.family, far[0], far[1], syn->p.dport);
	if (s->flags & SF_SETTING_SENDERS) {
		user = sender_listed(SF_SENDER_USER, uid, syn->p.dport);
		facts->sender_allowed = user & LISTED_ALLOWED;
		facts->sender_quarantined = (user & LISTED_QUARANTINED) != 0;
	}
	if (s->flags & SF_SETTING_QUARANTINES)
		facts->source_quarantined =
			(__u8)source_quarantined(syn->p.family, near[0], near[1], s->flags);
	return true;
}

/* As one number, so that no frame holds more than it needs: 512 bytes are all that calls have. */
#define PACKED(d) ((__u32)(d).verdict | (__u32)(d).reason << 8)
#define UNPACKED(n)                                                                                \
	{                                                                                          \
		(__u8)(n), (__u8)((n) >> 8)                                                        \
	}

/* No texts: the process that runs now need not be the sender. */
__noinline int tell_packet(const struct syn *syn, __u32 decision)
{
	struct sf_decision d = UNPACKED(decision);
	struct sf_denial_key key = {.cgroup = 0};
	struct report r = {.decision = d};
	__u64 flags = BPF_RB_NO_WAKEUP;
	struct sf_event *e;

	if (!syn)
		return 0;
	key.cgroup = syn->sender_key.word[0];
	key.uid = r.uid = (__u32)syn->sender_key.word[1];
	r.daddr = syn->p.daddr;
	r.family = syn->p.family;
	r.dport = syn->p.dport;
	r.jiffy = bpf_jiffies64();
	if (count_in_flood(&key, d.verdict, r.jiffy))
		return 0;
	r.now_ns = bpf_ktime_get_boot_ns();
	e = event_begin(&r, count_denial(&key, d.verdict, syn->p.dport, r.now_ns), &flags);
	if (!e)
		return 0;
	e->task_cgroup = e->socket_cgroup = key.cgroup;
	e->pid = e->tid = 0;
	e->hook = SF_EVENT_PACKET;
	e->comm[0] = '\0';
	bpf_ringbuf_submit(e, flags);
	return 0;
}

__noinline int judge_packet(struct __sk_buff *skb, const struct syn *syn)
{
	const struct sf_decision pass = {SF_VERDICT_ALLOWED, SF_REASON_OFF};
	__u32 zero = 0;
	struct sf_settings *s = bpf_map_lookup_elem(&settings, &zero);
	struct sf_facts facts = {};
	struct sf_decision d;

	if (!syn || !s)
		return PACKED(pass);
	if (s->abi == SF_ABI_VERSION) {
		if (s->mode == SF_MODE_OFF ||
		    (s->mode == SF_MODE_MONITOR && syn->socket == TCP_SOCKET))
			return PACKED(pass);
		if (!packet_facts(skb, syn, s, &facts))
			return PACKED(pass);
	}
	d = sf_decide(&facts);
	return PACKED(d);
}

/*
 * A SYN to a fenced port of a local socket: may it leave? Under monitor a TCP socket's connect()
 * was counted already; only what had none is counted here.
 */
static __always_inline bool packet_denied(struct __sk_buff *skb, const struct syn *syn)
{
	__u32 packed = (__u32)judge_packet(skb, syn);
	struct sf_decision d = UNPACKED(packed);

	if (d.verdict == SF_VERDICT_ALLOWED || was_judged(skb))
		return false;
	count_decision(d);
	tell_packet(syn, packed);
	return d.verdict == SF_VERDICT_DENIED;
}

/* What can't be parsed may be a SYN to a fenced port: it does not leave where the fence denies. */
static __always_inline bool unparsed_denied(void)
{
	__u32 zero = 0;
	struct sf_settings *s = bpf_map_lookup_elem(&settings, &zero);
	struct sf_decision d = sf_gateway_unparsed(s && s->abi == SF_ABI_VERSION ? s->mode : 0);

	if (d.verdict != SF_VERDICT_ALLOWED)
		count_decision(d);
	return d.verdict == SF_VERDICT_DENIED;
}

#endif
