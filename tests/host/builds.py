# SPDX-License-Identifier: GPL-2.0-only
"""What the guest gets at /mnt: two builds of smtpfence with their trees, and the tests' own tools.

The trees are copies that were built here to the end, so that `make install` in the guest, which has
no compiler, finds nothing left to build.
"""

import os
import re
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("SMTPFENCE_BUILD", os.path.join(TOP, "build"))
PARTS = ("Makefile", "bpf", "cli", "docs", "maps", "packaging", "user")
SAYS_VERSION = ("cli/main", "user/daemon/main")
OTHER = "99.1"          # the second build's version


def _run(*argv, cwd):
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)} in {cwd}: {(done.stdout + done.stderr)[-800:]}")


def _copy(into):
    """Older than what was built of it: as it is."""
    os.makedirs(f"{into}/build")
    for part in PARTS:
        _run("cp", "-a", f"{TOP}/{part}", into, cwd=TOP)
    for part in ("bpf", "cli", "user", "libsmtpfence.a", "smtpfence", "smtpfenced"):
        _run("cp", "-a", f"{BUILD}/{part}", f"{into}/build/", cwd=TOP)
    _run("make", "-s", "B=build", "all", cwd=into)


def version(tree):
    with open(f"{tree}/Makefile") as f:
        return re.search(r"(?m)^VERSION *:= *(\S+)$", f.read()).group(1)


def _another(tree, into):
    shutil.copytree(tree, into, symlinks=True)
    for name in SAYS_VERSION:
        os.unlink(f"{into}/build/{name}.o")
    _run("sed", "-i", f"s/^VERSION .*/VERSION := {OTHER}/", "Makefile", cwd=into)
    _run("make", "-s", "B=build", "all", cwd=into)


def make(into):
    """Fill the directory. Returns the version of the first build."""
    _copy(f"{into}/one")
    _another(f"{into}/one", f"{into}/two")
    shutil.copy(f"{HERE}/agent.py", into)
    _run("cc", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", f"{HERE}/attacker.c", "-o",
         f"{into}/attacker", cwd=HERE)
    return version(f"{into}/one")
