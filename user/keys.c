// SPDX-License-Identifier: GPL-2.0-only
/*
 * The keys of the configuration: one table from which reading, checking, `set`, `get` and the
 * documentation's test come. What their values mean is in key_values.c.
 */
#include "policy.h"
#include <string.h>
#include <strings.h>

#define FIELD(name) offsetof(struct sf_policy, name)

const struct sf_key sf_keys[] = {
	{"FW_OUTPUT_MTA", SF_KEY_MODE, FIELD(mode), 0, 0, "monitor",
	 "yes: enforce; monitor: allow and count what would be denied; no: off", 0},
	{"ports", SF_KEY_PORTS, FIELD(ports), 0, 0, "25,465,587", "fenced TCP ports", 0},
	{"watch_ports", SF_KEY_PORTS, FIELD(watch_ports), 0, 0, "2525",
	 "TCP ports that are counted, not fenced", 0},
	{"allow_local", SF_KEY_BOOL, FIELD(allow_local), 0, 0, "yes",
	 "connections to this host itself are allowed", 0},
	{"errno", SF_KEY_ERRNO, FIELD(deny_errno), 0, 0, "EPERM",
	 "what a denied caller gets: EPERM, EACCES or ECONNREFUSED", 0},
	{"detect_mail", SF_KEY_BOOL, FIELD(detect_mail), 0, 0, "yes",
	 "`on` gives the mail servers that it finds their role, where none is configured", 0},
	{"resolve_interval", SF_KEY_INT, FIELD(resolve_interval), 10, 86400, "300",
	 "seconds between look-ups of allowed host names", 0},
	{"alert_denied", SF_KEY_INT, FIELD(alert_denied), 1, 1000000, "10",
	 "denied connects of one user within alert_window that raise an alert", 0},
	{"alert_window", SF_KEY_INT, FIELD(alert_window), 1, 3600, "60", "seconds", 0},
	{"alert_cooldown", SF_KEY_INT, FIELD(alert_cooldown), 0, 604800, "3600",
	 "seconds in which the same alert is not raised again", 0},
	{"alert_hour", SF_KEY_PAIR, FIELD(alert_hour), 0, 0, "100,200",
	 "connections of one sender to fenced ports in an hour: warn, act", 0},
	{"alert_distinct", SF_KEY_INT, FIELD(alert_distinct), 0, 1000000, "500",
	 "destinations of one sender in an hour; 0: no limit", 0},
	{"limit_source", SF_KEY_PAIR, FIELD(limit_source), 0, 0, "15,100",
	 "connections in 600 s of a source that is in no list: warn, act", 0},
	{"limit_own", SF_KEY_PAIR, FIELD(limit_own), 0, 0, "15,100",
	 "the same for a source in own_networks", 0},
	{"limit_local", SF_KEY_PAIR, FIELD(limit_local), 0, 0, "300,1000",
	 "the same for an address of this host", 0},
	{"limit_relay", SF_KEY_PAIR, FIELD(limit_relay), 0, 0, "300,1000",
	 "the same for an allowed relay as source", 0},
	{"limit_loopback", SF_KEY_PAIR, FIELD(limit_loopback), 0, 0, "1000,3000",
	 "the same for 127.0.0.0/8 and ::1", 0},
	{"limit_sender", SF_KEY_PAIR, FIELD(limit_sender), 0, 0, "15,100",
	 "the same for a local sender (user and cgroup)", 0},
	{"limit_mail", SF_KEY_PAIR, FIELD(limit_mail), 0, 0, "0,0",
	 "the same for a local sender in a mail server's cgroup", 0},
	{"own_networks", SF_KEY_NETS, FIELD(own_networks), 0, 0, "",
	 "networks of our own customers, as sources", 0},
	{"history_days", SF_KEY_INT, FIELD(history_days), 1, 3650, "400",
	 "days that the history of senders goes back", 0},
	{"history_max_mb", SF_KEY_INT, FIELD(history_max_mb), 1, 100000, "256",
	 "megabytes that it may take; the oldest goes", 0},
	{"action_syslog", SF_KEY_SEVERITY, FIELD(action_syslog), 0, 0, "notice",
	 "alarms of this severity and above are written to syslog", 0},
	{"action_journald", SF_KEY_SEVERITY, FIELD(action_journald), 0, 0, "off",
	 "... to the journal, with fields", 0},
	{"action_hook", SF_KEY_SEVERITY, FIELD(action_hook), 0, 0, "off", "... start the hook", 0},
	{"action_quarantine", SF_KEY_SEVERITY, FIELD(action_quarantine), 0, 0, "off",
	 "... put the sender in quarantine", 0},
	{"action_dry_run", SF_KEY_BOOL, FIELD(action_dry_run), 0, 0, "no",
	 "hook and quarantine: only say what would be done", 0},
	{"hook", SF_KEY_PROGRAM, FIELD(hook), 0, 0, "", "a program that is told of alarms", 0},
	{"hook_user", SF_KEY_USER, FIELD(hook_user), 0, 0, "nobody", "whom it runs as", 0},
	{"hook_timeout", SF_KEY_INT, FIELD(hook_timeout), 1, 600, "10",
	 "seconds until it is killed", 0},
	{"quarantine_time", SF_KEY_INT, FIELD(quarantine_time), 60, 31536000, "86400",
	 "seconds of a first quarantine; doubled with each further one", 0},
	{"quarantine_permanent", SF_KEY_INT, FIELD(quarantine_permanent), 0, 1000, "4",
	 "so many within a day: the last has no end; 0: never", 0},
	{"max_roles", SF_KEY_INT, FIELD(max_roles), 64, 1048576, "16384",
	 "room for cgroup paths with a role", 0},
	{"max_sources", SF_KEY_INT, FIELD(max_sources), 64, 4194304, "65536",
	 "room for sources that are counted", 0},
	{"max_senders", SF_KEY_INT, FIELD(max_senders), 64, 1048576, "16384",
	 "room for local senders that are counted", 0},
	{"ipv6_prefix", SF_KEY_INT, FIELD(ipv6_prefix), 16, 128, "64",
	 "IPv6 sources are counted by networks of this length", 0},
	{"uplinks", SF_KEY_NAMES, FIELD(uplinks), 0, 0, "auto", "interfaces to the world", 0},
	{"customers", SF_KEY_NAMES, FIELD(customers), 0, 0, "",
	 "interfaces behind which customers are; with those of `gateway add`", 0},
	{"mail_hosts", SF_KEY_NETS, FIELD(mail_hosts), 0, 0, "",
	 "addresses and networks behind them that may send mail", 0},
	{"gateway_hook", SF_KEY_HOOK, FIELD(gateway_hook), 0, 0, "auto",
	 "where the gateway fence stands: by the kind of interface, or always there", 0},
	{"gateway_answer", SF_KEY_ANSWER, FIELD(gateway_answer), 0, 0, "drop",
	 "what a customer's denied SYN gets: nothing, or a TCP reset", 0},
	{"gateway_limit", SF_KEY_ON_LIMIT, FIELD(gateway_limit), 0, 0, "alert",
	 "what follows where a customer crosses its second limit", 0},
	{"gateway_others", SF_KEY_OTHERS, FIELD(gateway_others), 0, 0, "pass",
	 "what is forwarded to fenced ports from an interface without a gateway fence", 0},
	{"guard_hosts", SF_KEY_NETS, FIELD(guard_hosts), 0, 0, "",
	 "destinations that only guard_filters may reach from outside, on guard_ports", 0},
	{"guard_filters", SF_KEY_NETS, FIELD(guard_filters), 0, 0, "",
	 "sources that may reach guard_hosts", 0},
	{"guard_ports", SF_KEY_PORTS, FIELD(guard_ports), 0, 0, "25", "TCP ports of guard_hosts",
	 0},
	{"guard_limit", SF_KEY_INT, FIELD(guard_limit), 0, 1000000, "0",
	 "connections of one filter to guard_hosts in a minute; 0: no limit", 0},
	{"cgroup_root", SF_KEY_CGROUP, FIELD(cgroup_root), 0, 0, "/",
	 "the cgroup that the fence is attached to, from the v2 root", 1},
	{"pin_dir", SF_KEY_PATH, FIELD(pin_dir), 0, 0, "/sys/fs/bpf/smtpfence",
	 "where links and maps are pinned, on a bpffs", 1},
	{"managed_file", SF_KEY_PATH, FIELD(managed_file), 0, 0, "/etc/smtpfence/managed.conf",
	 "what the commands keep", 1},
	{"state_dir", SF_KEY_PATH, FIELD(state_dir), 0, 0, "/var/lib/smtpfence",
	 "lock, recorded events, looked-up host names", 1},
	{"syslog_socket", SF_KEY_PATH, FIELD(syslog_socket), 0, 107, "/dev/log", /* sun_path */
	 "the log daemon's socket", 1},
};

const size_t sf_key_count = sizeof(sf_keys) / sizeof(sf_keys[0]);
_Static_assert(sizeof(sf_keys) / sizeof(sf_keys[0]) <= 64,
	       "managed_keys has 64 bits, config.c's key_line 64 places");

int sf_key_find(const char *name)
{
	for (size_t i = 0; i < sf_key_count; i++)
		if (!strcmp(sf_keys[i].name, name))
			return (int)i;
	return -1;
}

/* Letters that differ, for short words: the edit distance, two rows at a time. */
static int distance(const char *a, const char *b)
{
	int row[64];
	size_t n = strlen(b);

	if (strlen(a) > 40 || n > 40)
		return 99;
	for (size_t j = 0; j <= n; j++)
		row[j] = (int)j;
	for (int i = 1; a[i - 1]; i++) {
		int corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			int above = row[j], best = corner + (a[i - 1] != b[j - 1]);

			if (above + 1 < best)
				best = above + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			corner = above;
			row[j] = best;
		}
	}
	return row[n];
}

const char *sf_key_guess(const char *name)
{
	const char *best = NULL;
	int least = 4;

	for (size_t i = 0; i < sf_key_count + SF_ENTRY_KINDS; i++) {
		const char *known =
			i < sf_key_count ? sf_keys[i].name : sf_entry_sections[i - sf_key_count];
		int d = distance(name, known);

		if (!strcasecmp(name, known))
			d = 0;
		if (d < least) {
			least = d;
			best = known;
		}
	}
	return best;
}

int sf_key_is_list(const struct sf_key *key)
{
	return key->type == SF_KEY_PORTS || key->type == SF_KEY_NAMES || key->type == SF_KEY_NETS ||
	       key->type == SF_KEY_PAIR;
}
