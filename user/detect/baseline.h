/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is usual for a sender, from its connections per hour of the last four weeks.
 *
 * An hour may be as busy as the busiest hour of a usual day, with room above; an hour of the week
 * that is always busier (a weekly newsletter, the office's morning) may be as busy as it always is;
 * one in which a busy sender always sleeps only half as busy. Each "usual" is a median or a high
 * rank over days, so that a few days of abuse in the history do not make abuse usual. (In the
 * second week there is only one day to compare a weekday with; it is believed.)
 */
#ifndef SF_USER_DETECT_BASELINE_H
#define SF_USER_DETECT_BASELINE_H

#include "engine.h"

#define SF_BASELINE_DAYS  28
#define SF_BASELINE_LEAST 3 /* whole days since the first row: fewer are no history */

struct sf_baseline_hour {
	int64_t hour; /* seconds since 1970 when it begins, UTC */
	uint64_t fenced;
};

/*
 * Rows in any order, hours without a row are quiet ones; the hours of the current day are not
 * looked at: what is judged must not vouch for itself. `since`: when this sender was first seen.
 */
void sf_baseline_compute(const struct sf_baseline_hour *rows, size_t count, int64_t since,
			 int64_t now, struct sf_baseline *baseline);

#endif
