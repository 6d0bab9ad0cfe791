// SPDX-License-Identifier: GPL-2.0-only
/* What the programs counted, and the names of what is counted. */
#include "status.h"
#include "cleanup.h"
#include "pins.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>

const char *const sf_verdict_names[SF_VERDICT_COUNT] = {
#define X(name, label, text) label,
	SF_VERDICTS(X)
#undef X
};
const char *const sf_reason_names[SF_REASON_COUNT] = {
#define X(name, label, verdict, text) label,
	SF_REASONS(X)
#undef X
};
const char *const sf_loss_names[SF_LOSS_COUNT] = {
#define X(name, label, text) label,
	SF_LOSSES(X)
#undef X
};

uint64_t sf_counter_read(int counters_fd, uint32_t index)
{
	static int cpus;
	static uint64_t *values; /* for the process's life; its size never changes */
	uint64_t sum = 0;

	if (!values) {
		cpus = libbpf_num_possible_cpus();
		values = cpus > 0 ? calloc((size_t)cpus, sizeof(*values)) : NULL;
	}
	if (!values || bpf_map_lookup_elem(counters_fd, &index, values))
		return 0;
	for (int c = 0; c < cpus; c++)
		sum += values[c];
	return sum;
}

int sf_counters_read(const char *pin_dir, uint64_t *counter)
{
	_cleanup_close_ int fd = sf_pin_open(pin_dir, "maps", "counters");

	if (fd < 0)
		return fd;
	for (uint32_t i = 0; i < SF_COUNTER_COUNT; i++)
		counter[i] = sf_counter_read(fd, i);
	return 0;
}
