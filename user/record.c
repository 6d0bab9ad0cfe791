// SPDX-License-Identifier: GPL-2.0-only
#include "record.h"
#include "../maps/counters.h"
#include "status.h"
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_file(struct sf_record *record)
{
	struct stat st;
	char last;

	record->size = 0;
	record->fd = open(record->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	if (record->fd < 0)
		return -errno;
	if (!fstat(record->fd, &st))
		record->size = (uint64_t)st.st_size;
	/* Half a line, left by a power cut, would spoil the next one. */
	if (record->size && pread(record->fd, &last, 1, (off_t)record->size - 1) == 1 &&
	    last != '\n' && write(record->fd, "\n", 1) == 1)
		record->size++;
	return 0;
}

int sf_record_open(struct sf_record *record, const char *state_dir)
{
	memset(record, 0, sizeof(*record));
	snprintf(record->path, sizeof(record->path), "%s/%s", state_dir, SF_RECORD_NAME);
	return open_file(record);
}

void sf_record_close(struct sf_record *record)
{
	if (record->fd >= 0)
		close(record->fd);
	record->fd = -1;
}

/* JSON quotes by itself: the escaped text goes in, but for the backslash before a quote. */
static void add_text(struct json_object *object, const char *key, const char *text)
{
	char plain[SF_TEXT_MAX + 2]; /* never longer than the text: nothing is cut */
	size_t n = 0;

	for (const char *p = text; *p && n + 2 < sizeof(plain); p++) {
		if (p[0] == '\\' && p[1] == '"')
			continue;
		if (p[0] == '\\' && p[1] == '\\')
			plain[n++] = *p++;
		plain[n++] = *p;
	}
	plain[n] = '\0';
	json_object_object_add(object, key, json_object_new_string(plain));
}

char *sf_record_line(const struct sf_explained *e)
{
	struct json_object *o = json_object_new_object();
	char time[64], stamp[96], *line;
	const char *text;

	if (!o)
		return NULL;
	sf_time_format(e->time, time, sizeof(time));
	snprintf(stamp, sizeof(stamp), "%.19s.%06dZ", time, e->time_us);
	add_text(o, "time", stamp);
	add_text(o, "verdict", sf_verdict_names[e->verdict]);
	add_text(o, "reason", sf_reason_names[e->reason]);
	add_text(o, "via", e->is_packet ? "packet" : "connect");
	json_object_object_add(o, "pid", json_object_new_int64(e->pid));
	/* A kernel thread is nobody's: -1, not a number that could be a user's. */
	json_object_object_add(
		o, "uid", json_object_new_int64(e->uid == SF_UID_KERNEL ? -1 : (int64_t)e->uid));
	add_text(o, "user", e->user);
	json_object_object_add(o, "gid", json_object_new_int64(e->gid));
	add_text(o, "comm", e->comm);
	add_text(o, "exe", e->exe);
	add_text(o, "cwd", e->cwd);
	add_text(o, "cmdline", e->cmdline);
	add_text(o, "cgroup", e->cgroup);
	if (e->unit[0])
		add_text(o, "unit", e->unit);
	if (e->container[0])
		add_text(o, "container", e->container);
	add_text(o, "daddr", e->daddr);
	json_object_object_add(o, "dport", json_object_new_int(e->dport));
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE);
	line = text ? strdup(text) : NULL; /* NULL: no memory */
	json_object_put(o);
	return line;
}

static void rotate(struct sf_record *record)
{
	char old[sizeof(record->path) + 2];

	snprintf(old, sizeof(old), "%s.1", record->path);
	if (rename(record->path, old))
		return; /* it grows on; better than losing it */
	close(record->fd);
	open_file(record);
}

int sf_record_write(struct sf_record *record, const struct sf_explained *event)
{
	char *line = sf_record_line(event);
	size_t length;
	ssize_t n;
	int ret = 0;

	if (!line) {
		record->lost++;
		return -ENOMEM;
	}
	if (record->size >= SF_RECORD_MAX)
		rotate(record);
	length = strlen(line);
	line[length] = '\n'; /* in place of the NUL: one write, so that lines stay whole */
	n = record->fd < 0 && open_file(record) ? -1 : write(record->fd, line, length + 1);
	if (n == (ssize_t)(length + 1)) {
		record->size += (uint64_t)n;
	} else {
		ret = n < 0 ? -errno : -ENOSPC;
		/* A part of a line would spoil the next one. */
		if (n > 0 && ftruncate(record->fd, (off_t)record->size))
			ret = -errno;
		record->lost++;
	}
	free(line);
	return ret;
}
