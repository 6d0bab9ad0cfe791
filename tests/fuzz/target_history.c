// SPDX-License-Identifier: GPL-2.0-only
/*
 * history.db as somebody may have left it: SQL that an administrator could have run on it, then
 * bytes of the file changed (three bytes: where; one: how many; those bytes). Read as commands read
 * it, then written and pruned as the daemon does, which sets a damaged one aside.
 */
#include "fuzz.h"
#include "../../user/history.h"
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW 1700003600

static const char *dir;
static char path[128];
static uint8_t *whole; /* a sound file */
static size_t whole_size;

static int is_known_error(int ret)
{
	return ret <= 0 && ret > -4096;
}

static void add_some(struct sf_history *h)
{
	struct sf_hour hour = {.who = "web1 /a.service", .hour = 1700002800, .syn = 5, .fenced = 4};
	struct sf_history_alarm alarm = {.raised = NOW,
					 .who = "192.0.2.1",
					 .rule = "rate_warn",
					 .severity = "warning",
					 .text = "count=1"};
	struct sf_history_total total = {.who = {.kind = SF_WHO_SOURCE}, .first_ns = 7};

	if (sf_history_totals_begin(h, "boot") || sf_history_begin(h))
		return;
	sf_history_add(h, &hour);
	snprintf(hour.who, sizeof(hour.who), "192.0.2.1");
	sf_history_add(h, &hour);
	sf_history_raise(h, &alarm);
	sf_history_total_put(h, &total);
	PROPERTY(is_known_error(sf_history_commit(h)));
}

static void empty_directory(void)
{
	dir = fuzz_tree((struct fuzz_part){NULL, 0});
	snprintf(path, sizeof(path), "%s/history.db", dir);
}

static void make_whole(void)
{
	struct sf_error err = {.code = 0};
	struct sf_history *h;
	struct stat st;
	char aside[256];
	int fd;

	empty_directory();
	if (sf_history_open(dir, SF_HISTORY_WRITE, &h, aside, sizeof(aside), &err))
		abort();
	add_some(h);
	sf_history_close(h);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		abort();
	whole_size = (size_t)st.st_size;
	whole = malloc(whole_size);
	if (!whole || read(fd, whole, whole_size) != (ssize_t)whole_size)
		abort();
	close(fd);
}

/* Not out of this file, and not for long. */
static int allowed(void *context, int action, const char *a, const char *b, const char *c,
		   const char *d)
{
	(void)context;
	(void)b;
	(void)c;
	(void)d;
	if (action == SQLITE_PRAGMA && a)
		return strcmp(a, "writable_schema") && strcmp(a, "user_version") &&
				       strcmp(a, "encoding") && strcmp(a, "journal_mode")
			       ? SQLITE_DENY
			       : SQLITE_OK;
	return action == SQLITE_ATTACH ? SQLITE_DENY : SQLITE_OK;
}

static int enough(void *context)
{
	(void)context;
	return 1;
}

static void edit(struct fuzz_part statements)
{
	char *sql = fuzz_string(statements);
	sqlite3 *db = NULL;

	if (*sql && !sqlite3_open(path, &db)) {
		sqlite3_set_authorizer(db, allowed, NULL);
		sqlite3_progress_handler(db, 20000, enough, NULL);
		sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 1 << 20);
		sqlite3_exec(db, sql, NULL, NULL, NULL);
	}
	sqlite3_close(db);
	free(sql);
}

static void patch(struct fuzz_part rest)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	while (fd >= 0 && rest.size > 4) {
		off_t at = (off_t)(fuzz_take(&rest, 3) % (whole_size + 4096));
		size_t n = 1 + fuzz_take(&rest, 1) % 16;

		n = n < rest.size ? n : rest.size;
		if (pwrite(fd, rest.data, n, at) < 0)
			break;
		rest.data += n;
		rest.size -= n;
	}
	if (fd >= 0)
		close(fd);
}

static int on_hour(void *context, const struct sf_hour *hour)
{
	(void)context;
	PROPERTY(memchr(hour->who, '\0', sizeof(hour->who)));
	PROPERTY(hour->hour < INT64_MAX && hour->fenced <= INT64_MAX);
	return 0;
}

static int on_alarm(void *context, const struct sf_history_alarm *alarm)
{
	(void)context;
	PROPERTY(memchr(alarm->who, '\0', sizeof(alarm->who)) &&
		 memchr(alarm->text, '\0', sizeof(alarm->text)));
	return 0;
}

static int on_name(void *context, const char *who, uint64_t fenced)
{
	(void)fenced;
	PROPERTY(strlen(who) < SF_HISTORY_WHO_MAX);
	return --*(int *)context <= 0;
}

static void look(struct sf_history *h)
{
	int left = 20;

	PROPERTY(is_known_error(sf_history_hours(h, NULL, 0, INT64_MAX, on_hour, NULL)));
	PROPERTY(is_known_error(sf_history_hours(h, "192.0.2.1", 0, NOW, on_hour, NULL)));
	PROPERTY(is_known_error(sf_history_alarms(h, NULL, 0, INT64_MAX, on_alarm, NULL)));
	PROPERTY(is_known_error(sf_history_find(h, "web1", 20, on_name, &left)));
	left = 8;
	PROPERTY(is_known_error(sf_history_near(h, "wbe1 /a", 8, on_name, &left)));
	PROPERTY(sf_history_known(h, "192.0.2.1") <= 1);
}

static void check(int flags)
{
	struct sf_error err = {.code = 0};
	struct sf_history *h;
	char aside[256];
	int ret = sf_history_open(dir, flags, &h, aside, sizeof(aside), &err);

	if (ret) {
		PROPERTY(ret < 0 && err.text[0] && fuzz_is_clean(err.text));
		return;
	}
	PROPERTY(!aside[0] || flags);
	look(h);
	if (flags) {
		add_some(h);
		PROPERTY(is_known_error(sf_history_prune(h, NOW + 86400, 30, 1 << 20)));
		look(h);
	}
	sf_history_close(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_part rest = {data, size}, sql;
	int fd;

	if (!whole)
		make_whole();
	empty_directory();
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, whole, whole_size) != (ssize_t)whole_size)
		abort();
	close(fd);
	sql = fuzz_next_part(&rest);
	edit(sql);
	patch(rest);
	check(0);
	check(SF_HISTORY_WRITE);
	return 0;
}
