// SPDX-License-Identifier: GPL-2.0-only
#include "gateway_work.h"
#include "fence.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void gateway_work_init(struct gateway_work *w, const struct sf_policy *policy)
{
	memset(w, 0, sizeof(*w));
	w->policy = policy;
	for (int i = 0; i < SF_GATEWAY_MAP_COUNT; i++)
		w->map[i] = -1;
	for (int i = 0; i < SF_GATEWAY_PROGRAM_COUNT; i++)
		w->program[i] = -1;
	sf_table_init(&w->nets, sizeof(struct sf_customer_net_key), sizeof(uint32_t));
	sf_table_init(&w->hosts, sizeof(struct sf_net_key), sizeof(struct sf_mail_host));
	sf_table_init(&w->bound, sizeof(struct sf_customer_net_key), sizeof(uint32_t));
}

void gateway_work_free(struct gateway_work *w)
{
	gateway_close_pins(w);
	sf_table_free(&w->nets);
	sf_table_free(&w->hosts);
	sf_table_free(&w->bound);
	sf_customers_free(&w->customers);
}

void sf_gateway_remove(const char *pin_dir)
{
	gateway_sweep(pin_dir, NULL);
	gateway_unpin(pin_dir);
}

/* Programs and tables in the kernel, pinned and open; 1: other ones than stood there before. */
static int load_if_needed(struct gateway_work *w, const struct sf_loaded *fence,
			  const struct sf_census_settings *settings, int replace,
			  struct sf_error *err)
{
	struct sf_census_maps census;
	struct sf_census_settings own;
	int ret = 0, missing, lost;

	sf_census_maps_init(&census);
	/* Both are opened in any case: what is there is taken over. */
	missing = gateway_open_pins(w);
	lost = sf_census_maps_open(w->policy->pin_dir, &census);
	if ((missing && missing != -ENOENT) || (lost && lost != -ENOENT)) {
		ret = missing && missing != -ENOENT ? missing : lost;
		sf_census_maps_close(&census);
		return sf_fail(err, ret, "can't open the gateway's pins: %s; they stay as they are",
			       strerror(-ret));
	}
	if (lost) {
		sf_census_maps_recover(w->policy, &census);
		gateway_recover_census(w, &census);
	}
	if (!missing && !lost && !replace && gateway_programs_fit(w, fence, &census)) {
		sf_census_maps_close(&census);
		return 0;
	}
	if (!settings) {
		sf_image_census(w->policy, &own);
		settings = &own;
	}
	ret = gateway_load(w, fence, &census, settings, err);
	sf_census_maps_close(&census);
	return ret ? ret : 1;
}

/* `settings` NULL: to be made here if they are needed. */
static int bring_up(struct gateway_work *w, const struct sf_loaded *fence,
		    const struct sf_census_settings *settings, int replace, struct sf_error *err)
{
	int ret = sf_customers_find(w->policy, &w->customers), fresh, lists;

	if (!ret)
		ret = gateway_lists_want(w);
	if (ret)
		return sf_fail(err, ret, "can't list the customers' interfaces: %s",
			       strerror(-ret));
	fresh = load_if_needed(w, fence, settings, replace, err);
	if (fresh < 0)
		return fresh;
	/* Lists that do not fit leave some without their right, not the interfaces without a fence.
	 */
	lists = gateway_lists_write(w);
	ret = gateway_attach(w, fresh, err);
	if (!ret && !lists)
		lists = gateway_enter_covered(w);
	gateway_sweep(w->policy->pin_dir, &w->customers);
	gateway_forget_others(w);
	if (!ret && lists)
		ret = sf_fail(err, lists, "not all of the gateway's lists are in the kernel: %s",
			      lists == -E2BIG || lists == -ENOSPC
				      ? "they are full; see LIMITS in smtpfence.conf(5)"
				      : strerror(-lists));
	return ret;
}

static int apply(const struct sf_policy *policy, const struct sf_loaded *fence,
		 const struct sf_census_settings *settings, int replace,
		 struct sf_gateway_restored *restored, struct sf_error *err)
{
	struct gateway_work w;
	int ret;

	if (!sf_customers_wanted(policy)) {
		sf_gateway_remove(policy->pin_dir);
		return 0;
	}
	gateway_work_init(&w, policy);
	ret = sf_pins_prepare(policy->pin_dir, err);
	if (!ret)
		ret = bring_up(&w, fence, settings, replace, err);
	*restored = w.restored;
	gateway_work_free(&w);
	return ret;
}

int sf_gateway_apply(const struct sf_policy *policy, const struct sf_loaded *fence,
		     const struct sf_census_settings *settings, int replace, struct sf_error *err)
{
	struct sf_gateway_restored restored;

	return apply(policy, fence, settings, replace, &restored, err);
}

int sf_gateway_refresh(const struct sf_policy *policy, struct sf_gateway_restored *restored,
		       struct sf_error *err)
{
	struct sf_loaded fence;
	int ret;

	restored->count = 0;
	if (policy->mode == SF_MODE_OFF || !sf_customers_wanted(policy))
		return 0;
	sf_loaded_init(&fence);
	ret = sf_loader_open_maps(policy->pin_dir, &fence, err);
	if (!ret)
		ret = apply(policy, &fence, NULL, 0, restored, err);
	sf_loaded_close(&fence);
	return ret == -ENOENT ? 0 : ret;
}

/* What stands on each interface, into the status; the lists were compared before. */
static void read_places(const struct gateway_work *w, struct sf_gateway_status *status)
{
	for (size_t i = 0; i < w->customers.count; i++) {
		const struct sf_customer_link *link = &w->customers.link[i];
		struct sf_gateway_place *place = &status->place[i];

		gateway_place_read(link, w->map[SF_GATEWAY_MAP_CUSTOMERS], place);
		if (gateway_is_fenced(link) && (!place->how || !place->answers || !place->listed))
			status->whole = 0;
	}
}

int sf_gateway_read(const struct sf_policy *policy, struct sf_gateway_status *status)
{
	struct gateway_work w;
	int ret;

	memset(status, 0, sizeof(*status));
	status->whole = 1;
	if (!sf_customers_wanted(policy))
		return 0;
	gateway_work_init(&w, policy);
	ret = sf_customers_find(policy, &w.customers);
	if (!ret)
		ret = gateway_lists_want(&w);
	if (!ret)
		status->place = calloc(w.customers.count + 1, sizeof(*status->place));
	if (!ret && !status->place)
		ret = -ENOMEM;
	if (!ret) {
		gateway_open_pins(&w);
		status->lists_differ = gateway_lists_differ(&w);
		status->whole = !status->lists_differ;
		read_places(&w, status);
		status->customers = w.customers;
		memset(&w.customers, 0, sizeof(w.customers));
	}
	gateway_work_free(&w);
	return ret;
}

void sf_gateway_status_free(struct sf_gateway_status *status)
{
	sf_customers_free(&status->customers);
	free(status->place);
	status->place = NULL;
}
