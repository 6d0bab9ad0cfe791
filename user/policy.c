// SPDX-License-Identifier: GPL-2.0-only
#include "policy.h"
#include "cgroup.h"
#include "cleanup.h"
#include "escape.h"
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

const char *const sf_entry_sections[SF_ENTRY_KINDS] = {
#define X(name, section, words, value) section,
	SF_ENTRIES(X)
#undef X
};
const char *const sf_entry_words[SF_ENTRY_KINDS] = {
#define X(name, section, words, value) words,
	SF_ENTRIES(X)
#undef X
};
const char *const sf_entry_values[SF_ENTRY_KINDS] = {
#define X(name, section, words, value) value,
	SF_ENTRIES(X)
#undef X
};

void sf_policy_init(struct sf_policy *policy)
{
	memset(policy, 0, sizeof(*policy));
	for (size_t i = 0; i < sf_key_count; i++)
		sf_key_set(policy, &sf_keys[i], sf_keys[i].fallback, NULL);
}

void sf_policy_free(struct sf_policy *policy)
{
	for (size_t i = 0; i < policy->entry_count; i++)
		free(policy->entries[i].user_names);
	free(policy->entries);
	policy->entries = NULL;
	policy->entry_count = policy->entry_room = 0;
}

/* A number that is all of the text and fits an id; (uid_t)-1 means "no id" everywhere. */
static int parse_id(const char *text, uint32_t *id)
{
	unsigned long n;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || n >= UINT32_MAX)
		return -EINVAL;
	*id = (uint32_t)n;
	return 0;
}

int sf_user_id(const char *name, uint32_t *uid)
{
	struct passwd *pw;

	if (!parse_id(name, uid))
		return 0;
	pw = getpwnam(name);
	if (!pw)
		return -ENOENT;
	*uid = pw->pw_uid;
	return 0;
}

int sf_group_id(const char *name, uint32_t *gid)
{
	struct group *gr;

	if (!parse_id(name, gid))
		return 0;
	gr = getgrnam(name);
	if (!gr)
		return -ENOENT;
	*gid = gr->gr_gid;
	return 0;
}

static int host_name_ok(const char *name)
{
	size_t label = 0, len = strlen(name);

	if (len == 0 || len > 253)
		return 0;
	for (const char *p = name; *p; p++) {
		if (*p == '.') {
			if (label == 0)
				return 0;
			label = 0;
			continue;
		}
		if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_')
			return 0;
		if (++label > 63)
			return 0;
	}
	return name[0] != '-';
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* The uids of a mail rule's names; those the host does not have leave no empty list behind. */
static int resolve_users(struct sf_entry *entry, struct sf_error *err)
{
	_cleanup_free_ char *copy = strdup(entry->user_names);
	char *save = NULL, shown[128];
	int ret = 0;

	if (!copy)
		return sf_fail(err, -ENOMEM, "no memory");
	entry->user_count = 0;
	for (char *name = strtok_r(copy, ", ", &save); name; name = strtok_r(NULL, ", ", &save)) {
		uint32_t uid = SF_NO_UID;

		if (entry->user_count == SF_ROLE_USERS_MAX)
			return sf_fail_usage(err,
					     "users: more than %d; leave the list out to mean "
					     "every user in the cgroup",
					     SF_ROLE_USERS_MAX);
		if (sf_user_id(name, &uid)) {
			sf_escape_string(name, shown, sizeof(shown));
			sf_fail_usage(err,
				      "users: this host has no user \"%s\"; create it, write its "
				      "number, or take it out",
				      shown);
			entry->unresolved = 1;
			ret = -ENOENT;
		}
		entry->users[entry->user_count++] = uid;
	}
	if (!entry->user_count)
		return sf_fail_usage(err,
				     "users: names nobody; leave the list out to mean every user "
				     "in the cgroup");
	qsort(entry->users, entry->user_count, sizeof(entry->users[0]), by_number);
	return ret;
}

static int resolve_id(struct sf_entry *entry, const char *shown, int is_group, struct sf_error *err)
{
	if (!(is_group ? sf_group_id : sf_user_id)(entry->value, &entry->id))
		return 0;
	sf_fail_usage(err,
		      "%s \"%s\": this host has no such %s; create it, write its number, or take "
		      "the entry out",
		      sf_entry_sections[entry->kind], shown, is_group ? "group" : "user");
	entry->unresolved = 1;
	return -ENOENT;
}

int sf_next_net(const char *list, size_t *at, struct sf_net_key *net, struct sf_error *err)
{
	char text[64];
	size_t n;

	if (!list || !list[*at])
		return 0;
	n = strcspn(list + *at, ",");
	snprintf(text, sizeof(text), "%.*s", (int)n, list + *at);
	*at += n + (list[*at + n] == ',');
	sf_net_parse(text, net, err);
	return 1;
}

const char *sf_entry_list_name(enum sf_entry_kind kind)
{
	return kind == SF_ENTRY_CUSTOMER       ? "networks"
	       : kind == SF_ENTRY_ALLOW_SOURCE ? "on"
					       : "users";
}

static int is_interface(const char *name, size_t length)
{
	return length > 0 && length <= 15 && strcspn(name, "/ \t\n,") >= length;
}

/* The interfaces behind which a source is allowed: names and patterns. */
static int check_interfaces(const struct sf_entry *entry, const char *shown, struct sf_error *err)
{
	for (const char *name = entry->user_names; name;) {
		size_t n = strcspn(name, ",");

		if (!is_interface(name, n))
			return sf_fail_usage(
				err,
				"allow_source \"%s\": on: write names of interfaces or "
				"patterns, each of 1 to 15 bytes",
				shown);
		name = name[n] ? name + n + 1 : NULL;
	}
	return 0;
}

/* An interface's name, or a pattern for several; its networks must be networks. */
static int resolve_customer(struct sf_entry *entry, const char *shown, struct sf_error *err)
{
	struct sf_error inner = {.code = 0};
	struct sf_net_key net;
	size_t at = 0;

	if (!is_interface(entry->value, strlen(entry->value)))
		return sf_fail_usage(err,
				     "customer \"%s\": this is no interface's name and no pattern: "
				     "1 to 15 bytes, without spaces, slash and comma",
				     shown);
	while (sf_next_net(entry->user_names, &at, &net, &inner))
		if (inner.code)
			return sf_fail_usage(err, "customer \"%s\": networks: %s", shown,
					     inner.text);
	return 0;
}

int sf_entry_resolve(struct sf_entry *entry, struct sf_error *err)
{
	char shown[SF_NAME_MAX * 2];
	const char *fault;
	int ret;

	sf_escape_string(entry->value, shown, sizeof(shown));
	switch (entry->kind) {
	case SF_ENTRY_MAIL:
	case SF_ENTRY_FENCE:
	case SF_ENTRY_EXEMPT:
	case SF_ENTRY_QUARANTINE_CGROUP:
	case SF_ENTRY_LIMIT_CGROUP:
		fault = sf_cgroup_path_fault(entry->value);
		if (fault)
			return sf_fail_usage(err, "%s \"%s\": %s", sf_entry_sections[entry->kind],
					     shown, fault);
		return entry->user_names ? resolve_users(entry, err) : 0;
	case SF_ENTRY_ALLOW_USER:
	case SF_ENTRY_QUARANTINE_USER:
	case SF_ENTRY_LIMIT_USER:
		return resolve_id(entry, shown, 0, err);
	case SF_ENTRY_ALLOW_GROUP:
		return resolve_id(entry, shown, 1, err);
	case SF_ENTRY_ALLOW_NET:
	case SF_ENTRY_ALLOW_SOURCE:
	case SF_ENTRY_QUARANTINE_NET:
	case SF_ENTRY_LIMIT_NET: {
		struct sf_error inner = {.code = 0};

		ret = sf_net_parse(entry->value, &entry->net, &inner);
		if (ret)
			return sf_fail_usage(err, "%s: %s", sf_entry_sections[entry->kind],
					     inner.text);
		sf_net_format(&entry->net, entry->value, sizeof(entry->value));
		return check_interfaces(entry, entry->value, err);
	}
	case SF_ENTRY_CUSTOMER:
		return resolve_customer(entry, shown, err);
	case SF_ENTRY_ALLOW_HOST:
		if (!host_name_ok(entry->value))
			return sf_fail_usage(err,
					     "%s \"%s\": this is no host name; an address goes "
					     "into allow_net",
					     sf_entry_sections[entry->kind], shown);
		return 0;
	default:
		return sf_fail(err, -EINVAL, "unknown kind of entry");
	}
}

struct sf_entry *sf_policy_find(const struct sf_policy *policy, enum sf_entry_kind kind,
				const char *value)
{
	for (size_t i = 0; i < policy->entry_count; i++) {
		struct sf_entry *e = &policy->entries[i];

		if (e->kind == kind && !strcmp(e->value, value))
			return e;
	}
	return NULL;
}

int sf_policy_append(struct sf_policy *policy, const struct sf_entry *entry)
{
	if (policy->entry_count == policy->entry_room) {
		size_t room = policy->entry_room ? policy->entry_room * 2 : 64;
		struct sf_entry *more = reallocarray(policy->entries, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		policy->entries = more;
		policy->entry_room = room;
	}
	policy->entries[policy->entry_count++] = *entry;
	return 0;
}

int sf_policy_put(struct sf_policy *policy, const struct sf_entry *entry)
{
	struct sf_entry *old = sf_policy_find(policy, entry->kind, entry->value);

	if (!old)
		return sf_policy_append(policy, entry);
	free(old->user_names);
	*old = *entry;
	return 0;
}

static int by_value(const void *a, const void *b)
{
	const struct sf_entry *const *x = a, *const *y = b;
	int order = (int)(*x)->kind - (int)(*y)->kind;

	if (!order)
		order = strcmp((*x)->value, (*y)->value);
	if (!order)
		order = *x < *y ? -1 : 1; /* as they were written */
	return order;
}

int sf_policy_settle(struct sf_policy *policy)
{
	size_t n = policy->entry_count, kept = 0;
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): places for pointers */
	_cleanup_free_ struct sf_entry **sorted = calloc(n + 1, sizeof(*sorted));

	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		sorted[i] = &policy->entries[i];
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are what is sorted */
	qsort(sorted, n, sizeof(*sorted), by_value);
	for (size_t i = 0; i + 1 < n; i++)
		if (sorted[i]->kind == sorted[i + 1]->kind &&
		    !strcmp(sorted[i]->value, sorted[i + 1]->value))
			sorted[i]->kind = SF_ENTRY_KINDS; /* a later one says it again */
	for (size_t i = 0; i < n; i++) {
		if (policy->entries[i].kind == SF_ENTRY_KINDS) {
			free(policy->entries[i].user_names);
			continue;
		}
		if (kept != i)
			policy->entries[kept] = policy->entries[i];
		kept++;
	}
	policy->entry_count = kept;
	/* The room was doubled while reading; the daemon keeps a policy for long. */
	if (kept && kept < policy->entry_room) {
		struct sf_entry *fit = reallocarray(policy->entries, kept, sizeof(*fit));

		if (fit) {
			policy->entries = fit;
			policy->entry_room = kept;
		}
	}
	return 0;
}

void sf_policy_remove(struct sf_policy *policy, struct sf_entry *entry)
{
	size_t i = (size_t)(entry - policy->entries);

	free(entry->user_names);
	memmove(entry, entry + 1, (policy->entry_count - i - 1) * sizeof(*entry));
	policy->entry_count--;
}
