/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A packet as RFCs 791, 8200, 9293, 4302, 1858, 3128 and IEEE 802.1Q describe it, what design.md
 * section 3 says of it, and how to change one so that it stays near to one. Nothing of bpf/lib is
 * included here: that the programs agree with this is what target_packets.c tests.
 */
#ifndef SF_TESTS_FUZZ_PACKET_H
#define SF_TESTS_FUZZ_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What it can rightly be called, as bits: RFCs leave some choices open. */
enum {
	IS_TCP = 1,
	IS_OTHER = 2,
	IS_NOT_IP = 4,
	IS_FRAGMENT = 8,
	IS_TINY = 16,
	IS_TRUNCATED = 32,
	IS_BAD = 64,
	IS_TOO_MANY = 128,
};

struct segment {
	int family; /* 4 or 6 */
	uint8_t source[16], destination[16];
	uint16_t sport, dport;
	uint32_t seq;
	uint8_t flags;
	bool routed;	/* IPv4 options or a routing header: may hold a source route */
	bool plain;	/* an ordinary header behind an ordinary link: can be answered */
	size_t ip, tcp; /* where they begin */
};

/* The names that are right; with IS_TCP among them `s` is set. */
unsigned int packet_look(const uint8_t *data, size_t size, bool ethernet, struct segment *s);

/* In place, at most `room` bytes; the new size. */
size_t packet_mutate(uint8_t *data, size_t size, size_t room, bool ethernet, unsigned int seed);

/* Policy --------------------------------------------------------------------------------------- */

struct network {
	const char *text;
	uint16_t ports[2]; /* of relays; 0: every port */
	uint32_t ifindex;  /* of bound hosts */
};

extern const struct network relays[], quarantine_nets[], quarantine_hosts[], mail_hosts[],
	bound_hosts[], own_nets[], local_addrs[];

enum mode { WIPED, OFF, MONITOR, ENFORCE };

/* What the packet is judged under: which of the lists hold. */
struct policy {
	enum mode mode;
	bool allow_local, relays, quarantine_nets, quarantine_hosts, fence_forwarded;
	bool resets, mail_hosts, bound_hosts, own_nets;
};

enum verdict { ALLOWED, DENIED, WOULD_DENY, NOT_COUNTED };
struct judgement {
	enum verdict verdict;
	const char *reason;
};

/* At a customer's interface (number 1), and at the uplink: of a local socket, or forwarded. */
struct judgement gateway_syn(const struct policy *p, const struct segment *s);
struct judgement gateway_unparsed(const struct policy *p);
struct judgement uplink_syn(const struct policy *p, const struct segment *s, bool has_sender);
struct judgement uplink_unparsed(const struct policy *p);

#endif
