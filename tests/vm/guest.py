#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Inside the guest: the tests of groups.py, or those that were named.

The machinery is tests/run.py's; under TCG everything takes several times as long. After each group
comes a line that tests/vm/run.py makes its table of: "# group NAME: P passed, F failed, S skipped".
"""

import argparse
import glob
import importlib
import inspect
import itertools
import os
import platform
import sys
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]
sys.dont_write_bytecode = True
os.environ.setdefault("SMTPFENCE_PACKETS", "8000")     # random packets, in tests/bpf
import groups           # noqa: E402
import run              # noqa: E402
import series           # noqa: E402
import slower           # noqa: E402

RELEASE = tuple(int(n) for n in platform.release().split("-")[0].split(".")[:2])


def load(file, tally):
    """[(name, function)] of a file's tests; one that does not import is a failure."""
    name = os.path.basename(file)[:-3]
    try:
        module = importlib.import_module(name)
    except Exception:
        tally.fail(name, traceback.format_exc(limit=-2).strip())
        return []
    return [(f"{name}.{test}", function) for test, function in vars(module).items()
            if test.startswith("test_") and inspect.isfunction(function)
            and function.__module__ == name]


def find(args, tally):
    """{group: [(name, function)]}, in the order of groups.py. Imported is what is chosen from."""
    tests = []
    for directory in (HERE, run.BPF, run.NET):
        for file in sorted(glob.glob(f"{directory}/test_*.py")):
            if args.patterns or groups.may_choose_from(os.path.basename(file)[:-3], args.choice):
                tests += load(file, tally)
    out = {}
    for name, function in tests:
        if run.wanted(name, args.patterns) if args.patterns \
                else groups.is_chosen(name, args.choice, args.kernel):
            out.setdefault(groups.group_of(name), []).append((name, function))
    return {g: out[g] for g in [*groups.GROUPS, "others"] if g in out}


def run_group(group, tests, total):
    tally = run.Tally()
    able = []
    for name, function in tests:
        why = groups.lacks(name, RELEASE)
        if why:
            tally.skip(name, why)
            continue
        function.time_limit = slower.FACTOR * getattr(function, "time_limit", run.TIME_LIMIT)
        able.append((name, function))
    for shared, together in itertools.groupby(able, lambda one: series.of(one[1]) or one[1]):
        if isinstance(shared, tuple):
            series.run_together(list(together), tally)
        else:
            run.run_net(*next(together), tally)
    print(f"# group {group}: {tally.passed} passed, {tally.failed} failed, "
          f"{tally.skipped} skipped", flush=True)
    for part in ("passed", "failed", "skipped"):
        setattr(total, part, getattr(total, part) + getattr(tally, part))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kernel", default="")
    parser.add_argument("--choice", choices=groups.CHOICES, default="usual")
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
