/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Figures as pictures: a sparkline and a bar for a terminal, bars as SVG for a page. Pure; no text
 * of senders comes in here.
 */
#ifndef SF_USER_PLOT_H
#define SF_USER_PLOT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* One step of time. */
struct sf_plot_step {
	int64_t time; /* seconds since 1970 when it begins, UTC */
	uint64_t sent, denied;
};

/*
 * A mark for each value, scaled to `most` (0: to the highest of them): a space for none, else
 * U+2581 to U+2588. `out` needs 3 bytes a value and the NUL; what does not fit is left out.
 */
void sf_plot_spark(const uint64_t *values, size_t count, uint64_t most, char *out, size_t size);

/* "####xx" in ASCII: `sent` and `denied` in `width` columns that stand for `most`. */
void sf_plot_bar(uint64_t sent, uint64_t denied, uint64_t most, size_t width, char *out,
		 size_t size);

/* A number in at most 7 columns: "9999999", "12.3M". */
void sf_plot_number(uint64_t value, char *out, size_t size);

/* The length of a step that divides from..to into at most `most` (whole hours, whole days). */
int64_t sf_plot_step_length(int64_t from, int64_t to, size_t most);

/* One <svg> element, readable in black and white; `length` is that of a step. */
void sf_plot_svg(FILE *out, const struct sf_plot_step *steps, size_t count, int64_t length);

#endif
