/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counting into an entry of the census: window, hours, sketch, limits. No map, no helper, no clock
 * in here, so that `smtpfence replay` and the unit tests run the same lines in user space.
 */
#ifndef SF_BPF_CENSUS_H
#define SF_BPF_CENSUS_H

#include "../../maps/census.h"
#include "decide.h" /* SF_PURE */

/* 64 bits of two words and a seed, ended by MurmurHash3's finishing steps (public domain). */
SF_PURE __u64 sf_hash(__u64 seed, __u64 a, __u64 b)
{
	__u64 h = (a ^ seed) * 0x9e3779b97f4a7c15ULL;

	h = (h ^ h >> 32) + b;
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdULL;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ULL;
	return h ^ h >> 33;
}

/* Never 0 (free), never SF_TAG_BUSY set. */
SF_PURE __u64 sf_tag(__u64 hash)
{
	return (hash | 2) & ~SF_TAG_BUSY;
}

/* The two sets that a key may lie in, of `sets`. */
SF_PURE __u32 sf_set_first(__u64 hash, __u32 sets)
{
	return (__u32)(((hash & 0xffffffff) * sets) >> 32);
}

SF_PURE __u32 sf_set_second(__u64 hash, __u32 sets)
{
	return (__u32)(((hash >> 32) * sets) >> 32);
}

SF_PURE __u32 sf_slice_of(__u64 now_ns)
{
	/* A window's length ahead, so that none begins before 0 soon after the boot. */
	return (__u32)(now_ns / (SF_SLICE_SECONDS * 1000000000ULL)) + SF_WINDOW_SLICES;
}

SF_PURE __u32 sf_half_of(__u64 now_ns)
{
	return (__u32)(now_ns / (SF_SKETCH_SECONDS * 1000000000ULL)) + 1; /* 0: no half hour */
}

/* What a time means to a trail: divisions, so the programs do them once a jiffy. */
struct sf_moment {
	__u32 slice, half;
	__u32 hour; /* of the wall clock, UTC */
};

SF_PURE struct sf_moment sf_moment_of(__u64 now_ns, __u64 wall_s)
{
	return (struct sf_moment){sf_slice_of(now_ns), sf_half_of(now_ns), (__u32)(wall_s / 3600)};
}

/* A slice's place in the ring of bases. The barriers keep the bound where the verifier sees it. */
SF_PURE __u32 *sf_trail_base(struct sf_census_trail *t, __u32 slice)
{
	__u64 i = slice % SF_WINDOW_SLICES;

	asm volatile("" : "+r"(i));
	if (i >= SF_WINDOW_SLICES)
		i = 0;
	asm volatile("" : "+r"(i));
	return &t->base[i];
}

/* A trail for an entry that was just claimed; the sketches are cleared where they are first used.
 */
SF_PURE void sf_trail_begin(struct sf_census_trail *t, __u32 slice)
{
	t->slice = slice;
	t->told = 0;
	t->warn = t->act = t->limits = t->class = 0;
	t->hour = t->hour_base = t->day = t->day_base = 0;
	t->half[0] = t->half[1] = 0;
	for (int i = 0; i < SF_WINDOW_SLICES; i++)
		t->base[i] = 0;
}

/*
 * Go on to slice `now`, where `fenced` was counted before it. One of those who come at once does
 * it; returns 0 where another is at it right now, and the window can't be trusted for a moment.
 */
SF_PURE int sf_trail_advance(struct sf_census_trail *t, __u32 now, __u32 fenced)
{
	__u32 old = *(volatile __u32 *)&t->slice, steps;

	if (old == now)
		return 1;
	if (old == SF_SLICE_BUSY || (__s32)(now - old) < 0 ||
	    __sync_val_compare_and_swap(&t->slice, old, SF_SLICE_BUSY) != old)
		return 0;
	steps = now - old;
	for (__u32 i = 0; i < SF_WINDOW_SLICES; i++) {
		if (i >= steps)
			break;
		*sf_trail_base(t, now - i) = fenced;
	}
	*(volatile __u32 *)&t->slice = now;
	return 1;
}

/* Connections in the window that ends in slice `now`, of a trail that may be older. */
SF_PURE __u32 sf_trail_window(struct sf_census_trail *t, __u32 now, __u32 fenced)
{
	__u32 first = now - (SF_WINDOW_SLICES - 1), window;

	if ((__s32)(t->slice - first) < 0)
		return 0;
	window = fenced - *sf_trail_base(t, first);
	/* Another core that counted after us may have begun the slice: ours lies before its base.
	 */
	return (__s32)window < 0 ? 0 : window;
}

/* Wall clock's hour and day. They begin anew also where the clock was set back. */
SF_PURE void sf_trail_hour(struct sf_census_trail *t, __u32 hour, __u32 fenced)
{
	__u32 day;

	if (t->hour == hour)
		return;
	day = hour / 24;
	t->hour = hour;
	t->hour_base = fenced;
	if (t->day != day) {
		t->day = day;
		t->day_base = fenced;
	}
}

SF_PURE void sf_trail_hours(struct sf_census_trail *t, __u64 wall_s, __u32 fenced)
{
	sf_trail_hour(t, (__u32)(wall_s / 3600), fenced);
}

/* Enter a destination's hash. Up to 16 at once may try one word; a lost try is repeated. */
SF_PURE void sf_sketch_add(struct sf_sketch *s, __u64 hash)
{
	__u32 reg = (__u32)(hash >> 57), shift = (reg & 15) * 4;
	__u64 rest = hash << 7 | 64, *word = &s->word[(reg >> 4) & (SF_SKETCH_WORDS - 1)];
	__u64 rank = 1;

	/* 1 + leading zeros, at most 15 of them kept: 4 bits a register */
#ifdef __bpf__
	if (!(rest >> 56)) {
		rank += 8;
		rest <<= 8;
	}
	if (!(rest >> 60)) {
		rank += 4;
		rest <<= 4;
	}
	if (!(rest >> 62)) {
		rank += 2;
		rest <<= 2;
	}
	if (!(rest >> 63))
		rank += 1;
#else
	rank += (__u64)__builtin_clzll(rest);
#endif
	if (rank > 15)
		rank = 15;
	for (int i = 0; i < 4; i++) {
		__u64 old = *(volatile __u64 *)word;

		if (((old >> shift) & 15) >= rank)
			return;
		if (__sync_val_compare_and_swap(word, old,
						(old & ~(15ULL << shift)) | rank << shift) == old)
			return;
	}
}

/* The sketch of this half hour, cleared if it was of an older one. */
SF_PURE struct sf_sketch *sf_trail_sketch(struct sf_census_trail *t, __u32 half)
{
	__u32 i = half & 1, old = t->half[i];

	if (old != half && __sync_val_compare_and_swap(&t->half[i], old, half) == old)
		for (int w = 0; w < SF_SKETCH_WORDS; w++)
			t->sketch[i].word[w] = 0;
	return &t->sketch[i];
}

SF_PURE __u32 sf_trail_level(const struct sf_census_trail *t, __u32 window)
{
	return t->act && window >= t->act ? 2 : t->warn && window >= t->warn ? 1 : 0;
}

/*
 * One more new connection to a fenced port, as the `fenced`th of this entry (counted already).
 * Returns the level that is crossed by it: 0 none, 1 warn, 2 act; *window is set where it is.
 */
SF_PURE __u32 sf_trail_count_at(struct sf_census_trail *t, __u32 fenced,
				const struct sf_moment *now, __u64 destination_hash, __u32 *window)
{
	__u32 slice = now->slice, level, told;

	sf_sketch_add(sf_trail_sketch(t, now->half), destination_hash);
	sf_trail_hour(t, now->hour, fenced - 1);
	if (!sf_trail_advance(t, slice, fenced - 1))
		return 0;
	*window = sf_trail_window(t, slice, fenced);
	if (*(volatile __u32 *)&t->slice != slice)
		return 0; /* the base that was read may be of the next slice */
	level = sf_trail_level(t, *window);
	told = *(volatile __u32 *)&t->told;
	/* It was below warn just before: then this is another crossing. */
	if (told && !sf_trail_level(t, *window - 1)) {
		__sync_val_compare_and_swap(&t->told, told, 0);
		told = 0;
	}
	if (level <= told)
		return 0;
	return __sync_val_compare_and_swap(&t->told, told, level) == told ? level : 0;
}

SF_PURE __u32 sf_trail_count(struct sf_census_trail *t, __u32 fenced, __u64 now_ns, __u64 wall_s,
			     __u64 destination_hash, __u32 *window)
{
	const struct sf_moment now = sf_moment_of(now_ns, wall_s);

	return sf_trail_count_at(t, fenced, &now, destination_hash, window);
}

#endif
