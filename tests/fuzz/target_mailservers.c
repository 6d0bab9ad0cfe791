// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mail servers below a root directory: unit files and their drop-ins, init scripts, passwd, /proc.
 * What is found is a right that `on` gives: a path that no configuration would take must not come
 * out.
 */
#include "fuzz.h"
#include "../../maps/abi.h"
#include "../../user/cgroup.h"
#include "../../user/mailservers.h"
#include "../../user/units.h"

/* A setting is whole, or it is not there: a cut path is another path. */
static void check_setting(const char *root)
{
	static const char unit[] = "postfix.service";
	char file[4096] = "", whole[2048], cut[24];

	sf_unit_file(root, unit, file, sizeof(file));
	sf_unit_setting(root, unit, file, "Slice", whole, sizeof(whole));
	sf_unit_setting(root, unit, file, "Slice", cut, sizeof(cut));
	PROPERTY(!cut[0] || !strcmp(whole, cut));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *root = fuzz_tree((struct fuzz_part){data, size});
	struct sf_mail_server list[8];
	struct sf_error err = {.code = 0};
	size_t count = 0;

	check_setting(root);
	if (sf_mail_servers_find(root, list, 8, &count, &err)) {
		PROPERTY(err.text[0]);
		return 0;
	}
	PROPERTY(count <= 8);
	for (size_t i = 0; i < count; i++) {
		const struct sf_mail_server *s = &list[i];

		PROPERTY(s->name && (s->installed || s->running));
		PROPERTY(!s->path[0] || !sf_cgroup_path_fault(s->path));
		PROPERTY(!s->installed || s->path[0] == '/');
		PROPERTY(strcmp(s->path, "/") != 0);
		PROPERTY(s->user_count <= SF_MAIL_USERS_MAX);
		PROPERTY(sf_mail_fit_text(s->fit)[0]);
		PROPERTY(s->fit != SF_MAIL_FITS ||
			 !strncmp(s->running_cgroup, s->path, strlen(s->path)));
	}
	return 0;
}
