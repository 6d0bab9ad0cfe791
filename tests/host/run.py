#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A whole real host, in a virtual machine: tests/host/run.py [-k KERNEL] [PATTERN...]

Debian with systemd, Postfix, nginx, PHP-FPM, cron and sessions gets smtpfence by `make install`;
the tests run in the order of the file names below, each with the seconds that it took. The
last line is "N passed, N failed, N skipped"; exit status 1 when a test failed or none ran.
SMTPFENCE_CACHE names another place for the disk and the kernel, SMTPFENCE_BUILD another build.
"""

import argparse
import contextlib
import importlib
import inspect
import os
import shutil
import sys
import time
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import builds           # noqa: E402
import fence            # noqa: E402
import host             # noqa: E402
import scenery          # noqa: E402
from far import Far     # noqa: E402
from host import packages   # noqa: E402

# From an empty host to an empty host.
MODULES = ("test_install", "test_boot", "test_senders", "test_restarts", "test_daemon",
           "test_sandbox", "test_upgrade", "test_removal")


class Tally:
    passed = failed = skipped = 0

    def say(self, word, text):
        if word == "ok":
            self.passed += 1
        elif word == "FAIL":
            self.failed += 1
        else:
            self.skipped += 1
        print(f"{word} {text}", flush=True)


def find(patterns):
    """[(name, function)] in the order in which they are to run."""
    found = []
    for module in MODULES:
        for name, function in vars(importlib.import_module(module)).items():
            if name.startswith("test_") and inspect.isfunction(function) \
                    and function.__module__ == module:
                full = f"{module}.{name}"
                if not patterns or any(p in full for p in patterns):
                    found.append((full, function))
    return found


def describe(error):
    where = " < ".join(f"{os.path.basename(f.filename)}:{f.lineno}"
                       for f in traceback.extract_tb(error.__traceback__)[1:])
    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
    return f"{kind}{error} [{where}]"


def run_tests(machine, tests, tally):
    for number, (name, function) in enumerate(tests):
        start = time.monotonic()
        try:
            function(machine)
            tally.say("ok", f"{name} ({time.monotonic() - start:.1f} s)")
        except host.Gone as why:
            tally.say("FAIL", f"{name}: {why}")
            for left, _ in tests[number + 1:]:
                tally.say("FAIL", f"{left}: the machine was gone")
            return
        except Exception as error:
            tally.say("FAIL", f"{name}: {describe(error)}")
            with contextlib.suppress(host.Gone, AssertionError):
                fence.show_trouble(machine)


def with_host(args, tests, tally):
    directory = f"/tmp/smtpfence-test-{os.getpid()}-host"      # leftovers.py removes it
    start = time.monotonic()

    def part(what):
        nonlocal start
        print(f"# {what}: {time.monotonic() - start:.0f} s", flush=True)
        start = time.monotonic()

    with Far() as far:
        os.makedirs(f"{directory}/work")
        builds.make(f"{directory}/work")
        part("two builds")
        machine = host.Host(directory, far, f"{directory}/work", args.kernel)
        part("the disk")
        try:
            with machine:
                part(f"the first boot, Linux {args.kernel}")
                scenery.set_up(machine)
                machine.before = importlib.import_module("test_removal").snapshot(machine)
                part("the scenery")
                run_tests(machine, tests, tally)
                print(f"# {machine.cpu_seconds():.0f} s of processor time", flush=True)
        finally:
            if args.keep:
                shutil.copytree(directory, args.keep, dirs_exist_ok=True,
                                ignore=shutil.ignore_patterns("work*", "agent", "vl.*"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="part of a test's name")
    parser.add_argument("-k", "--kernel", default="6.1", help="as tests/vm knows them")
    parser.add_argument("-l", "--list", action="store_true", help="only print the names")
    parser.add_argument("--keep", metavar="DIR", help="copy the console and the logs there")
    args = parser.parse_args()
    tests, tally, start = find(args.patterns), Tally(), time.monotonic()
    if args.list:
        print("\n".join(name for name, _ in tests))
        return 0
    try:
        if os.geteuid():
            raise packages.Unavailable("needs root: a network namespace, and debootstrap")
        with_host(args, tests, tally)
    except packages.Unavailable as why:
        for name, _ in tests[tally.passed + tally.failed:]:
            tally.say("skip", f"{name}: {why}")
    except (host.Gone, AssertionError, RuntimeError) as why:    # before the first test
        tally.say("FAIL", f"the host: {why}")
    print(f"# {time.monotonic() - start:.0f} s in all")
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
