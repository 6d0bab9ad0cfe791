// SPDX-License-Identifier: GPL-2.0-only
/* A text in memory is whole, or it is not there: with less and less memory to be had. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../../user/text.h"

static int fail_at, calls;

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);

/* The library's growth, and nobody's else (the linker's --wrap): one of them finds no memory. */
void *__wrap_realloc(void *old, size_t size)
{
	return fail_at && ++calls == fail_at ? NULL : __real_realloc(old, size);
}

static char *write_lines(struct sf_text *text, int lines)
{
	FILE *out = sf_text_open(text);

	assert_non_null(out);
	for (int i = 0; i < lines; i++)
		fprintf(out, "line %d of a policy\n", i);
	return sf_text_close(out, text);
}

static void whole(void **state)
{
	struct sf_text text;
	char *data;

	(void)state;
	fail_at = 0;
	data = write_lines(&text, 0);
	assert_string_equal(data, "");
	free(data);
	data = write_lines(&text, 5000);
	assert_non_null(data);
	assert_int_equal(strlen(data), text.length);
	assert_string_equal(strstr(data, "line 4999"), "line 4999 of a policy\n");
	free(data);
}

static void or_not_there(void **state)
{
	struct sf_text text;
	int failed = 0;

	(void)state;
	for (fail_at = 1; fail_at < 40; fail_at++) {
		char *data;

		calls = 0;
		data = write_lines(&text, 5000);
		if (calls < fail_at) {
			free(data);
			break;
		}
		assert_null(data);
		failed++;
	}
	fail_at = 0;
	assert_in_range(failed, 3, 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),
		cmocka_unit_test(or_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
