// SPDX-License-Identifier: GPL-2.0-only
/* The values of keys, by their type: from text, checked, and back. */
#include "policy.h"
#include "cgroup.h"
#include "cleanup.h"
#include "escape.h"
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>

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

static const struct {
	const char *name;
	int value;
} severities[] = {
	{"off", SF_ACTION_OFF},
	{"notice", LOG_NOTICE},
	{"warning", LOG_WARNING},
	{"critical", LOG_CRIT},
};

const char *sf_severity_name(int severity)
{
	for (size_t i = 0; i < sizeof(severities) / sizeof(severities[0]); i++)
		if (severities[i].value == severity)
			return severities[i].name;
	return "unknown";
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

static int parse_nets(const char *text, struct sf_net_list *list, struct sf_error *err)
{
	_cleanup_free_ char *copy = strdup(text);
	_cleanup_free_ struct sf_net_list *nets = calloc(1, sizeof(*nets));
	char *save = NULL;

	if (!copy || !nets)
		return sf_fail(err, -ENOMEM, "no memory");
	for (char *word = strtok_r(copy, ", \t", &save); word;
	     word = strtok_r(NULL, ", \t", &save)) {
		struct sf_net_key net;
		int ret = sf_net_parse(word, &net, err);
		uint32_t i;

		if (ret)
			return ret;
		for (i = 0; i < nets->count && memcmp(&nets->net[i], &net, sizeof(net)); i++)
			;
		if (i < nets->count)
			continue;
		if (nets->count == SF_NET_LIST_MAX)
			return sf_fail_usage(err, "more than %d networks: write wider ones",
					     SF_NET_LIST_MAX);
		nets->net[nets->count++] = net;
	}
	*list = *nets;
	return 0;
}

int sf_pair_parse(const char *warn, const char *act, struct sf_pair *pair, struct sf_error *err)
{
	char shown[128];
	long w, a;

	if (parse_number(warn, 0, SF_LIMIT_MAX, &w) || parse_number(act, 0, SF_LIMIT_MAX, &a)) {
		sf_escape_string(parse_number(warn, 0, SF_LIMIT_MAX, &w) ? warn : act, shown,
				 sizeof(shown));
		return sf_fail_usage(err,
				     "\"%s\": write two numbers from 0 to %d, warn and act, like "
				     "15 and 100; 0 is no limit",
				     shown, SF_LIMIT_MAX);
	}
	if (w && a && w > a)
		return sf_fail_usage(err,
				     "warn (%ld) is above act (%ld): exchange them, or write 0 for "
				     "no limit",
				     w, a);
	pair->warn = (uint32_t)w;
	pair->act = (uint32_t)a;
	return 0;
}

static int parse_pair(const char *text, struct sf_pair *pair, struct sf_error *err)
{
	_cleanup_free_ char *copy = strdup(text);
	char *save = NULL, *warn, *act, shown[128];

	if (!copy)
		return sf_fail(err, -ENOMEM, "no memory");
	warn = strtok_r(copy, ", \t", &save);
	act = warn ? strtok_r(NULL, ", \t", &save) : NULL;
	if (act && !strtok_r(NULL, ", \t", &save))
		return sf_pair_parse(warn, act, pair, err);
	sf_escape_string(text, shown, sizeof(shown));
	return sf_fail_usage(err,
			     "\"%s\": write two numbers, warn and act, like \"15,100\"; 0 is "
			     "no limit",
			     shown);
}

static int has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return 1;
	return 0;
}

/*
 * Is this the form of a user's name? Whether the host has that user is asked when it is needed; a
 * hook that runs as root would undo what the daemon takes from it.
 */
static int user_name_ok(const char *text)
{
	size_t length = strlen(text);

	if (!length || length > 63 || text[0] == '-' || !strcmp(text, "root") ||
	    strspn(text, "0") == length)
		return 0;
	for (const unsigned char *p = (const unsigned char *)text; *p; p++)
		if (*p <= ' ' || *p >= 0x7f || strchr(":/,\"'", *p))
			return 0;
	return 1;
}

static int set_list(const struct sf_key *key, const char *text, void *field, struct sf_error *err)
{
	switch (key->type) {
	case SF_KEY_PORTS:
		return parse_ports(text, field, err);
	case SF_KEY_NAMES:
		return parse_names(text, field, err);
	case SF_KEY_NETS:
		return parse_nets(text, field, err);
	default:
		return parse_pair(text, field, err);
	}
}

/* The words of a key that takes one of several; its field holds the word's number. */
static const char *choices_of(enum sf_key_type type)
{
	return type == SF_KEY_HOOK     ? "auto,tc,xdp,generic"
	       : type == SF_KEY_ANSWER ? "drop,reset"
	       : type == SF_KEY_OTHERS ? "pass,deny"
				       : "alert,drop,quarantine";
}

/* Which of the words, or -1. */
static int choice_of(const char *choices, const char *text)
{
	size_t length = strlen(text);

	for (int i = 0; *choices; i++) {
		size_t n = strcspn(choices, ",");

		if (n == length && !strncasecmp(choices, text, n))
			return i;
		choices += n + (choices[n] == ',');
	}
	return -1;
}

static void choice_name(const char *choices, int i, char *out, size_t size)
{
	while (i-- > 0 && strchr(choices, ','))
		choices = strchr(choices, ',') + 1;
	snprintf(out, size, "%.*s", (int)strcspn(choices, ","), choices);
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
	case SF_KEY_SEVERITY:
		for (size_t i = 0; i < sizeof(severities) / sizeof(severities[0]); i++) {
			if (!strcasecmp(severities[i].name, text)) {
				*(int *)field = severities[i].value;
				return 0;
			}
		}
		return sf_fail_usage(err, "%s: \"%s\": write off, notice, warning or critical",
				     key->name, shown);
	case SF_KEY_HOOK:
	case SF_KEY_ANSWER:
	case SF_KEY_ON_LIMIT:
	case SF_KEY_OTHERS:
		flag = choice_of(choices_of(key->type), text);
		if (flag < 0)
			return sf_fail_usage(err, "%s: \"%s\": write one of %s", key->name, shown,
					     choices_of(key->type));
		*(int *)field = flag;
		return 0;
	case SF_KEY_USER:
		if (!user_name_ok(text))
			return sf_fail_usage(err,
					     "%s: \"%s\": write the name or uid of a user without "
					     "privileges; not root",
					     key->name, shown);
		memcpy(field, text, strlen(text) + 1);
		return 0;
	case SF_KEY_PROGRAM:
		if (!text[0]) {
			*(char *)field = '\0';
			return 0;
		}
		/* fallthrough */
	case SF_KEY_PATH:
		number = key->max ? key->max : SF_NAME_MAX - 33;
		if (text[0] != '/' || strlen(text) > (size_t)number)
			return sf_fail_usage(
				err, "%s: \"%s\": write an absolute path of at most %ld bytes",
				key->name, shown, number);
		/* A quote that is missing takes the lines behind it into the path. */
		if (has_control(text))
			return sf_fail_usage(err, "%s: \"%s\": control characters in a path",
					     key->name, shown);
		memcpy(field, text, strlen(text) + 1);
		return 0;
	case SF_KEY_CGROUP:
		fault = sf_cgroup_path_fault(text);
		if (fault)
			return sf_fail_usage(err, "%s: \"%s\": %s", key->name, shown, fault);
		memcpy(field, text, strlen(text) + 1);
		return 0;
	case SF_KEY_PORTS:
	case SF_KEY_NAMES:
	case SF_KEY_NETS:
	case SF_KEY_PAIR: {
		struct sf_error inner = {.code = 0};

		return set_list(key, text, field, &inner)
			       ? sf_fail_usage(err, "%s: %s", key->name, inner.text)
			       : 0;
	}
	}
	return sf_fail(err, -EINVAL, "%s: unknown type", key->name);
}

void sf_key_get(const struct sf_policy *policy, const struct sf_key *key, char *out, size_t size)
{
	const void *field = (const char *)policy + key->offset;
	const struct sf_port_list *ports = field;
	const struct sf_name_list *names = field;
	const struct sf_net_list *nets = field;
	const struct sf_pair *pair = field;
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
	case SF_KEY_SEVERITY:
		snprintf(out, size, "%s", sf_severity_name(*(const int *)field));
		break;
	case SF_KEY_HOOK:
	case SF_KEY_ANSWER:
	case SF_KEY_ON_LIMIT:
	case SF_KEY_OTHERS:
		choice_name(choices_of(key->type), *(const int *)field, out, size);
		break;
	case SF_KEY_PAIR:
		snprintf(out, size, "%u,%u", pair->warn, pair->act);
		break;
	case SF_KEY_PATH:
	case SF_KEY_CGROUP:
	case SF_KEY_PROGRAM:
	case SF_KEY_USER:
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
	case SF_KEY_NETS:
		for (uint32_t i = 0; i < nets->count && used < size; i++) {
			char text[64];

			sf_net_format(&nets->net[i], text, sizeof(text));
			used += (size_t)snprintf(out + used, size - used, "%s%s", i ? "," : "",
						 text);
		}
		break;
	}
}
