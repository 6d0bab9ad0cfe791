// SPDX-License-Identifier: GPL-2.0-only
/* Event records as text: paths from trails, hostile bytes, units and containers, wrong records. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "../../user/explain.h"
#include "../../maps/counters.h"

#define HEX64  "0123456789abcdef0123456789abcdef0123456789ABCDEF0123456789abcdef"
#define NO_PID 0x7ffffff0 /* above every kernel's pid_max: /proc has nothing to fill gaps with */

/* Append one name, as the programs do it. */
static void add(struct sf_trail *trail, const char *name)
{
	size_t n = strlen(name) + 1;

	assert_true(trail->used + n <= sizeof(trail->names));
	memcpy(trail->names + trail->used, name, n);
	trail->used = (uint16_t)(trail->used + n);
}

static void trail_is(const struct sf_trail *trail, const char *path)
{
	char out[sizeof(trail->names) + 8];

	assert_int_equal(sf_trail_path(trail, out, sizeof(out)), strlen(path));
	assert_string_equal(out, path);
}

static void trails(void **state)
{
	struct sf_trail t = {.used = 0};

	(void)state;
	trail_is(&t, "");
	add(&t, "php");
	trail_is(&t, "/php");
	add(&t, "bin");
	add(&t, "usr");
	trail_is(&t, "/usr/bin/php");
	t.cut = 1;
	trail_is(&t, ".../usr/bin/php");
	t.cut = 0;
	/* What names may hold: blanks, dots, newlines, bytes above 127, " (deleted)". */
	t.used = 0;
	add(&t, "\xff\n\"\\");
	add(&t, "... ");
	trail_is(&t, "/... /\xff\n\"\\");
}

static void full_trails(void **state)
{
	struct sf_trail t = {.used = 0};
	char name[SF_TRAIL_NAME], out[sizeof(t.names) + 8];
	size_t n;

	(void)state;
	memset(name, 'a', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	add(&t, name);
	add(&t, name);
	add(&t, name); /* the last at 512 needs its full room */
	assert_int_equal(t.used, sizeof(t.names));
	t.cut = 1;
	n = sf_trail_path(&t, out, sizeof(out));
	assert_int_equal(n, 3 + 768);
	/* Into too little room: whole names from the root's side, ended, nothing behind. */
	for (size_t size = 4; size < sizeof(out); size++) {
		memset(out, 'X', sizeof(out));
		n = sf_trail_path(&t, out, size);
		assert_true(n < size);
		assert_int_equal(out[n], '\0');
		assert_int_equal(out[size], 'X');
		assert_int_equal((n - 3) % 256, 0);
	}
}

/* Lengths that no program of ours writes: memory stays whole (ASan looks on). */
static void broken_trails(void **state)
{
	struct sf_trail *t = malloc(sizeof(*t));
	char out[sizeof(t->names) + 8];

	(void)state;
	assert_non_null(t);
	for (unsigned int used = 0; used <= 0xffff; used += used < 800 ? 1 : 997) {
		memset(t, 'a', sizeof(*t)); /* no NUL at all */
		t->used = (uint16_t)used;
		assert_true(sf_trail_path(t, out, sizeof(out)) < sizeof(out));
		memset(t, 0, sizeof(*t)); /* nothing but */
		t->used = (uint16_t)used;
		assert_true(sf_trail_path(t, out, sizeof(out)) < sizeof(out));
	}
	free(t);
}

static void place(const char *path, const char *unit, const char *container)
{
	char u[256], c[96];

	memset(u, 'X', sizeof(u));
	memset(c, 'X', sizeof(c));
	sf_explain_cgroup(path, u, sizeof(u), c, sizeof(c));
	assert_string_equal(u, unit);
	assert_string_equal(c, container);
}

static void units_and_containers(void **state)
{
	char path[600];

	(void)state;
	place("/", "", "");
	place("", "", "");
	place("/system.slice", "", "");
	place("/system.slice/php-fpm.service", "php-fpm.service", "");
	place("/system.slice/php-fpm.service/pool", "php-fpm.service", "");
	/* what is below a unit is named by whoever runs in it */
	place("/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope",
	      "user@1000.service", "");
	place("/system.slice/php-fpm.service/postfix.service", "php-fpm.service", "");
	place("/system.slice/docker-" HEX64 ".scope", "docker-" HEX64 ".scope", HEX64);
	place("/machine.slice/libpod-" HEX64 ".scope/container", "libpod-" HEX64 ".scope", HEX64);
	place("/docker/" HEX64, "", HEX64);
	place("/docker/" HEX64 "/init", "", HEX64);
	place("/kubepods.slice/pod1.slice/cri-containerd-" HEX64 ".scope",
	      "cri-containerd-" HEX64 ".scope", HEX64);
	place("/lxc.payload.web1/system.slice/x.service", "x.service", "web1");
	place("/machine.slice/machine-web1.scope", "machine-web1.scope", "web1");
	place("/machine.slice/machine-cust\\x2d1.scope", "machine-cust\\x2d1.scope", "cust-1");
	place("/machine-a\\x2g\\x2.scope", "machine-a\\x2g\\x2.scope", "a\\x2g\\x2");
	/* Nearly. */
	place("/.service/.scope", "", "");
	place("/a.services/b.scopes", "", "");
	place("/docker/x" HEX64, "", "");
	place("/docker/" HEX64 "0", "", "");
	place("/docker/" HEX64 "-x", "", "");
	place("/docker/0123456789abcdef", "", "");
	place("/lxc.payload.", "", "");
	place("/machine-.scope", "machine-.scope", "");
	place("/machine-web1.service", "machine-web1.service", "");
	place("...//a.service//", "a.service", "");
	place("////", "", "");
	/* Names longer than the room are cut, never past it. */
	memset(path, 'u', sizeof(path));
	memcpy(path, "/lxc.payload.", 13);
	strcpy(path + sizeof(path) - 10, "x.service");
	{
		char u[256], c[96];

		sf_explain_cgroup(path, u, sizeof(u), c, sizeof(c));
		assert_int_equal(strlen(u), 255);
		assert_int_equal(strlen(c), 95);
	}
}

static void event_of(struct sf_event *e)
{
	struct timespec now;

	memset(e, 0, sizeof(*e));
	clock_gettime(CLOCK_BOOTTIME, &now);
	e->abi = SF_ABI_VERSION;
	e->size = sizeof(*e);
	e->time_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	e->pid = e->tid = NO_PID;
	e->uid = 0;
	e->gid = 12;
	e->dport = 25;
	e->verdict = SF_VERDICT_DENIED;
	e->reason = SF_REASON_NO_ROLE;
	e->family = SF_FAMILY_V4;
	e->task_cgroup = 99;
	e->daddr = (struct sf_addr){.b = {[10] = 0xff, [11] = 0xff, [12] = 192, 0, 2, 7}};
	memcpy(e->comm, "php", 4);
	add(&e->exe, "php");
	add(&e->exe, "usr");
	add(&e->cwd, "www");
	add(&e->cgroup, "x.service");
	add(&e->cgroup, "system.slice");
	memcpy(e->cmdline, "php\0-f\0a b.php\0", 15);
	e->cmdline_used = 15;
}

static void a_record(void **state)
{
	struct sf_explained out;
	struct sf_event e;

	(void)state;
	event_of(&e);
	assert_int_equal(sf_explain(&e, sizeof(e), NULL, &out), 0);
	assert_in_range(out.time, time(NULL) - 2, time(NULL) + 2);
	assert_in_range(out.time_us, 0, 999999);
	assert_int_equal(out.pid, NO_PID);
	assert_int_equal(out.dport, 25);
	assert_int_equal(out.cgroup_id, 99);
	assert_string_equal(out.user, "root");
	assert_string_equal(out.comm, "php");
	assert_string_equal(out.exe, "/usr/php");
	assert_string_equal(out.cwd, "/www");
	assert_string_equal(out.cgroup, "/system.slice/x.service");
	assert_string_equal(out.unit, "x.service");
	assert_string_equal(out.cmdline, "php -f a b.php");
	assert_string_equal(out.daddr, "192.0.2.7");

	e.family = SF_FAMILY_V6;
	e.daddr = (struct sf_addr){.b = {0x20, 1, 0xd, 0xb8, [15] = 1}};
	e.uid = 4242424;
	e.cwd.used = 0; /* the root directory has no name */
	assert_int_equal(sf_explain(&e, sizeof(e), NULL, &out), 0);
	assert_string_equal(out.daddr, "2001:db8::1");
	assert_string_equal(out.user, "#4242424");
	assert_string_equal(out.cwd, "/");

	/* A kernel thread is no person, and its process tells nothing. */
	e.uid = SF_UID_KERNEL;
	assert_int_equal(sf_explain(&e, sizeof(e), NULL, &out), 0);
	assert_string_equal(out.user, "kernel");
	assert_string_equal(out.exe, "");
	assert_string_equal(out.cmdline, "");
}

static void hostile_bytes(void **state)
{
	struct sf_explained out;
	struct sf_event e;
	const char *texts[] = {out.user,    out.comm, out.exe,	     out.cwd,  out.cgroup,
			       out.cmdline, out.unit, out.container, out.daddr};
	uint32_t seed = 5;

	(void)state;
	event_of(&e);
	memset(e.comm, '"', sizeof(e.comm)); /* sixteen bytes and no NUL */
	e.exe.used = e.cgroup.used = 0;
	add(&e.exe, "a\nALERT id=1 user=\"root\"");
	add(&e.cgroup, "\x1b]0;x\x07.service");
	memcpy(e.cmdline, "a\0\0\"\n\xff\0\0", 8);
	e.cmdline_used = 8;
	assert_int_equal(sf_explain(&e, sizeof(e), NULL, &out), 0);
	assert_int_equal(strlen(out.comm), 2 * SF_COMM_LEN);
	assert_string_equal(out.exe, "/a\\x0aALERT id=1 user=\\\"root\\\"");
	assert_string_equal(out.unit, "\\x1b]0;x\\x07.service");
	assert_string_equal(out.cmdline, "a  \\\"\\x0a\\xff");

	/* Noise in all of it: always taken, always printable. */
	for (int round = 0; round < 3000; round++) {
		for (size_t i = 0; i < sizeof(e); i++) {
			seed = seed * 1664525 + 1013904223;
			((unsigned char *)&e)[i] = (unsigned char)(seed >> 24);
		}
		e.abi = SF_ABI_VERSION;
		e.size = sizeof(e);
		e.pid = NO_PID;
		e.uid %= 70000;
		e.time_ns >>= 10;
		assert_int_equal(sf_explain(&e, sizeof(e), NULL, &out), 0);
		assert_true(out.verdict < SF_VERDICT_COUNT && out.reason < SF_REASON_COUNT);
		for (size_t t = 0; t < sizeof(texts) / sizeof(texts[0]); t++)
			for (const char *p = texts[t]; *p; p++)
				assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
	}
}

static void gaps_are_filled_from_proc(void **state)
{
	struct sf_explained out;
	struct sf_event e;
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	(void)state;
	if (n <= 0)
		skip();
	exe[n] = '\0';
	event_of(&e);
	e.exe.used = e.cwd.used = 0;
	e.pid = (uint32_t)getpid();
	assert_int_equal(sf_explain(&e, sizeof(e), NULL, &out), 0);
	assert_string_equal(out.exe, exe);
	assert_int_equal(out.cwd[0], '/');
	e.pid = NO_PID;
	assert_int_equal(sf_explain(&e, sizeof(e), NULL, &out), 0);
	assert_string_equal(out.exe, "");
	assert_string_equal(out.cwd, "");
}

static void wrong_records(void **state)
{
	struct sf_explained out, before;
	struct sf_event e;

	(void)state;
	event_of(&e);
	memset(&out, 0x55, sizeof(out));
	before = out;
	/* Exactly so many bytes are there, so that ASan sees a look beyond them. */
	for (size_t size = 0; size < sizeof(e); size += size < 16 ? 1 : 111) {
		void *record = malloc(size ? size : 1);

		assert_non_null(record);
		memcpy(record, &e, size);
		assert_int_equal(sf_explain(record, size, NULL, &out), -EPROTO);
		free(record);
	}
	e.abi++;
	assert_int_equal(sf_explain(&e, sizeof(e), NULL, &out), -EPROTO);
	e.abi = 0;
	assert_int_equal(sf_explain(&e, sizeof(e), NULL, &out), -EPROTO);
	e.abi = SF_ABI_VERSION;
	e.size--;
	assert_int_equal(sf_explain(&e, sizeof(e), NULL, &out), -EPROTO);
	e.size = 0xffffffff;
	assert_int_equal(sf_explain(&e, sizeof(e), NULL, &out), -EPROTO);
	assert_memory_equal(&out, &before, sizeof(out));
}

static void user_names(void **state)
{
	char name[64];

	(void)state;
	for (int round = 0; round < 2; round++) { /* the second time from the cache */
		sf_explain_user(0, name, sizeof(name));
		assert_string_equal(name, "root");
		sf_explain_user(64 * 50000000u, name, sizeof(name)); /* the same place in it */
		assert_string_equal(name, "#3200000000");
		sf_explain_user(SF_UID_KERNEL, name, sizeof(name));
		assert_string_equal(name, "kernel");
	}
	sf_explain_user(3200000000u, name, 5);
	assert_int_equal(strlen(name), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trails),
		cmocka_unit_test(full_trails),
		cmocka_unit_test(broken_trails),
		cmocka_unit_test(units_and_containers),
		cmocka_unit_test(a_record),
		cmocka_unit_test(hostile_bytes),
		cmocka_unit_test(gaps_are_filled_from_proc),
		cmocka_unit_test(wrong_records),
		cmocka_unit_test(user_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
