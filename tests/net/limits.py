# SPDX-License-Identifier: GPL-2.0-only
"""What run.py must know of a test: its time limit, where it needs longer than the usual; its company."""


def seconds(number):
    def mark(function):
        function.time_limit = number
        return function
    return mark


def alone(function):
    """It measures, or keeps every core busy: no other test runs beside it."""
    function.alone = True
    return function
