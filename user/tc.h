/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One program at one interface's TC hook: a TCX link where the kernel has it (6.6), else a filter
 * of the clsact qdisc with our own handle and priority. Other programs there are never touched.
 */
#ifndef SF_USER_TC_H
#define SF_USER_TC_H

#include <stdint.h>
#include "error.h"

/* Which way, and whose: an uplink's or a customer's interface. Each has a pin of its own. */
enum sf_direction {
	SF_EGRESS,
	SF_INGRESS,
	SF_GATEWAY_OUT,
	SF_GATEWAY_IN,
};

struct sf_tc_state {
	int in_effect; /* a program of ours, by this name, runs there */
	int tcx;       /* by a TCX link; else by a clsact filter */
	uint32_t program_id;
};

/*
 * Attach, or exchange what stands there (without a gap). The link is pinned below
 * PIN_DIR/links/out-IFINDEX, in-IFINDEX, gwout-IFINDEX or gwin-IFINDEX; a clsact filter needs no
 * pin.
 */
int sf_tc_attach(const char *pin_dir, int ifindex, enum sf_direction direction, int program_fd,
		 struct sf_error *err);
void sf_tc_detach(const char *pin_dir, int ifindex, enum sf_direction direction);

/* Is a program of this name in effect there? Asked from the interface, not from the pin. */
int sf_tc_read(int ifindex, enum sf_direction direction, const char *program,
	       struct sf_tc_state *state);
/* The same, of a program that uses this map: another instance's programs carry the same names. 0:
 * any. */
int sf_tc_read_with(int ifindex, enum sf_direction direction, const char *program, uint32_t map_id,
		    struct sf_tc_state *state);
/* The program that our pinned link holds at this interface; 0: none. */
uint32_t sf_tc_pinned_program(const char *pin_dir, int ifindex, enum sf_direction direction);
/* The map of this name that a program uses: a descriptor, or -ENOENT. */
int sf_tc_program_map(uint32_t program_id, const char *name);

/* May filters of ours stand anywhere? Not on a kernel with TCX. */
int sf_tc_uses_filters(void);
/* Does a filter of ours stand at this interface? They keep no pin: known by number and name. */
int sf_tc_has_filter(int ifindex, enum sf_direction direction);

/* Calls for each interface that a pin of an uplink speaks of, also those that are gone. */
void sf_tc_each_pin(const char *pin_dir, void (*each)(void *context, int ifindex), void *context);

#endif
