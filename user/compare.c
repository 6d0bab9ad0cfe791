// SPDX-License-Identifier: GPL-2.0-only
#include "compare.h"
#include "cgroup.h"
#include <bpf/bpf.h>
#include <string.h>
#include <time.h>

/* Does the programs' short cut past an empty table fit the tables that the policy fills? */
static int settings_fit(const struct sf_image *image, const struct sf_settings *settings)
{
	/* Flags that say "not empty" may stay set a moment longer than an entry that ended. */
	return (settings->flags & image->settings.flags) == image->settings.flags &&
	       (settings->flags & SF_SETTING_ALLOW_LOCAL) ==
		       (image->settings.flags & SF_SETTING_ALLOW_LOCAL) &&
	       settings->deny_errno == image->settings.deny_errno;
}

/*
 * Ends are computed from two clocks and move by milliseconds; a quarantine that is over may still
 * stand. For comparing only whether there is one counts.
 */
static void settle_quarantines(struct sf_table *paths, uint64_t now_ns)
{
	size_t kept = 0;

	for (size_t i = 0; i < paths->count; i++) {
		struct sf_role *role = sf_table_value(paths, i);

		role->quarantine_until_ns = role->quarantine_until_ns > now_ns;
		if (role->kind == SF_ROLE_NONE && !role->quarantine_until_ns && !role->limited)
			continue;
		if (kept != i)
			memmove(paths->rows + kept * (paths->key_size + paths->value_size),
				sf_table_key(paths, i), paths->key_size + paths->value_size);
		kept++;
	}
	paths->count = kept;
}

void sf_compare_tables(const struct sf_policy *policy, const struct sf_loaded *maps,
		       const struct sf_settings *settings, struct sf_status *status)
{
	static const enum sf_map table_map[SF_IMAGE_COUNT] = {
#define X(NAME, name, key, value) [SF_IMAGE_##NAME] = SF_MAP_##NAME,
		SF_IMAGE_TABLES(X)
#undef X
	};
	struct sf_error err = {.code = 0};
	struct sf_image image;
	struct sf_clock clock;

	sf_clock_now(&clock);
	if (sf_fence_image(policy, &image, &err)) {
		sf_status_fault(status, "the policy can't be compared: %.300s", err.text);
		return;
	}
	if (!settings_fit(&image, settings))
		sf_status_fault(status, "the kernel's settings differ from the policy");
	for (int i = 0; i < SF_IMAGE_COUNT; i++) {
		struct sf_table_change change = {0, 0, 0};
		struct sf_table have;

		if (maps->map[table_map[i]] < 0)
			continue;
		sf_table_init(&have, image.table[i].key_size, image.table[i].value_size);
		if (sf_table_read(maps->map[table_map[i]], &have)) {
			sf_status_fault(status, "the kernel's table %s can't be read",
					sf_image_names[i]);
		} else {
			if (i == SF_IMAGE_ROLE_PATHS) {
				settle_quarantines(&have, clock.boot_ns);
				settle_quarantines(&image.table[i], clock.boot_ns);
			}
			sf_table_compare(&have, &image.table[i], &change);
			/*
			 * Ends of entries are computed from two clocks and move by milliseconds;
			 * an entry that is over may still stand. Neither is a fault.
			 */
			if (i == SF_IMAGE_SENDERS || i == SF_IMAGE_RELAYS ||
			    i == SF_IMAGE_QUARANTINE_NETS || i == SF_IMAGE_QUARANTINE_HOSTS)
				change.changed = change.removed = 0;
			if (change.added + change.changed + change.removed)
				sf_status_fault(
					status,
					"the kernel's table %s differs from the policy: %zu "
					"missing, %zu different, %zu too many",
					sf_image_names[i], change.added, change.changed,
					change.removed);
		}
		sf_table_free(&have);
	}
	sf_image_free(&image);
}

/* Does the kernel hold a path's or a sender's row? Its content is compared by the whole look. */
static void check_one(const struct sf_policy *policy, size_t i, const struct sf_loaded *maps,
		      struct sf_status *status)
{
	const struct sf_entry *e = &policy->entries[i];
	unsigned char value[512];
	int fd = -1;
	union {
		struct sf_role_path path;
		struct sf_sender_key sender;
	} key = {.path = {.path = ""}};

	if (e->unresolved || (e->expires && e->expires <= (int64_t)time(NULL)))
		return;
	switch (e->kind) {
	case SF_ENTRY_MAIL:
	case SF_ENTRY_FENCE:
	case SF_ENTRY_EXEMPT:
	case SF_ENTRY_QUARANTINE_CGROUP:
	case SF_ENTRY_LIMIT_CGROUP:
		memcpy(key.path.path, e->value, strlen(e->value));
		fd = maps->map[SF_MAP_ROLE_PATHS];
		break;
	case SF_ENTRY_ALLOW_USER:
	case SF_ENTRY_ALLOW_GROUP:
	case SF_ENTRY_QUARANTINE_USER:
	case SF_ENTRY_LIMIT_USER:
		key.sender.kind =
			e->kind == SF_ENTRY_ALLOW_GROUP ? SF_SENDER_GROUP : SF_SENDER_USER;
		key.sender.id = e->id;
		fd = maps->map[SF_MAP_SENDERS];
		break;
	case SF_ENTRY_ALLOW_NET:
		fd = maps->map[SF_MAP_RELAYS];
		break;
	case SF_ENTRY_QUARANTINE_NET:
		fd = maps->map[e->net.prefixlen == SF_NET_BITS_MAX ? SF_MAP_QUARANTINE_HOSTS
								   : SF_MAP_QUARANTINE_NETS];
		break;
	default:
		return;
	}
	if (fd >= 0 &&
	    bpf_map_lookup_elem(fd,
				e->kind == SF_ENTRY_ALLOW_NET || e->kind == SF_ENTRY_QUARANTINE_NET
					? (const void *)&e->net
					: &key,
				value))
		sf_status_fault(status, "%s %.200s is missing in the kernel's table",
				sf_entry_words[e->kind], e->value);
}

/* And the living cgroup of a role must have its id entered. */
static void check_entered(const struct sf_entry *e, const char *mount, const struct sf_loaded *maps,
			  struct sf_status *status)
{
	struct sf_role value;
	uint64_t id;

	if (e->kind <= SF_ENTRY_EXEMPT && maps->map[SF_MAP_ROLES] >= 0 &&
	    !sf_cgroup_id(mount, e->value, &id) &&
	    bpf_map_lookup_elem(maps->map[SF_MAP_ROLES], &id, &value))
		sf_status_fault(status,
				"the cgroup %.200s exists, but the kernel has no role for it",
				e->value);
}

void sf_compare_sample(const struct sf_policy *policy, const char *mount,
		       const struct sf_loaded *maps, struct sf_status *status)
{
	static size_t next;
	size_t n = policy->entry_count < 64 ? policy->entry_count : 64;

	for (size_t i = 0; i < n && status->fault_count < 8; i++, next++) {
		check_one(policy, next % policy->entry_count, maps, status);
		check_entered(&policy->entries[next % policy->entry_count], mount, maps, status);
	}
}
