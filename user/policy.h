/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The policy as one structure: what the files and the commands say, validated, names not yet
 * looked up. config.c reads it, managed.c writes the commands' part, image.c turns it into maps.
 */
#ifndef SF_USER_POLICY_H
#define SF_USER_POLICY_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include "error.h"
#include "net.h"
#include "times.h"
#include "../maps/grants.h"
#include "../maps/roles.h"
#include "../maps/settings.h"

#define SF_NAME_MAX	 256 /* a path, user, network or host name as written, with its NUL */
#define SF_COMMENT_MAX	 256
#define SF_PORT_LIST_MAX 64
#define SF_NAME_LIST_MAX 32
#define SF_NET_LIST_MAX	 64
#define SF_LIMIT_MAX	 1000000 /* connections in a window that a limit may name */

/* Entries: section in the files, the words of the commands, what VALUE is. */
#define SF_ENTRIES(X)                                                                              \
	X(MAIL, "mail", "mail", "cgroup path")                                                     \
	X(FENCE, "fence", "fence", "cgroup path")                                                  \
	X(EXEMPT, "exempt", "exempt", "cgroup path")                                               \
	X(ALLOW_USER, "allow_user", "allow user", "user name or uid")                              \
	X(ALLOW_GROUP, "allow_group", "allow group", "group name or gid")                          \
	X(ALLOW_NET, "allow_net", "allow net", "address or network")                               \
	X(ALLOW_HOST, "allow_host", "allow host", "host name")                                     \
	X(ALLOW_SOURCE, "allow_source", "allow source", "address or network of a customer")        \
	X(CUSTOMER, "customer", "customer", "interface or pattern")                                \
	X(QUARANTINE_USER, "quarantine_user", "quarantine user", "user name or uid")               \
	X(QUARANTINE_CGROUP, "quarantine_cgroup", "quarantine cgroup", "cgroup path")              \
	X(QUARANTINE_NET, "quarantine_net", "quarantine net", "address or network")                \
	X(LIMIT_USER, "limit_user", "limit user", "user name or uid")                              \
	X(LIMIT_CGROUP, "limit_cgroup", "limit cgroup", "cgroup path")                             \
	X(LIMIT_NET, "limit_net", "limit net", "address or network")

enum sf_entry_kind {
#define X(name, section, words, value) SF_ENTRY_##name,
	SF_ENTRIES(X)
#undef X
		SF_ENTRY_KINDS
};

extern const char *const sf_entry_sections[SF_ENTRY_KINDS];
extern const char *const sf_entry_words[SF_ENTRY_KINDS];
extern const char *const sf_entry_values[SF_ENTRY_KINDS];

struct sf_entry {
	enum sf_entry_kind kind;
	char value[SF_NAME_MAX]; /* as written; networks in their shortest form */
	char comment[SF_COMMENT_MAX];
	uint16_t ports[SF_GRANTS_MAX]; /* allow_*; none: every fenced port */
	uint32_t port_count;
	uint32_t users[SF_ROLE_USERS_MAX]; /* mail; ascending; none: everybody in the cgroup */
	uint32_t user_count;
	/* As written, divided by commas; NULL: none. A customer's: its networks; an allowed
	 * source's: its interfaces. Owned by the policy. */
	char *user_names;
	uint32_t warn, act;    /* limit_*: connections in 600 s; 0: no limit */
	int64_t expires;       /* seconds since 1970; 0: never */
	uint32_t id;	       /* *_user, *_group */
	struct sf_net_key net; /* *_net */
	int unresolved; /* names a user or group that the host does not have: not in effect */
	int managed;	/* kept by the commands, not by the administrator's file */
	int line;	/* where it ends in that file */
};

struct sf_port_list {
	uint16_t port[SF_PORT_LIST_MAX]; /* host byte order */
	uint32_t count;
};

struct sf_name_list {
	char name[SF_NAME_LIST_MAX][64];
	uint32_t count;
};

struct sf_net_list {
	struct sf_net_key net[SF_NET_LIST_MAX];
	uint32_t count;
};

/* Two limits on one figure; 0: none. warn is not above act where both are there. */
struct sf_pair {
	uint32_t warn, act;
};

/* From which severity of an alarm an action follows: LOG_NOTICE, LOG_WARNING, LOG_CRIT, or: */
#define SF_ACTION_OFF (-1)

/* Where the gateway fence stands: chosen by the kind of interface, or always there. */
enum sf_gateway_hook {
	SF_GATEWAY_AUTO,
	SF_GATEWAY_TC,
	SF_GATEWAY_XDP,
	SF_GATEWAY_GENERIC,
};

/* What follows where a source behind a customer's interface is at its second limit. */
enum sf_gateway_limit {
	SF_GATEWAY_LIMIT_ALERT,
	SF_GATEWAY_LIMIT_DENY,
	SF_GATEWAY_LIMIT_QUARANTINE, /* deny, until the daemon has put it in quarantine */
};

struct sf_policy {
	/* Keys; see keys.c for names, ranges and defaults. */
	int mode; /* enum sf_mode */
	int deny_errno;
	int allow_local;
	int detect_mail;
	int max_roles;
	int resolve_interval;
	int alert_denied;
	int alert_window;
	int alert_cooldown;
	struct sf_port_list ports;
	struct sf_port_list watch_ports;
	char cgroup_root[SF_NAME_MAX];
	char pin_dir[SF_NAME_MAX];
	char managed_file[SF_NAME_MAX];
	char state_dir[SF_NAME_MAX];
	char syslog_socket[SF_NAME_MAX];
	struct sf_name_list uplinks;
	struct sf_name_list customers; /* with the entries of that kind: sf_customers_find */
	struct sf_net_list mail_hosts;
	int gateway_hook;		  /* enum sf_gateway_hook */
	int gateway_answer;		  /* 1: reset */
	int gateway_limit;		  /* enum sf_gateway_limit */
	struct sf_net_list guard_hosts;	  /* the inbound guard: whom it keeps, */
	struct sf_net_list guard_filters; /* who may reach them */
	struct sf_port_list guard_ports;
	int guard_limit;    /* connections of one filter in a minute; 0: no limit */
	int gateway_others; /* 1: deny what is forwarded from interfaces without a fence */

	/* The census and its limits: connections to fenced ports in 600 s (maps/limits.h). */
	struct sf_pair limit_source; /* sources in no list */
	struct sf_pair limit_own;
	struct sf_pair limit_local;
	struct sf_pair limit_relay;
	struct sf_pair limit_loopback;
	struct sf_pair limit_sender; /* local senders */
	struct sf_pair limit_mail;   /* of them, those in a mail server's cgroup */
	struct sf_net_list own_networks;
	int max_sources;
	int max_senders;
	int ipv6_prefix;

	/* Detection and history */
	struct sf_pair alert_hour;
	int alert_distinct;
	int history_days;
	int history_max_mb;

	/* What follows an alarm (actions.h) */
	int action_syslog; /* a syslog severity, or SF_ACTION_OFF */
	int action_journald;
	int action_hook;
	int action_quarantine;
	int action_dry_run;
	char hook[SF_NAME_MAX]; /* "": none */
	char hook_user[SF_NAME_MAX];
	int hook_timeout;
	int quarantine_time; /* seconds */
	int quarantine_permanent;

	struct sf_entry *entries;
	size_t entry_count;
	size_t entry_room;

	char config_file[PATH_MAX];
	/* Which keys the managed file sets (bit per index in sf_keys). */
	uint64_t managed_keys;
};

/* Keys ---------------------------------------------------------------------------------------- */

enum sf_key_type {
	SF_KEY_MODE,
	SF_KEY_ERRNO,
	SF_KEY_BOOL,
	SF_KEY_INT,
	SF_KEY_PATH,	 /* an absolute path of the file system */
	SF_KEY_CGROUP,	 /* a path from the cgroup v2 root */
	SF_KEY_PORTS,	 /* a list */
	SF_KEY_NAMES,	 /* a list */
	SF_KEY_NETS,	 /* a list */
	SF_KEY_PAIR,	 /* a list of two: warn, act */
	SF_KEY_PROGRAM,	 /* an absolute path, or nothing */
	SF_KEY_USER,	 /* a user's name or uid; not root */
	SF_KEY_SEVERITY, /* off, notice, warning, critical */
	SF_KEY_HOOK,	 /* enum sf_gateway_hook: auto, tc, xdp, generic */
	SF_KEY_ANSWER,	 /* drop, reset */
	SF_KEY_ON_LIMIT, /* enum sf_gateway_limit: alert, drop, quarantine */
	SF_KEY_OTHERS,	 /* pass, deny */
};

struct sf_key {
	const char *name;
	enum sf_key_type type;
	size_t offset;
	long min, max; /* SF_KEY_INT; SF_KEY_PATH and SF_KEY_PROGRAM: max bytes, 0: what fits */
	const char *fallback; /* as it would be written; lists divided by comma */
	const char *help;
	int fixed; /* a location: only in the administrator's file, not by `set` */
};

extern const struct sf_key sf_keys[];
extern const size_t sf_key_count;

/* The index of a key by its name, or -1. */
int sf_key_find(const char *name);
/* The key's name that is nearest to a mistyped one, or NULL where none is near. */
const char *sf_key_guess(const char *name);
int sf_key_is_list(const struct sf_key *key);
/* Two limits from text. -EINVAL: no numbers, too large, or warn above act. */
int sf_pair_parse(const char *warn, const char *act, struct sf_pair *pair, struct sf_error *err);
/* Set from text; for lists the whole list, divided by commas. `err` says what was expected. */
int sf_key_set(struct sf_policy *policy, const struct sf_key *key, const char *text,
	       struct sf_error *err);
/* The value as text (lists divided by commas) in `out`. */
void sf_key_get(const struct sf_policy *policy, const struct sf_key *key, char *out, size_t size);

/* "enforce", "monitor", "off": as the program says it; and as FW_OUTPUT_MTA writes it. */
const char *sf_mode_name(int mode);
const char *sf_mode_setting(int mode);
/* "off", "notice", "warning", "critical" of a syslog severity or SF_ACTION_OFF. */
const char *sf_severity_name(int severity);

/* Policy -------------------------------------------------------------------------------------- */

/* All keys at their defaults, no entries. Release with sf_policy_free. */
void sf_policy_init(struct sf_policy *policy);
void sf_policy_free(struct sf_policy *policy);

/* Stands in a mail rule's list for users that the host does not have, so that it is not empty. */
#define SF_NO_UID UINT32_MAX

/*
 * Fill what a kind needs from its `value` (user to id, text to network, path checked) and a mail
 * rule's `user_names`. Errors say what was expected, without file and line; -ENOENT: the host has
 * no such user or group, all else is filled, and `unresolved` is set.
 */
int sf_entry_resolve(struct sf_entry *entry, struct sf_error *err);

/* A user's id by name or number; -ENOENT where the host has no such user. */
int sf_user_id(const char *name, uint32_t *uid);
int sf_group_id(const char *name, uint32_t *gid);

/*
 * One after the other of the networks in a list divided by commas (NULL: an empty one). `at`
 * begins at 0. Returns 0 at the end; 1: a network, or `err` says why it is none.
 */
int sf_next_net(const char *list, size_t *at, struct sf_net_key *net, struct sf_error *err);

/* What `user_names` of such an entry is called in the files: users, networks, on. */
const char *sf_entry_list_name(enum sf_entry_kind kind);

/* Find by kind and value, or NULL. */
struct sf_entry *sf_policy_find(const struct sf_policy *policy, enum sf_entry_kind kind,
				const char *value);
/* Add a copy, in place of one with the same kind and value. The policy takes `user_names`. */
int sf_policy_put(struct sf_policy *policy, const struct sf_entry *entry);
/* For many: append without a look, then let the last of those with the same kind and value stay. */
int sf_policy_append(struct sf_policy *policy, const struct sf_entry *entry);
int sf_policy_settle(struct sf_policy *policy);
void sf_policy_remove(struct sf_policy *policy, struct sf_entry *entry);

#endif
