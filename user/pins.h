/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pinned state: names of our maps and hooks, and the directory on a bpffs that keeps them alive
 * without a process.
 *
 *   PIN_DIR/maps/NAME  PIN_DIR/links/HOOK
 */
#ifndef SF_USER_PINS_H
#define SF_USER_PINS_H

#include <stddef.h>
#include <stdint.h>
#include <linux/bpf.h>
#include "error.h"

#define SF_MAPS(X)                                                                                 \
	X(SETTINGS, settings)                                                                      \
	X(PORTS, ports)                                                                            \
	X(ROLE_PATHS, role_paths)                                                                  \
	X(ROLES, roles)                                                                            \
	X(SENDERS, senders)                                                                        \
	X(RELAYS, relays)                                                                          \
	X(QUARANTINE_NETS, quarantine_nets)                                                        \
	X(LOCAL_FILTER, local_filter)                                                              \
	X(LOCAL_ADDRS, local_addrs)                                                                \
	X(COUNTERS, counters)                                                                      \
	X(DENIALS, denials)                                                                        \
	X(EVENTS, events)                                                                          \
	X(EVENT_LIMITS, event_limits)

enum sf_map {
#define X(NAME, name) SF_MAP_##NAME,
	SF_MAPS(X)
#undef X
		SF_MAP_COUNT
};

extern const char *const sf_map_names[SF_MAP_COUNT];

/* hook, name of the pin, name of the program, attach type of a cgroup link or -1: tracepoint */
#define SF_HOOKS(X)                                                                                \
	X(MKDIR, "cgroup_mkdir", "smtpfence_mkdir", -1)                                            \
	X(RMDIR, "cgroup_rmdir", "smtpfence_rmdir", -1)                                            \
	X(CONNECT4, "connect4", "smtpfence_conn4", BPF_CGROUP_INET4_CONNECT)                       \
	X(CONNECT6, "connect6", "smtpfence_conn6", BPF_CGROUP_INET6_CONNECT)

enum sf_hook {
#define X(NAME, pin, program, type) SF_HOOK_##NAME,
	SF_HOOKS(X)
#undef X
		SF_HOOK_COUNT
};

struct sf_hook_info {
	const char *name;
	const char *program;
	int attach_type; /* -1: a raw tracepoint of that name */
};

extern const struct sf_hook_info sf_hooks[SF_HOOK_COUNT];

/* Open a pin: a descriptor, or -ENOENT and the like. */
int sf_pin_open(const char *pin_dir, const char *folder, const char *name);

/* Pin under the name, in place of what stands there: to a temporary name, then rename. */
int sf_pin_replace(const char *pin_dir, const char *folder, const char *name, int fd,
		   struct sf_error *err);
int sf_pin_remove(const char *pin_dir, const char *folder, const char *name);

/*
 * Make the directories. /sys/fs/bpf is mounted where it is not; a directory that is on no bpffs
 * is refused with the mend.
 */
int sf_pins_prepare(const char *pin_dir, struct sf_error *err);

/* Take out all of our pins and the directories, if nothing of others stands in them. */
int sf_pins_remove_all(const char *pin_dir, struct sf_error *err);

#endif
