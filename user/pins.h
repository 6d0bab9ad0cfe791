/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pinned state: names of our maps and hooks, and the directory on a bpffs that keeps them alive
 * without a process.
 *
 *   PIN_DIR/maps/NAME  PIN_DIR/links/HOOK  PIN_DIR/programs/NAME
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
	X(QUARANTINE_HOSTS, quarantine_hosts)                                                      \
	X(LOCAL_FILTER, local_filter)                                                              \
	X(LOCAL_ADDRS, local_addrs)                                                                \
	X(COUNTERS, counters)                                                                      \
	X(DENIALS, denials)                                                                        \
	X(EVENTS, events)                                                                          \
	X(EVENT_LIMITS, event_limits)                                                              \
	X(SOURCE_LIMITS, source_limits)                                                            \
	X(JUDGED, judged)

/* Maps of the census, made where it runs. */
#define SF_CENSUS_MAPS(X)                                                                          \
	X(SOURCE_HEADS, source_heads)                                                              \
	X(SOURCE_COUNTS, source_counts)                                                            \
	X(SOURCE_TRAILS, source_trails)                                                            \
	X(SENDER_HEADS, sender_heads)                                                              \
	X(SENDER_COUNTS, sender_counts)                                                            \
	X(SENDER_TRAILS, sender_trails)                                                            \
	X(ATTEMPTS, attempts)                                                                      \
	X(SETTINGS, census_settings)                                                               \
	X(COUNTERS, census_counters)                                                               \
	X(GREETING_LIMIT, greeting_limit)                                                          \
	X(CROSSINGS, crossings)

enum sf_census_map {
#define X(NAME, name) SF_CENSUS_MAP_##NAME,
	SF_CENSUS_MAPS(X)
#undef X
		SF_CENSUS_MAP_COUNT
};

extern const char *const sf_census_map_names[SF_CENSUS_MAP_COUNT];

/* Maps of the inbound guard, made with the census' programs. */
#define SF_GUARD_MAPS(X)                                                                           \
	X(SETTINGS, guard)                                                                         \
	X(HOSTS, guard_hosts)                                                                      \
	X(FILTERS, guard_filters)                                                                  \
	X(RATES, guard_rates)                                                                      \
	X(REPORTS, guard_reports)

enum sf_guard_map {
#define X(NAME, name) SF_GUARD_MAP_##NAME,
	SF_GUARD_MAPS(X)
#undef X
		SF_GUARD_MAP_COUNT
};

extern const char *const sf_guard_map_names[SF_GUARD_MAP_COUNT];

/* Maps of the gateway fence, made where customers are configured. */
#define SF_GATEWAY_MAPS(X)                                                                         \
	X(CUSTOMERS, customers)                                                                    \
	X(CUSTOMER_NETS, customer_nets)                                                            \
	X(MAIL_HOSTS, mail_hosts)                                                                  \
	X(BOUND_HOSTS, bound_hosts)                                                                \
	X(SETTINGS, gateway)

enum sf_gateway_map {
#define X(NAME, name) SF_GATEWAY_MAP_##NAME,
	SF_GATEWAY_MAPS(X)
#undef X
		SF_GATEWAY_MAP_COUNT
};

extern const char *const sf_gateway_map_names[SF_GATEWAY_MAP_COUNT];

/*
 * The gateway's programs are pinned too (PIN_DIR/programs), so that an interface that comes is
 * fenced without loading anything: the names.
 */
#define SF_GATEWAY_PROGRAMS(X)                                                                     \
	X(IN, smtpfence_gwin)                                                                      \
	X(IN_IP, smtpfence_gwip)                                                                   \
	X(OUT, smtpfence_gwout)                                                                    \
	X(OUT_IP, smtpfence_gwoip)                                                                 \
	X(XDP, smtpfence_gwxdp)

enum sf_gateway_program {
#define X(NAME, name) SF_GATEWAY_PROGRAM_##NAME,
	SF_GATEWAY_PROGRAMS(X)
#undef X
		SF_GATEWAY_PROGRAM_COUNT
};

extern const char *const sf_gateway_program_names[SF_GATEWAY_PROGRAM_COUNT];

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
