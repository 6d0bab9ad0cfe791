// SPDX-License-Identifier: GPL-2.0-only
/* The parts of the fence that follow the host's own interfaces and addresses. */
#include "fence.h"
#include "cleanup.h"
#include "egress.h"
#include "pins.h"
#include <errno.h>
#include <string.h>

int sf_fence_refresh_uplinks(const struct sf_policy *policy, struct sf_error *err)
{
	struct sf_census_settings settings;
	struct sf_loaded fence;
	int ret;

	sf_loaded_init(&fence);
	ret = sf_loader_open_maps(policy->pin_dir, &fence, err);
	if (!ret) {
		sf_image_census(policy, &settings);
		ret = sf_egress_apply(policy, &fence, &settings, 0, NULL, err);
	}
	sf_loaded_close(&fence);
	return ret == -ENOENT ? 0 : ret;
}

int sf_fence_refresh_local_addrs(const struct sf_policy *policy)
{
	static const enum sf_image_table tables[] = {SF_IMAGE_LOCAL_FILTER, SF_IMAGE_LOCAL_ADDRS,
						     SF_IMAGE_SOURCE_LIMITS};
	struct sf_hosts hosts = {.count = 0};
	struct sf_clock clock;
	struct sf_table_change change = {0, 0, 0};
	struct sf_image image;
	int ret;

	sf_image_init(&image);
	ret = sf_image_local_addrs(&image);
	if (!ret)
		ret = sf_hosts_load(policy->state_dir, &hosts);
	sf_clock_now(&clock);
	if (!ret)
		ret = sf_image_source_limits(policy, &hosts, &clock, &image);
	sf_hosts_free(&hosts);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]) && !ret; i++) {
		_cleanup_close_ int fd =
			sf_pin_open(policy->pin_dir, "maps", sf_image_names[tables[i]]);
		const struct sf_table *want = &image.table[tables[i]];
		struct sf_table have;

		sf_table_init(&have, want->key_size, want->value_size);
		ret = fd < 0 ? fd : sf_table_read(fd, &have);
		if (!ret)
			ret = sf_table_write(fd, &have, want, &change);
		if (!ret && !sf_image_is_array(tables[i]))
			ret = sf_table_delete_surplus(fd, &have, want, &change);
		sf_table_free(&have);
	}
	sf_image_free(&image);
	if (!ret)
		sf_egress_limits_changed(policy->pin_dir);
	return ret;
}
