#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Run the checks of test_kernel.py under other kernels: tests/vm/run.py 5.10 6.1 6.12

More words are patterns for the names of tests, of tests/net too: tests/vm/run.py 5.10 test_paths
SMTPFENCE_BUILD names another build, SMTPFENCE_CACHE another place for kernels and tools.
"""

import argparse
import os
import re
import sys
import time

sys.dont_write_bytecode = True
import machine          # noqa: E402
import packages         # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("SMTPFENCE_BUILD",
                       os.path.join(os.path.dirname(os.path.dirname(HERE)), "build"))
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="KERNEL | PATTERN")
    parser.add_argument("--seconds", type=int, default=600, help="bound for each kernel")
    args = parser.parse_args()
    kernels = [w for w in args.words if re.fullmatch(r"\d+(\.\d+)+", w)]
    patterns = [w for w in args.words if w not in kernels]
    summary, failed = [], 0
    for version in kernels or list(packages.SUITES):
        start = time.monotonic()
        try:
            status = machine.run(version, [PYTHON, f"{HERE}/guest.py", *patterns],
                                 {"SMTPFENCE_BUILD": os.path.abspath(BUILD)}, args.seconds)
            word = {0: "ok", None: "FAIL, no end, or the kernel stopped"}.get(status, "FAIL")
        except packages.Unavailable as why:
            status, word = 0, f"skip: {why}"
        failed += status != 0
        summary.append(f"Linux {version} ({time.monotonic() - start:.0f} s): {word}")
    print("\n".join(summary))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
