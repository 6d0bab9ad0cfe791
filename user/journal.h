/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entries with fields for systemd's journal, by its native protocol: sd_journal_sendv waits for a
 * journal that is busy, and is silent about one that is not there; the daemon may do neither.
 */
#ifndef SF_USER_JOURNAL_H
#define SF_USER_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

#define SF_JOURNAL_SOCKET "/run/systemd/journal/socket"

struct sf_journal {
	const char *path;
	int fd;
	int failing;   /* the last entry was not taken */
	uint64_t lost; /* entries, not told yet: the caller tells, and sets it to 0 */
};

void sf_journal_init(struct sf_journal *journal, const char *path);
void sf_journal_close(struct sf_journal *journal);
/* "NAME=value" each; no newline may stand in them. 0, or a negative errno and `lost` counts it. */
int sf_journal_send(struct sf_journal *journal, const char *const *fields, size_t count);

#endif
