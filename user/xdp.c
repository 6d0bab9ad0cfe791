// SPDX-License-Identifier: GPL-2.0-only
#include "xdp.h"
#include "cleanup.h"
#include "pins.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>

static void pin_name(char *out, size_t size, int ifindex)
{
	snprintf(out, size, "gw-%d", ifindex);
}

/* Our pinned link, if it lives at this interface. */
static int open_link(const char *pin_dir, int ifindex)
{
	char name[32];
	struct bpf_link_info info = {};
	__u32 len = sizeof(info);
	int fd;

	pin_name(name, sizeof(name), ifindex);
	fd = sf_pin_open(pin_dir, "links", name);
	if (fd < 0)
		return fd;
	/* An interface that went leaves a link to nothing; its number may be another's now. */
	if (bpf_obj_get_info_by_fd(fd, &info, &len) || info.type != BPF_LINK_TYPE_XDP ||
	    info.xdp.ifindex != (__u32)ifindex) {
		close(fd);
		return -ENOLINK;
	}
	return fd;
}

int sf_xdp_attach(const char *pin_dir, int ifindex, int program_fd, int generic,
		  struct sf_error *err)
{
	DECLARE_LIBBPF_OPTS(bpf_link_create_opts, options,
			    .flags = generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
	_cleanup_close_ int link = open_link(pin_dir, ifindex);
	char name[32];

	if (link >= 0 && !bpf_link_update(link, program_fd, NULL))
		return 0;
	if (link >= 0)
		close(link);
	link = bpf_link_create(program_fd, ifindex, BPF_XDP, &options);
	if (link < 0)
		return -errno;
	pin_name(name, sizeof(name), ifindex);
	return sf_pin_replace(pin_dir, "links", name, link, err);
}

void sf_xdp_detach(const char *pin_dir, int ifindex)
{
	_cleanup_close_ int link = open_link(pin_dir, ifindex);
	char name[32];

	pin_name(name, sizeof(name), ifindex);
	if (link >= 0)
		bpf_link_detach(link);
	sf_pin_remove(pin_dir, "links", name);
}
