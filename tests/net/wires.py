# SPDX-License-Identifier: GPL-2.0-only
"""Senders of raw packets in a lab, and what of theirs arrived: raw.py at work.

A Wire is a way from a network namespace to a tap at its far end. Nothing here knows what is right,
but for judge(): port 26 always arrives.
"""

import ctypes
import json
import os
import socket
import struct

import netns
import tcx
from lab import HOST4, HOST6, WORLD4
from router import Tap, needle, packet

WAYS4 = ("header_included", "raw_tcp", "raw_connected", "packet_raw", "packet_dgram", "packet_ring")
WAYS6 = ("header_included", "raw_tcp", "packet_raw", "packet_dgram", "packet_ring")
# As text: who runs it need not be able to read these files.
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "raw.py")) as _f:
    RAW = _f.read()


# ---- senders ----

class Wire:
    """From a place of the lab to the tap at the far end."""

    def __init__(self, lab, where=None, device="up0", far=None, tap=None, v4=HOST4, v6=HOST6,
                 marker=WORLD4):
        self.lab, self.ns, self.device = lab, where or lab.host, device
        self.v4, self.v6, self.marker = v4, v6, marker
        self.far = far or mac(lab.world, "up0")
        self.own = mac(self.ns, device)
        self.tap = tap or lab._closed_at_end(Tap(lab.world, "up0"))

    def send(self, cgroup, jobs, uid=None, move=None, scm=None):
        """jobs: (way, data, needle). What of it arrived, and what the senders were told."""
        marker = b"MARK" + os.urandom(8)
        todo = {"device": self.device, "far_mac": self.far, "own_mac": self.own, "move": move,
                "marker": marker.hex(), "marker_dst": self.marker,
                "jobs": [{"way": way, "data": data.hex(), "dst": destination(data)}
                         for way, data, _ in jobs]}
        argv = ["/usr/bin/python3", "-c", RAW]
        if uid is not None:     # as a container's user who has the capability
            argv = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups",
                    "--inh-caps=+net_raw", "--ambient-caps=+net_raw", *argv]
        self.tap.drain()
        done = self.lab.run(argv, cgroup=cgroup, where=self.ns, input=json.dumps(todo))
        assert done.code == 0, done
        seen = self.tap.until(marker)
        self.said = json.loads(done.out)
        return [any(token in frame for frame in seen) for _, _, token in jobs]

    def syn(self, way, port, dst=WORLD4, **options):
        token = needle()
        return way, packet(self.v6 if ":" in dst else self.v4, dst, port, seq=token, **options), token

    def judge(self, cgroup, wanted, ways=("header_included",), ports=(25,), dst=WORLD4, **options):
        """Does a SYN to these ports arrive? To port 26 it always does. Returns how many were sent."""
        jobs = [self.syn(way, port, dst) for way in ways for port in (*ports, 26)]
        got = self.send(cgroup, jobs, **options)
        for (way, data, _), arrived in zip(jobs, got):
            port, = struct.unpack_from(">H", data, 42 if ":" in dst else 22)
            assert arrived is (port == 26 or wanted), \
                f"{way} to {dst}:{port} from {cgroup} {options}: arrived {arrived}; {self.said}"
        return len(ways) * len(ports)


def mac(ns, interface):
    return json.loads(netns.sh("ip", "-n", ns, "-j", "link", "show", interface))[0]["address"] \
        .replace(":", "")


def destination(data):
    if len(data) < 20 or data[0] >> 4 not in (4, 6) or (data[0] >> 4 == 6 and len(data) < 40):
        return WORLD4
    return socket.inet_ntop(socket.AF_INET6, data[24:40]) if data[0] >> 4 == 6 \
        else socket.inet_ntoa(data[16:20])


def counters(lab):
    """(denied, would_deny, by reason)"""
    c = lab.status()["counters"]
    return c["denied"], c["would_deny"], {k: v for k, v in c["by_reason"].items() if v}


def clear_of(lab, *reasons):
    return {k: v for k, v in counters(lab)[2].items() if k not in reasons}


MOV, CALL, EXIT, JNE, LDX32, STX32 = 0xb7, 0x85, 0x95, 0x55, 0x61, 0x63
R0, R1, R2, R3 = 0, 1, 2, 3


def program(code, kind=3, attach_type=0):
    """Somebody's own program, in BPF's instructions: (operation, registers, value[, offset])."""
    code = b"".join(struct.pack("=BBhi", op, regs, offset[0] if offset else 0, value)
                    for op, regs, value, *offset in code)
    text, license = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    return tcx._bpf(5, struct.pack("IIQQ44xI", kind, len(code) // 8, ctypes.addressof(text),
                                   ctypes.addressof(license), attach_type))[0]
