/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The syslog sink: datagrams to the log daemon's socket (RFC 3164 form, facility mail), without
 * blocking. While the log daemon is away a bounded number of lines waits; what is lost is told.
 */
#ifndef SF_USER_SYSLOG_H
#define SF_USER_SYSLOG_H

#include <stddef.h>
#include <stdint.h>
#include <syslog.h>

#define SF_SYSLOG_WAITING 256

struct sf_syslog {
	char path[108]; /* sun_path */
	char ident[32];
	int fd;
	char *waiting[SF_SYSLOG_WAITING]; /* oldest first */
	size_t waiting_count;
	uint64_t lost; /* lines that found no room, not told yet */
};

void sf_syslog_init(struct sf_syslog *log, const char *path, const char *ident);
void sf_syslog_close(struct sf_syslog *log);

/* One line. `severity` is LOG_WARNING and the like. The text must be escaped already. */
void sf_syslog_line(struct sf_syslog *log, int severity, const char *text);

/* Try what waits again. Returns how many lines still wait. */
size_t sf_syslog_flush(struct sf_syslog *log);

#endif
