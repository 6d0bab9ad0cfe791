// SPDX-License-Identifier: GPL-2.0-only
/*
 * Crossed limits come from the kernel at their moment, by a ring; all else is seen at the next look
 * at the tables, once a second while somebody sends.
 */
#include "watch.h"
#include "../cgroup.h"
#include "../cleanup.h"
#include "../status.h"
#include "../../maps/census.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SETTLE_SECONDS	   5
#define ACTIVE_SECONDS	   90 /* after the last SYN: answers and silence still come */
#define QUIET_SECONDS	   10 /* between looks while nobody sends */
#define TELL_AGAIN_SECONDS 300
#define EARLIER_SECONDS	   120 /* what lasts is found again by then; the rest is over */

void watch_name(struct daemon *d, const struct sf_who *who, char *out, size_t size)
{
	if (who->kind == SF_WHO_SOURCE)
		sf_census_source_text(&who->key, &d->census->now->settings, out, size);
	else
		sf_census_sender_text(&who->key, d->mount, out, size);
}

/* Crossed limits ------------------------------------------------------------------------------- */

static int64_t seconds_of(const struct sf_census *census)
{
	return (int64_t)(census->now_ns / 1000000000ULL);
}

static int on_crossing(void *context, void *data, size_t size)
{
	struct daemon *d = context;
	struct census_watch *c = d->census;
	const struct sf_crossing *e = data;
	struct sf_tally tally;
	struct sf_who who = {.kind = SF_WHO_SOURCE};

	if (size < sizeof(*e) || e->abi != SF_ABI_VERSION || !c->now)
		return 0;
	if (e->kind == SF_CROSSING_GUARD || e->kind == SF_CROSSING_CUSTOMER) {
		inbound_denied(d, e);
		return 0;
	}
	who.key = e->key;
	if (e->kind == SF_CROSSING_SENDER ||
	    (e->kind == SF_CROSSING_GREETING && (e->key.word[0] || e->key.word[1])))
		who.kind = SF_WHO_SENDER;
	if (e->kind == SF_CROSSING_GREETING && who.kind == SF_WHO_SOURCE) {
		memcpy(&who.key, &e->saddr, sizeof(who.key));
		if (memcmp(&e->saddr, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12)) {
			who.key.word[0] &= c->now->settings.v6_mask[0];
			who.key.word[1] &= c->now->settings.v6_mask[1];
		}
	}
	if (sf_census_find(c->now, &who, &tally)) {
		/* It gave way since: the event itself says enough. */
		memset(&tally, 0, sizeof(tally));
		tally.who = who;
		tally.class = e->class < SF_CLASS_COUNT ? e->class : SF_CLASS_UNKNOWN;
		tally.window = e->window;
		tally.fenced = e->window;
		tally.ifindex = e->ifindex;
		tally.first_seen = tally.last_seen = c->now->wall;
		if (e->level)
			*(e->level == 2 ? &tally.act : &tally.warn) = e->limit;
	}
	if (e->kind == SF_CROSSING_GREETING)
		sf_engine_other_port(c->engine, &tally, e->dport, seconds_of(c->now));
	else
		sf_engine_look(c->engine, &tally, seconds_of(c->now), c->now->wall);
	return 0;
}

/* Open the tables for as long as `work` takes. Nothing happens where no census runs. */
void watch_with_census(struct daemon *d, void (*work)(struct daemon *d))
{
	struct census_watch *c = d->census;
	struct sf_census census;

	if (sf_census_open(d->policy.pin_dir, &census, NULL))
		return;
	c->now = &census;
	work(d);
	alarms_commit(d);
	c->now = NULL;
	sf_census_close(&census);
}

static void consume(struct daemon *d)
{
	ring_buffer__consume(d->census->ring);
}

/* What was lost before we came is not ours to tell: the tables are read whole. */
static void begin(struct daemon *d)
{
	struct census_watch *c = d->census;

	sf_census_counters(d->policy.pin_dir, c->counted);
	c->counter[SF_CENSUS_CROSSINGS_LOST] = c->counted[SF_CENSUS_CROSSINGS_LOST];
	consume(d);
}

static int on_ring(sd_event_source *source, int fd, uint32_t events, void *context)
{
	(void)source;
	(void)fd;
	(void)events;
	watch_with_census(context, consume);
	return 0;
}

/* Looks ---------------------------------------------------------------------------------------- */

static int look_at(void *context, const struct sf_tally *tally)
{
	struct daemon *d = context;
	struct census_watch *c = d->census;

	sf_engine_look(c->engine, tally, seconds_of(c->now), c->now->wall);
	return 0;
}

/* What found no room: told at once when there is more of it, then rarely, with all since. */
static void tell_losses(struct daemon *d)
{
	static const enum sf_census_counter of[FULL_COUNT] = {
		[FULL_SOURCES] = SF_CENSUS_FORGOTTEN_SOURCES,
		[FULL_SENDERS] = SF_CENSUS_FORGOTTEN_SENDERS,
		[FULL_UNCOUNTED] = SF_CENSUS_UNCOUNTED,
	};
	int64_t now = daemon_now();

	for (int i = 0; i < FULL_COUNT; i++) {
		struct full *full = &d->census->full[i];
		uint64_t total = d->census->counted[of[i]], more = total - full->told;

		if (total <= full->told || (full->when && now - full->when < TELL_AGAIN_SECONDS))
			continue;
		full->told = total;
		full->when = now;
		if (i == FULL_UNCOUNTED)
			daemon_alert(d, LOG_WARNING, "uncounted",
				     "count=%llu total=%llu text=\"times that a source or sender "
				     "found no place in a crowd: its SYN is in no row\"",
				     (unsigned long long)more, (unsigned long long)total);
		else
			daemon_alert(d, LOG_NOTICE,
				     i == FULL_SOURCES ? "sources_full" : "senders_full",
				     "count=%llu total=%llu text=\"more than %s: those not seen "
				     "for longest gave way\"",
				     (unsigned long long)more, (unsigned long long)total,
				     i == FULL_SOURCES ? "max_sources" : "max_senders");
	}
}

/* What is over is cleared; a crossed limit that was not waked for is taken. */
static void tick(struct daemon *d)
{
	tell_losses(d);
	consume(d);
	sf_engine_tick(d->census->engine, seconds_of(d->census->now));
}

/* Nobody sends: what may be over now and then. */
static void quiet(struct daemon *d)
{
	sf_census_counters(d->policy.pin_dir, d->census->counted);
	tick(d);
}

static void look(struct daemon *d)
{
	struct census_watch *c = d->census;
	int64_t now = daemon_now();
	uint64_t since = c->last_look_ns;

	/* Before the tables: what comes meanwhile makes another look. */
	sf_census_counters(d->policy.pin_dir, c->counted);
	/* Answers and silence do not make an entry "seen": look back as far as they come from. */
	if (now >= c->next_settle) {
		c->next_settle = now + SETTLE_SECONDS;
		sf_census_settle(d->policy.pin_dir, c->now);
		since = since > ACTIVE_SECONDS * 1000000000ULL
				? since - ACTIVE_SECONDS * 1000000000ULL
				: 0;
	}
	sf_census_sources(c->now, since, look_at, d);
	sf_census_senders(c->now, since, look_at, d);
	/* A jiffy is the kernel's grain: what came within it may come again. */
	c->last_look_ns = c->now->now_ns - 100000000ULL;
	if (c->counted[SF_CENSUS_SYN] != c->counter[SF_CENSUS_SYN])
		c->last_syn = now;
	if (c->counted[SF_CENSUS_CROSSINGS_LOST] > c->counter[SF_CENSUS_CROSSINGS_LOST])
		daemon_alert(d, LOG_WARNING, "crossings_lost",
			     "count=%llu text=\"the ring was full; the tables were read instead\"",
			     (unsigned long long)(c->counted[SF_CENSUS_CROSSINGS_LOST] -
						  c->counter[SF_CENSUS_CROSSINGS_LOST]));
	memcpy(c->counter, c->counted, sizeof(c->counter));
	tick(d);
}

/* Life ----------------------------------------------------------------------------------------- */

static struct sf_engine_limits limits_of(const struct sf_policy *policy)
{
	struct sf_engine_limits limits;

	sf_engine_limits_default(&limits);
	limits.hour_warn = policy->alert_hour.warn;
	limits.hour_act = policy->alert_hour.act;
	limits.distinct = (uint32_t)policy->alert_distinct;
	limits.cooldown = (uint32_t)policy->alert_cooldown;
	return limits;
}

static void close_ring(struct census_watch *c)
{
	c->ring_source = sd_event_source_disable_unref(c->ring_source);
	if (c->ring)
		ring_buffer__free(c->ring);
	c->ring = NULL;
	c->ring_map_id = 0;
}

void census_reopen(struct daemon *d)
{
	struct census_watch *c = d->census;
	_cleanup_close_ int fd = sf_pin_open(d->policy.pin_dir, "maps", "crossings");
	struct sf_engine_limits limits;
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	if (!c)
		return;
	limits = limits_of(&d->policy);
	sf_engine_limit(c->engine, &limits);
	if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len))
		info.id = 0;
	if (info.id == c->ring_map_id)
		return;
	close_ring(c);
	memset(c->counter, 0, sizeof(c->counter));
	memset(c->full, 0, sizeof(c->full));
	c->flushed_ns = 0; /* other tables */
	if (fd < 0 || !info.id)
		return;
	c->ring = ring_buffer__new(fd, on_crossing, d, NULL);
	if (!c->ring)
		return;
	c->ring_map_id = info.id;
	sd_event_add_io(d->loop, &c->ring_source, ring_buffer__epoll_fd(c->ring), EPOLLIN, on_ring,
			d);
	watch_with_census(d, begin);
}

void census_tick(struct daemon *d)
{
	struct census_watch *c = d->census;
	int64_t now = daemon_now();
	_cleanup_close_ int fd = -1;

	if (!c)
		return;
	chronicle_tick(d);
	if (!c->ring)
		return;
	/* Nobody sends: one counter a second is all that is read. */
	fd = sf_pin_open(d->policy.pin_dir, "maps", "census_counters");
	if (fd >= 0 && (sf_counter_read(fd, SF_CENSUS_SYN) != c->counter[SF_CENSUS_SYN] ||
			now - c->last_syn <= ACTIVE_SECONDS))
		watch_with_census(d, look);
	else if (now >= c->next_quiet) {
		c->next_quiet = now + QUIET_SECONDS;
		watch_with_census(d, quiet);
	}
	if (c->ending && now - c->started > EARLIER_SECONDS) {
		alarms_free_earlier(c);
		c->ending = alarms_end_unheld(d);
	}
}

static void say(void *context, int severity, const char *rule, const char *text)
{
	daemon_alert(context, severity, rule, "%s", text);
}

int census_start(struct daemon *d)
{
	const struct sf_actions_hooks actions = {.context = d, .say = say};
	const struct sf_engine_hooks hooks = {.context = d,
					      .alarm = alarms_take,
					      .baseline = alarms_baseline,
					      .known = alarms_is_known,
					      .earlier = alarms_earlier};
	struct sf_engine_limits limits = limits_of(&d->policy);
	struct census_watch *c = calloc(1, sizeof(*c));
	int ret;

	if (!c)
		return -ENOMEM;
	d->census = c;
	c->raised = calloc(RAISED_MAX, sizeof(*c->raised));
	ret = c->raised
		      ? sf_engine_new((size_t)d->policy.max_sources + (size_t)d->policy.max_senders,
				      &limits, &hooks, &c->engine)
		      : -ENOMEM;
	if (!ret)
		ret = sf_actions_new(d->loop, &d->policy, d->config_file, &actions, &c->actions);
	if (ret)
		return ret;
	c->started = daemon_now();
	c->ending = 1;
	c->gathered_from = INT64_MAX;
	chronicle_open(d);
	census_reopen(d);
	return 0;
}

void census_stop(struct daemon *d)
{
	struct census_watch *c = d->census;

	if (!c)
		return;
	if (c->ring)
		chronicle_flush(d);
	close_ring(c);
	sf_actions_free(c->actions);
	chronicle_close(d);
	sf_engine_free(c->engine);
	free(c->raised);
	alarms_free_earlier(c);
	free(c);
	d->census = NULL;
}
