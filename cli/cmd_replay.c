// SPDX-License-Identifier: GPL-2.0-only
/* replay: a trace through the engine of the daemon; alerts as it would write them. */
#include "cli.h"
#include "../user/escape.h"
#include "../user/net.h"
#include "../user/replay.h"
#include "../user/times.h"
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

static const char *severity_of(enum sf_rule rule)
{
	static const int severity[SF_RULE_COUNT] = {
#define X(name, label, level, text) [SF_RULE_##name] = LOG_##level,
		SF_RULES(X)
#undef X
	};

	return severity[rule] == LOG_CRIT      ? "critical"
	       : severity[rule] == LOG_WARNING ? "warning"
					       : "notice";
}

static void number_into(struct json_object *object, const char *key, uint64_t value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

static void print_json(const struct sf_replay_alarm *a, const char *time)
{
	const struct sf_alarm *alarm = a->alarm;
	const struct sf_tally *t = &alarm->tally;
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "time", json_object_new_string(time));
	number_into(o, "seconds", (uint64_t)a->time);
	json_object_object_add(o, "event",
			       json_object_new_string(alarm->raised ? "alert" : "cleared"));
	json_object_object_add(o, "rule", json_object_new_string(sf_rule_names[alarm->rule]));
	json_object_object_add(o, "severity", json_object_new_string(severity_of(alarm->rule)));
	if (a->source) {
		json_object_object_add(o, "source", json_object_new_string(a->source));
	} else {
		number_into(o, "uid", a->uid);
		json_object_object_add(o, "cgroup", json_object_new_string(a->cgroup));
	}
	json_object_object_add(o, "class",
			       t->class < SF_CLASS_COUNT
				       ? json_object_new_string(sf_class_names[t->class])
				       : NULL);
	json_object_object_add(o, "value", json_object_new_double(alarm->value));
	json_object_object_add(o, "limit", json_object_new_double(alarm->limit));
	number_into(o, "syn", t->syn);
	number_into(o, "fenced_syn", t->fenced);
	number_into(o, "window", t->window);
	number_into(o, "hour", t->hour);
	number_into(o, "day", t->day);
	json_object_object_add(o, "distinct", json_object_new_double(t->distinct));
	number_into(o, "answered", t->answered);
	number_into(o, "failed", t->refused + t->silent);
	number_into(o, "since", (uint64_t)alarm->since);
	json_object_object_add(o, "evidence", json_object_new_string(alarm->evidence));
	cli_print_json(o);
}

static void on_alarm(void *context, const struct sf_replay_alarm *a)
{
	const struct sf_cli *cli = context;
	char time[64];

	sf_time_format(a->time, time, sizeof(time));
	if (cli->json)
		print_json(a, time);
	else
		printf("%s %s rule=%s severity=%s %s %s\n", time,
		       a->alarm->raised ? "ALERT" : "CLEARED", sf_rule_names[a->alarm->rule],
		       a->alarm->raised ? severity_of(a->alarm->rule) : "notice", a->who,
		       a->alarm->evidence);
}

static int ports_of(const char *text, struct sf_replay_options *o)
{
	o->port_count = 0;
	for (const char *at = text;; at++) {
		char *end;
		unsigned long port = strtoul(at, &end, 10);

		if (*at < '0' || *at > '9' || !port || port > 65535 || (*end && *end != ',') ||
		    o->port_count == SF_REPLAY_PORTS)
			return -1;
		o->ports[o->port_count++] = (uint16_t)port;
		at = end;
		if (!*at)
			return 0;
	}
}

static int count_of(const char *text, uint32_t *out)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || n > UINT32_MAX)
		return -1;
	*out = (uint32_t)n;
	return 0;
}

enum {
	OPT_PORTS = 256,
	OPT_WARN,
	OPT_ACT,
	OPT_HOUR_WARN,
	OPT_HOUR_ACT,
	OPT_DISTINCT,
	OPT_COOLDOWN,
	OPT_NEWCOMER,
	OPT_CROWD,
	OPT_SENDERS,
	OPT_MAIL,
	OPT_LEARN,
};

static int option_into(const struct sf_cli *cli, int option, struct sf_replay_options *o)
{
	struct sf_error err = {.code = 0};
	uint32_t senders = 0, *count = NULL;
	int64_t cooldown;

	switch (option) {
	case OPT_PORTS:
		if (ports_of(optarg, o))
			return cli_usage(cli, "--ports \"%.40s\": write ports like 25,465,587",
					 optarg);
		return 0;
	case OPT_LEARN:
		if (sf_duration_parse(optarg, &o->learn))
			return cli_usage(cli, "--learn \"%.40s\": write a time like 12h or 7d",
					 optarg);
		return 0;
	case OPT_COOLDOWN:
		if (sf_duration_parse(optarg, &cooldown) || cooldown > UINT32_MAX)
			return cli_usage(cli, "--cooldown \"%.40s\": write a time like 30m or 1h",
					 optarg);
		o->limits.cooldown = (uint32_t)cooldown;
		return 0;
	case OPT_MAIL:
		if (*optarg == '/') {
			if (o->mail_cgroup_count == SF_REPLAY_MAIL)
				return cli_usage(cli, "--mail: too many of them");
			o->mail_cgroups[o->mail_cgroup_count++] = optarg;
			return 0;
		}
		if (o->mail_count == SF_REPLAY_MAIL)
			return cli_usage(cli, "--mail: too many of them");
		if (sf_net_parse(optarg, &o->mail[o->mail_count], &err))
			return cli_failed(cli, &err);
		o->mail_count++;
		return 0;
	case OPT_WARN:
		count = &o->warn;
		break;
	case OPT_ACT:
		count = &o->act;
		break;
	case OPT_HOUR_WARN:
		count = &o->limits.hour_warn;
		break;
	case OPT_HOUR_ACT:
		count = &o->limits.hour_act;
		break;
	case OPT_DISTINCT:
		count = &o->limits.distinct;
		break;
	case OPT_NEWCOMER:
		count = &o->limits.newcomer;
		break;
	case OPT_CROWD:
		count = &o->limits.crowd;
		break;
	case OPT_SENDERS:
		count = &senders;
		break;
	default:
		return SF_EXIT_USAGE;
	}
	if (count_of(optarg, count) || (count == &senders && (!senders || senders > 1u << 24)))
		return cli_usage(cli, "\"%.40s\" is no number that fits here", optarg);
	if (count == &senders)
		o->senders = senders;
	return 0;
}

int cmd_replay(const struct sf_cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{"ports", required_argument, NULL, OPT_PORTS},
		{"warn", required_argument, NULL, OPT_WARN},
		{"act", required_argument, NULL, OPT_ACT},
		{"hour-warn", required_argument, NULL, OPT_HOUR_WARN},
		{"hour-act", required_argument, NULL, OPT_HOUR_ACT},
		{"distinct", required_argument, NULL, OPT_DISTINCT},
		{"cooldown", required_argument, NULL, OPT_COOLDOWN},
		{"newcomer", required_argument, NULL, OPT_NEWCOMER},
		{"crowd", required_argument, NULL, OPT_CROWD},
		{"senders", required_argument, NULL, OPT_SENDERS},
		{"mail", required_argument, NULL, OPT_MAIL},
		{"learn", required_argument, NULL, OPT_LEARN},
		{NULL, 0, NULL, 0},
	};
	struct sf_replay_options o;
	struct sf_replay_totals totals;
	struct sf_replay *replay = NULL;
	struct sf_error err = {.code = 0};
	struct sf_cli own = *cli;
	int option, ret;

	sf_replay_options_default(&o);
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		ret = option_into(cli, option, &o);
		if (ret)
			return ret;
	}
	if (optind + 1 != argc)
		return cli_usage(cli, "replay: name one file, a capture (pcap) or CSV");
	ret = sf_replay_new(&o, on_alarm, &own, &replay);
	if (ret) {
		sf_fail(&err, ret, "no memory for the replay");
		return cli_failed(cli, &err);
	}
	ret = sf_replay_file(replay, argv[optind], &err);
	sf_replay_end(replay, &totals);
	sf_replay_free(replay);
	fflush(stdout);
	if (ret)
		return cli_failed(cli, &err);
	if (!cli->json)
		cli_note("%" PRIu64 " records, %" PRIu64 " connections to fenced ports, %" PRIu64
			 " senders; not read: %" PRIu64 " packets; without room: %" PRIu64
			 " SYNs, %" PRIu64 " senders; back in time: %" PRIu64,
			 totals.records, totals.fenced, totals.senders, totals.unparsed,
			 totals.uncounted, totals.forgotten, totals.late);
	return SF_EXIT_OK;
}
