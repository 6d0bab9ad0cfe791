// SPDX-License-Identifier: GPL-2.0-only
#include "tc.h"
#include "cleanup.h"
#include "pins.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* include/uapi/linux/bpf.h of 6.6; headers of older distributions lack them. */
#define TCX_INGRESS   46
#define TCX_EGRESS    47
#define LINK_TYPE_TCX 11

/* Ours among the filters of a clsact qdisc: "SF", as an uplink; "SG", as a customer's interface. */
#define UPLINK_FILTER  0x5346
#define GATEWAY_FILTER 0x5347

struct tcx_info { /* of struct bpf_link_info, after type, id, prog_id */
	uint32_t ifindex;
	uint32_t attach_type;
};

static const char *const pin_prefix[] = {
	[SF_EGRESS] = "out",
	[SF_INGRESS] = "in",
	[SF_GATEWAY_OUT] = "gwout",
	[SF_GATEWAY_IN] = "gwin",
};

static void pin_name(char *out, size_t size, int ifindex, enum sf_direction direction)
{
	snprintf(out, size, "%s-%d", pin_prefix[direction], ifindex);
}

static int is_out(enum sf_direction direction)
{
	return direction == SF_EGRESS || direction == SF_GATEWAY_OUT;
}

static uint32_t filter_number(enum sf_direction direction)
{
	return direction == SF_EGRESS || direction == SF_INGRESS ? UPLINK_FILTER : GATEWAY_FILTER;
}

/* Our pinned TCX link, if it lives at this interface. */
static int open_link(const char *pin_dir, int ifindex, enum sf_direction direction)
{
	char name[32];
	struct bpf_link_info info = {};
	struct tcx_info tcx;
	__u32 len = sizeof(info);
	int fd;

	pin_name(name, sizeof(name), ifindex, direction);
	fd = sf_pin_open(pin_dir, "links", name);
	if (fd < 0)
		return fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) || info.type != LINK_TYPE_TCX) {
		close(fd);
		return -ENOLINK;
	}
	memcpy(&tcx, (char *)&info + offsetof(struct bpf_link_info, cgroup), sizeof(tcx));
	/* An interface that went leaves a link to nothing; its number may be another's now. */
	if (tcx.ifindex != (uint32_t)ifindex) {
		close(fd);
		return -ENOLINK;
	}
	return fd;
}

static int attach_tcx(const char *pin_dir, int ifindex, enum sf_direction direction, int program_fd,
		      struct sf_error *err)
{
	_cleanup_close_ int link = open_link(pin_dir, ifindex, direction);
	char name[32];

	if (link >= 0 && !bpf_link_update(link, program_fd, NULL))
		return 0;
	if (link >= 0)
		close(link);
	link = bpf_link_create(program_fd, ifindex, is_out(direction) ? TCX_EGRESS : TCX_INGRESS,
			       NULL);
	if (link < 0)
		return -errno;
	pin_name(name, sizeof(name), ifindex, direction);
	return sf_pin_replace(pin_dir, "links", name, link, err);
}

static enum bpf_tc_attach_point point(enum sf_direction direction)
{
	return is_out(direction) ? BPF_TC_EGRESS : BPF_TC_INGRESS;
}

static int attach_clsact(int ifindex, enum sf_direction direction, int program_fd)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex,
			    .attach_point = point(direction));
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = filter_number(direction),
			    .priority = filter_number(direction), .prog_fd = program_fd,
			    .flags = BPF_TC_F_REPLACE);
	int ret = bpf_tc_hook_create(&hook);

	if (ret && ret != -EEXIST)
		return ret;
	return bpf_tc_attach(&hook, &opts);
}

/* What is not there (a qdisc, a filter) is an answer here, nothing to print. */
static void be_quiet(void)
{
	libbpf_set_print(NULL);
}

int sf_tc_attach(const char *pin_dir, int ifindex, enum sf_direction direction, int program_fd,
		 struct sf_error *err)
{
	int ret;

	be_quiet();
	ret = attach_tcx(pin_dir, ifindex, direction, program_fd, err);

	/* What this kernel does not know it calls invalid. */
	if (ret == -EINVAL || ret == -EOPNOTSUPP)
		ret = attach_clsact(ifindex, direction, program_fd);
	if (ret && err && !err->code)
		return sf_fail(err, ret, "can't attach to TC %s of interface %d: %s",
			       is_out(direction) ? "egress" : "ingress", ifindex, strerror(-ret));
	return ret;
}

/* The clsact filter with our handle, or 0. */
static uint32_t clsact_program(int ifindex, enum sf_direction direction)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex,
			    .attach_point = point(direction));
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = filter_number(direction),
			    .priority = filter_number(direction));

	return bpf_tc_query(&hook, &opts) ? 0 : opts.prog_id;
}

/* A program whose name begins so; 15 bytes are a whole name. */
static int name_begins(uint32_t program_id, const char *name)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(program_id);
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) &&
	       !strncmp(info.name, name, strlen(name));
}

static int is_named(uint32_t program_id, const char *name)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(program_id);
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) &&
	       !strncmp(info.name, name, BPF_OBJ_NAME_LEN - 1);
}

#define LOOPBACK 1 /* LOOPBACK_IFINDEX of the kernel: in every network namespace */

int sf_tc_uses_filters(void)
{
	__u32 count = 0;

	be_quiet();
	return bpf_prog_query(LOOPBACK, TCX_INGRESS, 0, NULL, NULL, &count) != 0;
}

int sf_tc_has_filter(int ifindex, enum sf_direction direction)
{
	uint32_t id;

	be_quiet();
	id = clsact_program(ifindex, direction);
	return id && name_begins(id, "smtpfence_");
}

void sf_tc_detach(const char *pin_dir, int ifindex, enum sf_direction direction)
{
	_cleanup_close_ int link = open_link(pin_dir, ifindex, direction);
	char name[32];
	uint32_t id;

	be_quiet();
	pin_name(name, sizeof(name), ifindex, direction);
	if (link >= 0)
		bpf_link_detach(link);
	sf_pin_remove(pin_dir, "links", name);
	id = clsact_program(ifindex, direction);
	if (id && name_begins(id, "smtpfence_")) {
		DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex,
				    .attach_point = point(direction));
		DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = filter_number(direction),
				    .priority = filter_number(direction));

		/* The qdisc stays: others may have come to it. */
		bpf_tc_detach(&hook, &opts);
	}
}

#define PROGRAM_MAPS 64

/* The ids of the maps that a program uses; how many. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the kernel writes them */
static __u32 maps_of(uint32_t program_id, __u32 *ids)
{
	_cleanup_close_ int program = bpf_prog_get_fd_by_id(program_id);
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	info.nr_map_ids = PROGRAM_MAPS;
	info.map_ids = (__u64)(uintptr_t)ids;
	if (program < 0 || bpf_obj_get_info_by_fd(program, &info, &len))
		return 0;
	return info.nr_map_ids < PROGRAM_MAPS ? info.nr_map_ids : PROGRAM_MAPS;
}

static int uses_map(uint32_t program_id, uint32_t map_id)
{
	__u32 ids[PROGRAM_MAPS], count = map_id ? maps_of(program_id, ids) : 0;

	for (__u32 i = 0; i < count; i++)
		if (ids[i] == map_id)
			return 1;
	return !map_id;
}

uint32_t sf_tc_pinned_program(const char *pin_dir, int ifindex, enum sf_direction direction)
{
	_cleanup_close_ int link = open_link(pin_dir, ifindex, direction);
	struct bpf_link_info info = {};
	__u32 len = sizeof(info);

	return link >= 0 && !bpf_obj_get_info_by_fd(link, &info, &len) ? info.prog_id : 0;
}

int sf_tc_program_map(uint32_t program_id, const char *name)
{
	__u32 ids[PROGRAM_MAPS], count = maps_of(program_id, ids);

	for (__u32 i = 0; i < count; i++) {
		int fd = bpf_map_get_fd_by_id(ids[i]);
		struct bpf_map_info map = {};
		__u32 len = sizeof(map);

		/* The kernel keeps 15 bytes of a name. */
		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &map, &len) &&
		    !strncmp(map.name, name, BPF_OBJ_NAME_LEN - 1))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return -ENOENT;
}

int sf_tc_read_with(int ifindex, enum sf_direction direction, const char *program, uint32_t map_id,
		    struct sf_tc_state *state)
{
	__u32 ids[64], count = sizeof(ids) / sizeof(ids[0]), id;

	be_quiet();
	memset(state, 0, sizeof(*state));
	if (!bpf_prog_query(ifindex, is_out(direction) ? TCX_EGRESS : TCX_INGRESS, 0, NULL, ids,
			    &count)) {
		for (__u32 i = 0; i < count; i++) {
			if (!is_named(ids[i], program) || !uses_map(ids[i], map_id))
				continue;
			state->in_effect = state->tcx = 1;
			state->program_id = ids[i];
			return 0;
		}
	}
	id = clsact_program(ifindex, direction);
	if (id && is_named(id, program) && uses_map(id, map_id)) {
		state->in_effect = 1;
		state->program_id = id;
	}
	return 0;
}

int sf_tc_read(int ifindex, enum sf_direction direction, const char *program,
	       struct sf_tc_state *state)
{
	return sf_tc_read_with(ifindex, direction, program, 0, state);
}

void sf_tc_each_pin(const char *pin_dir, void (*each)(void *context, int ifindex), void *context)
{
	char path[PATH_MAX];
	struct dirent *entry;
	int found[256], ifindex;
	size_t count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/links", pin_dir);
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir)) && count < sizeof(found) / sizeof(found[0]))
		/* NOLINTNEXTLINE(cert-err34-c): a name that we made; another fits no interface */
		if (sscanf(entry->d_name, "out-%d", &ifindex) == 1 ||
		    /* NOLINTNEXTLINE(cert-err34-c): as above */
		    sscanf(entry->d_name, "in-%d", &ifindex) == 1)
			found[count++] = ifindex;
	closedir(dir);
	for (size_t i = 0; i < count; i++)
		each(context, found[i]);
}
