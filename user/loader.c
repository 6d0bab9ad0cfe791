// SPDX-License-Identifier: GPL-2.0-only
#include "loader.h"
#include "cleanup.h"
#include "connect.skel.h"
#include "roles.skel.h"
#include "tables.skel.h"
#include "../maps/abi.h"
#include "../maps/settings.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

/* libbpf explains itself through one function: keep the last of it for the error's text. */
static _Thread_local char last_words[512];

static int keep_words(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[512];

	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(line, sizeof(line), format, args);
	/* The verifier's whole log comes as one: its end says what it refused. */
	if (strlen(line) > 0 && !strstr(line, "-- END PROG LOAD LOG --")) {
		line[strcspn(line, "\n")] = '\0';
		snprintf(last_words, sizeof(last_words), "%s", line);
	}
	return 0;
}

void sf_loaded_init(struct sf_loaded *loaded)
{
	memset(loaded, 0, sizeof(*loaded));
	for (int i = 0; i < SF_MAP_COUNT; i++)
		loaded->map[i] = -1;
	for (int i = 0; i < SF_HOOK_COUNT; i++)
		loaded->program[i] = -1;
}

void sf_loaded_close(struct sf_loaded *loaded)
{
	for (int i = 0; i < SF_MAP_COUNT; i++)
		if (loaded->map[i] >= 0)
			close(loaded->map[i]);
	for (int i = 0; i < SF_HOOK_COUNT; i++)
		if (loaded->program[i] >= 0)
			close(loaded->program[i]);
	sf_loaded_init(loaded);
}

/*
 * A map's pin can be gone while its program lives on: the pinned link leads to the program, and
 * that to its maps by id. So counters and roles are kept even then.
 */
static int map_of_link(const char *pin_dir, const char *name)
{
	_cleanup_close_ int link = sf_pin_open(pin_dir, "links", "connect4");
	_cleanup_close_ int program = -1;
	struct bpf_link_info link_info = {};
	struct bpf_prog_info info = {};
	__u32 ids[64], len = sizeof(link_info);

	/* Only what is not there is -ENOENT: a shortage must not read as "no map", see fence.c. */
	if (link < 0)
		return link;
	if (bpf_obj_get_info_by_fd(link, &link_info, &len))
		return -errno;
	program = bpf_prog_get_fd_by_id(link_info.prog_id);
	if (program < 0)
		return -errno;
	info.nr_map_ids = sizeof(ids) / sizeof(ids[0]);
	info.map_ids = (__u64)(uintptr_t)ids;
	len = sizeof(info);
	if (bpf_obj_get_info_by_fd(program, &info, &len))
		return -errno;
	for (__u32 i = 0; i < info.nr_map_ids && i < sizeof(ids) / sizeof(ids[0]); i++) {
		int fd = bpf_map_get_fd_by_id(ids[i]);
		struct bpf_map_info map = {};

		if (fd < 0 && errno != ENOENT)
			return -errno;
		len = sizeof(map);
		/* The kernel keeps 15 bytes of a name. */
		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &map, &len) &&
		    !strncmp(map.name, name, BPF_OBJ_NAME_LEN - 1))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return -ENOENT;
}

static int check_abi(const char *pin_dir, int settings_fd, struct sf_error *err)
{
	struct sf_settings settings = {.abi = 0};
	struct bpf_map_info info = {};
	__u32 zero = 0, len = sizeof(info);

	if (!bpf_obj_get_info_by_fd(settings_fd, &info, &len) &&
	    info.value_size == sizeof(settings) &&
	    !bpf_map_lookup_elem(settings_fd, &zero, &settings) &&
	    (settings.abi == SF_ABI_VERSION || settings.abi == 0))
		return 0;
	return sf_fail(err, -EPROTO,
		       "the state pinned in %s is of ABI version %u, this program's is %u: run "
		       "`smtpfence off`, then `smtpfence on`",
		       pin_dir, settings.abi, SF_ABI_VERSION);
}

int sf_loader_open_maps(const char *pin_dir, struct sf_loaded *loaded, struct sf_error *err)
{
	int missing = 0;

	for (int i = 0; i < SF_MAP_COUNT; i++) {
		int fd = sf_pin_open(pin_dir, "maps", sf_map_names[i]);

		if (fd == -EACCES || fd == -EPERM)
			return sf_fail(err, fd, "can't open %s/maps/%s: %s; this needs root",
				       pin_dir, sf_map_names[i], strerror(-fd));
		if (fd == -ENOENT)
			fd = map_of_link(pin_dir, sf_map_names[i]);
		if (fd < 0 && fd != -ENOENT)
			return sf_fail(err, fd, "can't open %s/maps/%s: %s; nothing was changed",
				       pin_dir, sf_map_names[i], strerror(-fd));
		if (fd < 0)
			missing = 1;
		else
			loaded->map[i] = fd;
	}
	if (loaded->map[SF_MAP_SETTINGS] >= 0) {
		int ret = check_abi(pin_dir, loaded->map[SF_MAP_SETTINGS], err);

		if (ret)
			return ret;
	}
	return missing ? -ENOENT : 0;
}

/* Is an open map the one that the object wants, so that it can be taken over? */
static int fits(int fd, const struct bpf_map *map)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	return !bpf_obj_get_info_by_fd(fd, &info, &len) && info.type == bpf_map__type(map) &&
	       info.key_size == bpf_map__key_size(map) &&
	       info.value_size == bpf_map__value_size(map) &&
	       info.max_entries == bpf_map__max_entries(map);
}

static int take_fd(int *slot, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (copy < 0)
		return -errno;
	if (*slot >= 0)
		close(*slot);
	*slot = copy;
	return 0;
}

/* Pinned ones that fit are taken over, others made anew. */
static int make_maps(struct sf_loaded *loaded, struct tables_bpf *skel, unsigned int max_roles)
{
	int ret = 0;

	memset(loaded->fresh, 0, sizeof(loaded->fresh));
	bpf_map__set_max_entries(skel->maps.role_paths, max_roles);
	bpf_map__set_max_entries(skel->maps.roles, max_roles);
	for (int i = 0; i < SF_MAP_COUNT && !ret; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(skel->obj, sf_map_names[i]);

		if (!map)
			ret = -ENOENT;
		else if (loaded->map[i] >= 0 && fits(loaded->map[i], map))
			ret = bpf_map__reuse_fd(map, loaded->map[i]);
		else
			loaded->fresh[i] = 1;
	}
	return ret ? ret : tables_bpf__load(skel);
}

int sf_loader_share_maps(const struct sf_loaded *loaded, struct bpf_object *object)
{
	int ret = 0;

	for (int i = 0; i < SF_MAP_COUNT && !ret; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, sf_map_names[i]);

		if (map)
			ret = bpf_map__reuse_fd(map, loaded->map[i]);
	}
	return ret;
}

static int load_connect(const struct sf_loaded *loaded, struct connect_bpf **out)
{
	struct connect_bpf *skel = connect_bpf__open();
	int ret;

	if (!skel)
		return -errno;
	skel->rodata->can_set_errno = (__u8)loaded->can_set_errno;
	skel->rodata->typed_pointers = (__u8)loaded->typed_pointers;
	skel->rodata->can_mark = (__u8)loaded->can_mark;
	skel->rodata->capture_texts = (__u8)loaded->can_capture;
	ret = sf_loader_share_maps(loaded, skel->obj);
	if (!ret)
		ret = connect_bpf__load(skel);
	if (ret) {
		connect_bpf__destroy(skel);
		return ret;
	}
	*out = skel;
	return 0;
}

static int load_roles(const struct sf_loaded *loaded, struct roles_bpf **out)
{
	struct roles_bpf *skel = roles_bpf__open();
	int ret;

	if (!skel)
		return -errno;
	ret = sf_loader_share_maps(loaded, skel->obj);
	if (!ret)
		ret = roles_bpf__load(skel);
	if (ret) {
		roles_bpf__destroy(skel);
		return ret;
	}
	*out = skel;
	return 0;
}

static int explain_failure(int ret, struct sf_error *err)
{
	if (ret == -EPERM || ret == -EACCES)
		return sf_fail(err, ret,
			       "the kernel refused the programs: %s (%s); this needs root "
			       "(CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON)",
			       strerror(-ret), last_words);
	if (ret == -ENOMEM)
		return sf_fail(err, ret,
			       "the kernel has no memory for the maps; lower max_roles, or "
			       "raise the memory limit of this service");
	return sf_fail(err, ret, "the kernel refused the programs: %s (%s); see `smtpfence doctor`",
		       strerror(-ret), last_words);
}

int sf_loader_make_maps(const char *pin_dir, unsigned int max_roles, struct sf_loaded *loaded,
			struct sf_error *err)
{
	struct tables_bpf *skel;
	int ret;

	if (access("/sys/kernel/btf/vmlinux", R_OK))
		return sf_fail(
			err, -ENOENT,
			"this kernel shows no BTF (/sys/kernel/btf/vmlinux): smtpfence needs "
			"Linux 5.10 or later built with CONFIG_DEBUG_INFO_BTF=y");
	ret = sf_loader_open_maps(pin_dir, loaded, err);
	if (ret && ret != -ENOENT)
		return ret;
	libbpf_set_print(keep_words);
	last_words[0] = '\0';
	skel = tables_bpf__open();
	ret = skel ? make_maps(loaded, skel, max_roles) : -errno;
	if (ret) {
		tables_bpf__destroy(skel);
		return explain_failure(ret, err);
	}
	for (int i = 0; i < SF_MAP_COUNT && !ret; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(skel->obj, sf_map_names[i]);

		ret = take_fd(&loaded->map[i], bpf_map__fd(map));
	}
	tables_bpf__destroy(skel);
	return ret ? sf_fail(err, ret, "out of file descriptors") : 0;
}

/* What newer kernels have, tried first; then less. The floor is 5.10. */
static const struct {
	int set_errno, typed, capture, mark;
} attempts[] = {{1, 1, 1, 1}, {0, 1, 1, 1}, {1, 0, 1, 1}, {0, 0, 1, 1}, {0, 0, 1, 0}, {0, 0, 0, 0}};

static int attempt(struct sf_loaded *loaded, size_t i, struct connect_bpf **out)
{
	loaded->can_set_errno = attempts[i].set_errno;
	loaded->typed_pointers = attempts[i].typed;
	loaded->can_capture = attempts[i].capture;
	loaded->can_mark = attempts[i].mark;
	return load_connect(loaded, out);
}

static int take_programs(struct sf_loaded *loaded, const struct connect_bpf *connect,
			 const struct roles_bpf *roles)
{
	int ret = 0;

	for (int i = 0; i < SF_HOOK_COUNT && !ret; i++) {
		struct bpf_program *program =
			bpf_object__find_program_by_name(connect->obj, sf_hooks[i].program);

		if (!program)
			program = bpf_object__find_program_by_name(roles->obj, sf_hooks[i].program);
		ret = take_fd(&loaded->program[i], bpf_program__fd(program));
	}
	return ret;
}

struct beside {
	const struct sf_loaded *loaded;
	struct roles_bpf *roles;
	int ret;
};

static void *load_beside(void *context)
{
	struct beside *b = context;

	b->ret = load_roles(b->loaded, &b->roles);
	return NULL;
}

int sf_loader_load_at_once(struct sf_loaded *loaded)
{
	struct beside beside = {.loaded = loaded};
	struct connect_bpf *connect = NULL;
	pthread_t thread;
	int ret = -pthread_create(&thread, NULL, load_beside, &beside);

	if (ret)
		return ret;
	ret = attempt(loaded, 0, &connect);
	pthread_join(thread, NULL);
	if (!ret)
		ret = beside.ret;
	if (!ret)
		ret = take_programs(loaded, connect, beside.roles);
	connect_bpf__destroy(connect);
	roles_bpf__destroy(beside.roles);
	return ret;
}

int sf_loader_load(struct sf_loaded *loaded, struct sf_error *err)
{
	struct connect_bpf *connect = NULL;
	struct roles_bpf *roles = NULL;
	int ret = -EINVAL;

	last_words[0] = '\0';
	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		ret = attempt(loaded, i, &connect);
		if (!ret || ret == -ENOMEM || ret == -EPERM)
			break;
	}
	if (ret)
		return explain_failure(ret, err);
	ret = load_roles(loaded, &roles);
	if (ret) {
		connect_bpf__destroy(connect);
		return explain_failure(ret, err);
	}
	ret = take_programs(loaded, connect, roles);
	connect_bpf__destroy(connect);
	roles_bpf__destroy(roles);
	return ret ? sf_fail(err, ret, "out of file descriptors") : 0;
}
