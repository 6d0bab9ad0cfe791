#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Inside the guest: the tests of groups.py, or those that were named.

The machinery is tests/run.py's; under TCG everything takes several times as long. After each group
comes a line that tests/vm/run.py makes its table of: "# group NAME: P passed, F failed, S skipped".
"""

import argparse
import importlib
import inspect
import os
import platform
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]
sys.dont_write_bytecode = True
os.environ.setdefault("SMTPFENCE_PACKETS", "20000")     # random packets, in tests/bpf
import groups           # noqa: E402
import run              # noqa: E402

SLOWER = 6              # TCG; the time limits of tests/net are for the machine itself
RELEASE = tuple(int(n) for n in platform.release().split("-")[0].split(".")[:2])


def find(args, tally):
    """{group: [(name, function)]}, in the order of groups.py."""
    module = importlib.import_module("test_kernel")
    tests = [(f"test_kernel.{name}", function) for name, function in vars(module).items()
             if name.startswith("test_") and inspect.isfunction(function)] + run.discover(tally)
    out = {}
    for name, function in tests:
        if run.wanted(name, args.patterns) if args.patterns else groups.is_chosen(name, args.all):
            out.setdefault(groups.group_of(name), []).append((name, function))
    return {g: out[g] for g in [*groups.GROUPS, "others"] if g in out}


def run_group(group, tests, total):
    tally = run.Tally()
    for name, function in tests:
        why = groups.lacks(name, RELEASE)
        if why:
            tally.skip(name, why)
            continue
        function.time_limit = SLOWER * getattr(function, "time_limit", run.TIME_LIMIT)
        run.run_net(name, function, tally)
    print(f"# group {group}: {tally.passed} passed, {tally.failed} failed, "
          f"{tally.skipped} skipped", flush=True)
    for part in ("passed", "failed", "skipped"):
        setattr(total, part, getattr(total, part) + getattr(tally, part))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true")
    parser.add_argument("patterns", nargs="*")
    args = parser.parse_args()
    total = run.Tally()
    print(f"# Linux {platform.release()}", flush=True)
    for group, tests in find(args, total).items():
        run_group(group, tests, total)
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
