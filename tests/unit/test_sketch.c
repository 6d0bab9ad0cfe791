// SPDX-License-Identifier: GPL-2.0-only
/* The destination sketch: its stated error, unions, and what a hostile sketch may hold. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "../../bpf/lib/census.h"
#include "../../user/detect/engine.h"

static uint64_t serial;

static void fill(struct sf_sketch *s, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		sf_sketch_add(s, sf_hash(7, serial++, 99));
}

static void standard_error(void **state)
{
	static const uint64_t sizes[] = {1, 5, 10, 30, 100, 200, 300, 500, 1000, 5000, 20000};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		double square = 0, sum = 0, n = (double)sizes[i], error;
		const int rounds = 400;

		for (int r = 0; r < rounds; r++) {
			struct sf_sketch s = {{0}};
			double off;

			fill(&s, sizes[i]);
			off = sf_sketch_estimate(&s, NULL) / n - 1;
			square += off * off;
			sum += off;
		}
		error = sqrt(square / rounds);
		/* 1.04 / sqrt(128) is 9.2 %; between the two ranges it is a little more. */
		if (error > .115 || fabs(sum / rounds) > .05)
			fail_msg("%g: standard error %.3f, bias %.3f", n, error, sum / rounds);
		if (n <= 10 && error > .07)
			fail_msg("%g: standard error %.3f, linear counting is better", n, error);
	}
}

static void unions(void **state)
{
	struct sf_sketch a = {{0}}, b = {{0}}, both = {{0}}, empty = {{0}};

	(void)state;
	assert_true(sf_sketch_estimate(NULL, NULL) == 0);
	assert_true(sf_sketch_estimate(&empty, &empty) == 0);
	for (uint64_t i = 0; i < 300; i++) {
		if (i < 200)
			sf_sketch_add(&a, sf_hash(7, i, 1));
		if (i >= 100)
			sf_sketch_add(&b, sf_hash(7, i, 1));
		sf_sketch_add(&both, sf_hash(7, i, 1));
	}
	assert_true(sf_sketch_estimate(&a, &b) == sf_sketch_estimate(&both, NULL));
	assert_true(sf_sketch_estimate(&a, &b) == sf_sketch_estimate(&b, &a));
	assert_true(sf_sketch_estimate(NULL, &a) == sf_sketch_estimate(&a, &a));
	/* The same ones again change nothing. */
	for (uint64_t i = 0; i < 300; i++)
		sf_sketch_add(&both, sf_hash(7, i, 1));
	assert_true(sf_sketch_estimate(&a, &b) == sf_sketch_estimate(&both, NULL));
}

static void full(void **state)
{
	struct sf_sketch s;

	(void)state;
	memset(&s, 0xff, sizeof(s));
	assert_true(isfinite(sf_sketch_estimate(&s, NULL)));
	assert_true(sf_sketch_estimate(&s, NULL) > 1e6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(standard_error),
		cmocka_unit_test(unions),
		cmocka_unit_test(full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
