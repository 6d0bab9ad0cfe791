/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside the gateway: one application's work, shared by the files gateway*.c. gateway_lists.c says
 * what the tables should hold and writes it, gateway_load.c brings programs and tables into the
 * kernel, gateway_place.c puts them on interfaces and looks what stands there.
 */
#ifndef SF_USER_GATEWAY_WORK_H
#define SF_USER_GATEWAY_WORK_H

#include "egress.h"
#include "gateway.h"
#include "pins.h"
#include "table.h"
#include "../maps/gateway.h"

struct gateway_work {
	const struct sf_policy *policy;
	struct sf_customers customers;
	int map[SF_GATEWAY_MAP_COUNT];
	int program[SF_GATEWAY_PROGRAM_COUNT];
	struct sf_table nets, hosts, bound; /* as wanted */
	struct sf_gateway_restored restored;
};

void gateway_work_init(struct gateway_work *w, const struct sf_policy *policy);
void gateway_work_free(struct gateway_work *w);

/* gateway_lists.c ------------------------------------------------------------------------------ */

/* Of the interfaces that match: is this one to be fenced? */
int gateway_is_fenced(const struct sf_customer_link *link);
/* The fenced interface of that number, or NULL. */
const struct sf_customer_link *gateway_find_link(const struct sf_customers *customers, int ifindex);

/* Fill the wanted tables from the policy and the interfaces that are there. */
int gateway_lists_want(struct gateway_work *w);
/* Lists before the settings that speak of them; all of it before any program is attached. */
int gateway_lists_write(struct gateway_work *w);
/* Is anything in the kernel not as wanted? */
int gateway_lists_differ(const struct gateway_work *w);
/* One interface, before (0) and after (1) its program counts what comes in. */
int gateway_enter(struct gateway_work *w, const struct sf_customer_link *link, int counted);
/* Bridges and VLANs upon what is fenced: after attaching. */
int gateway_enter_covered(struct gateway_work *w);
/* Interfaces that are none of ours any more leave the table, networks that are gone theirs. */
void gateway_forget_others(struct gateway_work *w);

/* gateway_load.c ------------------------------------------------------------------------------- */

/* Open what is pinned; 0: all of it. */
int gateway_open_pins(struct gateway_work *w);
void gateway_close_pins(struct gateway_work *w);
/* Tables of the census whose pins were taken away: our programs' own. */
void gateway_recover_census(const struct gateway_work *w, struct sf_census_maps *census);
/* Do the pinned programs look into the tables that fence and census use now? */
int gateway_programs_fit(const struct gateway_work *w, const struct sf_loaded *fence,
			 const struct sf_census_maps *census);
/* Load, pin, and open what was pinned. */
int gateway_load(struct gateway_work *w, const struct sf_loaded *fence,
		 const struct sf_census_maps *census, const struct sf_census_settings *settings,
		 struct sf_error *err);
void gateway_unpin(const char *pin_dir);

/* gateway_place.c ------------------------------------------------------------------------------ */

void gateway_place_read(const struct sf_customer_link *link, int customers_fd,
			struct sf_gateway_place *place);
/* On all that should be fenced; `replace`: also where a program of ours stands already. */
int gateway_attach(struct gateway_work *w, int replace, struct sf_error *err);
/* Off all interfaces but those that are fenced by `keep` (NULL: off all). */
void gateway_sweep(const char *pin_dir, const struct sf_customers *keep);

#endif
