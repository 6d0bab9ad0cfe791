// SPDX-License-Identifier: GPL-2.0-only
#include "syslog.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

void sf_syslog_init(struct sf_syslog *log, const char *path, const char *ident)
{
	memset(log, 0, sizeof(*log));
	log->fd = -1;
	snprintf(log->path, sizeof(log->path), "%s", path);
	snprintf(log->ident, sizeof(log->ident), "%s", ident);
}

void sf_syslog_close(struct sf_syslog *log)
{
	sf_syslog_flush(log);
	if (log->fd >= 0)
		close(log->fd);
	log->fd = -1;
	for (size_t i = 0; i < log->waiting_count; i++)
		free(log->waiting[i]);
	log->waiting_count = 0;
}

static int connect_to(struct sf_syslog *log)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};

	log->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (log->fd < 0)
		return -errno;
	memcpy(to.sun_path, log->path, sizeof(to.sun_path));
	if (!connect(log->fd, (struct sockaddr *)&to, sizeof(to)))
		return 0;
	close(log->fd);
	log->fd = -1;
	return -errno;
}

/* A log daemon that was restarted has a new socket: one more try with a fresh connection. */
static int send_line(struct sf_syslog *log, const char *line)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		if (log->fd < 0 && connect_to(log))
			return -ENOTCONN;
		if (send(log->fd, line, strlen(line), MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno == EMSGSIZE) { /* never: it must not stand in the others' way */
			log->lost++;
			return 0;
		}
		if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR)
			return -EAGAIN;
		close(log->fd);
		log->fd = -1;
	}
	return -ENOTCONN;
}

static char *format(struct sf_syslog *log, int severity, const char *text)
{
	char stamp[32], *line;
	time_t now = time(NULL);
	struct tm tm;

	localtime_r(&now, &tm);
	/* RFC 3164 wants English months, which strftime gives in the C locale, ours. */
	strftime(stamp, sizeof(stamp), "%b %e %H:%M:%S", &tm);
	if (asprintf(&line, "<%d>%s %s[%d]: %s", LOG_MAIL | severity, stamp, log->ident,
		     (int)getpid(), text) < 0)
		return NULL;
	return line;
}

size_t sf_syslog_flush(struct sf_syslog *log)
{
	size_t sent = 0;

	while (sent < log->waiting_count && !send_line(log, log->waiting[sent]))
		free(log->waiting[sent++]);
	log->waiting_count -= sent;
	memmove(log->waiting, log->waiting + sent, log->waiting_count * sizeof(log->waiting[0]));
	if (!log->waiting_count && log->lost) {
		char text[128], *line;

		snprintf(text, sizeof(text), "NOTICE rule=log_lost severity=warning count=%llu",
			 (unsigned long long)log->lost);
		line = format(log, LOG_WARNING, text);
		if (line && !send_line(log, line))
			log->lost = 0;
		free(line);
	}
	return log->waiting_count;
}

void sf_syslog_line(struct sf_syslog *log, int severity, const char *text)
{
	char *line = format(log, severity, text);

	if (!line) {
		log->lost++;
		return;
	}
	/* In their order: behind what already waits. */
	if (!sf_syslog_flush(log) && !send_line(log, line)) {
		free(line);
		return;
	}
	if (log->waiting_count == SF_SYSLOG_WAITING) {
		log->lost++;
		free(line);
		return;
	}
	log->waiting[log->waiting_count++] = line;
}
