#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Inside the guest: the checks of test_kernel.py, or those tests of tests/net that were named.

The machinery is tests/run.py's; under TCG everything takes several times as long.
"""

import importlib
import inspect
import os
import platform
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]
sys.dont_write_bytecode = True
import run              # noqa: E402

SLOWER = 6              # TCG; the time limits of tests/net are for the machine itself


def own():
    module = importlib.import_module("test_kernel")
    return [(f"test_kernel.{name}", function) for name, function in vars(module).items()
            if name.startswith("test_") and inspect.isfunction(function)]


def main(patterns):
    tally = run.Tally()
    print(f"# Linux {platform.release()}", flush=True)
    tests = own()
    if patterns:
        tests = [(n, f) for n, f in [*tests, *run.discover(tally)] if run.wanted(n, patterns)]
    for name, function in tests:
        function.time_limit = SLOWER * getattr(function, "time_limit", run.TIME_LIMIT)
        run.run_net(name, function, tally)
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
