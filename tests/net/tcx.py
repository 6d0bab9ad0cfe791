# SPDX-License-Identifier: GPL-2.0-only
"""TCX by bpf(2) itself: older bpftools do not know it. What runs at an interface, in its order."""

import ctypes
import errno
import os
import socket
import struct

import kernel
import netns

BPF_OBJ_GET, BPF_PROG_QUERY, BPF_LINK_CREATE, BPF_LINK_DETACH = 7, 16, 28, 34
EGRESS, INGRESS = 47, 46
BEFORE, AFTER = 1 << 3, 1 << 4
_libc = ctypes.CDLL(None, use_errno=True)
SYS_BPF = {"x86_64": 321, "aarch64": 280}.get(os.uname().machine, 321)


def _bpf(command, attr):
    buffer = ctypes.create_string_buffer(attr.ljust(128, b"\0"), 128)
    ret = _libc.syscall(SYS_BPF, command, buffer, 128)
    if ret < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return ret, buffer.raw


def pinned(path):
    """A descriptor of what is pinned there."""
    name = ctypes.create_string_buffer(os.fsencode(path) + b"\0")
    return _bpf(BPF_OBJ_GET, struct.pack("QII", ctypes.addressof(name), 0, 0))[0]


def detach(link_pin):
    """As `bpftool link detach`: the pin stays, and leads to a link to nothing."""
    fd = pinned(link_pin)
    try:
        _bpf(BPF_LINK_DETACH, struct.pack("I", fd))
    finally:
        os.close(fd)


def attach(ns, interface, program_pin, where=AFTER, hook=EGRESS):
    """Another program before or after all that are there; a descriptor of its link."""
    program = pinned(program_pin)

    def create():
        number = socket.if_nametoindex(interface)
        return _bpf(BPF_LINK_CREATE, struct.pack("IIIIII", program, number, hook, where, 0, 0))[0]
    try:
        return netns.inside(netns.path(ns), create)
    finally:
        os.close(program)


def _ids(interface, hook):
    ids = (ctypes.c_uint32 * 64)()
    attr = struct.pack("IIIIQI", socket.if_nametoindex(interface), hook, 0, 0,
                       ctypes.addressof(ids), 64)
    try:
        _, out = _bpf(BPF_PROG_QUERY, attr)
    except OSError as error:
        if error.errno == errno.EINVAL:     # before 6.6: no such hook, so nobody at it
            return []
        raise
    return list(ids[:struct.unpack_from("I", out, 24)[0]])


def how():
    """What our programs should be attached by, on this kernel: "tcx" or "clsact"."""
    try:
        _bpf(BPF_PROG_QUERY, struct.pack("IIIIQI", 1, EGRESS, 0, 0, 0, 0))
    except OSError as error:
        return "clsact" if error.errno == errno.EINVAL else "tcx"
    return "tcx"


def programs(ns, interface, hooks=(INGRESS, EGRESS)):
    """The programs at the interface's TCX hooks as bpftool shows them, as they run."""
    ids = netns.inside(netns.path(ns), lambda: [i for h in hooks for i in _ids(interface, h)])
    return [kernel.bpftool("prog", "show", "id", i) for i in ids]
