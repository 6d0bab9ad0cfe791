# SPDX-License-Identifier: GPL-2.0-only
"""Removes what a lab left behind: by its id, or of every lab whose process is dead.

A lab's things all carry its name, `smtpfence-test-PID` (namespaces: sfA-PID, sfW-PID, sfC-PID, sfG-PID-NAME),
so that nothing else can be hit.
"""

import glob
import os
import re
import shutil
import subprocess

import cgroups
import netns

BPFFS = "/sys/fs/bpf"
TMP = "/tmp"
NAME = re.compile(r"^(?:smtpfence-test-|sf[AWCG]-)(\d+)")


def _places():
    return [BPFFS, TMP, "/run/netns", *filter(None, [cgroups.v2_root()]), *cgroups.v1_roots()]


def remove(pid):
    """Everything of the lab of this process. Pins first: the fence goes with its last pin."""
    prefix = f"smtpfence-test-{pid}"
    for place in _places():
        for found in glob.glob(f"{place}/{prefix}*"):
            if not re.fullmatch(rf"{prefix}(\D.*)?", os.path.basename(found)):
                continue
            if place in (BPFFS, TMP):
                _unmount_below(found)
                shutil.rmtree(found, ignore_errors=True)
            else:
                cgroups.remove_tree(found)
    netns.remove(*(name for name in _namespaces()
                   if re.match(rf"sf[AWCG]-{pid}(-|$)", name)))


def _namespaces():
    return os.listdir("/run/netns") if os.path.isdir("/run/netns") else []


def _unmount_below(directory):
    with open("/proc/self/mounts") as f:
        targets = [line.split()[1] for line in f]
    for target in reversed(targets):
        if target == directory or target.startswith(directory + "/"):
            subprocess.run(["umount", "-l", target], capture_output=True, timeout=10)


def _alive(pid):
    return os.path.exists(f"/proc/{pid}")


def remove_dead():
    """At the start of a run: what a killed earlier run left. Returns the ids it removed."""
    pids = set()
    for place in _places():
        try:
            names = os.listdir(place)
        except OSError:
            continue
        pids |= {int(m.group(1)) for m in map(NAME.match, names) if m}
    dead = sorted(pid for pid in pids if not _alive(pid))
    for pid in dead:
        remove(pid)
    return dead
