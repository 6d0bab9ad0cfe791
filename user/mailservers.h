/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The mail servers of this host: which known ones are installed, under which unit and so in which
 * cgroup, as which users they send, and whether the one that runs is really in that cgroup.
 * Only files and /proc are read. Roles come from what root wrote (unit files), never from where a
 * process happens to be: anybody can run /usr/sbin/exim4 in a cgroup of his own.
 */
#ifndef SF_USER_MAILSERVERS_H
#define SF_USER_MAILSERVERS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "../maps/abi.h"
#include "error.h"

#define SF_MAIL_SERVERS_MAX 16
#define SF_MAIL_USERS_MAX   8
#define SF_MAIL_USER_LEN    33
#define SF_MAIL_UNIT_LEN    64
#define SF_MAIL_CGROUP_LEN  1024
#define SF_MAIL_NO_USER	    ((uid_t)-1)

/* Where the running server is, compared with `path`. All but FITS have their mail denied. */
enum sf_mail_fit {
	SF_MAIL_NOT_RUNNING = 0,
	SF_MAIL_FITS,	   /* at or below path */
	SF_MAIL_ELSEWHERE, /* started by hand, in another slice, under a supervisor of its own */
	SF_MAIL_CONTAINED, /* with a mount namespace or root directory of its own: a container */
	SF_MAIL_IN_ROOT,   /* in "/": no role fits, a mail role for "/" would open the fence for all
			    */
	SF_MAIL_HIDDEN,	   /* its v2 cgroup can't be told */
};

struct sf_mail_server {
	const char *name;	     /* for people: "Postfix" */
	char unit[SF_MAIL_UNIT_LEN]; /* "postfix.service", "system-postfix.slice"; "" if none */
	char path[SF_PATH_MAX];	     /* for the role, from the v2 root; "": no unit, so no path */
	char users[SF_MAIL_USERS_MAX][SF_MAIL_USER_LEN]; /* those of the candidates that exist */
	size_t user_count; /* 0: none exists; an empty list in a role means everybody! */
	uid_t allow_user;  /* must be on the allowed list too, or SF_MAIL_NO_USER */
	char allow_name[SF_MAIL_USER_LEN];
	const char *allow_why; /* a sentence, or NULL */
	bool installed;	       /* a unit or an init script exists and is not masked */
	bool running;
	pid_t pid;	 /* of a process of it, 0 if none runs */
	uid_t uid;	 /* its real uid */
	bool uid_listed; /* that one is among users; if not, the role denies its mail */
	char running_cgroup[SF_MAIL_CGROUP_LEN]; /* its v2 path; as read: escape before showing */
	enum sf_mail_fit fit;
};

/*
 * Fill `list` with the known servers that are installed or running, at most `max` of them. `root`
 * is "" or a directory with etc, usr, run and proc in it. Users are looked up in etc/passwd only.
 * Finding none is no error: *count is 0. Needs root to see other users' processes.
 */
int sf_mail_servers_find(const char *root, struct sf_mail_server *list, size_t max, size_t *count,
			 struct sf_error *err);

/* The pure parts. */

/* Which known server a program file belongs to: its name, or NULL. `exe` as /proc tells it. */
const char *sf_mail_server_of_exe(const char *exe);

/* Where a running server is, judged by paths alone. */
enum sf_mail_fit sf_mail_fit_of(const char *role_path, const char *cgroup, bool contained);

/* What the fit means and what to do, one sentence without names from outside. */
const char *sf_mail_fit_text(enum sf_mail_fit fit);

#endif
