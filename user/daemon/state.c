// SPDX-License-Identifier: GPL-2.0-only
/*
 * The state directory: our lock on it, what a command writes into it, and whether what we hold open
 * is still there. Files that were taken away under a daemon would be written on, seen by nobody.
 */
#include "daemon.h"
#include "../cleanup.h"
#include "../escape.h"
#include "../files.h"
#include "../policy_text.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_NAME    "daemon.lock"
#define APPLIED_NAME "applied.conf"
#define LOOK_SECONDS 2

/* A command finished: its record was renamed into the state directory. */
static int on_change(sd_event_source *source, const struct inotify_event *event, void *context)
{
	(void)source;
	if (event->len && !strcmp(event->name, APPLIED_NAME))
		guard_reload(context, 0);
	return 0;
}

static void watch_directory(struct daemon *d)
{
	d->state_watch = sd_event_source_disable_unref(d->state_watch);
	sd_event_add_inotify(d->loop, &d->state_watch, d->policy.state_dir, IN_MOVED_TO, on_change,
			     d);
}

int state_start(struct daemon *d, struct sf_error *err)
{
	d->lock_fd = sf_lock(d->policy.state_dir, LOCK_NAME, 0, err);
	if (d->lock_fd < 0)
		return d->lock_fd == -EBUSY
			       ? sf_fail(err, -EBUSY, "another smtpfenced already watches %s",
					 d->policy.state_dir)
			       : d->lock_fd;
	sf_record_open(&d->record, d->policy.state_dir); /* a full disk is told by the tick */
	watch_directory(d);
	return 0;
}

void state_stop(struct daemon *d)
{
	d->state_watch = sd_event_source_disable_unref(d->state_watch);
	sf_record_close(&d->record);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	d->lock_fd = -1;
}

static void path_of(const struct daemon *d, const char *name, char *path)
{
	snprintf(path, PATH_MAX, "%.4000s/%s", d->policy.state_dir, name);
}

static int is_there(const struct daemon *d, const char *name)
{
	char path[PATH_MAX];

	path_of(d, name, path);
	return !access(path, F_OK) || errno != ENOENT;
}

/* Is the file of this name the one that we hold open? */
static int is_ours(const struct daemon *d, const char *name, int fd)
{
	char path[PATH_MAX];
	struct stat there, here;

	path_of(d, name, path);
	if (fstat(fd, &here))
		return 1; /* not known is not "lost" */
	if (stat(path, &there))
		return errno != ENOENT && errno != ENOTDIR;
	return here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

/* The lock first: it makes the directory, and says whether another daemon came meanwhile. */
static int take_lock(struct daemon *d, struct sf_error *err)
{
	int fd = sf_lock(d->policy.state_dir, LOCK_NAME, 0, err);

	if (fd < 0)
		return fd;
	close(d->lock_fd);
	d->lock_fd = fd;
	watch_directory(d);
	return 0;
}

static int reopen_record(struct daemon *d, struct sf_error *err)
{
	uint64_t lost = d->record.lost;
	int ret;

	sf_record_close(&d->record);
	ret = sf_record_open(&d->record, d->policy.state_dir);
	d->record.lost = lost;
	return ret ? sf_fail(err, ret, "can't open %s: %s", SF_RECORD_NAME, strerror(-ret)) : 0;
}

/* What was applied last, as we hold it: commands and the next boot read it. */
static int write_applied(struct daemon *d, struct sf_error *err)
{
	_cleanup_close_ int lock = sf_lock(d->policy.state_dir, "lock", 0, NULL);
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];

	/* A command is at work: it writes the record itself, or the next look does. */
	if (lock < 0 || is_there(d, APPLIED_NAME))
		return 0;
	text = sf_policy_text(&d->policy);
	path_of(d, APPLIED_NAME, path);
	return text ? sf_file_write(path, text, strlen(text), err)
		    : sf_fail(err, -ENOMEM, "no memory");
}

static void tell(struct daemon *d, const char *files, int ret, const struct sf_error *err)
{
	char text[SF_ERROR_LEN * 2];

	if (!ret) {
		daemon_alert(d, LOG_WARNING, "state_lost",
			     "text=\"taken away from state_dir under the daemon, and begun anew: "
			     "%s\"",
			     files);
	} else if (!d->state_failing) {
		sf_escape_string(err->text, text, sizeof(text));
		daemon_alert(d, LOG_ERR, "state_lost",
			     "text=\"taken away from state_dir under the daemon: %s; can't begin "
			     "anew: %s; tried again\"",
			     files, text);
	}
	d->state_failing = ret != 0;
}

void state_tick(struct daemon *d)
{
	int lock, record, history, applied, ret = 0;
	struct sf_error err = {.code = 0};
	char files[128];

	if (daemon_now() < d->next_state)
		return;
	d->next_state = daemon_now() + LOOK_SECONDS;
	lock = !is_ours(d, LOCK_NAME, d->lock_fd);
	record = d->record.fd >= 0 && !is_ours(d, SF_RECORD_NAME, d->record.fd);
	history = chronicle_is_lost(d);
	applied = d->policy_stamp && !is_there(d, APPLIED_NAME);
	if (!lock && !record && !history && !applied)
		return;
	snprintf(files, sizeof(files), "%s%s%s%s", lock ? LOCK_NAME " " : "",
		 record ? SF_RECORD_NAME " " : "", history ? "history.db " : "",
		 applied ? APPLIED_NAME " " : "");
	files[strlen(files) - 1] = '\0';
	if (lock)
		ret = take_lock(d, &err);
	if (!ret && record)
		ret = reopen_record(d, &err);
	if (!ret && history)
		chronicle_begin_anew(d); /* tells of failures itself */
	if (!ret && applied)
		ret = write_applied(d, &err);
	tell(d, files, ret, &err);
	if (ret == -EBUSY)
		sd_event_exit(d->loop, ret); /* two daemons would write one history */
}
