// SPDX-License-Identifier: GPL-2.0-only
/* What is usual: by hour and weekday, with outliers, with too little, with nonsense. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "../../user/detect/baseline.h"

#define DAY   86400LL
#define FIRST (19700 * DAY)

static struct sf_baseline_hour rows[SF_BASELINE_DAYS * 24];
static size_t count;

static void add(int day, int hour, uint64_t fenced)
{
	rows[count++] = (struct sf_baseline_hour){FIRST + day * DAY + hour * 3600, fenced};
}

/* Ten a day in office hours. */
static void ten_a_day(int days)
{
	count = 0;
	for (int d = 0; d < days; d++)
		for (int h = 8; h < 18; h++)
			add(d, h, 1);
}

static struct sf_baseline at(int day, int hour)
{
	struct sf_baseline b;

	sf_baseline_compute(rows, count, FIRST - DAY, FIRST + day * DAY + hour * 3600 + 7, &b);
	return b;
}

static void ten_a_day_and_one_day_a_thousand(void **state)
{
	struct sf_baseline b;

	(void)state;
	for (int days = 3; days <= 28; days++) {
		ten_a_day(days);
		b = at(days, 11);
		assert_true(b.known);
		assert_true(b.day_limit > 10 && b.day_limit < 100);
		assert_true(b.hour_limit > 1 && b.hour_limit < 30);
		/* The thousand of today do not vouch for themselves. */
		add(days, 10, 1000);
		assert_true(at(days, 11).day_limit == b.day_limit);
	}
}

static void outliers(void **state)
{
	double usual;

	(void)state;
	ten_a_day(21);
	usual = at(21, 11).day_limit;
	for (int d = 2; d < 21; d += 8) /* three days of abuse */
		for (int h = 0; h < 24; h++)
			add(d, h, 500);
	assert_true(at(21, 11).day_limit < usual * 1.5);
	assert_true(at(21, 11).hour_limit < 30);
}

static void days_of_the_week(void **state)
{
	(void)state;
	ten_a_day(27);
	for (int d = 6; d < 27; d += 7) /* a newsletter each seventh day, at nine */
		add(d, 9, 3000);
	assert_true(at(27, 9).hour_limit > 3000);
	assert_true(at(27, 9).day_limit > 3000);
	assert_true(at(27, 15).hour_limit < 100);
	assert_true(at(26, 9).hour_limit < 100);
}

static void hours_of_the_day(void **state)
{
	(void)state;
	count = 0;
	for (int d = 0; d < 14; d++)
		for (int h = 8; h < 18; h++)
			add(d, h, 60);
	assert_true(at(14, 3).hour_limit < 80); /* it sleeps at night */
	assert_true(at(14, 11).hour_limit > 100);
}

static void too_little(void **state)
{
	struct sf_baseline b;

	(void)state;
	ten_a_day(2);
	assert_false(at(2, 11).known);
	sf_baseline_compute(NULL, 0, FIRST, FIRST, &b);
	assert_false(b.known);
	/* First seen in the future: the wall clock was set back. */
	sf_baseline_compute(rows, count, FIRST + 100 * DAY, FIRST, &b);
	assert_false(b.known);
	/* Known for long and silent since: usual is nothing. */
	sf_baseline_compute(NULL, 0, 0, FIRST, &b);
	assert_true(b.known);
	assert_true(b.hour_limit == 0 && b.day_limit == 0);
}

static void nonsense(void **state)
{
	struct sf_baseline b;

	(void)state;
	count = 0;
	for (int i = 0; i < 100; i++)
		rows[count++] = (struct sf_baseline_hour){i % 2 ? FIRST - i * 7777777 : -i * 3601,
							  UINT64_MAX};
	sf_baseline_compute(rows, count, -1000000, FIRST, &b);
	assert_true(isfinite(b.hour_limit) && isfinite(b.day_limit));
	sf_baseline_compute(rows, count, -1000000, -5, &b);
	assert_true(isfinite(b.hour_limit) && isfinite(b.day_limit));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ten_a_day_and_one_day_a_thousand),
		cmocka_unit_test(outliers),
		cmocka_unit_test(days_of_the_week),
		cmocka_unit_test(hours_of_the_day),
		cmocka_unit_test(too_little),
		cmocka_unit_test(nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
