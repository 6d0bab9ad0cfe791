#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Run the tests of groups.py under other kernels: tests/vm/run.py 5.10 6.1 newest 6.12-arm64

More words are patterns for the names of tests, of all of tests/: tests/vm/run.py 5.10 test_paths
At the end comes a table, kernel by group, with the reason of each skip; the last line counts all
tests, and a kernel that can't be had as one skipped. Exit status 1 when a test failed, a kernel
came to no end, or no test ran at all (but with --short: there that is a skip).
SMTPFENCE_BUILD names another build, SMTPFENCE_CACHE another place for kernels and tools.
"""

import argparse
import concurrent.futures
import os
import re
import sys
import time

sys.dont_write_bytecode = True
import arm64            # noqa: E402
import groups           # noqa: E402
import machine          # noqa: E402
import packages         # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("SMTPFENCE_BUILD",
                       os.path.join(os.path.dirname(os.path.dirname(HERE)), "build"))
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
# The longest first.
USUAL = ("6.12-arm64", "newest", "6.18", "6.12", "6.1", "5.10", "5.10.223")
GROUP_LINE = re.compile(r"# group (\S+): (\d+) passed, (\d+) failed, (\d+) skipped$")
TEST_LINE = re.compile(r"(ok|FAIL|skip|# Linux) \S")


class Guest:
    """What one kernel's guest said: its output passed on, and its row of the table."""

    def __init__(self, version, prefix, args):
        self.version, self.prefix, self.args = version, prefix, args
        self.verdict, self.seconds, self.cpu = "", 0.0, 0.0
        self.missing = self.no_end = False
        self.cells, self.skips, self._meter = {}, [], None

    def echo(self, line):
        times = ""
        if self._meter and TEST_LINE.match(line):
            before, self.cpu = self.cpu, self._meter()
            times = f" [{self.cpu - before:.1f} s of CPU]" * self.args.times
        print(f"{self.prefix}{line}{times}", flush=True)
        found = GROUP_LINE.match(line)
        if found:
            self.cells[found.group(1)] = tuple(int(n) for n in found.groups()[1:])
        elif line.startswith("skip "):
            self.skips.append(tuple(line[5:].split(": ", 1)))
        elif line.startswith("# Linux "):
            self.verdict = line[8:]

    def run(self, words):
        start = time.monotonic()
        try:
            status = self._boot(words)
            if status is None and not self.verdict:
                print(f"{self.prefix}# it did not come up; once more", flush=True)
                status = self._boot(words)
            self.no_end = status is None or (status != 0 and not self.failed())
            word = {0: "ok", None: "FAIL, no end, or the kernel stopped"}.get(status, "FAIL")
            self.verdict = f"{self.verdict} {word}"
        except (packages.Unavailable, PermissionError) as why:
            self.missing = True
            self.skips.append(("all", str(why)))
            self.verdict = "skip"
        except arm64.BuildFailed as why:
            self.no_end = True
            self.verdict = f"FAIL, not built: {why}"
        self.seconds = time.monotonic() - start

    def _boot(self, words):
        build = os.path.abspath(BUILD)
        if self.version.endswith("-arm64"):
            build = arm64.build()
        argv = [PYTHON, f"{HERE}/guest.py", "--kernel", self.version, *words]
        return machine.run(self.version, argv, {"SMTPFENCE_BUILD": build}, self.args.seconds,
                           self.args.cpus, echo=self.echo, meter=self._take_meter)

    def _take_meter(self, meter):
        self._meter = meter

    def count(self, n):
        return sum(cell[n] for cell in self.cells.values())

    def passed(self):
        return self.count(0)

    def failed(self):
        return self.count(1) + self.no_end

    def skipped(self):
        return self.count(2) + self.missing


def print_table(guests):
    columns = [g for g in [*groups.GROUPS, "others"] if any(g in k.cells for k in guests)]
    print("passed/failed/skipped; -: nothing of the group is chosen for this kernel")
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
        print(f"{guest.version}: {guest.verdict} ({guest.seconds:.0f} s, {guest.cpu:.0f} of CPU)")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="KERNEL | PATTERN",
                        help=f"kernels: {', '.join(packages.KERNELS)} (default: "
                             f"{', '.join(USUAL)}); others are parts of tests' names")
    parser.add_argument("--all", action="store_true", help="all tests of the groups (long)")
    parser.add_argument("--short", action="store_true",
                        help="the shortest choice; kernels that can't be had are no failure")
    parser.add_argument("--seconds", type=int, default=0,
                        help="bound for each kernel (default: 900, with --all 7200)")
    parser.add_argument("--cpus", type=int, default=2, help="processors of a guest (2)")
    parser.add_argument("--times", action="store_true", help="each test's seconds of CPU")
    parser.add_argument("--jobs", type=int, default=(os.cpu_count() or 1) + 1,
                        help="kernels at once (default: one more than there are processors)")
    args = parser.parse_args()
    args.seconds = args.seconds or (7200 if args.all else 900)
    return args


def main():
    args = arguments()
    start = time.monotonic()
    kernels = [w for w in args.words if w in packages.KERNELS or re.fullmatch(r"\d+\.[\d.]+", w)]
    words = [w for w in args.words if w not in kernels]
    if args.all or args.short:
        words = ["--choice", "all" if args.all else "short", *words]
    kernels = kernels or USUAL
    guests = [Guest(v, f"{v}: " if len(kernels) > 1 else "", args) for v in kernels]
    with concurrent.futures.ThreadPoolExecutor(max(args.jobs, 1)) as pool:
        for done in [pool.submit(guest.run, words) for guest in guests]:
            done.result()
    print_table(guests)
    passed, failed, skipped = (sum(count(g) for g in guests)
                               for count in (Guest.passed, Guest.failed, Guest.skipped))
    if not passed:
        print("no test passed under any kernel: this shows nothing")
    print(f"# {time.monotonic() - start:.0f} s, {sum(g.cpu for g in guests):.0f} of CPU")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed and not args.short else 0


if __name__ == "__main__":
    sys.exit(main())
