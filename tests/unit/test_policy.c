// SPDX-License-Identifier: GPL-2.0-only
/* Values of entries: networks, names, times; and the list of entries itself. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "../../user/policy.h"

static void net_is(const char *text, uint32_t family, uint32_t prefixlen, const char *shown)
{
	struct sf_net_key net, again;
	struct sf_error err = {.code = 0};
	char out[64];

	memset(&net, 0xaa, sizeof(net));
	if (sf_net_parse(text, &net, &err))
		fail_msg("%s: %s", text, err.text);
	assert_int_equal(net.family, family);
	assert_int_equal(net.prefixlen, prefixlen);
	sf_net_format(&net, out, sizeof(out));
	assert_string_equal(out, shown);
	assert_int_equal(sf_net_parse(out, &again, NULL), 0);
	assert_memory_equal(&net, &again, sizeof(net));
}

static void net_refused(const char *text)
{
	struct sf_net_key net, before;
	struct sf_error err = {.code = 0};

	memset(&net, 0xaa, sizeof(net));
	before = net;
	if (sf_net_parse(text, &net, &err) != -EINVAL)
		fail_msg("\"%s\" was taken", text);
	assert_memory_equal(&net, &before, sizeof(net));
	assert_true(err.is_usage && err.text[0]);
}

static void networks(void **state)
{
	struct sf_net_key net;
	static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2};

	(void)state;
	net_is("0.0.0.0/0", SF_FAMILY_V4, 128, "0.0.0.0/0");
	net_is("128.0.0.0/1", SF_FAMILY_V4, 129, "128.0.0.0/1");
	net_is("10.0.0.0/8", SF_FAMILY_V4, 136, "10.0.0.0/8");
	net_is("192.0.2.2/31", SF_FAMILY_V4, 159, "192.0.2.2/31");
	net_is("192.0.2.1/32", SF_FAMILY_V4, 160, "192.0.2.1");
	net_is("192.0.2.1", SF_FAMILY_V4, 160, "192.0.2.1");
	net_is("255.255.255.255", SF_FAMILY_V4, 160, "255.255.255.255");
	net_is("::/0", SF_FAMILY_V6, 32, "::/0");
	net_is("8000::/1", SF_FAMILY_V6, 33, "8000::/1");
	net_is("2001:DB8:0:0::/32", SF_FAMILY_V6, 64, "2001:db8::/32");
	net_is("2001:db8::2/127", SF_FAMILY_V6, 159, "2001:db8::2/127");
	net_is("2001:db8::1/128", SF_FAMILY_V6, 160, "2001:db8::1");
	net_is("::1", SF_FAMILY_V6, 160, "::1");
	/* Next to the v4-mapped range on both sides. */
	net_is("::fffe:192.0.2.0", SF_FAMILY_V6, 160, "::fffe:c000:200");
	net_is("::1:0:0:0", SF_FAMILY_V6, 160, "::1:0:0:0");
	assert_int_equal(sf_net_parse("192.0.2.0/24", &net, NULL), 0);
	assert_memory_equal(&net.addr, mapped, sizeof(mapped));
	/* Every length of both families: with the last bit of the prefix set, and the one after. */
	for (uint32_t bits = 1; bits <= 32; bits++) {
		uint32_t one = 1u << (32 - bits);
		char text[32];

		snprintf(text, sizeof(text), "%u.%u.%u.%u/%u", one >> 24, one >> 16 & 255,
			 one >> 8 & 255, one & 255, bits);
		assert_int_equal(sf_net_parse(text, &net, NULL), 0);
		assert_int_equal(net.prefixlen, 128 + bits);
		snprintf(strchr(text, '/'), 8, "/%u", bits - 1);
		net_refused(text);
	}
	for (uint32_t bits = 1; bits <= 128; bits++) {
		struct sf_net_key key = {.family = SF_FAMILY_V6, .prefixlen = 32 + bits};
		char text[64];

		key.addr.b[(bits - 1) / 8] = (uint8_t)(0x80 >> ((bits - 1) % 8));
		sf_net_format(&key, text, sizeof(text));
		assert_int_equal(sf_net_parse(text, &net, NULL), 0);
		assert_memory_equal(&net, &key, sizeof(net));
		if (strchr(text, '/'))
			*strchr(text, '/') = '\0';
		snprintf(text + strlen(text), 8, "/%u", bits - 1);
		net_refused(text);
	}
}

static void no_networks(void **state)
{
	static const char *const wrong[] = {
		"",
		"/",
		"/24",
		"192.0.2.0/",
		"192.0.2.0/33",
		"192.0.2.0/-1",
		"192.0.2.0/ 24",
		"192.0.2.0/24 ",
		" 192.0.2.0/24",
		"192.0.2.0/24/24",
		"192.0.2.0/0024",
		"192.0.2.0/0x18",
		"192.0.2.0/+24",
		"192.0.2.0/4294967320",
		"192.0.2.0/18446744073709551640",
		"192.0.2.1/24",
		"192.0.2.256",
		"192.0.2",
		"192.0.2.0.0",
		"1",
		"0xc0000200",
		"192.0.2.0\n",
		"192.000.002.001/33",
		"2001:db8::/129",
		"2001:db8::1/64",
		"2001:db8:::1",
		"2001:db8::g",
		"fe80::1%lo",
		"[::1]",
		"::1/32",
		"localhost",
		"::ffff:192.0.2.1",
		"::ffff:0:0/96",
		"::ffff:0:0/95",
		"::FFFF:c000:0201/128",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd/64",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		net_refused(wrong[i]);
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		int64_t seconds;
	} right[] = {
		{"1", 1},
		{"90", 90},
		{"90s", 90},
		{"5m", 300},
		{"2h", 7200},
		{"1d", 86400},
		{"1w", 604800},
		{"007s", 7},
		{"36500d", 3153600000},
		{"3153600000s", 3153600000},
		{"5214w", 3153427200},
	};
	static const char *const wrong[] = {
		"",
		"0",
		"0s",
		"-1",
		"+1",
		" 1",
		"1 ",
		"s",
		"1x",
		"1ms",
		"1hh",
		"1h30m",
		"1.5h",
		"0x10",
		"1H",
		"36501d",
		"3153600001",
		"5215w",
		"9223372036854775807w",
		"99999999999999999999s",
		"forever",
		"never",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
		int64_t seconds = -7;

		assert_int_equal(sf_duration_parse(right[i].text, &seconds), 0);
		assert_int_equal(seconds, right[i].seconds);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		int64_t seconds = -7;

		if (sf_duration_parse(wrong[i], &seconds) != -EINVAL)
			fail_msg("\"%s\" was taken", wrong[i]);
		assert_int_equal(seconds, -7);
	}
}

static void times(void **state)
{
	static const char *const wrong[] = {
		"",
		"now",
		"2030-01-01",
		"2030-01-01T00:00:00",
		"2030-01-01 00:00:00Z",
		"2030-01-01T00:00:00z",
		"2030-01-01T00:00:00+00:00",
		"2030-01-01T00:00:00.5Z",
		"2030-1-1T0:0:0Z",
		" 2030-01-01T00:00:00Z",
		"2030-01-01T00:00:00Z ",
		"2030-02-29T00:00:00Z",
		"2030-02-31T00:00:00Z",
		"2030-04-31T00:00:00Z",
		"2030-13-01T00:00:00Z",
		"2030-00-01T00:00:00Z",
		"2030-01-00T00:00:00Z",
		"2030-01-01T24:00:00Z",
		"2030-01-01T00:60:00Z",
		"2030-12-31T23:59:61Z",
		"1969-12-31T23:59:59Z",
		"0001-01-01T00:00:00Z",
		"99999-01-01T00:00:00Z",
		/* would be 0, and so without an end */
		"1970-01-01T00:00:00Z",
	};
	int64_t seconds;
	char out[64];

	(void)state;
	assert_int_equal(sf_time_parse("1970-01-01T00:00:01Z", &seconds), 0);
	assert_int_equal(seconds, 1);
	assert_int_equal(sf_time_parse("2028-02-29T12:34:56Z", &seconds), 0);
	assert_int_equal(seconds, 1835440496);
	sf_time_format(seconds, out, sizeof(out));
	assert_string_equal(out, "2028-02-29T12:34:56Z");
	/* Whatever the host's time zone is. */
	setenv("TZ", "Pacific/Auckland", 1);
	tzset();
	assert_int_equal(sf_time_parse(out, &seconds), 0);
	assert_int_equal(seconds, 1835440496);
	unsetenv("TZ");
	tzset();
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		seconds = -7;
		if (sf_time_parse(wrong[i], &seconds) != -EINVAL)
			fail_msg("\"%s\" was taken", wrong[i]);
		assert_int_equal(seconds, -7);
	}
	for (int64_t t = 1; t < 6000000000; t = t * 3 + 12345) {
		sf_time_format(t, out, sizeof(out));
		assert_int_equal(sf_time_parse(out, &seconds), 0);
		assert_int_equal(seconds, t);
	}
	sf_time_format(INT64_MAX, out, sizeof(out));
	sf_time_format(INT64_MIN, out, sizeof(out));
}

static void ids(void **state)
{
	uint32_t id = 7;

	(void)state;
	assert_int_equal(sf_user_id("root", &id), 0);
	assert_int_equal(id, 0);
	assert_int_equal(sf_user_id("4294967294", &id), 0);
	assert_int_equal(id, 4294967294u);
	id = 7;
	/* (uid_t)-1 is nobody's, and other numbers must not wrap into somebody. */
	assert_int_equal(sf_user_id("4294967295", &id), -ENOENT);
	assert_int_equal(sf_user_id("4294967296", &id), -ENOENT);
	assert_int_equal(sf_user_id("18446744073709551616", &id), -ENOENT);
	assert_int_equal(sf_user_id("-1", &id), -ENOENT);
	assert_int_equal(sf_user_id("+0", &id), -ENOENT);
	assert_int_equal(sf_user_id(" 0", &id), -ENOENT);
	assert_int_equal(sf_user_id("0 ", &id), -ENOENT);
	assert_int_equal(sf_user_id("0x0", &id), -ENOENT);
	assert_int_equal(sf_user_id("", &id), -ENOENT);
	assert_int_equal(sf_user_id("no-such-user-here", &id), -ENOENT);
	assert_int_equal(sf_user_id("root\n", &id), -ENOENT);
	assert_int_equal(id, 7);
	assert_int_equal(sf_group_id("root", &id), 0);
	assert_int_equal(id, 0);
	assert_int_equal(sf_group_id("no-such-group-here", &id), -ENOENT);
}

static int resolve(enum sf_entry_kind kind, const char *value, struct sf_entry *entry)
{
	struct sf_error err = {.code = 0};
	int ret;

	memset(entry, 0, sizeof(*entry));
	entry->kind = kind;
	snprintf(entry->value, sizeof(entry->value), "%s", value);
	entry->expires = 99;
	ret = sf_entry_resolve(entry, &err);
	assert_int_equal(entry->expires, 99);
	if (ret)
		assert_true((ret == -EINVAL || ret == -ENOENT) && err.is_usage && err.text[0]);
	return ret;
}

static void entries_by_kind(void **state)
{
	char name[SF_NAME_MAX];
	struct sf_entry e;

	(void)state;
	assert_int_equal(resolve(SF_ENTRY_ALLOW_USER, "root", &e), 0);
	assert_int_equal(resolve(SF_ENTRY_QUARANTINE_USER, "65534", &e), 0);
	assert_int_equal(e.id, 65534);
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_GROUP, "\x1b[31m\"", &e), 0);
	assert_int_equal(resolve(SF_ENTRY_ALLOW_NET, "2001:DB8::0/32", &e), 0);
	assert_string_equal(e.value, "2001:db8::/32");
	assert_int_equal(resolve(SF_ENTRY_QUARANTINE_NET, "10.0.0.1/32", &e), 0);
	assert_string_equal(e.value, "10.0.0.1");
	assert_int_equal(resolve(SF_ENTRY_MAIL, "/", &e), 0);
	assert_int_not_equal(resolve(SF_ENTRY_FENCE, "a", &e), 0);
	assert_int_not_equal(resolve(SF_ENTRY_QUARANTINE_CGROUP, "/a//b", &e), 0);
	assert_int_equal(resolve(SF_ENTRY_LIMIT_USER, "root", &e), 0);
	assert_int_equal(e.id, 0);
	assert_int_not_equal(resolve(SF_ENTRY_LIMIT_USER, "no-such-user-here", &e), 0);
	assert_int_equal(e.unresolved, 1);
	assert_int_equal(resolve(SF_ENTRY_LIMIT_CGROUP, "/a", &e), 0);
	assert_int_not_equal(resolve(SF_ENTRY_LIMIT_CGROUP, "a", &e), 0);
	assert_int_equal(resolve(SF_ENTRY_LIMIT_NET, "10.0.0.0/8", &e), 0);
	assert_int_equal(e.net.prefixlen, SF_NET_FAMILY_BITS + 96 + 8);
	assert_int_not_equal(resolve(SF_ENTRY_LIMIT_NET, "10.0.0.1/8", &e), 0);
	assert_int_equal(resolve(SF_ENTRY_ALLOW_HOST, "relay.example", &e), 0);
	assert_int_equal(resolve(SF_ENTRY_ALLOW_HOST, "_a-b.example.", &e), 0);
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_HOST, "", &e), 0);
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_HOST, ".", &e), 0);
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_HOST, "a..b", &e), 0);
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_HOST, "-a", &e), 0);
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_HOST, "2001:db8::1", &e), 0);
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_HOST, "a b", &e), 0);
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_HOST, "m\xc3\xbcller.example", &e), 0);
	memset(name, 'a', sizeof(name));
	name[63] = '\0';
	assert_int_equal(resolve(SF_ENTRY_ALLOW_HOST, name, &e), 0);
	name[63] = 'a';
	name[64] = '\0';
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_HOST, name, &e), 0);
	for (size_t i = 0; i < 254; i++)
		name[i] = i % 64 == 63 ? '.' : 'a';
	name[253] = '\0';
	assert_int_equal(resolve(SF_ENTRY_ALLOW_HOST, name, &e), 0);
	name[253] = 'a';
	name[254] = '\0';
	assert_int_not_equal(resolve(SF_ENTRY_ALLOW_HOST, name, &e), 0);
	e.kind = SF_ENTRY_KINDS;
	assert_int_not_equal(sf_entry_resolve(&e, NULL), 0);
}

static struct sf_entry entry_of(int kind, int value, int line)
{
	struct sf_entry e = {.kind = (enum sf_entry_kind)kind, .line = line};

	snprintf(e.value, sizeof(e.value), "%d", value);
	return e;
}

static void the_list(void **state)
{
	struct sf_policy p;
	struct sf_entry e;

	(void)state;
	sf_policy_init(&p);
	assert_int_equal(sf_policy_settle(&p), 0);
	assert_null(sf_policy_find(&p, SF_ENTRY_ALLOW_USER, "1"));
	/* The same value thrice over ten kinds, past several growths. */
	for (int i = 0; i < 3000; i++) {
		e = entry_of(i % 10, i / 10 % 100, i);
		assert_int_equal(sf_policy_append(&p, &e), 0);
	}
	assert_int_equal(sf_policy_settle(&p), 0);
	assert_int_equal(p.entry_count, 1000);
	for (size_t i = 0; i < p.entry_count; i++)
		assert_int_equal(p.entries[i].line, 2000 + i); /* the last, in their order */
	e = entry_of(3, 50, 77);
	assert_int_equal(sf_policy_put(&p, &e), 0);
	assert_int_equal(p.entry_count, 1000);
	assert_int_equal(sf_policy_find(&p, (enum sf_entry_kind)3, "50")->line, 77);
	e = entry_of(3, 5000, 78);
	assert_int_equal(sf_policy_put(&p, &e), 0);
	assert_int_equal(p.entry_count, 1001);
	sf_policy_remove(&p, &p.entries[0]);
	sf_policy_remove(&p, &p.entries[p.entry_count - 1]);
	assert_int_equal(p.entry_count, 999);
	assert_null(sf_policy_find(&p, (enum sf_entry_kind)3, "5000"));
	assert_null(sf_policy_find(&p, (enum sf_entry_kind)0, "0"));
	assert_int_equal(p.entries[0].line, 2001);
	while (p.entry_count)
		sf_policy_remove(&p, &p.entries[p.entry_count / 2]);
	sf_policy_free(&p);
	sf_policy_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks),  cmocka_unit_test(no_networks),
		cmocka_unit_test(durations), cmocka_unit_test(times),
		cmocka_unit_test(ids),	     cmocka_unit_test(entries_by_kind),
		cmocka_unit_test(the_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
