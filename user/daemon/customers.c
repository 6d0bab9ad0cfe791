// SPDX-License-Identifier: GPL-2.0-only
/*
 * Customers' interfaces come and go: what matches is fenced at the kernel's word of it, before the
 * next tick. Those that are told of by the thousand cost a bounded share of one core.
 */
#include "daemon.h"
#include "../cleanup.h"
#include "../customers.h"
#include "../escape.h"
#include "../files.h"
#include "../gateway.h"
#include <errno.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#define WHOLE_SECONDS 10	 /* also where no event came: programs may be taken off */
#define TELL_AGAIN    300	 /* seconds */
#define BUSY_NS	      50000000LL /* a command holds the lock: again after this */
#define REST	      4		 /* of the time that a look takes, so many times is rested */
#define REST_LEAST_NS 1000000LL

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void tell_failure(struct daemon *d, const struct sf_error *err)
{
	char text[SF_ERROR_LEN * 2];
	int64_t now = daemon_now();

	if (d->customers_told && now - d->customers_told < TELL_AGAIN)
		return;
	d->customers_told = now;
	sf_escape_string(err->text, text, sizeof(text));
	daemon_alert(d, LOG_ERR, "gateway_broken", "text=\"%s\"", text);
}

/* Nobody but an administrator can do that; whoever it was should read it. */
static void tell_restored(struct daemon *d, const struct sf_gateway_restored *restored)
{
	char name[4 * IF_NAMESIZE];

	sf_escape_string(restored->first, name, sizeof(name));
	daemon_alert(d, LOG_WARNING, "gateway_restored",
		     "count=%zu interface=\"%s\" text=\"our programs had been taken off: they are "
		     "there again\"",
		     restored->count, name);
}

/* 0: done, or nothing to do; -EAGAIN: a command is at work. */
static int refresh(struct daemon *d)
{
	struct sf_error err = {.code = 0};
	struct sf_gateway_restored restored;
	_cleanup_close_ int lock = sf_lock(d->policy.state_dir, "lock", 0, NULL);

	if (lock < 0)
		return -EAGAIN;
	if (sf_gateway_refresh(&d->policy, &restored, &err))
		tell_failure(d, &err);
	else
		d->customers_told = 0;
	if (restored.count)
		tell_restored(d, &restored);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *context);

static void again_at(struct daemon *d, int64_t ns)
{
	if (!d->customers_timer && sd_event_add_time(d->loop, &d->customers_timer, CLOCK_MONOTONIC,
						     (uint64_t)ns / 1000, 1000, on_timer, d) < 0)
		d->customers_timer = NULL;
}

static void look(struct daemon *d)
{
	int64_t begin = now_ns(), end, rest;

	if (refresh(d)) {
		again_at(d, begin + BUSY_NS);
		return;
	}
	end = now_ns();
	rest = (end - begin) * REST;
	d->customers_rest_ns = end + (rest > REST_LEAST_NS ? rest : REST_LEAST_NS);
	d->next_customers = daemon_now() + WHOLE_SECONDS;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *context)
{
	struct daemon *d = context;

	(void)source;
	(void)usec;
	d->customers_timer = sd_event_source_disable_unref(d->customers_timer);
	look(d);
	return 0;
}

static int is_wanted(const struct daemon *d)
{
	return d->policy.mode != SF_MODE_OFF && sf_customers_wanted(&d->policy);
}

void customers_changed(struct daemon *d)
{
	if (!is_wanted(d) || d->customers_timer)
		return;
	if (now_ns() < d->customers_rest_ns)
		again_at(d, d->customers_rest_ns);
	else
		look(d);
}

void customers_tick(struct daemon *d)
{
	if (is_wanted(d) && !d->customers_timer && daemon_now() >= d->next_customers)
		look(d);
}

void customers_stop(struct daemon *d)
{
	d->customers_timer = sd_event_source_disable_unref(d->customers_timer);
}
