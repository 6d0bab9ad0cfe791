/* SPDX-License-Identifier: GPL-2.0-only */
/* Networks as text and as keys of the address tries. */
#ifndef SF_USER_NET_H
#define SF_USER_NET_H

#include <stddef.h>
#include <stdint.h>
#include "error.h"
#include "../maps/abi.h"

/* "192.0.2.0/24", "2001:db8::1": to a key, bits beyond the prefix must be zero. */
int sf_net_parse(const char *text, struct sf_net_key *net, struct sf_error *err);
/* Does `wide` hold all of `narrow` (equal ones too)? */
int sf_net_covers(const struct sf_net_key *wide, const struct sf_net_key *narrow);
/* The network around `net` whose prefixlen (family bits included) is this, which is not longer. */
struct sf_net_key sf_net_wider(const struct sf_net_key *net, uint32_t prefixlen);
void sf_net_format(const struct sf_net_key *net, char *out, size_t size);

#endif
