// SPDX-License-Identifier: GPL-2.0-only
/* top: the busiest senders and sources, live; a sparkline each, in 80 columns. */
#include "cli.h"
#include "census_rows.h"
#include "../user/cgroup.h"
#include "../user/config.h"
#include "../user/plot.h"
#include "../user/status.h"
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define NAME_COLUMNS 28

static struct termios before;
static volatile sig_atomic_t over;

static void on_signal(int signal)
{
	(void)signal;
	over = 1;
}

/* Columns, not bytes: escaped names are printable UTF-8; wide characters are counted as one. */
static void put_name(const char *name)
{
	int columns = 0;
	const char *p = name;

	for (; *p && columns < NAME_COLUMNS; p++) {
		if ((*p & 0xc0) != 0x80)
			columns++;
		if (columns == NAME_COLUMNS && p[1] && (p[1] & 0xc0) != 0x80 && strlen(p) > 1) {
			fputs("+", stdout);
			break;
		}
		putchar(*p);
	}
	printf("%*s", NAME_COLUMNS - columns, "");
}

static void put_row(const struct sf_census *census, const char *mount, const struct sf_tally *t)
{
	uint64_t slices[SF_WINDOW_SLICES];
	char name[1024], spark[SF_WINDOW_SLICES * 3 + 1], cell[4][16];

	for (int i = 0; i < SF_WINDOW_SLICES; i++)
		slices[i] = t->slice[i];
	sf_plot_spark(slices, SF_WINDOW_SLICES, 0, spark, sizeof(spark));
	census_row_name(census, t, mount, name, sizeof(name));
	sf_plot_number(t->window, cell[0], sizeof(cell[0]));
	sf_plot_number((uint64_t)(t->distinct + 0.5), cell[1], sizeof(cell[1]));
	sf_plot_number(t->refused + t->silent, cell[2], sizeof(cell[2]));
	sf_plot_number(t->denied + t->would_deny, cell[3], sizeof(cell[3]));
	put_name(name);
	printf(" %7s %7s %6s %6s %s\n", cell[0], cell[1], cell[2], cell[3], spark);
}

/* The kernel's, not what a file says. */
static const char *mode_now(const struct sf_policy *policy)
{
	struct sf_status status;
	int mode, in_part;

	if (sf_status_read(policy, SF_STATUS_QUICK, &status, NULL))
		return "(mode unknown)";
	mode = status.mode;
	in_part = mode == SF_MODE_ENFORCE && !status.enforcing;
	sf_status_free(&status);
	return in_part ? "enforce (in part)" : sf_mode_name(mode);
}

static int put_frame(const struct sf_policy *policy, const char *mount, int figure, int lines,
		     struct sf_error *err)
{
	static const struct {
		uint32_t kind;
		const char *title;
	} parts[] = {{SF_WHO_SENDER, "SENDER"}, {SF_WHO_SOURCE, "SOURCE"}};
	uint64_t counter[SF_CENSUS_COUNTER_MAX];
	struct sf_census census;
	int ret = sf_census_open(policy->pin_dir, &census, err);

	if (ret)
		return ret;
	sf_census_counters(policy->pin_dir, counter);
	printf("smtpfence %s  SYNs %llu, to fenced ports %llu\n", mode_now(policy),
	       (unsigned long long)counter[SF_CENSUS_SYN],
	       (unsigned long long)counter[SF_CENSUS_FENCED]);
	for (size_t p = 0; p < 2 && !ret; p++) {
		struct census_rows rows;
		size_t room = (size_t)(lines - 4 > 4 ? (lines - 4) / 2 : 2);

		ret = census_rows_read(&census, parts[p].kind, 0, figure, &rows);
		if (ret)
			break;
		printf("\n%-*s %7s %7s %6s %6s %s\n", NAME_COLUMNS, parts[p].title, "10MIN",
		       "DISTINCT", "FAILED", "DENIED", "LAST 10 MIN");
		for (size_t i = 0; i < rows.count && i + 1 < room; i++)
			put_row(&census, mount, &rows.row[i]);
		census_rows_free(&rows);
	}
	sf_census_close(&census);
	return ret ? sf_fail(err, ret, "no memory") : 0;
}

static void restore(void)
{
	tcsetattr(STDIN_FILENO, TCSANOW, &before);
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
}

/* The keys sort: their figure's first letter. */
static int figure_of_key(char key, int figure)
{
	static const struct {
		char key;
		const char *name;
	} keys[] = {
		{'w', "window"}, {'d', "distinct"}, {'f', "failed"}, {'s', "syn"}, {'x', "denied"}};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (keys[i].key == key)
			return census_figure(keys[i].name);
	return figure;
}

static int live(const struct sf_policy *policy, const char *mount, int figure, int pause_ms,
		struct sf_error *err)
{
	struct termios raw;
	int ret = 0;

	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	tcgetattr(STDIN_FILENO, &before);
	raw = before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fputs("\033[?1049h\033[?25l", stdout);
	while (!over && !ret) {
		struct pollfd wait = {.fd = STDIN_FILENO, .events = POLLIN};
		struct winsize size = {.ws_row = 24};
		char key;

		ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
		fputs("\033[H\033[2J", stdout);
		ret = put_frame(policy, mount, figure, size.ws_row, err);
		printf("\nq quits; sort: w window, d distinct, f failed, s syn, x denied");
		fflush(stdout);
		if (!ret && poll(&wait, 1, pause_ms) > 0 && read(STDIN_FILENO, &key, 1) == 1) {
			over = key == 'q';
			figure = figure_of_key(key, figure);
		}
	}
	restore();
	return ret;
}

int cmd_top(const struct sf_cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{"sort", required_argument, NULL, 'o'},
		{"once", no_argument, NULL, '1'},
		{NULL, 0, NULL, 0},
	};
	int option, figure = census_figure("window"), ret, once = !isatty(STDOUT_FILENO);
	char mount[PATH_MAX];
	struct sf_error err = {.code = 0};
	struct sf_policy policy;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'o') {
			figure = census_figure(optarg);
			if (figure < 0)
				return cli_usage(cli, "--sort \"%.40s\": write one of %s", optarg,
						 census_figures());
		} else if (option == '1') {
			once = 1;
		} else {
			return SF_EXIT_USAGE;
		}
	}
	if (optind < argc)
		return cli_usage(cli, "top: \"%.40s\" is too much", argv[optind]);
	if (cli->json)
		return cli_usage(cli, "top has no --json: see sources and senders");
	if (sf_config_read(cli->config_file, NULL, 1, &policy, &err))
		return cli_failed(cli, &err);
	ret = sf_cgroup_mount(mount, sizeof(mount), &err);
	if (!ret)
		ret = once ? put_frame(&policy, mount, figure, 24, &err)
			   : live(&policy, mount, figure, 1000, &err);
	sf_policy_free(&policy);
	return ret ? cli_failed(cli, &err) : SF_EXIT_OK;
}
