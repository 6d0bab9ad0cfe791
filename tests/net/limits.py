# SPDX-License-Identifier: GPL-2.0-only
"""A time limit of a test's own, for those that need longer than run.py gives."""


def seconds(number):
    def mark(function):
        function.time_limit = number
        return function
    return mark
