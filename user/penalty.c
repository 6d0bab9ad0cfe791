// SPDX-License-Identifier: GPL-2.0-only
#include "penalty.h"
#include "change.h"
#include "cleanup.h"
#include "escape.h"
#include "image.h"
#include "repeats.h"
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

/* The mail server's programs and users are the last that a mistake may stop. */
static int is_mail(const struct sf_policy *policy, uint32_t uid, const char *cgroup)
{
	for (size_t i = 0; i < policy->entry_count; i++) {
		const struct sf_entry *entry = &policy->entries[i];
		char path[SF_NAME_MAX * 4];
		size_t length;

		if (entry->kind != SF_ENTRY_MAIL)
			continue;
		for (uint32_t u = 0; u < entry->user_count; u++)
			if (entry->users[u] == uid)
				return 1;
		/* Both escaped: no two paths look alike so. */
		length = sf_escape_string(entry->value, path, sizeof(path));
		if (!strcmp(path, "/"))
			length = 0;
		if (!entry->user_count && !strncmp(cgroup, path, length) &&
		    (!cgroup[length] || cgroup[length] == '/'))
			return 1;
	}
	return 0;
}

/* Whatever its class says: limits may be given to the host's own addresses too. */
static int holds_our_address(const struct sf_net_key *net)
{
	struct sf_image image;
	int found = 0;

	sf_image_init(&image);
	if (sf_image_local_addrs(&image))
		found = 1; /* not known is not "no" */
	for (size_t i = 0; i < image.table[SF_IMAGE_LOCAL_ADDRS].count && !found; i++) {
		struct sf_net_key local = {.prefixlen = SF_NET_BITS_MAX, .family = net->family};

		memcpy(&local.addr, sf_table_key(&image.table[SF_IMAGE_LOCAL_ADDRS], i),
		       sizeof(local.addr));
		found = sf_net_covers(net, &local);
	}
	sf_image_free(&image);
	return found;
}

const char *sf_penalty_find(const struct sf_policy *policy, const struct sf_tally *tally,
			    const char *cgroup, struct sf_offence *offence)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct sf_net_key *net = &offence->net;

	memset(offence, 0, sizeof(*offence));
	if (tally->class == SF_CLASS_LOOPBACK || tally->class == SF_CLASS_LOCAL)
		return "an address of this host: all that send from it would be stopped";
	if (tally->class == SF_CLASS_MAIL)
		return "a sender of the mail server";
	if (tally->who.kind == SF_WHO_SENDER) {
		offence->uid = (uint32_t)tally->who.key.word[1];
		if (offence->uid == 0)
			return "root";
		if (offence->uid == UINT32_MAX)
			return "the kernel itself";
		if (is_mail(policy, offence->uid, cgroup))
			return "a user of the mail server";
		return NULL;
	}
	offence->is_net = 1;
	net->family = SF_FAMILY_V6;
	net->prefixlen = SF_NET_FAMILY_BITS + (uint32_t)policy->ipv6_prefix;
	memcpy(&net->addr, &tally->who.key, sizeof(net->addr));
	if (!memcmp(&net->addr, mapped, sizeof(mapped))) {
		net->family = SF_FAMILY_V4;
		net->prefixlen = SF_NET_BITS_MAX;
	}
	/* It may have been counted under another ipv6_prefix. */
	*net = sf_net_wider(net, net->prefixlen);
	return holds_our_address(net) ? "holds an address of this host" : NULL;
}

int64_t sf_penalty_length(const struct sf_policy *policy, const int64_t *times, size_t count,
			  int64_t now)
{
	int64_t length = policy->quarantine_time;
	int of_day = 1, before = 0;

	for (size_t i = 0; i < count; i++) {
		int64_t age = now - times[i];

		/* A clock that is wrong by months has written these. */
		if (age >= SF_PENALTY_MEMORY || age <= -SF_PENALTY_MEMORY)
			continue;
		before++;
		of_day += age < SF_PENALTY_DAY;
	}
	if (policy->quarantine_permanent && of_day >= policy->quarantine_permanent)
		return 0;
	while (before-- > 0 && length < SF_PENALTY_LONGEST)
		length *= 2;
	return length < SF_PENALTY_LONGEST ? length : SF_PENALTY_LONGEST;
}

static void __attribute__((format(printf, 4, 5)))
put_line(int out, int severity, const char *rule, const char *format, ...)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "%d %s ", severity, rule), more;
	ssize_t ignored;
	va_list args;

	va_start(args, format);
	more = vsnprintf(line + n, sizeof(line) - 1 - (size_t)n, format, args);
	va_end(args);
	n += more < (int)sizeof(line) - 2 - n ? more : (int)sizeof(line) - 2 - n;
	line[n++] = '\n';
	ignored = write(out, line, (size_t)n);
	(void)ignored;
}

/* As it is written in the managed file: by name, as the commands do; by number without one. */
static void fill_value(const struct sf_offence *offence, struct sf_entry *entry)
{
	const struct passwd *pw;
	uint32_t same;

	if (offence->is_net) {
		sf_net_format(&offence->net, entry->value, sizeof(entry->value));
		return;
	}
	snprintf(entry->value, sizeof(entry->value), "%u", offence->uid);
	pw = getpwuid(offence->uid);
	if (pw && strlen(pw->pw_name) < sizeof(entry->value) && !sf_user_id(pw->pw_name, &same) &&
	    same == offence->uid)
		snprintf(entry->value, sizeof(entry->value), "%s", pw->pw_name);
}

/* Is he there already, by whatever name, and not only until a moment ago? */
static int in_quarantine(const struct sf_policy *policy, const struct sf_offence *offence,
			 int64_t now)
{
	for (size_t i = 0; i < policy->entry_count; i++) {
		const struct sf_entry *e = &policy->entries[i];

		if ((e->expires && e->expires <= now) || e->unresolved)
			continue;
		if (!offence->is_net && e->kind == SF_ENTRY_QUARANTINE_USER &&
		    e->id == offence->uid)
			return 1;
		if (offence->is_net && e->kind == SF_ENTRY_QUARANTINE_NET &&
		    (!memcmp(&e->net, &offence->net, sizeof(e->net)) ||
		     sf_net_covers(&e->net, &offence->net)))
			return 1;
	}
	return 0;
}

/* One of them into the policy. 1: he is there already; 0, or a negative errno. */
static int put_one(struct sf_change *change, struct sf_repeats *repeats,
		   const struct sf_offence *offence, int64_t now, struct sf_entry *entry)
{
	char who[sizeof(repeats->list[0].who)];
	struct sf_repeat *repeat;
	int64_t length;

	if (in_quarantine(&change->policy, offence, now))
		return 1;
	memset(entry, 0, sizeof(*entry));
	entry->kind = offence->is_net ? SF_ENTRY_QUARANTINE_NET : SF_ENTRY_QUARANTINE_USER;
	entry->managed = 1;
	fill_value(offence, entry);
	if (offence->is_net)
		snprintf(who, sizeof(who), "net %.60s", entry->value);
	else
		snprintf(who, sizeof(who), "user %u", offence->uid);
	repeat = sf_repeats_of(repeats, who);
	length = sf_penalty_length(&change->policy, repeat->times, repeat->count, now);
	sf_repeat_add(repeat, now);
	entry->expires = length ? now + length : 0;
	snprintf(entry->comment, sizeof(entry->comment), "smtpfenced: %s, alert %s", offence->rule,
		 offence->alarm);
	return sf_entry_resolve(entry, NULL) ? -EINVAL : sf_policy_put(&change->policy, entry);
}

static void tell_entered(int out, const struct sf_offence *offence, const struct sf_entry *entry)
{
	/* Cut by the escape, never within one: a quote behind it would be lost. */
	char value[200], until[64] = "never";

	sf_escape_string(entry->value, value, sizeof(value));
	if (entry->expires)
		sf_time_format(entry->expires, until, sizeof(until));
	if (offence->is_net)
		put_line(out, LOG_WARNING, "quarantined", "source=\"%s\" until=%s by=%s alert=%s",
			 value, until, offence->rule, offence->alarm);
	else
		put_line(out, LOG_WARNING, "quarantined",
			 "user=\"%s\" uid=%u until=%s by=%s alert=%s", value, offence->uid, until,
			 offence->rule, offence->alarm);
}

int sf_penalty_enter(const char *config_file, const struct sf_offence *offences, size_t count,
		     int out)
{
	const struct sf_fence_options options = {.keep_unresolved = 1};
	_cleanup_free_ struct sf_entry *entries = calloc(count + 1, sizeof(*entries));
	struct sf_repeats repeats = {.list = NULL};
	struct sf_fence_result result;
	struct sf_change change;
	struct sf_error err = {.code = 0};
	char text[700];
	int64_t now = (int64_t)time(NULL);
	int ret = -ENOMEM;
	size_t entered = 0;

	if (!entries) {
		sf_fail(&err, ret, "no memory");
		goto out;
	}
	ret = sf_change_begin(config_file, SF_CHANGE_LENIENT, &change, &err);
	if (ret)
		goto out;
	ret = sf_repeats_load(change.policy.state_dir, &repeats);
	for (size_t i = 0; i < count && !ret; i++) {
		int one = put_one(&change, &repeats, &offences[i], now, &entries[i]);

		entered += one == 0;
		if (one)
			entries[i].kind = SF_ENTRY_KINDS; /* not entered */
		ret = one < 0 ? one : 0;
	}
	if (ret)
		sf_fail(&err, ret, "%s", strerror(-ret));
	if (!ret && entered)
		ret = sf_change_commit(&change, &options, &result, &err);
	for (size_t i = 0; i < count && !ret; i++)
		if (entries[i].kind != SF_ENTRY_KINDS)
			tell_entered(out, &offences[i], &entries[i]);
	if (!ret && entered && sf_repeats_save(change.policy.state_dir, &repeats, &err)) {
		sf_escape_string(err.text, text, sizeof(text));
		put_line(out, LOG_WARNING, "quarantine_failed",
			 "text=\"entered, but a repetition will not be known: %s\"", text);
	}
	sf_change_end(&change);
	sf_repeats_free(&repeats);
out:
	if (ret) {
		sf_escape_string(err.text, text, sizeof(text));
		put_line(out, LOG_ERR, "quarantine_failed", "count=%zu text=\"%s\"", count, text);
	}
	return ret;
}

int sf_penalty_start(const char *config_file, const struct sf_offence *offences, size_t count,
		     int *out)
{
	int ends[2], ret;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid == 0) {
		sigset_t none;

		/* It may outlive a daemon that is stopped: half a change is none. */
		signal(SIGPIPE, SIG_IGN);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		alarm(SF_PENALTY_PATIENCE);
		close(ends[0]);
		_exit(sf_penalty_enter(config_file, offences, count, ends[1]) != 0);
	}
	ret = pid < 0 ? -errno : pid;
	close(ends[1]);
	if (pid < 0)
		close(ends[0]);
	else
		*out = ends[0];
	return ret;
}
