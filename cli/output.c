// SPDX-License-Identifier: GPL-2.0-only
#include "cli.h"
#include "../user/escape.h"
#include <err.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int cli_failed(const struct sf_cli *cli, const struct sf_error *err)
{
	char text[SF_ERROR_LEN * 4];

	sf_escape_controls(err->text[0] ? err->text : strerror(-err->code), text, sizeof(text));
	fprintf(stderr, "smtpfence: %s\n", text);
	if (cli->json) {
		struct json_object *object = json_object_new_object();

		json_object_object_add(object, "error", json_object_new_string(text));
		cli_print_json(object);
	}
	return err->is_usage ? SF_EXIT_USAGE : SF_EXIT_FAILED;
}

int cli_usage(const struct sf_cli *cli, const char *format, ...)
{
	struct sf_error err = {.is_usage = 1, .code = -1};
	va_list args;

	va_start(args, format);
	vsnprintf(err.text, sizeof(err.text), format, args);
	va_end(args);
	return cli_failed(cli, &err);
}

int cli_done(const struct sf_cli *cli, const char *format, ...)
{
	va_list args;

	if (cli->json) {
		struct json_object *json = json_object_new_object();

		json_object_object_add(json, "ok", json_object_new_boolean(1));
		cli_print_json(json);
		return SF_EXIT_OK;
	}
	va_start(args, format);
	vprintf(format, args);
	putchar('\n');
	va_end(args);
	return SF_EXIT_OK;
}

void cli_note_unresolved(const struct sf_policy *policy)
{
	for (size_t i = 0; i < policy->entry_count; i++)
		if (policy->entries[i].unresolved)
			cli_note("note: %s \"%s\" (%s, line %d) names a user or group that this "
				 "host "
				 "does not have: not in effect",
				 sf_entry_sections[policy->entries[i].kind],
				 policy->entries[i].value,
				 policy->entries[i].managed ? policy->managed_file
							    : policy->config_file,
				 policy->entries[i].line);
}

void cli_note(const char *format, ...)
{
	char raw[SF_ERROR_LEN * 2], text[SF_ERROR_LEN * 8];
	va_list args;

	va_start(args, format);
	vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	sf_escape_controls(raw, text, sizeof(text));
	fprintf(stderr, "smtpfence: %s\n", text);
}

void cli_print_json_as(struct json_object *value, int flags)
{
	const char *text =
		json_object_to_json_string_ext(value, flags | JSON_C_TO_STRING_NOSLASHESCAPE);

	if (!text)
		errx(SF_EXIT_FAILED, "no memory");
	puts(text);
	json_object_put(value);
}

void cli_print_json(struct json_object *value)
{
	cli_print_json_as(value, JSON_C_TO_STRING_SPACED);
}

struct json_object *cli_json_text(const char *text)
{
	size_t room = strlen(text) * 4 + 1;
	char *safe = malloc(room);
	struct json_object *object;

	if (!safe)
		return NULL;
	sf_escape_string(text, safe, room);
	object = json_object_new_string(safe);
	free(safe);
	return object;
}

struct libscols_table *cli_table(const char *columns)
{
	struct libscols_table *table;
	char *copy = strdup(columns), *save = NULL;

	scols_init_debug(0);
	table = scols_new_table();
	for (char *name = strtok_r(copy, "|", &save); name; name = strtok_r(NULL, "|", &save))
		scols_table_new_column(table, name, 0, 0);
	free(copy);
	/* Cells are escaped already: the library's own way would turn \x1b into \x5cx1b. */
	scols_table_enable_noencoding(table, 1);
	/* To a pipe nothing is cut; a terminal wraps by itself. */
	scols_table_enable_nowrap(table, isatty(STDOUT_FILENO) ? 0 : 1);
	return table;
}

void cli_table_row(struct libscols_table *table, size_t cells, ...)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	va_list args;

	va_start(args, cells);
	for (size_t i = 0; line && i < cells; i++) {
		const char *cell = va_arg(args, const char *);
		size_t room = strlen(cell) * 4 + 1;
		char *safe = malloc(room);

		/* Changes nothing in a text that is escaped; one that is not does no harm. */
		if (safe)
			sf_escape_controls(cell, safe, room);
		scols_line_refer_data(line, i, safe);
	}
	va_end(args);
}

void cli_table_print(struct libscols_table *table)
{
	scols_print_table(table);
	scols_unref_table(table);
}

void cli_time(int64_t seconds, char *out, size_t size)
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!seconds || !localtime_r(&t, &tm) || !strftime(out, size, "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(out, size, "-");
}
