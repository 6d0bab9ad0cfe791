/* SPDX-License-Identifier: GPL-2.0-only */
/* A replay whose alarms are checked as they come: what target_csv.c and target_capture.c share. */
#ifndef SF_TESTS_FUZZ_REPLAY_H
#define SF_TESTS_FUZZ_REPLAY_H

#include "fuzz.h"
#include "../../user/replay.h"
#include <math.h>

struct heard {
	int64_t last;
	int raised; /* alarms that last */
};

static inline void hear(void *context, const struct sf_replay_alarm *a)
{
	struct heard *heard = context;

	PROPERTY(a->alarm->rule < SF_RULE_COUNT);
	PROPERTY(isfinite(a->alarm->value) && isfinite(a->alarm->limit) && a->alarm->value >= 0);
	PROPERTY(isfinite(a->alarm->tally.distinct) && a->alarm->tally.distinct >= 0);
	PROPERTY(a->time >= heard->last); /* the trace's clock goes on */
	PROPERTY(fuzz_is_clean_utf8(a->who) && fuzz_is_clean_utf8(a->cgroup));
	PROPERTY(fuzz_is_clean(a->alarm->evidence));
	heard->last = a->time;
	heard->raised += a->alarm->raised ? 1 : -1;
	PROPERTY(heard->raised >= 0);
}

static inline void replay(const char *path)
{
	struct sf_replay_options options;
	struct sf_replay_totals totals = {.records = 0};
	struct heard heard = {.last = 0};
	struct sf_error err = {.code = 0};
	struct sf_replay *r = NULL;

	sf_replay_options_default(&options);
	options.senders = 64;
	if (sf_replay_new(&options, hear, &heard, &r))
		return;
	if (sf_replay_file(r, path, &err))
		PROPERTY(err.code < 0 && fuzz_is_clean(err.text));
	sf_replay_end(r, &totals);
	PROPERTY(totals.fenced <= totals.syn && totals.syn <= totals.records);
	PROPERTY(totals.first <= totals.last && totals.senders <= totals.syn);
	sf_replay_free(r);
}

#endif
