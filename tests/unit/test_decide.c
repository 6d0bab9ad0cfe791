// SPDX-License-Identifier: GPL-2.0-only
/*
 * The decision, the same lines that run in the kernel, against a second statement of the rule
 * (design.md section 3) over every combination of facts that the hooks can hand over. Then what
 * must hold between neighbours, and the small predicates.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "../../bpf/lib/decide.h"

/* Places as find_place makes them: an anchor decides the kind; unseen ones have neither. */
#define ANCHOR_MAIL	  10
#define ANCHOR_OTHER_MAIL 11
#define ANCHOR_FENCE	  12
#define ANCHOR_EXEMPT	  13
#define ANCHOR_EXEMPT_2	  14

static struct sf_place places[64];
static size_t place_count;

static void make_places(void)
{
	static const struct {
		__u64 anchor;
		__u32 kind;
	} roles[] = {
		{0, SF_ROLE_NONE},
		{ANCHOR_MAIL, SF_ROLE_MAIL},
		{ANCHOR_OTHER_MAIL, SF_ROLE_MAIL},
		{ANCHOR_FENCE, SF_ROLE_FENCE},
		{ANCHOR_EXEMPT, SF_ROLE_EXEMPT},
		{ANCHOR_EXEMPT_2, SF_ROLE_EXEMPT},
	};

	place_count = 0;
	for (size_t r = 0; r < sizeof(roles) / sizeof(roles[0]); r++)
		for (int listed = 0; listed <= (roles[r].kind == SF_ROLE_MAIL); listed++)
			for (int quarantined = 0; quarantined <= 1; quarantined++)
				places[place_count++] =
					(struct sf_place){.anchor = roles[r].anchor,
							  .kind = roles[r].kind,
							  .user_listed = (__u8)listed,
							  .quarantined = (__u8)quarantined};
	places[place_count++] = (struct sf_place){.too_deep = 1};
	places[place_count++] = (struct sf_place){.too_deep = 1, .quarantined = 1};
	places[place_count++] = (struct sf_place){.unknown = 1};
}

/* The rule as a person would tell it, one question after the other. */
static int wanted_reason(const struct sf_facts *f)
{
	bool person =
		!f->kernel_thread; /* a kernel thread has neither cgroup nor user of its own */
	struct sf_place s = f->socket, t = person ? f->task : f->socket;
	bool both_in_one = s.anchor != 0 && t.anchor != 0 && s.anchor == t.anchor;
	bool in_mail = both_in_one && s.kind == SF_ROLE_MAIL && t.kind == SF_ROLE_MAIL;

	/* 1 */
	if (f->mode == SF_MODE_OFF)
		return SF_REASON_OFF;
	/* A wiped or foreign settings table is not "off". */
	if (f->mode != SF_MODE_ENFORCE && f->mode != SF_MODE_MONITOR)
		return SF_REASON_NO_SETTINGS;
	/* 2 */
	if (f->allow_local && f->to_local)
		return SF_REASON_LOCAL;
	/* "denied before rule 3": by cgroup, by user, by address */
	if (s.quarantined || t.quarantined || f->source_quarantined ||
	    (person && f->sender_quarantined))
		return SF_REASON_QUARANTINE;
	/* who nests deeper than is looked at could have left a quarantine behind */
	if (s.too_deep || t.too_deep)
		return SF_REASON_TOO_DEEP;
	/* 3 */
	if (f->to_relay)
		return SF_REASON_RELAY;
	/* 4: both cgroups, and the user; the socket's cgroup alone where there is no user */
	if (in_mail && (!person || t.user_listed))
		return SF_REASON_MAIL;
	/* 5 */
	if (person && f->sender_allowed)
		return SF_REASON_SENDER;
	/* 6 */
	if (s.kind == SF_ROLE_EXEMPT && t.kind == SF_ROLE_EXEMPT)
		return SF_REASON_EXEMPT;
	/* Denied; which words help whoever reads them? */
	if (f->is_probe)
		return SF_REASON_PROBE;
	if (s.unknown)
		return SF_REASON_NO_IDENTITY;
	if (in_mail)
		return SF_REASON_MAIL_USER;
	if (s.kind == SF_ROLE_MAIL || t.kind == SF_ROLE_MAIL)
		return SF_REASON_SOCKET_MOVED;
	return SF_REASON_NO_ROLE;
}

static bool lets_through(int reason)
{
	return reason == SF_REASON_OFF || reason == SF_REASON_LOCAL || reason == SF_REASON_RELAY ||
	       reason == SF_REASON_MAIL || reason == SF_REASON_SENDER ||
	       reason == SF_REASON_EXEMPT || reason == SF_REASON_WATCHED ||
	       reason == SF_REASON_MAIL_HOST || reason == SF_REASON_FILTER;
}

static int wanted_verdict(const struct sf_facts *f, int reason)
{
	if (lets_through(reason))
		return SF_VERDICT_ALLOWED;
	return f->mode == SF_MODE_MONITOR ? SF_VERDICT_WOULD_DENY : SF_VERDICT_DENIED;
}

static void show(const struct sf_facts *f)
{
	print_error(
		"mode %u local %u/%u relay %u kthread %u allowed %u quarantined %u/%u probe %u\n",
		f->mode, f->allow_local, f->to_local, f->to_relay, f->kernel_thread,
		f->sender_allowed, f->sender_quarantined, f->source_quarantined, f->is_probe);
	for (int i = 0; i < 2; i++) {
		const struct sf_place *p = i ? &f->socket : &f->task;

		print_error("%s: anchor %llu kind %u listed %u quarantined %u deep %u unknown %u\n",
			    i ? "socket" : "task", p->anchor, p->kind, p->user_listed,
			    p->quarantined, p->too_deep, p->unknown);
	}
}

typedef void (*visitor)(struct sf_facts *facts);

/* Every combination: some 554,000. */
static void for_all_facts(visitor visit)
{
	static const __u32 modes[] = {
		0, SF_MODE_OFF, SF_MODE_MONITOR, SF_MODE_ENFORCE, SF_MODE_ENFORCE + 1, 0xffffffff};

	make_places();
	for (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++)
		for (size_t t = 0; t < place_count; t++)
			for (size_t s = 0; s < place_count; s++)
				for (unsigned int bits = 0; bits < 256; bits++) {
					struct sf_facts f = {
						.task = places[t],
						.socket = places[s],
						.mode = modes[m],
						.allow_local = bits & 1,
						.to_local = (bits >> 1) & 1,
						.to_relay = (bits >> 2) & 1,
						.kernel_thread = (bits >> 3) & 1,
						.sender_allowed = (bits >> 4) & 1,
						.sender_quarantined = (bits >> 5) & 1,
						.is_probe = (bits >> 6) & 1,
						.source_quarantined = (bits >> 7) & 1,
					};

					visit(&f);
				}
}

static size_t seen[SF_REASON_MAX];

static void compare(struct sf_facts *f)
{
	struct sf_decision d = sf_decide(f);
	int reason = wanted_reason(f);

	seen[d.reason]++;
	if (d.reason == reason && d.verdict == wanted_verdict(f, reason))
		return;
	show(f);
	fail_msg("reason %u, wanted %d; verdict %u, wanted %d", d.reason, reason, d.verdict,
		 wanted_verdict(f, reason));
}

static void is_the_rule(void **state)
{
	(void)state;
	memset(seen, 0, sizeof(seen));
	for_all_facts(compare);
	for (int r = 0; r < SF_REASON_COUNT; r++) {
		/*
		 * Watched ports are not judged, and those behind are of packets. All others must
		 * occur, or the test is blind.
		 */
		if (r < SF_REASON_WATCHED && !seen[r])
			fail_msg("reason %d never came up", r);
	}
	assert_int_equal(seen[SF_REASON_WATCHED], 0);
}

static bool through(const struct sf_facts *f)
{
	return sf_decide(f).verdict == SF_VERDICT_ALLOWED;
}

static void neighbours(struct sf_facts *f)
{
	struct sf_facts g = *f;
	struct sf_decision d = sf_decide(f);
	bool before = through(f), bad = false;

	if (f->mode != SF_MODE_ENFORCE)
		return;
	/* Monitor decides the same, for the same reason, and stops nobody. */
	g.mode = SF_MODE_MONITOR;
	bad |= sf_decide(&g).reason != d.reason || sf_decide(&g).verdict == SF_VERDICT_DENIED ||
	       through(&g) != before;
	g.mode = SF_MODE_OFF;
	bad |= !through(&g);
	/* A quarantine never helps, a grant never hurts. */
	g = *f;
	g.sender_quarantined = 1;
	bad |= through(&g) && !before;
	g = *f;
	g.source_quarantined = 1; /* an address is quarantined for kernel threads too */
	bad |= through(&g) && !(f->allow_local && f->to_local);
	g = *f;
	g.socket.quarantined = 1;
	bad |= through(&g) && !before;
	bad |= through(&g) && !(f->allow_local && f->to_local);
	g = *f;
	g.task.quarantined = 1;
	bad |= through(&g) && !before;
	g = *f;
	g.to_relay = 1;
	bad |= before && !through(&g);
	g = *f;
	g.sender_allowed = 1;
	bad |= before && !through(&g);
	g = *f;
	g.to_local = 1;
	bad |= before && !through(&g);
	/* Being the probe changes the words, not the verdict. */
	g = *f;
	g.is_probe = !f->is_probe;
	bad |= through(&g) != before;
	/* What a kernel thread runs in is no matter. */
	g = *f;
	g.task = (struct sf_place){.anchor = 99, .kind = SF_ROLE_FENCE};
	bad |= f->kernel_thread && sf_decide(&g).reason != d.reason;
	/* The mail right is lost with either half of it. */
	if (d.reason == SF_REASON_MAIL) {
		g = *f;
		g.socket = (struct sf_place){.anchor = 99, .kind = SF_ROLE_MAIL, .user_listed = 1};
		bad |= !f->kernel_thread && sf_decide(&g).reason == SF_REASON_MAIL;
		g.socket = (struct sf_place){.unknown = 1};
		bad |= sf_decide(&g).reason == SF_REASON_MAIL;
		g = *f;
		g.task = (struct sf_place){};
		bad |= !f->kernel_thread && sf_decide(&g).reason == SF_REASON_MAIL;
		g = *f;
		g.task.user_listed = 0;
		bad |= !f->kernel_thread && sf_decide(&g).reason == SF_REASON_MAIL;
	}
	if (bad) {
		show(f);
		fail_msg("a neighbour of these facts is judged wrongly");
	}
}

static void neighbours_hold(void **state)
{
	(void)state;
	for_all_facts(neighbours);
}

static void order_of_the_rules(void **state)
{
	/* All that speaks for the sender; taken away one by one, the next reason shows. */
	struct sf_facts f = {
		.task = {.anchor = ANCHOR_MAIL, .kind = SF_ROLE_MAIL, .user_listed = 1},
		.socket = {.anchor = ANCHOR_MAIL, .kind = SF_ROLE_MAIL, .user_listed = 1},
		.mode = SF_MODE_OFF,
		.allow_local = 1,
		.to_local = 1,
		.to_relay = 1,
		.sender_allowed = 1,
		.sender_quarantined = 1,
	};

	(void)state;
	assert_int_equal(sf_decide(&f).reason, SF_REASON_OFF);
	f.mode = SF_MODE_ENFORCE;
	assert_int_equal(sf_decide(&f).reason, SF_REASON_LOCAL);
	f.allow_local = 0;
	assert_int_equal(sf_decide(&f).reason, SF_REASON_QUARANTINE);
	assert_int_equal(sf_decide(&f).verdict, SF_VERDICT_DENIED);
	f.sender_quarantined = 0;
	f.source_quarantined = 1;
	assert_int_equal(sf_decide(&f).reason, SF_REASON_QUARANTINE);
	f.source_quarantined = 0;
	assert_int_equal(sf_decide(&f).reason, SF_REASON_RELAY);
	f.to_relay = 0;
	assert_int_equal(sf_decide(&f).reason, SF_REASON_MAIL);
	f.task.user_listed = 0;
	assert_int_equal(sf_decide(&f).reason, SF_REASON_SENDER);
	f.sender_allowed = 0;
	assert_int_equal(sf_decide(&f).reason, SF_REASON_MAIL_USER);
	f.task = f.socket = (struct sf_place){.anchor = ANCHOR_EXEMPT, .kind = SF_ROLE_EXEMPT};
	assert_int_equal(sf_decide(&f).reason, SF_REASON_EXEMPT);
	f.socket = (struct sf_place){};
	assert_int_equal(sf_decide(&f).reason, SF_REASON_NO_ROLE);
	f.task = (struct sf_place){.anchor = ANCHOR_MAIL, .kind = SF_ROLE_MAIL, .user_listed = 1};
	assert_int_equal(sf_decide(&f).reason, SF_REASON_SOCKET_MOVED);
	f.mode = SF_MODE_MONITOR;
	assert_int_equal(sf_decide(&f).verdict, SF_VERDICT_WOULD_DENY);
	memset(&f, 0, sizeof(f)); /* all zero, as a wiped map: closed */
	assert_int_equal(sf_decide(&f).reason, SF_REASON_NO_SETTINGS);
	assert_int_equal(sf_decide(&f).verdict, SF_VERDICT_DENIED);
}

/* Facts that no hook makes, but a mistake in one might: they stay closed. */
static void mistakes_stay_closed(void **state)
{
	struct sf_facts f = {.mode = SF_MODE_ENFORCE,
			     .task = {.kind = SF_ROLE_MAIL, .user_listed = 1},
			     .socket = {.kind = SF_ROLE_MAIL, .user_listed = 1}};

	(void)state;
	assert_int_equal(sf_decide(&f).verdict, SF_VERDICT_DENIED); /* no anchor is no match */
	f.task.anchor = f.socket.anchor = ANCHOR_MAIL;
	assert_int_equal(sf_decide(&f).reason, SF_REASON_MAIL);
	f.socket.unknown = 1;
	assert_int_equal(sf_decide(&f).reason, SF_REASON_NO_IDENTITY);
	f.task.kind = f.socket.kind = SF_ROLE_EXEMPT;
	assert_int_equal(sf_decide(&f).reason, SF_REASON_NO_IDENTITY);
	f.socket.unknown = 0;
	assert_int_equal(sf_decide(&f).reason, SF_REASON_EXEMPT);
}

static void each_reason_has_its_verdict(void **state)
{
	(void)state;
	for (int r = 0; r < SF_REASON_COUNT; r++)
		assert_int_equal(!!sf_reason_denies((__u8)r), !lets_through(r));
	/* One that this version does not know is no permission. */
	assert_true(sf_reason_denies(SF_REASON_COUNT));
	assert_true(sf_reason_denies(255));
}

static void grants_by_port_and_time(void **state)
{
	struct sf_grants g = {
		.count = 2,
		.grant = {{.until_ns = 1000, .port = 25}, {.until_ns = SF_NEVER, .port = 587}}};
	struct sf_grants any = {.count = 1, .grant = {{.until_ns = 1000, .port = SF_PORT_ANY}}};
	struct sf_grants none = {.count = 0,
				 .grant = {{.until_ns = SF_NEVER, .port = SF_PORT_ANY}}};
	struct sf_grants full = {.count = SF_GRANTS_MAX};

	(void)state;
	assert_true(sf_grants_hold(&g, 25, 999));
	assert_false(sf_grants_hold(&g, 25, 1000)); /* the first nanosecond that is too late */
	assert_false(sf_grants_hold(&g, 25, 1001));
	assert_false(sf_grants_hold(&g, 24, 0));
	assert_false(sf_grants_hold(&g, 26, 0));
	assert_true(sf_grants_hold(&g, 587, SF_NEVER - 1));
	assert_false(sf_grants_hold(&g, 0, 0));
	assert_true(sf_grants_hold(&any, 465, 0));
	assert_false(sf_grants_hold(&any, 465, 1000));
	assert_false(sf_grants_hold(&none, 25, 0));
	full.grant[SF_GRANTS_MAX - 1] = (struct sf_grant){.until_ns = 5, .port = 465};
	assert_true(sf_grants_hold(&full, 465, 4));
	full.count--;
	assert_false(sf_grants_hold(&full, 465, 4));
	full.count = 0xffffffff; /* a map that somebody scribbled on: no further than the array */
	assert_false(sf_grants_hold(&full, 466, 4));
}

static void users_of_a_role(void **state)
{
	struct sf_role role = {.kind = SF_ROLE_MAIL, .user_count = 1, .users = {100}};

	(void)state;
	assert_true(sf_role_has_user(&role, 100));
	assert_false(sf_role_has_user(&role, 99));
	assert_false(sf_role_has_user(&role, 101));
	assert_false(sf_role_has_user(&role, 0)); /* the unused rest holds zeros, not root */
	role.user_count = SF_ROLE_USERS_MAX;
	for (__u32 i = 0; i < SF_ROLE_USERS_MAX; i++)
		role.users[i] = 1000 + i;
	assert_true(sf_role_has_user(&role, 1000 + SF_ROLE_USERS_MAX - 1));
	assert_false(sf_role_has_user(&role, 1000 + SF_ROLE_USERS_MAX));
	role.user_count = 0xffffffff;
	assert_false(sf_role_has_user(&role, 5));
	role.user_count = 0;
	assert_true(sf_role_has_user(&role, 5));
}

static int v4_self(__u8 a, __u8 b, __u8 c, __u8 d)
{
	struct sf_addr addr = {.b = {[10] = 0xff, [11] = 0xff, [12] = a, b, c, d}};

	return sf_addr_is_self(SF_FAMILY_V4, &addr);
}

static void addresses_of_every_host(void **state)
{
	struct sf_addr addr = {};

	(void)state;
	assert_true(v4_self(0, 0, 0, 0));
	assert_true(v4_self(127, 0, 0, 0));
	assert_true(v4_self(127, 0, 0, 1));
	assert_true(v4_self(127, 255, 255, 255));
	assert_false(v4_self(0, 0, 0, 1));
	assert_false(v4_self(0, 1, 0, 0));
	assert_false(v4_self(126, 255, 255, 255));
	assert_false(v4_self(128, 0, 0, 0));
	assert_false(v4_self(10, 127, 0, 1));
	assert_true(sf_addr_is_self(SF_FAMILY_V6, &addr));
	addr.b[15] = 1;
	assert_true(sf_addr_is_self(SF_FAMILY_V6, &addr));
	addr.b[15] = 2;
	assert_false(sf_addr_is_self(SF_FAMILY_V6, &addr));
	for (int i = 0; i < 15; i++) {
		memset(&addr, 0, sizeof(addr));
		addr.b[15] = 1;
		addr.b[i] = 1;
		assert_false(sf_addr_is_self(SF_FAMILY_V6, &addr));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_the_rule),
		cmocka_unit_test(neighbours_hold),
		cmocka_unit_test(order_of_the_rules),
		cmocka_unit_test(mistakes_stay_closed),
		cmocka_unit_test(each_reason_has_its_verdict),
		cmocka_unit_test(grants_by_port_and_time),
		cmocka_unit_test(users_of_a_role),
		cmocka_unit_test(addresses_of_every_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
