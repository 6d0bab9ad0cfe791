/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * smtpfenced's parts. The fence works without this process: it explains, alerts, follows what
 * changes on the host (addresses, host names, clocks), and watches that the fence is in effect.
 *
 *   main.c     options, event loop, what wakes it
 *   denials.c  event ring and table of senders -> explain -> record -> detect -> alert
 *   census.c   the census' tables and crossed limits -> detect/engine -> history, alert, actions
 *   told.c     what was told of denials, kept over a restart
 *   alarms.c, earlier.c   what the engine raises: told, entered, over; also across a restart
 *   chronicle.c           the history: a minute's counts, the file's life
 *   ledger.c   which of the kernel's counts stand in the history already
 *   guard.c    is the fence in effect? says so when not, and repairs it
 *   state.c    the state directory: our lock, and whether our files are still in it
 *   inbound.c  what the inbound guard keeps out
 *   links.c  are the packet programs still on their interfaces?
 *   customers.c  the gateway's interfaces, as they come and go
 *   upkeep.c   addresses, host names, clock, rollback: what the policy's tables depend on
 */
#ifndef SF_USER_DAEMON_H
#define SF_USER_DAEMON_H

#include <systemd/sd-event.h>
#include "../detect.h"
#include "../error.h"
#include "../policy.h"
#include "../record.h"
#include "../syslog.h"
#include "../table.h"
#include "../pins.h"

struct ring_buffer;
struct census_watch;

struct daemon {
	sd_event *loop;
	const char *config_file; /* or NULL */
	struct sf_policy policy; /* as applied last; before that, the files */
	struct sf_syslog log;
	struct sf_record record;
	char mount[PATH_MAX];
	char last_id[64]; /* of the last line */

	/* state.c */
	int lock_fd;
	sd_event_source *state_watch;
	int64_t next_state; /* seconds of CLOCK_BOOTTIME */
	int state_failing;  /* told that it can't be begun anew */

	/* denials.c */
	struct ring_buffer *ring;
	sd_event_source *ring_source, *drain_timer;
	uint32_t ring_map_id;
	int denials_fd;
	struct sf_table seen; /* denials as counted at the last look */
	struct sf_detect detect;
	struct sf_explained *last; /* newest event of this round, as evidence */
	int catching_up;	   /* reading what waited in the ring before we came */
	uint64_t events_in_round;
	uint64_t denied_total; /* of the counters, at the last look */
	uint64_t lost_total;
	uint64_t line_budget_used; /* lines of this slice of time */
	int64_t line_budget_slice;
	uint64_t lines_swallowed, denials_swallowed;

	struct census_watch *census;

	/* guard.c */
	int held_link[SF_HOOK_COUNT]; /* keeps the programs attached if a pin is taken away */
	int broken;		      /* told, and not mended yet */
	int64_t broken_told;	      /* seconds of CLOCK_BOOTTIME */
	int apply_again; /* what the tables are made of has changed: times, host names */
	int64_t next_look_ns, next_whole_ns; /* CLOCK_MONOTONIC */
	int64_t policy_stamp;		     /* mtime of the record of what was applied, in ns */

	/* inbound.c */
	struct inbound_told {
		struct sf_addr source;
		int64_t at; /* seconds of CLOCK_BOOTTIME; 0: free */
	} inbound[256];

	/* links.c */
	int64_t next_links_ns;		 /* CLOCK_MONOTONIC */
	size_t living_links, dead_links; /* at the last look */

	/* customers.c */
	sd_event_source *customers_timer;
	int64_t customers_rest_ns; /* CLOCK_MONOTONIC */
	int64_t next_customers;	   /* seconds of CLOCK_BOOTTIME */
	int64_t customers_told;	   /* likewise; 0: no failure was told */

	/* upkeep.c */
	int netlink_fd, clock_fd;
	pid_t resolver;
	int64_t rollback_told; /* seconds of CLOCK_BOOTTIME; 0: no failure was told */
	int64_t next_resolve;  /* seconds of CLOCK_MONOTONIC */
	int64_t next_uplinks;  /* seconds of CLOCK_BOOTTIME; 0: now */
	int64_t uplinks_told;  /* likewise; 0: no failure was told */
};

int64_t daemon_now(void); /* seconds of CLOCK_BOOTTIME */

/* One line: "ALERT id=... rule=... severity=..." and what the format gives, already escaped. */
void daemon_alert(struct daemon *d, int severity, const char *rule, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* A new d->last_id, for what happens without a line. */
void daemon_new_id(struct daemon *d);

/* state.c */
int state_start(struct daemon *d, struct sf_error *err);
void state_stop(struct daemon *d);
void state_tick(struct daemon *d);

/* denials.c */
int denials_start(struct daemon *d);
void denials_stop(struct daemon *d);
/* Open ring and table of the fence that is pinned now; close those of one that is gone. */
void denials_reopen(struct daemon *d);
/* Read what is there; called by the loop and at every tick. */
void denials_drain(struct daemon *d);
void denials_tick(struct daemon *d);

/* A line of a storm: is there room for it? What is refused is counted and summed up. */
int denials_line_allowed(struct daemon *d, int is_alert);

/* told.c: lines about denials are rows of the history too, so that a restart repeats none. */
void told_note(struct daemon *d, uint64_t cgroup, uint32_t uid, int severity, const char *rule,
	       uint64_t count);
void told_load(struct daemon *d);

/* census.c */
int census_start(struct daemon *d);
void census_stop(struct daemon *d);
/* Open the tables that are pinned now; take over limits that were changed. */
void census_reopen(struct daemon *d);
void census_tick(struct daemon *d);

/* chronicle.c: is the history's file gone, or another one in its place? A new one, then. */
int chronicle_is_lost(struct daemon *d);
void chronicle_begin_anew(struct daemon *d);

/* guard.c */
void guard_start(struct daemon *d);
void guard_stop(struct daemon *d);
void guard_tick(struct daemon *d);
/* Read what was applied last, if that changed. `force`: in any case. */
void guard_reload(struct daemon *d, int force);

/* inbound.c */
struct sf_crossing;
void inbound_denied(struct daemon *d, const struct sf_crossing *e);

/* links.c: did links of packet programs die since the last look, two seconds ago or more? */
int links_lost(struct daemon *d);
void links_expect(struct daemon *d); /* those that live now */

/* customers.c: an interface came or went; each tick; at the end */
void customers_changed(struct daemon *d);
void customers_tick(struct daemon *d);
void customers_stop(struct daemon *d);

/* upkeep.c */
int upkeep_start(struct daemon *d);
void upkeep_stop(struct daemon *d);
void upkeep_tick(struct daemon *d);

#endif
