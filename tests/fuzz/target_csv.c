// SPDX-License-Identifier: GPL-2.0-only
/* `smtpfence replay` of a CSV: lines, counting, the engine, its alarms. */
#include "replay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	replay(fuzz_file(0, (struct fuzz_part){data, size}));
	return 0;
}
