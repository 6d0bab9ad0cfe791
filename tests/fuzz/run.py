#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Runs fuzzers: first over what is committed (corpus/TARGET: inputs that reach far, and those that
once broke something), then over what libFuzzer makes of it, for a fixed time each, as many at once
as there are cores. New inputs are kept in BUILD/found/TARGET, what breaks in BUILD/broken: nothing
enters the tree by itself.

    tests/fuzz/run.py --build build/fuzz --seconds 60 config csv ...
    tests/fuzz/run.py --build build/fuzz --merge config       corpus anew: smallest that reaches all
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
MAX_LEN = {"events": 3000, "config": 3000, "capture": 2000, "mailservers": 2500, "packets": 700,
           "escape": 300, "history": 2500}
LEAST_LEN = 1500
CORPUS_BYTES = 14000    # of a target in the tree
HEADINGS = ("TARGET", "RUNS", "CORPUS", "FEATURES", "SECONDS", "RESULT")


class Target:
    def __init__(self, name, options):
        self.name, self.program = name, os.path.join(options.build, name)
        self.corpus = os.path.join(HERE, "corpus", name)
        self.found = os.path.join(options.build, "found", name)
        self.log = os.path.join(options.build, "logs", name + ".log")
        self.broken = os.path.join(options.build, "broken", name + "-")
        for place in (self.found, os.path.dirname(self.log), os.path.dirname(self.broken)):
            os.makedirs(place, exist_ok=True)

    def arguments(self):
        given = [f"-max_len={MAX_LEN.get(self.name, LEAST_LEN)}", "-timeout=20",
                 "-rss_limit_mb=2048", f"-artifact_prefix={self.broken}", "-print_final_stats=1",
                 "-len_control=20"]
        words = os.path.join(HERE, "words", self.name)
        return given + ([f"-dict={words}"] if os.path.exists(words) else [])

    def needs_root(self):
        return self.name == "packets" and os.geteuid() != 0


def environment(place):
    # Little memory is kept after free: there are many processes, and the runs are short.
    return dict(os.environ, SF_FUZZ_DIR=place, TZ="UTC", LC_ALL="C",
                ASAN_OPTIONS="quarantine_size_mb=16:detect_leaks=1:handle_abort=1",
                UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")


def run(target, seconds):
    """(runs, inputs, features, seconds, how it ended)"""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sf-fuzz-", dir="/dev/shm") as place, \
            open(target.log, "wb") as log:
        try:
            code = subprocess.run(
                [target.program, *target.arguments(), f"-max_total_time={seconds}", target.found,
                 target.corpus], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=environment(place), timeout=seconds + 120).returncode
        except subprocess.TimeoutExpired:
            code = "does not end"
    text = open(target.log, encoding="utf-8", errors="replace").read()
    last = re.findall(r"ft: (\d+) corp: (\d+)/", text)
    runs = re.findall(r"number_of_executed_units: (\d+)", text)
    features, inputs = last[-1] if last else ("?", "?")
    said = re.search(r"(?:ERROR: |runtime error: |SUMMARY: )(.*)", text)
    result = "passed" if code == 0 else f"FAILED ({code}): {said[1] if said else target.log}"
    return runs[-1] if runs else "?", inputs, features, f"{time.monotonic() - begin:.0f}", result


def merge(target):
    """What is committed and what was found: as few inputs as reach the same, the small ones."""
    with tempfile.TemporaryDirectory(prefix="sf-fuzz-", dir="/dev/shm") as place:
        kept = os.path.join(place, "kept")
        os.mkdir(kept)
        subprocess.run([target.program, *target.arguments(), "-set_cover_merge=1", kept, target.corpus,
                        target.found], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, env=environment(place))
        for name in os.listdir(target.corpus):
            if re.fullmatch("[0-9a-f]{40}", name):      # named inputs have a reason to be there
                os.remove(os.path.join(target.corpus, name))
        small = sorted((os.path.getsize(os.path.join(kept, n)), n) for n in os.listdir(kept))
        room = CORPUS_BYTES
        for size, name in small:
            room -= size
            if room > 0 and name not in os.listdir(target.corpus):
                shutil.copy(os.path.join(kept, name), target.corpus)
    sizes = [os.path.getsize(os.path.join(target.corpus, n)) for n in os.listdir(target.corpus)]
    print(f"{target.name}: {len(sizes)} inputs, {sum(sizes)} bytes")


def table(rows):
    widths = [max(len(str(r[i])) for r in rows) for i in range(len(HEADINGS))]
    for row in rows:
        print("  ".join(str(c).ljust(w) for c, w in zip(row, widths)).rstrip())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--merge", action="store_true")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBS", os.cpu_count())))
    parser.add_argument("targets", nargs="+")
    options = parser.parse_args()
    targets = [Target(n, options) for n in options.targets]
    if options.merge:
        for target in targets:
            merge(target)
        return 0
    skipped = [t for t in targets if t.needs_root()]
    targets = [t for t in targets if t not in skipped]
    with ThreadPoolExecutor(options.jobs) as pool:
        done = list(pool.map(lambda t: run(t, options.seconds), targets))
    table([HEADINGS, *((t.name, *d) for t, d in zip(targets, done))])
    for target in skipped:
        print(f"skipped: {target.name}: it loads programs into the kernel, which needs root")
    failed = sum(d[-1] != "passed" for d in done)
    if failed:
        print(f"what broke them is in {options.build}/broken, their words in {options.build}/logs")
    print(f"{len(done) - failed} passed, {failed} failed, {len(skipped)} skipped")
    return 1 if failed or not done else 0


if __name__ == "__main__":
    sys.exit(main())
