# SPDX-License-Identifier: GPL-2.0-only
"""Cgroups of a lab: where the v2 hierarchy is, and making and removing below it."""

import errno
import os
import signal
import time


def _mounts():
    with open("/proc/self/mounts") as f:
        for line in f:
            _source, target, kind, options = line.split()[:4]
            yield target.replace("\\040", " "), kind, options


def v2_root():
    """/sys/fs/cgroup on a pure v2 host, /sys/fs/cgroup/unified on a hybrid one."""
    for target, kind, _ in _mounts():
        if kind == "cgroup2":
            return target
    return None


def v1_roots():
    return [target for target, kind, _ in _mounts() if kind == "cgroup"]


class Cgroup:
    """name: as the configuration writes it, from the v2 root; path: in the file system."""

    def __init__(self, name, root=None):
        self.name = name
        self.path = (root or v2_root()) + name

    def __str__(self):
        return self.path

    def __fspath__(self):
        return self.path

    def make(self):
        os.makedirs(self.path, exist_ok=True)
        return self

    def id(self):
        return os.stat(self.path).st_ino

    def pids(self):
        with open(os.path.join(self.path, "cgroup.procs")) as f:
            return [int(pid) for pid in f.read().split()]

    def remove(self):
        remove_tree(self.path)


def _kill(path):
    try:
        with open(os.path.join(path, "cgroup.procs")) as f:
            for pid in f.read().split():
                os.kill(int(pid), signal.SIGKILL)
    except (OSError, ValueError):
        pass


def remove_tree(path, bound=5.0):
    """Kill what runs in the subtree and remove it; processes need a moment to leave."""
    end = time.monotonic() + bound
    while os.path.isdir(path):
        for directory, _, _ in os.walk(path, topdown=False):
            try:
                os.rmdir(directory)
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.ENOTEMPTY, errno.ENOENT):
                    raise
                _kill(directory)
        if os.path.isdir(path):
            if time.monotonic() > end:
                raise RuntimeError(f"{path} cannot be removed: still in use")
            time.sleep(0.005)
