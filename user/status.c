// SPDX-License-Identifier: GPL-2.0-only
#include "status_parts.h"
#include "cgroup.h"
#include "cleanup.h"
#include "compare.h"
#include "escape.h"
#include "probe.h"
#include "roles.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

static void put_fault(struct sf_status *status, const char *format, va_list args)
{
	if (status->fault_count < SF_FAULTS_MAX)
		vsnprintf(status->fault[status->fault_count++], sizeof(status->fault[0]), format,
			  args);
}

void sf_status_fault(struct sf_status *status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put_fault(status, format, args);
	va_end(args);
	status->mendable++;
}

void status_lack(struct sf_status *status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put_fault(status, format, args);
	va_end(args);
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
		status_lack(status,
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
		status_read_hook(policy, (enum sf_hook)h, cgroup_fd, cgroup_id, &maps, status);
	if (maps.map[SF_MAP_SETTINGS] >= 0)
		settings_read = !bpf_map_lookup_elem(maps.map[SF_MAP_SETTINGS], &zero, &settings);
	judge(policy, &maps, &settings, settings_read, status);
	if (status->mode != SF_MODE_OFF) {
		check_ports(&maps, policy, status);
		if (flags & SF_STATUS_QUICK) {
			sf_compare_sample(policy, mount, &maps, status);
		} else {
			check_users(policy, status);
			sf_compare_tables(policy, &maps, &settings, status);
		}
		status->can_set_errno = policy->deny_errno == EPERM || sf_probe_set_retval() == 1;
		if (!status->can_set_errno)
			status_lack(status,
				    "this kernel can't give the chosen errno (bpf_set_retval, "
				    "5.18): denied callers get EPERM");
	}
	if (status->mode != SF_MODE_OFF && !(flags & SF_STATUS_QUICK))
		status_read_uplinks(policy, status);
	if (status->mode != SF_MODE_OFF && !(flags & SF_STATUS_QUICK))
		status_read_customers(policy, status);
	ret = flags & SF_STATUS_QUICK ? 0 : read_roles(policy, mount, &maps, status);
	status->daemon_runs = daemon_runs(policy->state_dir);
	status->counters_read =
		!(flags & SF_STATUS_QUICK) && !sf_counters_read(policy->pin_dir, status->counter);
	for (int v = 0; v < SF_VERDICT_COUNT && status->counters_read; v++)
		if (status->counter[SF_COUNTER(v, SF_REASON_NO_IDENTITY)])
			status_lack(status,
				    "connections came from sockets whose cgroup this kernel "
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
