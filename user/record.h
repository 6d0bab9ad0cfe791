/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Recorded events: state_dir/events.jsonl, one JSON object a line, written by the daemon, read by
 * `smtpfence events`. At SF_RECORD_MAX bytes it becomes events.jsonl.1 and a new one begins.
 */
#ifndef SF_USER_RECORD_H
#define SF_USER_RECORD_H

#include "explain.h"

#define SF_RECORD_NAME "events.jsonl"
#define SF_RECORD_MAX  (8u << 20)

struct sf_record {
	char path[4096];
	int fd;
	uint64_t size;
	uint64_t lost; /* events that could not be written (disk full), since the last that could */
};

int sf_record_open(struct sf_record *record, const char *state_dir);
void sf_record_close(struct sf_record *record);

/* Write one event. A failure is counted in `lost` and returned; the next tries again. */
int sf_record_write(struct sf_record *record, const struct sf_explained *event);

/* The object as one line of text without the newline; free() it. */
char *sf_record_line(const struct sf_explained *event);

#endif
