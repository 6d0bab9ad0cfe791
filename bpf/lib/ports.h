/* SPDX-License-Identifier: GPL-2.0-only */
/* Which ports the settings speak of: host byte order. */
#ifndef SF_BPF_PORTS_H
#define SF_BPF_PORTS_H

#include "kernel.h"

static __always_inline bool port_is_listed(__u16 port)
{
	__u32 word = port / 64;
	struct sf_port_word *p = bpf_map_lookup_elem(&ports, &word);

	return p && ((p->fenced | p->watched) >> (port % 64) & 1);
}

static __always_inline bool port_is_fenced(__u16 port)
{
	__u32 word = port / 64;
	struct sf_port_word *p = bpf_map_lookup_elem(&ports, &word);

	return p && (p->fenced >> (port % 64) & 1);
}

#endif
