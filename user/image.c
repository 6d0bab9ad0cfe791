// SPDX-License-Identifier: GPL-2.0-only
#include "image_parts.h"
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

const char *const sf_image_names[SF_IMAGE_COUNT] = {
#define X(NAME, name, key, value) #name,
	SF_IMAGE_TABLES(X)
#undef X
};

void sf_clock_now(struct sf_clock *clock)
{
	struct timespec wall, boot;

	clock_gettime(CLOCK_REALTIME, &wall);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock->wall = wall.tv_sec;
	clock->wall_ns = wall.tv_nsec;
	clock->boot_ns = (uint64_t)boot.tv_sec * 1000000000ULL + (uint64_t)boot.tv_nsec;
}

void sf_image_init(struct sf_image *image)
{
	memset(image, 0, sizeof(*image));
#define X(NAME, name, key, value)                                                                  \
	sf_table_init(&image->table[SF_IMAGE_##NAME], sizeof(key), sizeof(value));
	SF_IMAGE_TABLES(X)
#undef X
}

void sf_image_free(struct sf_image *image)
{
	for (int i = 0; i < SF_IMAGE_COUNT; i++)
		sf_table_free(&image->table[i]);
}

static int add_host(struct sf_image *image, const struct sf_entry *entry,
		    const struct sf_hosts *hosts, const struct sf_clock *clock)
{
	int ret = 0;

	for (size_t i = 0; hosts && i < hosts->count && !ret; i++) {
		struct sf_grants *row;

		if (strcmp(hosts->address[i].name, entry->value))
			continue;
		row = sf_table_find(&image->table[SF_IMAGE_RELAYS], &hosts->address[i].net);
		ret = image_add_grants(row, entry, image_until(entry, clock));
	}
	return ret;
}

static int add_ports(struct sf_image *image, const struct sf_policy *policy)
{
	struct sf_port_word words[SF_PORT_WORDS];
	int ret = 0;

	memset(words, 0, sizeof(words));
	for (uint32_t i = 0; i < policy->ports.count; i++)
		words[policy->ports.port[i] / 64].fenced |= 1ULL << (policy->ports.port[i] % 64);
	for (uint32_t i = 0; i < policy->watch_ports.count; i++)
		words[policy->watch_ports.port[i] / 64].watched |=
			1ULL << (policy->watch_ports.port[i] % 64);
	for (uint32_t i = 0; i < SF_PORT_WORDS && !ret; i++)
		ret = sf_table_add(&image->table[SF_IMAGE_PORTS], &i, &words[i]);
	return ret;
}

int sf_image_is_array(enum sf_image_table table)
{
	return table == SF_IMAGE_PORTS || table == SF_IMAGE_LOCAL_FILTER;
}

int sf_image_local_addrs(struct sf_image *image)
{
	struct sf_table *table = &image->table[SF_IMAGE_LOCAL_ADDRS];
	struct sf_local_filter filter = {.word = {0}};
	struct ifaddrs *list;
	const uint8_t one = 1;
	const uint32_t zero = 0;
	int ret = 0;

	if (getifaddrs(&list))
		return -errno;
	for (struct ifaddrs *a = list; a && !ret; a = a->ifa_next) {
		struct sf_addr addr = {.b = {[10] = 0xff, [11] = 0xff}};

		if (!a->ifa_addr)
			continue;
		if (a->ifa_addr->sa_family == AF_INET)
			memcpy(&addr.b[12], &((struct sockaddr_in *)a->ifa_addr)->sin_addr, 4);
		else if (a->ifa_addr->sa_family == AF_INET6)
			memcpy(&addr, &((struct sockaddr_in6 *)a->ifa_addr)->sin6_addr, 16);
		else
			continue;
		filter.word[sf_local_filter_bit(&addr) / 64] |=
			1ULL << (sf_local_filter_bit(&addr) % 64);
		ret = sf_table_add(table, &addr, &one);
	}
	freeifaddrs(list);
	if (!ret)
		ret = sf_table_add(&image->table[SF_IMAGE_LOCAL_FILTER], &zero, &filter);
	return ret ? ret : sf_table_sort(table);
}

/* Does this row say anything that connect() has to know? The census finds limits by itself. */
static int decides(const struct sf_sender *row)
{
	return row->quarantine_until_ns || row->allowed.count;
}

static void set_flags(struct sf_image *image)
{
	struct sf_settings *settings = &image->settings;
	const struct sf_table *senders = &image->table[SF_IMAGE_SENDERS];

	if (image->table[SF_IMAGE_RELAYS].count)
		settings->flags |= SF_SETTING_RELAYS;
	for (size_t i = 0; i < senders->count && !(settings->flags & SF_SETTING_SENDERS); i++)
		if (decides(sf_table_value(senders, i)))
			settings->flags |= SF_SETTING_SENDERS;
	if (image->table[SF_IMAGE_QUARANTINE_NETS].count)
		settings->flags |= SF_SETTING_QUARANTINE_NETS;
	if (image->table[SF_IMAGE_QUARANTINE_HOSTS].count)
		settings->flags |= SF_SETTING_QUARANTINE_HOSTS;
}

static int counts(const struct sf_entry *entry, const struct sf_clock *clock)
{
	return !image_is_over(entry, clock) && (!entry->unresolved || entry->kind == SF_ENTRY_MAIL);
}

static struct sf_limit limit_of(const struct sf_pair *pair, enum sf_class class)
{
	return (struct sf_limit){.warn = pair->warn, .act = pair->act, .class = class};
}

void sf_image_census(const struct sf_policy *policy, struct sf_census_settings *census)
{
	const struct sf_net_key ones = {.family = SF_FAMILY_V6,
					.prefixlen = SF_NET_BITS_MAX,
					.addr = {.b = {255, 255, 255, 255, 255, 255, 255, 255, 255,
						       255, 255, 255, 255, 255, 255, 255}}};
	struct sf_net_key mask =
		sf_net_wider(&ones, SF_NET_FAMILY_BITS + (uint32_t)policy->ipv6_prefix);

	memset(census, 0, sizeof(*census));
	census->abi = SF_ABI_VERSION;
	memcpy(census->v6_mask, &mask.addr, sizeof(census->v6_mask));
	census->unknown = limit_of(&policy->limit_source, SF_CLASS_UNKNOWN);
	census->user = limit_of(&policy->limit_sender, SF_CLASS_USER);
	census->mail = limit_of(&policy->limit_mail, SF_CLASS_MAIL);
}

/* Empty rows, sorted, for what several entries fill together: each is then quickly found. */
static int make_rows(struct sf_image *image, const struct sf_policy *policy,
		     const struct sf_hosts *hosts, const struct sf_clock *clock)
{
	static const struct sf_sender no_sender;
	static const struct sf_grants no_grants;
	struct sf_table *relays = &image->table[SF_IMAGE_RELAYS];
	int ret = 0;

	for (size_t i = 0; i < policy->entry_count && !ret; i++) {
		const struct sf_entry *entry = &policy->entries[i];
		struct sf_sender_key key = image_sender_key(entry);

		if (!counts(entry, clock))
			continue;
		if (entry->kind == SF_ENTRY_ALLOW_USER || entry->kind == SF_ENTRY_ALLOW_GROUP ||
		    entry->kind == SF_ENTRY_QUARANTINE_USER || entry->kind == SF_ENTRY_LIMIT_USER)
			ret = sf_table_add(&image->table[SF_IMAGE_SENDERS], &key, &no_sender);
		else if (entry->kind == SF_ENTRY_ALLOW_NET)
			ret = sf_table_add(relays, &entry->net, &no_grants);
		for (size_t h = 0;
		     entry->kind == SF_ENTRY_ALLOW_HOST && hosts && h < hosts->count && !ret; h++)
			if (!strcmp(hosts->address[h].name, entry->value))
				ret = sf_table_add(relays, &hosts->address[h].net, &no_grants);
	}
	if (!ret)
		ret = sf_table_sort(relays);
	return ret ? ret : sf_table_sort(&image->table[SF_IMAGE_SENDERS]);
}

int sf_image_build(const struct sf_policy *policy, const struct sf_hosts *hosts,
		   const struct sf_clock *clock, struct sf_image *image, struct sf_error *err)
{
	int ret;

	sf_image_init(image);
	image->settings.abi = SF_ABI_VERSION;
	image->settings.mode = (__u32)policy->mode;
	image->settings.flags = policy->allow_local ? SF_SETTING_ALLOW_LOCAL : 0;
	if (policy->gateway_others)
		image->settings.flags |= SF_SETTING_FENCE_FORWARDED;
	image->settings.deny_errno = (__u32)policy->deny_errno;
	sf_image_census(policy, &image->census);

	ret = image_add_roles(image, policy, clock);
	if (!ret)
		ret = make_rows(image, policy, hosts, clock);
	for (size_t i = 0; i < policy->entry_count && !ret; i++) {
		const struct sf_entry *entry = &policy->entries[i];
		struct sf_net_quarantine q;
		struct sf_grants *row;

		if (!counts(entry, clock))
			continue;
		switch (entry->kind) {
		case SF_ENTRY_ALLOW_USER:
		case SF_ENTRY_ALLOW_GROUP:
		case SF_ENTRY_QUARANTINE_USER:
		case SF_ENTRY_LIMIT_USER:
			ret = image_add_sender(image, entry, clock);
			break;
		case SF_ENTRY_ALLOW_NET:
			row = sf_table_find(&image->table[SF_IMAGE_RELAYS], &entry->net);
			ret = image_add_grants(row, entry, image_until(entry, clock));
			break;
		case SF_ENTRY_ALLOW_HOST:
			ret = add_host(image, entry, hosts, clock);
			break;
		case SF_ENTRY_QUARANTINE_NET:
			q.until_ns = image_until(entry, clock);
			ret = sf_table_add(&image->table[SF_IMAGE_QUARANTINE_NETS], &entry->net,
					   &q);
			break;
		default:
			break;
		}
		if (ret == -E2BIG)
			sf_fail(err, ret,
				"%s \"%s\": more than %d ports in all come together here; "
				"leave the ports out to mean every fenced port",
				sf_entry_sections[entry->kind], entry->value, SF_GRANTS_MAX);
	}
	if (!ret) {
		ret = image_spread_relays(image);
		if (ret == -E2BIG)
			sf_fail(err, ret,
				"allow_net: more than %d ports in all come together where one "
				"network lies in another; leave the ports out of the wider one to "
				"mean "
				"every fenced port",
				SF_GRANTS_MAX);
	}
	if (!ret)
		ret = sf_table_sort(&image->table[SF_IMAGE_QUARANTINE_NETS]);
	if (!ret)
		ret = image_spread_quarantines(image);
	if (!ret)
		ret = image_part_hosts(image);
	if (!ret)
		ret = add_ports(image, policy);
	if (!ret)
		ret = sf_image_local_addrs(image);
	if (!ret)
		ret = sf_image_source_limits(policy, hosts, clock, image);
	for (int i = 0; i < SF_IMAGE_COUNT && !ret; i++)
		ret = sf_table_sort(&image->table[i]);
	if (!ret)
		set_flags(image);
	if (ret) {
		sf_image_free(image);
		if (err && !err->code)
			sf_fail(err, ret, "can't build the policy's tables: %s", strerror(-ret));
	}
	return ret;
}
