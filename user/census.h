/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reading the census: the tables of sources and senders, with the denials of the process fence
 * joined to the senders. Tables are mapped piece by piece, for mapped pages count as the reader's
 * memory.
 */
#ifndef SF_USER_CENSUS_H
#define SF_USER_CENSUS_H

#include "detect/engine.h"
#include "error.h"
#include "table.h"

/* One table: its three maps, open, and how many slots they have. */
struct sf_census_table {
	int heads, counts, trails;
	size_t slots;
};

struct sf_census {
	struct sf_census_table sources, senders;
	struct sf_census_settings settings;
	struct sf_table denials; /* struct sf_denial_key, struct sf_denial; sorted */
	uint64_t now_ns;	 /* CLOCK_BOOTTIME when it was opened */
	int64_t wall;		 /* seconds since 1970 */
};

/* What the census counted by cause (enum sf_census_counter), SF_CENSUS_COUNTER_MAX places; else
 * zeros. */
void sf_census_counters(const char *pin_dir, uint64_t *counter);

/* Descriptors and clocks; cheap, but for a large table of denials. -ENOENT: no census runs. Release
 * with sf_census_close. */
int sf_census_open(const char *pin_dir, struct sf_census *census, struct sf_error *err);
void sf_census_close(struct sf_census *census);

/*
 * Each entry that was seen at `since_ns` (CLOCK_BOOTTIME) or later, 0: all. Senders that were only
 * ever denied come too. `each` returns non-zero to stop. Only `tally` is given; it is not kept.
 */
void sf_census_sources(struct sf_census *census, uint64_t since_ns,
		       int (*each)(void *context, const struct sf_tally *tally), void *context);
void sf_census_senders(struct sf_census *census, uint64_t since_ns,
		       int (*each)(void *context, const struct sf_tally *tally), void *context);
/* One of them by its key; -ENOENT where it is not in the table. */
int sf_census_find(struct sf_census *census, const struct sf_who *who, struct sf_tally *tally);

/*
 * Attempts that nobody answered for SF_SILENCE_NS are settled as silent: the kernel does that only
 * where it needs the place. Returns how many.
 */
int sf_census_settle(const char *pin_dir, struct sf_census *census);

/* The busiest destinations of a source or sender among the attempts that are remembered. */
struct sf_destination {
	struct sf_addr addr;
	uint32_t count;
};

/* Up to `max` of them, the busiest first; how many there are. */
size_t sf_census_destinations(const char *pin_dir, struct sf_census *census,
			      const struct sf_who *who, struct sf_destination *out, size_t max);

/* "192.0.2.1", "2001:db8::/64": a source's key as text. */
void sf_census_source_text(const struct sf_census_key *key,
			   const struct sf_census_settings *settings, char *out, size_t size);
/* "web1 /system.slice/php.service": a sender's; escaped. `mount`: of cgroup v2. */
void sf_census_sender_text(const struct sf_census_key *key, const char *mount, char *out,
			   size_t size);

extern const char *const sf_census_counter_names[SF_CENSUS_COUNTER_COUNT];

#endif
