/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Wald's sequential probability ratio test ("Sequential Tests of Statistical Hypotheses", 1945) on
 * outcomes that are good or bad, as the threshold random walk of Jung et al. (2004) uses it: is the
 * share of bad outcomes that of a good sender, or that of a bad one?
 *
 * The walk goes up with a bad outcome and down with a good one. At the upper bound the sender is
 * bad, at the lower one it is good and the test begins anew. The bounds are Wald's: a single test
 * accuses a good sender with a probability of at most false_alarm / (1 - miss), and clears a bad
 * one with at most miss / (1 - false_alarm); tests/unit/test_sprt.c simulates both.
 */
#ifndef SF_USER_DETECT_SPRT_H
#define SF_USER_DETECT_SPRT_H

struct sf_sprt {
	double up, down;     /* steps: bad, good (negative) */
	double upper, lower; /* bounds */
};

enum sf_sprt_result {
	SF_SPRT_GOOD = -1,
	SF_SPRT_OPEN = 0,
	SF_SPRT_BAD = 1,
};

/* Shares and errors are within (0, 1), miss_good < miss_bad; else -EINVAL, and nothing is set. */
int sf_sprt_init(struct sf_sprt *test, double miss_good, double miss_bad, double false_alarm,
		 double miss);
/* One outcome. The caller begins anew (walk 0) after GOOD. */
enum sf_sprt_result sf_sprt_step(const struct sf_sprt *test, double *walk, int is_bad);
/* Expected number of outcomes until it accuses a sender with that share of bad ones; 0: never. */
double sf_sprt_expected(const struct sf_sprt *test, double share);

#endif
