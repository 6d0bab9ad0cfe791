// SPDX-License-Identifier: GPL-2.0-only
#include "doctor.h"
#include "cgroup.h"
#include "cleanup.h"
#include "conflicts.h"
#include "escape.h"
#include "mailservers.h"
#include "probe.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

/* Below one mail role; more than this in one service is told, not searched. */
#define GROUPS_MAX 4096

#define say sf_doctor_say

void sf_doctor_say(struct sf_doctor_report *report, const char *subject, enum sf_doctor_state state,
		   const char *format, ...)
{
	struct sf_doctor_check *check;
	va_list args;

	if (report->count == SF_DOCTOR_CHECKS_MAX) {
		report->cut = true;
		return;
	}
	check = &report->checks[report->count++];
	check->subject = subject;
	check->state = state;
	va_start(args, format);
	vsnprintf(check->text, sizeof(check->text), format, args);
	va_end(args);
}

const char *sf_doctor_state_name(enum sf_doctor_state state)
{
	static const char *const names[] = {
		[SF_DOCTOR_OK] = "ok", [SF_DOCTOR_WARN] = "warn", [SF_DOCTOR_FAIL] = "fail"};

	return names[state];
}

enum sf_doctor_state sf_doctor_worst(const struct sf_doctor_report *report)
{
	enum sf_doctor_state worst = SF_DOCTOR_OK;

	for (size_t i = 0; i < report->count; i++)
		if (report->checks[i].state > worst)
			worst = report->checks[i].state;
	return worst;
}

/* Is `name`, or the nearest directory above it that exists, on a file system of this type? */
static bool is_on(const char *name, unsigned long magic)
{
	char path[PATH_MAX];
	struct statfs fs;

	if (snprintf(path, sizeof(path), "%s", name) >= (int)sizeof(path))
		return false;
	while (statfs(path, &fs)) {
		char *slash = strrchr(path, '/');

		if (errno != ENOENT || !slash || slash == path)
			return false;
		*slash = '\0';
	}
	return (unsigned long)fs.f_type == magic;
}

static void check_kernel(const struct sf_doctor_input *in, struct sf_doctor_report *report)
{
	const char *pins = in->pin_dir ? in->pin_dir : "/sys/fs/bpf";
	char release[256], shown[512];
	struct utsname name;

	if (geteuid())
		say(report, "user", SF_DOCTOR_FAIL,
		    "not root: most of what follows can't be seen; run it as root");
	if (!uname(&name)) {
		snprintf(release, sizeof(release), "%s", name.release);
		sf_escape_string(release, shown, sizeof(shown));
		say(report, "kernel", SF_DOCTOR_OK, "Linux %s", shown);
	}
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		say(report, "kernel types", SF_DOCTOR_FAIL,
		    "/sys/kernel/btf/vmlinux: %s; smtpfence needs a kernel built with "
		    "CONFIG_DEBUG_INFO_BTF, as the distributions' are since 5.10",
		    strerror(errno));
	else
		say(report, "kernel types", SF_DOCTOR_OK, "BTF is there");
	sf_escape_string(pins, shown, sizeof(shown));
	if (is_on(pins, BPF_FS_MAGIC))
		say(report, "bpffs", SF_DOCTOR_OK, "%s is on a BPF file system", shown);
	else
		say(report, "bpffs", SF_DOCTOR_FAIL,
		    "%s is not on a BPF file system, so the fence can't be kept; mount it: "
		    "mount -t bpf bpf /sys/fs/bpf",
		    shown);
}

static void check_mount(const struct sf_doctor_input *in, struct sf_doctor_report *report)
{
	char shown[512];

	if (!in->mount) {
		say(report, "cgroup v2", SF_DOCTOR_FAIL,
		    "no v2 hierarchy is mounted whole; boot with "
		    "systemd.unified_cgroup_hierarchy=1 "
		    "or mount it: mount -t cgroup2 none /sys/fs/cgroup/unified");
		return;
	}
	sf_escape_string(in->mount, shown, sizeof(shown));
	if (!is_on(in->mount, CGROUP2_SUPER_MAGIC)) {
		say(report, "cgroup v2", SF_DOCTOR_FAIL, "%s is not a cgroup v2 mount", shown);
		return;
	}
	if (is_on("/sys/fs/cgroup", CGROUP2_SUPER_MAGIC))
		say(report, "cgroup v2", SF_DOCTOR_OK, "mounted at %s, the only hierarchy", shown);
	else
		say(report, "cgroup v2", SF_DOCTOR_OK,
		    "mounted at %s beside v1 hierarchies (hybrid); only v2 paths count, see the "
		    "line 0:: of /proc/PID/cgroup",
		    shown);
}

static void check_features(struct sf_doctor_report *report)
{
	struct sf_probe probes[SF_PROBES_MAX];
	size_t count = sf_probe_kernel(probes, SF_PROBES_MAX);

	for (size_t i = 0; i < count; i++) {
		enum sf_doctor_state state = SF_DOCTOR_OK;

		if (probes[i].result <= 0 && probes[i].need != SF_PROBE_INFO)
			state = probes[i].need == SF_PROBE_MUST ? SF_DOCTOR_FAIL : SF_DOCTOR_WARN;
		if (probes[i].result < 0)
			say(report, probes[i].subject,
			    state == SF_DOCTOR_OK ? SF_DOCTOR_WARN : state,
			    "could not be tried: %s", strerror(-probes[i].result));
		else
			say(report, probes[i].subject, state, "%s",
			    probes[i].result ? probes[i].yes : probes[i].no);
	}
}

static bool has_role(const struct sf_doctor_input *in, const char *path)
{
	for (size_t i = 0; i < in->mail_path_count; i++)
		if (!strcmp(in->mail_paths[i], "/") ||
		    sf_mail_fit_of(in->mail_paths[i], path, false) == SF_MAIL_FITS)
			return true;
	return false;
}

static void check_server(const struct sf_doctor_input *in, const struct sf_mail_server *s,
			 struct sf_doctor_report *report)
{
	bool running_has_role = s->running && has_role(in, s->running_cgroup);
	char cgroup[512], path[512], where[640] = "", users[320] = "";
	enum sf_doctor_state state = SF_DOCTOR_OK;

	sf_escape_string(s->running_cgroup, cgroup, sizeof(cgroup));
	sf_escape_string(s->path, path, sizeof(path));
	for (size_t u = 0; u < s->user_count; u++)
		snprintf(users + strlen(users), sizeof(users) - strlen(users), "%s%s",
			 u ? "," : "; sends as ", s->users[u]);
	if (s->running)
		snprintf(where, sizeof(where), "; process %d, uid %d, in %s", (int)s->pid,
			 (int)s->uid, cgroup[0] ? cgroup : "an unknown cgroup");
	/* A role given by hand to where it runs is as good as its unit's. */
	if (s->running && s->fit != SF_MAIL_FITS && !running_has_role)
		state = s->fit == SF_MAIL_CONTAINED ? SF_DOCTOR_WARN : SF_DOCTOR_FAIL;
	if (s->installed)
		say(report, "mail server", state, "%s: %s, cgroup %s%s%s%s%s", s->name, s->unit,
		    path, users, where, state == SF_DOCTOR_OK ? "" : "; ",
		    state == SF_DOCTOR_OK ? "" : sf_mail_fit_text(s->fit));
	else
		say(report, "mail server", state, "%s: no unit%s%s%s%s", s->name, users, where,
		    state == SF_DOCTOR_OK ? "" : "; ",
		    state == SF_DOCTOR_OK ? "" : sf_mail_fit_text(s->fit));
	if (s->installed && in->mail_path_count && !has_role(in, s->path) && !running_has_role)
		say(report, "mail server", SF_DOCTOR_WARN,
		    "%s has no role in the policy, so its mail is denied; if it shall send: "
		    "smtpfence mail cgroup %s",
		    s->name, path);
	if (s->installed && s->fit == SF_MAIL_FITS && !s->uid_listed)
		say(report, "mail server", SF_DOCTOR_WARN,
		    "%s runs as uid %u, which is none of the users it is known by; if it sends as "
		    "that one, name it: smtpfence mail cgroup %s --user USER,...",
		    s->name, (unsigned int)s->uid, path);
	if (s->installed && s->allow_user != SF_MAIL_NO_USER)
		say(report, "mail server", SF_DOCTOR_OK,
		    "%s: %s (uid %u) belongs on the allowed "
		    "list too: %s",
		    s->name, s->allow_name, s->allow_user, s->allow_why);
	else if (s->installed && s->allow_why)
		say(report, "mail server", SF_DOCTOR_WARN,
		    "%s: none of the users it is known to run as exists; find its user (exim "
		    "-bP exim_user) and allow it: smtpfence allow user NAME",
		    s->name);
}

static void check_servers(const struct sf_doctor_input *in, struct sf_doctor_report *report)
{
	_cleanup_free_ struct sf_mail_server *list = calloc(SF_MAIL_SERVERS_MAX, sizeof(*list));
	struct sf_error err = {};
	size_t count = 0;

	if (!list || sf_mail_servers_find(in->root, list, SF_MAIL_SERVERS_MAX, &count, &err)) {
		say(report, "mail server", SF_DOCTOR_FAIL, "can't be looked for: %s",
		    list ? err.text : "out of memory");
		return;
	}
	for (size_t i = 0; i < count; i++)
		check_server(in, &list[i], report);
	if (count == 0 && in->mail_path_count == 0)
		say(report, "mail server", SF_DOCTOR_WARN,
		    "none is known here and none is configured: when smtpfence enforces, nobody "
		    "on this host opens SMTP connections; name it: smtpfence mail unit NAME");
	else if (count == 0)
		say(report, "mail server", SF_DOCTOR_OK,
		    "none of those that are known; the configured roles stand");
}

/* One line a mail role at most: who else can enter, found first, and how often. */
struct entrances {
	size_t looked_at;
	size_t open;
	char first[PATH_MAX];
	unsigned int uid, mode;
};

static void look_at_mode(int dir, const char *name, const char *shown, struct entrances *e)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) ||
	    (st.st_uid == 0 && !(st.st_mode & (S_IWGRP | S_IWOTH))))
		return;
	if (e->open++)
		return;
	snprintf(e->first, sizeof(e->first), "%s%s%s", shown, *name ? "/" : "", name);
	e->uid = st.st_uid;
	e->mode = st.st_mode & 07777;
}

/* Writing the directory makes groups in it; writing these two moves tasks. */
static void look_at_group(int dir, const char *path, struct entrances *e)
{
	e->looked_at++;
	look_at_mode(dir, "", path, e);
	look_at_mode(dir, "cgroup.procs", path, e);
	look_at_mode(dir, "cgroup.threads", path, e);
}

/* NOLINTNEXTLINE(misc-no-recursion): `depth` bounds it */
static void look_below(const char *mount, const char *path, int depth, struct entrances *e)
{
	int fd = sf_cgroup_open(mount, path, O_RDONLY);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	look_at_group(fd, path, e);
	while (depth && e->looked_at < GROUPS_MAX && (entry = readdir(dir))) {
		_cleanup_free_ char *below = NULL;

		if (entry->d_type != DT_DIR || !strcmp(entry->d_name, ".") ||
		    !strcmp(entry->d_name, ".."))
			continue;
		if (asprintf(&below, "%s/%s", path, entry->d_name) < 0) {
			below = NULL;
			return;
		}
		look_below(mount, below, depth - 1, e);
	}
}

static void check_entrance(const char *mount, const char *path, struct sf_doctor_report *report)
{
	_cleanup_free_ struct entrances *e = calloc(1, sizeof(*e));
	char above[SF_PATH_MAX], shown[512], first[1024];
	bool exists;

	if (!e || sf_cgroup_path_fault(path))
		return;
	sf_escape_string(path, shown, sizeof(shown));
	look_below(mount, strcmp(path, "/") ? path : "", SF_DEPTH_MAX, e);
	exists = e->looked_at > 0;
	/* Whoever may write one above can make the mail server's cgroup when it isn't there. */
	snprintf(above, sizeof(above), "%s", path);
	for (char *slash; (slash = strrchr(above, '/')) && strcmp(above, "/");) {
		_cleanup_close_ int fd = -1;

		slash[slash == above] = '\0';
		fd = sf_cgroup_open(mount, above, O_PATH);
		if (fd >= 0)
			look_at_group(fd, slash == above ? "" : above, e);
	}
	if (e->open) {
		sf_escape_string(e->first, first, sizeof(first));
		say(report, "mail cgroup", SF_DOCTOR_FAIL,
		    "%s: somebody but root can enter it or make it: %.600s belongs to uid %u, mode "
		    "%04o (%zu such in all); take Delegate= and User= of its unit apart, or chown "
		    "it to root",
		    shown, first, e->uid, e->mode, e->open);
	} else if (e->looked_at >= GROUPS_MAX) {
		say(report, "mail cgroup", SF_DOCTOR_WARN,
		    "%s has more than %d cgroups below it; not all were looked at", shown,
		    GROUPS_MAX);
	} else {
		say(report, "mail cgroup", SF_DOCTOR_OK, "%s: only root can %s it", shown,
		    exists ? "enter" : "make");
	}
}

static void check_containers(const struct sf_doctor_input *in, struct sf_doctor_report *report)
{
	static const struct {
		const char *file, *name;
	} engines[] = {
		{"/run/docker.sock", "Docker"},	   {"/run/podman", "Podman"},
		{"/run/containerd", "containerd"}, {"/run/crio", "CRI-O"},
		{"/var/lib/lxc", "LXC"},	   {"/var/lib/incus", "Incus"},
		{"/var/snap/lxd", "LXD"},	   {"/run/libvirt", "libvirt"},
	};
	char names[128] = "", file[PATH_MAX];

	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		int n = snprintf(file, sizeof(file), "%s%s", in->root, engines[i].file);

		if (n > 0 && (size_t)n < sizeof(file) && !access(file, F_OK))
			snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
				 names[0] ? ", " : "", engines[i].name);
	}
	if (names[0])
		say(report, "containers", SF_DOCTOR_OK,
		    "%s: containers are fenced like everybody on this kernel; a mail server in one "
		    "needs its cgroup named (smtpfence mail cgroup PATH); virtual machines have a "
		    "kernel of their own, they are fenced as customers (smtpfence gateway add)",
		    names);
}

static void check_conflicts(const struct sf_doctor_input *in, struct sf_doctor_report *report)
{
	_cleanup_free_ struct sf_conflict *list = calloc(SF_CONFLICTS_MAX, sizeof(*list));
	struct sf_error err = {};
	size_t count = 0;

	if (!list || sf_conflicts_find(in->root, list, SF_CONFLICTS_MAX, &count, &err)) {
		say(report, "other tools", SF_DOCTOR_WARN, "can't be looked for: %s",
		    list ? err.text : "out of memory");
		return;
	}
	for (size_t i = 0; i < count; i++)
		say(report, "other tools", SF_DOCTOR_WARN, "%s: %s; %s; %s", list[i].tool,
		    list[i].what, list[i].where, list[i].mend);
	if (!count)
		say(report, "other tools", SF_DOCTOR_OK,
		    "no other tool or firewall rule decides about SMTP connections");
}

int sf_doctor_run(const struct sf_doctor_input *in, struct sf_doctor_report *report)
{
	report->count = 0;
	report->cut = false;
	check_kernel(in, report);
	check_mount(in, report);
	check_features(report);
	check_servers(in, report);
	for (size_t i = 0; in->mount && i < in->mail_path_count; i++)
		check_entrance(in->mount, in->mail_paths[i], report);
	check_containers(in, report);
	if (in->policy)
		sf_doctor_check_wires(in->policy, report);
	if (in->config_file)
		sf_doctor_check_files(in, report);
	check_conflicts(in, report);
	return 0;
}
