# SPDX-License-Identifier: GPL-2.0-only
"""A router with customers behind it: `with Router(lab) as r:`. The lab's host is the router, its
world the internet. Customers hand in frames of any form; a tap at the far end says which arrived.
"""

import collections
import contextlib
import fcntl
import itertools
import os
import socket
import struct
import subprocess
import time

import netns
from netns import HOST4, HOST6, WORLD4, WORLD6

Customer = collections.namedtuple("Customer", "name ns port v4 gw4 v6 gw6")
Frame = collections.namedtuple("Frame", "data needle")

SYN, ACK, FIN, RST, PSH, ECE, CWR = 2, 16, 1, 4, 8, 64, 128
NETS = {"web": 1, "lan": 2, "six": 3, "mail": 4}
PACKET_QDISC_BYPASS = 20
# in steps: an answer acknowledges seq + 1, and is no other packet's needle
_serial = itertools.count(0x5F000001, 0x10001)


def needle():
    return struct.pack(">I", next(_serial))


# ---- packets ----

def _sum(data):
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def tcp(src, dst, dport, flags=SYN, seq=None, data=b"", sport=40000, options=b""):
    seq = seq or needle()
    header = struct.pack(">HH4s4sBBHHH", sport, dport, seq, b"\0" * 4,
                         (20 + len(options)) // 4 << 4, flags, 64000, 0, 0) + options
    family = socket.AF_INET6 if ":" in src else socket.AF_INET
    ends = socket.inet_pton(family, src) + socket.inet_pton(family, dst)
    pseudo = ends + struct.pack(">II", len(header) + len(data), 6)
    check = _sum(pseudo + header + data)
    return header[:16] + struct.pack(">H", check) + header[18:] + data


def ip4(src, dst, payload, proto=6, options=b"", fragment=0, ident=None, ttl=64):
    ident = ident if ident is not None else struct.unpack(">H", os.urandom(2))[0]
    header = struct.pack(">BBHHHBBH4s4s", 0x40 | (20 + len(options)) // 4, 0,
                         20 + len(options) + len(payload), ident, fragment, ttl, proto, 0,
                         socket.inet_aton(src), socket.inet_aton(dst)) + options
    return header[:10] + struct.pack(">H", _sum(header)) + header[12:] + payload


def ip6(src, dst, payload, proto=6, extensions=()):
    """extensions: (number, body without its first byte), in their order."""
    numbers = [n for n, _ in extensions] + [proto]
    chain = b"".join(bytes([following]) + body
                     for (_, body), following in zip(extensions, numbers[1:]))
    return struct.pack(">IHBB", 6 << 28, len(chain) + len(payload), numbers[0], 64) + \
        socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst) + \
        chain + payload


def packet(src, dst, dport, flags=SYN, data=b"", v4_options=b"", extensions=(), seq=None,
           tcp_options=b""):
    segment = tcp(src, dst, dport, flags, seq, data, options=tcp_options)
    if ":" in src:
        return ip6(src, dst, segment, extensions=extensions)
    return ip4(src, dst, segment, options=v4_options)


def udp(src, dst, dport, data):
    body = struct.pack(">HHHH", 40000, dport, 8 + len(data), 0) + data
    if ":" in src:
        ends = socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst)
        check = _sum(ends + struct.pack(">II", len(body), 17) + body) or 0xffff
        return ip6(src, dst, body[:6] + struct.pack(">H", check) + body[8:], 17)
    return ip4(src, dst, body, 17)


PAD = b"\x01\x04" + b"\0" * 4       # the rest of an extension header of 8 bytes: length 0, PadN


def hop_by_hop():
    return (0, b"\0" + PAD)


def destination_options():
    return (60, b"\0" + PAD)


def fragment_header(offset=0, more=0, ident=b"\0\0\0\1"):
    return (44, b"\0" + struct.pack(">H", offset << 3 | more) + ident)


# ---- the far end ----

class Tap:
    """All frames that come in at one interface of a namespace."""

    def __init__(self, ns, interface):
        self.sock = netns.inside(netns.path(ns), lambda: self._open(interface))

    @staticmethod
    def _open(interface):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        sock.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)      # SO_RCVBUFFORCE
        sock.bind((interface, 3))
        sock.settimeout(0.05)
        return sock

    def drain(self):
        with contextlib.suppress(TimeoutError):
            while True:
                self.sock.recv(65535)

    def until(self, marker, bound=5.0):
        """The frames up to the one with the marker."""
        frames, end = [], time.monotonic() + bound
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                frame, (_, _, kind, _, _) = self.sock.recvfrom(65535)
                if kind == 4:           # PACKET_OUTGOING: what the far end says itself
                    continue
                frames.append(frame)
                if marker in frame:
                    return frames
        raise AssertionError("the marker behind the packets did not arrive")

    def close(self):
        self.sock.close()


# ---- the router ----

class Router:
    def __init__(self, lab):
        self.lab = lab
        self.customers = {}
        self.taps = {}
        self._processes = []

    def __enter__(self):
        try:
            self._set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for tap in self.taps.values():
            tap.close()
        for interface in ["br0", "tr0", *(c.port for c in self.customers.values())]:
            run("ip", "-n", self.lab.host, "link", "del", interface)
        netns.remove(*(c.ns for c in self.customers.values()), f"sfG-{self.lab.id}-far")

    def _ip(self, ns, *lines):
        netns._batch(ns, list(lines))

    def _forward(self):
        for family in ("ipv4", "ipv6"):
            netns._write(f"/proc/sys/net/{family}/conf/all/forwarding", "1")
        netns._write("/proc/sys/net/ipv4/conf/all/rp_filter", "0")
        netns._write("/proc/sys/net/ipv4/conf/default/rp_filter", "0")
        netns._write("/proc/sys/net/ipv4/icmp_ratelimit", "0")
        for name in ("all", "default"):
            netns._write(f"/proc/sys/net/ipv4/conf/{name}/accept_source_route", "1")

    def _set_up(self):
        lab = self.lab
        netns.inside(netns.path(lab.host), self._forward)
        self._ip(lab.world, f"route replace 10.9.0.0/16 via {HOST4}",
                 f"route replace 2001:db8:9::/48 via {HOST6}")
        self._ip(lab.host, "link add br0 type bridge", "link set br0 up")
        for name in NETS:
            self.add(name)
        # beyond the bridge: a switch port towards the provider, where tagged frames go unrouted
        far = f"sfG-{lab.id}-far"
        netns.sh("ip", "netns", "add", far)
        self._ip(far, "link set lo up", f"link add up0 type veth peer name tr0 netns {lab.host}",
                 "link set up0 up promisc on")
        self._ip(lab.host, "link set tr0 master br0", "link set tr0 up")
        self.taps = {"world": Tap(lab.world, "up0"), "far": Tap(far, "up0")}

    def add(self, name, number=None):
        """A customer: a namespace on a veth of its own, cu-NAME at the router."""
        lab, n = self.lab, number or NETS[name]
        c = Customer(name, f"sfG-{lab.id}-{name}", f"cu-{name}", f"10.9.{n}.2", f"10.9.{n}.1",
                     f"2001:db8:9:{n}::2", f"2001:db8:9:{n}::1")
        netns.sh("ip", "netns", "add", c.ns)
        self.customers[name] = c
        netns.inside(netns.path(c.ns), lambda: netns._write(
            "/proc/sys/net/ipv6/conf/default/accept_dad", "0"))
        self._ip(c.ns, "link set lo up",
                 f"link add eth0 type veth peer name {c.port} netns {lab.host}")
        gateway = "br0" if name == "lan" else c.port
        if name == "lan":
            self._ip(lab.host, f"link set {c.port} master br0")
        self._ip(lab.host, f"link set {c.port} up",
                 f"addr add {c.gw6}/64 dev {gateway} nodad",
                 *([] if name == "six" else [f"addr add {c.gw4}/24 dev {gateway}"]))
        self._ip(c.ns, "link set eth0 up", f"addr add {c.v6}/64 dev eth0 nodad",
                 f"route add ::/0 via {c.gw6}",
                 *([] if name == "six" else [f"addr add {c.v4}/24 dev eth0",
                                             f"route add default via {c.gw4}"]))
        return c

    def mac(self, interface, ns=None):
        """By ioctl: asked for each frame, and a process each would take most of a test's time."""
        def ask():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                return fcntl.ioctl(sock, 0x8927, struct.pack("16s24x", interface.encode()))[18:24]
        return netns.inside(netns.path(ns or self.lab.host), ask)       # SIOCGIFHWADDR

    def ethernet(self, customer, data, tags=()):
        """A frame from the customer's interface to its router, with VLAN tags (type, id)."""
        kind = 0x86dd if data[0] >> 4 == 6 else 0x0800
        return self.mac("br0" if customer.name == "lan" else customer.port) + \
            self.mac("eth0", customer.ns) + \
            b"".join(struct.pack(">HH", *tag) for tag in tags) + struct.pack(">H", kind) + data

    def send(self, name, frames, tap="world", bypass=False, ring=False, marker_tags=()):
        """Hand in the frames, all from one CPU; which of them (by needle) arrived?"""
        c = self.customers[name]
        marker = b"MARK" + os.urandom(8)
        src, dst = (c.v6, WORLD6) if name == "six" else (c.v4, WORLD4)
        last = self.ethernet(c, udp(src, dst, 9, marker), marker_tags)
        self.taps[tap].drain()
        netns.inside(netns.path(c.ns), lambda: _send([f.data for f in frames] + [last], bypass))
        seen = self.taps[tap].until(marker)
        return [any(f.needle in s for s in seen) for f in frames]

    def tcp_frame(self, name, dport, dst=None, src=None, tags=(), **options):
        c = self.customers[name]
        if src is None:
            src = c.v6 if name == "six" or (dst and ":" in dst) else c.v4
        if dst is None:
            dst = WORLD6 if ":" in src else WORLD4
        seq = needle()
        return Frame(self.ethernet(c, packet(src, dst, dport, seq=seq, **options), tags), seq)

    def connect(self, name, port, dst=None, timeout_ms=400, how="nonblock"):
        """A real connection of the customer's; True where it was answered."""
        dst = dst or (WORLD6 if name == "six" else WORLD4)
        answer = self.lab.connect(None, how, dst=dst, port=port, timeout_ms=timeout_ms,
                                  where=netns.path(self.customers[name].ns))
        return answer["rc"] == 0

    def ip_link(self, *args):
        netns.sh("ip", "-n", self.lab.host, "link", *args)


def _send(frames, bypass):
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})        # this thread's; it ends with the call
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind(("eth0", 0))
        if bypass:
            sock.setsockopt(263, PACKET_QDISC_BYPASS, 1)
        for frame in frames:
            sock.send(frame)


def namespaces_left(pid):
    return [n for n in os.listdir("/run/netns") if n.startswith(f"sfG-{pid}-")]


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, timeout=20)
