// SPDX-License-Identifier: GPL-2.0-only
/*
 * The links of the packet programs, on uplinks and customers' interfaces: one that somebody
 * detached, or whose pin was removed, is missed within two seconds, and whoever follows the
 * interfaces looks at once. Filters (before Linux 6.6) keep no link: they are looked at every ten
 * seconds.
 */
#include "daemon.h"
#include "../cleanup.h"
#include <bpf/bpf.h>
#include <ctype.h>
#include <dirent.h>
#include <string.h>
#include <time.h>

#define LOOK_NS 1900000000LL /* a tick comes each second, and not to the millisecond */
#define REST	1000	     /* of the time that a look takes, so many times is rested */

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* "in-7", "gwout-12": by an interface's number; those of cgroups are the guard's. */
static int is_of_interface(const char *name)
{
	const char *number = strrchr(name, '-');

	return number && isdigit((unsigned char)number[1]);
}

/* A link that was detached, or whose interface went, is one to interface 0. */
static int lives(const char *pin_dir, const char *name)
{
	_cleanup_close_ int fd = sf_pin_open(pin_dir, "links", name);
	struct bpf_link_info info = {};
	__u32 len = sizeof(info);

	/* TCX (6.6), which older headers do not know, has its interface in the same place. */
	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) && info.xdp.ifindex;
}

static void count(const char *pin_dir, size_t *living, size_t *dead)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	*living = *dead = 0;
	snprintf(path, sizeof(path), "%s/links", pin_dir);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		if (is_of_interface(entry->d_name))
			++*(lives(pin_dir, entry->d_name) ? living : dead);
	if (dir)
		closedir(dir);
}

void links_expect(struct daemon *d)
{
	count(d->policy.pin_dir, &d->living_links, &d->dead_links);
}

int links_lost(struct daemon *d)
{
	size_t living = d->living_links, dead = d->dead_links;
	int64_t now = clock_ns(CLOCK_MONOTONIC), begun, took;
	int is_first = !d->next_links_ns;

	if (now < d->next_links_ns)
		return 0;
	begun = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	links_expect(d);
	took = (clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun) * REST;
	d->next_links_ns = now + (took > LOOK_NS ? took : LOOK_NS);
	return is_first || d->living_links < living || d->dead_links > dead;
}
