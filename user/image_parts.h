/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the image share: image_grants.c (ports with their ends, rows of senders),
 * image_roles.c (paths), image_nets.c (networks in each other); image.c puts all together.
 */
#ifndef SF_USER_IMAGE_PARTS_H
#define SF_USER_IMAGE_PARTS_H

#include "image.h"

/* Is the entry's time over? */
int image_is_over(const struct sf_entry *entry, const struct sf_clock *clock);
/*
 * The nanosecond of CLOCK_BOOTTIME at which the entry ends. Rounded to 10 ms, so that two images
 * of the same policy, made a moment apart, do not differ by the reading of two clocks.
 */
__u64 image_until(const struct sf_entry *entry, const struct sf_clock *clock);

/* image_grants.c ------------------------------------------------------------------------------- */

/* -E2BIG where more come together than a row holds. */
int image_add_grant(struct sf_grants *grants, uint16_t port, __u64 until_ns);
int image_add_grants(struct sf_grants *grants, const struct sf_entry *entry, __u64 until_ns);
struct sf_sender_key image_sender_key(const struct sf_entry *entry);
/* The row of its user or group is there already. */
int image_add_sender(struct sf_image *image, const struct sf_entry *entry,
		     const struct sf_clock *clock);

/* image_roles.c -------------------------------------------------------------------------------- */

int image_add_roles(struct sf_image *image, const struct sf_policy *policy,
		    const struct sf_clock *clock);

/* image_nets.c -------------------------------------------------------------------------------- */

/* The longest prefix answers alone, so each row says what those around it say. */
int image_spread_relays(struct sf_image *image);
int image_spread_quarantines(struct sf_image *image);
/* Whole addresses have a table of their own. */
int image_part_hosts(struct sf_image *image);

#endif
