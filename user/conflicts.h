/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Other tools on this host that set the same rule: who may open SMTP connections. Two that decide
 * the same thing hide each other's mistakes, and the stricter one is blamed on the other.
 */
#ifndef SF_USER_CONFLICTS_H
#define SF_USER_CONFLICTS_H

#include <stddef.h>
#include "error.h"

#define SF_CONFLICTS_MAX 32

/* All texts are whole sentences or names, escaped already. */
struct sf_conflict {
	const char *tool; /* "CSF", "Imunify360", "cPanel", "ASL", "nftables", "iptables",
			     "ip6tables" */
	char what[256];	  /* what it does */
	char where[640];  /* file and key, or table, chain and rule */
	char mend[256];	  /* what to do */
};

/*
 * Fill `list`, at most `max` entries. `root` is "" or a directory with etc and var in it; with a
 * directory, no program is run, so the kernel's firewall rules are not looked at. Takes up to
 * three seconds for each of the firewall's programs, usually some milliseconds.
 */
int sf_conflicts_find(const char *root, struct sf_conflict *list, size_t max, size_t *count,
		      struct sf_error *err);

/*
 * The pure part for firewall rules: `nft`, `ip4` and `ip6` are the outputs of nft list ruleset,
 * iptables-save and ip6tables-save; NULL where there is none. Appends to the *count entries.
 */
int sf_conflicts_rules(const char *nft, const char *ip4, const char *ip6, struct sf_conflict *list,
		       size_t max, size_t *count);

#endif
