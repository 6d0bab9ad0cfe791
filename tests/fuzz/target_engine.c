// SPDX-License-Identifier: GPL-2.0-only
/*
 * Detection fed with any series of looks: counts that jump and fall, clocks that go back, sketches
 * of any content. Alarms come in pairs, figures are numbers, nothing goes below nothing.
 */
#include "fuzz.h"
#include "../../user/detect/baseline.h"
#include "../../user/detect.h"
#include "../../user/detect/engine.h"
#include <math.h>

#define WHO 12 /* more than the engine has places for */

static uint16_t lasts[2 * WHO];
static uint8_t seed;

static void on_alarm(void *context, const struct sf_alarm *a)
{
	uint16_t *of =
		&lasts[a->tally.who.key.word[0] % WHO + WHO * (a->tally.who.kind == SF_WHO_SENDER)];

	(void)context;
	PROPERTY(a->rule < SF_RULE_COUNT);
	PROPERTY(isfinite(a->value) && isfinite(a->limit) && a->limit >= 0 && a->value >= 0);
	PROPERTY(fuzz_is_clean(a->evidence) && memchr(a->evidence, '\0', sizeof(a->evidence)));
	if (a->rule == SF_RULE_FIRST || a->rule == SF_RULE_OTHER_PORT)
		return;				      /* told, and over by itself */
	PROPERTY((*of >> a->rule & 1) == !a->raised); /* raised once, over once */
	*of ^= (uint16_t)(1u << a->rule);
}

static void baseline(void *context, const struct sf_who *who, int64_t now, struct sf_baseline *out)
{
	struct sf_baseline_hour rows[48];
	size_t n = 1 + (who->key.word[0] * 7 + seed) % 48;

	(void)context;
	for (size_t i = 0; i < n; i++)
		rows[i] = (struct sf_baseline_hour){
			.hour = now - now % 3600 - (int64_t)((n - i) * 3600 * (1 + seed % 9)),
			.fenced = (uint32_t)(i * who->key.word[0] * seed)};
	sf_baseline_compute(rows, n, now - 86400LL * (seed % 40), now, out);
	PROPERTY(!out->known || (isfinite(out->hour_limit) && out->hour_limit >= 0 &&
				 isfinite(out->day_limit) && out->day_limit >= 0));
}

static int known(void *context, const struct sf_who *who)
{
	(void)context;
	return (int)(who->key.word[0] + seed) % 3 == 0;
}

static void check_sketch(struct fuzz_part *rest, struct sf_tally *tally)
{
	struct sf_sketch sketch[2] = {{{0}}, {{0}}};
	double one, both;

	for (int w = 0; w < 2 * SF_SKETCH_WORDS && rest->size; w++)
		sketch[w & 1].word[w / 2] = fuzz_take(rest, 8);
	one = sf_sketch_estimate(&sketch[0], NULL);
	both = sf_sketch_estimate(&sketch[0], &sketch[1]);
	PROPERTY(isfinite(one) && one >= 0 && isfinite(both) && both >= 0);
	PROPERTY(sf_sketch_estimate(NULL, NULL) < 1e-9);
	tally->distinct = both;
}

/* Denials, as the daemon's own windows count them. */
static void check_windows(struct sf_detect *d, struct fuzz_part *rest, int64_t now)
{
	uint8_t op = (uint8_t)fuzz_take(rest, 1);
	uint64_t count = fuzz_take(rest, op & 1 ? 4 : 1);
	struct sf_finding f = sf_detect_denied(d, op >> 4, op >> 1 & 7, count, now);

	PROPERTY(f.signal <= SF_SIGNAL_CROSSED);
	if (f.signal == SF_SIGNAL_CROSSED)
		PROPERTY(f.count >= d->limits.denied);
}

static void told(void *context, uint64_t cgroup, uint32_t uid, uint64_t swallowed)
{
	(void)context;
	(void)cgroup;
	(void)uid;
	PROPERTY(swallowed > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct sf_engine_hooks hooks = {
		.alarm = on_alarm, .baseline = baseline, .known = known};
	const struct sf_detect_limits windows = {10, 60, 3600};
	static struct sf_tally tallies[2 * WHO];
	static struct sf_detect detect;
	struct fuzz_part rest = {data, size};
	struct sf_engine_limits limits;
	struct sf_engine *engine;
	int64_t now = 1000, wall = 1700000000;

	if (!detect.site && sf_detect_init(&detect, &windows))
		return 0;
	memset(detect.site, 0, SF_DETECT_PLACES * sizeof(*detect.site));
	memset(detect.user, 0, SF_DETECT_PLACES * sizeof(*detect.user));
	memset(lasts, 0, sizeof(lasts));
	memset(tallies, 0, sizeof(tallies));
	sf_engine_limits_default(&limits);
	seed = (uint8_t)fuzz_take(&rest, 1);
	if (seed & 1)
		limits.cooldown = 5;
	if (sf_engine_new(8, &limits, &hooks, &engine))
		return 0;
	while (rest.size) {
		uint8_t op = (uint8_t)fuzz_take(&rest, 1), who = (uint8_t)fuzz_take(&rest, 1);
		struct sf_tally *t = &tallies[who % (2 * WHO)];

		t->who.kind = who % (2 * WHO) < WHO ? SF_WHO_SOURCE : SF_WHO_SENDER;
		t->who.key.word[0] = who % (2 * WHO) % WHO;
		t->class = op >> 4 & 7;
		switch (op & 15) {
		case 0:
			now += (int32_t)fuzz_take(&rest, 4); /* also back */
			break;
		case 1:
			now = (int64_t)fuzz_take(&rest, 8) / 4;
			break;
		case 2:
			wall = (int64_t)fuzz_take(&rest, 8) / 4;
			break;
		case 3:
			check_sketch(&rest, t);
			break;
		case 4:
			t->fenced = fuzz_take(&rest, 8);
			break;
		case 5:
			t->answered = fuzz_take(&rest, 8);
			t->refused = fuzz_take(&rest, 2);
			t->silent = fuzz_take(&rest, 2);
			break;
		case 6:
			t->window = t->hour = t->day = (uint32_t)fuzz_take(&rest, 2);
			t->warn = 15;
			t->act = 100;
			break;
		case 7:
			sf_engine_other_port(engine, t, (uint16_t)fuzz_take(&rest, 2), now);
			break;
		case 8:
			sf_engine_tick(engine, now);
			break;
		case 9:
			check_windows(&detect, &rest, now < 0 ? 0 : now);
			break;
		case 10:
			sf_detect_expire(&detect, now < 0 ? 0 : now, told, NULL);
			break;
		default:
			now += op >> 4;
			wall += op >> 4;
			t->fenced += op & 7;
			t->window += op & 7;
			t->hour = t->day = t->window;
			t->refused += (op & 7) / 2;
			t->distinct += op & 7;
		}
		sf_engine_look(engine, t, now, wall);
	}
	sf_engine_free(engine);
	return 0;
}
