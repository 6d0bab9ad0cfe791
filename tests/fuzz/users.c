// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's users and groups, the same on every machine (the linker puts these in place of the C
 * library's), so that an input means everywhere what it meant where it was found.
 */
#include "fuzz.h"
#include <errno.h>
#include <grp.h>
#include <pwd.h>

struct passwd *__wrap_getpwnam(const char *name);
struct passwd *__wrap_getpwuid(uid_t uid);
struct group *__wrap_getgrnam(const char *name);

static const struct {
	const char *name;
	unsigned int id;
} known[] = {{"root", 0},      {"mail", 8},    {"www-data", 33},
	     {"postfix", 101}, {"web1", 1001}, {"we\x1b\"b\\2\n", 1002},
	     {"nobody", 65534}};

static struct passwd *user(size_t i)
{
	static char name[32], none[] = "";
	static struct passwd pw;

	snprintf(name, sizeof(name), "%s", known[i].name);
	pw = (struct passwd){.pw_name = name,
			     .pw_passwd = none,
			     .pw_uid = known[i].id,
			     .pw_gid = known[i].id,
			     .pw_gecos = none,
			     .pw_dir = none,
			     .pw_shell = none};
	return &pw;
}

struct passwd *__wrap_getpwnam(const char *name)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(known[i].name, name))
			return user(i);
	errno = 0;
	return NULL;
}

struct passwd *__wrap_getpwuid(uid_t uid)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].id == uid)
			return user(i);
	errno = 0;
	return NULL;
}

struct group *__wrap_getgrnam(const char *name)
{
	static struct group gr;
	struct passwd *pw = __wrap_getpwnam(name);

	if (!pw)
		return NULL;
	gr = (struct group){.gr_name = pw->pw_name, .gr_gid = pw->pw_gid};
	return &gr;
}
