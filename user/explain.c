// SPDX-License-Identifier: GPL-2.0-only
#include "explain.h"
#include "cgroup.h"
#include "escape.h"
#include "../maps/counters.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

size_t sf_trail_path(const struct sf_trail *trail, char *out, size_t size)
{
	size_t used = trail->used < sizeof(trail->names) ? trail->used : sizeof(trail->names);
	size_t length = 0, end = used;

	if (used == 0) {
		out[0] = '\0';
		return 0;
	}
	if (trail->cut)
		length = (size_t)snprintf(out, size, "...");
	/* The root's side stands last: walk the names backwards. */
	while (end > 0) {
		size_t start = end - 1; /* its NUL */

		while (start > 0 && trail->names[start - 1])
			start--;
		if (length + 1 + (end - 1 - start) + 1 > size)
			break;
		out[length++] = '/';
		memcpy(out + length, trail->names + start, end - 1 - start);
		length += end - 1 - start;
		end = start;
	}
	out[length] = '\0';
	return length;
}

/* Seconds that a name is remembered, and that somebody has none. */
#define NAME_SECONDS   60
#define NOBODY_SECONDS 2

/* Users were added, removed, renamed: a number may be somebody else's now. */
static int users_changed(void)
{
	static struct stat before;
	struct stat now;
	int same;

	if (stat("/etc/passwd", &now))
		memset(&now, 0, sizeof(now));
	same = now.st_ino == before.st_ino && now.st_size == before.st_size &&
	       now.st_mtim.tv_sec == before.st_mtim.tv_sec &&
	       now.st_mtim.tv_nsec == before.st_mtim.tv_nsec;
	before = now;
	return !same;
}

void sf_explain_user(uint32_t uid, char *out, size_t size)
{
	/* Names rarely change, and a directory service is slow: remember some, for a while. */
	static struct {
		uint32_t uid;
		time_t until;
		char name[64];
	} cache[64];
	size_t slot = uid % 64;
	time_t now = time(NULL);
	struct passwd *pw;

	if (uid == SF_UID_KERNEL) {
		snprintf(out, size, "kernel");
		return;
	}
	if (users_changed())
		memset(cache, 0, sizeof(cache));
	if (cache[slot].until <= now || cache[slot].uid != uid) {
		pw = getpwuid(uid);
		if (pw)
			snprintf(cache[slot].name, sizeof(cache[slot].name), "%s", pw->pw_name);
		else
			snprintf(cache[slot].name, sizeof(cache[slot].name), "#%u", uid);
		cache[slot].uid = uid;
		cache[slot].until = now + (pw ? NAME_SECONDS : NOBODY_SECONDS);
	}
	sf_escape_string(cache[slot].name, out, size);
}

static int is_hex(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!isxdigit((unsigned char)text[i]))
			return 0;
	return 1;
}

/* systemd writes what is no letter, digit, colon, underscore or dot in a name as \xNN. */
static void unescape_unit(const char *text, size_t length, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < length && n + 1 < size; n++) {
		char hex[3] = "";
		int code = 0;

		if (length - i >= 4 && text[i] == '\\' && text[i + 1] == 'x' &&
		    is_hex(text + i + 2, 2)) {
			memcpy(hex, text + i + 2, 2);
			code = (int)strtol(hex, NULL, 16);
		}
		out[n] = (char)(code ? code : text[i]);
		i += code ? 4 : 1;
	}
	if (size)
		out[n] = '\0';
}

void sf_explain_cgroup(const char *path, char *unit, size_t unit_size, char *container,
		       size_t container_size)
{
	unit[0] = container[0] = '\0';
	for (const char *part = path; *part;) {
		size_t length;

		part += *part == '/';
		length = strcspn(part, "/");
		/*
		 * The outermost service or scope is the unit: what is below it may be named by
		 * whoever runs in it.
		 */
		if (!unit[0] && ((length > 8 && !memcmp(part + length - 8, ".service", 8)) ||
				 (length > 6 && !memcmp(part + length - 6, ".scope", 6))))
			snprintf(unit, unit_size, "%.*s", (int)length, part);
		/* Runtimes name a container's cgroup by its 64 hex digits, alone or with a prefix.
		 */
		for (size_t i = 0; i + 64 <= length; i++) {
			if ((i == 0 || part[i - 1] == '-') && is_hex(part + i, 64) &&
			    (i + 64 == length || part[i + 64] == '.')) {
				snprintf(container, container_size, "%.64s", part + i);
				break;
			}
		}
		/* LXC: lxc.payload.NAME; systemd-nspawn: machine-NAME.scope. */
		if (length > 12 && !memcmp(part, "lxc.payload.", 12))
			snprintf(container, container_size, "%.*s", (int)length - 12, part + 12);
		else if (length > 14 && !memcmp(part, "machine-", 8) &&
			 !memcmp(part + length - 6, ".scope", 6))
			unescape_unit(part + 8, length - 14, container, container_size);
		part += length;
	}
}

/* A link of /proc, only where the kernel's own text is missing: the pid may be another's by now. */
static void fill_from_proc(uint32_t pid, const char *name, char *out, size_t size)
{
	char path[64], text[SF_TEXT_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%u/%s", pid, name);
	n = readlink(path, text, sizeof(text));
	if (n > 0)
		sf_escape(text, (size_t)n, out, size);
}

static void explain_cmdline(const struct sf_event *e, char *out, size_t size)
{
	char text[SF_CMDLINE_LEN];
	size_t length = e->cmdline_used < SF_CMDLINE_LEN ? e->cmdline_used : SF_CMDLINE_LEN;

	memcpy(text, e->cmdline, length);
	while (length && !text[length - 1])
		length--;
	for (size_t i = 0; i < length; i++)
		if (!text[i])
			text[i] = ' ';
	sf_escape(text, length, out, size);
}

static void explain_cgroup_path(const struct sf_event *e, const char *mount,
				struct sf_explained *out)
{
	char path[SF_TRAIL_LEN + SF_TRAIL_NAME + 8], raw_unit[256], raw_container[96];

	/* The root has no name, so its trail is empty; so is one that was not captured. */
	if ((!sf_trail_path(&e->cgroup, path, sizeof(path)) || e->cgroup.cut) &&
	    (!mount || sf_cgroup_path(mount, e->task_cgroup, path, sizeof(path))))
		snprintf(path, sizeof(path), "#%llu (gone)", (unsigned long long)e->task_cgroup);
	sf_escape_string(path, out->cgroup, sizeof(out->cgroup));
	sf_explain_cgroup(path, raw_unit, sizeof(raw_unit), raw_container, sizeof(raw_container));
	sf_escape_string(raw_unit, out->unit, sizeof(out->unit));
	sf_escape_string(raw_container, out->container, sizeof(out->container));
}

int sf_explain(const void *record, size_t size, const char *mount, struct sf_explained *out)
{
	const struct sf_event *e = record;
	char path[SF_TRAIL_LEN + SF_TRAIL_NAME + 8];
	struct timespec wall, boot;
	int64_t ns;
	size_t n;

	if (size < sizeof(*e) || e->abi != SF_ABI_VERSION || e->size != sizeof(*e))
		return -EPROTO;
	memset(out, 0, sizeof(*out));
	clock_gettime(CLOCK_REALTIME, &wall);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	ns = (wall.tv_sec - boot.tv_sec) * 1000000000LL + wall.tv_nsec - boot.tv_nsec;
	/* No clock says 146 years after the boot. */
	if (e->time_ns < 1ULL << 62)
		ns += (int64_t)e->time_ns;
	out->time = ns / 1000000000LL;
	out->time_us = (int32_t)(ns % 1000000000LL / 1000);
	out->boot_seconds = (int64_t)(e->time_ns / 1000000000ULL);
	out->pid = e->pid;
	out->uid = e->uid;
	out->gid = e->gid;
	out->dport = e->dport;
	out->verdict = e->verdict < SF_VERDICT_COUNT ? e->verdict : SF_VERDICT_DENIED;
	out->reason = e->reason < SF_REASON_COUNT ? e->reason : SF_REASON_NO_ROLE;
	out->cgroup_id = e->task_cgroup;
	out->is_packet = e->hook == SF_EVENT_PACKET;
	if (e->family == SF_FAMILY_V4)
		inet_ntop(AF_INET, &e->daddr.b[12], out->daddr, sizeof(out->daddr));
	else
		inet_ntop(AF_INET6, &e->daddr, out->daddr, sizeof(out->daddr));
	sf_escape(e->comm, strnlen(e->comm, SF_COMM_LEN), out->comm, sizeof(out->comm));
	sf_explain_user(e->uid, out->user, sizeof(out->user));
	explain_cgroup_path(e, mount, out);
	if (e->uid == SF_UID_KERNEL || out->is_packet)
		return 0;
	n = sf_trail_path(&e->exe, path, sizeof(path));
	sf_escape(path, n, out->exe, sizeof(out->exe));
	n = sf_trail_path(&e->cwd, path, sizeof(path));
	sf_escape(path, n, out->cwd, sizeof(out->cwd));
	if (!out->exe[0]) {
		fill_from_proc(e->pid, "exe", out->exe, sizeof(out->exe));
		/* A root directory has no name, so its trail is empty: "/" and "unknown" differ. */
		if (!out->cwd[0])
			fill_from_proc(e->pid, "cwd", out->cwd, sizeof(out->cwd));
	} else if (!out->cwd[0]) {
		snprintf(out->cwd, sizeof(out->cwd), "/");
	}
	explain_cmdline(e, out->cmdline, sizeof(out->cmdline));
	return 0;
}
