// SPDX-License-Identifier: GPL-2.0-only
/*
 * The keys of the configuration: one table from which reading, checking, `set`, `get` and the
 * documentation's test come.
 */
#include "policy.h"
#include "cgroup.h"
#include "cleanup.h"
#include "escape.h"
#include <errno.h>
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
	{"max_roles", SF_KEY_INT, FIELD(max_roles), 64, 1048576, "16384",
	 "room for cgroup paths with a role", 0},
	{"uplinks", SF_KEY_NAMES, FIELD(uplinks), 0, 0, "auto", "interfaces to the world", 0},
	{"customers", SF_KEY_NAMES, FIELD(customers), 0, 0, "", "interfaces to customers", 0},
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
_Static_assert(sizeof(sf_keys) / sizeof(sf_keys[0]) <= 64, "managed_keys has 64 bits");

static const struct {
	const char *name;
	int value;
} errnos[] = {{"EPERM", EPERM}, {"EACCES", EACCES}, {"ECONNREFUSED", ECONNREFUSED}};

static const struct {
	const char *setting, *name;
	int value;
} modes[] = {
	{"no", "off", SF_MODE_OFF},
	{"monitor", "monitor", SF_MODE_MONITOR},
	{"yes", "enforce", SF_MODE_ENFORCE},
};

const char *sf_mode_name(int mode)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (modes[i].value == mode)
			return modes[i].name;
	return "unknown";
}

const char *sf_mode_setting(int mode)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (modes[i].value == mode)
			return modes[i].setting;
	return "no";
}

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
	int row[64], n = (int)strlen(b);

	if (strlen(a) > 40 || n > 40)
		return 99;
	for (int j = 0; j <= n; j++)
		row[j] = j;
	for (int i = 1; a[i - 1]; i++) {
		int corner = row[0];

		row[0] = i;
		for (int j = 1; j <= n; j++) {
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
	return key->type == SF_KEY_PORTS || key->type == SF_KEY_NAMES;
}

static int parse_bool(const char *text)
{
	if (!strcasecmp(text, "yes") || !strcasecmp(text, "true") || !strcasecmp(text, "on") ||
	    !strcmp(text, "1"))
		return 1;
	if (!strcasecmp(text, "no") || !strcasecmp(text, "false") || !strcasecmp(text, "off") ||
	    !strcmp(text, "0"))
		return 0;
	return -1;
}

static int parse_number(const char *text, long min, long max, long *number)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < min || n > max)
		return -EINVAL;
	*number = n;
	return 0;
}

static int parse_ports(const char *text, struct sf_port_list *list, struct sf_error *err)
{
	_cleanup_free_ char *copy = strdup(text);
	struct sf_port_list ports = {.count = 0};
	char *save = NULL, shown[64];

	if (!copy)
		return sf_fail(err, -ENOMEM, "no memory");
	for (char *word = strtok_r(copy, ", \t", &save); word;
	     word = strtok_r(NULL, ", \t", &save)) {
		uint32_t i;
		long port;

		if (parse_number(word, 1, 65535, &port)) {
			sf_escape_string(word, shown, sizeof(shown));
			return sf_fail_usage(
				err, "\"%s\" is not a port: write numbers from 1 to 65535", shown);
		}
		for (i = 0; i < ports.count && ports.port[i] != port; i++)
			;
		if (i < ports.count)
			continue;
		if (ports.count == SF_PORT_LIST_MAX)
			return sf_fail_usage(err, "more than %d ports: leave some out",
					     SF_PORT_LIST_MAX);
		ports.port[ports.count++] = (uint16_t)port;
	}
	*list = ports;
	return 0;
}

static int parse_names(const char *text, struct sf_name_list *list, struct sf_error *err)
{
	_cleanup_free_ char *copy = strdup(text);
	_cleanup_free_ struct sf_name_list *names = calloc(1, sizeof(*names));
	char *save = NULL;

	if (!copy || !names)
		return sf_fail(err, -ENOMEM, "no memory");
	for (char *word = strtok_r(copy, ", \t", &save); word;
	     word = strtok_r(NULL, ", \t", &save)) {
		if (names->count == SF_NAME_LIST_MAX || strlen(word) >= sizeof(names->name[0]))
			return sf_fail_usage(err, "at most %d names of at most 63 bytes",
					     SF_NAME_LIST_MAX);
		memcpy(names->name[names->count++], word, strlen(word) + 1);
	}
	*list = *names;
	return 0;
}

int sf_key_set(struct sf_policy *policy, const struct sf_key *key, const char *text,
	       struct sf_error *err)
{
	void *field = (char *)policy + key->offset;
	char shown[128];
	const char *fault;
	long number;
	int flag;

	sf_escape_string(text, shown, sizeof(shown));
	switch (key->type) {
	case SF_KEY_MODE:
		for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
			if (!strcasecmp(modes[i].setting, text)) {
				*(int *)field = modes[i].value;
				return 0;
			}
		}
		return sf_fail_usage(err, "%s: \"%s\" is not a mode: write yes, monitor or no",
				     key->name, shown);
	case SF_KEY_ERRNO:
		for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
			if (!strcmp(errnos[i].name, text)) {
				*(int *)field = errnos[i].value;
				return 0;
			}
		}
		return sf_fail_usage(err, "%s: \"%s\": write EPERM, EACCES or ECONNREFUSED",
				     key->name, shown);
	case SF_KEY_BOOL:
		flag = parse_bool(text);
		if (flag < 0)
			return sf_fail_usage(err, "%s: \"%s\": write yes or no", key->name, shown);
		*(int *)field = flag;
		return 0;
	case SF_KEY_INT:
		if (parse_number(text, key->min, key->max, &number))
			return sf_fail_usage(err, "%s: \"%s\": write a number from %ld to %ld",
					     key->name, shown, key->min, key->max);
		*(int *)field = (int)number;
		return 0;
	case SF_KEY_PATH:
		number = key->max ? key->max : SF_NAME_MAX - 33;
		if (text[0] != '/' || strlen(text) > (size_t)number)
			return sf_fail_usage(
				err, "%s: \"%s\": write an absolute path of at most %ld bytes",
				key->name, shown, number);
		memcpy(field, text, strlen(text) + 1);
		return 0;
	case SF_KEY_CGROUP:
		fault = sf_cgroup_path_fault(text);
		if (fault)
			return sf_fail_usage(err, "%s: \"%s\": %s", key->name, shown, fault);
		memcpy(field, text, strlen(text) + 1);
		return 0;
	case SF_KEY_PORTS:
	case SF_KEY_NAMES: {
		struct sf_error inner = {.code = 0};
		int ret = key->type == SF_KEY_PORTS ? parse_ports(text, field, &inner)
						    : parse_names(text, field, &inner);

		return ret ? sf_fail_usage(err, "%s: %s", key->name, inner.text) : 0;
	}
	}
	return sf_fail(err, -EINVAL, "%s: unknown type", key->name);
}

void sf_key_get(const struct sf_policy *policy, const struct sf_key *key, char *out, size_t size)
{
	const void *field = (const char *)policy + key->offset;
	const struct sf_port_list *ports = field;
	const struct sf_name_list *names = field;
	size_t used = 0;

	out[0] = '\0';
	switch (key->type) {
	case SF_KEY_MODE:
		snprintf(out, size, "%s", sf_mode_setting(*(const int *)field));
		break;
	case SF_KEY_ERRNO:
		for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++)
			if (errnos[i].value == *(const int *)field)
				snprintf(out, size, "%s", errnos[i].name);
		break;
	case SF_KEY_BOOL:
		snprintf(out, size, "%s", *(const int *)field ? "yes" : "no");
		break;
	case SF_KEY_INT:
		snprintf(out, size, "%d", *(const int *)field);
		break;
	case SF_KEY_PATH:
	case SF_KEY_CGROUP:
		snprintf(out, size, "%s", (const char *)field);
		break;
	case SF_KEY_PORTS:
		for (uint32_t i = 0; i < ports->count && used < size; i++)
			used += (size_t)snprintf(out + used, size - used, "%s%u", i ? "," : "",
						 ports->port[i]);
		break;
	case SF_KEY_NAMES:
		for (uint32_t i = 0; i < names->count && used < size; i++)
			used += (size_t)snprintf(out + used, size - used, "%s%s", i ? "," : "",
						 names->name[i]);
		break;
	}
}
