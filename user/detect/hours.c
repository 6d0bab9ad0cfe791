// SPDX-License-Identifier: GPL-2.0-only
/* A sliding hour in 12 slices: never a wiped table, so that no burst hides across an edge. */
#include "state.h"

void sf_hour_add(struct sf_hour_ring *ring, uint32_t now, uint64_t count)
{
	uint32_t slice = now / SF_HOUR_SLICE_SECONDS;
	uint16_t *place;

	if (slice > ring->newest) {
		uint32_t steps = slice - ring->newest;

		for (uint32_t i = 0; i < SF_HOUR_SLICES && i < steps; i++)
			ring->count[(slice - i) % SF_HOUR_SLICES] = 0;
		ring->newest = slice;
	}
	place = &ring->count[ring->newest % SF_HOUR_SLICES];
	*place = count >= UINT16_MAX || *place + count > UINT16_MAX ? UINT16_MAX
								    : (uint16_t)(*place + count);
}

uint32_t sf_hour_sum(const struct sf_hour_ring *ring, uint32_t now)
{
	uint32_t slice = now / SF_HOUR_SLICE_SECONDS, gone, sum = 0;

	gone = slice > ring->newest ? slice - ring->newest : 0;
	for (uint32_t i = 0; i + gone < SF_HOUR_SLICES && i <= ring->newest; i++)
		sum += ring->count[(ring->newest - i) % SF_HOUR_SLICES];
	return sum;
}
