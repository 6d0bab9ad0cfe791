// SPDX-License-Identifier: GPL-2.0-only
#include "netns.h"
#include "cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>

struct state {
	int (*visit)(uint64_t inode, void *context);
	void *context;
	struct sf_netns_walk walk;
	uint64_t known[SF_NETNS_MAX];
	size_t known_count;
	int ret;
};

/* Seen before; or one too many. */
static int is_known(struct state *s, uint64_t inode)
{
	/* From the end: neighbours in /proc share their namespace. */
	for (size_t i = s->known_count; i > 0; i--)
		if (s->known[i - 1] == inode)
			return 1;
	if (s->known_count < SF_NETNS_MAX)
		return 0;
	s->walk.incomplete = 1;
	return 1;
}

/* A task that ends meanwhile is no error. */
static int visit_task(struct state *s, int tasks, const char *tid)
{
	_cleanup_close_ int fd = -1;
	char link[64];
	struct stat st;

	if (snprintf(link, sizeof(link), "%s/ns/net", tid) >= (int)sizeof(link) ||
	    fstatat(tasks, link, &st, 0) || is_known(s, st.st_ino))
		return 0;
	fd = openat(tasks, link, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || is_known(s, st.st_ino))
		return 0;
	s->known[s->known_count++] = st.st_ino;
	if (setns(fd, CLONE_NEWNET)) {
		s->walk.incomplete = 1;
		return 0;
	}
	s->walk.visited++;
	return s->visit(st.st_ino, s->context);
}

/*
 * All threads of a process: each may be in another namespace, and where the first one has ended,
 * /proc/PID/ns names none.
 */
static int visit_process(struct state *s, const char *pid)
{
	_cleanup_closedir_ DIR *tasks = NULL;
	struct dirent *entry;
	char path[64];
	int ret = 0;

	if (snprintf(path, sizeof(path), "/proc/%s/task", pid) >= (int)sizeof(path))
		return 0;
	tasks = opendir(path);
	while (tasks && !ret && (entry = readdir(tasks)))
		if (entry->d_name[0] != '.')
			ret = visit_task(s, dirfd(tasks), entry->d_name);
	return ret;
}

static void *walk(void *argument)
{
	struct state *s = argument;
	_cleanup_closedir_ DIR *proc = opendir("/proc");
	struct dirent *entry;

	if (!proc)
		s->ret = -errno;
	while (proc && !s->ret && (entry = readdir(proc)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			s->ret = visit_process(s, entry->d_name);
	return NULL;
}

int sf_netns_each(int (*visit)(uint64_t inode, void *context), void *context,
		  struct sf_netns_walk *out)
{
	_cleanup_free_ struct state *s = calloc(1, sizeof(*s));
	pthread_t thread;
	int ret;

	if (!s)
		return -ENOMEM;
	s->visit = visit;
	s->context = context;
	ret = pthread_create(&thread, NULL, walk, s);
	if (ret)
		return -ret;
	pthread_join(thread, NULL);
	if (!s->ret)
		*out = s->walk;
	return s->ret;
}
