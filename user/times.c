// SPDX-License-Identifier: GPL-2.0-only
#include "times.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int sf_duration_parse(const char *text, int64_t *seconds)
{
	long long n;
	int64_t unit;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno || n <= 0)
		return -EINVAL;
	switch (*end) {
	case '\0':
	case 's':
		unit = 1;
		break;
	case 'm':
		unit = 60;
		break;
	case 'h':
		unit = 3600;
		break;
	case 'd':
		unit = 86400;
		break;
	case 'w':
		unit = 604800;
		break;
	default:
		return -EINVAL;
	}
	/* A century is a typing error, and keeps nanoseconds within 64 bits. */
	if ((*end && end[1]) || n > 100LL * 365 * 86400 / unit)
		return -EINVAL;
	*seconds = n * unit;
	return 0;
}

int sf_time_parse(const char *text, int64_t *seconds)
{
	struct tm tm = {.tm_isdst = 0};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	char same[64];
	int64_t t;

	if (!end || strcmp(end, "Z") || tm.tm_year < 70 || tm.tm_year > 270)
		return -EINVAL;
	/* strptime takes the 31st of February and more; 0 means "never", so nothing may become it.
	 */
	t = timegm(&tm);
	sf_time_format(t, same, sizeof(same));
	if (t <= 0 || strcmp(same, text))
		return -EINVAL;
	*seconds = t;
	return 0;
}

void sf_time_format(int64_t seconds, char *out, size_t size)
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(out, size, "@%lld", (long long)seconds);
}
