// SPDX-License-Identifier: GPL-2.0-only
#include "change.h"
#include "cleanup.h"
#include "config.h"
#include "escape.h"
#include "files.h"
#include "policy_text.h"
#include <errno.h>
#include <string.h>
#include <time.h>

#define RECORD	  "applied.conf"
#define LOCK_WAIT 15 /* seconds; the longest application seen took 0.4 */

static void record_path(const char *state_dir, char *path)
{
	snprintf(path, PATH_MAX, "%s/%s", state_dir, RECORD);
}

int sf_applied_load(const char *state_dir, struct sf_policy *policy, struct sf_error *err)
{
	char path[PATH_MAX];
	int ret;

	record_path(state_dir, path);
	if (access(path, F_OK)) {
		sf_fail(err, -ENOENT, "nothing was applied yet (%s)", path);
		return -ENOENT;
	}
	/* /dev/null as the managed file: the record holds both parts. */
	ret = sf_config_read(path, "/nonexistent", 1, policy, err);
	if (!ret)
		snprintf(policy->config_file, sizeof(policy->config_file), "%s", path);
	return ret;
}

int sf_applied_differs(const struct sf_policy *files)
{
	_cleanup_free_ char *now = sf_policy_text(files), *then = NULL;
	struct sf_policy applied;
	int ret = sf_applied_load(files->state_dir, &applied, NULL);

	if (ret)
		return ret;
	then = sf_policy_text(&applied);
	sf_policy_free(&applied);
	if (!now || !then)
		return -ENOMEM;
	return strcmp(now, then) != 0;
}

int sf_change_begin(const char *config_file, int flags, struct sf_change *change,
		    struct sf_error *err)
{
	int ret;

	memset(change, 0, sizeof(*change));
	change->lock = -1;
	change->config_file = config_file;
	if (geteuid() != 0)
		return sf_fail(err, -EPERM, "this needs root");
	/* Once to learn where the lock is, and again under it: somebody may just be writing. */
	change->lenient = (flags & SF_CHANGE_LENIENT) != 0;
	ret = sf_config_read(config_file, NULL, change->lenient, &change->policy,
			     &change->file_error);
	if (ret && (flags & SF_CHANGE_OR_RECORD)) {
		struct sf_policy defaults;

		sf_policy_init(&defaults);
		ret = sf_applied_load(defaults.state_dir, &change->policy, NULL);
		change->from_record = !ret;
	}
	if (ret) {
		*err = change->file_error;
		return ret;
	}
	change->lock = sf_lock(change->policy.state_dir, "lock", LOCK_WAIT, err);
	if (change->lock < 0) {
		ret = change->lock;
		sf_policy_free(&change->policy);
		return ret;
	}
	if (change->from_record)
		return 0;
	sf_policy_free(&change->policy);
	ret = sf_config_read(config_file, NULL, change->lenient, &change->policy, err);
	if (ret) {
		close(change->lock);
		change->lock = -1;
	}
	return ret;
}

void sf_change_end(struct sf_change *change)
{
	if (change->lock >= 0)
		close(change->lock);
	change->lock = -1;
	sf_policy_free(&change->policy);
}

int sf_change_set(struct sf_change *change, const char *key, const char *value,
		  struct sf_error *err)
{
	int i = sf_key_find(key);
	int ret;

	if (i < 0) {
		const char *guess = sf_key_guess(key);
		char shown[128];

		sf_escape_string(key, shown, sizeof(shown));
		return sf_fail_usage(err, "no key \"%s\"%s%s", shown,
				     guess ? ": did you mean " : "",
				     guess ? guess : "; see smtpfence.conf(5)");
	}
	if (sf_keys[i].fixed)
		return sf_fail_usage(err, "%s is a location: write it into %s", key,
				     change->policy.config_file);
	ret = sf_key_set(&change->policy, &sf_keys[i], value, err);
	if (!ret)
		change->policy.managed_keys |= 1ULL << i;
	return ret;
}

/* What is written to the disk, before the kernel is touched and after. */
struct files {
	char managed[PATH_MAX], record[PATH_MAX]; /* temporary files, or "" */
	char record_path[PATH_MAX];
};

static int prepare_files(const struct sf_change *change, const struct sf_policy *wanted,
			 const char *managed_text, struct files *files, struct sf_error *err)
{
	_cleanup_free_ char *record = sf_policy_text(wanted);
	_cleanup_free_ char *old = malloc(strlen(managed_text) + 2);
	int ret = 0;

	if (!record || !old)
		return sf_fail(err, -ENOMEM, "no memory");
	/* A managed file that would not change is left alone, and none is made to say nothing. */
	if (!change->from_record &&
	    (wanted->managed_keys || access(wanted->managed_file, F_OK) == 0 ||
	     strchr(managed_text, '{')) &&
	    (sf_file_read(wanted->managed_file, old, strlen(managed_text) + 2) ||
	     strcmp(old, managed_text)))
		ret = sf_file_prepare(wanted->managed_file, managed_text, strlen(managed_text),
				      files->managed, err);
	record_path(wanted->state_dir, files->record_path);
	if (!ret)
		ret = sf_file_prepare(files->record_path, record, strlen(record), files->record,
				      err);
	return ret;
}

int sf_change_commit(struct sf_change *change, const struct sf_fence_options *options,
		     struct sf_fence_result *result, struct sf_error *err)
{
	_cleanup_free_ char *text = sf_managed_text(&change->policy, (int64_t)time(NULL));
	struct files files = {.managed = ""};
	struct sf_error unkept = {.code = 0};
	struct sf_policy wanted;
	int ret;

	if (!text)
		return sf_fail(err, -ENOMEM, "no memory");
	if (change->from_record) {
		ret = sf_applied_load(change->policy.state_dir, &wanted, err);
		if (!ret)
			wanted.mode = change->policy.mode;
	} else
		ret = sf_managed_check(change->config_file, text, change->lenient, &wanted, err);
	if (ret)
		return ret;
	if (!options->dry_run)
		ret = prepare_files(change, &wanted, text, &files, err);
	/* A full disk must not keep the host unfenced at boot; what was not kept is said below. */
	if (ret && options->at_boot) {
		unkept = *err;
		ret = 0;
	}
	if (!ret && wanted.mode == SF_MODE_OFF && !options->dry_run) {
		ret = sf_fence_remove(&wanted, result, err);
	} else if (!ret) {
		ret = sf_fence_apply(&wanted, options, result, err);
	}
	if (!ret && files.managed[0]) {
		ret = sf_file_commit(wanted.managed_file, files.managed, err);
		files.managed[0] = '\0';
	}
	if (!ret && files.record[0]) {
		ret = sf_file_commit(files.record_path, files.record, err);
		files.record[0] = '\0';
	}
	sf_file_drop(files.managed);
	sf_file_drop(files.record);
	if (!ret && unkept.code) {
		ret = sf_fail(err, unkept.code,
			      "this is in effect now (mode %s), but could not be kept "
			      "for the next boot: %.700s",
			      sf_mode_name(wanted.mode), unkept.text);
	}
	if (ret) {
		sf_policy_free(&wanted);
		return ret;
	}
	sf_policy_free(&change->policy);
	change->policy = wanted;
	return 0;
}
