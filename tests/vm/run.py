#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Run the tests of groups.py under other kernels: tests/vm/run.py 5.10 6.1 6.12

More words are patterns for the names of tests, of all of tests/: tests/vm/run.py 5.10 test_paths
At the end comes a table, kernel by group, with the reason of each skip. Exit status 1 when a test
failed, a kernel came to no end, or no test ran at all: a skipped kernel is no success.
SMTPFENCE_BUILD names another build, SMTPFENCE_CACHE another place for kernels and tools.
"""

import argparse
import concurrent.futures
import contextlib
import os
import re
import sys
import time

sys.dont_write_bytecode = True
import groups           # noqa: E402
import machine          # noqa: E402
import packages         # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("SMTPFENCE_BUILD",
                       os.path.join(os.path.dirname(os.path.dirname(HERE)), "build"))
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
GROUP_LINE = re.compile(r"# group (\S+): (\d+) passed, (\d+) failed, (\d+) skipped$")


class Guest:
    """What one kernel's guest said: its output passed on, and its row of the table."""

    def __init__(self, version, prefix):
        self.version, self.verdict, self.seconds = version, "", 0.0
        self.prefix = prefix        # of its lines, where several run at once
        self.failed = False
        self.cells, self.skips = {}, []

    def echo(self, line):
        print(f"{self.prefix}{line}", flush=True)
        found = GROUP_LINE.match(line)
        if found:
            self.cells[found.group(1)] = tuple(int(n) for n in found.groups()[1:])
        elif line.startswith("skip "):
            self.skips.append(tuple(line[5:].split(": ", 1)))

    def run(self, words, seconds):
        start = time.monotonic()
        try:
            status = machine.run(self.version, [PYTHON, f"{HERE}/guest.py", *words],
                                 {"SMTPFENCE_BUILD": os.path.abspath(BUILD)}, seconds,
                                 echo=self.echo)
            self.failed = status != 0
            self.verdict = {0: "ok", None: "FAIL, no end, or the kernel stopped"}.get(status, "FAIL")
        except packages.Unavailable as why:
            self.verdict = f"skip: {why}"
        self.seconds = time.monotonic() - start

    def passed(self):
        return sum(cell[0] for cell in self.cells.values())


def print_table(guests):
    columns = [g for g in [*groups.GROUPS, "others"] if any(g in k.cells for k in guests)]
    print("passed/failed/skipped")
    print("".join(f"{word:>11}" for word in ["kernel", *columns]))
    for guest in guests:
        cells = ["/".join(map(str, guest.cells[c])) if c in guest.cells else "-" for c in columns]
        print("".join(f"{word:>11}" for word in [guest.version, *cells]))
    for guest in guests:
        reasons = {}
        for name, why in guest.skips:
            reasons.setdefault(why, []).append(name)
        for why, names in reasons.items():
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
            print(f"skipped on {guest.version}: {shown}: {why}")
    for guest in guests:
        print(f"Linux {guest.version} ({guest.seconds:.0f} s): {guest.verdict}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="KERNEL | PATTERN")
    parser.add_argument("--all", action="store_true", help="all tests of the groups (long)")
    parser.add_argument("--seconds", type=int, default=0,
                        help="bound for each kernel (default: 900, with --all 7200)")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1),
                        help="kernels at once (2: a guest keeps little more than a core busy)")
    args = parser.parse_args()
    kernels = [w for w in args.words if re.fullmatch(r"\d+(\.\d+)+", w)]
    words = ["--all"] * args.all + [w for w in args.words if w not in kernels]
    kernels = kernels or list(packages.SUITES)
    guests = [Guest(v, f"{v}: " if len(kernels) > 1 else "") for v in kernels]
    with contextlib.suppress(packages.Unavailable):     # each guest says so again
        packages.tools()                                # not fetched twice at once
    with concurrent.futures.ThreadPoolExecutor(max(args.jobs, 1)) as pool:
        for done in [pool.submit(guest.run, words, args.seconds or (7200 if args.all else 900))
                     for guest in guests]:
            done.result()
    print_table(guests)
    passed = sum(guest.passed() for guest in guests)
    if not passed:
        print("no test passed under any kernel: this shows nothing")
    return 1 if not passed or any(guest.failed for guest in guests) else 0


if __name__ == "__main__":
    sys.exit(main())
