// SPDX-License-Identifier: GPL-2.0-only
/* What rtnetlink says of routes and links, of any bytes: uplinks, customers' interfaces. */
#include "netlink.h"
#include "../../user/customers.h"
#include "../../user/uplinks.h"
#include <linux/netlink.h>
#include <net/if.h>

/* A list that the kernel ends with an error (here: no memory) is not whole. */
static void check_broken_list(const struct sf_policy *policy)
{
	static const struct {
		uint16_t size;
		struct nlmsghdr head;
		int error;
	} __attribute__((packed)) done = {20, {20, NLMSG_DONE, NLM_F_MULTI, 1, 0}, -12};
	struct sf_uplinks uplinks;

	answers = (struct fuzz_part){(const uint8_t *)&done, sizeof(done)};
	PROPERTY(sf_uplinks_find(&policy->uplinks, &uplinks) == -12);
}

static void check_uplinks(const struct sf_policy *policy)
{
	struct sf_uplinks uplinks;

	if (sf_uplinks_find(&policy->uplinks, &uplinks))
		return;
	PROPERTY(uplinks.count <= SF_UPLINKS_MAX);
	for (size_t i = 0; i < uplinks.count; i++)
		PROPERTY(uplinks.link[i].name[0] && strlen(uplinks.link[i].name) < IFNAMSIZ);
}

static void check_customers(const struct sf_policy *policy)
{
	struct sf_customers customers;

	if (sf_customers_find(policy, &customers))
		return;
	for (size_t i = 0; i < customers.count; i++)
		PROPERTY(customers.link[i].name[0] && strlen(customers.link[i].name) < IFNAMSIZ &&
			 strlen(customers.link[i].kind) < sizeof(customers.link[i].kind));
	sf_customers_free(&customers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sf_policy *policy;

	if (!policy) {
		policy = calloc(1, sizeof(*policy));
		if (!policy)
			return 0;
		sf_policy_init(policy);
		policy->uplinks = (struct sf_name_list){.name = {"auto", "eth?"}, .count = 2};
		policy->customers = (struct sf_name_list){.name = {"tap*", "v*"}, .count = 2};
		check_broken_list(policy);
	}
	answers = (struct fuzz_part){data, size};
	check_uplinks(policy);
	answers = (struct fuzz_part){data, size};
	check_customers(policy);
	unpoison();
	return 0;
}
