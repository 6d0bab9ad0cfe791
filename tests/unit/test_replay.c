// SPDX-License-Identifier: GPL-2.0-only
/* Replay: lines and packets, well formed and not; attempts and answers; the trace's own clock. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pcap/pcap.h>
#include <cmocka.h>
#include "../../user/replay.h"

static struct sf_replay_event event;

static int csv(const char *text)
{
	char line[1024];
	const char *why = NULL;
	int ret;

	snprintf(line, sizeof(line), "%s", text);
	ret = sf_replay_csv_line(line, &event, &why);
	assert_true((ret < 0) == (why != NULL));
	return ret;
}

static void lines(void **state)
{
	(void)state;
	assert_int_equal(csv(""), 1);
	assert_int_equal(csv("  # a remark, with, commas"), 1);
	assert_int_equal(csv("time,source,destination,port,flags"), 1);
	assert_int_equal(csv("12.25,192.0.2.1,198.51.100.7,25,S"), 0);
	assert_int_equal(event.time_ns, 12250000000ULL);
	assert_int_equal(event.source.b[15], 1);
	assert_int_equal(event.source.b[11], 0xff);
	assert_int_equal(event.dport, 25);
	assert_int_equal(event.what, SF_REPLAY_SYN);
	assert_false(event.has_sender);
	assert_int_equal(csv(" 1 , 2001:db8::1 ,::1,587, SA , 33, /a,b/c \r"), 0);
	assert_int_equal(event.what, SF_REPLAY_ANSWERED);
	assert_true(event.has_sender);
	assert_int_equal(event.uid, 33);
	assert_string_equal(event.cgroup, "/a,b/c");
	assert_int_equal(csv("1.0000000019,1.2.3.4,1.2.3.5,25,R,,"), 0);
	assert_int_equal(event.time_ns, 1000000001ULL);
	assert_false(event.has_sender);
}

static void malformed_lines(void **state)
{
	static const char *const bad[] = {
		"1,1.2.3.4,1.2.3.5,25",
		"x,1.2.3.4,1.2.3.5,25,S",
		"-1,1.2.3.4,1.2.3.5,25,S",
		"1.2.3,1.2.3.4,1.2.3.5,25,S",
		"1e9,1.2.3.4,1.2.3.5,25,S",
		"99999999999,1.2.3.4,1.2.3.5,25,S",
		"1,1.2.3,1.2.3.5,25,S",
		"1,1.2.3.4,1.2.3.5.6,25,S",
		"1,1.2.3.4,1.2.3.5,0,S",
		"1,1.2.3.4,1.2.3.5,65536,S",
		"1,1.2.3.4,1.2.3.5,25x,S",
		"1,1.2.3.4,1.2.3.5,25,X",
		"1,1.2.3.4,1.2.3.5,25,S,-1",
		"1,1.2.3.4,1.2.3.5,25,S,4294967296",
		",,,,",
		"\x1b[2J",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (csv(bad[i]) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
}

/* A SYN from 192.0.2.1:4000 to 198.51.100.7:25 behind what stands in front of it. */
static size_t packet(uint8_t *out, const uint8_t *link, size_t link_length, int options)
{
	size_t n = link_length, header = 20 + (size_t)options * 4;

	memcpy(out, link, link_length);
	memset(out + n, 0, header + 20);
	out[n] = (uint8_t)(0x40 | header / 4);
	out[n + 3] = (uint8_t)(header + 20);
	out[n + 9] = 6;
	memcpy(out + n + 12, (const uint8_t[]){192, 0, 2, 1, 198, 51, 100, 7}, 8);
	n += header;
	memcpy(out + n, (const uint8_t[]){0x0f, 0xa0, 0, 25, 1, 2, 3, 4}, 8);
	out[n + 12] = 0x50;
	out[n + 13] = 0xc2; /* SYN, ECE, CWR */
	return n + 20;
}

static void is_that_syn(int link, const uint8_t *data, size_t length)
{
	assert_int_equal(sf_replay_packet(link, data, length, &event), 0);
	assert_int_equal(event.what, SF_REPLAY_SYN);
	assert_int_equal(event.sport, 4000);
	assert_int_equal(event.dport, 25);
	assert_int_equal(event.seq, 0x01020304);
	assert_int_equal(event.source.b[12], 192);
	assert_int_equal(event.destination.b[15], 7);
	/* Cut anywhere: never read beyond, never taken for another. */
	for (size_t n = 0; n + 6 < length; n++) {
		uint8_t *exact = malloc(n + !n);

		memcpy(exact, data, n);
		assert_true(sf_replay_packet(link, exact, n, &event) != 0);
		free(exact);
	}
}

static void packets(void **state)
{
	static const uint8_t ether[] = {1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 8, 0};
	static const uint8_t qinq[] = {1, 2,	3,    4, 5, 6,	  1,	2, 3, 4, 5,
				       6, 0x88, 0xa8, 0, 9, 0x81, 0x00, 0, 5, 8, 0};
	static const uint8_t sll[16] = {[14] = 8};
	static const uint8_t sll2[20] = {8};
	uint8_t data[256], six[256] = {0x60}, *at;
	size_t n;

	(void)state;
	for (int options = 0; options <= 10; options += 5) {
		is_that_syn(DLT_EN10MB, data, packet(data, ether, sizeof(ether), options));
		is_that_syn(DLT_EN10MB, data, packet(data, qinq, sizeof(qinq), options));
		is_that_syn(DLT_LINUX_SLL, data, packet(data, sll, sizeof(sll), options));
		is_that_syn(DLT_LINUX_SLL2, data, packet(data, sll2, sizeof(sll2), options));
		is_that_syn(DLT_RAW, data, packet(data, ether, 0, options));
	}
	/* IPv6 behind hop-by-hop, destination options (16 bytes) and a first fragment. */
	six[6] = 0;
	six[23] = 1;
	six[39] = 2;
	at = six + 40;
	at[0] = 60;
	at[8] = 44;
	at[9] = 1;
	at[24] = 6;
	at[27] = 1; /* offset 0, more fragments */
	packet(data, ether, 0, 0);
	memcpy(at + 32, data + 20, 20);
	n = 40 + 32 + 20;
	assert_int_equal(sf_replay_packet(DLT_RAW, six, n, &event), 0);
	assert_int_equal(event.dport, 25);
	assert_int_equal(event.source.b[15], 1);
	at[27] = 9; /* a later fragment */
	assert_int_equal(sf_replay_packet(DLT_RAW, six, n, &event), 1);
	/* An answer: from there to here, and it acknowledges the SYN. */
	n = packet(data, ether, sizeof(ether), 0);
	data[14 + 20 + 13] = 0x12;
	memcpy(data + 14 + 20 + 8, (const uint8_t[]){0, 0, 0, 8}, 4);
	assert_int_equal(sf_replay_packet(DLT_EN10MB, data, n, &event), 0);
	assert_int_equal(event.what, SF_REPLAY_ANSWERED);
	assert_int_equal(event.dport, 4000);
	assert_int_equal(event.seq, 7);
	assert_int_equal(event.source.b[12], 198);
}

static void noise(void **state)
{
	uint8_t data[128];
	uint64_t x = 1;

	(void)state;
	for (int i = 0; i < 300000; i++) {
		static const int links[] = {DLT_EN10MB,	    DLT_RAW,  DLT_LINUX_SLL,
					    DLT_LINUX_SLL2, DLT_NULL, 9999};
		size_t n = packet(data, (const uint8_t[14]){[12] = 8}, 14, 0);

		for (int k = 0; k < 4; k++) {
			x = x * 6364136223846793005ULL + 1442695040888963407ULL;
			data[(x >> 33) % n] = (uint8_t)(x >> 25);
		}
		sf_replay_packet(links[(x >> 40) % 6], data, n - (x >> 50) % n, &event);
	}
}

static int alarms[SF_RULE_COUNT];
static struct sf_tally last;

static void on_alarm(void *context, const struct sf_replay_alarm *a)
{
	(void)context;
	assert_non_null(a->who);
	if (a->alarm->raised)
		alarms[a->alarm->rule]++;
	last = a->alarm->tally;
}

static struct sf_replay *replay;

static void start(void)
{
	struct sf_replay_options o;

	sf_replay_options_default(&o);
	memset(alarms, 0, sizeof(alarms));
	assert_int_equal(sf_replay_new(&o, on_alarm, NULL, &replay), 0);
}

static struct sf_replay_totals finish(void)
{
	struct sf_replay_totals totals;

	sf_replay_end(replay, &totals);
	sf_replay_free(replay);
	return totals;
}

static void feed(const char *format, ...)
{
	char line[256];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	assert_int_equal(csv(line), 0);
	sf_replay_event(replay, &event);
}

static void answers_and_silence(void **state)
{
	struct sf_replay_totals totals;

	(void)state;
	start();
	for (int i = 0; i < 12; i++) {
		feed("%d.0,10.0.0.1,192.0.2.%d,25,S", 1000 + i, i);
		if (i % 3)
			feed("%d.1,10.0.0.1,192.0.2.%d,25,%s", 1000 + i, i,
			     i % 3 == 1 ? "SA" : "R");
		else
			feed("%d.9,10.0.0.1,192.0.2.%d,25,ST", 1000 + i, i);
	}
	feed("1012.0,10.0.0.1,192.0.2.99,80,S");  /* not fenced */
	feed("1013.0,10.0.0.1,192.0.2.98,25,SA"); /* an answer to nothing */
	feed("1100.0,10.0.0.1,192.0.2.50,25,S");
	feed("1100.0,10.0.0.1,192.0.2.51,25,S");
	feed("1100.0,10.0.0.1,192.0.2.52,25,S"); /* the fifteenth */
	totals = finish();
	assert_int_equal(totals.fenced, 15);
	assert_int_equal(alarms[SF_RULE_FIRST], 1);
	assert_int_equal(alarms[SF_RULE_NEWCOMER], 1);
	assert_int_equal(alarms[SF_RULE_RATE_WARN], 1);
	assert_int_equal(last.answered, 4);
	assert_int_equal(last.refused, 4);
	assert_int_equal(last.silent, 4);
	assert_int_equal(last.retransmitted, 4);
	assert_int_equal(last.syn, 20);
}

static void its_own_clock(void **state)
{
	struct sf_replay_totals totals;

	(void)state;
	/* Years of nothing take no time; a clock that goes back neither. */
	start();
	feed("1000,10.0.0.1,192.0.2.1,25,S");
	feed("4000000000,10.0.0.1,192.0.2.1,25,S");
	feed("5,10.0.0.1,192.0.2.1,25,S");
	totals = finish();
	assert_int_equal(totals.late, 1);
	assert_int_equal(totals.fenced, 3);
	assert_int_equal(totals.last, 4000000000LL);
}

static void a_thousand_after_ten_a_day(void **state)
{
	const int day = 86400, first = 19700 * day;

	(void)state;
	start();
	for (int d = 0; d < 10; d++)
		for (int i = 0; i < 10; i++)
			feed("%d,10.0.0.1,192.0.2.1,25,S", first + d * day + 30000 + i * 3000);
	assert_int_equal(alarms[SF_RULE_HISTORY], 0);
	for (int i = 0; i < 1000; i++) {
		feed("%d,10.0.0.1,192.0.2.1,25,S", first + 10 * day + i * 80);
		feed("%d,10.0.0.1,192.0.2.1,25,SA", first + 10 * day + i * 80);
	}
	finish();
	assert_true(alarms[SF_RULE_HISTORY] >= 1);
	assert_int_equal(alarms[SF_RULE_FIRST], 1);
}

/* More attempts at once than are followed: what gives way is untracked, and nothing is lost. */
static void too_many_attempts(void **state)
{
	struct sf_replay_totals totals;

	(void)state;
	start();
	for (int i = 0; i < 300000; i++) {
		event = (struct sf_replay_event){.time_ns = 1000000000000ULL + (uint64_t)i * 1000,
						 .dport = 25,
						 .sport = 1,
						 .seq = (uint32_t)i << 17};
		event.source.b[10] = event.source.b[11] = 0xff;
		memcpy(event.destination.b, &i, sizeof(i));
		sf_replay_event(replay, &event);
	}
	totals = finish();
	assert_int_equal(totals.fenced, 300000);
	assert_int_equal(totals.uncounted, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(malformed_lines),
		cmocka_unit_test(packets),
		cmocka_unit_test(noise),
		cmocka_unit_test(answers_and_silence),
		cmocka_unit_test(its_own_clock),
		cmocka_unit_test(a_thousand_after_ten_a_day),
		cmocka_unit_test(too_many_attempts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
