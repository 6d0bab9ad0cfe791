#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Runs the tests: unit binaries (build/tests/unit_*, cmocka), tests/bpf/test_*.py and
tests/net/test_*.py.

    tests/run.py [-l] [-j N] [PATTERN...]     a pattern is part of a name, or a shell pattern

Each of the latter runs in a process of its own, under a time limit, and gets a Lab when it takes an
argument; two at once, for most of them wait most of the time. What one leaves behind, this runner
removes. The last line is exactly
"N passed, N failed, N skipped"; exit status 1 when something failed.
"""

import argparse
import fnmatch
import glob
import importlib
import inspect
import os
import re
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
NET = os.path.join(HERE, "net")
BPF = os.path.join(HERE, "bpf")
BUILD = os.environ.get("SMTPFENCE_BUILD", os.path.join(os.path.dirname(HERE), "build"))

sys.path[:0] = [NET, BPF]
sys.dont_write_bytecode = True
import leftovers        # noqa: E402
import process          # noqa: E402
from process import TIME_LIMIT  # noqa: E402


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def ok(self, name, seconds):
        self.passed += 1
        print(f"ok {name} ({seconds:.1f} s)", flush=True)

    def fail(self, name, why):
        self.failed += 1
        print(f"FAIL {name}: {why}", flush=True)

    def skip(self, name, why):
        self.skipped += 1
        print(f"skip {name}: {why}", flush=True)


def wanted(name, patterns):
    return not patterns or any(p in name or fnmatch.fnmatch(name, p) for p in patterns)


# ---- unit binaries ----

def cmocka_count(text, word):
    return sum(int(n) for n in re.findall(rf"\[ *{word} *\] (\d+) test", text))


def run_unit(binary, tally):
    name = "unit/" + os.path.basename(binary)
    start = time.monotonic()
    try:
        done = subprocess.run([binary], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="backslashreplace",
                              timeout=TIME_LIMIT, cwd=os.path.dirname(HERE))
    except subprocess.TimeoutExpired:
        return tally.fail(name, f"no end within {TIME_LIMIT} s")
    passed, failed, skipped = (cmocka_count(done.stdout, w)
                               for w in ("PASSED", "FAILED", "SKIPPED"))
    if done.returncode and not failed:
        failed = 1      # it died before cmocka could say so
    if not passed + failed + skipped:
        return tally.fail(name, "no cmocka summary: not one test ran")
    tally.passed += passed
    tally.skipped += skipped
    if failed:
        print(done.stdout, end="", flush=True)
        tally.failed += failed - 1
        return tally.fail(name, f"{failed} of {passed + failed} failed, exit {done.returncode}")
    print(f"ok {name} ({passed} tests, {time.monotonic() - start:.1f} s)", flush=True)
    return None


# ---- the documents against the code ----

def run_docs(tally):
    """tests/docs/check_docs.py prints lines as this runner does; they are counted."""
    script = os.path.join(os.path.dirname(NET), "docs", "check_docs.py")
    done = subprocess.run([sys.executable, script, BUILD], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=TIME_LIMIT, cwd=os.path.dirname(HERE))
    counts = {word: len(re.findall(rf"(?m)^{word} ", done.stdout))
              for word in ("ok", "FAIL", "skip")}
    tally.passed += counts["ok"]
    tally.skipped += counts["skip"]
    print(re.sub(r"(?m)^ok .*\n", "", done.stdout), end="", flush=True)
    if counts["FAIL"] or done.returncode or not counts["ok"]:
        tally.failed += max(counts["FAIL"], 1)
    else:
        print(f"ok docs ({counts['ok']} checks)", flush=True)


# ---- net tests ----

def discover(tally):
    """[(name, function)] in the order of the files. A file that does not import is a failure."""
    found = []
    for file in sorted(glob.glob(f"{BPF}/test_*.py")) + sorted(glob.glob(f"{NET}/test_*.py")):
        module_name = os.path.basename(file)[:-3]
        try:
            module = importlib.import_module(module_name)
        except Exception:
            tally.fail(module_name, traceback.format_exc(limit=-2).strip())
            continue
        for name, function in vars(module).items():
            if name.startswith("test_") and inspect.isfunction(function) \
                    and function.__module__ == module_name:
                found.append((f"{module_name}.{name}", function))
    return found


def tell(child, verdict, why, tally):
    if verdict == "ok":
        tally.ok(child.name, child.seconds)
    elif verdict == "skip":
        tally.skip(child.name, why)
    else:
        tally.fail(child.name, why)


def run_nets(tests, jobs, tally):
    """Up to so many at once; those that are @limits.alone come last, each by itself."""
    waiting = sorted(tests, key=lambda test: getattr(test[1], "alone", False))
    running = []
    try:
        while waiting or running:
            while waiting and len(running) < (1 if getattr(waiting[0][1], "alone", False) else jobs):
                running.append(process.Child(*waiting.pop(0)))
            for child in list(running):
                ended = child.poll()
                if ended:
                    running.remove(child)
                    child.end()
                    tell(child, *ended, tally)
            time.sleep(0.01)
    finally:
        for child in running:
            child.end()


def run_net(name, function, tally):
    run_nets([(name, function)], 1, tally)


def main():
    parser = argparse.ArgumentParser(description="Run smtpfence's tests.")
    parser.add_argument("patterns", nargs="*", metavar="PATTERN")
    parser.add_argument("-l", "--list", action="store_true", help="only print the names")
    parser.add_argument("-j", "--jobs", type=int, default=2, metavar="N",
                        help="tests at once (default: 2)")
    args = parser.parse_args()
    tally = Tally()

    units = [b for b in sorted(glob.glob(f"{BUILD}/tests/unit_*"))
             if os.access(b, os.X_OK) and os.path.isfile(b)
             and wanted("unit/" + os.path.basename(b), args.patterns)]
    nets = [(n, f) for n, f in discover(tally) if wanted(n, args.patterns)]
    if args.list:
        print("\n".join(["unit/" + os.path.basename(b) for b in units] + [n for n, _ in nets]))
        return 0
    if not os.geteuid():
        for pid in leftovers.remove_dead():
            print(f"# removed what the killed test process {pid} had left")
    for binary in units:
        run_unit(binary, tally)
    if wanted("docs", args.patterns):
        run_docs(tally)
    if os.geteuid():
        for name, _ in nets:
            tally.skip(name, "needs root: network namespaces and cgroups")
    else:
        run_nets(nets, max(args.jobs, 1), tally)
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
