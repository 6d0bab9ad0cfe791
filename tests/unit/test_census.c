// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counting into an entry of the census, the same lines that run in the kernel: the sliding window,
 * hours and days, the sketch of destinations, what is told when, and four threads at once. The
 * tables around it are tested where they live, by tests/bpf.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <pthread.h>
#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../../bpf/lib/census.h"

#define SECOND	  1000000000ULL
#define LONG_AGO  (1000000 * SECOND) /* some time after boot */
#define SLICE_NS  (SF_SLICE_SECONDS * SECOND)
#define WALL_BASE 1750000000ULL

struct entry {
	struct sf_census_trail trail;
	__u32 fenced;
};

static void begin(struct entry *e, __u64 now_ns, __u32 warn, __u32 act)
{
	memset(e, 0x5a, sizeof(*e)); /* the slot had another owner */
	e->fenced = 0;
	sf_trail_begin(&e->trail, sf_slice_of(now_ns));
	e->trail.warn = warn;
	e->trail.act = act;
}

static __u64 mixed(__u64 x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static __u32 count(struct entry *e, __u64 now_ns, __u32 *window)
{
	__u32 ignored;

	e->fenced++;
	return sf_trail_count(&e->trail, e->fenced, now_ns, WALL_BASE + now_ns / SECOND,
			      mixed(e->fenced), window ? window : &ignored);
}

/* The window ---------------------------------------------------------------------------------- */

/* Against the plain definition: how many came in this slice and the 19 before it. */
static void window_against_a_list(__u64 start_ns, __u64 seed, bool *differs, __u64 *where)
{
	enum { MANY = 3000 };
	static __u64 when[MANY];
	__u64 now = start_ns;
	struct entry e;

	begin(&e, now, 1, 0);
	for (int n = 0; n < MANY; n++) {
		__u32 window = 0, wanted = 0;

		seed = mixed(seed);
		now += seed % 97 == 0  ? (seed >> 8) % (800 * SECOND)
		       : seed % 7 == 0 ? (seed >> 8) % (60 * SECOND)
				       : (seed >> 8) % (3 * SECOND);
		when[n] = now;
		count(&e, now, &window);
		for (int i = n; i >= 0; i--)
			wanted += sf_slice_of(now) - sf_slice_of(when[i]) < SF_WINDOW_SLICES;
		if (window != wanted ||
		    sf_trail_window(&e.trail, sf_slice_of(now), e.fenced) != wanted) {
			*differs = true;
			*where = now - start_ns;
			return;
		}
	}
}

static void window_slides(void **state)
{
	bool differs = false;
	__u64 where = 0;

	(void)state;
	for (__u64 seed = 1; seed <= 40 && !differs; seed++)
		window_against_a_list(LONG_AGO + seed * 7 * SECOND, seed, &differs, &where);
	assert_false(differs);
}

/* The first ten minutes after boot: a machine that sends spam from its crontab's @reboot. */
static void window_soon_after_boot(void **state)
{
	bool differs = false;
	__u64 where = 0;

	(void)state;
	for (__u64 seed = 1; seed <= 40 && !differs; seed++)
		window_against_a_list(seed * SECOND, seed, &differs, &where);
	if (differs)
		print_error("wrong %llu s after the first\n", (unsigned long long)(where / SECOND));
	assert_false(differs);
}

/* 600 s at most, 570 s at least, whatever the phase. */
static void window_covers_19_to_20_slices(void **state)
{
	struct entry e;

	(void)state;
	for (__u64 phase = 0; phase < SF_SLICE_SECONDS; phase++)
		for (__u64 gap = 500; gap < 700; gap++) {
			__u64 first = LONG_AGO + phase * SECOND, second = first + gap * SECOND;
			__u32 window = 0;

			begin(&e, first, 1, 0);
			count(&e, first, NULL);
			count(&e, second, &window);
			if (gap <= SF_WINDOW_SECONDS - SF_SLICE_SECONDS)
				assert_int_equal(window, 2);
			else if (gap >= SF_WINDOW_SECONDS)
				assert_int_equal(window, 1);
			else
				assert_in_range(window, 1, 2);
		}
}

/* Read by user space long after the last SYN. */
static void window_of_an_old_trail(void **state)
{
	struct entry e;
	__u32 slice = sf_slice_of(LONG_AGO);

	(void)state;
	begin(&e, LONG_AGO, 0, 0);
	for (int n = 0; n < 7; n++)
		count(&e, LONG_AGO, NULL);
	for (__u32 later = 0; later < 100; later++)
		assert_int_equal(sf_trail_window(&e.trail, slice + later, e.fenced),
				 later < SF_WINDOW_SLICES ? 7 : 0);
}

/* `fenced` is kept in 64 bits, its low 32 here. */
static void window_where_counts_wrap(void **state)
{
	__u64 now = LONG_AGO;
	struct entry e;
	__u32 window;

	(void)state;
	begin(&e, now, 0, 0);
	count(&e, now, NULL);
	e.fenced = 0xfffffff0;
	now += 700 * SECOND;
	for (__u32 n = 1; n < 100; n++) {
		count(&e, now + n * SECOND, &window);
		assert_int_equal(window, n);
	}
}

/* Hours and days ------------------------------------------------------------------------------ */

static void hours_and_days(void **state)
{
	const __u64 midnight = 20000ULL * 86400; /* of the wall clock */
	struct sf_census_trail t;
	__u32 fenced = 0, in_hour = 0, in_day = 0;
	__u64 last = 0;

	(void)state;
	sf_trail_begin(&t, 5);
	for (__u64 wall = midnight - 7200; wall < midnight + 3 * 86400; wall += 600 + wall % 991) {
		if (wall / 3600 != last / 3600)
			in_hour = 0;
		if (wall / 86400 != last / 86400)
			in_day = 0;
		last = wall;
		fenced++;
		in_hour++;
		in_day++;
		sf_trail_hours(&t, wall, fenced - 1);
		assert_int_equal(t.hour, wall / 3600);
		assert_int_equal(t.day, wall / 86400);
		assert_int_equal(fenced - t.hour_base, in_hour);
		assert_int_equal(fenced - t.day_base, in_day);
	}
	/* Set back by two hours: a new hour; the day stays where it is the same one. */
	sf_trail_hours(&t, midnight + 86400 * 2 + 7200, fenced);
	fenced += 5;
	in_day = fenced - t.day_base;
	sf_trail_hours(&t, midnight + 86400 * 2, fenced);
	assert_int_equal(t.hour_base, fenced);
	assert_int_equal(fenced - t.day_base, in_day);
	sf_trail_hours(&t, midnight - 1, fenced);
	assert_int_equal(t.day_base, fenced);
}

/* The sketch ---------------------------------------------------------------------------------- */

static unsigned reg_of(const struct sf_sketch *s, unsigned i)
{
	return (unsigned)(s->word[i / 16] >> (i % 16 * 4)) & 15;
}

/* Flajolet et al. 2007, figure 3: the raw estimate, and linear counting where it is small. */
static double estimate(const struct sf_sketch *s)
{
	const double m = SF_SKETCH_REGISTERS, alpha = 0.7213 / (1 + 1.079 / m);
	double sum = 0, raw;
	unsigned zeros = 0;

	for (unsigned i = 0; i < SF_SKETCH_REGISTERS; i++) {
		sum += ldexp(1, -(int)reg_of(s, i));
		zeros += !reg_of(s, i);
	}
	raw = alpha * m * m / sum;
	return raw <= 2.5 * m && zeros ? m * log(m / zeros) : raw;
}

/* Destinations as they are: at random, in a row, one in each /24, some in each of 16 networks. */
static __u32 destination(int pattern, __u32 n, __u32 try)
{
	switch (pattern) {
	case 0:
		return (__u32)mixed(n + try * 1000000ULL);
	case 1:
		return 0xcb000000 + n;
	case 2:
		return 0x17000000 + n * 256 + 26;
	default:
		return 0x8efa0000 + n % 16 * 65536 + n / 16 * 8;
	}
}

static void sketch_is_about_9_percent_wrong(void **state)
{
	static const unsigned sizes[] = {10, 100, 300, 500, 1000, 5000, 20000};
	enum { TRIES = 400 };
	bool wrong = false;

	(void)state;
	for (int pattern = 0; pattern < 4; pattern++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			double squares = 0, bias = 0, worst = 0;

			for (__u32 try = 0; try < TRIES; try++) {
				struct sf_sketch s = {};
				double error;

				for (__u32 n = 0; n < sizes[i]; n++) /* as the program does it */
					sf_sketch_add(
						&s,
						sf_hash(mixed(try), 0,
							(__u64)htonl(destination(pattern, n, try))
									<< 32 |
								htonl(0xffff)));
				error = estimate(&s) / sizes[i] - 1;
				squares += error * error;
				bias += error / TRIES;
				worst = fmax(worst, fabs(error));
			}
			/* Theory: 9.2 %; where the two estimates meet, at 2.5 m, a little more. */
			if (sqrt(squares / TRIES) < 0.115 && fabs(bias) < 0.05)
				continue;
			wrong = true;
			print_error("pattern %d, %6u destinations: standard error %4.1f %%, bias "
				    "%+.1f %%, worst %4.1f %%\n",
				    pattern, sizes[i], 100 * sqrt(squares / TRIES), 100 * bias,
				    100 * worst);
		}
	assert_false(wrong);
}

static void sketch_ranks(void **state)
{
	(void)state;
	for (unsigned zeros = 0; zeros <= 57; zeros++) { /* of the 57 bits after the register's */
		__u64 hash = 77ULL << 57 | (zeros < 57 ? 1ULL << (56 - zeros) : 0);
		struct sf_sketch s = {};

		sf_sketch_add(&s, hash);
		for (unsigned i = 0; i < SF_SKETCH_REGISTERS; i++)
			assert_int_equal(reg_of(&s, i), i != 77 ? 0 : zeros < 14 ? zeros + 1 : 15);
		sf_sketch_add(&s, 77ULL << 57 | 1ULL << 56); /* a smaller rank changes nothing */
		assert_int_equal(reg_of(&s, 77), zeros < 14 ? zeros + 1 : 15);
	}
}

static void sketch_repeats_and_order(void **state)
{
	struct sf_sketch once = {}, again = {};

	(void)state;
	for (__u64 n = 0; n < 1000; n++)
		sf_sketch_add(&once, mixed(n));
	for (__u64 n = 5000; n--;)
		sf_sketch_add(&again, mixed(n % 1000));
	assert_memory_equal(&once, &again, sizeof(once));
}

/* Two half hours are kept; an older one's registers are gone when its place is used again. */
static void sketch_of_each_half_hour(void **state)
{
	__u64 now = LONG_AGO - LONG_AGO % (SF_SKETCH_SECONDS * SECOND);
	struct entry e;

	(void)state;
	begin(&e, now, 0, 0);
	for (int half = 0; half < 9; half++, now += SF_SKETCH_SECONDS * SECOND) {
		__u32 number = sf_half_of(now), destinations = 20 + 5 * (__u32)half;

		for (__u32 n = 0; n < destinations; n++)
			count(&e, now + n * SECOND, NULL);
		assert_int_equal(e.trail.half[number & 1], number);
		assert_true(fabs(estimate(&e.trail.sketch[number & 1]) - destinations) <
			    0.4 * destinations);
		if (half)
			assert_int_equal(e.trail.half[~number & 1], number - 1);
	}
	/* A new owner of the slot, in the same half hour: nothing is left of the former's. */
	now -= SECOND;
	sf_trail_begin(&e.trail, sf_slice_of(now));
	e.fenced = 0;
	count(&e, now, NULL);
	assert_true(estimate(&e.trail.sketch[sf_half_of(now) & 1]) < 1.5);
	assert_int_not_equal(sf_half_of(0), 0); /* 0 stands for no half hour */
}

/* What is told -------------------------------------------------------------------------------- */

static void told_once_each(void **state)
{
	struct entry e;
	__u32 window;

	(void)state;
	begin(&e, LONG_AGO, 15, 100);
	for (__u32 n = 1; n < 300; n++) {
		__u32 level = count(&e, LONG_AGO + n * SECOND / 10, &window);

		assert_int_equal(level, n == 15 ? 1 : n == 100 ? 2 : 0);
		assert_int_equal(window, n);
	}
}

static void told_again_only_below_warn(void **state)
{
	__u64 now = LONG_AGO;
	struct entry e;
	int told = 0;

	(void)state;
	begin(&e, now, 15, 100);
	for (int n = 0; n < 120; n++)
		told += count(&e, now, NULL) != 0;
	assert_int_equal(told, 2);
	/* One every 35 s keeps 16 or 17 in the window: below act, never below warn. Not a word, nor
	 * at the next act. */
	for (int n = 0; n < 100; n++) {
		now += 35 * SECOND;
		assert_int_equal(count(&e, now, NULL), 0);
	}
	for (int n = 0; n < 120; n++)
		assert_int_equal(count(&e, now, NULL), 0);
	/* Calm for the whole window: both are told anew. */
	now += 700 * SECOND;
	for (__u32 n = 1; n < 120; n++)
		assert_int_equal(count(&e, now, NULL), n == 15 ? 1 : n == 100 ? 2 : 0);
}

/* A limit of 1 reports the first after each calm; so does any other whose window was below. */
static void told_again_at_a_limit_of_one(void **state)
{
	__u64 now = LONG_AGO;
	struct entry e;

	(void)state;
	begin(&e, now, 1, 0);
	for (int n = 0; n < 5; n++, now += 700 * SECOND) {
		assert_int_equal(count(&e, now, NULL), 1);
		assert_int_equal(count(&e, now, NULL), 0);
	}
}

static void limits_that_are_none(void **state)
{
	struct entry e;

	(void)state;
	begin(&e, LONG_AGO, 0, 0);
	for (int n = 0; n < 2000; n++)
		assert_int_equal(count(&e, LONG_AGO, NULL), 0);
	begin(&e, LONG_AGO, 0, 10); /* act alone */
	for (int n = 1; n < 50; n++)
		assert_int_equal(count(&e, LONG_AGO, NULL), n == 10 ? 2 : 0);
	begin(&e, LONG_AGO, 10, 0); /* warn alone */
	for (int n = 1; n < 50; n++)
		assert_int_equal(count(&e, LONG_AGO, NULL), n == 10 ? 1 : 0);
	begin(&e, LONG_AGO, 10, 10); /* both at once: the higher */
	for (int n = 1; n < 50; n++)
		assert_int_equal(count(&e, LONG_AGO, NULL), n == 10 ? 2 : 0);
	begin(&e, LONG_AGO, 20, 10); /* written the wrong way round */
	for (int n = 1; n < 50; n++)
		assert_int_equal(count(&e, LONG_AGO, NULL), n == 10 ? 2 : 0);
}

/* Threads ------------------------------------------------------------------------------------- */

enum { THREADS = 4, EACH = 2500000, A_SECOND = 5000 };

static struct {
	struct entry e;
	atomic_ullong clock;
	atomic_uint told[3];
	atomic_uint too_large;
} shared;

static void *count_much(void *argument)
{
	__u64 seed = (__u64)(uintptr_t)argument;

	for (int n = 0; n < EACH; n++) {
		/* The clock goes on while all count, but not far while one of them is held up. */
		__u64 now = atomic_fetch_add(&shared.clock, SECOND / A_SECOND);
		__u32 window = 0, level, fenced = __sync_fetch_and_add(&shared.e.fenced, 1) + 1;

		seed = mixed(seed);
		level = sf_trail_count(&shared.e.trail, fenced, now, WALL_BASE + now / SECOND,
				       mixed(seed % 1000), &window);
		atomic_fetch_add(&shared.told[level], 1);
		if (window > 0x7fffffff)
			atomic_fetch_add(&shared.too_large, 1);
	}
	return NULL;
}

static void four_threads(void **state)
{
	pthread_t thread[THREADS];
	__u32 slice, sum = 0, before;

	(void)state;
	begin(&shared.e, LONG_AGO, 1000, 20000);
	atomic_store(&shared.clock, LONG_AGO);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, count_much, (void *)(i + 1)), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(shared.e.fenced, THREADS * EACH);
	slice = shared.e.trail.slice;
	assert_int_not_equal(slice, SF_SLICE_BUSY);
	/* The slices of the window one by one are the window, and none is negative. */
	before = *sf_trail_base(&shared.e.trail, slice - SF_WINDOW_SLICES + 1);
	for (__u32 i = SF_WINDOW_SLICES - 1; i--;) {
		__u32 base = *sf_trail_base(&shared.e.trail, slice - i);

		/* One that counted before and came after: by as many as are at it at once. */
		assert_true((__s32)(base - before) >= -THREADS);
		sum += base - before;
		before = base;
	}
	sum += shared.e.fenced - before;
	assert_int_equal(sum, sf_trail_window(&shared.e.trail, slice, shared.e.fenced));
	/* Neither lost nor counted twice: as many as came in 570 to 600 s. */
	assert_in_range(sum, 565 * A_SECOND, 605 * A_SECOND);
	/* Who counted before the crossing and comes after it re-arms it: seldom, and told again. */
	assert_in_range(atomic_load(&shared.told[1]), 1, THREADS);
	assert_in_range(atomic_load(&shared.told[2]), 1, THREADS);
	/* A window that is read while the slice moves on is off by those at it, never below 0. */
	assert_int_equal(atomic_load(&shared.too_large), 0);
}

/*
 * After a long silence several cores count at once, and the last of them goes on to the new slice
 * first: the others' connections lie before its base. That is a window of none, not of 4 billion.
 */
static void one_that_comes_late(void **state)
{
	__u64 now = LONG_AGO + 700 * SECOND;
	struct entry e;

	(void)state;
	for (__u32 late = 1; late <= 4; late++) {
		__u32 window = 0;

		begin(&e, LONG_AGO, 15, 100);
		for (int n = 0; n < 5; n++)
			count(&e, LONG_AGO, NULL);
		assert_int_equal(sf_trail_count(&e.trail, 10, now, WALL_BASE, 1, &window), 0);
		assert_int_equal(sf_trail_count(&e.trail, 10 - late, now, WALL_BASE, 2, &window),
				 0);
		assert_true(window <= 5);
	}
}

/* Hashes -------------------------------------------------------------------------------------- */

static void tags_and_sets(void **state)
{
	(void)state;
	for (__u64 n = 0; n < 200000; n++) {
		__u64 hash = n < 4 ? n : mixed(n);

		assert_int_not_equal(sf_tag(hash), 0);
		assert_int_equal(sf_tag(hash) & SF_TAG_BUSY, 0);
		for (__u32 sets = 1; sets < 100000; sets = sets * 3 + 1) {
			assert_true(sf_set_first(hash, sets) < sets);
			assert_true(sf_set_second(hash, sets) < sets);
		}
	}
	assert_true(sf_set_first(~0ULL, 0xffffffff) < 0xffffffff);
}

/* Addresses of one network in a row must neither meet in few sets nor be too even. */
static void sets_are_even(void **state)
{
	enum { SETS = 1024, KEYS = SETS * 64 };
	static unsigned first[SETS], second[SETS];

	(void)state;
	for (int v6 = 0; v6 <= 1; v6++) {
		double chi_first = 0, chi_second = 0;

		memset(first, 0, sizeof(first));
		memset(second, 0, sizeof(second));
		for (__u32 n = 0; n < KEYS; n++) {
			__u64 low = (__u64)htonl(0x0a000000 + n) << 32;
			__u64 hash = v6 ? sf_hash(1, 0xb80d0120 | low, 0)
					: sf_hash(1, 0, 0xffff0000 | low);

			first[sf_set_first(hash, SETS)]++;
			second[sf_set_second(hash, SETS)]++;
		}
		for (int i = 0; i < SETS; i++) {
			chi_first += (first[i] - 64.0) * (first[i] - 64.0) / 64;
			chi_second += (second[i] - 64.0) * (second[i] - 64.0) / 64;
		}
		/* 1,023 degrees of freedom: 6 standard deviations of 45 */
		assert_true(chi_first < 1023 + 270);
		assert_true(chi_second < 1023 + 270);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(window_slides),
		cmocka_unit_test(window_soon_after_boot),
		cmocka_unit_test(window_covers_19_to_20_slices),
		cmocka_unit_test(window_of_an_old_trail),
		cmocka_unit_test(window_where_counts_wrap),
		cmocka_unit_test(hours_and_days),
		cmocka_unit_test(sketch_is_about_9_percent_wrong),
		cmocka_unit_test(sketch_ranks),
		cmocka_unit_test(sketch_repeats_and_order),
		cmocka_unit_test(sketch_of_each_half_hour),
		cmocka_unit_test(told_once_each),
		cmocka_unit_test(told_again_only_below_warn),
		cmocka_unit_test(told_again_at_a_limit_of_one),
		cmocka_unit_test(limits_that_are_none),
		cmocka_unit_test(four_threads),
		cmocka_unit_test(one_that_comes_late),
		cmocka_unit_test(tags_and_sets),
		cmocka_unit_test(sets_are_even),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
