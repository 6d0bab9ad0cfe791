// SPDX-License-Identifier: GPL-2.0-only
#include "sprt.h"
#include <errno.h>
#include <math.h>

static int is_share(double p)
{
	return p > 0 && p < 1;
}

int sf_sprt_init(struct sf_sprt *test, double miss_good, double miss_bad, double false_alarm,
		 double miss)
{
	if (!is_share(miss_good) || !is_share(miss_bad) || miss_good >= miss_bad ||
	    !is_share(false_alarm) || !is_share(miss) || false_alarm + miss >= 1)
		return -EINVAL;
	*test = (struct sf_sprt){
		.up = log(miss_bad / miss_good),
		.down = log((1 - miss_bad) / (1 - miss_good)),
		.upper = log((1 - miss) / false_alarm),
		.lower = log(miss / (1 - false_alarm)),
	};
	return 0;
}

enum sf_sprt_result sf_sprt_step(const struct sf_sprt *test, double *walk, int is_bad)
{
	*walk += is_bad ? test->up : test->down;
	if (*walk >= test->upper)
		return SF_SPRT_BAD;
	return *walk <= test->lower ? SF_SPRT_GOOD : SF_SPRT_OPEN;
}

double sf_sprt_expected(const struct sf_sprt *test, double share)
{
	double drift = share * test->up + (1 - share) * test->down;

	return drift > 0 ? test->upper / drift : 0;
}
