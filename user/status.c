// SPDX-License-Identifier: GPL-2.0-only
#include "status.h"
#include "cgroup.h"
#include "cleanup.h"
#include "compare.h"
#include "escape.h"
#include "guard.h"
#include "probe.h"
#include "roles.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

const char *const sf_verdict_names[SF_VERDICT_COUNT] = {
#define X(name, label, text) label,
	SF_VERDICTS(X)
#undef X
};
const char *const sf_reason_names[SF_REASON_COUNT] = {
#define X(name, label, verdict, text) label,
	SF_REASONS(X)
#undef X
};
const char *const sf_loss_names[SF_LOSS_COUNT] = {
#define X(name, label, text) label,
	SF_LOSSES(X)
#undef X
};

static void put_fault(struct sf_status *status, const char *format, va_list args)
{
	if (status->fault_count < SF_FAULTS_MAX)
		vsnprintf(status->fault[status->fault_count++], sizeof(status->fault[0]), format,
			  args);
}

/* The policy itself can't be had whole on this host. */
static void add_lack(struct sf_status *status, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void sf_status_fault(struct sf_status *status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put_fault(status, format, args);
	va_end(args);
	status->mendable++;
}

static void add_lack(struct sf_status *status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put_fault(status, format, args);
	va_end(args);
}

uint64_t sf_counter_read(int counters_fd, uint32_t index)
{
	static int cpus;
	static uint64_t *values; /* for the process's life; its size never changes */
	uint64_t sum = 0;

	if (!values) {
		cpus = libbpf_num_possible_cpus();
		values = cpus > 0 ? calloc((size_t)cpus, sizeof(*values)) : NULL;
	}
	if (!values || bpf_map_lookup_elem(counters_fd, &index, values))
		return 0;
	for (int c = 0; c < cpus; c++)
		sum += values[c];
	return sum;
}

int sf_counters_read(const char *pin_dir, uint64_t *counter)
{
	_cleanup_close_ int fd = sf_pin_open(pin_dir, "maps", "counters");

	if (fd < 0)
		return fd;
	for (uint32_t i = 0; i < SF_COUNTER_COUNT; i++)
		counter[i] = sf_counter_read(fd, i);
	return 0;
}

static int id_of_map(int fd, __u32 *id)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	*id = info.id;
	return 0;
}

static uint64_t wall_of_load(const struct bpf_prog_info *info)
{
	struct timespec boot, wall;

	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_REALTIME, &wall);
	return (uint64_t)(wall.tv_sec - boot.tv_sec) + info->load_time / 1000000000ULL;
}

uint64_t sf_status_loaded_at(uint32_t program_id)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(program_id);
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	return fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : wall_of_load(&info);
}

/* Is the program ours by name, and does it use the maps that are pinned (those that are open)? */
static int uses_our_maps(__u32 program_id, const struct sf_hook_info *hook,
			 const struct sf_loaded *maps, struct sf_hook_status *out)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(program_id);
	struct bpf_prog_info info = {};
	__u32 ids[64], len = sizeof(info), used = 0;

	if (fd < 0)
		return 0;
	info.nr_map_ids = sizeof(ids) / sizeof(ids[0]);
	info.map_ids = (__u64)(uintptr_t)ids;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) ||
	    strncmp(info.name, hook->program, BPF_OBJ_NAME_LEN - 1))
		return 0;
	out->loaded_at = wall_of_load(&info);
	for (__u32 i = 0; i < info.nr_map_ids && i < sizeof(ids) / sizeof(ids[0]); i++) {
		for (int m = 0; m < SF_MAP_COUNT; m++) {
			__u32 id = 0;

			if (maps->map[m] >= 0 && !id_of_map(maps->map[m], &id) && id == ids[i])
				used++;
		}
	}
	/* The fence itself needs not role_paths, source_limits, or (kernels that can't mark)
	 * judged. */
	return used >= (hook->attach_type < 0 ? 1 : SF_MAP_COUNT - 3);
}

/* The programs that run at a cgroup's hook, its own and those from above. */
static __u32 effective_programs(int cgroup_fd, const struct sf_hook_info *hook, __u32 *ids,
				__u32 room)
{
	__u32 count = room;

	if (bpf_prog_query(cgroup_fd, (enum bpf_attach_type)hook->attach_type,
			   BPF_F_QUERY_EFFECTIVE, NULL, ids, &count))
		return 0;
	return count < room ? count : room;
}

static void read_cgroup_hook(const struct sf_hook_info *hook, int link, int cgroup_fd,
			     uint64_t cgroup_id, const struct sf_loaded *maps,
			     struct sf_hook_status *out)
{
	struct bpf_link_info info = {};
	__u32 ids[64], count, len = sizeof(info);

	if (link >= 0 && (bpf_obj_get_info_by_fd(link, &info, &len) ||
			  info.type != BPF_LINK_TYPE_CGROUP || info.cgroup.cgroup_id != cgroup_id ||
			  info.cgroup.attach_type != (__u32)hook->attach_type))
		return;
	/*
	 * The link's word is not enough: ask the cgroup which programs really run there. Where the
	 * pin is gone the link may live on in the daemon's hands: then its program is there too.
	 */
	count = effective_programs(cgroup_fd, hook, ids, sizeof(ids) / sizeof(ids[0]));
	for (__u32 i = 0; i < count; i++) {
		if ((link >= 0 && ids[i] != info.prog_id) ||
		    !uses_our_maps(ids[i], hook, maps, out))
			continue;
		out->in_effect = 1;
		out->program_id = ids[i];
	}
}

static void read_hook(const struct sf_policy *policy, enum sf_hook h, int cgroup_fd,
		      uint64_t cgroup_id, const struct sf_loaded *maps, struct sf_status *status)
{
	const struct sf_hook_info *hook = &sf_hooks[h];
	struct sf_hook_status *out = &status->hook[h];
	_cleanup_close_ int link = sf_pin_open(policy->pin_dir, "links", hook->name);
	struct bpf_link_info info = {};
	__u32 len = sizeof(info);

	snprintf(out->target, sizeof(out->target), "%s",
		 hook->attach_type < 0 ? "tracepoint" : policy->cgroup_root);
	out->pinned = link >= 0;
	if (hook->attach_type >= 0) {
		read_cgroup_hook(hook, link, cgroup_fd, cgroup_id, maps, out);
	} else if (link >= 0 && !bpf_obj_get_info_by_fd(link, &info, &len)) {
		out->program_id = info.prog_id;
		out->in_effect = info.type == BPF_LINK_TYPE_RAW_TRACEPOINT &&
				 uses_our_maps(info.prog_id, hook, maps, out);
	}
}

static int is_uplink(const struct sf_egress_status *e, const char *name)
{
	for (size_t i = 0; i < e->uplinks.count; i++)
		if (!strcmp(e->uplinks.link[i].name, name))
			return 1;
	return 0;
}

/* The census is not the fence: what is missing there is said, and mended by who watches uplinks. */
static void read_uplinks(const struct sf_policy *policy, struct sf_status *status)
{
	const struct sf_egress_status *e = &status->egress;
	int ret = sf_egress_read(policy, &status->egress);

	if (ret)
		add_lack(status, "the uplinks can't be listed: %s", strerror(-ret));
	for (size_t i = 0; !ret && i < e->uplinks.count; i++) {
		const struct sf_uplink *link = &e->uplinks.link[i];

		if (link->unsupported)
			add_lack(
				status,
				"uplink %s: a kind of link whose headers are not known: nothing is "
				"counted there",
				link->name);
		else if (!e->out[i].in_effect || !e->in[i].in_effect)
			add_lack(status,
				 "uplink %s: our program is not in effect (%s): run `smtpfence "
				 "apply`",
				 link->name, e->out[i].in_effect ? "ingress" : "egress");
	}
	for (uint32_t i = 0; !ret && i < policy->uplinks.count; i++) {
		const char *name = policy->uplinks.name[i];

		/* A pattern may match nothing for now; and without a default route there is no way.
		 */
		if (strcmp(name, "auto") && !strpbrk(name, "*?[") && !is_uplink(e, name))
			add_lack(status, "uplink %s: there is no such interface", name);
	}
	if (!ret && e->lost_map)
		add_lack(status, "the pin of the census' map %s is gone: run `smtpfence apply`",
			 e->lost_map);
	if (!ret && sf_guard_differs(policy))
		add_lack(status, "the guard's tables in the kernel differ from the policy: run "
				 "`smtpfence apply`");
	if (!ret && e->uplinks.more)
		add_lack(status, "more than %d uplinks match: the rest is not counted",
			 SF_UPLINKS_MAX);
}

/* Asked from the interfaces, too; mended by who follows them (daemon/customers.c). */
static void read_customers(const struct sf_policy *policy, struct sf_status *status)
{
	const struct sf_gateway_status *g = &status->gateway;
	int ret = sf_gateway_read(policy, &status->gateway);

	if (ret) {
		add_lack(status, "the customers' interfaces can't be listed: %s", strerror(-ret));
		return;
	}
	if (g->lists_differ)
		add_lack(status, "the gateway's lists in the kernel differ from the policy: "
				 "run `smtpfence apply`");
	for (size_t i = 0; i < g->customers.count; i++) {
		const struct sf_customer_link *link = &g->customers.link[i];
		const struct sf_gateway_place *place = &g->place[i];

		if (link->is_uplink)
			continue;
		if (link->unsupported)
			add_lack(status,
				 "customer %s: a kind of link whose headers are not known: it is "
				 "not fenced",
				 link->name);
		else if (!place->how)
			add_lack(status,
				 "customer %s: not fenced, our program is not in effect: "
				 "run `smtpfence apply`",
				 link->name);
		else if (!place->listed || !place->answers)
			add_lack(status, "customer %s: fenced, but %s: run `smtpfence apply`",
				 link->name,
				 place->listed ? "answers to it are not seen"
					       : "its entry in the kernel is not as wanted");
	}
}

static int read_roles(const struct sf_policy *policy, const char *mount,
		      const struct sf_loaded *maps, struct sf_status *status)
{
	size_t missing = 0;

	status->role = calloc(policy->entry_count + 1, sizeof(*status->role));
	if (!status->role)
		return -ENOMEM;
	for (size_t i = 0; i < policy->entry_count; i++) {
		const struct sf_entry *entry = &policy->entries[i];
		struct sf_role_status *role = &status->role[status->role_count];
		struct sf_role value;
		uint64_t id;

		if (entry->kind > SF_ENTRY_EXEMPT)
			continue;
		status->role_count++;
		role->entry = entry;
		role->present = !sf_cgroup_id(mount, entry->value, &id);
		if (!role->present || maps->map[SF_MAP_ROLES] < 0)
			continue;
		role->entered = !bpf_map_lookup_elem(maps->map[SF_MAP_ROLES], &id, &value) &&
				value.kind == (__u32)entry->kind + SF_ROLE_MAIL;
		if (!role->entered && status->mode != SF_MODE_OFF && missing++ < 3)
			sf_status_fault(
				status,
				"the cgroup %.200s exists, but the kernel has no role for it",
				entry->value);
	}
	return 0;
}

_Static_assert(SF_ENTRY_MAIL + SF_ROLE_MAIL == (int)SF_ROLE_MAIL &&
		       SF_ENTRY_EXEMPT + SF_ROLE_MAIL == (int)SF_ROLE_EXEMPT,
	       "roles stand in the same order in files and maps");

static void judge(const struct sf_policy *policy, const struct sf_loaded *maps,
		  const struct sf_settings *settings, int settings_read, struct sf_status *status)
{
	int any = 0, fences = 1;

	for (int h = 0; h < SF_HOOK_COUNT; h++) {
		const struct sf_hook_status *hook = &status->hook[h];

		any |= hook->pinned || hook->in_effect;
		if (sf_hooks[h].attach_type >= 0 && !hook->in_effect)
			fences = 0;
	}
	if (!any) {
		status->mode = SF_MODE_OFF;
		if (policy->mode != SF_MODE_OFF)
			sf_status_fault(status,
					"nothing is attached, though the mode is set to %s: run "
					"`smtpfence %s`",
					sf_mode_name(policy->mode),
					policy->mode == SF_MODE_ENFORCE ? "on" : "monitor");
		return;
	}
	for (int h = 0; h < SF_HOOK_COUNT; h++) {
		const struct sf_hook_status *hook = &status->hook[h];

		if (!hook->pinned)
			sf_status_fault(status, "%s: the link's pin is gone%s", sf_hooks[h].name,
					hook->in_effect ? ", its program is still in effect" : "");
		else if (!hook->in_effect)
			sf_status_fault(
				status, "%s: our program is not in effect%s", sf_hooks[h].name,
				sf_hooks[h].attach_type >= 0 ? " at the configured cgroup" : "");
	}
	if ((!settings_read || settings->abi != SF_ABI_VERSION) &&
	    !status->hook[SF_HOOK_CONNECT4].in_effect &&
	    !status->hook[SF_HOOK_CONNECT6].in_effect) {
		status->mode = SF_MODE_OFF;
	} else if (!settings_read || settings->abi != SF_ABI_VERSION) {
		/* The programs deny everybody but never allow by mistake; see NO_SETTINGS. */
		status->mode = SF_MODE_ENFORCE;
		sf_status_fault(status,
				"the kernel's settings are missing or damaged: fenced ports are "
				"denied to everybody");
		fences = 0;
	} else {
		status->mode = fences || settings->mode != SF_MODE_ENFORCE ? (int)settings->mode
									   : SF_MODE_OFF;
		status->since = settings->mode_since;
	}
	if (status->mode != policy->mode)
		sf_status_fault(status, "the kernel's mode is %s, the policy says %s",
				sf_mode_name(status->mode), sf_mode_name(policy->mode));
	for (int m = 0; m < SF_MAP_COUNT; m++)
		if (maps->map[m] < 0)
			sf_status_fault(status, "the map %s is not pinned", sf_map_names[m]);
	status->enforcing = fences && status->mode == SF_MODE_ENFORCE && policy->ports.count > 0;
}

static void check_users(const struct sf_policy *policy, struct sf_status *status)
{
	char shown[SF_NAME_MAX];

	for (size_t i = 0; i < policy->entry_count; i++) {
		const struct sf_entry *entry = &policy->entries[i];

		if (!entry->unresolved)
			continue;
		sf_escape_string(entry->value, shown, sizeof(shown));
		add_lack(status,
			 "%s \"%.200s\" names a user or group that this host does not have: "
			 "not in effect",
			 sf_entry_sections[entry->kind], shown);
	}
}

static void check_ports(const struct sf_loaded *maps, const struct sf_policy *policy,
			struct sf_status *status)
{
	for (uint32_t i = 0; i < policy->ports.count; i++) {
		__u32 word = policy->ports.port[i] / 64;
		struct sf_port_word value = {.fenced = 0};

		if (maps->map[SF_MAP_PORTS] < 0 ||
		    bpf_map_lookup_elem(maps->map[SF_MAP_PORTS], &word, &value) ||
		    !(value.fenced & 1ULL << (policy->ports.port[i] % 64))) {
			sf_status_fault(status, "port %u is not fenced in the kernel",
					policy->ports.port[i]);
			status->enforcing = 0;
		}
	}
}

/* Whoever explains and alerts holds its lock. */
static int daemon_runs(const char *state_dir)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/daemon.lock", state_dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
}

int sf_status_read(const struct sf_policy *policy, int flags, struct sf_status *status,
		   struct sf_error *err)
{
	_cleanup_close_ int cgroup_fd = -1;
	struct sf_settings settings = {.abi = 0};
	struct sf_error why = {.code = 0};
	struct sf_loaded maps;
	char mount[PATH_MAX], shown[SF_NAME_MAX];
	uint64_t cgroup_id = 0;
	int ret, settings_read = 0;
	__u32 zero = 0;

	memset(status, 0, sizeof(*status));
	status->wanted = policy->mode;
	sf_loaded_init(&maps);
	if (geteuid() != 0)
		return sf_fail(err, -EPERM,
			       "this needs root: the kernel shows BPF state to nobody "
			       "else");
	ret = sf_cgroup_mount(mount, sizeof(mount), err);
	if (ret)
		return ret;
	cgroup_fd = sf_cgroup_open(mount, policy->cgroup_root, O_RDONLY);
	if (cgroup_fd < 0 || sf_cgroup_id(mount, policy->cgroup_root, &cgroup_id)) {
		sf_escape_string(policy->cgroup_root, shown, sizeof(shown));
		sf_status_fault(
			status,
			"cgroup_root %s does not exist below %.60s: nothing can be attached "
			"there; paths are written from the v2 root",
			shown, mount);
	}
	ret = sf_loader_open_maps(policy->pin_dir, &maps, &why);
	if (ret && ret != -ENOENT)
		sf_status_fault(status, "%.380s", why.text);
	/* Only what is really pinned counts as pinned. */
	for (int m = 0; m < SF_MAP_COUNT; m++) {
		_cleanup_close_ int pinned = sf_pin_open(policy->pin_dir, "maps", sf_map_names[m]);

		if (pinned < 0 && maps.map[m] >= 0)
			sf_status_fault(status, "the pin of the map %s is gone", sf_map_names[m]);
	}
	for (int h = 0; h < SF_HOOK_COUNT; h++)
		read_hook(policy, (enum sf_hook)h, cgroup_fd, cgroup_id, &maps, status);
	if (maps.map[SF_MAP_SETTINGS] >= 0)
		settings_read = !bpf_map_lookup_elem(maps.map[SF_MAP_SETTINGS], &zero, &settings);
	judge(policy, &maps, &settings, settings_read, status);
	if (status->mode != SF_MODE_OFF) {
		check_ports(&maps, policy, status);
		check_users(policy, status);
		if (flags & SF_STATUS_QUICK)
			sf_compare_sample(policy, mount, &maps, status);
		else
			sf_compare_tables(policy, &maps, &settings, status);
		status->can_set_errno = policy->deny_errno == EPERM || sf_probe_set_retval() == 1;
		if (!status->can_set_errno)
			add_lack(status, "this kernel can't give the chosen errno (bpf_set_retval, "
					 "5.18): denied callers get EPERM");
	}
	if (status->mode != SF_MODE_OFF && !(flags & SF_STATUS_QUICK))
		read_uplinks(policy, status);
	if (status->mode != SF_MODE_OFF && !(flags & SF_STATUS_QUICK))
		read_customers(policy, status);
	ret = flags & SF_STATUS_QUICK ? 0 : read_roles(policy, mount, &maps, status);
	status->daemon_runs = daemon_runs(policy->state_dir);
	status->counters_read =
		!(flags & SF_STATUS_QUICK) && !sf_counters_read(policy->pin_dir, status->counter);
	for (int v = 0; v < SF_VERDICT_COUNT && status->counters_read; v++)
		if (status->counter[SF_COUNTER(v, SF_REASON_NO_IDENTITY)])
			add_lack(status, "connections came from sockets whose cgroup this kernel "
					 "hides (net_cls or net_prio was used, before 5.15): they "
					 "are denied, "
					 "the mail server's too, until a reboot without them");
	sf_loaded_close(&maps);
	return ret ? sf_fail(err, ret, "no memory") : 0;
}

void sf_status_free(struct sf_status *status)
{
	sf_gateway_status_free(&status->gateway);
	free(status->role);
	status->role = NULL;
}

int sf_status_exit(const struct sf_status *status)
{
	if (!status->enforcing)
		return 3;
	return status->fault_count ? 4 : 0;
}
