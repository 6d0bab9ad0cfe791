#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What the census adds to a packet, in ns over an empty program, and reading its table.

    tests/bench/packets.py [--quick] [--only PART_OF_A_NAME] [--json FILE]

By itself, or as a part of make bench. Needs root and build/tests/bench-packets.
"""
import argparse
import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True
import report

BUILD = os.environ.get("BUILD", os.path.join(os.path.dirname(__file__), "../../build"))
TOOL = os.path.join(BUILD, "tests/bench-packets")
QUICK, FULL = (5, 300_000), (15, 1_000_000)     # rounds, repetitions, by itself
IN_BENCH = {True: (3, 100_000), False: (7, 300_000)}


def measure(quick=False, only="", how=None):
    """[{case, ns, least, empty, budget} or {case, ms, first_ms, budget_ms}]"""
    done = subprocess.run([TOOL, *map(str, how or (QUICK if quick else FULL)), only],
                          stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"bench: {TOOL}: exit {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def budgets(cases):
    """As budgets.judge has them: (what, limit, measured, met, why)."""
    for c in cases:
        if "ms" in c:
            yield (c["case"], f"{c['budget_ms']} ms", f"{c['ms']:.1f} ms",
                   c["ms"] <= c["budget_ms"], f"the first time {c['first_ms']:.1f} ms")
            continue
        limit = c["budget"]
        yield (c["case"], f"{limit} ns" if limit else "-", f"{c['ns']:.0f} ns",
               c["ns"] <= limit if limit else None,
               f"least {c['least']:.0f}; the empty program's round {c['empty']:.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if not os.access(TOOL, os.X_OK):
        sys.exit(f"bench: {TOOL} is not there: make it first")
    cases = measure(options.quick, options.only)
    report.print_budgets(list(budgets(cases)))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump(cases, f, indent=1)


if __name__ == "__main__":
    main()
