// SPDX-License-Identifier: GPL-2.0-only
/*
 * The world of a replay: a clock that the trace drives, a census that counts its events, and the
 * engine that judges who changed.
 */
#include "replay_world.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cleanup.h"

#define IDLE_STEP 60	       /* seconds of a trace in which nothing happens */
#define IDLE_LAST (3LL * 3600) /* after so many everything is over */

void sf_replay_options_default(struct sf_replay_options *options)
{
	*options = (struct sf_replay_options){
		.ports = {25, 465, 587},
		.port_count = 3,
		.warn = 15,
		.act = 100,
		.senders = 65536,
	};
	sf_engine_limits_default(&options->limits);
}

struct sf_replay_totals *sf_replay_counts(struct sf_replay *r)
{
	return &r->totals;
}

static int is_learning(const struct sf_replay *r)
{
	return r->second < r->totals.first + r->options.learn;
}

static void usual(void *context, const struct sf_who *who, int64_t now,
		  struct sf_baseline *baseline)
{
	struct replay_entry *entry = *replay_entry_at(context, who);

	if (entry)
		sf_baseline_compute(entry->hours, entry->hour_count, entry->first, now, baseline);
}

static int was_known(void *context, const struct sf_who *who)
{
	struct sf_replay *r = context;
	struct replay_entry *entry = *replay_entry_at(r, who);

	/* Or in an earlier hour, and the engine had forgotten it. */
	return entry && (entry->first < r->totals.first + r->options.learn ||
			 r->second - entry->first > 3600);
}

/* Judging -------------------------------------------------------------------------------------- */

static struct sf_tally tally_of(const struct sf_replay *r, struct replay_entry *entry)
{
	const struct sf_census_count *c = &entry->count;
	struct sf_census_trail *t = &entry->trail;
	uint64_t now = r->now_ns, wall = now / NS;
	uint32_t half = sf_half_of(now), hour = (uint32_t)(wall / 3600),
		 fenced = (uint32_t)c->fenced;
	const struct sf_sketch *sketch[2] = {NULL, NULL};

	for (uint32_t i = 0; i < 2; i++)
		if (t->half[i] == half || t->half[i] == half - 1)
			sketch[i] = &t->sketch[i];
	return (struct sf_tally){
		.who = entry->who,
		.class = t->class,
		.warn = t->warn,
		.act = t->act,
		.syn = c->syn,
		.fenced = c->fenced,
		.retransmitted = c->retransmitted,
		.answered = c->answered,
		.refused = c->refused,
		.silent = c->silent,
		.untracked = c->untracked,
		.window = sf_trail_window(t, sf_slice_of(now), fenced),
		.hour = t->hour == hour ? fenced - t->hour_base : 0,
		.day = t->day == hour / 24 ? fenced - t->day_base : 0,
		.distinct = sf_sketch_estimate(sketch[0], sketch[1]),
		.first_seen = entry->first,
		.last_seen = entry->last,
	};
}

static void look(struct sf_replay *r, struct replay_entry *entry)
{
	struct sf_tally tally = tally_of(r, entry);
	int64_t now = (int64_t)(r->now_ns / NS);

	if (!is_learning(r))
		sf_engine_look(r->engine, &tally, now, now);
}

static void on_alarm(void *context, const struct sf_alarm *alarm)
{
	struct sf_replay *r = context;
	const struct replay_entry *entry = *replay_entry_at(r, &alarm->tally.who);
	char who[SF_REPLAY_WHO_MAX + 4 * SF_PATH_MAX];
	struct sf_replay_alarm a = {.alarm = alarm, .time = (int64_t)(r->now_ns / NS), .who = who};

	if (!entry)
		return;
	if (entry->who.kind == SF_WHO_SENDER) {
		a.uid = entry->uid;
		a.cgroup = entry->text;
		snprintf(who, sizeof(who), "uid=%u cgroup=\"%s\"", entry->uid, entry->text);
	} else {
		a.source = entry->text;
		a.cgroup = "";
		snprintf(who, sizeof(who), "source=%s", entry->text);
	}
	r->tell(r->context, &a);
}

/* Time ----------------------------------------------------------------------------------------- */

/* One look of the daemon: at everybody who changed. */
static void turn(struct sf_replay *r)
{
	struct replay_entry *entry;

	replay_attempts_expire(r);
	while ((entry = r->dirty)) {
		r->dirty = entry->next_dirty;
		entry->is_dirty = 0;
		look(r, entry);
		r->busy = r->second;
	}
	sf_engine_tick(r->engine, r->second);
}

/* A look each second as the daemon has it; through what is idle in longer steps. */
static void go_on(struct sf_replay *r, int64_t until)
{
	while (r->second < until) {
		int64_t left = until - r->second;

		if (r->dirty || r->judged < r->made)
			r->second++;
		else if (r->second - r->busy > IDLE_LAST)
			r->second = until;
		else
			r->second += left < IDLE_STEP ? left : IDLE_STEP;
		r->now_ns = (uint64_t)r->second * NS;
		turn(r);
	}
}

static void clock_to(struct sf_replay *r, uint64_t time_ns)
{
	if (!r->is_started) {
		r->is_started = 1;
		r->totals.first = r->second = r->busy = (int64_t)(time_ns / NS);
		r->now_ns = time_ns;
	}
	if (time_ns < r->now_ns)
		r->totals.late += r->now_ns - time_ns > NS / 10;
	go_on(r, (int64_t)(time_ns / NS));
	if (time_ns > r->now_ns)
		r->now_ns = time_ns;
	r->totals.last = (int64_t)(r->now_ns / NS);
}

/* Events --------------------------------------------------------------------------------------- */

static void count_syn(struct sf_replay *r, const struct sf_replay_event *e, int is_fenced)
{
	uint64_t hash = replay_attempt_hash(e), to[2];
	struct replay_entry *entry = replay_entry_of(r, e);
	uint32_t window = 0;

	r->totals.syn++;
	if (!entry) {
		r->totals.uncounted++;
		return;
	}
	entry->count.syn++;
	replay_mark(r, entry);
	if (!is_fenced)
		return;
	if (e->what == SF_REPLAY_REPEATED ||
	    (e->sport && replay_attempt_find(r, hash, e->seq, 1))) {
		entry->count.retransmitted++;
		return;
	}
	r->totals.fenced++;
	entry->count.fenced++;
	replay_remember(entry, (int64_t)(r->now_ns / NS));
	replay_attempt_begin(r, e, hash, entry);
	memcpy(to, &e->destination, sizeof(to));
	if (sf_trail_count(&entry->trail, (uint32_t)entry->count.fenced, r->now_ns, r->now_ns / NS,
			   sf_hash(0x5eed, to[0], to[1]), &window))
		look(r, entry);
}

static void count_answer(struct sf_replay *r, const struct sf_replay_event *e)
{
	struct replay_attempt *a =
		replay_attempt_find(r, replay_attempt_hash(e), e->seq, e->sport != 0);

	if (!a || a->state != SF_ATTEMPT_WAITING)
		return;
	a->state = e->what == SF_REPLAY_ANSWERED ? SF_ATTEMPT_ANSWERED : SF_ATTEMPT_REFUSED;
	if (e->what == SF_REPLAY_ANSWERED)
		a->entry->count.answered++;
	else
		a->entry->count.refused++;
	replay_mark(r, a->entry);
}

void sf_replay_event(struct sf_replay *r, const struct sf_replay_event *e)
{
	int is_fenced = 0;

	r->totals.records++;
	clock_to(r, e->time_ns);
	for (size_t i = 0; i < r->options.port_count; i++)
		is_fenced |= r->options.ports[i] == e->dport;
	if (e->what == SF_REPLAY_SYN || e->what == SF_REPLAY_REPEATED)
		count_syn(r, e, is_fenced);
	else if (is_fenced)
		count_answer(r, e);
}

/* Life ----------------------------------------------------------------------------------------- */

int sf_replay_new(const struct sf_replay_options *options, sf_replay_fn tell, void *context,
		  struct sf_replay **replay)
{
	_cleanup_free_ struct sf_replay *r = calloc(1, sizeof(*r));
	struct sf_engine_hooks hooks = {
		.context = r, .alarm = on_alarm, .baseline = usual, .known = was_known};
	int ret;

	if (!r)
		return -ENOMEM;
	r->options = *options;
	r->tell = tell;
	r->context = context;
	ret = sf_engine_new(options->senders, &options->limits, &hooks, &r->engine);
	if (ret)
		return ret;
	*replay = r;
	r = NULL;
	return 0;
}

void sf_replay_free(struct sf_replay *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < REPLAY_BUCKETS; i++) {
		struct replay_entry *entry = r->bucket[i], *next;

		for (; entry; entry = next) {
			next = entry->next;
			replay_entry_free(entry);
		}
	}
	sf_engine_free(r->engine);
	free(r);
}

void sf_replay_end(struct sf_replay *r, struct sf_replay_totals *totals)
{
	if (r->is_started)
		go_on(r, r->second + (int64_t)(SF_SILENCE_NS / NS) + 2);
	sf_engine_losses(r->engine, &r->totals.forgotten);
	*totals = r->totals;
}

int sf_replay_file(struct sf_replay *r, const char *path, struct sf_error *err)
{
	static const uint32_t magics[] = {0xa1b2c3d4, 0xd4c3b2a1, 0xa1b23c4d, 0x4d3cb2a1,
					  0x0a0d0d0a};
	_cleanup_fclose_ FILE *in = NULL;
	uint32_t magic = 0;

	if (!strcmp(path, "-"))
		return sf_replay_csv(r, path, err);
	in = fopen(path, "re");
	if (!in)
		return sf_fail(err, -errno, "can't read %s: %s", path, strerror(errno));
	if (fread(&magic, sizeof(magic), 1, in) == 1)
		for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
			if (magic == magics[i])
				return sf_replay_pcap(r, path, err);
	return sf_replay_csv(r, path, err);
}
