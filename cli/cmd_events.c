// SPDX-License-Identifier: GPL-2.0-only
/* events: what the daemon recorded, as lines for people or as it stands for programs. */
#include "cli.h"
#include "../user/cleanup.h"
#include "../user/config.h"
#include "../user/escape.h"
#include "../user/record.h"
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>

/*
 * A member as text; "" where there is none. The file may have been edited by hand or cut by a full
 * disk: any member may be null or of another type, and NULL is what json-c gives for null.
 */
static const char *text_of(struct json_object *event, const char *key)
{
	struct json_object *value = NULL;
	const char *text = NULL;

	if (json_object_object_get_ex(event, key, &value))
		text = json_object_get_string(value);
	return text ? text : "";
}

/* Controls and what is no UTF-8: none is left by the daemon, who knows by others. */
static char *without_controls(const char *text)
{
	size_t room = strlen(text) * 4 + 1;
	char *safe = malloc(room);

	if (safe)
		sf_escape_controls(text, safe, room);
	return safe;
}

/* The daemon escaped the text; JSON took the backslash before a quote away: it gets it back. */
static void put(struct json_object *event, const char *before, const char *key)
{
	_cleanup_free_ char *text = without_controls(text_of(event, key));

	fputs(before, stdout);
	for (const char *p = text ? text : ""; *p; p++) {
		if (*p == '"')
			putchar('\\');
		putchar(*p);
	}
}

static void print_for_people(struct json_object *event)
{
	char stamp[20];

	snprintf(stamp, sizeof(stamp), "%s", text_of(event, "time")); /* to the second */
	json_object_object_add(event, "time", json_object_new_string(stamp));
	put(event, "", "time");
	put(event, " ", "verdict");
	put(event, " ", "reason");
	put(event, " user=", "user");
	put(event, " uid=", "uid");
	put(event, " pid=", "pid");
	put(event, " comm=\"", "comm");
	put(event, "\" in ", "cgroup");
	put(event, " cwd=\"", "cwd");
	put(event, "\" cmd=\"", "cmdline");
	put(event, "\" to ", "daddr");
	put(event, " port ", "dport");
	putchar('\n');
}

/* Not the line itself: the parser takes more than JSON allows. Events have no members in members.
 */
static void print_for_programs(struct json_object *event)
{
	struct json_object *safe = json_object_new_object();

	json_object_object_foreach(event, key, value)
	{
		_cleanup_free_ char *name = without_controls(key);
		_cleanup_free_ char *text = NULL;

		if (json_object_is_type(value, json_type_string)) {
			text = without_controls(json_object_get_string(value));
			value = text ? json_object_new_string(text) : NULL;
		} else if (json_object_is_type(value, json_type_int)) {
			value = json_object_get(value);
		} else {
			value = NULL;
		}
		if (name)
			json_object_object_add(safe, name, value);
		else
			json_object_put(value);
	}
	cli_print_json_as(safe, JSON_C_TO_STRING_PLAIN);
}

static void print_event(const struct sf_cli *cli, const char *line, const char *since)
{
	struct json_object *event = json_tokener_parse(line);

	/* A line that a full disk cut short is passed over; so is what is no event. */
	if (!json_object_is_type(event, json_type_object) ||
	    strcmp(text_of(event, "time"), since) < 0) {
		json_object_put(event);
		return;
	}
	if (cli->json)
		print_for_programs(event);
	else
		print_for_people(event);
	json_object_put(event);
}

static void print_lines(const struct sf_cli *cli, FILE *in, const char *since)
{
	_cleanup_free_ char *line = NULL;
	size_t room = 0;
	ssize_t n;
	long start = ftell(in);

	while ((n = getline(&line, &room, in)) > 0) {
		if (line[n - 1] != '\n') {
			/* Still being written. NOLINTNEXTLINE(cert-err33-c): a regular file */
			fseek(in, start, SEEK_SET);
			break;
		}
		print_event(cli, line, since);
		start = ftell(in);
	}
	clearerr(in);
	fflush(stdout);
}

/* Wait for more; open the new file when the daemon began one. Ends with a signal. */
static int follow(const struct sf_cli *cli, const char *dir, const char *path, FILE *in)
{
	_cleanup_close_ int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char buffer[4096];

	if (watch < 0 || inotify_add_watch(watch, dir, IN_MODIFY | IN_CREATE) < 0)
		return -errno;
	for (;;) {
		struct pollfd wait = {.fd = watch, .events = POLLIN};
		struct stat now, then;

		if (in)
			print_lines(cli, in, "");
		if (!stat(path, &now) &&
		    (!in || fstat(fileno(in), &then) || then.st_ino != now.st_ino)) {
			if (in)
				fclose(in);
			in = fopen(path, "re");
			continue;
		}
		if (poll(&wait, 1, -1) < 0 && errno != EINTR)
			return -errno;
		while (read(watch, buffer, sizeof(buffer)) > 0)
			;
	}
}

int cmd_events(const struct sf_cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{"follow", no_argument, NULL, 'f'},
		{"since", required_argument, NULL, 's'},
		{NULL, 0, NULL, 0},
	};
	char path[PATH_MAX], old[PATH_MAX + 2], since[64] = "";
	struct sf_error err = {.code = 0};
	struct sf_policy policy;
	int option, following = 0, ret = 0;
	int64_t seconds;
	FILE *in;

	while ((option = getopt_long(argc, argv, "f", options, NULL)) != -1) {
		if (option == 'f') {
			following = 1;
		} else if (option == 's') {
			if (sf_duration_parse(optarg, &seconds))
				return cli_usage(
					cli, "--since \"%.40s\": write a time like 10m, 2h or 1d",
					optarg);
			sf_time_format((int64_t)time(NULL) - seconds, since, sizeof(since));
			since[19] = '\0'; /* without its Z: "…:00.5Z" sorts behind "…:00" */
		} else {
			return SF_EXIT_USAGE;
		}
	}
	if (optind < argc)
		return cli_usage(cli, "events: \"%.40s\" is too much", argv[optind]);
	if (sf_config_read(cli->config_file, NULL, 1, &policy, &err))
		return cli_failed(cli, &err);
	snprintf(path, sizeof(path), "%.4000s/%s", policy.state_dir, SF_RECORD_NAME);
	snprintf(old, sizeof(old), "%s.1", path);
	in = fopen(old, "re");
	if (in) {
		print_lines(cli, in, since);
		fclose(in);
	}
	in = fopen(path, "re");
	if (in)
		print_lines(cli, in, since);
	else if (errno != ENOENT)
		ret = sf_fail(&err, -errno, "can't read %s: %s", path, strerror(errno));
	else if (!following)
		cli_note("nothing is recorded in %s: events are written by smtpfenced", path);
	if (following && !ret)
		ret = follow(cli, policy.state_dir, path, in);
	else if (in)
		fclose(in);
	sf_policy_free(&policy);
	return ret ? cli_failed(cli, &err) : SF_EXIT_OK;
}
