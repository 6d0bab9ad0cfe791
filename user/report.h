/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is known of one sender, as an abuse desk wants it: who, when, what, evidence, and what the
 * fence did. Gathered once from history and recorded events, written as text, JSON or one HTML
 * file. All texts in a report are as they were found: each writer escapes for its own form.
 */
#ifndef SF_USER_REPORT_H
#define SF_USER_REPORT_H

#include <stdio.h>
#include "history.h"
#include "policy.h"

#define SF_REPORT_HOURS	 20000 /* kept; of more, the newest */
#define SF_REPORT_ALARMS 100
#define SF_REPORT_EVENTS 20
#define SF_REPORT_WIDTH	 80 /* columns of what is for people */

/* A recorded denial. */
struct sf_report_event {
	char time[24]; /* "2026-11-23T10:11:12Z" */
	char verdict[16], reason[24];
	char exe[1024], cwd[1024], cmdline[1024], cgroup[1024];
	char daddr[64];
	int64_t dport;
};

struct json_object;

struct sf_report {
	char who[SF_HISTORY_WHO_MAX];
	char user[SF_HISTORY_WHO_MAX];	 /* "" for an address */
	char cgroup[SF_HISTORY_WHO_MAX]; /* "" for an address */
	char host[256];
	int64_t made, from, to;	       /* seconds since 1970 */
	int64_t first_seen, last_seen; /* begin of the hours, of all history; 0: never */

	struct sf_hour *hours; /* from..to, oldest first */
	size_t hour_count;
	struct sf_hour total; /* sums; `distinct`: the highest; `hour`: that of the busiest */
	uint64_t busiest;     /* sent and denied in the busiest hour */
	uint64_t hours_left_out;

	struct sf_history_alarm alarms[SF_REPORT_ALARMS]; /* oldest first */
	size_t alarm_count;
	uint64_t alarms_in_all;

	struct sf_report_event events[SF_REPORT_EVENTS]; /* a ring: see sf_report_event_at */
	uint64_t events_in_all;				 /* of that user, from..to */

	int mode;	       /* enum sf_mode of the policy */
	char quarantine[1024]; /* the entries that hold for it, or "" */
};

/* Part of a period: an hour, or the hours of a day in one. */
struct sf_report_row {
	struct sf_hour sum;  /* `hour`: when it begins; `distinct`: the highest */
	uint64_t hourly[24]; /* of a day: sent and denied */
};

/*
 * Take what history holds of `who`. 0, or negative errno with `err`; `report` is then empty. To be
 * released with sf_report_free.
 */
int sf_report_gather(struct sf_history *history, const char *who, int64_t from, int64_t to,
		     struct sf_report *report, struct sf_error *err);
/* Add the user's recorded denials, and what the policy says of him now. */
int sf_report_add_events(struct sf_report *report, const char *state_dir, struct sf_error *err);
void sf_report_add_policy(struct sf_report *report, const struct sf_policy *policy);
void sf_report_free(struct sf_report *report);

/* The events that were kept, oldest first; NULL behind the last. */
const struct sf_report_event *sf_report_event_at(const struct sf_report *report, size_t index);

/* Rows of `length` seconds (an hour or a day, UTC) with anything in them. free() them. */
int sf_report_rows(const struct sf_report *report, int64_t length, struct sf_report_row **rows,
		   size_t *count);

void sf_report_text(const struct sf_report *report, FILE *out);
void sf_report_html(const struct sf_report *report, FILE *out);
/* One object, one line; and its parts, for `history`. */
int sf_report_json(const struct sf_report *report, FILE *out);
struct json_object *sf_report_json_hour(const struct sf_hour *hour);
struct json_object *sf_report_json_alarm(const struct sf_history_alarm *alarm);

/*
 * Put a report's text under `path`, for root's eyes, whole or not at all: a new file of mode 0600
 * takes the name's place. A link is never written through, only a plain file is replaced.
 */
int sf_report_write(const char *path, const char *text, size_t length, struct sf_error *err);

/* Shared by those who write for people: texts made harmless, in 80 columns. */

/* `label`, then the text, wrapped; further lines are indented by `indent`. */
void sf_report_wrap(FILE *out, const char *label, int indent, const char *text);
/* "2026-11-23 10:00" in UTC, or "-" for 0; or to the second. */
void sf_report_time(int64_t seconds, int to_the_second, char *out, size_t size);
/* "user web1 in /a" or "address 192.0.2.1". */
void sf_report_name(const struct sf_report *report, char *out, size_t size);
/* Sentences of what the fence did, divided by newlines. */
void sf_report_fence(const struct sf_report *report, char *out, size_t size);
/* When an alarm was raised, until when, severity and rule. */
void sf_report_alarm(const struct sf_history_alarm *alarm, char *out, size_t size);

#endif
