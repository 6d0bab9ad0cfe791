# SPDX-License-Identifier: GPL-2.0-only
"""The far end, which believes nobody: every SYN that arrives there, counted by two means.

A packet socket with the kernel's own time stamps says when and what; nftables in the same namespace
counts the same by itself. Both are the other namespace's: nothing of smtpfence is asked.
"""

import collections
import json
import re
import socket
import struct
import threading
import time

import netns
import wire
from netns import EXTRA4, EXTRA6

SO_TIMESTAMPNS = 35
FENCED = (25, 465, 587)
# Who may not send aims at addresses of his kind, so that what arrives there says whose it was.
CONNECT = (EXTRA4[0], EXTRA6[0])
RAW = (EXTRA4[1], EXTRA6[1])
CUSTOMER = (EXTRA4[2], EXTRA6[2])
STORM = (EXTRA4[3], EXTRA6[3])
MAIL = (EXTRA4[4], EXTRA6[4])           # the sure client of the mail server's cgroup
REMADE = (EXTRA4[5], EXTRA6[5])         # and of one that comes and goes
KIND = {address: kind for kind, pair in
        (("connect", CONNECT), ("raw", RAW), ("customer", CUSTOMER), ("storm", STORM))
        for address in pair}

Leak = collections.namedtuple("Leak", "time kind src dst sport dport")

NFT = """
table inet chaos {
  counter leaked { }
  counter syns { }
  chain pre { type filter hook prerouting priority -450; policy accept;
    iifname "lo" accept
    meta l4proto != tcp accept
    tcp flags & (syn | ack) != syn accept
    counter name syns
    tcp dport != { 25, 465, 587 } accept
    ip daddr { %s } counter name leaked
    ip6 daddr { %s } counter name leaked
  }
}
"""


class Far(wire.Recorder):
    """Takes the lab's recorder's place: counts, and keeps only what should not have come."""

    def __init__(self, ns_path):
        self.ns_path = ns_path
        self.count = collections.Counter()      # (src, dst, dport)
        self.leaks = []
        nft = NFT % (", ".join(a for a in KIND if "." in a), ", ".join(a for a in KIND if ":" in a))
        netns.inside(ns_path, lambda: netns.sh("nft", "-f", "-", input=nft))
        super().__init__(ns_path)

    @staticmethod
    def _open():
        sock = wire.Recorder._open()
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        return sock

    def run(self):
        while not self._stopping:
            try:
                data, extra, _, (ifname, _, kind, _, _) = self._sock.recvmsg(65535, 64)
            except TimeoutError:
                continue
            except OSError:
                return
            packet = wire.parse(data, _stamp(extra)) \
                if ifname != "lo" and kind == wire.PACKET_HOST else None
            if packet:
                with self._arrived:
                    self._take(packet)

    def _take(self, p):
        if p.proto == "udp":
            if p.dport == wire.MARKER_PORT:
                self._markers.add(p.data)
                self._arrived.notify_all()
            return
        self.count[p.src, p.dst, p.dport] += 1
        if p.dst in KIND and p.dport in FENCED:
            self.leaks.append(Leak(p.time, KIND[p.dst], p.src, p.dst, p.sport, p.dport))

    # ---- questions ----

    def syns(self, src=None, dst=None):
        with self._lock:
            return sum(n for (s, d, _), n in self.count.items()
                       if (src is None or s == src) and (dst is None or d == dst))

    def leaked(self, begin=0.0, end=float("inf"), kinds=None):
        with self._lock:
            return [p for p in self.leaks if begin <= p.time <= end
                    and (kinds is None or p.kind in kinds)]

    def by_nftables(self):
        """{"leaked": n, "syns": n}"""
        text = netns.inside(self.ns_path, lambda: netns.sh("nft", "-j", "list", "counters"))
        return {c["counter"]["name"]: c["counter"]["packets"]
                for c in json.loads(text)["nftables"] if "counter" in c}


def _stamp(extra):
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, ns = struct.unpack("qq", data)
            return seconds + ns / 1e9
    return time.time()


class Greeters(wire.Listeners):
    """Servers at two addresses: what leaks is answered, so that its sender notices as well."""

    def __init__(self, ns_path, pair, ports=(*FENCED, 80)):
        self._at = dict(zip((socket.AF_INET, socket.AF_INET6), pair))
        super().__init__(ns_path, ports)

    def _listen(self, family, port):        # pylint: disable=arguments-differ
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 64)
        sock.bind((self._at[family], port))
        sock.listen(4096)
        return sock


class Watch(threading.Thread):
    """What `status` says, again and again: (begin, end, exit status, enforcing)."""

    def __init__(self, ask, every=0.25):
        super().__init__(daemon=True)
        self.samples = []
        self._ask, self._every, self._ending = ask, every, threading.Event()
        self.start()

    def run(self):
        while not self._ending.wait(self._every):
            begin = time.time()
            code, out = self._ask()
            found = re.search(r'"enforcing":\s*(true|false)', out)
            self.samples.append((begin, time.time(), code, found and found.group(1) == "true"))

    def stop(self):
        self._ending.set()
        self.join(30)
