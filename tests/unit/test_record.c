// SPDX-License-Identifier: GPL-2.0-only
/* Recorded events: whole lines of JSON whatever the disk does, and rotation without a gap. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <json-c/json.h>
#include "tree.h"
#include "smalldisk.h"
#include "../../maps/counters.h"
#include "../../user/record.h"

#define DISK_SIZE 65536

static struct sf_record record;
static char directory[PATH_MAX];

static void event_of(struct sf_explained *e, uint32_t number)
{
	memset(e, 0, sizeof(*e));
	e->time = 1893553445;
	e->time_us = 42;
	e->pid = number;
	e->uid = 1001;
	e->dport = 25;
	e->verdict = SF_VERDICT_DENIED;
	e->reason = SF_REASON_NO_ROLE;
	strcpy(e->user, "web1");
	strcpy(e->comm, "php");
	strcpy(e->daddr, "192.0.2.1");
	strcpy(e->cwd, "/");
}

static int open_in(const char *name)
{
	snprintf(directory, sizeof(directory), "%s", tree_path(name));
	return sf_record_open(&record, directory);
}

static const char *member(struct json_object *o, const char *key)
{
	struct json_object *value = NULL;

	assert_true(json_object_object_get_ex(o, key, &value));
	return json_object_get_string(value);
}

/* Every line an object; their pids ascend by one from `first`. Returns the pid after the last. */
static uint32_t check_lines(const char *name, uint32_t first)
{
	char path[PATH_MAX + 32], *line = NULL;
	size_t room = 0;
	ssize_t n;
	FILE *in;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	in = fopen(path, "re");
	assert_non_null(in);
	while ((n = getline(&line, &room, in)) > 0) {
		struct json_object *o;

		assert_int_equal(line[n - 1], '\n');
		o = json_tokener_parse(line);
		if (!o)
			fail_msg("no JSON: %s", line);
		assert_int_equal(strtoul(member(o, "pid"), NULL, 10), first++);
		json_object_put(o);
	}
	free(line);
	fclose(in);
	return first;
}

static void one_object(void **state)
{
	static const char *const keys[] = {"time", "verdict", "reason", "pid",	  "uid",   "user",
					   "comm", "exe",     "cwd",	"cgroup", "daddr", "dport"};
	struct sf_explained e;
	struct json_object *o;
	char *line;

	(void)state;
	event_of(&e, 7);
	strcpy(e.exe, "/a\\x0a\\\"b\\\\");
	strcpy(e.cgroup, "/\xc3\xbc/");
	line = sf_record_line(&e);
	assert_non_null(line);
	assert_null(strchr(line, '\n'));
	o = json_tokener_parse(line);
	assert_non_null(o);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		member(o, keys[i]);
	assert_string_equal(member(o, "time"), "2030-01-02T03:04:05.000042Z");
	assert_string_equal(member(o, "verdict"), "denied");
	assert_string_equal(member(o, "reason"), "no_role");
	assert_string_equal(member(o, "uid"), "1001");
	/* JSON quotes by itself; what is escaped for another reason stays so. */
	assert_string_equal(member(o, "exe"), "/a\\x0a\"b\\\\");
	assert_string_equal(member(o, "cgroup"), e.cgroup);
	assert_false(json_object_object_get_ex(o, "unit", NULL));
	json_object_put(o);
	free(line);
	/* As long as may be: to the last byte, which may be a character's second. */
	for (size_t i = 0; i + 3 < sizeof(e.cwd); i += 2)
		memcpy(e.cwd + i, "\xc3\xbc", 3);
	memcpy(e.cwd + sizeof(e.cwd) - 4, "\\\\x", 4);
	memset(e.exe, 'x', sizeof(e.exe) - 1);
	memcpy(e.exe + sizeof(e.exe) - 3, "\xc3\xbc", 3);
	line = sf_record_line(&e);
	o = json_tokener_parse(line);
	assert_non_null(o);
	assert_string_equal(member(o, "cwd"), e.cwd);
	assert_string_equal(member(o, "exe"), e.exe);
	json_object_put(o);
	free(line);
	/* A kernel thread is nobody's. */
	e.uid = SF_UID_KERNEL;
	line = sf_record_line(&e);
	o = json_tokener_parse(line);
	assert_string_equal(member(o, "uid"), "-1");
	json_object_put(o);
	free(line);
	for (uint8_t v = 0; v < SF_VERDICT_COUNT; v++)
		for (uint8_t r = 0; r < SF_REASON_COUNT; r++) {
			e.verdict = v;
			e.reason = r;
			line = sf_record_line(&e);
			assert_non_null(line);
			free(line);
		}
}

static void appended(void **state)
{
	struct sf_explained e;

	(void)state;
	assert_int_equal(open_in("/appended/"), 0);
	for (uint32_t i = 0; i < 10; i++) {
		event_of(&e, i);
		assert_int_equal(sf_record_write(&record, &e), 0);
		if (i == 5) { /* the daemon was started anew */
			sf_record_close(&record);
			sf_record_close(&record);
			assert_int_equal(sf_record_open(&record, directory), 0);
		}
	}
	sf_record_close(&record);
	assert_int_equal(check_lines(SF_RECORD_NAME, 0), 10);
	assert_int_equal(record.lost, 0);
}

/* Half a line, of a power cut: the next stands on its own. */
static void after_half_a_line(void **state)
{
	char path[PATH_MAX + 32], text[4096];
	struct sf_explained e;
	FILE *in;

	(void)state;
	tree_file("/half/events.jsonl", "{ \"pid\": 1, \"us");
	assert_int_equal(open_in("/half/"), 0);
	event_of(&e, 2);
	assert_int_equal(sf_record_write(&record, &e), 0);
	sf_record_close(&record);
	snprintf(path, sizeof(path), "%s/%s", directory, SF_RECORD_NAME);
	in = fopen(path, "re");
	assert_non_null(in);
	assert_non_null(fgets(text, sizeof(text), in));
	assert_string_equal(text, "{ \"pid\": 1, \"us\n");
	assert_non_null(fgets(text, sizeof(text), in));
	assert_int_equal(text[strlen(text) - 1], '\n');
	assert_int_equal(text[0], '{');
	fclose(in);
}

static void rotated(void **state)
{
	struct sf_explained e;
	struct stat old, fresh;
	char path[PATH_MAX + 32];
	uint32_t next = 0, number = 0;

	(void)state;
	assert_int_equal(open_in("/rotated/"), 0);
	snprintf(path, sizeof(path), "%s/%s.1", directory, SF_RECORD_NAME);
	while (stat(path, &old)) {
		event_of(&e, number++);
		memset(e.cmdline, 'x', sizeof(e.cmdline) - 1);
		memset(e.cwd, '\\', sizeof(e.cwd) - 1);
		assert_int_equal(sf_record_write(&record, &e), 0);
		assert_true(number < 2 * SF_RECORD_MAX / 2000);
	}
	assert_in_range(old.st_size, SF_RECORD_MAX, SF_RECORD_MAX + 8192);
	next = check_lines(SF_RECORD_NAME ".1", 0);
	assert_int_equal(next, number - 1);
	assert_int_equal(check_lines(SF_RECORD_NAME, next), number);
	sf_record_close(&record);
	/* Where it can't be renamed it grows on: nothing is lost. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/%s", directory, SF_RECORD_NAME);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(sf_record_open(&record, directory), 0);
	record.size = SF_RECORD_MAX; /* as if */
	event_of(&e, 0);
	assert_int_equal(sf_record_write(&record, &e), 0);
	assert_int_equal(record.lost, 0);
	assert_int_equal(stat(path, &fresh), 0);
	assert_true(fresh.st_size > 0);
	sf_record_close(&record);
	assert_int_equal(check_lines(SF_RECORD_NAME, 0), 1);
}

static void a_place_that_comes_later(void **state)
{
	struct sf_explained e;

	(void)state;
	snprintf(directory, sizeof(directory), "%s/later", tree_root);
	assert_int_equal(sf_record_open(&record, directory), -ENOENT);
	event_of(&e, 0);
	assert_int_equal(sf_record_write(&record, &e), -ENOENT);
	assert_int_equal(sf_record_write(&record, &e), -ENOENT);
	assert_int_equal(record.lost, 2);
	assert_int_equal(mkdir(directory, 0755), 0);
	assert_int_equal(sf_record_write(&record, &e), 0);
	sf_record_close(&record);
	assert_int_equal(check_lines(SF_RECORD_NAME, 0), 1);
}

static void full_disk(void **state)
{
	char filler[PATH_MAX + 32];
	struct sf_explained e;
	uint32_t written = 0;
	int failed = 0;
	FILE *out;

	(void)state;
	snprintf(directory, sizeof(directory), "%s", tree_path("/disk/"));
	directory[strlen(directory) - 1] = '\0';
	if (small_disk(directory, DISK_SIZE)) {
		print_message("no root, or no mounts here: not tested\n");
		skip();
	}
	/* Long lines and short ones, so that the last bytes of the disk are met in every way. */
	snprintf(filler, sizeof(filler), "%s/filler", directory);
	out = fopen(filler, "we");
	assert_non_null(out);
	assert_int_equal(fwrite(&e, 1, sizeof(e) < 4000 ? sizeof(e) : 4000, out) > 0, 1);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(sf_record_open(&record, directory), 0);
	for (int i = 0; i < 400; i++) {
		event_of(&e, written);
		memset(e.cmdline, 'x', (size_t)(i * 37) % sizeof(e.cmdline));
		if (sf_record_write(&record, &e))
			failed++;
		else
			written++;
	}
	assert_true(failed > 0 && written > 20);
	assert_int_equal(record.lost, failed);
	assert_int_equal(check_lines(SF_RECORD_NAME, 0), written);
	/* There is room again: it goes on behind the last whole line. */
	assert_int_equal(unlink(filler), 0);
	event_of(&e, written);
	assert_int_equal(sf_record_write(&record, &e), 0);
	assert_int_equal(check_lines(SF_RECORD_NAME, 0), written + 1);
	sf_record_close(&record);
	assert_int_equal(umount(directory), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_object),
		cmocka_unit_test(appended),
		cmocka_unit_test(after_half_a_line),
		cmocka_unit_test(rotated),
		cmocka_unit_test(a_place_that_comes_later),
		cmocka_unit_test(full_disk),
	};

	return cmocka_run_group_tests(tests, tree_setup, tree_teardown);
}
