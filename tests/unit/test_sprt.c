// SPDX-License-Identifier: GPL-2.0-only
/* Wald's test: its bounds against simulated senders, its speed against the expectation. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../user/detect/sprt.h"

static uint64_t seed = 88172645463325252ULL;

static double any(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (double)(seed >> 11) * 0x1p-53;
}

/* One test to its end: 1 bad, 0 good. */
static int judge(const struct sf_sprt *test, double share, uint64_t *steps)
{
	double walk = 0;

	for (;;) {
		enum sf_sprt_result result = sf_sprt_step(test, &walk, any() < share);

		++*steps;
		if (result != SF_SPRT_OPEN)
			return result == SF_SPRT_BAD;
	}
}

static void errors_are_within_the_bounds(void **state)
{
	static const double shares[][2] = {{.15, .5}, {.1, .6}, {.2, .8}, {.05, .3}};
	static const double errors[][2] = {{.01, .01}, {.001, .01}, {.02, .1}};

	(void)state;
	for (int s = 0; s < 4; s++)
		for (int e = 0; e < 3; e++) {
			const int rounds = 200000;
			uint64_t steps = 0, none = 0;
			struct sf_sprt test;
			int accused = 0, cleared = 0;
			double wrong, missed;

			assert_int_equal(sf_sprt_init(&test, shares[s][0], shares[s][1],
						      errors[e][0], errors[e][1]),
					 0);
			for (int i = 0; i < rounds; i++) {
				accused += judge(&test, shares[s][0], &none);
				cleared += !judge(&test, shares[s][1], &steps);
			}
			wrong = (double)accused / rounds;
			missed = (double)cleared / rounds;
			/* Wald's inequalities, and a fifth for the chance of the simulation. */
			if (wrong > 1.2 * errors[e][0] / (1 - errors[e][1]) ||
			    missed > 1.2 * errors[e][1] / (1 - errors[e][0]))
				fail_msg("shares %g %g: accused %g of %g, cleared %g of %g",
					 shares[s][0], shares[s][1], wrong, errors[e][0], missed,
					 errors[e][1]);
			/* Its mean is near the expectation (Wald leaves out the overshoot). */
			assert_true((double)steps / rounds <
				    2 * sf_sprt_expected(&test, shares[s][1]) + 3);
		}
}

static void steps_to_the_bounds(void **state)
{
	struct sf_sprt test;
	double walk = 0;
	int n = 0;

	(void)state;
	/* Jung's figures: ln(99) / ln(4) is 3.3: four failures accuse, four successes clear. */
	assert_int_equal(sf_sprt_init(&test, .2, .8, .01, .01), 0);
	while (sf_sprt_step(&test, &walk, 1) == SF_SPRT_OPEN)
		n++;
	assert_int_equal(n + 1, 4);
	walk = 0;
	for (n = 1; sf_sprt_step(&test, &walk, 0) == SF_SPRT_OPEN; n++)
		;
	assert_int_equal(n, 4);
	assert_true(walk <= test.lower);
	/* Who fails as a good sender does is never accused in the mean. */
	assert_true(sf_sprt_expected(&test, .2) == 0);
}

static void senseless_figures(void **state)
{
	static const double bad[][4] = {{0, .5, .01, .01}, {.5, .5, .01, .01}, {.6, .5, .01, .01},
					{.1, 1, .01, .01}, {.1, .5, 0, .01},   {.1, .5, .01, 0},
					{.1, .5, .6, .6},  {-1, .5, .01, .01}, {.1, .5, 1, .01}};
	struct sf_sprt test = {.up = 42};

	(void)state;
	for (int i = 0; i < 9; i++)
		assert_int_equal(sf_sprt_init(&test, bad[i][0], bad[i][1], bad[i][2], bad[i][3]),
				 -EINVAL);
	assert_true(test.up == 42); /* outputs only on success */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_are_within_the_bounds),
		cmocka_unit_test(steps_to_the_bounds),
		cmocka_unit_test(senseless_figures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
