/* SPDX-License-Identifier: GPL-2.0-only */
/* The packet programs, loaded, unattached, with the lists of packet_judge.c in their tables. */
#ifndef SF_TESTS_FUZZ_PACKET_RUN_H
#define SF_TESTS_FUZZ_PACKET_RUN_H

#include "packet.h"

enum program { OUT, OUTIP, GWIN, GWIP, XDP, PROGRAMS };
extern const char *const program_names[PROGRAMS];

enum fate { PASSES, DROPPED, RESET, STRANGE };

/* What became of a packet. */
struct seen {
	enum fate fate;
	int verdict, reason; /* enum sf_verdict, enum sf_reason; -1: none was counted */
	bool more;	     /* than one */
	uint32_t census;     /* bit n: enum sf_census_counter n grew */
	uint8_t out[4096];   /* as it went on, or was sent back */
	size_t out_size;
};

/* Ends the process where they can't be loaded. */
void packet_load(void);
/* False where the kernel's test run does not take such a frame. */
bool packet_run(enum program program, const struct policy *policy, const uint8_t *frame,
		size_t size, struct seen *seen);

#endif
