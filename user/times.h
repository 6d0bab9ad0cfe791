/* SPDX-License-Identifier: GPL-2.0-only */
/* Points in time and durations as text. */
#ifndef SF_USER_TIMES_H
#define SF_USER_TIMES_H

#include <stddef.h>
#include <stdint.h>

/* Times: "90s", "5m", "2h", "1d", "1w" to seconds; RFC 3339 in UTC both ways. */
int sf_duration_parse(const char *text, int64_t *seconds);
int sf_time_parse(const char *text, int64_t *seconds);
void sf_time_format(int64_t seconds, char *out, size_t size);

#endif
