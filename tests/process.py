# SPDX-License-Identifier: GPL-2.0-only
"""A test in a process of its own: its time limit, its verdict, and the end of all that it started."""

import ctypes
import inspect
import os
import signal
import sys
import time
import traceback
import unittest

import leftovers

HERE = os.path.dirname(os.path.abspath(__file__))
TIME_LIMIT = 60         # seconds a test; a test may set its own by @limits.seconds(N)
GRACE = 10              # more, before it is killed
PR_SET_PDEATHSIG = 1


class OutOfTime(BaseException):
    """Not an Exception: a test that catches those must not swallow it."""


def describe(error):
    """The message, and where in the tests it happened."""
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if os.path.dirname(frame.filename).startswith(HERE + os.sep):
            where += f" < {os.path.basename(frame.filename)}:{frame.lineno}"
    text = str(error) or type(error).__name__
    if not isinstance(error, (AssertionError, OutOfTime)):
        text = f"{type(error).__name__}: {text}"
    return f"{text} [{where[3:]}]"


def body(function):
    """In the child: ('ok' | 'FAIL' | 'skip', why)."""
    def out_of_time(*_):
        raise OutOfTime("over its time limit, or the run was ended")

    signal.signal(signal.SIGALRM, out_of_time)
    signal.signal(signal.SIGTERM, out_of_time)      # the runner was killed: clean up all the same
    signal.alarm(getattr(function, "time_limit", TIME_LIMIT))
    try:
        if inspect.signature(function).parameters:
            from lab import Lab
            with Lab() as lab:
                function(lab)
        else:
            function()
        return "ok", ""
    except unittest.SkipTest as why:
        return "skip", str(why)
    except (Exception, OutOfTime, SystemExit) as error:
        return "FAIL", describe(error)


def child(function, pipe):
    """Never returns."""
    os.setsid()         # so that all it started can be ended with it
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    try:
        verdict, why = body(function)
        text = f"{verdict} {why}".encode("utf-8", "backslashreplace")
        while text:
            text = text[os.write(pipe, text):]
    finally:
        os._exit(0)


class Child:
    """One test at work. end() must be called, also when the runner gives up."""

    def __init__(self, name, function):
        self.name, self.start, self.said = name, time.monotonic(), b""
        self.deadline = self.start + getattr(function, "time_limit", TIME_LIMIT) + GRACE
        sys.stdout.flush()
        self.pipe, write = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            child(function, write)
        os.close(write)
        os.set_blocking(self.pipe, False)
        self.ended = False

    @property
    def seconds(self):
        return time.monotonic() - self.start

    def poll(self):
        """(verdict, why) once it has ended or must end, else None."""
        if time.monotonic() > self.deadline:
            return "FAIL", "killed: it did not end at its time limit"
        done, _ = os.waitpid(self.pid, os.WNOHANG)
        try:
            while part := os.read(self.pipe, 1 << 20):
                self.said += part
        except BlockingIOError:
            pass
        if not done:
            return None
        self.ended = True
        verdict, _, why = self.said.decode("utf-8", "replace").partition(" ")
        return (verdict, why) if verdict else ("FAIL", "the test's process died without a word")

    def end(self):
        """Whatever it left at work or in the kernel goes."""
        os.close(self.pipe)
        if not self.ended:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if not os.geteuid():
            leftovers.remove(self.pid)
