// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the policy's tables depend on and nobody says: addresses of the host that come and go, host
 * names whose addresses change, a wall clock that is set, a change that was not confirmed.
 */
#include "daemon.h"
#include "../change.h"
#include "../egress.h"
#include "../cleanup.h"
#include "../escape.h"
#include "../files.h"
#include "../hosts.h"
#include "../rollback.h"
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

/* Seconds until the same failure is told again. */
#define TELL_AGAIN	300
#define UPLINKS_SECONDS 10

/* By the guard, which says what it finds broken before it mends it. */
static void apply_again(struct daemon *d)
{
	d->apply_again = 1;
	d->next_look_ns = 0;
	guard_tick(d);
}

static int speaks_of_links(const char *buffer, ssize_t size)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)(const void *)buffer;

	for (; NLMSG_OK(message, size); message = NLMSG_NEXT(message, size))
		if (message->nlmsg_type == RTM_NEWLINK || message->nlmsg_type == RTM_DELLINK)
			return 1;
	return 0;
}

static int on_addresses(sd_event_source *source, int fd, uint32_t events, void *context)
{
	struct daemon *d = context;
	_Alignas(struct nlmsghdr) char buffer[8192];
	int links = 0;
	ssize_t n;

	(void)source;
	(void)events;
	/* What changed is not read from the messages: they may be lost. All are listed anew. */
	do {
		n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		links |= n > 0 ? speaks_of_links(buffer, n) : n < 0 && errno == ENOBUFS;
	} while (n > 0 || (n < 0 && (errno == ENOBUFS || errno == EINTR)));
	/* First: a new interface may carry packets by now. */
	if (links)
		customers_changed(d);
	if (d->policy.mode != SF_MODE_OFF)
		sf_fence_refresh_local_addrs(&d->policy);
	d->next_uplinks = 0; /* at the next tick: routes may come by the thousand */
	return 0;
}

static int watch_addresses(struct daemon *d)
{
	struct sockaddr_nl local = {.nl_family = AF_NETLINK,
				    .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
						 RTMGRP_LINK | RTMGRP_IPV4_ROUTE |
						 RTMGRP_IPV6_ROUTE};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	d->netlink_fd = fd;
	if (bind(fd, (struct sockaddr *)&local, sizeof(local)))
		return -errno;
	return sd_event_add_io(d->loop, NULL, fd, EPOLLIN, on_addresses, d);
}

/* Far away; what matters is that setting the clock cancels it. */
static int arm_clock(int fd)
{
	const struct itimerspec never = {.it_value.tv_sec = (time_t)1 << 40};

	return timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL)
		       ? -errno
		       : 0;
}

static int on_clock(sd_event_source *source, int fd, uint32_t events, void *context)
{
	uint64_t expirations;

	(void)source;
	(void)events;
	if (read(fd, &expirations, sizeof(expirations)) < 0 && errno == ECANCELED) {
		arm_clock(fd);
		/* Ends of entries are wall-clock times: compute them anew. */
		apply_again(context);
	}
	return 0;
}

static int watch_clock(struct daemon *d)
{
	int ret;

	d->clock_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (d->clock_fd < 0)
		return -errno;
	ret = arm_clock(d->clock_fd);
	return ret ? ret : sd_event_add_io(d->loop, NULL, d->clock_fd, EPOLLIN, on_clock, d);
}

static int has_hosts(const struct sf_policy *policy)
{
	for (size_t i = 0; i < policy->entry_count; i++)
		if (policy->entries[i].kind == SF_ENTRY_ALLOW_HOST)
			return 1;
	return 0;
}

/* In a process of its own: a resolver that hangs must not hold up the guard. */
static int look_up_all(const struct sf_policy *policy)
{
	struct sf_hosts hosts;
	int64_t now = (int64_t)time(NULL);
	int found = 0;

	if (sf_hosts_load(policy->state_dir, &hosts))
		return 1;
	for (size_t i = 0; i < policy->entry_count; i++)
		if (policy->entries[i].kind == SF_ENTRY_ALLOW_HOST &&
		    !sf_hosts_look_up(&hosts, policy->entries[i].value, now, NULL))
			found = 1;
	sf_hosts_prune(&hosts, policy);
	return !found || sf_hosts_save(policy->state_dir, &hosts, NULL);
}

static void resolve(struct daemon *d)
{
	struct timespec now;
	int status;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (d->resolver > 0) {
		if (waitpid(d->resolver, &status, WNOHANG) == 0)
			return;
		d->resolver = 0;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			apply_again(d);
	}
	if (d->policy.mode == SF_MODE_OFF || now.tv_sec < d->next_resolve)
		return;
	d->next_resolve = now.tv_sec + d->policy.resolve_interval;
	if (!has_hosts(&d->policy))
		return;
	d->resolver = fork();
	if (d->resolver == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(120);
		_exit(look_up_all(&d->policy));
	}
}

/*
 * Uplinks come and go; somebody may take our programs off them. Looked at when interfaces, routes
 * or our links changed, and every ten seconds.
 */
static void follow_uplinks(struct daemon *d)
{
	_cleanup_close_ int lock = -1;
	struct sf_error err = {.code = 0};
	struct sf_egress_status status;
	char text[SF_ERROR_LEN * 2];
	int64_t now = daemon_now();
	int was_whole, changed = !d->next_uplinks;

	if (d->policy.mode == SF_MODE_OFF || !d->policy.uplinks.count || now < d->next_uplinks)
		return;
	lock = sf_lock(d->policy.state_dir, "lock", 0, NULL);
	if (lock < 0)
		return; /* a command is at work: at the next tick */
	d->next_uplinks = now + UPLINKS_SECONDS;
	was_whole = !sf_egress_read(&d->policy, &status) && status.whole;
	if (was_whole && !changed)
		return;
	if (sf_fence_refresh_uplinks(&d->policy, &err)) {
		if (d->uplinks_told && now - d->uplinks_told < TELL_AGAIN)
			return;
		d->uplinks_told = now;
		sf_escape_string(err.text, text, sizeof(text));
		daemon_alert(d, LOG_ERR, "census_broken", "text=\"%s\"", text);
		return;
	}
	if (!was_whole && !sf_egress_read(&d->policy, &status) && status.whole)
		daemon_alert(d, LOG_NOTICE, "uplinks", "count=%zu text=\"counted on all of them\"",
			     status.uplinks.count);
	d->uplinks_told = 0;
}

void upkeep_tick(struct daemon *d)
{
	struct sf_error err = {.code = 0};
	char text[SF_ERROR_LEN * 2];
	int lost = links_lost(d);

	resolve(d);
	if (lost)
		d->next_uplinks = d->next_customers = 0;
	follow_uplinks(d);
	customers_tick(d);
	if (lost)
		links_expect(d); /* what was mended just now */
	if (sf_rollback_left(&d->policy) == 0) {
		int ret = sf_rollback_run(d->config_file, 0, &err);

		if (ret == 1)
			daemon_alert(d, LOG_WARNING, "rolled_back",
				     "text=\"a change was not confirmed in time and was undone\"");
		else if (ret < 0 &&
			 (!d->rollback_told || daemon_now() >= d->rollback_told + TELL_AGAIN)) {
			d->rollback_told = daemon_now();
			sf_escape_string(err.text, text, sizeof(text));
			daemon_alert(d, LOG_ERR, "rollback_failed", "text=\"%s\"", text);
		}
		guard_reload(d, 0);
	}
}

int upkeep_start(struct daemon *d)
{
	int ret = watch_addresses(d);

	if (ret < 0)
		return ret;
	ret = watch_clock(d);
	if (ret < 0)
		return ret;
	if (d->policy.mode != SF_MODE_OFF)
		sf_fence_refresh_local_addrs(&d->policy);
	return 0;
}

void upkeep_stop(struct daemon *d)
{
	customers_stop(d);
	if (d->netlink_fd >= 0)
		close(d->netlink_fd);
	if (d->clock_fd >= 0)
		close(d->clock_fd);
	if (d->resolver > 0)
		kill(d->resolver, SIGKILL);
}
