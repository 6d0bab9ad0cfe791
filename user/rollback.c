// SPDX-License-Identifier: GPL-2.0-only
#include "rollback.h"
#include "change.h"
#include "cleanup.h"
#include "config.h"
#include "files.h"
#include "pins.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static void rollback_path(const struct sf_policy *policy, char *path)
{
	snprintf(path, PATH_MAX, "%s/rollback", policy->state_dir);
}

/* Seconds of CLOCK_BOOTTIME: a wall clock that is set must not undo or keep a change. */
static int64_t boot_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return t.tv_sec;
}

/* A file's whole text; empty where there is none. free() it. */
static char *read_whole(const char *path)
{
	struct stat st = {.st_size = 0};
	char *text;

	stat(path, &st);
	text = calloc(1, (size_t)st.st_size + 1);
	if (text && st.st_size)
		sf_file_read(path, text, (size_t)st.st_size + 1);
	return text;
}

int sf_rollback_keep(const struct sf_policy *policy, int64_t seconds, struct sf_error *err)
{
	_cleanup_free_ char *text = NULL, *kept = NULL;
	char path[PATH_MAX], *managed;
	int length;

	rollback_path(policy, path);
	/* Where a change is on trial already, what it goes back to stays: only the time is new. */
	kept = read_whole(sf_rollback_left(policy) >= 0 ? path : policy->managed_file);
	managed = kept && sf_rollback_left(policy) >= 0 ? strchr(kept, '\n') : kept;
	if (!managed)
		return sf_fail(err, -ENOMEM, "can't keep what to go back to");
	length = asprintf(&text, "%" PRId64 "\n%s", boot_seconds() + seconds,
			  managed + (managed != kept));
	if (length < 0) {
		text = NULL;
		return sf_fail(err, -ENOMEM, "no memory");
	}
	return sf_file_write(path, text, (size_t)length, err);
}

int64_t sf_rollback_left(const struct sf_policy *policy)
{
	char path[PATH_MAX], line[64];
	int64_t due, left;

	rollback_path(policy, path);
	if (sf_file_read(path, line, sizeof(line)))
		return -ENOENT;
	/* NOLINTNEXTLINE(cert-err34-c): our own file; a time beyond all is none, see below */
	if (sscanf(line, "%" SCNd64, &due) != 1)
		return -ENOENT;
	left = due - boot_seconds();
	/* Longer than any timer may be: it is of another boot, and was not confirmed. */
	return left < 0 || left > 366LL * 86400 ? 0 : left;
}

int sf_rollback_confirm(const struct sf_policy *policy)
{
	char path[PATH_MAX];

	rollback_path(policy, path);
	return unlink(path) == 0;
}

/* Pins do not outlive their kernel: where one is, the boot is long past. */
static int is_booting(const struct sf_policy *policy)
{
	_cleanup_close_ int fd = sf_pin_open(policy->pin_dir, "links", "connect4");

	return fd == -ENOENT;
}

int sf_rollback_run(const char *config_file, int at_boot, struct sf_error *err)
{
	const struct sf_fence_options options = {.keep_unresolved = 1};
	struct sf_fence_result result;
	struct sf_change change;
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX], *managed;
	struct stat st;
	int ret = sf_change_begin(config_file, SF_CHANGE_LENIENT, &change, err);

	if (ret)
		return ret;
	rollback_path(&change.policy, path);
	if (stat(path, &st) ||
	    (!(at_boot && is_booting(&change.policy)) && sf_rollback_left(&change.policy) > 0))
		goto out; /* confirmed meanwhile, or prolonged */
	text = calloc(1, (size_t)st.st_size + 1);
	ret = text ? sf_file_read(path, text, (size_t)st.st_size + 1) : -ENOMEM;
	managed = text ? strchr(text, '\n') : NULL;
	if (ret || !managed) {
		ret = sf_fail(err, ret ? ret : -EIO, "can't read %s", path);
		goto out;
	}
	managed++;
	if (*managed)
		ret = sf_file_write(change.policy.managed_file, managed, strlen(managed), err);
	else if (unlink(change.policy.managed_file) && errno != ENOENT)
		ret = sf_fail(err, -errno, "can't remove %s", change.policy.managed_file);
	if (ret)
		goto out;
	sf_policy_free(&change.policy);
	ret = sf_config_read(config_file, NULL, 1, &change.policy, err);
	if (!ret)
		ret = sf_change_commit(&change, &options, &result, err);
	if (!ret) {
		unlink(path);
		ret = 1;
	}
out:
	sf_change_end(&change);
	return ret;
}

/* Confirmed, undone by another, or smtpfence was removed: nothing is left to go back to. */
static int is_over(const struct sf_policy *policy)
{
	char path[PATH_MAX];

	rollback_path(policy, path);
	return access(path, F_OK) && errno == ENOENT;
}

int sf_rollback_start(const char *config_file, const struct sf_policy *policy, struct sf_error *err)
{
	int64_t left = sf_rollback_left(policy);
	struct timespec until = {.tv_sec = boot_seconds() + left};
	struct sf_error ignored;
	pid_t pid;
	int null;

	pid = fork();
	if (pid < 0)
		return sf_fail(err, -errno, "can't start the rollback's timer: %s",
			       strerror(errno));
	if (pid > 0)
		return 0;
	/* A session of its own: the shell's end does not reach it. */
	setsid();
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	if (fork() > 0)
		_exit(0);
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	close_range(3, ~0U, 0);
	/* Until it is done or confirmed: a broken file or a busy lock does not keep the change. */
	do {
		while (clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &until, NULL) == EINTR)
			;
		until.tv_sec = boot_seconds() + 5;
	} while (!is_over(policy) && sf_rollback_run(config_file, 0, &ignored) < 0);
	_exit(0);
}
