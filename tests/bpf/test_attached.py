# SPDX-License-Identifier: GPL-2.0-only
"""On a real interface: packets whose linear part ends before their headers do, and real sockets."""
import os
import socket
import subprocess
import sys

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__))]
import oracle
from corpus import framed, ipv4_bytes, ipv6_bytes, tcp_bytes
from runner import BIT, Attached, pair_of_interfaces
from test_packets import FENCED, Ledger, check_sources, wanted_mask

SOL_PACKET, PACKET_VNET_HDR = 263, 15
VNET_HDR = bytes(10)        # says nothing: then only the link's header is linear


def paged_socket(interface):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    s.bind((interface, 0))
    return s


def test_headers_that_are_not_linear():
    """A frame of more than a page from AF_PACKET has 14 linear bytes: nothing may walk past by it."""
    data = bytes(4500)
    plain = [
        ipv4_bytes(tcp_bytes(dport=25) + data),
        ipv4_bytes(tcp_bytes(dport=25, seq=2) + data, ihl=15, options=b"\1" * 40),
        ipv6_bytes(tcp_bytes(dport=587) + data),
        ipv6_bytes(b"\x3c\0" + bytes(6) + b"\6\3" + bytes(30) + tcp_bytes(dport=465) + data, 0),
        ipv6_bytes(b"\x06\xff" + bytes(2046) + tcp_bytes(dport=25) + data, 60),
        ipv4_bytes(tcp_bytes(dport=25) + data, fragment=0x2000),
        ipv4_bytes(tcp_bytes(dport=80) + data), ipv4_bytes(data, protocol=17),
        ipv4_bytes(tcp_bytes(dport=25, flags=0x10) + data), ipv4_bytes(data, fragment=1),
        ipv4_bytes(data, fragment=100), ipv4_bytes(tcp_bytes(doff=3) + data),
        ipv6_bytes(b"\x3c\0" + bytes(6) + (b"\x3c\0" + bytes(6)) * 40 + data, 60),
    ]
    frames = [framed(p) for p in plain] + [framed(p, [(0x88A8, 3), (0x8100, 7)]) for p in plain]
    ledger, sums = Ledger(), dict.fromkeys(BIT, 0)
    with pair_of_interfaces():
        attached = Attached("u0")
        with paged_socket("u0") as s:
            for frame in frames:
                s.send(VNET_HDR + frame)
        attached.close()
    for frame in frames:
        view = oracle.look(frame, True)
        outcome, = view.may_be
        mask = wanted_mask(outcome, frame, view.segment)
        if mask & BIT["syn"]:
            ledger.add(view.segment)
        for name, bit in BIT.items():
            sums[name] += bool(mask & bit)
    check_sources(attached, ledger)
    # What the kernel says for itself (neighbours, reports) is IP and no TCP: counted as nothing.
    for name in ("syn", "fenced_syn", "fragment", "tiny_fragment", "truncated", "bad_header",
                 "too_many_headers", "not_ip"):
        assert attached.counters[name] == sums[name], \
            f"{name}: {attached.counters[name]}, {sums[name]} were sent"


def test_real_connections():
    """With a peer whose addresses are known: SYNs leave, with the sender's cgroup and uid."""
    with pair_of_interfaces():
        for peer in "192.0.2.9", "2001:db8::9":
            subprocess.run(["ip", "neigh", "add", peer, "lladdr", "02:00:00:00:00:09", "dev", "u0"],
                           check=True, timeout=10)
        attached = Attached("u0")
        waiting = []
        for n in range(6):
            for family, peer in (socket.AF_INET, "192.0.2.9"), (socket.AF_INET6, "2001:db8::9"):
                s = socket.socket(family)
                s.setblocking(False)
                s.connect_ex((peer, FENCED[n % 3]))
                waiting.append(s)
        attached.close()
        for s in waiting:
            s.close()
    assert {k: (v["syn"], v["fenced"]) for k, v in attached.sources.items()} == \
        {"::ffff:192.0.2.1": (6, 6), "2001:db8::": (6, 6)}
    (cgroup, uid), = attached.senders
    assert uid == os.geteuid() and attached.senders[cgroup, uid]["fenced"] == 12
    assert cgroup == own_cgroup(), f"{cgroup} is not this process' cgroup"
    assert not attached.counters["no_sender"]


def own_cgroup():
    """The v2 cgroup's id is its directory's inode."""
    mounts = [line.split() for line in open("/proc/self/mounts", encoding="utf-8")]
    root = next(m[1] for m in mounts if m[2] == "cgroup2")
    path = next(line[3:].strip() for line in open("/proc/self/cgroup", encoding="utf-8")
                if line.startswith("0::"))
    return os.stat(root + path).st_ino
