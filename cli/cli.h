/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the commands share. The command line is thin: it turns words into a change of the policy or
 * a question to the library, and prints the answer as a table for people or JSON for programs.
 */
#ifndef SF_CLI_CLI_H
#define SF_CLI_CLI_H

#include <json-c/json.h>
#include "../user/error.h"
#include "../user/policy.h"

/* Exit statuses (design: section 7). */
enum sf_exit {
	SF_EXIT_OK = 0,
	SF_EXIT_FAILED = 1,
	SF_EXIT_USAGE = 2,
	SF_EXIT_NOT_ENFORCING = 3,
	SF_EXIT_PARTLY = 4,
};

struct sf_cli {
	const char *config_file; /* --config, or NULL */
	int json;
};

struct sf_command {
	const char *name;
	const char *usage; /* what follows the name */
	const char *help;
	int (*run)(const struct sf_cli *cli, int argc, char **argv); /* argv[0] is the name */
};

extern const struct sf_command sf_commands[];

int cmd_on(const struct sf_cli *cli, int argc, char **argv);
int cmd_off(const struct sf_cli *cli, int argc, char **argv);
int cmd_monitor(const struct sf_cli *cli, int argc, char **argv);
int cmd_apply(const struct sf_cli *cli, int argc, char **argv);
int cmd_check(const struct sf_cli *cli, int argc, char **argv);
int cmd_status(const struct sf_cli *cli, int argc, char **argv);
int cmd_test(const struct sf_cli *cli, int argc, char **argv);
int cmd_set(const struct sf_cli *cli, int argc, char **argv);
int cmd_get(const struct sf_cli *cli, int argc, char **argv);
int cmd_role(const struct sf_cli *cli, int argc, char **argv);
int cmd_allow(const struct sf_cli *cli, int argc, char **argv);
int cmd_quarantine(const struct sf_cli *cli, int argc, char **argv);
int cmd_limit(const struct sf_cli *cli, int argc, char **argv);
int cmd_gateway(const struct sf_cli *cli, int argc, char **argv);
int cmd_remove(const struct sf_cli *cli, int argc, char **argv);
int cmd_list(const struct sf_cli *cli, int argc, char **argv);
int cmd_events(const struct sf_cli *cli, int argc, char **argv);
int cmd_history(const struct sf_cli *cli, int argc, char **argv);
int cmd_report(const struct sf_cli *cli, int argc, char **argv);
int cmd_replay(const struct sf_cli *cli, int argc, char **argv);
int cmd_census(const struct sf_cli *cli, int argc, char **argv);
int cmd_top(const struct sf_cli *cli, int argc, char **argv);
int cmd_doctor(const struct sf_cli *cli, int argc, char **argv);

/* Output -------------------------------------------------------------------------------------- */

/* "smtpfence: TEXT" on stderr (with --json also {"error": TEXT} on stdout); the exit status. */
int cli_failed(const struct sf_cli *cli, const struct sf_error *err);
/* A wrong command line: the text and where help is. Returns SF_EXIT_USAGE. */
int cli_usage(const struct sf_cli *cli, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Done: the text on stdout, or {"ok": true}. Returns SF_EXIT_OK. */
int cli_done(const struct sf_cli *cli, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* What of the files is not in effect because its users are gone: a remark each. */
void cli_note_unresolved(const struct sf_policy *policy);
/* A remark on stderr. */
void cli_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Print and release a JSON value, one line. */
void cli_print_json(struct json_object *value);
/* By JSON_C_TO_STRING_*; ends the command where there is no memory for the text. */
void cli_print_json_as(struct json_object *value, int flags);
/* A JSON string of text from outside, escaped as in syslog, so that it is valid UTF-8. */
struct json_object *cli_json_text(const char *text);

/*
 * A table: libsmartcols behind three calls. Columns are names divided by '|'; cells are copied and
 * must be escaped already, and are shown as they are. cli_table_print also releases.
 */
struct libscols_table;
struct libscols_table *cli_table(const char *columns);
void cli_table_row(struct libscols_table *table, size_t cells, ...);
void cli_table_print(struct libscols_table *table);

/* "3 days ago" is worse than a time: seconds since 1970 as local time, or "-" for 0. */
void cli_time(int64_t seconds, char *out, size_t size);

#endif
