// SPDX-License-Identifier: GPL-2.0-only
/* The short way of ordinary packets (plain.h) takes nothing that the parser sees otherwise. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <linux/types.h>
#include <cmocka.h>
#include "../../bpf/lib/plain.h"

#define FRAMES 500000

static __u64 state_of_random = 88172645463325252ULL; /* xorshift64: the same frames each time */

static __u32 any(__u32 below)
{
	state_of_random ^= state_of_random << 13;
	state_of_random ^= state_of_random >> 7;
	state_of_random ^= state_of_random << 17;
	return (__u32)(state_of_random >> 33) % below;
}

/* Random bytes, with headers that are right more often than not. */
static void make_frame(__u8 *b, size_t size, __u32 link)
{
	int v6 = (int)any(2);
	__u32 o = link;

	for (size_t i = 0; i < size; i++)
		b[i] = (__u8)any(256);
	if (link) {
		if (!any(6)) {
			b[12] = 0x81;
			b[13] = 0;
			o += 4;
		}
		b[o - 2] = v6 ? 0x86 : 0x08;
		b[o - 1] = any(30) ? (v6 ? 0xdd : 0) : 0x06;
	}
	if (!any(20))
		v6 = !v6;
	if (any(15))
		b[o] = v6 ? 0x60 : 0x45;
	if (v6) {
		b[o + 4] = 0;
		b[o + 5] = (__u8)any(40);
		b[o + 6] = any(5) ? 6 : 17;
	} else {
		b[o + 2] = 0;
		b[o + 3] = (__u8)any(80);
		b[o + 6] = any(8) ? b[o + 6] & 0xc0 : b[o + 6];
		b[o + 7] = any(8) ? 0 : b[o + 7];
		b[o + 9] = any(5) ? 6 : 17;
	}
	if (any(10))
		b[o + (v6 ? 40 : 20) + 12] = (__u8)(0x50 + (any(256) & 0xa0));
}

static void agrees_with_the_parser(void **state)
{
	int taken = 0, others = 0, tagged = 0;

	(void)state;
	for (int n = 0; n < FRAMES; n++) {
		__u32 link = any(2) ? 14 : 0, length = link + any(90);
		struct sf_packet mine = {.flags = 0}, parsed = {.flags = 0};
		struct sf_plain_at at;
		enum sf_outcome outcome;
		enum sf_plain plain;
		__u8 bytes[128], *frame;

		make_frame(bytes, sizeof(bytes), link);
		frame = malloc(length ? length : 1); /* its end is the end, to a sanitizer */
		assert_non_null(frame);
		memcpy(frame, bytes, length);
		memset(&mine, 0, sizeof(mine));
		memset(&parsed, 0, sizeof(parsed));
		plain = sf_plain(frame, frame + length, link, &at);
		outcome = sf_parse(frame, frame + length, link, &parsed);
		if (plain == SF_PLAIN_NO_TCP) {
			assert_int_equal(outcome, SF_PARSED_OTHER);
			others++;
		} else if (plain == SF_PLAIN_TCP) {
			assert_int_equal(outcome, SF_PARSED_TCP);
			assert_int_equal(at.tcp[13], parsed.flags);
			if (at.tagged) {
				tagged++;
			} else {
				sf_packet_addresses(frame, frame + length, &parsed);
				sf_plain_take(&at, link, &mine);
				assert_memory_equal(&mine, &parsed, sizeof(mine));
				taken++;
			}
		}
		free(frame);
	}
	/* All three ways were gone. */
	assert_true(taken > 10000 && others > 1000 && tagged > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_the_parser)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
