# SPDX-License-Identifier: GPL-2.0-only
"""
The stack that calls need in a row, on older kernels too: the verifier allows 512 bytes, and up to
6.6 each frame takes a multiple of 32 of them (later: of 16). This kernel alone would not tell.
"""

import os
import re
import subprocess

from lab import BUILD, Skip

LIMIT, UNIT = 512, 32
FUNCTION = re.compile(r"[0-9a-f]+ <(?!LBB)(\S+)>:")
STACK = re.compile(r"\(r10 - (?:0x([0-9a-f]+)|(\d+))\)")
CALL = re.compile(r"R_BPF_64_32\s+(\S+)")
OFFSET = re.compile(r"r\d+ \+= -(\d+)$")


def functions(path):
    """{name: [bytes of its frame, {whom it calls}]}"""
    try:
        done = subprocess.run(["llvm-objdump", "-dr", "--no-show-raw-insn", path],
                              capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise Skip("needs llvm-objdump (package llvm)") from None
    found, now = {}, None
    for line in done.stdout.splitlines():
        name = FUNCTION.match(line)
        if name:
            now = found.setdefault(name[1], [0, set()])
        if now is None:
            continue
        for in_hex, decimal in STACK.findall(line):
            now[0] = max(now[0], int(in_hex, 16) if in_hex else int(decimal))
        copied = OFFSET.search(line)
        if copied and int(copied[1]) <= LIMIT:      # of a copy of the frame's pointer, mostly
            now[0] = max(now[0], int(copied[1]))
        call = CALL.search(line)
        if call:
            now[1].add(call[1])
    return found


def deepest(found, name):
    """(bytes, [names]) of the dearest row of calls that begins with this function."""
    if name not in found:
        return 0, []
    own, calls = found[name]
    own = (max(own, 1) + UNIT - 1) // UNIT * UNIT
    below = max((deepest(found, called) for called in calls), default=(0, []))
    return own + below[0], [name] + below[1]


def test_calls_fit_the_stack_of_older_kernels():
    for name in ("connect", "egress", "gateway", "roles"):
        found = functions(os.path.join(BUILD, "bpf", f"{name}.bpf.o"))
        programs = [f for f in found if f.startswith("smtpfence_")]
        assert programs, f"{name}: no programs in {sorted(found)}"
        for program in programs:
            need, row = deepest(found, program)
            assert 0 < need <= LIMIT, f"{name}: {need} bytes: {' > '.join(row)}"
