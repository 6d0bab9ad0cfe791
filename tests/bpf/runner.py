# SPDX-License-Identifier: GPL-2.0-only
"""Hands packets to build/tests/bpf-packets and reads back what became of them."""
import contextlib
import ctypes
import json
import os
import re
import socket
import struct
import subprocess
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("SMTPFENCE_BUILD", os.path.join(ROOT, "build"))
TOOL = os.path.join(BUILD, "tests/bpf-packets")
CLONE_NEWNET = 0x40000000
OUT, OUTIP, IN, INIP, JUMP, LIMIT, NET_LIMIT, DUMP, ABI = range(9)
MONITOR, ENFORCE = 2, 3     # enum sf_mode; runs are with mode off unless they say -m
DROP = 2                    # TC_ACT_SHOT
PASS = -1                   # TC_ACT_UNSPEC: on to the next program
REFUSED = -1000 - 22        # the test run itself said EINVAL


def _counters():
    """Labels in the order of their numbers, from the contract's own list."""
    text = open(os.path.join(ROOT, "maps/census.h"), encoding="utf-8").read()
    listed = re.search(r"#define SF_CENSUS_COUNTERS\(X\)(.*?)\n\n", text, re.S).group(1)
    return re.findall(r'X\(\w+,\s*"(\w+)"', listed)


COUNTERS = _counters()
BIT = {name: 1 << i for i, name in enumerate(COUNTERS)}


def names(mask):
    return "+".join(n for n in COUNTERS if mask & BIT[n]) or "nothing"


def record(op, data, linear=0):
    return struct.pack("=IHBB", len(data), linear, op, 0) + bytes(data)


def jump(seconds):
    return record(JUMP, struct.pack("=q", int(seconds * 1e9)))


def limit(warn, act):
    return record(LIMIT, struct.pack("=IIII", warn, act, 0, 0))


def net_limit(address, bits, warn, act, kind):
    """IPv4 as ::ffff:a.b.c.d; `bits` counted as in the address's own family."""
    raw = socket.inet_pton(socket.AF_INET6, address)
    v4 = address.startswith("::ffff:")
    key = struct.pack("=II", 32 + (96 + bits if v4 else bits), 4 if v4 else 6) + raw
    return record(NET_LIMIT, key + struct.pack("=IIII", warn, act, kind, 0))


class Run:
    """One life of the tables: loaded, fed with all records, read, gone."""

    def __init__(self, records, *options):
        if not os.access(TOOL, os.X_OK):
            raise unittest.SkipTest(f"{TOOL} is not built")
        with tempfile.TemporaryDirectory() as place:
            results = os.path.join(place, "results")
            done = subprocess.run([TOOL, "-r", results, *map(str, options)],
                                  input=b"".join(records), stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
            if done.returncode:
                raise AssertionError(f"bpf-packets: exit {done.returncode}: "
                                     f"{done.stderr.decode('utf-8', 'replace')[-600:]}")
            with open(results, "rb") as f:
                self.results = list(struct.iter_unpack("=iI", f.read()))
        self.read(done.stdout)

    def read(self, output):
        self.events, self.dumps, self.counters = [], [], {}
        for line in output.decode().splitlines():
            self._take(json.loads(line))

    def _take(self, o):
        if "event" in o:
            self.events.append(o)
        elif "counters" in o:
            self.counters, self.seconds = o["counters"], o["seconds"]
        elif "ready" in o:
            pass
        elif "dump" in o:
            self.dumps.append({"source": {}, "sender": {}})
        else:
            kind = "source" if "source" in o else "sender"
            table = self.dumps[-1][kind]
            key = o["source"] if kind == "source" else (o["word0"], o["word1"])
            if key in table:
                raise AssertionError(f"{kind} {key} has two slots")
            table[key] = o

    @property
    def sources(self):
        return self.dumps[-1]["source"]

    @property
    def senders(self):
        return self.dumps[-1]["sender"]

    def verdicts(self):
        return {v for v, _ in self.results}


class Attached(Run):
    """The programs on both ways of an interface of this network namespace, until close()."""

    def __init__(self, interface, *options):
        if not os.access(TOOL, os.X_OK):
            raise unittest.SkipTest(f"{TOOL} is not built")
        self.results = []
        self.tool = subprocess.Popen([TOOL, "-i", interface, *map(str, options)],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if b"ready" not in self.tool.stdout.readline():
            raise AssertionError(f"bpf-packets does not attach to {interface}")

    def close(self):
        output = self.tool.communicate(timeout=20)[0]
        self.read(output)


@contextlib.contextmanager
def pair_of_interfaces(mtu=9000):
    """A veth pair, u0 and u1, in a network namespace of our own."""
    libc, home = ctypes.CDLL(None, use_errno=True), os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(CLONE_NEWNET):
            raise unittest.SkipTest("needs root: a network namespace")
        for words in (f"link add u0 mtu {mtu} type veth peer name u1 mtu {mtu}", "link set lo up",
                      "link set u0 up", "link set u1 up", "addr add 192.0.2.1/24 dev u0",
                      "addr add 2001:db8::1/64 dev u0 nodad"):
            subprocess.run(["ip"] + words.split(), check=True, timeout=10)
        yield
    finally:
        libc.setns(home, CLONE_NEWNET)
        os.close(home)


def text_of(key):
    return socket.inet_ntop(socket.AF_INET6, key)
