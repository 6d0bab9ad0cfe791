// SPDX-License-Identifier: GPL-2.0-only
/* Grants: ports with the time until which they are open, and the rows of senders. */
#include "image_parts.h"
#include <errno.h>
#include <string.h>

int image_is_over(const struct sf_entry *entry, const struct sf_clock *clock)
{
	return entry->expires && entry->expires <= clock->wall;
}

__u64 image_until(const struct sf_entry *entry, const struct sf_clock *clock)
{
	const __u64 step = 10000000ULL;
	int64_t left_ns;

	if (!entry->expires)
		return SF_NEVER;
	left_ns = (entry->expires - clock->wall) * 1000000000LL - clock->wall_ns;
	return (clock->boot_ns + (__u64)left_ns + step / 2) / step * step;
}

/* What a grant of every port says already, and for as long, takes no room of its own. */
int image_add_grant(struct sf_grants *grants, uint16_t port, __u64 until_ns)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < grants->count; i++) {
		const struct sf_grant *g = &grants->grant[i];

		if ((g->port == port || g->port == SF_PORT_ANY) && until_ns <= g->until_ns)
			return 0;
	}
	for (uint32_t i = 0; i < grants->count; i++) {
		const struct sf_grant *g = &grants->grant[i];

		if ((g->port != port && port != SF_PORT_ANY) || g->until_ns > until_ns)
			grants->grant[kept++] = *g;
	}
	memset(&grants->grant[kept], 0, (grants->count - kept) * sizeof(grants->grant[0]));
	grants->count = kept;
	if (until_ns != SF_NEVER)
		grants->has_end = 1;
	if (grants->count == SF_GRANTS_MAX)
		return -E2BIG;
	grants->grant[grants->count].port = port;
	grants->grant[grants->count++].until_ns = until_ns;
	return 0;
}

int image_add_grants(struct sf_grants *grants, const struct sf_entry *entry, __u64 until_ns)
{
	int ret = 0;

	if (!entry->port_count)
		return image_add_grant(grants, SF_PORT_ANY, until_ns);
	for (uint32_t i = 0; i < entry->port_count && !ret; i++)
		ret = image_add_grant(grants, entry->ports[i], until_ns);
	return ret;
}

struct sf_sender_key image_sender_key(const struct sf_entry *entry)
{
	return (struct sf_sender_key){
		.kind = entry->kind == SF_ENTRY_ALLOW_GROUP ? SF_SENDER_GROUP : SF_SENDER_USER,
		.id = entry->id,
	};
}

int image_add_sender(struct sf_image *image, const struct sf_entry *entry,
		     const struct sf_clock *clock)
{
	struct sf_sender_key key = image_sender_key(entry);
	struct sf_sender *row = sf_table_find(&image->table[SF_IMAGE_SENDERS], &key);

	if (entry->kind == SF_ENTRY_LIMIT_USER) {
		row->limited = 1;
		row->warn = entry->warn;
		row->act = entry->act;
		return 0;
	}
	if (entry->kind == SF_ENTRY_QUARANTINE_USER) {
		/* One user, named by name and by number: the later end holds. */
		if (image_until(entry, clock) > row->quarantine_until_ns)
			row->quarantine_until_ns = image_until(entry, clock);
		return 0;
	}
	return image_add_grants(&row->allowed, entry, image_until(entry, clock));
}
