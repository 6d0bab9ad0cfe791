/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A trace through the same census lines (bpf/lib/census.h) and the same engine as the daemon's, on
 * the trace's own clock: for tuning limits, and for tests. Everything in a trace is hostile; memory
 * is bounded, and what finds no room is counted.
 *
 * Readers (replay_csv.c, replay_pcap.c) make events; the world (replay_world.h) counts and judges
 * them.
 */
#ifndef SF_USER_REPLAY_H
#define SF_USER_REPLAY_H

#include <stdint.h>
#include "../maps/nets.h"
#include "detect/engine.h"
#include "error.h"

#define SF_REPLAY_PORTS	   16
#define SF_REPLAY_MAIL	   64
#define SF_REPLAY_WHO_MAX  512
#define SF_REPLAY_TIME_MAX 4000000000LL /* seconds since 1970; beyond: malformed */

struct sf_replay_options {
	uint16_t ports[SF_REPLAY_PORTS]; /* fenced */
	size_t port_count;
	uint32_t warn, act;			/* connections in the window */
	struct sf_net_key mail[SF_REPLAY_MAIL]; /* class mail: sources in these networks, */
	size_t mail_count;
	const char *mail_cgroups[SF_REPLAY_MAIL]; /* and senders at or below these cgroups */
	size_t mail_cgroup_count;
	int64_t learn; /* seconds from the first event on that only teach */
	size_t senders;
	struct sf_engine_limits limits;
};

struct sf_replay_alarm {
	const struct sf_alarm *alarm;
	int64_t time;	    /* seconds since 1970, of the trace */
	const char *who;    /* `source=192.0.2.1` or `uid=33 cgroup="..."`, escaped */
	const char *source; /* NULL for a sender */
	uint32_t uid;
	const char *cgroup; /* escaped; "" for a source */
};
typedef void (*sf_replay_fn)(void *context, const struct sf_replay_alarm *alarm);

struct sf_replay_totals {
	uint64_t records;     /* lines or packets */
	uint64_t syn, fenced; /* SYNs; new connections to fenced ports */
	uint64_t senders;
	uint64_t late;	     /* went back in time: taken as of the latest time seen */
	uint64_t unparsed;   /* packets that are not whole TCP over IP */
	uint64_t uncounted;  /* senders' table full */
	uint64_t forgotten;  /* by the engine */
	int64_t first, last; /* seconds since 1970 */
};

struct sf_replay;

void sf_replay_options_default(struct sf_replay_options *options);
/* The options are copied, but for the texts that they point to. */
int sf_replay_new(const struct sf_replay_options *options, sf_replay_fn tell, void *context,
		  struct sf_replay **replay);
void sf_replay_free(struct sf_replay *replay);
/* A capture or CSV, told apart by its first bytes; "-": CSV from standard input. */
int sf_replay_file(struct sf_replay *replay, const char *path, struct sf_error *err);
/* No more is to come: what is unanswered becomes silent, and is judged. */
void sf_replay_end(struct sf_replay *replay, struct sf_replay_totals *totals);

/* For the readers ------------------------------------------------------------------------------ */

enum sf_replay_what {
	SF_REPLAY_SYN,
	SF_REPLAY_REPEATED, /* the trace says so itself */
	SF_REPLAY_ANSWERED,
	SF_REPLAY_REFUSED,
};

struct sf_replay_event {
	uint64_t time_ns;
	enum sf_replay_what what;
	struct sf_addr source, destination; /* of the SYN, also where this is its answer */
	uint16_t sport, dport;		    /* of the SYN; sport 0: not known */
	uint32_t seq; /* of the SYN; of an answer: what it acknowledges, less one */
	int has_sender;
	uint32_t uid;
	char cgroup[SF_PATH_MAX]; /* as it came, not escaped */
};

void sf_replay_event(struct sf_replay *replay, const struct sf_replay_event *event);
struct sf_replay_totals *sf_replay_counts(struct sf_replay *replay);
int sf_replay_csv(struct sf_replay *replay, const char *path, struct sf_error *err);
int sf_replay_pcap(struct sf_replay *replay, const char *path, struct sf_error *err);
/* One line of CSV; 0, 1: nothing in it (comment, header), or -EINVAL and `why`. */
int sf_replay_csv_line(char *line, struct sf_replay_event *event, const char **why);
/* One packet; 0, 1: no SYN and no answer to one, -EINVAL: not whole TCP over IP. */
int sf_replay_packet(int link, const uint8_t *data, size_t length, struct sf_replay_event *event);

#endif
