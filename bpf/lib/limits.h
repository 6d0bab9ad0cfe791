/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which limits hold for an entry of the census: looked up when it is new and when user space raised
 * the generation, never per packet. The most specific holds.
 */
#ifndef SF_BPF_LIMITS_H
#define SF_BPF_LIMITS_H

#include "slots.h"

/* A source: the longest network around it, else unknown. */
static __always_inline void source_limit(const struct sf_census_key *key,
					 const struct sf_census_settings *s, struct sf_limit *out)
{
	struct sf_net_key net = {.prefixlen = SF_NET_BITS_MAX, .family = SF_FAMILY_V6};
	__u64 *words = (__u64 *)&net.addr;
	struct sf_limit *found;

	words[0] = key->word[0];
	words[1] = key->word[1];
	if (!words[0] && ((__u32 *)words)[2] == bpf_htonl(0xffff))
		net.family = SF_FAMILY_V4;
	found = bpf_map_lookup_elem(&source_limits, &net);
	*out = found ? *found : s->unknown;
}

/* A local sender: its user's own limit, its cgroup's (the nearest), mail or not. */
static __always_inline void sender_limit(struct __sk_buff *skb, __u32 uid,
					 const struct sf_census_settings *s, struct sf_limit *out)
{
	struct sf_sender_key user_key = {.kind = SF_SENDER_USER, .id = uid};
	struct sf_sender *user = bpf_map_lookup_elem(&senders, &user_key);
	__u32 kind = SF_ROLE_NONE;

	*out = s->user;
	for (int level = 0; level < SF_DEPTH_MAX; level++) {
		__u64 id = bpf_skb_ancestor_cgroup_id(skb, level);
		struct sf_role *role;

		if (!id)
			break;
		role = bpf_map_lookup_elem(&roles, &id);
		if (!role)
			continue;
		if (role->kind != SF_ROLE_NONE) {
			kind = role->kind;
			*out = kind == SF_ROLE_MAIL ? s->mail : s->user;
		}
		if (role->limited) {
			out->warn = role->warn;
			out->act = role->act;
			out->class = SF_CLASS_NAMED;
		}
	}
	if (user && user->limited) {
		out->warn = user->warn;
		out->act = user->act;
		out->class = SF_CLASS_NAMED;
	}
}

#endif
