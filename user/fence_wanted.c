// SPDX-License-Identifier: GPL-2.0-only
/* What a policy wants the kernel to hold: its host names as addresses, and its image. */
#include "fence_work.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int look_up_hosts(const struct sf_policy *policy, const struct sf_fence_options *options,
			 struct sf_hosts *hosts, struct sf_fence_result *result,
			 struct sf_error *err)
{
	int64_t now = (int64_t)time(NULL);
	int changed = 0, ret = sf_hosts_load(policy->state_dir, hosts);

	if (ret)
		return sf_fail(err, ret, "can't read %s/hosts: %s", policy->state_dir,
			       strerror(-ret));
	for (size_t i = 0; i < policy->entry_count; i++) {
		const struct sf_entry *entry = &policy->entries[i];
		struct sf_error why = {.code = 0};
		int known = sf_hosts_know(hosts, entry->value);
		char *list;

		if (entry->kind != SF_ENTRY_ALLOW_HOST || (known && !options->refresh_hosts))
			continue;
		if (!sf_hosts_look_up(hosts, entry->value, now, &why)) {
			changed = 1;
			continue;
		}
		if (!known && !options->keep_unresolved)
			return sf_fail(err, why.code, "%s", why.text);
		list = known ? result->stale : result->unresolved;
		snprintf(list + strlen(list), sizeof(result->stale) - strlen(list), "%s%s",
			 list[0] ? " " : "", entry->value);
	}
	if (changed && !options->dry_run) {
		sf_hosts_prune(hosts, policy);
		return sf_hosts_save(policy->state_dir, hosts, err);
	}
	return 0;
}

int fence_build_image(const struct sf_policy *policy, const struct sf_fence_options *options,
		      struct sf_image *image, struct sf_fence_result *result, struct sf_error *err)
{
	struct sf_hosts hosts = {.count = 0};
	struct sf_clock clock;
	int ret = look_up_hosts(policy, options, &hosts, result, err);

	if (!ret) {
		sf_clock_now(&clock);
		ret = sf_image_build(policy, &hosts, &clock, image, err);
	}
	sf_hosts_free(&hosts);
	return ret;
}

int sf_fence_image(const struct sf_policy *policy, struct sf_image *image, struct sf_error *err)
{
	struct sf_hosts hosts;
	struct sf_clock clock;
	int ret = sf_hosts_load(policy->state_dir, &hosts);

	if (ret)
		return sf_fail(err, ret, "can't read %s/hosts", policy->state_dir);
	sf_clock_now(&clock);
	ret = sf_image_build(policy, &hosts, &clock, image, err);
	sf_hosts_free(&hosts);
	return ret;
}
