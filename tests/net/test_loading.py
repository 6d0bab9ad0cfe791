# SPDX-License-Identifier: GPL-2.0-only
"""Programs are loaded side by side: where that fails, one after the other, with the same result."""

import os

import kernel
import preload
from census import count_on, sources
from checks import denied, passes
from lab import HOST4
from test_uplinks import OURS, programs

# The kernel's refusal of programs by name: TEST_REFUSE, the first TEST_TIMES times in a process.
REFUSE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
static int left = -1;
long syscall(long number, ...)
{
	long (*real)(long, ...) = dlsym(RTLD_NEXT, "syscall");
	const char *name = getenv("TEST_REFUSE");
	long a[6];
	va_list args;
	va_start(args, number);
	for (int i = 0; i < 6; i++) a[i] = va_arg(args, long);
	va_end(args);
	if (left < 0) left = atoi(getenv("TEST_TIMES") ? getenv("TEST_TIMES") : "0");
	if (number == SYS_bpf && a[0] == BPF_PROG_LOAD && name &&
	    !strcmp(((union bpf_attr *)a[1])->prog_name, name) && left) {
		left--; errno = ENOMEM; return -1;
	}
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*begin)(void *), void *arg)
{
	int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
		dlsym(RTLD_NEXT, "pthread_create");
	return getenv("TEST_NO_THREADS") ? EAGAIN : real(thread, attr, begin, arg);
}
"""
ALWAYS = "1000"


def whole(lab, errno="ECONNREFUSED"):
    """The best form of the fence, and the census."""
    assert lab.fence("status").code == 0, lab.fence("status")
    denied(lab, lab.web, errno=errno)
    passes(lab, lab.mta, uid=8, gid=8)
    assert programs(lab, "up0") == OURS, programs(lab, "up0")
    assert sources(lab)[HOST4]["syn"] >= 1


def test_what_fails_in_company_is_loaded_alone(lab):
    preload.use(lab, "refuse", REFUSE)
    count_on(lab, mode="yes", errno="ECONNREFUSED")
    whole(lab)
    for forged in ({"TEST_NO_THREADS": "1"},
                   *({"TEST_REFUSE": name, "TEST_TIMES": "1"} for name in
                     ("smtpfence_conn4", "smtpfence_conn6", "smtpfence_mkdir", "smtpfence_out"))):
        for before in ("on", "off"):
            lab.fence(before)
            done = lab.fence("on", env={**os.environ, **forged})
            assert done.code == 0, (forged, before, done)
            # (who lists the open connections needs a thread, too)
            assert not done.err or "open connections" in done.err, (forged, before, done)
            whole(lab)


def test_with_few_descriptors(lab):
    """Whatever a shortage brings: an error that is told, or the whole fence."""
    count_on(lab, mode="yes", errno="ECONNREFUSED")
    for limit in (24, 40, 60, 80, 100, 200, 255, 256, 300):
        lab.fence("off")
        done = lab.run(["prlimit", f"--nofile={limit}", *lab.fence_argv("on")])
        assert done.code in (0, 1), (limit, done)
        if done.code:
            assert done.err and not kernel.pins(lab), (limit, done, kernel.pins(lab))
            passes(lab, lab.web)
        elif not done.err:
            whole(lab)
    assert done.code == 0 and not done.err, done


def test_what_the_kernel_refuses_is_told_as_ever(lab):
    preload.use(lab, "refuse", REFUSE)
    count_on(lab, mode="yes", errno="ECONNREFUSED")
    lab.fence("off")
    for name in ("smtpfence_conn4", "smtpfence_mkdir"):
        forged = {**os.environ, "TEST_REFUSE": name, "TEST_TIMES": ALWAYS}
        done = lab.fence("on", env=forged)
        assert done.code == 1 and "memory" in done.err, done
        assert not kernel.pins(lab), kernel.pins(lab)
        passes(lab, lab.web)
    # the uplinks' programs: the fence stands without them, and says what is missing
    done = lab.fence("on", env={**os.environ, "TEST_REFUSE": "smtpfence_out",
                                "TEST_TIMES": ALWAYS})
    assert done.code == 0 and "census" in done.err, done
    denied(lab, lab.web, errno="ECONNREFUSED")
    assert lab.fence("on").code == 0
    whole(lab)
    # while it stands, what can't be loaded leaves it as it is
    for name in ("smtpfence_conn4", "smtpfence_mkdir"):
        assert lab.fence("on", env={**os.environ, "TEST_REFUSE": name,
                                    "TEST_TIMES": ALWAYS}).code == 1
        whole(lab)
