// SPDX-License-Identifier: GPL-2.0-only
#include "procs.h"
#include "cleanup.h"
#include <errno.h>
#include <limits.h>
#include <string.h>

int sf_proc_link(const char *proc, const char *name, char *link, size_t size)
{
	char file[PATH_MAX];
	int len = snprintf(file, sizeof(file), "%s/%s", proc, name);
	ssize_t n;

	if (len < 0 || (size_t)len >= sizeof(file))
		return -ENAMETOOLONG;
	n = readlink(file, link, size - 1);
	if (n < 0)
		return -errno;
	link[n] = '\0';
	return n ? 0 : -ENOENT;
}

size_t sf_proc_read(const char *proc, const char *name, char *text, size_t size)
{
	char file[PATH_MAX];
	int len = snprintf(file, sizeof(file), "%s/%s", proc, name);
	_cleanup_fclose_ FILE *in = NULL;
	size_t n;

	text[0] = '\0';
	if (len < 0 || (size_t)len >= sizeof(file))
		return 0;
	in = fopen(file, "re");
	n = in ? fread(text, 1, size - 1, in) : 0;
	text[n] = '\0';
	return n;
}

void sf_proc_look(const char *root, const char *proc, struct sf_proc *out)
{
	char text[4096], first[PATH_MAX], own[64], theirs[64], *p;

	*out = (struct sf_proc){.uid = (uid_t)-1};
	sf_proc_read(proc, "status", text, sizeof(text));
	/* Name: comes first, and the kernel escapes the newlines in it. */
	p = strstr(text, "\nUid:");
	if (p)
		out->uid = (uid_t)strtoul(p + 5, NULL, 10);
	p = strstr(text, "\nPPid:");
	if (p)
		out->parent = (pid_t)strtol(p + 6, NULL, 10);
	if (snprintf(first, sizeof(first), "%s/proc/1", root) < (int)sizeof(first) &&
	    !sf_proc_link(first, "ns/mnt", own, sizeof(own)) &&
	    !sf_proc_link(proc, "ns/mnt", theirs, sizeof(theirs)))
		out->contained = strcmp(own, theirs) != 0;
	sf_proc_read(proc, "cgroup", text, sizeof(text));
	p = !strncmp(text, "0::", 3) ? text : strstr(text, "\n0::");
	if (!p)
		return;
	p = strstr(p, "::") + 2;
	p[strcspn(p, "\n")] = '\0';
	if (strlen(p) < sizeof(out->cgroup))
		memcpy(out->cgroup, p, strlen(p) + 1);
}
