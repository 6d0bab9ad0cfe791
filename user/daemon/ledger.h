/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From the kernel's counts, which only grow, to the history's hours: the difference to what was
 * written already. Pure.
 */
#ifndef SF_USER_LEDGER_H
#define SF_USER_LEDGER_H

#include "../history.h"

/*
 * What came since `total` was written, into `delta` (who and hour are the caller's); `total` is
 * then as it is to be written with it. 0: nothing came.
 */
int ledger_delta(struct sf_history_total *total, const struct sf_tally *tally,
		 struct sf_hour *delta);

#endif
