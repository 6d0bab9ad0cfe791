// SPDX-License-Identifier: GPL-2.0-only
/* sources, senders: the census as it stands in the kernel now. (cmd_top.c shows it live.) */
#include "cli.h"
#include "census_rows.h"
#include "../user/cgroup.h"
#include "../user/config.h"
#include "../user/escape.h"
#include "../user/explain.h"
#include "../user/plot.h"
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void add_number(struct json_object *json, const char *key, uint64_t value)
{
	json_object_object_add(json, key, json_object_new_uint64(value));
}

static void add_time(struct json_object *json, const char *key, int64_t seconds)
{
	char text[64];

	sf_time_format(seconds, text, sizeof(text));
	json_object_object_add(json, key, json_object_new_string(text));
}

static void add_who(struct json_object *json, const struct sf_census *census, const char *mount,
		    const struct sf_tally *t)
{
	char text[1024], path[PATH_MAX];

	if (t->who.kind == SF_WHO_SOURCE) {
		census_row_name(census, t, mount, text, sizeof(text));
		json_object_object_add(json, "source", json_object_new_string(text));
		return;
	}
	if (sf_cgroup_path(mount, t->who.key.word[0], path, sizeof(path)))
		path[0] = '\0'; /* it is gone: cgroup_id tells which it was */
	json_object_object_add(json, "cgroup", cli_json_text(path));
	add_number(json, "cgroup_id", t->who.key.word[0]);
	add_number(json, "uid", t->who.key.word[1]);
	sf_explain_user((uint32_t)t->who.key.word[1], text, sizeof(text));
	json_object_object_add(json, "user", json_object_new_string(text));
}

static void print_json(const struct sf_census *census, const char *mount, const struct sf_tally *t)
{
	struct json_object *json = json_object_new_object();

	add_who(json, census, mount, t);
	add_number(json, "syn", t->syn);
	add_number(json, "fenced_syn", t->fenced);
	add_number(json, "window", t->window);
	add_number(json, "distinct", (uint64_t)(t->distinct + 0.5));
	add_number(json, "failed", t->refused + t->silent);
	add_number(json, "retransmitted", t->retransmitted);
	add_number(json, "answered", t->answered);
	add_number(json, "refused", t->refused);
	add_number(json, "silent", t->silent);
	add_number(json, "untracked", t->untracked);
	add_number(json, "hour", t->hour);
	add_number(json, "day", t->day);
	add_number(json, "denied", t->denied);
	if (t->who.kind == SF_WHO_SENDER)
		add_number(json, "would_deny", t->would_deny);
	json_object_object_add(json, "class", json_object_new_string(sf_class_names[t->class]));
	add_number(json, "warn", t->warn);
	add_number(json, "act", t->act);
	add_time(json, "first_seen", t->first_seen);
	add_time(json, "last_seen", t->last_seen);
	cli_print_json(json);
}

/* Time of day where it was today, else the day. */
static void short_time(int64_t seconds, int64_t now, char *out, size_t size)
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!localtime_r(&t, &tm) ||
	    !strftime(out, size, now - seconds < 86400 ? "%H:%M:%S" : "%Y-%m-%d", &tm))
		snprintf(out, size, "-");
}

static void print_table(const struct sf_census *census, const char *mount,
			const struct census_rows *rows, uint32_t kind)
{
	struct libscols_table *table = cli_table(
		kind == SF_WHO_SOURCE ? "SOURCE|SYN|SMTP|10MIN|DISTINCT|FAILED|DENIED|LAST"
				      : "SENDER|SYN|SMTP|10MIN|DISTINCT|FAILED|DENIED|LAST");

	for (size_t i = 0; i < rows->count; i++) {
		const struct sf_tally *t = &rows->row[i];
		const uint64_t figures[] = {t->syn,
					    t->fenced,
					    t->window,
					    (uint64_t)(t->distinct + 0.5),
					    t->refused + t->silent,
					    t->denied + t->would_deny};
		char name[1024], cell[6][16], last[32];

		census_row_name(census, t, mount, name, sizeof(name));
		for (size_t c = 0; c < 6; c++)
			sf_plot_number(figures[c], cell[c], sizeof(cell[c]));
		short_time(t->last_seen, census->wall, last, sizeof(last));
		cli_table_row(table, 8, name, cell[0], cell[1], cell[2], cell[3], cell[4], cell[5],
			      last);
	}
	cli_table_print(table);
}

/* What was lost belongs to the answer: it is told beside it. */
static void tell_losses(const uint64_t *n, uint32_t kind)
{
	int of_sources = kind == SF_WHO_SOURCE;
	uint64_t gone = n[of_sources ? SF_CENSUS_FORGOTTEN_SOURCES : SF_CENSUS_FORGOTTEN_SENDERS];
	uint64_t syn =
		n[of_sources ? SF_CENSUS_FORGOTTEN_SOURCE_SYN : SF_CENSUS_FORGOTTEN_SENDER_SYN];

	if (gone)
		cli_note("%llu %s gave way in the full table, with %llu SYNs; raise %s",
			 (unsigned long long)gone, of_sources ? "sources" : "senders",
			 (unsigned long long)syn, of_sources ? "max_sources" : "max_senders");
	if (n[SF_CENSUS_UNCOUNTED])
		cli_note("%llu SYNs found no place and are counted in no row",
			 (unsigned long long)n[SF_CENSUS_UNCOUNTED]);
}

int cmd_census(const struct sf_cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{"since", required_argument, NULL, 's'},
		{"sort", required_argument, NULL, 'o'},
		{"limit", required_argument, NULL, 'n'},
		{NULL, 0, NULL, 0},
	};
	uint32_t kind = strcmp(argv[0], "sources") ? SF_WHO_SENDER : SF_WHO_SOURCE;
	int option, figure = census_figure("window"), ret;
	int64_t seconds = 0;
	unsigned long limit = 0;
	char mount[PATH_MAX], *end;
	struct sf_error err = {.code = 0};
	struct sf_policy policy;
	struct sf_census census;
	struct census_rows rows;
	uint64_t counter[SF_CENSUS_COUNTER_MAX];

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's') {
			if (sf_duration_parse(optarg, &seconds))
				return cli_usage(
					cli, "--since \"%.40s\": write a time like 10m, 2h or 1d",
					optarg);
		} else if (option == 'o') {
			figure = census_figure(optarg);
			if (figure < 0)
				return cli_usage(cli, "--sort \"%.40s\": write one of %s", optarg,
						 census_figures());
		} else if (option == 'n') {
			limit = strtoul(optarg, &end, 10);
			if (*end || !limit)
				return cli_usage(cli, "--limit \"%.40s\": write a number", optarg);
		} else {
			return SF_EXIT_USAGE;
		}
	}
	if (optind < argc)
		return cli_usage(cli, "%s: \"%.40s\" is too much", argv[0], argv[optind]);
	if (sf_config_read(cli->config_file, NULL, 1, &policy, &err))
		return cli_failed(cli, &err);
	ret = sf_cgroup_mount(mount, sizeof(mount), &err);
	if (!ret)
		ret = sf_census_open(policy.pin_dir, &census, &err);
	if (!ret)
		sf_census_counters(policy.pin_dir, counter);
	sf_policy_free(&policy);
	if (ret)
		return cli_failed(cli, &err);
	if ((uint64_t)seconds > census.now_ns / 1000000000ULL)
		seconds = 0; /* before the boot: all */
	if (census_rows_read(&census, kind,
			     seconds ? census.now_ns - (uint64_t)seconds * 1000000000ULL : 0,
			     figure, &rows)) {
		sf_census_close(&census);
		sf_fail(&err, -ENOMEM, "no memory");
		return cli_failed(cli, &err);
	}
	if (limit && rows.count > limit)
		rows.count = limit;
	if (cli->json)
		for (size_t i = 0; i < rows.count; i++)
			print_json(&census, mount, &rows.row[i]);
	else
		print_table(&census, mount, &rows, kind);
	tell_losses(counter, kind);
	census_rows_free(&rows);
	sf_census_close(&census);
	return SF_EXIT_OK;
}
