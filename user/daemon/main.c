// SPDX-License-Identifier: GPL-2.0-only
#include "daemon.h"
#include "../change.h"
#include "../cgroup.h"
#include "../config.h"
#include "../escape.h"
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#define TICK_US 1000000

int64_t daemon_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return t.tv_sec;
}

/* Unique on this host: when, who, which. */
void daemon_new_id(struct daemon *d)
{
	static unsigned int number;

	snprintf(d->last_id, sizeof(d->last_id), "%llx-%x-%x", (unsigned long long)time(NULL),
		 (unsigned int)getpid(), number++);
}

void daemon_alert(struct daemon *d, int severity, const char *rule, const char *format, ...)
{
	static const char *const names[] = {"emerg",   "alert",	 "critical", "error",
					    "warning", "notice", "info",     "debug"};
	static char text[8192]; /* one loop, one thread */
	va_list args;
	int n;

	daemon_new_id(d);
	n = snprintf(text, sizeof(text), "ALERT id=%s rule=%s severity=%s ", d->last_id, rule,
		     names[severity & 7]);
	va_start(args, format);
	vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
	va_end(args);
	sf_syslog_line(&d->log, severity, text);
}

static int on_tick(sd_event_source *source, uint64_t usec, void *context)
{
	struct daemon *d = context;

	(void)usec;
	state_tick(d);
	guard_tick(d);
	denials_tick(d);
	census_tick(d);
	upkeep_tick(d);
	sf_syslog_flush(&d->log);
	sd_event_source_set_time_relative(source, TICK_US);
	return 0;
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *context)
{
	(void)source;
	(void)info;
	guard_reload(context, 1);
	return 0;
}

static int prepare_loop(struct daemon *d)
{
	sd_event_source *tick = NULL;
	sigset_t set;
	int ret = sd_event_new(&d->loop);

	if (ret < 0)
		return ret;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	sd_event_add_signal(d->loop, NULL, SIGTERM, NULL, NULL);
	sd_event_add_signal(d->loop, NULL, SIGINT, NULL, NULL);
	sd_event_add_signal(d->loop, NULL, SIGHUP, on_hangup, d);
	sd_event_set_watchdog(d->loop, 1);
	ret = sd_event_add_time_relative(d->loop, &tick, CLOCK_MONOTONIC, TICK_US, TICK_US / 10,
					 on_tick, d);
	if (ret < 0)
		return ret;
	return sd_event_source_set_enabled(tick, SD_EVENT_ON);
}

/* The files, or where they are wrong, what was applied last: the fence is up, so watch it. */
static int load_policy(struct daemon *d, struct sf_error *err)
{
	struct sf_policy defaults;

	if (!sf_config_read(d->config_file, NULL, 1, &d->policy, err))
		return 0;
	sf_policy_init(&defaults);
	if (sf_applied_load(defaults.state_dir, &d->policy, NULL))
		return err->code;
	fprintf(stderr, "smtpfenced: %s; going on with what was applied last\n", err->text);
	return 0;
}

static int run(struct daemon *d, struct sf_error *err)
{
	int ret = load_policy(d, err), guarding = 0;

	if (ret)
		return ret;
	if (geteuid() != 0)
		return sf_fail(err, -EPERM, "this needs root");
	ret = sf_cgroup_mount(d->mount, sizeof(d->mount), err);
	if (ret)
		return ret;
	sf_syslog_init(&d->log, d->policy.syslog_socket, "smtpfenced");
	ret = prepare_loop(d);
	if (ret < 0)
		return sf_fail(err, ret, "can't make the event loop: %s", strerror(-ret));
	ret = state_start(d, err);
	if (ret)
		return ret;
	/* denials.c first: its limits are what guard.c brings up to date. */
	ret = denials_start(d);
	if (ret >= 0)
		ret = census_start(d);
	if (ret >= 0) {
		guard_start(d);
		guarding = 1;
		ret = upkeep_start(d);
	}
	if (ret >= 0) {
		daemon_alert(d, LOG_INFO, "started", "mode=%s", sf_mode_name(d->policy.mode));
		guard_tick(d);
		sd_notify(0, "READY=1");
		ret = sd_event_loop(d->loop);
	}
	sd_notify(0, "STOPPING=1");
	daemon_alert(d, LOG_INFO, "stopped", "mode=%s", sf_mode_name(d->policy.mode));
	upkeep_stop(d);
	if (guarding)
		guard_stop(d);
	census_stop(d);
	denials_stop(d);
	state_stop(d);
	sf_syslog_close(&d->log);
	sd_event_unref(d->loop);
	return ret < 0 ? sf_fail(err, ret, "stopped: %s", strerror(-ret)) : 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"foreground", no_argument, NULL, 'f'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	static struct daemon d = {
		.netlink_fd = -1, .clock_fd = -1, .denials_fd = -1, .lock_fd = -1};
	struct sf_error err = {.code = 0};
	int foreground = 0, option, ret;

	while ((option = getopt_long(argc, argv, "c:fhV", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			d.config_file = optarg;
			break;
		case 'f':
			foreground = 1;
			break;
		case 'h':
			puts("Usage: smtpfenced [-f] [--config FILE]\n"
			     "Explains and alerts what smtpfence denies, and watches that it "
			     "does.\n"
			     "  -f, --foreground   do not go into the background\n"
			     "  -c, --config FILE  the configuration\n"
			     "  -h, --help, -V, --version");
			return 0;
		case 'V':
			puts("smtpfenced " SF_VERSION);
			return 0;
		default:
			return 2;
		}
	}
	if (optind < argc) {
		fputs("smtpfenced: no arguments are taken; try --help\n", stderr);
		return 2;
	}
	if (!foreground && daemon(0, 0)) {
		perror("smtpfenced: daemon");
		return 1;
	}
	ret = run(&d, &err);
	sf_policy_free(&d.policy);
	if (ret) {
		char text[SF_ERROR_LEN * 4];

		sf_escape_controls(err.text, text, sizeof(text));
		fprintf(stderr, "smtpfenced: %s\n", text);
		return err.is_usage ? 2 : 1;
	}
	return 0;
}
