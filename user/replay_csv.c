// SPDX-License-Identifier: GPL-2.0-only
/*
 * Traces as CSV: time,source,destination,port,flags[,uid,cgroup]
 *
 * time: seconds with decimals (since 1970, or of any clock that begins at 0). A line is about a
 * connection, source being who opens it: flags S a new SYN, ST a repeated one, SA it was answered,
 * R (or RA) refused. There are no source ports: an answer belongs to the oldest SYN of the
 * same source, destination and port that waits for one.
 */
#include "replay.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cleanup.h"
#include "escape.h"

#define LINE_MAX_BYTES 4096

/* To `max`, decimal digits only; the text must end at `end`. */
static int number(const char *text, const char *end, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	if (text == end)
		return -EINVAL;
	for (; text < end; text++) {
		if (!isdigit((unsigned char)*text))
			return -EINVAL;
		n = n * 10 + (uint64_t)(*text - '0');
		if (n > max)
			return -EINVAL;
	}
	*out = n;
	return 0;
}

static int time_of(const char *text, uint64_t *ns)
{
	const char *dot = strchrnul(text, '.');
	uint64_t seconds, part = 0, unit = 100000000;

	if (number(text, dot, SF_REPLAY_TIME_MAX, &seconds))
		return -EINVAL;
	if (*dot)
		for (const char *c = dot + 1; *c; c++, unit /= 10) {
			if (!isdigit((unsigned char)*c))
				return -EINVAL;
			part += (uint64_t)(*c - '0') * unit; /* beyond a nanosecond: nothing */
		}
	*ns = seconds * 1000000000ULL + part;
	return 0;
}

static int address_of(const char *text, struct sf_addr *addr)
{
	memset(addr, 0, sizeof(*addr));
	if (inet_pton(AF_INET, text, addr->b + 12) == 1) {
		addr->b[10] = addr->b[11] = 0xff;
		return 0;
	}
	return inet_pton(AF_INET6, text, addr->b) == 1 ? 0 : -EINVAL;
}

static int flags_of(const char *text, enum sf_replay_what *what)
{
	if (!strcmp(text, "S"))
		*what = SF_REPLAY_SYN;
	else if (!strcmp(text, "ST"))
		*what = SF_REPLAY_REPEATED;
	else if (!strcmp(text, "SA"))
		*what = SF_REPLAY_ANSWERED;
	else if (!strcmp(text, "R") || !strcmp(text, "RA"))
		*what = SF_REPLAY_REFUSED;
	else
		return -EINVAL;
	return 0;
}

static char *trim(char *text)
{
	char *end = text + strlen(text);

	while (*text == ' ' || *text == '\t')
		text++;
	while (end > text && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
		*--end = '\0';
	return text;
}

int sf_replay_csv_line(char *line, struct sf_replay_event *e, const char **why)
{
	char *field[7] = {NULL}, *rest = trim(line);
	uint64_t port, uid = 0;
	size_t n = 0;

	if (!*rest || *rest == '#' || !strncasecmp(rest, "time,", 5))
		return 1;
	/* A cgroup may hold commas: the last field takes the rest. */
	while (rest && n < 7) {
		field[n] = rest;
		rest = n == 6 ? NULL : strchr(rest, ',');
		if (rest)
			*rest++ = '\0';
		field[n] = trim(field[n]);
		n++;
	}
	memset(e, 0, sizeof(*e));
	*why = NULL;
	if (n < 5)
		*why = "write time,source,destination,port,flags[,uid,cgroup]";
	else if (time_of(field[0], &e->time_ns))
		*why = "time: write seconds like 1700000000.25";
	else if (address_of(field[1], &e->source))
		*why = "source: write an IPv4 or IPv6 address";
	else if (address_of(field[2], &e->destination))
		*why = "destination: write an IPv4 or IPv6 address";
	else if (number(field[3], field[3] + strlen(field[3]), 65535, &port) || !port)
		*why = "port: write a number from 1 to 65535";
	else if (flags_of(field[4], &e->what))
		*why = "flags: write S (SYN), ST (repeated), SA (answered) or R (refused)";
	else if (n > 5 && *field[5] &&
		 number(field[5], field[5] + strlen(field[5]), UINT32_MAX, &uid))
		*why = "uid: write a number";
	else if (n > 6 && strlen(field[6]) >= sizeof(e->cgroup))
		*why = "cgroup: it is too long";
	if (*why)
		return -EINVAL;
	e->dport = (uint16_t)port;
	e->has_sender = n > 5 && *field[5];
	e->uid = (uint32_t)uid;
	if (n > 6)
		memcpy(e->cgroup, field[6], strlen(field[6]) + 1);
	return 0;
}

static int read_lines(struct sf_replay *r, const char *path, FILE *in, struct sf_error *err)
{
	char line[LINE_MAX_BYTES], part[64];
	unsigned long number_of_line = 0;

	while (fgets(line, sizeof(line), in)) {
		struct sf_replay_event event;
		size_t length = strlen(line);
		const char *why = NULL;
		int ret;

		number_of_line++;
		sf_escape(line, length < 12 ? strcspn(line, "\n") : 12, part, sizeof(part));
		if (length && line[length - 1] == '\n')
			line[length - 1] = '\0';
		else if (!feof(in))
			return sf_fail_usage(err,
					     "%s, line %lu: longer than %d bytes, or binary: "
					     "give a capture (pcap) or CSV",
					     path, number_of_line, LINE_MAX_BYTES - 2);
		ret = sf_replay_csv_line(line, &event, &why);
		if (ret < 0)
			return sf_fail_usage(err, "%s, line %lu (\"%s...\"): %s", path,
					     number_of_line, part, why);
		if (!ret)
			sf_replay_event(r, &event);
	}
	if (ferror(in))
		return sf_fail(err, -EIO, "can't read %s: %s", path, strerror(errno));
	return 0;
}

int sf_replay_csv(struct sf_replay *r, const char *path, struct sf_error *err)
{
	_cleanup_fclose_ FILE *in = NULL;

	if (!strcmp(path, "-"))
		return read_lines(r, "standard input", stdin, err);
	in = fopen(path, "re");
	if (!in)
		return sf_fail(err, -errno, "can't read %s: %s", path, strerror(errno));
	return read_lines(r, path, in, err);
}
