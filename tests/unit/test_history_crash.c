// SPDX-License-Identifier: GPL-2.0-only
/* History: what is committed is there, whatever happens to the process, the power or the disk. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <cmocka.h>
#include <sqlite3.h>
#include "history_lab.h"
#include "smalldisk.h"

static void reader_beside_a_writer(void **state)
{
	struct sf_history *writer, *reader;

	(void)state;
	in("reader");
	writer = opened(SF_HISTORY_WRITE);
	assert_int_equal(add(writer, WEB1, BEGIN, 1), 0);
	reader = opened(0);
	assert_int_equal(sf_history_begin(writer), 0);
	assert_int_equal(add(writer, WEB1, BEGIN, 1), 0);
	assert_int_equal(hours(reader, WEB1, 0, INT64_MAX), 1); /* neither waits */
	assert_int_equal(seen.sum, 1);
	assert_int_equal(sf_history_commit(writer), 0);
	hours(reader, WEB1, 0, INT64_MAX);
	assert_int_equal(seen.sum, 2);
	/* One view for as long as the reader wants. */
	assert_int_equal(sf_history_begin(reader), 0);
	hours(reader, WEB1, 0, INT64_MAX);
	assert_int_equal(add(writer, WEB1, BEGIN, 1), 0);
	assert_int_equal(sf_history_prune(writer, BEGIN, 1, UINT64_MAX), 0);
	hours(reader, WEB1, 0, INT64_MAX);
	assert_int_equal(seen.sum, 2);
	assert_int_equal(sf_history_commit(reader), 0);
	hours(reader, WEB1, 0, INT64_MAX);
	assert_int_equal(seen.sum, 3);
	assert_int_equal(add(reader, WEB1, BEGIN, 1), -EROFS);
	assert_int_equal(sf_history_clear(reader, 1, 1), -EROFS);
	sf_history_close(reader);
	sf_history_close(writer);
}

/* In another process, all the time: what it reads is a whole number of transactions. */
static void reader_while_it_is_written(void **state)
{
	struct sf_history *h;
	int status;
	pid_t child;

	(void)state;
	in("meanwhile");
	h = opened(SF_HISTORY_WRITE);
	assert_int_equal(add(h, "start", BEGIN, 0), 0);
	child = fork();
	if (!child) {
		struct sf_history *mine = NULL;
		uint64_t last = 0;

		while (last < 30000) {
			if (sf_history_open(directory, 0, &mine, NULL, 0, &err))
				_exit(1);
			memset(&seen, 0, sizeof(seen));
			if (sf_history_hours(mine, NULL, 0, INT64_MAX, see_hour, &seen))
				_exit(2);
			if (seen.sum % 1000 || seen.sum < last)
				_exit(3);
			last = seen.sum;
			sf_history_close(mine);
		}
		_exit(0);
	}
	fill(h, 30);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	sf_history_close(h);
}

static void killed_in_a_transaction(void **state)
{
	struct sf_history *h;
	int status, ready[2];
	pid_t child;
	char byte;

	(void)state;
	in("killed");
	for (int round = 1; round <= 5; round++) {
		assert_int_equal(pipe(ready), 0);
		child = fork();
		if (!child) {
			h = opened(SF_HISTORY_WRITE);
			fill(h, 2);
			raise_alarm(h, WEB1, BEGIN);
			sf_history_begin(h);
			/* More than the page cache: a part is in the log already. */
			for (int i = 0; i < 20000; i++) {
				char who[64];

				snprintf(who, sizeof(who), "lost%d /x", i);
				add(h, who, BEGIN, 1);
			}
			if (write(ready[1], "", 1) != 1)
				_exit(1);
			pause();
		}
		assert_int_equal(read(ready[0], &byte, 1), 1);
		assert_int_equal(kill(child, SIGKILL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		close(ready[0]);
		close(ready[1]);
		/* A reader comes first: it plays the log, and changes nothing else. */
		h = opened(0);
		assert_int_equal(hours(h, NULL, 0, INT64_MAX), 2000);
		assert_int_equal(seen.sum, 2000 * round);
		sf_history_close(h);
	}
	h = opened(SF_HISTORY_WRITE);
	assert_string_equal(aside, "");
	assert_int_equal(sf_history_known(h, "lost0 /x"), 0);
	assert_int_equal(alarms(h, NULL, 0, INT64_MAX), 5);
	sf_history_close(h);
}

static void copy_part(const char *from, const char *to, uint64_t length, unsigned int garbage)
{
	FILE *source = fopen(from, "re"), *out = fopen(to, "we");

	assert_non_null(source);
	assert_non_null(out);
	for (int c; length-- && (c = getc(source)) != EOF;)
		putc(c, out);
	for (unsigned int i = 0; i < garbage; i++)
		putc((int)(i * 37 % 256), out);
	fclose(source);
	assert_int_equal(fclose(out), 0);
}

/* A power cut: of the log only a part is on the disk, and what follows may be anything. */
static void power_cut(void **state)
{
	char log[PATH_MAX + 32], cut_file[PATH_MAX], cut_log[PATH_MAX + 32], source[PATH_MAX + 16];
	struct sf_history *writer, *h;
	uint64_t all, last = 0;

	(void)state;
	in("power");
	writer = opened(SF_HISTORY_WRITE);
	fill(writer, 8);
	snprintf(source, sizeof(source), "%s", file);
	snprintf(log, sizeof(log), "%s-wal", file);
	all = size_of(log);
	assert_true(all > 100000);
	snprintf(cut_file, sizeof(cut_file), "%s", tree_path("/cut/history.db"));
	snprintf(cut_log, sizeof(cut_log), "%s-wal", cut_file);
	for (unsigned int i = 0; i <= 20; i++) {
		in("cut");
		unlink(file);
		copy_part(source, cut_file, UINT64_MAX, 0);
		copy_part(log, cut_log, all * i / 20 + i % 3, i % 4 * 3000);
		h = NULL;
		if (sf_history_open(directory, SF_HISTORY_WRITE, &h, aside, sizeof(aside), &err))
			fail_msg("cut at %u/20: %s", i, err.text);
		assert_string_equal(aside, "");
		hours(h, NULL, 0, INT64_MAX);
		assert_int_equal(seen.sum % 1000,
				 0); /* whole transactions, never fewer with more */
		assert_true(seen.sum >= last);
		last = seen.sum;
		assert_int_equal(add(h, WEB1, BEGIN, 1), 0);
		sf_history_close(h);
	}
	assert_int_equal(last, 8000);
	sf_history_close(writer);
}

static void full_disk(void **state)
{
	char filler[PATH_MAX + 32], chunk[4096] = {1};
	struct sf_history *h = NULL;
	uint64_t committed = 0, now = 0;
	int ret = 0, fd;

	(void)state;
	in("disk");
	if (small_disk(directory, 1 << 20)) {
		print_message("no root, or no mounts here: not tested\n");
		skip();
	}
	/* Not even the tables fit. */
	snprintf(filler, sizeof(filler), "%s/filler", directory);
	fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	while (write(fd, chunk, sizeof(chunk)) > 0)
		;
	assert_int_equal(
		sf_history_open(directory, SF_HISTORY_WRITE, &h, aside, sizeof(aside), &err),
		-ENOSPC);
	assert_string_equal(aside, "");
	assert_int_equal(ftruncate(fd, 300000), 0);
	h = opened(SF_HISTORY_WRITE);
	assert_string_equal(aside, "");
	for (int i = 0; i < 4000 && !ret; i++) {
		char who[64];

		ret = sf_history_begin(h);
		for (int k = 0; k < 50 && !ret; k++) {
			snprintf(who, sizeof(who), "user%d /site%d.service", i * 50 + k, i);
			ret = add(h, who, BEGIN + i * HOUR, 1);
			now++;
		}
		if (ret) {
			/* What was added before is gone too, and nothing more goes in. */
			assert_int_equal(add(h, "late", BEGIN, 1), ret);
			assert_int_equal(sf_history_commit(h), ret);
		} else {
			ret = sf_history_commit(h);
		}
		if (!ret)
			committed = now;
	}
	assert_int_equal(ret, -ENOSPC);
	assert_true(committed > 200);
	hours(h, NULL, 0, INT64_MAX);
	assert_int_equal(seen.sum, committed);
	ret = add(h, "late", BEGIN + 90000 * HOUR, 1);
	assert_true(!ret || ret == -ENOSPC);
	committed += !ret;
	/* A reader, and the next daemon, on the full disk: nothing is lost. */
	sf_history_close(h);
	h = NULL;
	ret = sf_history_open(directory, SF_HISTORY_WRITE, &h, aside, sizeof(aside), &err);
	assert_string_equal(aside, "");
	assert_true(!ret || ret == -ENOSPC);
	/* Room again: with the same handle, if there is one. */
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
	if (!h)
		h = opened(SF_HISTORY_WRITE);
	hours(h, NULL, 0, INT64_MAX);
	assert_int_equal(seen.sum, committed);
	assert_int_equal(add(h, "after", BEGIN, 1), 0);
	hours(h, NULL, 0, INT64_MAX);
	assert_int_equal(seen.sum, committed + 1);
	/* The same handle through it: full, and room again. */
	fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, chunk, sizeof(chunk)) > 0)
		;
	committed++;
	for (int i = 0; i < 5000; i++) {
		ret = add(h, "more", BEGIN + i * HOUR, 1);
		if (ret)
			break;
		committed++;
	}
	assert_int_equal(ret, -ENOSPC);
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
	assert_int_equal(add(h, "more", BEGIN, 1), 0);
	assert_int_equal(sf_history_prune(h, BEGIN, 9999, 200000), 0);
	assert_int_equal(add(h, "more", BEGIN, 1), 0);
	sf_history_close(h);
	assert_int_equal(sql("SELECT count(*) FROM pragma_integrity_check "
			     "WHERE integrity_check <> 'ok'"),
			 0);
	assert_int_equal(umount(directory), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reader_beside_a_writer),
		cmocka_unit_test(reader_while_it_is_written),
		cmocka_unit_test(killed_in_a_transaction),
		cmocka_unit_test(power_cut),
		cmocka_unit_test(full_disk),
	};

	return cmocka_run_group_tests(tests, tree_setup, tree_teardown);
}
