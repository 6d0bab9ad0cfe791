/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sockets whose connect() was judged and allowed for a reason that their packets don't show: by the
 * caller's user or group, where another made the socket. Set at connect; read by the packet
 * backstop before it denies. Goes with its socket.
 */
#ifndef SF_MAPS_JUDGED_H
#define SF_MAPS_JUDGED_H

#include "abi.h"

#ifdef __bpf__
/* No memory for a mark: the backstop judges by what it sees. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u32);
} judged SEC(".maps");
#endif

#endif
