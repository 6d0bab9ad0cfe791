// SPDX-License-Identifier: GPL-2.0-only
/*
 * The world of a replay: a census in memory, attempts that wait for their answers, the history of
 * the trace itself, and a clock that the trace drives.
 */
#include "replay.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../bpf/lib/census.h"
#include "cleanup.h"
#include "detect/baseline.h"
#include "escape.h"
#include "net.h"

#define NS	      1000000000ULL
#define ENTRIES_MAX   1000000
#define ENTRY_BUCKETS (1u << 16)
#define ATTEMPTS      (1u << 18)
#define ATTEMPT_TRIES 64	 /* of one chain: a hostile trace may fill it */
#define REPEAT_NS     (130 * NS) /* a SYN is repeated for so long */
#define HOURS_MAX     (SF_BASELINE_DAYS * 24 + 24)
#define IDLE_STEP     60	 /* seconds of a trace in which nothing happens */
#define IDLE_LAST     (3 * 3600) /* after so many everything is over */
#define NONE	      UINT32_MAX

struct entry {
	struct sf_who who;
	struct sf_census_count count;
	struct sf_census_trail trail;
	int64_t first, last; /* seconds since 1970 */
	struct entry *next;  /* same bucket */
	struct entry *next_dirty;
	int is_dirty;
	uint32_t uid;
	char *text; /* address, or cgroup: escaped */
	struct sf_baseline_hour *hours;
	size_t hour_count, hour_room;
};

struct attempt {
	uint64_t hash;
	uint64_t time_ns;
	uint64_t older; /* number of the one before in the chain, plus one; 0: none */
	struct entry *entry;
	uint32_t seq;
	uint32_t state; /* enum sf_attempt_state */
};

struct sf_replay {
	struct sf_replay_options options;
	struct sf_replay_totals totals;
	struct sf_engine *engine;
	sf_replay_fn tell;
	void *context;
	struct entry *bucket[ENTRY_BUCKETS];
	struct entry *dirty;
	struct attempt attempt[ATTEMPTS]; /* number n lies at n % ATTEMPTS */
	uint64_t chain[ATTEMPTS];	  /* newest number plus one */
	uint64_t made, judged, gone;	  /* numbers: the next; all before are judged; are gone */
	uint64_t now_ns;
	int64_t second; /* up to which the engine has seen the trace */
	int64_t busy;	/* when something last happened */
	int is_started;
};

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

/* Entries -------------------------------------------------------------------------------------- */

static struct entry **entry_at(struct sf_replay *r, const struct sf_who *who)
{
	uint64_t hash = sf_hash(who->kind, who->key.word[0], who->key.word[1]);
	struct entry **at = &r->bucket[hash % ENTRY_BUCKETS];

	while (*at && ((*at)->who.kind != who->kind ||
		       memcmp(&(*at)->who.key, &who->key, sizeof(who->key)) != 0))
		at = &(*at)->next;
	return at;
}

static int is_v4(const struct sf_addr *addr)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return !memcmp(addr->b, mapped, sizeof(mapped));
}

static int in_cgroup(const char *cgroup, const char *top)
{
	size_t n = strlen(top);

	while (n && top[n - 1] == '/')
		n--;
	return !strncmp(cgroup, top, n) && (!cgroup[n] || cgroup[n] == '/');
}

static int is_mail(const struct sf_replay *r, const struct sf_replay_event *e)
{
	struct sf_net_key net = {.prefixlen = SF_NET_BITS_MAX, .addr = e->source};

	if (e->has_sender) {
		for (size_t i = 0; i < r->options.mail_cgroup_count; i++)
			if (in_cgroup(e->cgroup, r->options.mail_cgroups[i]))
				return 1;
		return 0;
	}
	net.family = is_v4(&e->source) ? SF_FAMILY_V4 : SF_FAMILY_V6;
	for (size_t i = 0; i < r->options.mail_count; i++)
		if (sf_net_covers(&r->options.mail[i], &net))
			return 1;
	return 0;
}

/* A local sender by cgroup and uid, anyone else by address; IPv6 counts per /64. */
static struct sf_who who_of(const struct sf_replay_event *e)
{
	struct sf_who who = {.kind = e->has_sender ? SF_WHO_SENDER : SF_WHO_SOURCE};

	if (e->has_sender) {
		uint64_t id = 0;

		for (const char *c = e->cgroup; *c; c++)
			id = sf_hash(7, id, (uint8_t)*c);
		who.key.word[0] = id;
		who.key.word[1] = e->uid;
		return who;
	}
	memcpy(who.key.word, &e->source, sizeof(who.key.word));
	if (!is_v4(&e->source))
		who.key.word[1] = 0;
	return who;
}

static char *text_of(const struct sf_replay_event *e, const struct sf_who *who)
{
	char text[INET6_ADDRSTRLEN + 4], cgroup[4 * SF_PATH_MAX];
	struct sf_addr addr;

	if (e->has_sender) {
		sf_escape_string(e->cgroup, cgroup, sizeof(cgroup));
		return strdup(cgroup);
	}
	memcpy(&addr, who->key.word, sizeof(addr));
	if (is_v4(&addr)) {
		inet_ntop(AF_INET, addr.b + 12, text, sizeof(text));
	} else {
		inet_ntop(AF_INET6, addr.b, text, sizeof(text));
		strcat(text, "/64");
	}
	return strdup(text);
}

static void entry_free(struct entry *entry)
{
	if (!entry)
		return;
	free(entry->text);
	free(entry->hours);
	free(entry);
}

static struct entry *entry_of(struct sf_replay *r, const struct sf_replay_event *e)
{
	struct sf_who who = who_of(e);
	struct entry **at = entry_at(r, &who), *entry = *at;

	if (entry)
		return entry;
	if (r->totals.senders >= ENTRIES_MAX)
		return NULL;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return NULL;
	entry->text = text_of(e, &who);
	if (!entry->text) {
		entry_free(entry);
		return NULL;
	}
	entry->who = who;
	entry->uid = e->uid;
	entry->count.key = who.key;
	entry->count.first = (uint32_t)(r->now_ns >> SF_TICK_SHIFT);
	entry->first = (int64_t)(r->now_ns / NS);
	sf_trail_begin(&entry->trail, sf_slice_of(r->now_ns));
	if (is_mail(r, e)) {
		entry->trail.class = SF_CLASS_MAIL;
	} else {
		entry->trail.class = e->has_sender ? SF_CLASS_USER : SF_CLASS_UNKNOWN;
		entry->trail.warn = r->options.warn;
		entry->trail.act = r->options.act;
	}
	*at = entry;
	r->totals.senders++;
	return entry;
}

static void mark(struct sf_replay *r, struct entry *entry)
{
	entry->last = (int64_t)(r->now_ns / NS);
	if (entry->is_dirty)
		return;
	entry->is_dirty = 1;
	entry->next_dirty = r->dirty;
	r->dirty = entry;
}

/* History -------------------------------------------------------------------------------------- */

static void remember(struct entry *entry, int64_t second)
{
	int64_t hour = second - second % 3600;
	struct sf_baseline_hour *hours;

	if (entry->hour_count && entry->hours[entry->hour_count - 1].hour == hour) {
		entry->hours[entry->hour_count - 1].fenced++;
		return;
	}
	if (entry->hour_count == HOURS_MAX) {
		memmove(entry->hours, entry->hours + 1, (HOURS_MAX - 1) * sizeof(*entry->hours));
		entry->hour_count--;
	}
	if (entry->hour_count == entry->hour_room) {
		size_t room = entry->hour_room ? 2 * entry->hour_room : 4;

		hours = realloc(entry->hours, room * sizeof(*hours));
		if (!hours)
			return; /* an hour less of history */
		entry->hours = hours;
		entry->hour_room = room;
	}
	entry->hours[entry->hour_count++] = (struct sf_baseline_hour){.hour = hour, .fenced = 1};
}

static int is_learning(const struct sf_replay *r)
{
	return r->second < r->totals.first + r->options.learn;
}

static void usual(void *context, const struct sf_who *who, int64_t now,
		  struct sf_baseline *baseline)
{
	struct entry *entry = *entry_at(context, who);

	if (entry)
		sf_baseline_compute(entry->hours, entry->hour_count, entry->first, now, baseline);
}

static int was_known(void *context, const struct sf_who *who)
{
	struct sf_replay *r = context;
	struct entry *entry = *entry_at(r, who);

	/* Or in an earlier hour, and the engine had forgotten it. */
	return entry && (entry->first < r->totals.first + r->options.learn ||
			 r->second - entry->first > 3600);
}

/* Judging -------------------------------------------------------------------------------------- */

static struct sf_tally tally_of(const struct sf_replay *r, struct entry *entry)
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

static void look(struct sf_replay *r, struct entry *entry)
{
	struct sf_tally tally = tally_of(r, entry);
	int64_t now = (int64_t)(r->now_ns / NS);

	if (!is_learning(r))
		sf_engine_look(r->engine, &tally, now, now);
}

static void on_alarm(void *context, const struct sf_alarm *alarm)
{
	struct sf_replay *r = context;
	const struct entry *entry = *entry_at(r, &alarm->tally.who);
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

/* Attempts ------------------------------------------------------------------------------------- */

static struct attempt *attempt_at(struct sf_replay *r, uint64_t number)
{
	return &r->attempt[number % ATTEMPTS];
}

static uint64_t attempt_hash(const struct sf_replay_event *e)
{
	uint64_t w[4];

	memcpy(w, &e->source, 16);
	memcpy(w + 2, &e->destination, 16);
	return sf_hash(sf_hash((uint64_t)e->sport << 16 | e->dport, w[0], w[1]), w[2],
		       w[3] ^ (e->has_sender ? (uint64_t)e->uid << 1 | 1 : 0));
}

/*
 * Of the chain, the one with this sequence number; where the trace has no ports (CSV), the oldest
 * that waits.
 */
static struct attempt *attempt_find(struct sf_replay *r, uint64_t hash, uint32_t seq, int has_ports)
{
	uint64_t number = r->chain[hash % ATTEMPTS];
	struct attempt *found = NULL;

	for (int i = 0; i < ATTEMPT_TRIES && number > r->gone; i++) {
		struct attempt *a = attempt_at(r, number - 1);

		/* An acknowledgment counts the data that the SYN carried. */
		if (a->hash == hash && has_ports && seq - a->seq <= 0xffff)
			return a;
		if (a->hash == hash && !has_ports && a->state == SF_ATTEMPT_WAITING)
			found = a;
		number = a->older;
	}
	return found;
}

static void attempt_judge(struct sf_replay *r, struct attempt *a, int is_in_time)
{
	if (a->state != SF_ATTEMPT_WAITING)
		return;
	a->state = SF_ATTEMPT_SILENT;
	if (is_in_time)
		a->entry->count.untracked++;
	else
		a->entry->count.silent++;
	mark(r, a->entry);
}

static void attempt_begin(struct sf_replay *r, const struct sf_replay_event *e, uint64_t hash,
			  struct entry *entry)
{
	uint64_t *chain = &r->chain[hash % ATTEMPTS];

	if (r->made - r->gone == ATTEMPTS) {
		if (r->judged == r->gone)
			attempt_judge(r, attempt_at(r, r->judged++), 1);
		r->gone++;
	}
	*attempt_at(r, r->made) = (struct attempt){
		.hash = hash,
		.time_ns = r->now_ns,
		.older = *chain,
		.entry = entry,
		.seq = e->seq,
		.state = SF_ATTEMPT_WAITING,
	};
	*chain = ++r->made;
}

static void attempts_expire(struct sf_replay *r)
{
	while (r->judged < r->made) {
		struct attempt *a = attempt_at(r, r->judged);

		if (a->time_ns + SF_SILENCE_NS > r->now_ns)
			break;
		attempt_judge(r, a, 0);
		r->judged++;
	}
	while (r->gone < r->judged && attempt_at(r, r->gone)->time_ns + REPEAT_NS <= r->now_ns)
		r->gone++;
}

/* Time ----------------------------------------------------------------------------------------- */

/* One look of the daemon: at everybody who changed. */
static void turn(struct sf_replay *r)
{
	struct entry *entry;

	attempts_expire(r);
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
	uint64_t hash = attempt_hash(e), to[2];
	struct entry *entry = entry_of(r, e);
	uint32_t window = 0;

	r->totals.syn++;
	if (!entry) {
		r->totals.uncounted++;
		return;
	}
	entry->count.syn++;
	mark(r, entry);
	if (!is_fenced)
		return;
	if (e->what == SF_REPLAY_REPEATED || (e->sport && attempt_find(r, hash, e->seq, 1))) {
		entry->count.retransmitted++;
		return;
	}
	r->totals.fenced++;
	entry->count.fenced++;
	remember(entry, (int64_t)(r->now_ns / NS));
	attempt_begin(r, e, hash, entry);
	memcpy(to, &e->destination, sizeof(to));
	if (sf_trail_count(&entry->trail, (uint32_t)entry->count.fenced, r->now_ns, r->now_ns / NS,
			   sf_hash(0x5eed, to[0], to[1]), &window))
		look(r, entry);
}

static void count_answer(struct sf_replay *r, const struct sf_replay_event *e)
{
	struct attempt *a = attempt_find(r, attempt_hash(e), e->seq, e->sport != 0);

	if (!a || a->state != SF_ATTEMPT_WAITING)
		return;
	a->state = e->what == SF_REPLAY_ANSWERED ? SF_ATTEMPT_ANSWERED : SF_ATTEMPT_REFUSED;
	if (e->what == SF_REPLAY_ANSWERED)
		a->entry->count.answered++;
	else
		a->entry->count.refused++;
	mark(r, a->entry);
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
	for (size_t i = 0; i < ENTRY_BUCKETS; i++) {
		struct entry *entry = r->bucket[i], *next;

		for (; entry; entry = next) {
			next = entry->next;
			entry_free(entry);
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
