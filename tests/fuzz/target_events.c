// SPDX-License-Identifier: GPL-2.0-only
/*
 * events.jsonl as somebody may have left it, read by `smtpfence events`, for people and for
 * programs: each line that is printed is whole, clean, and, with --json, JSON.
 */
#include "fuzz.h"
#include "../../cli/cmd_events.c"

int cli_usage(const struct sf_cli *cli, const char *format, ...)
{
	(void)cli;
	(void)format;
	return SF_EXIT_USAGE;
}

int cli_failed(const struct sf_cli *cli, const struct sf_error *err)
{
	(void)cli;
	(void)err;
	return SF_EXIT_FAILED;
}

void cli_note(const char *format, ...)
{
	(void)format;
}

/* As cli/output.c has it. */
void cli_print_json_as(struct json_object *value, int flags)
{
	puts(json_object_to_json_string_ext(value, flags | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(value);
}

static size_t lines_of(const char *text, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < size; i++)
		n += text[i] == '\n';
	return n;
}

static void check(struct fuzz_part content, int json)
{
	const struct sf_cli cli = {.json = json};
	FILE *in = fopen(fuzz_file(0, content), "re");
	size_t size, printed;
	char *text, *save = NULL;

	fuzz_catch_stdout();
	print_lines(&cli, in, "");
	fclose(in);
	text = strdup(fuzz_printed(&size));
	printed = lines_of(text, size);
	PROPERTY(strlen(text) == size);
	PROPERTY(printed <= lines_of((const char *)content.data, content.size));
	PROPERTY(!size || text[size - 1] == '\n');
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		PROPERTY(fuzz_is_clean_utf8(line));
		PROPERTY(!json || fuzz_is_json(line));
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check((struct fuzz_part){data, size}, 0);
	check((struct fuzz_part){data, size}, 1);
	return 0;
}
