// SPDX-License-Identifier: GPL-2.0-only
#include "repeats.h"
#include "cleanup.h"
#include "files.h"
#include "text.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME "quarantines"

/* "user 1001 TIME TIME..." */
static int parse_line(char *line, struct sf_repeat *repeat)
{
	char *save = NULL;
	const char *kind = strtok_r(line, " \n", &save), *who = strtok_r(NULL, " \n", &save);

	memset(repeat, 0, sizeof(*repeat));
	if (!kind || !who || (strcmp(kind, "user") && strcmp(kind, "net")) ||
	    (size_t)snprintf(repeat->who, sizeof(repeat->who), "%s %s", kind, who) >=
		    sizeof(repeat->who))
		return -EINVAL;
	for (char *word = strtok_r(NULL, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		char *end;
		long long time = strtoll(word, &end, 10);

		if (*end || time <= 0)
			return -EINVAL;
		sf_repeat_add(repeat, time);
	}
	return repeat->count ? 0 : -EINVAL;
}

int sf_repeats_load(const char *state_dir, struct sf_repeats *repeats)
{
	_cleanup_fclose_ FILE *in = NULL;
	char path[PATH_MAX], line[512];

	repeats->count = 0;
	repeats->list = calloc(SF_PENALTY_ROOM, sizeof(repeats->list[0]));
	if (!repeats->list)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%s/" FILE_NAME, state_dir);
	in = fopen(path, "re");
	if (!in)
		return 0;
	while (repeats->count < SF_PENALTY_ROOM && fgets(line, sizeof(line), in))
		if (!parse_line(line, &repeats->list[repeats->count]))
			repeats->count++;
	return 0;
}

void sf_repeats_free(struct sf_repeats *repeats)
{
	free(repeats->list);
	repeats->list = NULL;
	repeats->count = 0;
}

int sf_repeats_save(const char *state_dir, const struct sf_repeats *repeats, struct sf_error *err)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	struct sf_text memory;
	FILE *out = sf_text_open(&memory);

	if (!out)
		return sf_fail(err, -ENOMEM, "no memory");
	for (size_t i = 0; i < repeats->count; i++) {
		const struct sf_repeat *r = &repeats->list[i];

		if (!r->count)
			continue;
		fputs(r->who, out);
		for (size_t t = 0; t < r->count; t++)
			fprintf(out, " %lld", (long long)r->times[t]);
		putc('\n', out);
	}
	text = sf_text_close(out, &memory);
	if (!text)
		return sf_fail(err, -ENOMEM, "no memory");
	snprintf(path, sizeof(path), "%s/" FILE_NAME, state_dir);
	return sf_file_write(path, text, memory.length, err);
}

struct sf_repeat *sf_repeats_of(struct sf_repeats *repeats, const char *who)
{
	struct sf_repeat *oldest = NULL;

	for (size_t i = 0; i < repeats->count; i++) {
		struct sf_repeat *r = &repeats->list[i];

		if (!strcmp(r->who, who))
			return r;
		if (!oldest || !r->count ||
		    (oldest->count && r->times[r->count - 1] < oldest->times[oldest->count - 1]))
			oldest = r;
	}
	if (repeats->count < SF_PENALTY_ROOM)
		oldest = &repeats->list[repeats->count++];
	memset(oldest, 0, sizeof(*oldest));
	snprintf(oldest->who, sizeof(oldest->who), "%s", who);
	return oldest;
}

void sf_repeat_add(struct sf_repeat *repeat, int64_t now)
{
	if (repeat->count == SF_PENALTY_KEEP)
		memmove(repeat->times, repeat->times + 1,
			--repeat->count * sizeof(repeat->times[0]));
	repeat->times[repeat->count++] = now;
}
