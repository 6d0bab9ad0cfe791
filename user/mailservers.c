// SPDX-License-Identifier: GPL-2.0-only
#include "mailservers.h"
#include "cgroup.h"
#include "cleanup.h"
#include "procs.h"
#include "units.h"
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#define LIST_MAX 9

struct known_server {
	const char *name;
	const char *units[LIST_MAX];   /* the first that is installed counts */
	const char *scripts[LIST_MAX]; /* in /etc/init.d; the unit is NAME.service */
	/* A template whose instances do the work while the plain unit is a shell around them. */
	const char *template;
	const char *template_slice;
	const char *instance;		/* the default one */
	const char *users[LIST_MAX];	/* '?' in front: only if none before it but root exists */
	const char *programs[LIST_MAX]; /* patterns for the file that the daemon runs from */
	const char
		*arguments[LIST_MAX]; /* one must begin an argument; empty: any process will do */
	const char *allow_why;	      /* its user needs to be on the allowed list, because */
};

static const struct known_server servers[] = {
	{
		.name = "Postfix",
		.units = {"postfix.service"},
		.scripts = {"postfix"},
		.template = "postfix@.service", /* Debian up to 12 */
		.template_slice = "system-postfix.slice",
		.instance = "postfix@-.service",
		.users = {"root", "postfix"},
		.programs = {"/usr/*/postfix/sbin/master", "/usr/*/postfix/master"},
	},
	{
		.name = "Exim",
		.units = {"exim4.service", "exim.service"},
		.scripts = {"exim4", "exim"},
		.users = {"root", "Debian-exim", "exim", "mailnull", "?mail"},
		.programs = {"/usr/*bin/exim4", "/usr/*bin/exim", "/usr/*bin/exim-[0-9]*"},
		.arguments = {"-bd", "-bw", "-q"},
		.allow_why = "Exim's sendmail command delivers at once, from its caller's cgroup, "
			     "under Exim's own user",
	},
	{
		.name = "OpenSMTPD",
		.units = {"opensmtpd.service", "smtpd.service"},
		.scripts = {"opensmtpd", "smtpd"},
		.users = {"root", "smtpd", "opensmtpd", "smtpq", "opensmtpq"},
		/* Exact: Postfix has an smtpd too, below a directory named postfix. */
		.programs = {"/usr/sbin/smtpd", "/usr/bin/smtpd", "/usr/local/sbin/smtpd",
			     "/usr/sbin/smtpd.opensmtpd", "/usr/lib*/opensmtpd/smtpd*"},
	},
	{
		.name = "Sendmail",
		.units = {"sendmail.service"},
		.scripts = {"sendmail"},
		.users = {"root", "mail", "smmsp", "smmta"},
		/* Not /usr/sbin/sendmail: the others install a command of that name too. */
		.programs = {"/usr/sbin/sendmail.sendmail", "/usr/lib*/sm.bin/sendmail",
			     "/usr/lib*/sendmail/sendmail"},
	},
	{
		/* Hands over what was queued while the daemon was down, to where submit.cf says. */
		.name = "Sendmail's submission queue",
		.units = {"sm-client.service"},
		.users = {"root", "smmsp"},
	},
	{
		.name = "qmail",
		.units = {"qmail.service", "qmail-send.service"},
		.scripts = {"qmail", "qmail-send"},
		.users = {"root", "qmailr", "qmailq", "qmails"},
		.programs = {"/var/qmail/bin/qmail-send", "/usr/*bin/qmail-send",
			     "/usr/lib*/qmail/*qmail-send"},
	},
};

#define SERVER_COUNT (sizeof(servers) / sizeof(servers[0]))

/* Like snprintf, but a text that doesn't fit is an error: a cut path is another path. */
static int __attribute__((format(printf, 3, 4)))
put(char *out, size_t size, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(out, size, format, args);
	va_end(args);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/*
 * Does the template do the work? On Debian 12 postfix.service only runs /bin/true and each
 * instance is a postfix@NAME.service in the slice of its template; on Debian 13 both files are
 * there, and postfix.service is the server again.
 */
static bool template_works(const char *root, const struct known_server *known, const char *file)
{
	char start[256], template[PATH_MAX];

	if (!known->template || sf_unit_file(root, known->template, template, sizeof(template)))
		return false;
	if (!file[0])
		return true;
	sf_unit_setting(root, known->units[0], file, "ExecStart", start, sizeof(start));
	return !strcmp(start, "/bin/true") || !strcmp(start, "/usr/bin/true");
}

/* All instances: the template's own slice. In a slice that others share, only the default one. */
static int place_instances(const char *root, const struct known_server *known,
			   struct sf_mail_server *server)
{
	char file[PATH_MAX] = "", slice[SF_PATH_MAX];

	sf_unit_file(root, known->template, file, sizeof(file));
	sf_unit_setting(root, known->template, file, "Slice", slice, sizeof(slice));
	if (slice[0] && !sf_unit_slice_path(slice, server->path, sizeof(server->path))) {
		put(server->unit, sizeof(server->unit), "%s", known->instance);
		return put(server->path + strlen(server->path),
			   SF_PATH_LIMIT + 1 - strlen(server->path), "/%s", known->instance);
	}
	put(server->unit, sizeof(server->unit), "%s", known->template_slice);
	return sf_unit_slice_path(known->template_slice, server->path, SF_PATH_LIMIT + 1);
}

static int find_installed(const char *root, const struct known_server *known,
			  struct sf_mail_server *server)
{
	char file[PATH_MAX] = "", unit[SF_MAIL_UNIT_LEN] = "";

	for (size_t i = 0; known->units[i] && !unit[0]; i++)
		if (!sf_unit_file(root, known->units[i], file, sizeof(file)))
			put(unit, sizeof(unit), "%s", known->units[i]);
	for (size_t i = 0; i < LIST_MAX && known->scripts[i] && !unit[0]; i++) {
		char script[PATH_MAX], name[SF_MAIL_UNIT_LEN], mask[PATH_MAX];
		struct stat st;

		if (put(script, sizeof(script), "%s/etc/init.d/%s", root, known->scripts[i]) ||
		    stat(script, &st) || !S_ISREG(st.st_mode))
			continue;
		/* systemd makes a unit of a script, unless one of that name is there (masked). */
		if (put(name, sizeof(name), "%s.service", known->scripts[i]) ||
		    put(mask, sizeof(mask), "%s/etc/systemd/system/%s", root, name) ||
		    !lstat(mask, &st))
			continue;
		put(unit, sizeof(unit), "%s", name);
	}
	if (template_works(root, known, file)) {
		server->installed = true;
		return place_instances(root, known, server);
	}
	if (!unit[0])
		return 0;
	server->installed = true;
	put(server->unit, sizeof(server->unit), "%s", unit);
	return sf_unit_cgroup(root, unit, file, server->path, SF_PATH_LIMIT + 1);
}

/* uid of a name in root's passwd file, or SF_MAIL_NO_USER. */
static uid_t find_user(const char *root, const char *name)
{
	char file[PATH_MAX];
	_cleanup_fclose_ FILE *passwd = NULL;
	struct passwd *entry;

	if (put(file, sizeof(file), "%s/etc/passwd", root))
		return SF_MAIL_NO_USER;
	passwd = fopen(file, "re");
	while (passwd && (entry = fgetpwent(passwd)))
		if (!strcmp(entry->pw_name, name))
			return entry->pw_uid;
	return SF_MAIL_NO_USER;
}

/*
 * The users that exist. The one for the allowed list is the daemon's own where it runs in its
 * place (RHEL has a mailnull beside exim), else the first in the table's order.
 */
static void find_users(const char *root, const struct known_server *known,
		       struct sf_mail_server *server)
{
	server->allow_why = known->allow_why;
	for (size_t i = 0; i < LIST_MAX && known->users[i]; i++) {
		const char *name = known->users[i];
		bool fallback = name[0] == '?';
		uid_t uid = find_user(root, name + fallback);

		if (uid == SF_MAIL_NO_USER || server->user_count == SF_MAIL_USERS_MAX ||
		    (fallback && server->user_count > 1))
			continue;
		put(server->users[server->user_count++], SF_MAIL_USER_LEN, "%s", name + fallback);
		server->uid_listed |= server->running && uid == server->uid;
		if (!known->allow_why || uid == 0)
			continue;
		if (server->allow_user == SF_MAIL_NO_USER ||
		    (server->fit == SF_MAIL_FITS && server->uid == uid)) {
			server->allow_user = uid;
			put(server->allow_name, SF_MAIL_USER_LEN, "%s", name + fallback);
		}
	}
}

static const struct known_server *known_by_exe(const char *exe)
{
	char path[PATH_MAX];
	size_t len = strlen(exe);

	/* After an upgrade the running file is gone, and the kernel says so behind its name. */
	if (len > 10 && !strcmp(exe + len - 10, " (deleted)"))
		len -= 10;
	if (put(path, sizeof(path), "%.*s", (int)len, exe))
		return NULL;
	for (size_t i = 0; i < SERVER_COUNT; i++)
		for (size_t p = 0; p < LIST_MAX && servers[i].programs[p]; p++)
			if (!fnmatch(servers[i].programs[p], path, 0))
				return &servers[i];
	return NULL;
}

const char *sf_mail_server_of_exe(const char *exe)
{
	const struct known_server *known = known_by_exe(exe);

	return known ? known->name : NULL;
}

enum sf_mail_fit sf_mail_fit_of(const char *role_path, const char *cgroup, bool contained)
{
	size_t len = strlen(role_path);

	if (!cgroup[0])
		return SF_MAIL_HIDDEN;
	if (len && !strncmp(cgroup, role_path, len) && (!cgroup[len] || cgroup[len] == '/'))
		return SF_MAIL_FITS;
	if (!strcmp(cgroup, "/"))
		return SF_MAIL_IN_ROOT;
	return contained ? SF_MAIL_CONTAINED : SF_MAIL_ELSEWHERE;
}

const char *sf_mail_fit_text(enum sf_mail_fit fit)
{
	switch (fit) {
	case SF_MAIL_NOT_RUNNING:
		return "it is not running";
	case SF_MAIL_FITS:
		return "it runs in the cgroup of its unit";
	case SF_MAIL_ELSEWHERE:
		return "it runs outside its unit's cgroup, so its mail is denied: start it by its "
		       "unit, or give its cgroup the role (smtpfence mail cgroup PATH)";
	case SF_MAIL_CONTAINED:
		return "it runs in a container, so its mail is denied: if the container is yours, "
		       "give its cgroup the role (smtpfence mail cgroup PATH)";
	case SF_MAIL_IN_ROOT:
		return "it runs in the root cgroup, so its mail is denied, and no role can be "
		       "given to it: one for / would open the fence for everybody; start it by "
		       "a unit, or in a cgroup of its own";
	case SF_MAIL_HIDDEN:
		return "its cgroup can't be told; look at /proc/PID/cgroup as root, outside any "
		       "container";
	}
	return "";
}

static bool has_argument(const char *proc, const struct known_server *known)
{
	char text[1024];
	size_t n = sf_proc_read(proc, "cmdline", text, sizeof(text));

	if (!known->arguments[0])
		return true;
	for (const char *p = text; p < text + n; p += strlen(p) + 1)
		for (size_t i = 0; i < LIST_MAX && known->arguments[i]; i++)
			if (!strncmp(p, known->arguments[i], strlen(known->arguments[i])))
				return true;
	return false;
}

/*
 * The daemon, not one of the commands that its program also serves (sendmail): a process below
 * the unit's cgroup, or an orphan that runs as one of the server's users, or a container's.
 */
static bool is_daemon(const char *root, const struct known_server *known, const struct sf_proc *c,
		      enum sf_mail_fit fit)
{
	if (fit == SF_MAIL_FITS || c->contained)
		return true;
	if (c->parent != 1)
		return false;
	for (size_t i = 0; i < LIST_MAX && known->users[i]; i++) {
		const char *name = known->users[i];

		if (find_user(root, name + (name[0] == '?')) == c->uid)
			return true;
	}
	return false;
}

/* Which of two places says more: a daemon in its place, then one on this host, then any. */
static int rank(enum sf_mail_fit fit)
{
	static const int ranks[] = {
		[SF_MAIL_NOT_RUNNING] = 0, [SF_MAIL_CONTAINED] = 1, [SF_MAIL_HIDDEN] = 2,
		[SF_MAIL_ELSEWHERE] = 3,   [SF_MAIL_IN_ROOT] = 3,   [SF_MAIL_FITS] = 4,
	};

	return ranks[fit];
}

static void look_at_process(const char *root, const char *proc, pid_t pid,
			    struct sf_mail_server *found)
{
	struct sf_proc c;
	const struct known_server *known;
	struct sf_mail_server *server;
	char exe[PATH_MAX], jail[PATH_MAX];
	size_t skip = 0;
	enum sf_mail_fit fit;

	if (sf_proc_link(proc, "exe", exe, sizeof(exe)))
		return;
	/* In a root directory of its own: the name that it has there. */
	if (!sf_proc_link(proc, "root", jail, sizeof(jail)) && strcmp(jail, "/") &&
	    !strncmp(exe, jail, strlen(jail)) && exe[strlen(jail)] == '/')
		skip = strlen(jail);
	known = known_by_exe(exe + skip);
	if (!known || !has_argument(proc, known))
		return;
	server = &found[known - servers];
	sf_proc_look(root, proc, &c);
	c.contained |= skip > 0;
	fit = sf_mail_fit_of(server->path, c.cgroup, c.contained);
	if (rank(fit) <= rank(server->fit) || !is_daemon(root, known, &c, fit))
		return;
	server->running = true;
	server->pid = pid;
	server->uid = c.uid;
	server->fit = fit;
	put(server->running_cgroup, sizeof(server->running_cgroup), "%s", c.cgroup);
}

static int find_running(const char *root, struct sf_mail_server *found, struct sf_error *err)
{
	char name[PATH_MAX];
	_cleanup_closedir_ DIR *proc = NULL;
	struct dirent *entry;

	if (put(name, sizeof(name), "%s/proc", root))
		return sf_fail(err, -ENAMETOOLONG, "the path of the root directory is too long");
	proc = opendir(name);
	if (!proc)
		return sf_fail(err, -errno, "can't read %s: %s; is /proc mounted?", name,
			       strerror(errno));
	while ((entry = readdir(proc))) {
		char *end;
		long pid = strtol(entry->d_name, &end, 10);

		if (*end || pid <= 0 || pid > INT_MAX ||
		    put(name, sizeof(name), "%s/proc/%ld", root, pid))
			continue;
		look_at_process(root, name, (pid_t)pid, found);
	}
	return 0;
}

int sf_mail_servers_find(const char *root, struct sf_mail_server *list, size_t max, size_t *count,
			 struct sf_error *err)
{
	_cleanup_free_ struct sf_mail_server *found = calloc(SERVER_COUNT, sizeof(*found));
	size_t used = 0;
	int ret;

	if (!found)
		return sf_fail(err, -ENOMEM, "out of memory while looking for mail servers");
	for (size_t i = 0; i < SERVER_COUNT; i++) {
		found[i].name = servers[i].name;
		ret = find_installed(root, &servers[i], &found[i]);
		if (ret)
			return sf_fail(err, ret, "the cgroup path of %s is longer than %d bytes",
				       servers[i].name, SF_PATH_LIMIT);
	}
	ret = find_running(root, found, err);
	if (ret)
		return ret;
	for (size_t i = 0; i < SERVER_COUNT && used < max; i++) {
		if (!found[i].installed && !found[i].running)
			continue;
		found[i].allow_user = SF_MAIL_NO_USER;
		if (found[i].installed) /* a container has a passwd file of its own */
			find_users(root, &servers[i], &found[i]);
		list[used++] = found[i];
	}
	*count = used;
	return 0;
}
