/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Addresses of allowed host names. An address stays for a while after it was last seen, because
 * relay services answer with a few of many; the list survives in state_dir/hosts.
 */
#ifndef SF_USER_HOSTS_H
#define SF_USER_HOSTS_H

#include <stdint.h>
#include "policy.h"

/* Seconds that an address is kept after a look-up last gave it. */
#define SF_HOST_KEEP 3600

struct sf_host_address {
	char name[SF_NAME_MAX];
	struct sf_net_key net; /* a single address */
	int64_t seen;	       /* seconds since 1970 */
};

struct sf_hosts {
	struct sf_host_address *address;
	size_t count, room;
};

void sf_hosts_free(struct sf_hosts *hosts);
int sf_hosts_load(const char *state_dir, struct sf_hosts *hosts);
int sf_hosts_save(const char *state_dir, const struct sf_hosts *hosts, struct sf_error *err);
int sf_hosts_know(const struct sf_hosts *hosts, const char *name);

/*
 * Look one name up (blocks as getaddrinfo does) and enter what it gave, as seen `now`. On failure
 * what is known stays, and -ENOENT with a text is returned.
 */
int sf_hosts_look_up(struct sf_hosts *hosts, const char *name, int64_t now, struct sf_error *err);

/* Drop what belongs to no allow_host entry, or was not seen for SF_HOST_KEEP while newer was. */
void sf_hosts_prune(struct sf_hosts *hosts, const struct sf_policy *policy);

#endif
