// SPDX-License-Identifier: GPL-2.0-only
/*
 * The process fence: cgroup/connect4 and connect6. Every TCP connect() to a fenced port passes
 * here (TCP Fast Open and MPTCP too), whatever its process, container or network namespace.
 *
 * gather the facts -> decide -> count -> report -> answer
 */
#include "lib/kernel.h"
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include "../maps/settings.h"
#include "../maps/roles.h"
#include "../maps/senders.h"
#include "../maps/nets.h"
#include "../maps/counters.h"
#include "../maps/events.h"
#include "../maps/judged.h"
#include "lib/decide.h"
#include "lib/identity.h"
#include "lib/lists.h"
#include "lib/count.h"
#include "lib/report.h"

#define GO_ON 1
#define DENY  0

/* Set at load where the kernel has bpf_set_retval (5.18); elsewhere the caller sees EPERM. */
const volatile __u8 can_set_errno = 1;

/* Likewise for a socket's storage (in these programs). */
const volatile __u8 can_mark = 1;

struct destination {
	struct sf_addr addr;
	__u32 family;
	__u16 port; /* host byte order */
} __attribute__((aligned(8)));

static __always_inline bool is_local(const struct destination *to)
{
	__u32 zero = 0, bit = sf_local_filter_bit(&to->addr);
	struct sf_local_filter *filter;

	if (sf_addr_is_self(to->family, &to->addr))
		return true;
	filter = bpf_map_lookup_elem(&local_filter, &zero);
	if (!filter || !(filter->word[(bit / 64) & 63] >> (bit % 64) & 1))
		return false;
	return bpf_map_lookup_elem(&local_addrs, &to->addr);
}

/* Only a socket that was bound has a source already; the gateway fence sees the others. */
static __always_inline bool is_source_quarantined(struct bpf_sock *sk, __u32 flags)
{
	__u32 words[4] = {0, 0, bpf_htonl(0xffff), 0}, family = SF_FAMILY_V6;

	if (!sk)
		return false;
	if (sk->family == 2 /* AF_INET */) {
		words[3] = sk->src_ip4;
		/* keep the two loads apart: the verifier refuses a computed address here */
		asm volatile("" : "+r"(words[3]));
	} else {
		words[0] = sk->src_ip6[0];
		words[1] = sk->src_ip6[1];
		words[2] = sk->src_ip6[2];
		words[3] = sk->src_ip6[3];
	}
	if (!(words[0] | words[1]) && words[2] == bpf_htonl(0xffff))
		family = SF_FAMILY_V4;
	if (!(words[0] | words[1] | words[3]))
		return false;
	return source_quarantined(family, words[0] | (__u64)words[1] << 32,
				  words[2] | (__u64)words[3] << 32, flags);
}

/* Fenced or only watched? Returns whether the connection is to be judged. */
static __always_inline bool is_fenced(__u16 port)
{
	__u32 word = port / 64;
	__u64 bit = 1ULL << (port % 64);
	struct sf_port_word *p = bpf_map_lookup_elem(&ports, &word);

	if (!p)
		return false;
	if (p->fenced & bit)
		return true;
	if (p->watched & bit) {
		struct sf_decision d = {SF_VERDICT_ALLOWED, SF_REASON_WATCHED};

		count_decision(d);
	}
	return false;
}

static __noinline int refuse(__u32 deny_errno)
{
	if (can_set_errno && deny_errno == 111) /* ECONNREFUSED */
		bpf_set_retval(-111);
	else if (can_set_errno && deny_errno == 13) /* EACCES */
		bpf_set_retval(-13);
	return DENY; /* the kernel's own errno for it: EPERM */
}

/* Look up what the decision needs. Tables that the policy leaves empty cost nothing. */
static __always_inline void gather(struct bpf_sock_addr *ctx, const struct destination *to,
				   const struct sf_settings *s, struct cgroup *socket,
				   struct cgroup *task, __u32 uid, __u32 gid,
				   struct sf_facts *facts)
{
	const __u64 *words = (const __u64 *)&to->addr;
	__u64 bare_root = s->bare_root;

	/* First, while few paths lead here: the verifier follows these loops on each of them. */
	place_of_socket(socket, uid, bare_root, &facts->socket);
	if (task == socket)
		facts->task = facts->socket;
	else
		unpack_place(walk_task(uid, bare_root), &facts->task);
	facts->mode = s->mode;
	facts->allow_local = s->flags & SF_SETTING_ALLOW_LOCAL;
	facts->to_local = is_local(to) && !is_bound_outwards(ctx->sk);
	if (s->flags & SF_SETTING_RELAYS)
		facts->to_relay = (__u8)relay_granted(to->family, words[0], words[1], to->port);
	if ((facts->to_local || facts->to_relay) && is_source_routed(ctx->sk))
		facts->to_local = facts->to_relay = 0;
	if (s->flags & SF_SETTING_SENDERS) {
		int user = sender_listed(SF_SENDER_USER, uid, to->port);
		int group = sender_listed(SF_SENDER_GROUP, gid, to->port);

		facts->sender_allowed = (user | group) & LISTED_ALLOWED;
		facts->sender_quarantined = (user & LISTED_QUARANTINED) != 0;
	}
	if (s->flags & SF_SETTING_QUARANTINES)
		facts->source_quarantined = is_source_quarantined(ctx->sk, s->flags);
}

/* What was gathered takes as many paths as it has answers: from here on they are one. */
static __always_inline void merge_facts(struct sf_facts *facts)
{
	__u64 bits =
		merge_paths((__u64)facts->kernel_thread | (__u64)facts->to_local << 1 |
			    (__u64)facts->to_relay << 2 | (__u64)facts->sender_allowed << 3 |
			    (__u64)facts->sender_quarantined << 4 |
			    (__u64)facts->source_quarantined << 5 | (__u64)facts->is_probe << 6);

	facts->kernel_thread = bits & 1;
	facts->to_local = bits >> 1 & 1;
	facts->to_relay = bits >> 2 & 1;
	facts->sender_allowed = bits >> 3 & 1;
	facts->sender_quarantined = bits >> 4 & 1;
	facts->source_quarantined = bits >> 5 & 1;
	facts->is_probe = bits >> 6 & 1;
}

static __always_inline void tell(const struct destination *to, struct sf_decision d, __u32 uid,
				 __u32 gid, bool kernel_thread, __u64 task_id,
				 struct cgroup *socket)
{
	struct sf_denial_key key = {
		.cgroup = task_id,
		.uid = kernel_thread ? SF_UID_KERNEL : uid,
	};
	struct report r = {
		.decision = d,
		.daddr = to->addr,
		.family = to->family,
		.dport = to->port,
		.kernel_thread = kernel_thread,
		.uid = key.uid,
		.gid = gid,
		.task_cgroup = key.cgroup,
		.socket = socket,
		.jiffy = bpf_jiffies64(),
	};

	if (count_in_flood(&key, d.verdict, r.jiffy))
		return;
	r.now_ns = bpf_ktime_get_boot_ns();
	report_denial(&r, count_denial(&key, d.verdict, to->port, r.now_ns));
}

/*
 * The packet backstop sees the socket's cgroup and who made it, not who calls now. Where that would
 * give another answer, the socket is marked as judged.
 */
static __always_inline bool packet_would_lie(struct bpf_sock *sk, __u8 reason, __u32 uid,
					     const struct sf_facts *facts)
{
	struct sock *s;

	if (reason == SF_REASON_SENDER)
		return true; /* by user or by group */
	if (reason != SF_REASON_MAIL)
		return false;
	s = (struct sock *)bpf_skc_to_tcp_sock(sk);
	return facts->kernel_thread || !s ||
	       (typed_pointers ? s->sk_uid.val : BPF_CORE_READ(s, sk_uid.val)) != uid;
}

static __noinline void mark(struct bpf_sock *sk)
{
	bpf_sk_storage_get(&judged, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
}

static __always_inline int judge(struct bpf_sock_addr *ctx, const struct destination *to)
{
	struct task_struct *current = current_task();
	struct cgroup *task = task_cgroup(current), *socket = socket_cgroup(ctx->sk);
	__u32 zero = 0, uid, gid, deny_errno = 0;
	struct sf_settings *s = bpf_map_lookup_elem(&settings, &zero);
	struct sf_facts facts = {};
	struct sf_decision d;
	__u64 merged, task_id;

	task_id = cgroup_id(task);
	/* Once: or the compiler loads it again on each of the paths below. */
	asm volatile("" : "+r"(task_id));
	task_ids(current, &uid, &gid);
	facts.kernel_thread = task_is_kernel_thread(current);
	if (s && s->abi == SF_ABI_VERSION) {
		gather(ctx, to, s, socket, task, uid, gid, &facts);
		deny_errno = s->deny_errno;
		facts.is_probe = s->probe_cgroup && s->probe_cgroup == task_id;
	}
	merge_facts(&facts);
	d = sf_decide(&facts);
	merged = merge_paths(d.verdict | (__u32)d.reason << 8);
	d.verdict = merged & 0xff;
	d.reason = (merged >> 8) & 0xff;
	count_decision(d);
	if (d.verdict == SF_VERDICT_ALLOWED) {
		if (can_mark && ctx->sk && packet_would_lie(ctx->sk, d.reason, uid, &facts))
			mark(ctx->sk);
		return GO_ON;
	}
	if (d.reason != SF_REASON_PROBE)
		tell(to, d, uid, gid, facts.kernel_thread, task_id, socket);
	return d.verdict == SF_VERDICT_DENIED ? refuse(deny_errno) : GO_ON;
}

SEC("cgroup/connect4")
int smtpfence_conn4(struct bpf_sock_addr *ctx)
{
	struct destination to = {.family = SF_FAMILY_V4};
	__u32 *words = (__u32 *)&to.addr;

	to.port = bpf_ntohs((__u16)ctx->user_port);
	if (ctx->protocol != IPPROTO_TCP || !is_fenced(to.port))
		return GO_ON;
	words[2] = bpf_htonl(0xffff);
	words[3] = ctx->user_ip4;
	return judge(ctx, &to);
}

SEC("cgroup/connect6")
int smtpfence_conn6(struct bpf_sock_addr *ctx)
{
	struct destination to = {.family = SF_FAMILY_V6};
	__u32 *words = (__u32 *)&to.addr;

	to.port = bpf_ntohs((__u16)ctx->user_port);
	if (ctx->protocol != IPPROTO_TCP || !is_fenced(to.port))
		return GO_ON;
	words[0] = ctx->user_ip6[0];
	words[1] = ctx->user_ip6[1];
	words[2] = ctx->user_ip6[2];
	words[3] = ctx->user_ip6[3];
	/* ::ffff:a.b.c.d reaches only this hook: it is IPv4 on the wire. */
	if (!(words[0] | words[1]) && words[2] == bpf_htonl(0xffff))
		to.family = SF_FAMILY_V4;
	/* Two known values would make the verifier walk all that follows twice. */
	to.family = (__u32)merge_paths(to.family);
	return judge(ctx, &to);
}

char LICENSE[] SEC("license") = "GPL";
