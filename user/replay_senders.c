// SPDX-License-Identifier: GPL-2.0-only
/* Senders and sources of a trace: found, made, and what each did hour by hour. */
#include "replay_world.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include "escape.h"
#include "net.h"

#define ENTRIES_MAX 1000000
#define HOURS_MAX   (SF_BASELINE_DAYS * 24 + 24)

struct replay_entry **replay_entry_at(struct sf_replay *r, const struct sf_who *who)
{
	uint64_t hash = sf_hash(who->kind, who->key.word[0], who->key.word[1]);
	struct replay_entry **at = &r->bucket[hash % REPLAY_BUCKETS];

	while (*at && ((*at)->who.kind != who->kind ||
		       memcmp(&(*at)->who.key, &who->key, sizeof(who->key)) != 0))
		at = &(*at)->next;
	return at;
}

static int is_v4(const struct sf_addr *addr)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return !memcmp(addr->b, mapped, sizeof(mapped));
}

static int in_cgroup(const char *cgroup, const char *top)
{
	size_t n = strlen(top);

	while (n && top[n - 1] == '/')
		n--;
	return !strncmp(cgroup, top, n) && (!cgroup[n] || cgroup[n] == '/');
}

static int is_mail(const struct sf_replay *r, const struct sf_replay_event *e)
{
	struct sf_net_key net = {.prefixlen = SF_NET_BITS_MAX, .addr = e->source};

	if (e->has_sender) {
		for (size_t i = 0; i < r->options.mail_cgroup_count; i++)
			if (in_cgroup(e->cgroup, r->options.mail_cgroups[i]))
				return 1;
		return 0;
	}
	net.family = is_v4(&e->source) ? SF_FAMILY_V4 : SF_FAMILY_V6;
	for (size_t i = 0; i < r->options.mail_count; i++)
		if (sf_net_covers(&r->options.mail[i], &net))
			return 1;
	return 0;
}

/* A local sender by cgroup and uid, anyone else by address; IPv6 counts per /64. */
static struct sf_who who_of(const struct sf_replay_event *e)
{
	struct sf_who who = {.kind = e->has_sender ? SF_WHO_SENDER : SF_WHO_SOURCE};

	if (e->has_sender) {
		uint64_t id = 0;

		for (const char *c = e->cgroup; *c; c++)
			id = sf_hash(7, id, (uint8_t)*c);
		who.key.word[0] = id;
		who.key.word[1] = e->uid;
		return who;
	}
	memcpy(who.key.word, &e->source, sizeof(who.key.word));
	if (!is_v4(&e->source))
		who.key.word[1] = 0;
	return who;
}

static char *text_of(const struct sf_replay_event *e, const struct sf_who *who)
{
	char text[INET6_ADDRSTRLEN + 4], cgroup[4 * SF_PATH_MAX];
	struct sf_addr addr;

	if (e->has_sender) {
		sf_escape_string(e->cgroup, cgroup, sizeof(cgroup));
		return strdup(cgroup);
	}
	memcpy(&addr, who->key.word, sizeof(addr));
	if (is_v4(&addr)) {
		inet_ntop(AF_INET, addr.b + 12, text, sizeof(text));
	} else {
		inet_ntop(AF_INET6, addr.b, text, sizeof(text));
		memcpy(text + strlen(text), "/64", sizeof("/64"));
	}
	return strdup(text);
}

void replay_entry_free(struct replay_entry *entry)
{
	if (!entry)
		return;
	free(entry->text);
	free(entry->hours);
	free(entry);
}

struct replay_entry *replay_entry_of(struct sf_replay *r, const struct sf_replay_event *e)
{
	struct sf_who who = who_of(e);
	struct replay_entry **at = replay_entry_at(r, &who), *entry = *at;

	if (entry)
		return entry;
	if (r->totals.senders >= ENTRIES_MAX)
		return NULL;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return NULL;
	entry->text = text_of(e, &who);
	if (!entry->text) {
		replay_entry_free(entry);
		return NULL;
	}
	entry->who = who;
	entry->uid = e->uid;
	entry->count.key = who.key;
	entry->count.first = (uint32_t)(r->now_ns >> SF_TICK_SHIFT);
	entry->first = (int64_t)(r->now_ns / NS);
	sf_trail_begin(&entry->trail, sf_slice_of(r->now_ns));
	if (is_mail(r, e)) {
		entry->trail.class = SF_CLASS_MAIL;
	} else {
		entry->trail.class = e->has_sender ? SF_CLASS_USER : SF_CLASS_UNKNOWN;
		entry->trail.warn = r->options.warn;
		entry->trail.act = r->options.act;
	}
	*at = entry;
	r->totals.senders++;
	return entry;
}

void replay_mark(struct sf_replay *r, struct replay_entry *entry)
{
	entry->last = (int64_t)(r->now_ns / NS);
	if (entry->is_dirty)
		return;
	entry->is_dirty = 1;
	entry->next_dirty = r->dirty;
	r->dirty = entry;
}

void replay_remember(struct replay_entry *entry, int64_t second)
{
	int64_t hour = second - second % 3600;
	struct sf_baseline_hour *hours;

	if (entry->hour_count && entry->hours[entry->hour_count - 1].hour == hour) {
		entry->hours[entry->hour_count - 1].fenced++;
		return;
	}
	if (entry->hour_count == HOURS_MAX) {
		memmove(entry->hours, entry->hours + 1, (HOURS_MAX - 1) * sizeof(*entry->hours));
		entry->hour_count--;
	}
	if (entry->hour_count == entry->hour_room) {
		size_t room = entry->hour_room ? 2 * entry->hour_room : 4;

		hours = realloc(entry->hours, room * sizeof(*hours));
		if (!hours)
			return; /* an hour less of history */
		entry->hours = hours;
		entry->hour_room = room;
	}
	entry->hours[entry->hour_count++] = (struct sf_baseline_hour){.hour = hour, .fenced = 1};
}
