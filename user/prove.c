// SPDX-License-Identifier: GPL-2.0-only
#include "prove.h"
#include "cgroup.h"
#include "cleanup.h"
#include "pins.h"
#include "probe.h"
#include "status.h"
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <signal.h>

/* Addresses that belong to nobody: RFC 5737, RFC 2544; RFC 3849, RFC 9637, RFC 6666. */
static const char *const nobody_v4[] = {"192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1"};
static const char *const nobody_v6[] = {"2001:db8::1", "3fff::1", "100::1"};

static int try_connect(const struct sf_proof *proof)
{
	struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = htons(proof->port)};
	struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(proof->port)};
	_cleanup_close_ int fd =
		socket(proof->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return -errno;
	inet_pton(AF_INET, proof->to, &to4.sin_addr);
	inet_pton(AF_INET6, proof->to, &to6.sin6_addr);
	ret = proof->family == AF_INET ? connect(fd, (struct sockaddr *)&to4, sizeof(to4))
				       : connect(fd, (struct sockaddr *)&to6, sizeof(to6));
	return ret ? errno : 0;
}

/* Is an address inside a network that is allowed on this port? */
static int is_relay(const struct sf_policy *policy, const char *address, uint16_t port)
{
	struct sf_net_key one;

	if (sf_net_parse(address, &one, NULL))
		return 1;
	for (size_t i = 0; i < policy->entry_count; i++) {
		const struct sf_entry *e = &policy->entries[i];
		uint32_t p = 0;

		if (e->kind != SF_ENTRY_ALLOW_NET || !sf_net_covers(&e->net, &one))
			continue;
		while (p < e->port_count && e->ports[p] != port)
			p++;
		if (!e->port_count || p < e->port_count)
			return 1;
	}
	return 0;
}

/* Is it one of this host's own, to which connections are allowed? */
static int is_local(const struct sf_policy *policy, const char *address)
{
	_cleanup_close_ int fd = sf_pin_open(policy->pin_dir, "maps", "local_addrs");
	struct sf_net_key one;
	uint8_t value;

	return fd >= 0 && !sf_net_parse(address, &one, NULL) &&
	       !bpf_map_lookup_elem(fd, &one.addr, &value);
}

/* An address that nothing allows; "" where relays cover all of them. */
static void choose_address(const struct sf_policy *policy, struct sf_proof *proof)
{
	const char *const *list = proof->family == AF_INET ? nobody_v4 : nobody_v6;
	size_t n = proof->family == AF_INET ? sizeof(nobody_v4) / sizeof(nobody_v4[0])
					    : sizeof(nobody_v6) / sizeof(nobody_v6[0]);

	for (size_t i = 0; i < n; i++) {
		if (is_relay(policy, list[i], proof->port) || is_local(policy, list[i]))
			continue;
		snprintf(proof->to, sizeof(proof->to), "%s", list[i]);
		return;
	}
	proof->skipped = 1;
}

/* A uid and gid that are on no list: root itself may be an allowed user. */
static uint32_t choose_id(const struct sf_policy *policy)
{
	uint32_t id = 65533;

	for (size_t i = 0; i < policy->entry_count; i++) {
		const struct sf_entry *e = &policy->entries[i];

		if ((e->kind == SF_ENTRY_ALLOW_USER || e->kind == SF_ENTRY_ALLOW_GROUP ||
		     e->kind == SF_ENTRY_QUARANTINE_USER) &&
		    e->id == id) {
			id--;
			i = (size_t)-1; /* from the start again, with this one */
		}
	}
	return id;
}

/* In the child: enter the cgroup, leave the network, try, and hand the errnos back. */
static int child(int procs_fd, int pipe_fd, uint32_t id, struct sf_proof_report *report)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (procs_fd >= 0 && write(procs_fd, "0", 1) != 1)
		return 1;
	if (unshare(CLONE_NEWNET))
		return 2;
	if (setresgid(id, id, id) || setresuid(id, id, id))
		return 4;
	for (size_t i = 0; i < report->count; i++) {
		int seen = report->proof[i].skipped ? -ENOENT : try_connect(&report->proof[i]);

		if (write(pipe_fd, &seen, sizeof(seen)) != (ssize_t)sizeof(seen))
			return 3;
	}
	return 0;
}

/* The nearest role of a path, by the policy; a fenced place is one without mail and exempt. */
static int is_fenced_place(const struct sf_policy *policy, const char *path)
{
	const struct sf_entry *nearest = NULL;
	size_t best = 0;

	for (size_t i = 0; i < policy->entry_count; i++) {
		const struct sf_entry *e = &policy->entries[i];
		size_t len = strcmp(e->value, "/") ? strlen(e->value) : 0;

		if (e->kind > SF_ENTRY_EXEMPT || strncmp(path, e->value, len) ||
		    (path[len] != '/' && path[len] != '\0' && len))
			continue;
		if (!nearest || len >= best) {
			nearest = e;
			best = len;
		}
	}
	return !nearest || nearest->kind == SF_ENTRY_FENCE;
}

static int make_place(const struct sf_policy *policy, const char *mount, char *path, size_t size,
		      struct sf_error *err)
{
	char full[PATH_MAX + SF_NAME_MAX + 64];
	size_t root = strcmp(policy->cgroup_root, "/") ? strlen(policy->cgroup_root) : 0;
	int refused = 0;

	/* Below the fence's own root; where that is exempt, below the first fenced cgroup. */
	for (size_t i = 0; i <= policy->entry_count; i++) {
		const char *parent = policy->cgroup_root;

		if (i) {
			parent = policy->entries[i - 1].value;
			/* A fence that lies outside the fence's root is not reached by it. */
			if (policy->entries[i - 1].kind != SF_ENTRY_FENCE ||
			    strncmp(parent, policy->cgroup_root, root) || parent[root] != '/')
				continue;
		}
		if (!is_fenced_place(policy, parent))
			continue;
		if (snprintf(path, size, "%s/smtpfence-probe.%d", strcmp(parent, "/") ? parent : "",
			     (int)getpid()) >= (int)size)
			continue;
		snprintf(full, sizeof(full), "%s%s", mount, path);
		if (!mkdir(full, 0700))
			return 0;
		if (errno != ENOENT)
			refused = errno;
	}
	if (refused)
		return sf_fail(err, -refused, "can't make a cgroup for the probe below %s: %s",
			       policy->cgroup_root, strerror(refused));
	return sf_fail(err, -ENOENT,
		       "no cgroup is fenced: everything below %s is exempt or mail, so "
		       "nobody would be denied; add `fence` roles or take `exempt` away",
		       policy->cgroup_root);
}

static void set_probe_cgroup(const struct sf_policy *policy, uint64_t id)
{
	_cleanup_close_ int fd = sf_pin_open(policy->pin_dir, "maps", "settings");
	struct sf_settings settings;
	__u32 zero = 0;

	if (fd < 0 || bpf_map_lookup_elem(fd, &zero, &settings))
		return;
	settings.probe_cgroup = id;
	bpf_map_update_elem(fd, &zero, &settings, BPF_ANY);
}

static void plan(const struct sf_policy *policy, struct sf_proof_report *report)
{
	const int families[] = {AF_INET, AF_INET6};
	/* Kernels before 5.18 give EPERM, whatever was chosen. */
	int given = sf_probe_set_retval() == 1 ? policy->deny_errno : EPERM;
	uint16_t open_port = 26;

	for (int f = 0; f < 2; f++) {
		for (uint32_t i = 0; i < policy->ports.count; i++) {
			struct sf_proof *p = &report->proof[report->count++];

			p->family = families[f];
			p->port = policy->ports.port[i];
			p->expected = policy->mode == SF_MODE_ENFORCE ? given : -1;
			choose_address(policy, p);
		}
	}
	/* The neighbour that must stay open. */
	for (uint32_t i = 0; i < policy->ports.count; i++)
		if (policy->ports.port[i] == open_port)
			open_port = 9;
	report->proof[report->count] =
		(struct sf_proof){.family = AF_INET, .port = open_port, .expected = -1};
	snprintf(report->proof[report->count++].to, sizeof(report->proof[0].to), "%s",
		 nobody_v4[0]);
}

static uint64_t probes_counted(const struct sf_policy *policy, int verdict)
{
	uint64_t counter[SF_COUNTER_COUNT];

	if (sf_counters_read(policy->pin_dir, counter))
		return 0;
	return counter[SF_COUNTER(verdict, SF_REASON_PROBE)];
}

/* To be born in a cgroup (5.7) is quick; to move there waits until all cores have seen it. */
static pid_t fork_into(const char *cgroup)
{
	_cleanup_close_ int fd = open(cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct clone_args args = {
		.flags = CLONE_INTO_CGROUP,
		.exit_signal = SIGCHLD,
		.cgroup = (__u64)fd,
	};

	return fd < 0 ? -1 : (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

static int run_child(const char *full, uint32_t id, struct sf_proof_report *report,
		     struct sf_error *err)
{
	_cleanup_close_ int read_fd = -1, procs = -1;
	int ends[2], status = 0;
	char procs_path[PATH_MAX + SF_NAME_MAX + 80];
	pid_t pid;

	snprintf(procs_path, sizeof(procs_path), "%s/cgroup.procs", full);
	procs = open(procs_path, O_WRONLY | O_CLOEXEC);
	if (procs < 0 || pipe2(ends, O_CLOEXEC))
		return sf_fail(err, -errno, "can't use the probe's cgroup: %s", strerror(errno));
	read_fd = ends[0];
	pid = fork_into(full);
	if (pid == 0)
		_exit(child(-1, ends[1], id, report));
	if (pid < 0)
		pid = fork();
	if (pid == 0)
		_exit(child(procs, ends[1], id, report));
	close(ends[1]);
	if (pid < 0)
		return sf_fail(err, -errno, "can't fork: %s", strerror(errno));
	for (size_t i = 0; i < report->count; i++)
		if (read(read_fd, &report->proof[i].seen, sizeof(int)) != (ssize_t)sizeof(int))
			break;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return sf_fail(err, -EIO, "the probe could not %s",
			       WIFEXITED(status) && WEXITSTATUS(status) == 1
				       ? "enter its cgroup (does it allow processes?)"
			       : WIFEXITED(status) && WEXITSTATUS(status) == 2
				       ? "make a network namespace of its own"
				       : "run to its end");
	return 0;
}

int sf_prove(const struct sf_policy *policy, struct sf_proof_report *report, struct sf_error *err)
{
	char mount[PATH_MAX], full[PATH_MAX + SF_NAME_MAX];
	int verdict = policy->mode == SF_MODE_ENFORCE ? SF_VERDICT_DENIED : SF_VERDICT_WOULD_DENY;
	uint64_t id, before, fenced = 0;
	int ret;

	memset(report, 0, sizeof(*report));
	ret = sf_cgroup_mount(mount, sizeof(mount), err);
	if (!ret)
		ret = make_place(policy, mount, report->cgroup, sizeof(report->cgroup), err);
	if (ret)
		return ret;
	snprintf(full, sizeof(full), "%s%s", mount, report->cgroup);
	ret = sf_cgroup_id(mount, report->cgroup, &id);
	plan(policy, report);
	before = probes_counted(policy, verdict);
	if (!ret) {
		set_probe_cgroup(policy, id);
		ret = run_child(full, choose_id(policy), report, err);
		set_probe_cgroup(policy, 0);
	}
	/* The child is gone; its cgroup may need a moment until it is empty. */
	for (int tries = 0; rmdir(full) && errno == EBUSY && tries < 200; tries++)
		usleep(5000);
	if (ret)
		return ret;
	report->counted = probes_counted(policy, verdict) - before;
	report->passed = 1;
	for (size_t i = 0; i < report->count; i++) {
		struct sf_proof *p = &report->proof[i];

		p->skipped |= p->seen < 0; /* no socket of that family */
		if (p->skipped)
			continue;
		if (i + 1 < report->count)
			fenced++;
		/* Open: the packet finds no way out of the empty namespace, by whatever errno. */
		if (p->expected > 0
			    ? p->seen != p->expected
			    : p->seen == EPERM || p->seen == EACCES || p->seen == ECONNREFUSED)
			report->passed = 0;
	}
	/* The errno alone could be somebody else's: the kernel must have counted each as ours. */
	if (report->counted != fenced || !fenced)
		report->passed = 0;
	return 0;
}
