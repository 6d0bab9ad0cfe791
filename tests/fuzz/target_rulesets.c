// SPDX-License-Identifier: GPL-2.0-only
/*
 * What nft and iptables-save print: three texts, divided by lines of `====`. Findings are bounded,
 * and their texts clean whatever the names of chains are.
 */
#include "fuzz.h"
#include "../../user/conflicts.h"
#include "../../user/rulesets.h"

static void check_findings(const char *text, int nft)
{
	struct sf_rule_finding list[4];
	size_t count = 0;
	bool cut = false;

	PROPERTY(!(nft ? sf_ruleset_nft : sf_ruleset_iptables)(text, list, 4, &count, &cut));
	PROPERTY(count <= 4);
	for (size_t i = 0; i < count; i++) {
		PROPERTY(list[i].hooks & 3 && !(list[i].hooks & ~3u));
		PROPERTY(list[i].rules > 0 && list[i].actions & ~(unsigned int)SF_ACTION_ACCEPT);
		PROPERTY(memchr(list[i].text, '\0', sizeof(list[i].text)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sf_conflict found[SF_CONFLICTS_MAX];
	struct fuzz_part rest = {data, size};
	char *nft = fuzz_string(fuzz_next_part(&rest)), *ip4 = fuzz_string(fuzz_next_part(&rest));
	char *ip6 = fuzz_string(rest);
	size_t count = 0;

	check_findings(nft, 1);
	check_findings(ip4, 0);
	PROPERTY(!sf_conflicts_rules(nft, ip4, ip6, found, SF_CONFLICTS_MAX, &count));
	PROPERTY(count <= SF_CONFLICTS_MAX);
	for (size_t i = 0; i < count; i++)
		PROPERTY(fuzz_is_clean(found[i].what) && fuzz_is_clean(found[i].where) &&
			 fuzz_is_clean(found[i].mend));
	free(nft);
	free(ip4);
	free(ip6);
	return 0;
}
