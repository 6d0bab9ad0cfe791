// SPDX-License-Identifier: GPL-2.0-only
/* The history: once a minute what the kernel counted since the last time, by sender and hour. */
#include "watch.h"
#include "ledger.h"
#include "../cleanup.h"
#include "../escape.h"
#include "../../maps/counters.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#define FLUSH_SECONDS	   60
#define PRUNE_SECONDS	   3600
#define TELL_AGAIN_SECONDS 300 /* of a failure that comes and goes */
#define OPEN_PAUSE	   5   /* seconds, doubled with each failure up to */
#define OPEN_PAUSE_MAX	   300
#define LATE_NS		   120000000000ULL /* after the last SYN */

static void tell_failure(struct daemon *d, const char *text)
{
	struct census_watch *c = d->census;

	if (c->history_failing ||
	    (c->history_told && daemon_now() - c->history_told < TELL_AGAIN_SECONDS))
		return;
	c->history_failing = 1;
	c->history_told = daemon_now();
	daemon_alert(d, LOG_WARNING, "history_failed", "text=\"%s; counting and alerts go on\"",
		     text);
}

static void tell_restored(struct daemon *d)
{
	if (!d->census->history_failing)
		return;
	d->census->history_failing = 0;
	daemon_alert(d, LOG_NOTICE, "history_restored", "text=\"the history is written again\"");
}

void chronicle_fault(struct daemon *d, int ret)
{
	char text[128];

	d->census->flush_failed = 1;
	if (ret == -EUCLEAN)
		d->census->history_damaged = 1; /* opening it again sets it aside and tells */
	snprintf(text, sizeof(text), "can't write the history: %s",
		 ret == -EUCLEAN ? "its file was damaged" : strerror(-ret));
	tell_failure(d, text);
}

static int flush_one(void *context, const struct sf_tally *tally)
{
	struct daemon *d = context;
	struct census_watch *c = d->census;
	struct sf_hour hour = {.hour = c->now->wall / 3600 * 3600};
	struct sf_history_total total;
	int ret;

	/* Web traffic is nobody's history here. */
	if (!(tally->fenced | tally->denied | tally->would_deny))
		return 0;
	ret = sf_history_total(c->history, &tally->who, &total);
	if (ret >= 0 && !ledger_delta(&total, tally, &hour))
		return 0;
	watch_name(d, &tally->who, hour.who, sizeof(hour.who));
	if (ret >= 0)
		ret = sf_history_add(c->history, &hour);
	if (!ret)
		ret = sf_history_total_put(c->history, &total);
	if (ret)
		chronicle_fault(d, ret);
	return ret != 0;
}

/* One transaction: hours, and how far the kernel's counts stand in them. */
static void flush(struct daemon *d)
{
	struct census_watch *c = d->census;
	uint64_t since = c->flushed_ns;
	int ret;

	c->flush_failed = 0;
	ret = sf_history_begin(c->history);
	if (ret) {
		chronicle_fault(d, ret);
		return;
	}
	/* Denials do not make a sender's entry "seen": of these all. */
	sf_census_sources(c->now, since, flush_one, d);
	if (!c->flush_failed)
		sf_census_senders(c->now, 0, flush_one, d);
	ret = sf_history_commit(c->history);
	if (ret && !c->flush_failed)
		chronicle_fault(d, ret);
	if (ret)
		return; /* what was not written comes again */
	/* Answers and silence come for a while after the last SYN. */
	c->flushed_ns = c->now->now_ns > LATE_NS ? c->now->now_ns - LATE_NS : 0;
	if (!c->history_since)
		c->history_since = c->now->wall;
	if (!c->flush_failed)
		tell_restored(d);
}

static int is_gone(void *context, const struct sf_who *who)
{
	struct daemon *d = context;
	const struct sf_denial_key key = {.cgroup = who->key.word[0],
					  .uid = (uint32_t)who->key.word[1]};
	struct sf_tally tally;

	return sf_census_find(d->census->now, who, &tally) == -ENOENT &&
	       (who->kind != SF_WHO_SENDER || !sf_table_find(&d->census->now->denials, &key));
}

static void forget_gone(struct daemon *d)
{
	sf_history_totals_forget(d->census->history, is_gone, d);
}

void chronicle_flush(struct daemon *d)
{
	struct census_watch *c = d->census;
	int64_t now = daemon_now();

	if (!c->history)
		return;
	watch_with_census(d, flush);
	if (now < c->next_prune)
		return;
	c->next_prune = now + PRUNE_SECONDS;
	watch_with_census(d, forget_gone);
	sf_history_prune(c->history, (int64_t)time(NULL), d->policy.history_days,
			 (uint64_t)d->policy.history_max_mb << 20);
}

static int first_row(void *context, const struct sf_hour *hour)
{
	*(int64_t *)context = hour->hour;
	return 1;
}

static void read_boot_id(struct census_watch *c)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!f || !fgets(c->boot, sizeof(c->boot), f))
		snprintf(c->boot, sizeof(c->boot), "unknown");
	c->boot[strcspn(c->boot, "\n")] = '\0';
}

static void history_path(const struct daemon *d, char *path)
{
	snprintf(path, PATH_MAX, "%.4000s/history.db", d->policy.state_dir);
}

/* Open it, or say when to try again. */
static int open_file(struct daemon *d)
{
	struct census_watch *c = d->census;
	struct sf_error err = {.code = 0};
	char aside[PATH_MAX] = "", path[PATH_MAX], text[SF_ERROR_LEN * 2];
	int ret = sf_history_open(d->policy.state_dir, SF_HISTORY_WRITE, &c->history, aside,
				  sizeof(aside), &err);

	c->history_damaged = 0;
	if (aside[0]) {
		sf_escape_string(aside, text, sizeof(text));
		daemon_alert(d, LOG_WARNING, "history_damaged",
			     "text=\"the history was damaged and was set aside as %s\"", text);
	}
	if (ret) {
		c->history = NULL;
		c->open_pause = c->open_pause ? c->open_pause * 2 : OPEN_PAUSE;
		if (c->open_pause > OPEN_PAUSE_MAX)
			c->open_pause = OPEN_PAUSE_MAX;
		c->next_open = daemon_now() + c->open_pause;
		sf_escape_string(err.text, text, sizeof(text));
		tell_failure(d, text);
		return ret;
	}
	c->open_pause = 0;
	history_path(d, path);
	if (stat(path, &c->history_file))
		memset(&c->history_file, 0, sizeof(c->history_file));
	return 0;
}

void chronicle_open(struct daemon *d)
{
	struct census_watch *c = d->census;
	int again = c->history_was_open, ret;

	c->history_was_open = 1;
	c->next_flush = daemon_now() + FLUSH_SECONDS;
	if (!c->boot[0])
		read_boot_id(c);
	if (open_file(d))
		return;
	c->history_since = 0;
	sf_history_hours(c->history, NULL, 0, INT64_MAX, first_row, &c->history_since);
	ret = sf_history_totals_begin(c->history, c->boot);
	if (ret)
		chronicle_fault(d, ret);
	if (!again) {
		alarms_load_earlier(d);
		told_load(d);
		return;
	}
	c->flushed_ns = 0; /* a new file knows nothing of what the old one held */
	watch_with_census(d, alarms_rejoin);
	if (!ret)
		tell_restored(d);
}

void chronicle_close(struct daemon *d)
{
	struct census_watch *c = d->census;

	sf_history_close(c->history);
	c->history = NULL;
}

int chronicle_is_lost(struct daemon *d)
{
	const struct census_watch *c = d->census;
	char path[PATH_MAX];
	struct stat st;

	if (!c || !c->history || !c->history_file.st_ino)
		return 0;
	history_path(d, path);
	if (stat(path, &st))
		return errno == ENOENT || errno == ENOTDIR;
	return st.st_dev != c->history_file.st_dev || st.st_ino != c->history_file.st_ino;
}

void chronicle_begin_anew(struct daemon *d)
{
	chronicle_close(d);
	chronicle_open(d);
}

void chronicle_tick(struct daemon *d)
{
	struct census_watch *c = d->census;
	int64_t now = daemon_now();

	/* Damaged, or never opened. */
	if ((!c->history || c->history_damaged) && now >= c->next_open) {
		c->next_open = now + OPEN_PAUSE;
		chronicle_begin_anew(d);
	}
	if (c->ring && now >= c->next_flush) {
		c->next_flush = now + FLUSH_SECONDS;
		chronicle_flush(d);
	}
}
