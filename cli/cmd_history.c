// SPDX-License-Identifier: GPL-2.0-only
/*
 * history, report: what one sender did. Which sender is meant, and how it is shown in a terminal,
 * is here; gathering and the forms of a report are user/report*.c's.
 */
#include "cli.h"
#include "../user/cleanup.h"
#include "../user/config.h"
#include "../user/escape.h"
#include "../user/plot.h"
#include "../user/report.h"
#include "../user/text.h"
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#define HOUR	    3600
#define DAY	    86400
#define SINCE	    (7LL * DAY)
#define BY_HOUR	    (2LL * DAY) /* up to this, the table has a row an hour */
#define NAMES_SHOWN 10

enum format { FORMAT_TEXT, FORMAT_JSON, FORMAT_HTML };

struct question {
	char who[SF_HISTORY_WHO_MAX]; /* as typed */
	int64_t from, to;
	enum format format;
	const char *output; /* NULL: the standard output */
};

struct name {
	char who[SF_HISTORY_WHO_MAX];
	uint64_t fenced;
};

struct names {
	size_t count;
	int more;
	struct name name[NAMES_SHOWN];
};

/* Which sender -------------------------------------------------------------------------------- */

static int take_name(void *context, const char *who, uint64_t fenced)
{
	struct names *names = context;

	if (names->count == NAMES_SHOWN) {
		names->more = 1;
		return 1;
	}
	names->name[names->count].fenced = fenced;
	snprintf(names->name[names->count++].who, sizeof(names->name[0].who), "%s", who);
	return 0;
}

/* A word that a shell takes as it stands. */
static void print_quoted(FILE *out, const char *text)
{
	char safe[SF_HISTORY_WHO_MAX * 4];

	sf_escape_controls(text, safe, sizeof(safe));
	putc('\'', out);
	for (const char *p = safe; *p; p++) {
		if (*p == '\'')
			fputs("'\\''", out);
		else
			putc(*p, out);
	}
	putc('\'', out);
}

/* Not one name but none or several: say so, and what could be meant. */
static int not_one(const struct sf_cli *cli, const char *command, const char *said,
		   const struct names *names)
{
	struct json_object *json, *list;
	char safe[SF_HISTORY_WHO_MAX * 4];

	fprintf(stderr, "smtpfence: %s\n", said);
	for (size_t i = 0; i < names->count; i++) {
		fprintf(stderr, "  smtpfence %s ", command);
		print_quoted(stderr, names->name[i].who);
		fprintf(stderr, "   (%llu sent)\n", (unsigned long long)names->name[i].fenced);
	}
	if (names->more)
		fputs("  and more: write more of the name\n", stderr);
	if (!cli->json)
		return SF_EXIT_FAILED;
	json = json_object_new_object();
	list = json_object_new_array();
	json_object_object_add(json, "error", json_object_new_string(said));
	for (size_t i = 0; i < names->count; i++) {
		sf_escape_controls(names->name[i].who, safe, sizeof(safe));
		json_object_array_add(list, json_object_new_string(safe));
	}
	json_object_object_add(json, "names", list);
	cli_print_json(json);
	return SF_EXIT_FAILED;
}

/* The one sender that is meant, into `q->who`; or the exit status. */
static int choose(const struct sf_cli *cli, const char *command, struct sf_history *history,
		  struct question *q)
{
	struct names names = {.count = 0};
	struct sf_error err = {.code = 0};
	char said[SF_HISTORY_WHO_MAX * 4 + 128], shown[SF_HISTORY_WHO_MAX * 4];
	int ret = sf_history_find(history, q->who, SIZE_MAX, take_name, &names);

	if (!ret && names.count == 1) {
		snprintf(q->who, sizeof(q->who), "%s", names.name[0].who);
		return SF_EXIT_OK;
	}
	sf_escape_controls(q->who, shown, sizeof(shown));
	if (names.count) {
		snprintf(said, sizeof(said), "several senders match \"%s\": say which", shown);
	} else if (!ret) {
		ret = sf_history_near(history, q->who, 3, take_name, &names);
		snprintf(said, sizeof(said), "no history of \"%s\"%s", shown,
			 names.count ? "; the nearest names are" : "");
	}
	if (ret) {
		sf_fail(&err, ret, "can't read the history: %s",
			ret == -EUCLEAN ? "it is damaged" : strerror(-ret));
		return cli_failed(cli, &err);
	}
	return not_one(cli, command, said, &names);
}

static int open_history(const struct sf_cli *cli, const struct sf_policy *policy,
			struct sf_history **history)
{
	struct sf_error err = {.code = 0};
	int ret = sf_history_open(policy->state_dir, 0, history, NULL, 0, &err);

	if (ret == -ENOENT)
		sf_fail(&err, ret,
			"no history in %s yet: smtpfenced writes it; is it running? See `smtpfence "
			"status`",
			policy->state_dir);
	else if (ret == -EACCES)
		sf_fail(&err, ret, "can't read the history in %s: %s (are you root?)",
			policy->state_dir, strerror(-ret));
	else if (ret == -EUCLEAN)
		snprintf(err.text + strlen(err.text), sizeof(err.text) - strlen(err.text),
			 "; it stays as it is: smtpfenced sets it aside when it starts");
	return ret ? cli_failed(cli, &err) : SF_EXIT_OK;
}

/* In a terminal ------------------------------------------------------------------------------- */

static void trim(char *text)
{
	for (size_t n = strlen(text); n && text[n - 1] == ' '; n--)
		text[n - 1] = '\0';
}

static void print_row(const struct sf_report_row *row, int64_t length, uint64_t most)
{
	const struct sf_hour *h = &row->sum;
	char time[64], sent[24], failed[24], denied[24], would[24], distinct[24], marks[128];
	int width = length == DAY ? 10 : 16;

	sf_report_time(h->hour, 0, time, sizeof(time));
	sf_plot_number(h->fenced, sent, sizeof(sent));
	sf_plot_number(h->refused + h->silent, failed, sizeof(failed));
	sf_plot_number(h->denied, denied, sizeof(denied));
	sf_plot_number(h->would_deny, would, sizeof(would));
	sf_plot_number(h->distinct, distinct, sizeof(distinct));
	if (length == DAY)
		sf_plot_spark(row->hourly, 24, most, marks, sizeof(marks));
	else
		sf_plot_bar(h->fenced, h->denied, most, 18, marks, sizeof(marks));
	trim(marks);
	printf("%-*.*s %8s %8s %8s %8s %8s%s%s\n", width, width, time, sent, failed, denied, would,
	       distinct, marks[0] ? " " : "", marks);
}

/* All of the time in one line, however long it is. */
static void print_spark(const struct sf_report *r)
{
	uint64_t values[SF_REPORT_WIDTH] = {0};
	char marks[SF_REPORT_WIDTH * 3 + 1], from[64], to[64], line[64];
	int64_t begin = r->hours[0].hour > r->from ? r->hours[0].hour : r->from, length;
	size_t count;

	length = sf_plot_step_length(begin, r->to, SF_REPORT_WIDTH - 1);
	if ((r->to - begin) / length >= SF_REPORT_WIDTH - 1)
		begin = r->to - (SF_REPORT_WIDTH - 2) * length;
	begin -= begin % length;
	count = (size_t)((r->to - 1 - begin) / length) + 1;
	for (size_t i = 0; i < r->hour_count; i++)
		if (r->hours[i].hour >= begin)
			values[(r->hours[i].hour - begin) / length] +=
				r->hours[i].fenced + r->hours[i].denied;
	sf_plot_spark(values, count, 0, marks, sizeof(marks));
	trim(marks);
	sf_report_time(begin, 0, from, sizeof(from));
	sf_report_time(r->to, 0, to, sizeof(to));
	snprintf(line, sizeof(line), "%lld h a mark", (long long)(length / HOUR));
	printf("\n%s\n%-16s  %s  %s\n", marks, from, line, to);
}

static int show_history(const struct sf_report *r)
{
	int64_t length = r->to - r->from <= BY_HOUR ? HOUR : DAY;
	_cleanup_free_ struct sf_report_row *rows = NULL;
	char text[2 * SF_HISTORY_WHO_MAX + 256], from[64], to[64];
	uint64_t most = 0;
	size_t count;
	int ret = sf_report_rows(r, length, &rows, &count);

	if (ret)
		return ret;
	sf_report_name(r, text, sizeof(text));
	sf_report_wrap(stdout, "", 4, text);
	sf_report_time(r->first_seen, 0, from, sizeof(from));
	sf_report_time(r->last_seen, 0, to, sizeof(to));
	printf("first seen %s, last %s (their hours; all times UTC)\n", from, to);
	if (count) {
		print_spark(r);
		printf("\n%-*s %8s %8s %8s %8s %8s %s\n", length == DAY ? 10 : 16,
		       length == DAY ? "DAY" : "HOUR", "SENT", "FAILED", "DENIED", "WOULD", "DEST",
		       length == DAY ? "0     6     12    18" : "#: sent, x: denied");
	}
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < 24; k++)
			most = rows[i].hourly[k] > most ? rows[i].hourly[k] : most;
	for (size_t i = 0; i < count; i++)
		print_row(&rows[i], length, most);
	if (!count) {
		sf_report_time(r->from, 0, from, sizeof(from));
		printf("\nnothing since %s: see further back with --since\n", from);
	}
	if (r->alarms_in_all)
		printf("\nALARMS%s\n", r->alarms_in_all > r->alarm_count ? " (the last)" : "");
	for (size_t i = 0; i < r->alarm_count; i++) {
		sf_report_alarm(&r->alarms[i], text, sizeof(text));
		sf_report_wrap(stdout, "", 4, text);
		if (r->alarms[i].text[0])
			sf_report_wrap(stdout, "    ", 4, r->alarms[i].text);
	}
	return 0;
}

static void print_history_json(const struct sf_report *r)
{
	char safe[SF_HISTORY_WHO_MAX * 4];
	struct json_object *o;

	sf_escape_controls(r->who, safe, sizeof(safe));
	for (size_t i = 0; i < r->hour_count; i++) {
		o = sf_report_json_hour(&r->hours[i]);
		json_object_object_add(o, "who", json_object_new_string(safe));
		cli_print_json(o);
	}
	for (size_t i = 0; i < r->alarm_count; i++) {
		o = sf_report_json_alarm(&r->alarms[i]);
		json_object_object_add(o, "who", json_object_new_string(safe));
		cli_print_json(o);
	}
}

/* Reports ------------------------------------------------------------------------------------- */

static int put_report(const struct sf_cli *cli, const struct question *q, const struct sf_report *r,
		      struct sf_error *err)
{
	_cleanup_free_ char *text = NULL;
	char shown[PATH_MAX];
	struct sf_text memory;
	FILE *out = sf_text_open(&memory);
	int ret = 0;

	if (!out)
		return sf_fail(err, -ENOMEM, "no memory");
	if (q->format == FORMAT_JSON)
		ret = sf_report_json(r, out);
	else if (q->format == FORMAT_HTML)
		sf_report_html(r, out);
	else
		sf_report_text(r, out);
	text = sf_text_close(out, &memory);
	if (!text || ret)
		return sf_fail(err, -ENOMEM, "no memory");
	if (!q->output) {
		if (fwrite(text, 1, memory.length, stdout) != memory.length || fflush(stdout))
			return sf_fail(err, -errno, "can't write the report: %s", strerror(errno));
		return 0;
	}
	ret = sf_report_write(q->output, text, memory.length, err);
	if (!ret) {
		sf_escape_controls(q->output, shown, sizeof(shown));
		cli_done(cli, "written to %s", shown);
	}
	return ret;
}

/* Both commands ------------------------------------------------------------------------------- */

static int read_format(const char *text, enum format *format)
{
	static const char *const names[] = {"text", "json", "html"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]))
			continue;
		*format = (enum format)i;
		return 0;
	}
	return -EINVAL;
}

/* The words behind the command; SF_EXIT_OK or what to end with. */
static int read_words(const struct sf_cli *cli, int argc, char **argv, struct question *q)
{
	static const struct option options[] = {
		{"since", required_argument, NULL, 's'},
		{"format", required_argument, NULL, 'f'},
		{"output", required_argument, NULL, 'o'},
		{NULL, 0, NULL, 0},
	};
	int is_report = !strcmp(argv[0], "report"), option, words;
	int64_t seconds = SINCE;

	memset(q, 0, sizeof(*q));
	q->format = cli->json ? FORMAT_JSON : FORMAT_TEXT;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's' && sf_duration_parse(optarg, &seconds))
			return cli_usage(cli, "--since \"%.40s\": write a time like 12h, 7d or 4w",
					 optarg);
		if ((option == 'f' || option == 'o') && !is_report)
			return cli_usage(cli,
					 "history has no --format and no --output; report has");
		if (option == 'f' && read_format(optarg, &q->format))
			return cli_usage(cli, "--format \"%.40s\": text, json or html", optarg);
		if (option == 'f' && cli->json && q->format != FORMAT_JSON)
			return cli_usage(cli, "--json and --format %s: one of them", optarg);
		if (option == 'o')
			q->output = optarg;
		if (option == '?')
			return SF_EXIT_USAGE;
	}
	words = argc - optind;
	/* A name has a space before its path; without quotes the shell makes two words of it. */
	if (words < 1 || words > 2 || !argv[optind][0] ||
	    (words == 2 && argv[optind + 1][0] != '/'))
		return cli_usage(cli,
				 "%s: say of whom: a user, uid, address, network, or a part of a "
				 "cgroup's path",
				 argv[0]);
	if (snprintf(q->who, sizeof(q->who), "%s%s%s", argv[optind], words == 2 ? " " : "",
		     words == 2 ? argv[optind + 1] : "") >= (int)sizeof(q->who))
		return cli_usage(cli, "%s: the name is too long", argv[0]);
	q->to = (int64_t)time(NULL) + 1;
	q->from = q->to > seconds ? q->to - seconds : 1;
	return SF_EXIT_OK;
}

static int answer(const struct sf_cli *cli, const char *command, const struct sf_policy *policy,
		  struct sf_history *history, struct question *q)
{
	static struct sf_report report; /* too big for a stack of a thread */
	struct sf_error err = {.code = 0};
	int is_report = !strcmp(command, "report"), ret;

	ret = choose(cli, command, history, q);
	if (ret)
		return ret;
	ret = sf_report_gather(history, q->who, q->from, q->to, &report, &err);
	if (!ret && is_report) {
		/* Without them the rest is worth having: said, and gone on. */
		if (sf_report_add_events(&report, policy->state_dir, &err))
			cli_note("%s", err.text);
		sf_report_add_policy(&report, policy);
		ret = put_report(cli, q, &report, &err);
	} else if (!ret && cli->json) {
		print_history_json(&report);
	} else if (!ret) {
		ret = show_history(&report);
		if (ret)
			sf_fail(&err, ret, "no memory");
	}
	sf_report_free(&report);
	return ret ? cli_failed(cli, &err) : SF_EXIT_OK;
}

static int run(const struct sf_cli *cli, int argc, char **argv)
{
	struct sf_history *history = NULL;
	struct sf_error err = {.code = 0};
	struct sf_policy policy;
	struct question q;
	int ret = read_words(cli, argc, argv, &q);

	if (ret)
		return ret;
	if (sf_config_read(cli->config_file, NULL, 1, &policy, &err))
		return cli_failed(cli, &err);
	ret = open_history(cli, &policy, &history);
	if (!ret)
		ret = answer(cli, argv[0], &policy, history, &q);
	sf_history_close(history);
	sf_policy_free(&policy);
	return ret;
}

int cmd_history(const struct sf_cli *cli, int argc, char **argv)
{
	return run(cli, argc, argv);
}

int cmd_report(const struct sf_cli *cli, int argc, char **argv)
{
	return run(cli, argc, argv);
}
