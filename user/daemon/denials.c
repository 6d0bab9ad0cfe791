// SPDX-License-Identifier: GPL-2.0-only
/*
 * ring -> explain -> record -> detect -> alert. Counts come from the kernel's table of senders,
 * which loses none; events are rate limited and give the names.
 */
#include "daemon.h"
#include "../cgroup.h"
#include "../cleanup.h"
#include "../escape.h"
#include "../status.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#define LINES_PER_SLICE	 50  /* of first notices, */
#define ALERTS_PER_SLICE 200 /* and with them of crossed limits; the rest is summed up */
#define SLICE_SECONDS	 10
#define DRAIN_AGAIN_US	 15000 /* events that came without a wake-up are read after this */

/* How the sender looks in a line. Texts are escaped already; quotes divide them from each
   other. */
static void describe(const struct sf_explained *e, char *out, size_t size)
{
	char uid[16];

	snprintf(uid, sizeof(uid), "%lld", e->uid == SF_UID_KERNEL ? -1LL : (long long)e->uid);
	snprintf(out, size,
		 "user=\"%s\" uid=%s cgroup=\"%s\" unit=\"%s\" container=\"%s\" pid=%u comm=\"%s\" "
		 "exe=\"%s\" cwd=\"%s\" cmdline=\"%s\" daddr=%s dport=%u reason=%s verdict=%s "
		 "via=%s",
		 e->user, uid, e->cgroup, e->unit, e->container, e->pid, e->comm, e->exe, e->cwd,
		 e->cmdline, e->daddr, e->dport,
		 e->reason < SF_REASON_COUNT ? sf_reason_names[e->reason] : "-",
		 sf_verdict_names[e->verdict], e->is_packet ? "packet" : "connect");
}

static void name_cgroup(const struct daemon *d, uint64_t id, char *out, size_t size)
{
	if (sf_cgroup_path(d->mount, id, out, size))
		snprintf(out, size, "#%llu (gone)", (unsigned long long)id);
}

/* A sender that was counted but sent no event of its own: what the table knows. */
static void describe_by_table(struct daemon *d, const struct sf_denial_key *key,
			      const struct sf_denial *denial, struct sf_explained *out)
{
	char path[SF_TEXT_MAX];

	memset(out, 0, sizeof(*out));
	out->uid = key->uid;
	out->cgroup_id = key->cgroup;
	out->dport = (uint16_t)denial->last_port;
	out->verdict = denial->denied ? SF_VERDICT_DENIED : SF_VERDICT_WOULD_DENY;
	out->reason = SF_REASON_COUNT; /* the table does not keep it */
	snprintf(out->daddr, sizeof(out->daddr), "-");
	sf_explain_user(key->uid, out->user, sizeof(out->user));
	name_cgroup(d, key->cgroup, path, sizeof(path));
	sf_escape_string(path, out->cgroup, sizeof(out->cgroup));
}

/* A storm of senders gives a bounded number of first notices, and their count. */
static void turn_slice(struct daemon *d, int64_t now)
{
	if (now / SLICE_SECONDS != d->line_budget_slice) {
		if (d->lines_swallowed)
			daemon_alert(d, LOG_NOTICE, "storm",
				     "count=%llu denied=%llu window=%ds text=\"lines "
				     "about further senders that are not listed one by one\"",
				     (unsigned long long)d->lines_swallowed,
				     (unsigned long long)d->denials_swallowed, SLICE_SECONDS);
		if (d->detect.untold)
			daemon_alert(
				d, LOG_NOTICE, "denied_summary",
				"user=\"\" uid=- count=%llu text=\"of senders that gave way to "
				"others in the table\"",
				(unsigned long long)d->detect.untold);
		d->detect.untold = 0;
		d->lines_swallowed = d->denials_swallowed = 0;
		d->line_budget_used = 0;
		d->line_budget_slice = now / SLICE_SECONDS;
	}
}

int denials_line_allowed(struct daemon *d, int is_alert)
{
	turn_slice(d, daemon_now());
	if (d->line_budget_used < (is_alert ? ALERTS_PER_SLICE : LINES_PER_SLICE)) {
		d->line_budget_used++;
		return 1;
	}
	d->lines_swallowed++;
	return 0;
}

static void judge(struct daemon *d, const struct sf_explained *e, uint64_t count, int64_t now)
{
	struct sf_finding f = sf_detect_denied(&d->detect, e->cgroup_id, e->uid, count, now);
	int severity = f.signal == SF_SIGNAL_CROSSED ? LOG_WARNING : LOG_NOTICE;
	const char *rule = f.signal == SF_SIGNAL_CROSSED ? "denied" : "attempt";
	char who[6 * SF_TEXT_MAX];

	if (f.signal == SF_SIGNAL_NONE)
		return;
	/* Uids and cgroups are the sender's to choose, where he has many: all lines are bounded. */
	if (!denials_line_allowed(d, f.signal == SF_SIGNAL_CROSSED)) {
		d->denials_swallowed += f.swallowed + count;
		return;
	}
	describe(e, who, sizeof(who));
	daemon_alert(d, severity, rule, "%s count=%llu window=%us swallowed=%llu", who,
		     (unsigned long long)f.count, d->detect.limits.window,
		     (unsigned long long)f.swallowed);
	told_note(d, e->cgroup_id, e->uid, severity, rule, f.count);
}

/* What the table counted for this sender since it was last looked at. */
static uint64_t take_delta(struct daemon *d, const struct sf_denial_key *key,
			   const struct sf_denial *now)
{
	struct sf_denial *before = sf_table_find(&d->seen, key);
	uint64_t total = now->denied + now->would_deny, delta;

	if (before) {
		uint64_t old = before->denied + before->would_deny;

		/* The entry gave way and was made anew meanwhile: it counts from zero. */
		delta = total >= old && now->first_ns == before->first_ns ? total - old : total;
		*before = *now;
		return delta;
	}
	if (!sf_table_add(&d->seen, key, now))
		sf_table_sort(&d->seen);
	return total;
}

static int on_event(void *context, void *data, size_t size)
{
	struct daemon *d = context;
	struct sf_explained e;
	struct sf_denial_key key = {.cgroup = 0};
	struct sf_denial denial;
	uint64_t count = 1;

	if (sf_explain(data, size, d->mount, &e))
		return 0;
	d->events_in_round++;
	sf_record_write(&d->record, &e);
	key.cgroup = e.cgroup_id;
	key.uid = e.uid;
	/* What waited in the ring for a daemon is in the table's old counts: one by one, then. */
	if (!d->catching_up && d->denials_fd >= 0 &&
	    !bpf_map_lookup_elem(d->denials_fd, &key, &denial))
		count = take_delta(d, &key, &denial);
	/* 0: an event before this one took the count of both, and was judged with it. */
	if (count)
		judge(d, &e, count, e.boot_seconds);
	return 0;
}

static int on_drain_timer(sd_event_source *source, uint64_t usec, void *context)
{
	struct daemon *d = context;

	(void)source;
	(void)usec;
	denials_drain(d);
	return 0;
}

void denials_drain(struct daemon *d)
{
	if (!d->ring)
		return;
	d->events_in_round = 0;
	ring_buffer__consume(d->ring);
	/* The programs wake us at most once in 10 ms: look again while events come. */
	if (d->events_in_round) {
		sd_event_source_set_time_relative(d->drain_timer, DRAIN_AGAIN_US);
		sd_event_source_set_enabled(d->drain_timer, SD_EVENT_ONESHOT);
	}
}

static int on_ring(sd_event_source *source, int fd, uint32_t events, void *context)
{
	(void)source;
	(void)fd;
	(void)events;
	denials_drain(context);
	return 0;
}

static void close_ring(struct daemon *d)
{
	d->ring_source = sd_event_source_disable_unref(d->ring_source);
	if (d->ring)
		ring_buffer__free(d->ring);
	d->ring = NULL;
	d->ring_map_id = 0;
	if (d->denials_fd >= 0)
		close(d->denials_fd);
	d->denials_fd = -1;
	sf_table_free(&d->seen);
	sf_table_init(&d->seen, sizeof(struct sf_denial_key), sizeof(struct sf_denial));
}

void denials_reopen(struct daemon *d)
{
	_cleanup_close_ int fd = sf_pin_open(d->policy.pin_dir, "maps", "events");
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len))
		info.id = 0;
	/* A pin that is gone while we still read: the guard puts it back. */
	if (info.id == d->ring_map_id || (fd < 0 && d->ring && d->policy.mode != SF_MODE_OFF))
		return;
	if (d->ring)
		denials_drain(d);
	close_ring(d);
	if (fd < 0 || !info.id)
		return;
	d->denials_fd = sf_pin_open(d->policy.pin_dir, "maps", "denials");
	/* What was counted before is history: only what comes from now on is judged, and the
	 * events that wait in the ring, one by one. */
	if (d->denials_fd >= 0 && sf_table_read(d->denials_fd, &d->seen))
		d->seen.count = 0;
	d->ring = ring_buffer__new(fd, on_event, d, NULL);
	if (!d->ring) {
		daemon_alert(d, LOG_ERR, "ring", "text=\"can't read the event ring: %s\"",
			     strerror(errno));
		close_ring(d);
		return;
	}
	d->ring_map_id = info.id;
	sd_event_add_io(d->loop, &d->ring_source, ring_buffer__epoll_fd(d->ring), EPOLLIN, on_ring,
			d);
	d->catching_up = 1;
	denials_drain(d);
	d->catching_up = 0;
}

/* Senders whose denials came without an event, by the rate limits: the table knows them all. */
static void scan_table(struct daemon *d)
{
	struct sf_table now;

	sf_table_init(&now, sizeof(struct sf_denial_key), sizeof(struct sf_denial));
	if (sf_table_read(d->denials_fd, &now)) {
		sf_table_free(&now);
		return;
	}
	for (size_t i = 0; i < now.count; i++) {
		const struct sf_denial_key *key = sf_table_key(&now, i);
		const struct sf_denial *denial = sf_table_value(&now, i);
		struct sf_denial *before = sf_table_find(&d->seen, key);
		uint64_t old = before ? before->denied + before->would_deny : 0;
		uint64_t total = denial->denied + denial->would_deny;
		struct sf_explained e;

		if (before && before->first_ns != denial->first_ns)
			old = 0;
		if (total <= old)
			continue;
		describe_by_table(d, key, denial, &e);
		judge(d, &e, total - old, daemon_now());
	}
	sf_table_free(&d->seen);
	d->seen = now;
}

static void tell_swallowed(void *context, uint64_t cgroup, uint32_t uid, uint64_t swallowed)
{
	struct daemon *d = context;
	char user[128], path[SF_TEXT_MAX], shown[SF_TEXT_MAX];

	/* As many as there are sites, all at the end of one cool-down: bounded like the others. */
	if (!denials_line_allowed(d, 0)) {
		d->denials_swallowed += swallowed;
		return;
	}
	sf_explain_user(uid, user, sizeof(user));
	if (cgroup)
		name_cgroup(d, cgroup, path, sizeof(path));
	else
		snprintf(path, sizeof(path), "-"); /* many of them */
	sf_escape_string(path, shown, sizeof(shown));
	daemon_alert(d, LOG_NOTICE, "denied_summary",
		     "user=\"%s\" uid=%lld cgroup=\"%s\" count=%llu window=%us", user,
		     uid == SF_UID_KERNEL ? -1LL : (long long)uid, shown,
		     (unsigned long long)swallowed, d->detect.limits.cooldown);
}

void denials_tick(struct daemon *d)
{
	_cleanup_close_ int fd = -1;
	uint64_t denied = 0, lost;

	denials_drain(d);
	sf_detect_expire(&d->detect, daemon_now(), tell_swallowed, d);
	turn_slice(d, daemon_now()); /* also when the storm ended, and nobody asks for a line */
	if (d->denials_fd < 0)
		return;
	fd = sf_pin_open(d->policy.pin_dir, "maps", "counters");
	if (fd < 0)
		return; /* the guard tells */
	for (uint32_t r = 0; r < SF_REASON_COUNT; r++)
		if (r != SF_REASON_PROBE)
			denied += sf_counter_read(fd, SF_COUNTER(SF_VERDICT_DENIED, r)) +
				  sf_counter_read(fd, SF_COUNTER(SF_VERDICT_WOULD_DENY, r));
	if (denied != d->denied_total)
		scan_table(d);
	d->denied_total = denied;
	lost = sf_counter_read(fd, SF_COUNTER_LOSS(SF_LOSS_EVENTS_FULL));
	if (lost > d->lost_total)
		daemon_alert(
			d, LOG_WARNING, "events_lost",
			"count=%llu text=\"the ring was full: these denials were counted, but not "
			"recorded\"",
			(unsigned long long)(lost - d->lost_total));
	d->lost_total = lost;
	if (d->record.lost) {
		daemon_alert(d, LOG_WARNING, "record_lost",
			     "count=%llu text=\"events could not be written; is the disk full?\"",
			     (unsigned long long)d->record.lost);
		d->record.lost = 0;
	}
}

int denials_start(struct daemon *d)
{
	const struct sf_detect_limits limits = {
		.denied = (uint32_t)d->policy.alert_denied,
		.window = (uint32_t)d->policy.alert_window,
		.cooldown = (uint32_t)d->policy.alert_cooldown,
	};
	int ret = sf_detect_init(&d->detect, &limits);

	d->denials_fd = -1;
	sf_table_init(&d->seen, sizeof(struct sf_denial_key), sizeof(struct sf_denial));
	if (ret)
		return ret;
	ret = sd_event_add_time_relative(d->loop, &d->drain_timer, CLOCK_MONOTONIC, DRAIN_AGAIN_US,
					 1000, on_drain_timer, d);
	if (ret < 0)
		return ret;
	sd_event_source_set_enabled(d->drain_timer, SD_EVENT_OFF);
	return 0; /* the guard opens the ring, when it is known what was told before */
}

void denials_stop(struct daemon *d)
{
	if (d->ring)
		denials_drain(d);
	close_ring(d);
	d->drain_timer = sd_event_source_disable_unref(d->drain_timer);
	sf_detect_free(&d->detect);
}
