# SPDX-License-Identifier: GPL-2.0-only
"""Bounds of tests/net are for the machine itself: under TCG, and beside other guests, everything
may take several times as long. Imported before the tests are."""

import functools
import subprocess

import lab
import logs
import router
import test_open
import wire

FACTOR = 10


def _longer(owner, name, argument, default):
    """The bound, given or not, times FACTOR."""
    function = getattr(owner, name)
    names = function.__code__.co_varnames

    @functools.wraps(function)
    def patient(*args, **kwargs):
        at = names.index(argument)
        if len(args) > at:
            args = (*args[:at], args[at] and args[at] * FACTOR, *args[at + 1:])
        else:
            bound = kwargs.get(argument, default)
            kwargs[argument] = bound and bound * FACTOR
        return function(*args, **kwargs)
    setattr(owner, name, patient)


for _owner, _name, _argument, _default in (
        (subprocess.Popen, "communicate", "timeout", None),
        (subprocess.Popen, "wait", "timeout", None),
        (lab, "until", "bound", 5.0), (logs.LogSocket, "wait", "bound", 5.0),
        (wire.Recorder, "settle", "bound", 5.0), (router.Tap, "until", "bound", 5.0),
        (test_open.Held, "_line", "bound", 10.0)):
    _longer(_owner, _name, _argument, _default)
