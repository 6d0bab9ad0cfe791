// SPDX-License-Identifier: GPL-2.0-only
/*
 * How many different destinations two sketches hold together (maps/census.h). Flajolet, Fusy,
 * Gandouet, Meunier: HyperLogLog (2007); below 5/2 of the registers linear counting of the empty
 * ones, which is far more exact there.
 */
#include "engine.h"
#include <math.h>

double sf_sketch_estimate(const struct sf_sketch *a, const struct sf_sketch *b)
{
	const double m = SF_SKETCH_REGISTERS, alpha = 0.7213 / (1 + 1.079 / SF_SKETCH_REGISTERS);
	unsigned int of_rank[16] = {0};
	double sum = 0, estimate;

	for (int w = 0; w < SF_SKETCH_WORDS; w++) {
		uint64_t x = a ? a->word[w] : 0, y = b ? b->word[w] : 0;

		for (int i = 0; i < 16; i++, x >>= 4, y >>= 4)
			of_rank[(x & 15) > (y & 15) ? x & 15 : y & 15]++;
	}
	for (int rank = 0; rank < 16; rank++)
		sum += ldexp(of_rank[rank], -rank);
	estimate = alpha * m * m / sum;
	if (estimate <= 2.5 * m && of_rank[0])
		return m * log(m / of_rank[0]);
	return estimate;
}
