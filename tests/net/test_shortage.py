# SPDX-License-Identifier: GPL-2.0-only
"""Too little of something, and pins that were taken away: what was counted stays. Found by chaos."""

import os

import census
import kernel
import limits
import preload
from census import count_on, sources
from checks import denied, passes
from lab import until
from test_gateway import gateway


def counted(lab):
    return census.syn_sum(sources(lab))


def send_some(lab, n=5):
    for _ in range(n):
        passes(lab, lab.mta, uid=8, gid=8)


NO_MEMORY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
long syscall(long number, ...)
{
	long (*real)(long, ...) = dlsym(RTLD_NEXT, "syscall");
	const char *pin = getenv("TEST_PIN");
	long a[6];
	va_list args;
	va_start(args, number);
	for (int i = 0; i < 6; i++) a[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_bpf && a[0] == BPF_OBJ_GET && pin && *pin &&
	    strstr((char *)((union bpf_attr *)a[1])->pathname, pin)) { errno = ENOMEM; return -1; }
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
"""


@limits.seconds(120)
def test_a_table_that_can_not_be_opened_is_not_one_that_is_not_there(lab):
    """For want of memory or descriptors: none begins anew, nothing opens."""
    with gateway(lab):
        send_some(lab)
        before = counted(lab)
        assert before >= 5
        preload.use(lab, "nomemory", NO_MEMORY, TEST_PIN="")
        for pin in ("/source_counts", "/attempts", "/census_settings", "/customers", "_gwin"):
            for command in ("apply", "on"):
                lab.fence(command, env={**os.environ, "TEST_PIN": pin})
                now = counted(lab)
                assert now >= before, f"{before} SYNs were counted, {now} after {command} without {pin}"
        assert lab.fence("on").code == 0
        assert lab.fence("status").code == 0
        denied(lab, lab.web)


@limits.seconds(120)
def test_a_removed_pin_of_the_census_loses_no_count(lab):
    """Mended by the customers' part of the daemon, which comes first where an interface comes."""
    with gateway(lab) as r:
        lab.daemon()
        send_some(lab)
        before = counted(lab)
        assert before >= 5
        for number, name in enumerate(("attempts", "source_counts", "census_settings")):
            os.unlink(kernel.map_pin(lab, name))
            r.add(f"more{number}", 30 + number)
            assert until(lambda: lab.fence("status").code == 0, 25, 0.2), lab.fence("status")
            assert counted(lab) >= before, (name, before, counted(lab))


@limits.seconds(120)
def test_a_daemon_without_memory_ends_with_a_word(lab):
    """At whatever it fails while it starts: it says so, and does not crash."""
    count_on(lab, mode="yes")
    for kib in range(1000, 5000, 100):
        daemon = lab.spawn(["prlimit", f"--data={kib << 10}", *lab.daemon_argv()])
        until(lambda: daemon.poll() is not None, 0.2)
        assert daemon.poll() in (None, 0, 1, 2, 127), f"{kib} KiB: exit {daemon.poll()}"
        daemon.kill()
        daemon.wait()
        lab._procs.remove(daemon)
    denied(lab, lab.web)
