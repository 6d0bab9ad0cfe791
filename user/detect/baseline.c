// SPDX-License-Identifier: GPL-2.0-only
#include "baseline.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HOUR	   3600
#define DAY	   86400
#define MAD_SIGMA  1.4826 /* median absolute deviation to standard deviation, normal */
#define OUTLIERS   7	  /* one day in so many may be one; one at least */
#define BUSY_A_DAY 48	  /* who sends that many has hours in which it sleeps */

/* The days of the history, the most recent first. */
struct days {
	uint32_t count;
	double hour[SF_BASELINE_DAYS][24];
	double total[SF_BASELINE_DAYS], peak[SF_BASELINE_DAYS];
};

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static void gather(const struct sf_baseline_hour *rows, size_t count, int64_t today,
		   struct days *days)
{
	for (size_t i = 0; i < count; i++) {
		int64_t day = floor_div(rows[i].hour, DAY), ago = today - day - 1;

		if (ago < 0 || ago >= days->count)
			continue;
		days->hour[ago][(rows[i].hour - day * DAY) / HOUR] += (double)rows[i].fenced;
	}
	for (uint32_t d = 0; d < days->count; d++)
		for (int h = 0; h < 24; h++) {
			days->total[d] += days->hour[d][h];
			days->peak[d] = fmax(days->peak[d], days->hour[d][h]);
		}
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The lower median where there are two: one outlier of two days must not count. */
static double median(double *values, uint32_t n)
{
	qsort(values, n, sizeof(*values), ascending);
	return values[(n - 1) / 2];
}

static double deviation(const double *values, uint32_t n, double middle)
{
	double away[SF_BASELINE_DAYS];

	for (uint32_t i = 0; i < n; i++)
		away[i] = fabs(values[i] - middle);
	return MAD_SIGMA * median(away, n);
}

/* Above this is unusual: the spread that was seen, and never less than chance alone makes. */
static double above(double *values, uint32_t n)
{
	double sorted[SF_BASELINE_DAYS], middle;

	memcpy(sorted, values, n * sizeof(*values));
	middle = median(sorted, n);
	return 1.5 * middle + 5 * deviation(values, n, middle) + 4 * sqrt(middle);
}

/* The highest, but for the outliers that a history of so many days may hold. */
static double usual_peak(double *values, uint32_t n)
{
	double sorted[SF_BASELINE_DAYS];

	memcpy(sorted, values, n * sizeof(*values));
	qsort(sorted, n, sizeof(*sorted), ascending);
	return sorted[n - 1 - (n < OUTLIERS ? 1 : n / OUTLIERS)];
}

/* This hour of the day, with its neighbours: nobody is on time to the hour. */
static double around(const struct days *days, uint32_t d, int hour)
{
	double most = 0;

	for (int h = hour - 1; h <= hour + 1; h++)
		if (h >= 0 && h < 24)
			most = fmax(most, days->hour[d][h]);
	return most;
}

static double limit_of_hour(struct days *days, int hour)
{
	double slot[SF_BASELINE_DAYS], same[SF_BASELINE_DAYS], peak, limit, sum = 0, most = 0;
	uint32_t weeks = 0;

	for (uint32_t d = 0; d < days->count; d++) {
		slot[d] = around(days, d, hour);
		most = fmax(most, slot[d]);
		sum += days->total[d];
		if (d % 7 == 6)
			same[weeks++] = slot[d]; /* the same day of the week */
	}
	peak = usual_peak(days->peak, days->count);
	limit = 1.5 * peak + 4 * sqrt(peak);
	if (!(most > 0) && days->count >= 7 && sum >= BUSY_A_DAY * days->count)
		limit /= 2;
	limit = fmax(limit, above(slot, days->count));
	if (weeks)
		limit = fmax(limit, above(same, weeks));
	return limit;
}

static double limit_of_day(struct days *days)
{
	double same[SF_BASELINE_DAYS], usual, limit;
	uint32_t weeks = 0;

	usual = usual_peak(days->total, days->count);
	limit = fmax(above(days->total, days->count), 1.5 * usual + 4 * sqrt(usual));
	for (uint32_t d = 6; d < days->count; d += 7)
		same[weeks++] = days->total[d];
	if (weeks)
		limit = fmax(limit, above(same, weeks));
	return limit;
}

void sf_baseline_compute(const struct sf_baseline_hour *rows, size_t count, int64_t since,
			 int64_t now, struct sf_baseline *baseline)
{
	int64_t today = floor_div(now, DAY), first = floor_div(since, DAY);
	struct days days = {.count = 0};

	*baseline = (struct sf_baseline){.known = 0};
	/* `first` itself was not a whole day. */
	if (first > today || today - first - 1 < SF_BASELINE_LEAST)
		return;
	days.count = (uint32_t)(today - first - 1 < SF_BASELINE_DAYS ? today - first - 1
								     : SF_BASELINE_DAYS);
	gather(rows, count, today, &days);
	baseline->known = 1;
	baseline->hour_limit = limit_of_hour(&days, (int)((now - today * DAY) / HOUR));
	baseline->day_limit = limit_of_day(&days);
}
