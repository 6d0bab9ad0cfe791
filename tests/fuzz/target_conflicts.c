// SPDX-License-Identifier: GPL-2.0-only
/* Other tools' files below a root directory: csf.conf, asl, imunify360, cPanel. */
#include "fuzz.h"
#include "../../user/conflicts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sf_conflict found[SF_CONFLICTS_MAX];
	struct sf_error err = {.code = 0};
	size_t count = 0;

	if (sf_conflicts_find(fuzz_tree((struct fuzz_part){data, size}), found, SF_CONFLICTS_MAX,
			      &count, &err))
		return 0;
	PROPERTY(count <= SF_CONFLICTS_MAX);
	for (size_t i = 0; i < count; i++)
		PROPERTY(found[i].tool && fuzz_is_clean(found[i].what) &&
			 fuzz_is_clean_utf8(found[i].where) && fuzz_is_clean(found[i].mend));
	return 0;
}
