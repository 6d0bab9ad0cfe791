// SPDX-License-Identifier: GPL-2.0-only
/*
 * Is the fence in effect? Asked every two seconds; where not, it is said, mended, and told that it
 * was. What is compared with is what was applied last, never a file that somebody is editing.
 */
#include "daemon.h"
#include "../change.h"
#include "../cleanup.h"
#include "../config.h"
#include "../escape.h"
#include "../files.h"
#include "../status.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define LOOK_INTERVAL_NS 2000000000LL
#define REMIND_SECONDS	 300

static int64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/*
 * Our own descriptors of the links: a pin that is taken away then detaches nothing, and is put
 * back without a gap. `off` detaches explicitly, which these do not hinder.
 */
static void hold_links(struct daemon *d)
{
	for (int h = 0; h < SF_HOOK_COUNT; h++) {
		int link = sf_pin_open(d->policy.pin_dir, "links", sf_hooks[h].name);

		if (link < 0 && d->policy.mode != SF_MODE_OFF)
			continue; /* the pin is gone: hold on to what we have */
		if (d->held_link[h] >= 0)
			close(d->held_link[h]);
		d->held_link[h] = link;
	}
}

/* Put a lost pin of a link that lives on back, instead of making a new one. */
static void pin_held_links(struct daemon *d)
{
	for (int h = 0; h < SF_HOOK_COUNT; h++) {
		_cleanup_close_ int link = -1;

		if (d->held_link[h] < 0)
			continue;
		link = sf_pin_open(d->policy.pin_dir, "links", sf_hooks[h].name);
		if (link < 0 && !sf_pins_prepare(d->policy.pin_dir, NULL))
			sf_pin_replace(d->policy.pin_dir, "links", sf_hooks[h].name,
				       d->held_link[h], NULL);
	}
}

void guard_reload(struct daemon *d, int force)
{
	char path[PATH_MAX];
	struct sf_detect_limits limits;
	struct sf_policy policy;
	struct stat st;
	int64_t stamp = 0;

	snprintf(path, sizeof(path), "%s/applied.conf", d->policy.state_dir);
	if (!stat(path, &st))
		stamp = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec;
	if (!stamp || (!force && stamp == d->policy_stamp))
		return;
	if (sf_applied_load(d->policy.state_dir, &policy, NULL))
		return;
	d->policy_stamp = stamp;
	sf_policy_free(&d->policy);
	d->policy = policy;
	limits.denied = (uint32_t)policy.alert_denied;
	limits.window = (uint32_t)policy.alert_window;
	limits.cooldown = (uint32_t)policy.alert_cooldown;
	sf_detect_limit(&d->detect, &limits);
	d->next_look_ns = d->next_whole_ns = 0;
	denials_reopen(d);
	census_reopen(d);
	hold_links(d);
}

static void join_faults(const struct sf_status *status, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < status->fault_count && used + 4 < size; i++) {
		if (i)
			used += (size_t)snprintf(out + used, size - used, "; ");
		if (used >= size)
			break;
		used += sf_escape_string(status->fault[i], out + used, size - used);
	}
}

static int repair(struct daemon *d, struct sf_error *err)
{
	const struct sf_fence_options options = {.keep_unresolved = 1};
	struct sf_fence_result result;

	pin_held_links(d);
	return sf_fence_apply(&d->policy, &options, &result, err);
}

/* Off is wanted: whatever of ours still stands, stands against the policy. */
static int wants_nothing(const struct sf_policy *policy, const struct sf_status *status)
{
	if (policy->mode != SF_MODE_OFF)
		return 0;
	for (int h = 0; h < SF_HOOK_COUNT; h++)
		if (status->hook[h].pinned)
			return 0;
	return 1;
}

static void mend(struct daemon *d, const struct sf_status *status)
{
	struct sf_fence_result ignored;
	struct sf_error err = {.code = 0};
	char faults[2048], text[SF_ERROR_LEN * 2];
	int64_t now = daemon_now();
	int enforcing = status->enforcing, ret;

	join_faults(status, faults, sizeof(faults));
	if (!d->broken || now - d->broken_told >= REMIND_SECONDS) {
		daemon_alert(d, LOG_CRIT, "fence_broken", "enforcing=%s text=\"%s\"",
			     enforcing ? "yes" : "no", faults);
		d->broken_told = now;
	}
	ret = d->policy.mode == SF_MODE_OFF ? sf_fence_remove(&d->policy, &ignored, &err)
					    : repair(d, &err);
	if (ret) {
		sf_escape_string(err.text, text, sizeof(text));
		if (!d->broken)
			daemon_alert(d, LOG_CRIT, "fence_not_restored", "text=\"%s\"", text);
	}
	d->broken = 1;
}

/* The fence is whole, but what its tables are made of has changed. */
static void apply_tables(struct daemon *d)
{
	struct sf_error err = {.code = 0};
	char text[SF_ERROR_LEN * 2];

	d->apply_again = 0;
	if (d->policy.mode == SF_MODE_OFF || !repair(d, &err))
		return;
	sf_escape_string(err.text, text, sizeof(text));
	daemon_alert(d, LOG_ERR, "apply_failed", "text=\"%s\"", text);
}

/*
 * Look, under the lock: a command that is at work right now is no fault. Returns whether all was
 * well, so that nothing was mended.
 */
static int look(struct daemon *d, int flags)
{
	_cleanup_close_ int lock = sf_lock(d->policy.state_dir, "lock", 0, NULL);
	struct sf_error err = {.code = 0};
	struct sf_status status;
	int was_broken = d->broken;

	if (lock < 0)
		return 0;
	guard_reload(d, 0);
	for (int round = 0; round < 2; round++) {
		if (sf_status_read(&d->policy, flags, &status, &err))
			return 0;
		if (wants_nothing(&d->policy, &status) ||
		    (d->policy.mode != SF_MODE_OFF && !status.mendable)) {
			if (d->broken)
				daemon_alert(d, LOG_WARNING, "fence_restored",
					     "mode=%s enforcing=%s text=\"%s\"",
					     sf_mode_name(status.mode),
					     status.enforcing ? "yes" : "no",
					     was_broken ? "in effect again" : "repaired");
			d->broken = 0;
			sf_status_free(&status);
			if (d->apply_again)
				apply_tables(d);
			hold_links(d);
			return round == 0;
		}
		if (round == 0)
			mend(d, &status);
		sf_status_free(&status);
		flags = 0; /* what was mended is looked at whole */
	}
	return 0;
}

static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

void guard_tick(struct daemon *d)
{
	int64_t now = monotonic_ns(), before = cpu_ns();
	int whole = now >= d->next_whole_ns, well;

	guard_reload(d, 0);
	denials_reopen(d);
	census_reopen(d);
	if (now < d->next_look_ns)
		return;
	well = look(d, whole ? 0 : SF_STATUS_QUICK);
	d->next_look_ns = now + LOOK_INTERVAL_NS - 100000000LL;
	/*
	 * Comparing a large policy whole takes a tenth of a second: so rarely that it stays below
	 * a five thousandth of a core. What a wiped table or a lost link does shows in each look.
	 */
	if (whole && well) {
		int64_t pause = (cpu_ns() - before) * 5000;

		d->next_whole_ns = now + (pause > LOOK_INTERVAL_NS ? pause : LOOK_INTERVAL_NS);
	}
	/* What a large policy took to be compared is the system's again. */
	if (whole)
		malloc_trim(0);
}

void guard_start(struct daemon *d)
{
	for (int h = 0; h < SF_HOOK_COUNT; h++)
		d->held_link[h] = -1;
	guard_reload(d, 1);
	hold_links(d);
}

void guard_stop(struct daemon *d)
{
	for (int h = 0; h < SF_HOOK_COUNT; h++)
		if (d->held_link[h] >= 0)
			close(d->held_link[h]);
}
