/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The image: what a policy wants every policy map to hold, ready to be compared with the kernel.
 * Times become CLOCK_BOOTTIME, names have become ids and addresses. No I/O but getifaddrs.
 */
#ifndef SF_USER_IMAGE_H
#define SF_USER_IMAGE_H

#include "hosts.h"
#include "policy.h"
#include "table.h"
#include "../maps/census.h"
#include "../maps/limits.h"
#include "../maps/nets.h"
#include "../maps/senders.h"

/* The policy's maps: name of the map, key type, value type. settings comes apart. */
#define SF_IMAGE_TABLES(X)                                                                         \
	X(ROLE_PATHS, role_paths, struct sf_role_path, struct sf_role)                             \
	X(SENDERS, senders, struct sf_sender_key, struct sf_sender)                                \
	X(RELAYS, relays, struct sf_net_key, struct sf_grants)                                     \
	X(QUARANTINE_NETS, quarantine_nets, struct sf_net_key, struct sf_net_quarantine)           \
	X(QUARANTINE_HOSTS, quarantine_hosts, struct sf_net_key, struct sf_net_quarantine)         \
	X(LOCAL_FILTER, local_filter, uint32_t, struct sf_local_filter)                            \
	X(LOCAL_ADDRS, local_addrs, struct sf_addr, uint8_t)                                       \
	X(PORTS, ports, uint32_t, struct sf_port_word)                                             \
	X(SOURCE_LIMITS, source_limits, struct sf_net_key, struct sf_limit)

enum sf_image_table {
#define X(NAME, name, key, value) SF_IMAGE_##NAME,
	SF_IMAGE_TABLES(X)
#undef X
		SF_IMAGE_COUNT
};

extern const char *const sf_image_names[SF_IMAGE_COUNT];

struct sf_clock {
	int64_t wall;	  /* seconds since 1970 */
	uint64_t boot_ns; /* CLOCK_BOOTTIME */
	int64_t wall_ns;  /* nanoseconds within the second of wall */
};

struct sf_image {
	struct sf_settings settings; /* but probe_cgroup and mode_since */
	/* But what the census itself keeps: seed, generation of limits, offsets of clocks. */
	struct sf_census_settings census;
	struct sf_table table[SF_IMAGE_COUNT];
};

/* Both clocks, read together. */
void sf_clock_now(struct sf_clock *clock);

/*
 * Build the image. Expired entries are left out. Errors: -E2BIG where a network collects more
 * than SF_GRANTS_MAX grants, -ENOMEM. On success the caller frees the image.
 */
int sf_image_build(const struct sf_policy *policy, const struct sf_hosts *hosts,
		   const struct sf_clock *clock, struct sf_image *image, struct sf_error *err);
void sf_image_free(struct sf_image *image);

/* The census' settings alone, which need neither names nor clocks. */
void sf_image_census(const struct sf_policy *policy, struct sf_census_settings *census);

/* Empty tables of the right shape. */
void sf_image_init(struct sf_image *image);

/* The addresses of this network namespace's interfaces and their filter, into the image's tables.
 */
int sf_image_local_addrs(struct sf_image *image);

/*
 * The limits of sources by their networks, sorted, into the image's empty table; the addresses of
 * this host are taken from its local_addrs. For the whole image, and for when addresses changed.
 */
int sf_image_source_limits(const struct sf_policy *policy, const struct sf_hosts *hosts,
			   const struct sf_clock *clock, struct sf_image *image);

/* Is this table one of an array map, whose rows are all there and are never deleted? */
int sf_image_is_array(enum sf_image_table table);

#endif
