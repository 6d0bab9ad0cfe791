/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Firewall rules, as `nft list ruleset` and `iptables-save` print them: which chains decide about
 * outgoing or forwarded SMTP connections. Pure text in, findings out. A tolerant reader, for
 * telling people, never for a decision: what it doesn't know it passes over.
 */
#ifndef SF_USER_RULESETS_H
#define SF_USER_RULESETS_H

#include <stdbool.h>
#include <stddef.h>

enum sf_rule_hook {
	SF_HOOK_OUTPUT = 1,
	SF_HOOK_FORWARD = 2,
};

enum sf_rule_action {
	SF_ACTION_ACCEPT = 1,
	SF_ACTION_DENY = 2,
	SF_ACTION_REDIRECT = 4,
	SF_ACTION_UNKNOWN = 8, /* decided in a map or a chain that was not seen */
};

/* One chain with rules on ports 25, 465 or 587 that do more than accept. Texts as read: escape. */
struct sf_rule_finding {
	char table[80]; /* "inet filter"; of iptables "filter" */
	char chain[64];
	unsigned int hooks;   /* enum sf_rule_hook: from where packets get here */
	unsigned int actions; /* enum sf_rule_action, of those rules and what they jump to */
	unsigned int rules;
	char text[200]; /* the first of them, cut */
};

/* Both fill at most `max`; *cut (not cleared) is set when there was more than is looked at. */
int sf_ruleset_nft(const char *text, struct sf_rule_finding *list, size_t max, size_t *count,
		   bool *cut);
int sf_ruleset_iptables(const char *text, struct sf_rule_finding *list, size_t max, size_t *count,
			bool *cut);

#endif
