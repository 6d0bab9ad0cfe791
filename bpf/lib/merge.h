/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SF_BPF_MERGE_H
#define SF_BPF_MERGE_H

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/*
 * Gives back what it got. The verifier looks at a global function once and forgets at the call
 * which of the many paths led here, so that what follows is verified once and not a hundred times.
 */
__noinline __u64 merge_paths(__u64 value)
{
	asm volatile("" : "+r"(value)); /* or the compiler would see through it */
	return value;
}

#endif
