// SPDX-License-Identifier: GPL-2.0-only
/*
 * /proc of a process and the mount table, of any bytes: `@ 42/status`, `@ 42/cgroup`, `@ 42/ns/mnt
 * -> x`, `@ mountinfo`. The absolute paths of the product lead into the tree.
 */
#include "fuzz.h"
#include "../../user/cgroup.h"
#include "../../user/explain.h"
#include "../../user/procs.h"
#include <limits.h>

static const char *root;

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode)
{
	char name[PATH_MAX];

	if (root && !strcmp(path, "/proc/self/mountinfo"))
		snprintf(name, sizeof(name), "%s/mountinfo", root);
	else if (root && !strncmp(path, "/proc/", 6))
		snprintf(name, sizeof(name), "%s/%s", root, path + 6);
	else
		snprintf(name, sizeof(name), "%s", path);
	return __real_fopen(name, mode);
}

static void check_path(const char *path)
{
	char unit[24], container[24], whole[2][1024];

	sf_explain_cgroup(path, whole[0], sizeof(whole[0]), whole[1], sizeof(whole[1]));
	sf_explain_cgroup(path, unit, sizeof(unit), container, sizeof(container));
	PROPERTY(!strncmp(unit, whole[0], strlen(unit)));
	PROPERTY(!whole[0][0] || strstr(path, whole[0]));
	PROPERTY(!whole[1][0] || strstr(path, whole[1]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char proc[128], mount[PATH_MAX] = "", path[300] = "", text[64];
	struct sf_error err = {.code = 0};
	struct sf_proc p;
	size_t n;

	root = fuzz_tree((struct fuzz_part){data, size});
	snprintf(proc, sizeof(proc), "%s/42", root);
	sf_proc_look(root, proc, &p);
	PROPERTY(memchr(p.cgroup, '\0', sizeof(p.cgroup)) && !strchr(p.cgroup, '\n'));
	n = sf_proc_read(proc, "cmdline", text, sizeof(text));
	PROPERTY(n < sizeof(text) && !text[n]);
	if (!sf_proc_link(proc, "exe", text, sizeof(text)))
		PROPERTY(text[0] && strlen(text) < sizeof(text));
	if (!sf_cgroup_of_pid(42, path, sizeof(path))) {
		PROPERTY(strlen(path) < sizeof(path));
		check_path(path);
	}
	if (!sf_cgroup_mount(mount, sizeof(mount), &err))
		PROPERTY(mount[0] == '/');
	else
		PROPERTY(err.code < 0 && fuzz_is_clean(err.text));
	return 0;
}
