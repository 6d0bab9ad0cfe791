// SPDX-License-Identifier: GPL-2.0-only
/*
 * Open connections, judged: the facts that a socket still tells give the reason that the programs
 * would give. Tables are the real ones, built from a policy.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <string.h>
#include <cmocka.h>
#include "../../user/open_connections.h"

#define NOW 1000000000000ULL

static struct sf_policy policy;
static struct sf_image image;

static void put(enum sf_entry_kind kind, const char *value, int ttl, uint16_t port)
{
	struct sf_entry e = {.kind = kind, .expires = ttl ? 1000 + ttl : 0};

	strcpy(e.value, value);
	if (port)
		e.ports[e.port_count++] = port;
	if (kind == SF_ENTRY_MAIL)
		e.users[e.user_count++] = 8;
	assert_int_equal(sf_entry_resolve(&e, NULL), 0);
	assert_int_equal(sf_policy_put(&policy, &e), 0);
}

static void build(void)
{
	struct sf_clock clock = {.wall = 1000, .boot_ns = NOW};

	assert_int_equal(sf_image_build(&policy, NULL, &clock, &image, NULL), 0);
}

static int start(void **state)
{
	(void)state;
	sf_policy_init(&policy);
	policy.mode = SF_MODE_ENFORCE;
	return 0;
}

static int end(void **state)
{
	(void)state;
	sf_image_free(&image);
	sf_policy_free(&policy);
	return 0;
}

static struct sf_open_connection to(const char *address, uint16_t port)
{
	struct sf_diag_socket s = {.msg = {.idiag_state = TCP_ESTABLISHED}};
	struct sf_open_connection c = {.netns = 1};

	s.msg.idiag_family = strchr(address, ':') ? AF_INET6 : AF_INET;
	assert_int_equal(inet_pton(s.msg.idiag_family, address, s.msg.id.idiag_dst), 1);
	inet_pton(s.msg.idiag_family, strchr(address, ':') ? "2001:db8::5" : "198.51.100.5",
		  s.msg.id.idiag_src);
	s.msg.id.idiag_dport = htons(port);
	s.msg.id.idiag_sport = htons(40000);
	sf_open_fold(&s, &c);
	return c;
}

static uint8_t judge(const struct sf_open_connection *c, const char *cgroup, uint32_t uid,
		     uint32_t gid)
{
	struct sf_open_sender who = {
		.cgroup = cgroup, .uid = uid, .gid = gid, .knows_uid = 1, .knows_gid = 1};

	return sf_open_decide(&image, NOW, c, &who).reason;
}

static uint8_t reason(const char *address, uint16_t port, const char *cgroup, uint32_t uid)
{
	struct sf_open_connection c = to(address, port);

	return judge(&c, cgroup, uid, uid);
}

static void folded(void **state)
{
	struct sf_open_connection mapped = to("::ffff:192.0.2.1", 25), plain = to("192.0.2.1", 25);

	(void)state;
	assert_int_equal(mapped.family, SF_FAMILY_V4);
	assert_memory_equal(&mapped.daddr, &plain.daddr, sizeof(plain.daddr));
	assert_int_equal(plain.dport, 25);
	assert_int_equal(plain.sport, 40000);
	assert_int_equal(to("2001:db8::1", 25).family, SF_FAMILY_V6);
	/* ::192.0.2.1 is no mapped address. */
	assert_int_equal(to("::192.0.2.1", 25).family, SF_FAMILY_V6);
}

static void roles(void **state)
{
	char deep[256] = "";

	(void)state;
	put(SF_ENTRY_MAIL, "/sys/mta", 0, 0);
	put(SF_ENTRY_FENCE, "/sys/mta/site", 0, 0);
	put(SF_ENTRY_EXEMPT, "/free", 0, 0);
	put(SF_ENTRY_QUARANTINE_CGROUP, "/free/bad", 60, 0);
	put(SF_ENTRY_QUARANTINE_CGROUP, "/free/old", 60, 0);
	build();
	assert_int_equal(reason("192.0.2.1", 25, "/sys/mta", 8), SF_REASON_MAIL);
	assert_int_equal(reason("192.0.2.1", 25, "/sys/mta/worker/1", 8), SF_REASON_MAIL);
	assert_int_equal(reason("192.0.2.1", 25, "/sys/mta", 9), SF_REASON_MAIL_USER);
	assert_int_equal(reason("192.0.2.1", 25, "/sys/mta/site/x", 8), SF_REASON_NO_ROLE);
	/* Neighbours: one that starts alike, and the parent. */
	assert_int_equal(reason("192.0.2.1", 25, "/sys/mta2", 8), SF_REASON_NO_ROLE);
	assert_int_equal(reason("192.0.2.1", 25, "/sys", 8), SF_REASON_NO_ROLE);
	assert_int_equal(reason("192.0.2.1", 25, "/", 8), SF_REASON_NO_ROLE);
	assert_int_equal(reason("192.0.2.1", 25, "/free/x", 9), SF_REASON_EXEMPT);
	assert_int_equal(reason("192.0.2.1", 25, "/free/bad/x", 9), SF_REASON_QUARANTINE);
	assert_int_equal(reason("192.0.2.1", 25, NULL, 9), SF_REASON_NO_IDENTITY);
	/* The root and 31 levels below it are looked at, as in the programs. */
	strcpy(deep, "/free");
	for (int i = 0; i < 30; i++)
		strcat(deep, "/d");
	assert_int_equal(reason("192.0.2.1", 25, deep, 9), SF_REASON_EXEMPT);
	strcat(deep, "/d");
	assert_int_equal(reason("192.0.2.1", 25, deep, 9), SF_REASON_TOO_DEEP);
}

static void role_of_the_root(void **state)
{
	(void)state;
	put(SF_ENTRY_EXEMPT, "/", 0, 0);
	put(SF_ENTRY_FENCE, "/web", 0, 0);
	build();
	assert_int_equal(reason("192.0.2.1", 25, "/", 9), SF_REASON_EXEMPT);
	assert_int_equal(reason("192.0.2.1", 25, "/x/y", 9), SF_REASON_EXEMPT);
	assert_int_equal(reason("192.0.2.1", 25, "/web/y", 9), SF_REASON_NO_ROLE);
}

static void a_path_too_long_for_a_role(void **state)
{
	char path[4096] = "/free/";

	(void)state;
	put(SF_ENTRY_EXEMPT, "/free", 0, 0);
	build();
	memset(path + 6, 'x', 600);
	assert_int_equal(reason("192.0.2.1", 25, path, 9), SF_REASON_EXEMPT);
	path[4] = 'X';
	assert_int_equal(reason("192.0.2.1", 25, path, 9), SF_REASON_NO_ROLE);
}

static void relays(void **state)
{
	struct sf_open_connection c;
	struct sf_open_sender web = {.cgroup = "/web", .knows_uid = 1};

	(void)state;
	put(SF_ENTRY_ALLOW_NET, "203.0.113.0/29", 0, 587);
	put(SF_ENTRY_ALLOW_NET, "203.0.113.4/32", 60, 25);
	put(SF_ENTRY_ALLOW_NET, "2001:db8:a::/48", 0, 0);
	build();
	assert_int_equal(reason("203.0.113.7", 587, "/web", 9), SF_REASON_RELAY);
	assert_int_equal(reason("203.0.113.8", 587, "/web", 9), SF_REASON_NO_ROLE);
	assert_int_equal(reason("203.0.113.7", 25, "/web", 9), SF_REASON_NO_ROLE);
	/* The longest has the wider one's grants too. */
	assert_int_equal(reason("203.0.113.4", 25, "/web", 9), SF_REASON_RELAY);
	assert_int_equal(reason("203.0.113.4", 587, "/web", 9), SF_REASON_RELAY);
	assert_int_equal(reason("::ffff:203.0.113.7", 587, "/web", 9), SF_REASON_RELAY);
	assert_int_equal(reason("2001:db8:a:ffff::1", 25, "/web", 9), SF_REASON_RELAY);
	assert_int_equal(reason("2001:db8:b::1", 25, "/web", 9), SF_REASON_NO_ROLE);
	/* Over. */
	c = to("203.0.113.4", 25);
	assert_int_equal(sf_open_decide(&image, NOW + 59000000000ULL, &c, &web).reason,
			 SF_REASON_RELAY);
	assert_int_equal(sf_open_decide(&image, NOW + 61000000000ULL, &c, &web).reason,
			 SF_REASON_NO_ROLE);
}

static void everything_is_a_relay(void **state)
{
	(void)state;
	put(SF_ENTRY_ALLOW_NET, "0.0.0.0/0", 0, 0);
	build();
	assert_int_equal(reason("192.0.2.1", 25, "/web", 9), SF_REASON_RELAY);
	assert_int_equal(reason("2001:db8::1", 25, "/web", 9), SF_REASON_NO_ROLE);
}

static void local(void **state)
{
	struct sf_open_connection c = to("127.0.0.1", 25);

	(void)state;
	build();
	assert_int_equal(judge(&c, "/web", 9, 9), SF_REASON_LOCAL);
	c.socket.msg.id.idiag_if = 2;
	assert_int_equal(judge(&c, "/web", 9, 9), SF_REASON_NO_ROLE);
	assert_int_equal(reason("::1", 25, "/web", 9), SF_REASON_LOCAL);
	assert_int_equal(reason("::ffff:127.9.9.9", 25, "/web", 9), SF_REASON_LOCAL);
	image.settings.flags &= ~SF_SETTING_ALLOW_LOCAL;
	assert_int_equal(reason("127.0.0.1", 25, "/web", 9), SF_REASON_NO_ROLE);
}

static void senders(void **state)
{
	struct sf_open_connection c = to("192.0.2.1", 25);

	(void)state;
	put(SF_ENTRY_ALLOW_USER, "1001", 0, 25);
	put(SF_ENTRY_ALLOW_GROUP, "2000", 0, 0);
	put(SF_ENTRY_QUARANTINE_USER, "1003", 0, 0);
	put(SF_ENTRY_MAIL, "/mta", 0, 0);
	build();
	assert_int_equal(judge(&c, "/web", 1001, 1), SF_REASON_SENDER);
	assert_int_equal(judge(&c, "/web", 1002, 2000), SF_REASON_SENDER);
	/* A uid is no gid. */
	assert_int_equal(judge(&c, "/web", 2000, 1001), SF_REASON_NO_ROLE);
	assert_int_equal(judge(&c, "/mta", 1003, 2000), SF_REASON_QUARANTINE);
	c = to("192.0.2.1", 587);
	assert_int_equal(judge(&c, "/web", 1001, 1), SF_REASON_NO_ROLE);
}

/* Nobody holds it any more: what might be allowed stays. */
static void unknown_users(void **state)
{
	struct sf_open_connection c = to("192.0.2.1", 25), other = to("192.0.2.1", 587);
	struct sf_open_sender mta = {.cgroup = "/mta"}, web = {.cgroup = "/web"};

	(void)state;
	put(SF_ENTRY_MAIL, "/mta", 0, 0);
	put(SF_ENTRY_ALLOW_USER, "1001", 0, 25);
	put(SF_ENTRY_QUARANTINE_USER, "0", 0, 0);
	build();
	assert_int_equal(sf_open_decide(&image, NOW, &c, &mta).reason, SF_REASON_MAIL);
	assert_int_equal(sf_open_decide(&image, NOW, &c, &web).reason, SF_REASON_SENDER);
	assert_int_equal(sf_open_decide(&image, NOW, &other, &web).reason, SF_REASON_NO_ROLE);
}

static void quarantined_sources(void **state)
{
	(void)state;
	put(SF_ENTRY_QUARANTINE_NET, "198.51.100.0/24", 0, 0);
	put(SF_ENTRY_MAIL, "/mta", 0, 0);
	build();
	assert_int_equal(reason("192.0.2.1", 25, "/mta", 8), SF_REASON_QUARANTINE);
	assert_int_equal(reason("2001:db8::1", 25, "/mta", 8), SF_REASON_MAIL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(folded),
		TEST(roles),
		TEST(role_of_the_root),
		TEST(a_path_too_long_for_a_role),
		TEST(relays),
		TEST(everything_is_a_relay),
		TEST(local),
		TEST(senders),
		TEST(unknown_users),
		TEST(quarantined_sources),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
