// SPDX-License-Identifier: GPL-2.0-only
#include "plot.h"
#include <string.h>
#include <time.h>

#define HOUR INT64_C(3600)
#define DAY  INT64_C(86400)

/* Counts come from a file that anybody may have written: their sums stop, they don't turn over. */
static uint64_t sum(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* value / most of `parts`, at least one where there is anything. */
static size_t scaled(uint64_t value, uint64_t most, size_t parts)
{
	size_t n;

	if (!value || !most)
		return 0;
	if (value >= most)
		return parts;
	n = (size_t)((double)value / (double)most * (double)parts + 0.5);
	return n ? (n < parts ? n : parts) : 1;
}

void sf_plot_spark(const uint64_t *values, size_t count, uint64_t most, char *out, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < count && !most; i++)
		for (size_t k = 0; k < count; k++)
			most = values[k] > most ? values[k] : most;
	for (size_t i = 0; i < count && used + 4 <= size; i++) {
		size_t height = scaled(values[i], most, 8);

		if (height) {
			memcpy(out + used, "\xe2\x96", 2);
			out[used + 2] = (char)(0x80 + height);
			used += 3;
		} else {
			out[used++] = ' ';
		}
	}
	out[used] = '\0';
}

void sf_plot_bar(uint64_t sent, uint64_t denied, uint64_t most, size_t width, char *out,
		 size_t size)
{
	size_t all = scaled(sum(sent, denied), most, width), filled = scaled(sent, most, width);

	/* Both kinds show where both are there, and the whole keeps its length. */
	if (filled > all)
		filled = all;
	if (denied && filled == all && all > 1)
		filled--;
	if (all >= size)
		all = size - 1;
	for (size_t i = 0; i < all; i++)
		out[i] = i < filled ? '#' : 'x';
	out[all] = '\0';
}

void sf_plot_number(uint64_t value, char *out, size_t size)
{
	static const char units[] = "MGTPE";
	double shown = (double)value / 1e6;
	size_t i = 0;

	if (value < 10000000) {
		snprintf(out, size, "%llu", (unsigned long long)value);
		return;
	}
	for (; shown >= 999.95 && units[i + 1]; i++)
		shown /= 1000;
	snprintf(out, size, "%.1f%c", shown, units[i]);
}

int64_t sf_plot_step_length(int64_t from, int64_t to, size_t most)
{
	static const int64_t lengths[] = {
		HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 28 * DAY,
	};
	size_t i = 0, last = sizeof(lengths) / sizeof(lengths[0]) - 1;

	while (i < last && (to - from) / lengths[i] >= (int64_t)most)
		i++;
	return lengths[i];
}

/* 1, 2 or 5 times a power of ten: the smallest that is at least `value`. */
static uint64_t round_up(uint64_t value)
{
	static const uint64_t steps[] = {1, 2, 5};

	for (uint64_t power = 1; power < UINT64_MAX / 50; power *= 10)
		for (size_t i = 0; i < 3; i++)
			if (steps[i] * power >= value)
				return steps[i] * power;
	return value;
}

static void time_label(int64_t seconds, const char *format, char *out, size_t size)
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, size, format, &tm))
		snprintf(out, size, "?");
}

/* The plane of the picture, in its own units. */
enum { LEFT = 64, TOP = 12, WIDTH = 640, HEIGHT = 180, RIGHT = 16, BOTTOM = 44 };

static void axes(FILE *out, const struct sf_plot_step *steps, size_t count, int64_t length,
		 uint64_t top)
{
	size_t labels = count < 6 ? count : 6;

	for (unsigned int i = 0; i <= 2; i++) {
		unsigned int y = TOP + HEIGHT - HEIGHT * i / 2;
		char number[24];

		sf_plot_number(top * i / 2, number, sizeof(number));
		fprintf(out,
			"<line x1=\"%d\" y1=\"%u\" x2=\"%d\" y2=\"%u\" stroke=\"#999\" "
			"stroke-width=\"0.5\"/><text x=\"%d\" y=\"%u\" "
			"text-anchor=\"end\">%s</text>\n",
			LEFT, y, LEFT + WIDTH, y, LEFT - 6, y + 4, number);
	}
	for (size_t i = 0; i < labels; i++) {
		size_t at = i * count / labels;
		double x = LEFT + (double)WIDTH * (double)at / (double)count;
		char day[32], hour[32];

		time_label(steps[at].time, "%Y-%m-%d", day, sizeof(day));
		time_label(steps[at].time, length < DAY ? "%H:%M" : "", hour, sizeof(hour));
		fprintf(out,
			"<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#333\"/>"
			"<text x=\"%.1f\" y=\"%d\">%s</text><text x=\"%.1f\" y=\"%d\">%s</text>\n",
			x, TOP + HEIGHT, x, TOP + HEIGHT + 4, x, TOP + HEIGHT + 17, day, x,
			TOP + HEIGHT + 31, length < DAY ? hour : "");
	}
}

void sf_plot_svg(FILE *out, const struct sf_plot_step *steps, size_t count, int64_t length)
{
	uint64_t top = 1;
	double wide;

	for (size_t i = 0; i < count; i++)
		if (sum(steps[i].sent, steps[i].denied) > top)
			top = sum(steps[i].sent, steps[i].denied);
	top = round_up(top);
	fprintf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" "
		"aria-labelledby=\"plot-title\" font-family=\"sans-serif\" font-size=\"11\">\n"
		"<title id=\"plot-title\">Connections over time, by %lld h</title>\n"
		/* Denied is hatched: told from sent without a colour, and on paper. */
		"<defs><pattern id=\"hatch\" width=\"4\" height=\"4\" "
		"patternUnits=\"userSpaceOnUse\"><rect width=\"4\" height=\"4\" fill=\"#fff\"/>"
		"<path d=\"M0 4L4 0\" stroke=\"#000\" stroke-width=\"1\"/></pattern></defs>\n",
		LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM, (long long)(length / HOUR));
	if (count)
		axes(out, steps, count, length, top);
	wide = count ? (double)WIDTH / (double)count : 0;
	for (size_t i = 0; i < count; i++) {
		double sent = (double)steps[i].sent / (double)top * HEIGHT;
		double denied = (double)steps[i].denied / (double)top * HEIGHT;
		double x = LEFT + wide * (double)i, w = wide > 3 ? wide - 1 : wide;

		/* What is there must be seen, next to a bar a thousand times as high. */
		sent = steps[i].sent && sent < 1 ? 1 : sent;
		denied = steps[i].denied && denied < 1 ? 1 : denied;
		if (steps[i].sent)
			fprintf(out,
				"<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" "
				"fill=\"#345\"/>\n",
				x, TOP + HEIGHT - sent, w, sent);
		if (steps[i].denied)
			fprintf(out,
				"<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" "
				"fill=\"url(#hatch)\" stroke=\"#000\" stroke-width=\"0.5\"/>\n",
				x, TOP + HEIGHT - sent - denied, w, denied);
	}
	fputs("</svg>\n", out);
}
