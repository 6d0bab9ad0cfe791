// SPDX-License-Identifier: GPL-2.0-only
#include "open_connections.h"
#include "cgroup.h"
#include "cleanup.h"
#include "fence.h"
#include "procs.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>

/* Looks at all sockets: to find, and (with `end`) to see that they are gone. */
#define LOOKS 4

#define OPEN_STATES                                                                                \
	(1u << TCP_SYN_SENT | 1u << TCP_ESTABLISHED | 1u << TCP_CLOSE_WAIT | 1u << TCP_FIN_WAIT1 | \
	 1u << TCP_FIN_WAIT2)

struct key {
	uint64_t netns;
	uint32_t cookie[2];
};

static int is_fenced(const struct sf_policy *policy, uint16_t port)
{
	for (uint32_t i = 0; i < policy->ports.count; i++)
		if (policy->ports.port[i] == port)
			return 1;
	return 0;
}

/* Finding ------------------------------------------------------------------------------------- */

struct work {
	const struct sf_policy *policy;
	struct sf_image image;
	struct sf_clock clock;
	char mount[PATH_MAX];
	uint64_t path_id;     /* of the cgroup that was asked for last, */
	int path_ret;	      /* the answer, */
	char path[PATH_MAX];  /* and its path: neighbours mostly share it */
	struct sf_table seen; /* by key: what would be denied, in this look */
	struct sf_table
		*before; /* the report's, of the looks before; `ended` is cleared if there */
	struct sf_netns_walk namespaces;
	int refusal; /* why one could not be ended: a negative errno */
	/* Of the namespace that is looked at */
	uint64_t netns;
	size_t first; /* of its connections in `seen`, before that is sorted */
	uint64_t listens[1024];
};

static int is_below(const char *root, const char *path)
{
	size_t n = strcmp(root, "/") ? strlen(root) : 0;

	return !strncmp(path, root, n) && (!n || path[n] == '/' || !path[n]);
}

static void keep_path(struct sf_open_connection *c, const char *path)
{
	size_t n = strnlen(path, sizeof(c->cgroup) - 1);

	memcpy(c->cgroup, path, n);
	c->cgroup[n] = '\0';
}

/* A cgroup's path into w->path, or a negative errno. */
static int find_path(struct work *w, uint64_t id)
{
	if (w->path_id != id)
		w->path_ret = sf_cgroup_path(w->mount, id, w->path, sizeof(w->path));
	w->path_id = id;
	return w->path_ret;
}

static int is_denied(const struct work *w, const struct sf_open_connection *c,
		     const struct sf_open_sender *sender, uint8_t *reason)
{
	struct sf_decision d;

	if (sender->cgroup && !is_below(w->policy->cgroup_root, sender->cgroup))
		return 0;
	d = sf_open_decide(&w->image, w->clock.boot_ns, c, sender);
	*reason = d.reason;
	return d.verdict == SF_VERDICT_DENIED;
}

/* A first judgement, by the socket alone. */
static int on_socket(const struct sf_diag_socket *socket, void *context)
{
	struct work *w = context;
	struct sf_open_connection c = {.netns = w->netns};
	struct sf_open_sender sender = {.uid = socket->msg.idiag_uid};
	struct sf_open_connection *before;
	struct key key = {.netns = w->netns};
	int ret;

	sf_open_fold(socket, &c);
	if (socket->msg.idiag_state == TCP_LISTEN) {
		w->listens[c.sport / 64] |= 1ULL << (c.sport % 64);
		return 0;
	}
	if (!is_fenced(w->policy, c.dport))
		return 0;
	/* What is left of a closed connection (TIME_WAIT shown as FIN_WAIT2) has no cgroup. */
	if (!socket->cgroup)
		return 0;
	memcpy(key.cookie, socket->msg.id.idiag_cookie, sizeof(key.cookie));
	before = sf_table_find(w->before, &key);
	if (before)
		before->ended = 0;
	sender.knows_uid = socket->msg.idiag_inode != 0;
	ret = find_path(w, socket->cgroup);
	if (ret && ret != -ENOENT && ret != -ESTALE && ret != -ENAMETOOLONG)
		return ret;
	if (!ret) {
		sender.cgroup = w->path;
		keep_path(&c, w->path);
	}
	if (!is_denied(w, &c, &sender, &c.reason))
		return 0;
	return sf_table_add(&w->seen, &key, &c);
}

/* Called in the namespace. */
static int look_here(uint64_t inode, void *context)
{
	struct work *w = context;
	_cleanup_close_ int fd = sf_diag_open();
	uint32_t states = OPEN_STATES | 1u << TCP_LISTEN;
	int ret;

	if (fd < 0)
		return fd;
	w->netns = inode;
	w->first = w->seen.count;
	memset(w->listens, 0, sizeof(w->listens));
	ret = sf_diag_list(fd, AF_INET, states, on_socket, w);
	if (ret)
		return ret;
	ret = sf_diag_list(fd, AF_INET6, states, on_socket, w);
	if (ret == -EOPNOTSUPP)
		ret = 0; /* a kernel without IPv6 */
	for (size_t i = w->first; i < w->seen.count && !ret; i++) {
		struct sf_open_connection *c = sf_table_value(&w->seen, i);

		c->incoming = w->listens[c->sport / 64] >> (c->sport % 64) & 1;
	}
	return ret;
}

/* Holders ------------------------------------------------------------------------------------- */

static uint32_t id_in(const char *status, const char *field)
{
	const char *p = strstr(status, field);

	return p ? (uint32_t)strtoul(p + strlen(field), NULL, 10) : UINT32_MAX;
}

struct holder {
	pid_t pid;
	int known; /* 0: not looked at yet; -1: it is gone */
	uint32_t uid, gid;
	char cgroup[PATH_MAX]; /* where it is now; "": not told */
};

static int know(struct holder *h)
{
	char proc[64], status[4096];

	if (h->known)
		return h->known > 0;
	snprintf(proc, sizeof(proc), "/proc/%d", (int)h->pid);
	h->known = sf_proc_read(proc, "status", status, sizeof(status)) ? 1 : -1;
	h->uid = id_in(status, "\nUid:");
	h->gid = id_in(status, "\nGid:");
	if (sf_cgroup_of_pid(h->pid, h->cgroup, sizeof(h->cgroup)))
		h->cgroup[0] = '\0';
	return h->known > 0;
}

/* A second judgement, by a process that holds it: it may be allowed where the owner is not. */
static void judge_holder(struct work *w, struct holder *h, struct sf_open_connection *c)
{
	struct sf_open_sender sender = {.knows_uid = 1, .knows_gid = 1};
	uint8_t reason;
	int gone;

	if (!know(h))
		return;
	sender.uid = h->uid;
	sender.gid = h->gid;
	/* A cgroup that is gone: the holder's stands for it. */
	gone = find_path(w, c->socket.cgroup) != 0;
	sender.cgroup = gone ? h->cgroup : w->path;
	if (!sender.cgroup[0])
		return;
	if (!c->pid) {
		c->pid = h->pid;
		keep_path(c, sender.cgroup);
	}
	if (!is_denied(w, c, &sender, &reason))
		c->allowed = 1;
	else if (gone)
		c->reason = reason; /* it says more than that the cgroup is gone */
}

/* Which row of `seen` has which inode; the subflows of an MPTCP socket share one. */
struct inode_row {
	uint32_t inode, row;
};

static int by_inode(const void *a, const void *b)
{
	const struct inode_row *x = a, *y = b;

	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

/* For every descriptor of the process that is one of those sockets. */
static void look_at_process(struct work *w, const struct inode_row *rows, size_t count,
			    const char *pid)
{
	_cleanup_closedir_ DIR *fds = NULL;
	/* NOLINTNEXTLINE(cert-err34-c): a name in /proc that begins with a digit */
	struct holder holder = {.pid = (pid_t)atoi(pid)};
	struct dirent *entry;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	fds = opendir(path);
	while (fds && (entry = readdir(fds))) {
		char link[64];
		ssize_t n = readlinkat(dirfd(fds), entry->d_name, link, sizeof(link) - 1);
		struct inode_row wanted = {0, 0};
		const struct inode_row *row;

		link[n > 0 ? n : 0] = '\0';
		/* NOLINTNEXTLINE(cert-err34-c): the kernel's own text */
		if (sscanf(link, "socket:[%u]", &wanted.inode) != 1)
			continue;
		row = bsearch(&wanted, rows, count, sizeof(*rows), by_inode);
		if (!row)
			continue;
		while (row > rows && row[-1].inode == row->inode)
			row--;
		for (; row < rows + count && row->inode == wanted.inode; row++)
			judge_holder(w, &holder, sf_table_value(&w->seen, row->row));
	}
}

static int look_at_holders(struct work *w)
{
	_cleanup_free_ struct inode_row *rows = calloc(w->seen.count, sizeof(*rows));
	_cleanup_closedir_ DIR *proc = opendir("/proc");
	struct dirent *entry;
	size_t count = 0;

	if (!rows || !proc)
		return -errno;
	for (size_t i = 0; i < w->seen.count; i++) {
		const struct sf_open_connection *c = sf_table_value(&w->seen, i);

		if (c->socket.msg.idiag_inode)
			rows[count++] = (struct inode_row){c->socket.msg.idiag_inode, (uint32_t)i};
	}
	qsort(rows, count, sizeof(*rows), by_inode);
	while (count && (entry = readdir(proc)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			look_at_process(w, rows, count, entry->d_name);
	return 0;
}

/* One look at everything: `seen` holds what would be denied and is not in doubt, sorted. */
static int look(struct work *w, struct sf_open_report *report)
{
	struct sf_table denied;
	int ret;

	w->path_id = 0; /* between two looks a cgroup may go */
	for (size_t i = 0; i < report->found.count; i++)
		((struct sf_open_connection *)sf_table_value(&report->found, i))->ended = 1;
	w->before = &report->found;
	sf_clock_now(&w->clock);
	sf_table_init(&w->seen, sizeof(struct key), sizeof(struct sf_open_connection));
	ret = sf_netns_each(look_here, w, &w->namespaces);
	if (!ret)
		ret = sf_table_sort(&w->seen);
	if (!ret && w->seen.count)
		ret = look_at_holders(w);
	sf_table_init(&denied, sizeof(struct key), sizeof(struct sf_open_connection));
	report->incoming = report->unknown = 0;
	for (size_t i = 0; i < w->seen.count && !ret; i++) {
		const struct sf_open_connection *c = sf_table_value(&w->seen, i);

		if (c->allowed)
			continue;
		if (c->incoming)
			report->incoming++;
		else if (!c->cgroup[0])
			report->unknown++;
		else
			ret = sf_table_add(&denied, sf_table_key(&w->seen, i), c);
	}
	sf_table_free(&w->seen);
	w->seen = denied;
	return ret ? ret : sf_table_sort(&w->seen);
}

/* Ending -------------------------------------------------------------------------------------- */

/* Called in the namespace. */
static int end_here(uint64_t inode, void *context)
{
	struct work *w = context;
	_cleanup_close_ int fd = -1;

	for (size_t i = 0; i < w->seen.count; i++) {
		const struct sf_open_connection *c = sf_table_value(&w->seen, i);
		int ret;

		if (c->netns != inode)
			continue;
		if (fd < 0)
			fd = sf_diag_open();
		if (fd < 0)
			return fd;
		ret = sf_diag_end(fd, c->socket.msg.idiag_family, &c->socket.msg.id);
		if (ret == -EOPNOTSUPP)
			return ret;
		if (ret && ret != -ENOENT)
			w->refusal = ret;
	}
	return 0;
}

const struct sf_open_connection *sf_open_at(const struct sf_open_report *report, size_t i)
{
	return sf_table_value(&report->found, i);
}

/* Count what is not there any more; what is new joins. */
static int compare(struct work *w, struct sf_open_report *report)
{
	size_t before = report->found.count;
	int ret = 0;

	report->ended = 0;
	for (size_t i = 0; i < before; i++)
		report->ended += sf_open_at(report, i)->ended;
	/* Of those that are there still, the newer row stays. */
	for (size_t i = 0; i < w->seen.count && !ret; i++)
		ret = sf_table_add(&report->found, sf_table_key(&w->seen, i),
				   sf_table_value(&w->seen, i));
	return ret ? ret : sf_table_sort(&report->found);
}

static int look_and_end(struct work *w, int end, struct sf_open_report *report,
			struct sf_error *err)
{
	struct sf_netns_walk ignored;

	for (int n = 1;; n++) {
		int ret = look(w, report);

		if (!ret)
			ret = compare(w, report);
		report->namespaces = w->namespaces;
		if (!ret && end && w->seen.count && n < LOOKS && report->can_end) {
			ret = sf_netns_each(end_here, w, &ignored);
			if (ret == -EOPNOTSUPP)
				ret = report->can_end = 0;
			sf_table_free(&w->seen);
			if (!ret && report->can_end)
				continue;
		}
		sf_table_free(&w->seen);
		if (ret == -EOPNOTSUPP)
			return sf_fail(err, ret,
				       "this kernel can't list its connections "
				       "(CONFIG_INET_TCP_DIAG)");
		if (ret)
			return sf_fail(err, ret, "can't list open connections: %s", strerror(-ret));
		if (end && w->refusal && report->ended < report->found.count)
			return sf_fail(err, w->refusal, "the kernel refused to end some: %s",
				       strerror(-w->refusal));
		return 0;
	}
}

int sf_open_connections(const struct sf_policy *policy, int end, struct sf_open_report *report,
			struct sf_error *err)
{
	_cleanup_free_ struct work *w = calloc(1, sizeof(*w));
	int ret;

	memset(report, 0, sizeof(*report));
	report->can_end = 1;
	sf_table_init(&report->found, sizeof(struct key), sizeof(struct sf_open_connection));
	if (!w)
		return sf_fail(err, -ENOMEM, "no memory");
	w->policy = policy;
	ret = sf_cgroup_mount(w->mount, sizeof(w->mount), err);
	if (!ret)
		ret = sf_fence_image(policy, &w->image, err);
	if (ret)
		return ret;
	ret = look_and_end(w, end, report, err);
	sf_image_free(&w->image);
	return ret;
}

void sf_open_report_free(struct sf_open_report *report)
{
	sf_table_free(&report->found);
}
