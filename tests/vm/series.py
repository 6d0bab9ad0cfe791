# SPDX-License-Identifier: GPL-2.0-only
"""Tests that share a lab, one after the other in one process: under TCG making a lab and turning
the fence on take several times as long as what is then looked at.

    series("fence", test_a, test_b)     each gets the lab as the one before left it
"""

import contextlib
import json
import os
import signal
import sys
import time
import unittest

import leftovers
import process


def series(*functions):
    for function in functions:
        function.series = functions


def of(function):
    return getattr(function, "series", None)


def _judge(function, lab):
    signal.alarm(function.time_limit)
    try:
        function(lab)
        return "ok", ""
    except unittest.SkipTest as why:
        return "skip", str(why)
    except (Exception, process.OutOfTime, SystemExit) as error:
        return "FAIL", process.describe(error)
    finally:
        signal.alarm(0)


def _child(tests, pipe):
    """Never returns."""
    def out_of_time(*_):
        raise process.OutOfTime("over its time limit, or the run was ended")

    os.setsid()
    with os.fdopen(pipe, "w") as out:
        try:
            signal.signal(signal.SIGALRM, out_of_time)
            from lab import Lab
            with Lab() as lab:
                for name, function in tests:
                    start = time.monotonic()
                    verdict, why = _judge(function, lab)
                    print(json.dumps([name, verdict, why, time.monotonic() - start]), file=out,
                          flush=True)
        except (Exception, process.OutOfTime, SystemExit) as error:
            print(json.dumps([None, "FAIL", process.describe(error), 0]), file=out, flush=True)
        finally:
            sys.stdout.flush()
            os._exit(0)


def _clean_up(pid):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    leftovers.remove(pid)


def run_together(tests, tally):
    """tests: [(name, function)] of one series, each with its time_limit."""
    sys.stdout.flush()
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        _child(tests, write)
    os.close(write)
    missing, reason = [name for name, _ in tests], "the tests' process died without a word"
    try:
        with os.fdopen(read) as lines:
            for line in lines:
                name, verdict, why, seconds = json.loads(line)
                if name is None:
                    reason = f"the series ended: {why}"
                    continue
                missing.remove(name)
                if verdict == "ok":
                    tally.ok(name, seconds)
                else:
                    (tally.skip if verdict == "skip" else tally.fail)(name, why)
    finally:
        _clean_up(pid)
    for name in missing:
        tally.fail(name, reason)
    if not missing and reason.startswith("the series"):
        tally.fail(f"{tests[-1][0]} and its lab's end", reason)
