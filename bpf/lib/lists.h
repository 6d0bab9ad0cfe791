/* SPDX-License-Identifier: GPL-2.0-only */
/* The policy's lists: relays by destination, quarantine by source, users and groups. */
#ifndef SF_BPF_LISTS_H
#define SF_BPF_LISTS_H

#include "kernel.h"
#include "decide.h"

/*
 * The look-ups below are global functions of scalars: the verifier takes each once, by itself, and
 * the many paths of one do not multiply with those of the next. (5.10 knows no other arguments.)
 */

static __always_inline void address_key(struct sf_net_key *key, __u32 family, __u64 high, __u64 low)
{
	__u64 *words = (__u64 *)&key->addr;

	key->prefixlen = SF_NET_BITS_MAX;
	key->family = family;
	words[0] = high;
	words[1] = low;
}

/* Do the grants hold now? The clock is read only where one of them ends. */
static __always_inline int grants_hold_now(const struct sf_grants *grants, __u32 port)
{
	return sf_grants_hold(grants, (__u16)port, grants->has_end ? bpf_ktime_get_boot_ns() : 0);
}

__noinline int relay_granted(__u32 family, __u64 high, __u64 low, __u32 port)
{
	struct sf_net_key key;
	struct sf_grants *grants;

	address_key(&key, family, high, low);
	grants = bpf_map_lookup_elem(&relays, &key);
	return grants && grants_hold_now(grants, port);
}

/* The clock (33 ns, 6.18) is read only for a quarantine that ends. */
static __always_inline bool holds_until(const struct sf_net_quarantine *q)
{
	return q && (q->until_ns == SF_NEVER || bpf_ktime_get_boot_ns() < q->until_ns);
}

/* `flags` of the settings: which of both tables has any. */
__noinline int source_quarantined(__u32 family, __u64 high, __u64 low, __u32 flags)
{
	struct sf_net_quarantine *q = NULL;
	struct sf_net_key key;

	address_key(&key, family, high, low);
	if (flags & SF_SETTING_QUARANTINE_HOSTS)
		q = bpf_map_lookup_elem(&quarantine_hosts, &key);
	if (holds_until(q))
		return 1;
	q = NULL;
	if (flags & SF_SETTING_QUARANTINE_NETS)
		q = bpf_map_lookup_elem(&quarantine_nets, &key);
	return holds_until(q);
}

#define LISTED_ALLOWED	   1
#define LISTED_QUARANTINED 2

__noinline int sender_listed(__u32 kind, __u32 id, __u32 port)
{
	struct sf_sender_key key = {.kind = kind, .id = id};
	struct sf_sender *s = bpf_map_lookup_elem(&senders, &key);
	int listed = 0;

	if (!s)
		return 0;
	if (grants_hold_now(&s->allowed, port))
		listed |= LISTED_ALLOWED;
	if (s->quarantine_until_ns && bpf_ktime_get_boot_ns() < s->quarantine_until_ns)
		listed |= LISTED_QUARANTINED;
	return listed;
}

#endif
