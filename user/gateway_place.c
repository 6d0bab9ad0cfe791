// SPDX-License-Identifier: GPL-2.0-only
#include "gateway_work.h"
#include "cleanup.h"
#include "tc.h"
#include "xdp.h"
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int sf_gateway_wants_xdp(const struct sf_policy *policy, const struct sf_customer_link *link)
{
	if (link->raw_ip || policy->gateway_hook == SF_GATEWAY_TC)
		return 0;
	/* On a veth an XDP program costs 800 ns a packet, TC ingress next to nothing (6.18). */
	return policy->gateway_hook != SF_GATEWAY_AUTO || !link->kind[0];
}

static const char *in_program(const struct sf_customer_link *link)
{
	return sf_gateway_program_names[link->raw_ip ? SF_GATEWAY_PROGRAM_IN_IP
						     : SF_GATEWAY_PROGRAM_IN];
}

static const char *out_program(const struct sf_customer_link *link)
{
	return sf_gateway_program_names[link->raw_ip ? SF_GATEWAY_PROGRAM_OUT_IP
						     : SF_GATEWAY_PROGRAM_OUT];
}

/* Is a program id ours by name? Others' stand at the same hooks. */
static int is_ours(uint32_t program_id, const char *name)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(program_id);
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) &&
	       !strncmp(info.name, name, BPF_OBJ_NAME_LEN - 1);
}

static int has_our_xdp(const struct sf_customer_link *link)
{
	return link->xdp_id &&
	       is_ours(link->xdp_id, sf_gateway_program_names[SF_GATEWAY_PROGRAM_XDP]);
}

/* The new place stands before the old one is left. */
static int attach_in(struct gateway_work *w, const struct sf_customer_link *link,
		     struct sf_error *err)
{
	const char *pin_dir = w->policy->pin_dir;
	int program = w->program[link->raw_ip ? SF_GATEWAY_PROGRAM_IN_IP : SF_GATEWAY_PROGRAM_IN];
	int generic = w->policy->gateway_hook == SF_GATEWAY_GENERIC, ret = 0;

	if (sf_gateway_wants_xdp(w->policy, link)) {
		/* An interface has one mode at a time: TC stands in while ours is exchanged. */
		if (has_our_xdp(link) && link->xdp_is_native == generic) {
			ret = sf_tc_attach(pin_dir, link->ifindex, SF_GATEWAY_IN, program, err);
			if (!ret)
				sf_xdp_detach(pin_dir, link->ifindex);
		}
		if (!ret && !sf_xdp_attach(pin_dir, link->ifindex,
					   w->program[SF_GATEWAY_PROGRAM_XDP], generic, NULL)) {
			sf_tc_detach(pin_dir, link->ifindex, SF_GATEWAY_IN);
			return 0;
		}
	}
	if (!ret)
		ret = sf_tc_attach(pin_dir, link->ifindex, SF_GATEWAY_IN, program, err);
	if (!ret)
		sf_xdp_detach(pin_dir, link->ifindex);
	return ret;
}

static int attach_one(struct gateway_work *w, const struct sf_customer_link *link,
		      struct sf_error *err)
{
	int ret = attach_in(w, link, err);

	if (!ret)
		ret = sf_tc_attach(w->policy->pin_dir, link->ifindex, SF_GATEWAY_OUT,
				   w->program[link->raw_ip ? SF_GATEWAY_PROGRAM_OUT_IP
							   : SF_GATEWAY_PROGRAM_OUT],
				   err);
	return ret;
}

void gateway_place_read(const struct sf_customer_link *link, int customers_fd,
			struct sf_gateway_place *place)
{
	struct sf_tc_state state;
	struct sf_customer row;
	__u32 key = (__u32)link->ifindex;

	memset(place, 0, sizeof(*place));
	sf_tc_read(link->ifindex, SF_GATEWAY_OUT, out_program(link), &state);
	place->answers = state.in_effect;
	place->listed = customers_fd >= 0 && !bpf_map_lookup_elem(customers_fd, &key, &row) &&
			(row.flags & SF_CUSTOMER_COUNTED) &&
			!(row.flags & SF_CUSTOMER_NETS) == !link->has_networks;
	if (has_our_xdp(link)) {
		place->how = link->xdp_is_native ? "xdp" : "xdpgeneric";
		place->program_id = link->xdp_id;
		return;
	}
	sf_tc_read(link->ifindex, SF_GATEWAY_IN, in_program(link), &state);
	if (state.in_effect) {
		place->how = state.tcx ? "tcx" : "clsact";
		place->program_id = state.program_id;
	}
}

/* Does the place that is in effect agree with the policy's wish, as far as it can be had? */
static int place_is_right(const struct gateway_work *w, const struct sf_customer_link *link,
			  int *taken_off)
{
	struct sf_gateway_place place;

	gateway_place_read(link, w->map[SF_GATEWAY_MAP_CUSTOMERS], &place);
	*taken_off = place.listed && (!place.how || !place.answers);
	if (!place.how || !place.answers || !place.listed)
		return 0;
	if (!sf_gateway_wants_xdp(w->policy, link))
		return place.how[0] != 'x';
	if (w->policy->gateway_hook == SF_GATEWAY_AUTO) /* native, else TC */
		return strcmp(place.how, "xdpgeneric") != 0;
	return !strcmp(place.how,
		       w->policy->gateway_hook == SF_GATEWAY_GENERIC ? "xdpgeneric" : "xdp");
}

int gateway_attach(struct gateway_work *w, int replace, struct sf_error *err)
{
	int ret = 0;

	for (size_t i = 0; i < w->customers.count; i++) {
		const struct sf_customer_link *link = &w->customers.link[i];
		int one, taken_off = 0;

		if (!gateway_is_fenced(link) || (!replace && place_is_right(w, link, &taken_off)))
			continue;
		one = gateway_enter(w, link, 0);
		if (!one)
			one = attach_one(w, link, err);
		if (!one)
			one = gateway_enter(w, link, 1);
		if (!one && taken_off && !w->restored.count++)
			snprintf(w->restored.first, sizeof(w->restored.first), "%s", link->name);
		/* One that went meanwhile is no fault; one that fails keeps none of the others. */
		if (one && one != -ENODEV && !ret)
			ret = err && err->code ? one
					       : sf_fail(err, one, "can't fence interface %s: %s",
							 link->name, strerror(-one));
	}
	return ret;
}

static void detach(const char *pin_dir, int ifindex)
{
	sf_xdp_detach(pin_dir, ifindex);
	sf_tc_detach(pin_dir, ifindex, SF_GATEWAY_IN);
	sf_tc_detach(pin_dir, ifindex, SF_GATEWAY_OUT);
}

/* The interface that a pin of ours speaks of, or 0. */
static int pinned_ifindex(const char *name)
{
	static const char *const forms[] = {"gw-%d%c", "gwin-%d%c", "gwout-%d%c"};
	int ifindex;
	char rest;

	for (size_t f = 0; f < sizeof(forms) / sizeof(forms[0]); f++)
		if (sscanf(name, forms[f], &ifindex, &rest) == 1)
			return ifindex;
	return 0;
}

/* By our pins; their names are taken first, as detaching removes them. */
static void sweep_pins(const char *pin_dir, const struct sf_customers *keep)
{
	int *found = NULL;
	size_t count = 0;
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/links", pin_dir);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		int ifindex = pinned_ifindex(entry->d_name), *more;

		if (!ifindex || (keep && gateway_find_link(keep, ifindex)))
			continue;
		more = reallocarray(found, count + 1, sizeof(*found));
		if (!more)
			break;
		found = more;
		found[count++] = ifindex;
	}
	if (dir)
		closedir(dir);
	for (size_t i = 0; i < count; i++)
		detach(pin_dir, found[i]);
	free(found);
}

void gateway_sweep(const char *pin_dir, const struct sf_customers *keep)
{
	struct if_nameindex *all;

	sweep_pins(pin_dir, keep);
	if (!sf_tc_uses_filters())
		return;
	all = if_nameindex();
	for (struct if_nameindex *i = all; i && i->if_index; i++)
		if (!(keep && gateway_find_link(keep, (int)i->if_index)) &&
		    (sf_tc_has_filter((int)i->if_index, SF_GATEWAY_IN) ||
		     sf_tc_has_filter((int)i->if_index, SF_GATEWAY_OUT)))
			detach(pin_dir, (int)i->if_index);
	if_freenameindex(all);
}

int sf_gateway_has(const char *pin_dir, uint32_t ifindex)
{
	_cleanup_close_ int fd =
		sf_pin_open(pin_dir, "maps", sf_gateway_map_names[SF_GATEWAY_MAP_CUSTOMERS]);
	struct sf_customer row;

	return fd >= 0 && ifindex && !bpf_map_lookup_elem(fd, &ifindex, &row);
}
