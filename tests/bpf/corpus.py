# SPDX-License-Identifier: GPL-2.0-only
"""Packets: real-looking ones by scapy, hostile ones by hand, and any number of random and mutated
ones that are the same for the same seed."""
import glob
import logging
import os
import random
import struct

logging.getLogger("scapy").setLevel(logging.ERROR)
# not scapy.all: its hundred other protocols would take most of a start
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_RR  # noqa: E402
from scapy.layers.inet6 import (ICMPv6EchoRequest, ICMPv6ND_NS, IPv6, IPv6ExtHdrDestOpt,  # noqa: E402
                                IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN)
from scapy.layers.ipsec import AH           # noqa: E402
from scapy.layers.l2 import ARP, GRE, Dot1AD, Dot1Q, Ether    # noqa: E402
from scapy.layers.sctp import SCTP          # noqa: E402
from scapy.packet import Raw                # noqa: E402
from scapy.utils import rdpcap      # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
PORTS = (25, 465, 587, 2525, 80, 443, 24, 26, 2524, 2526, 0, 63, 64, 65535)
MACS = dict(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def ethernet():
    return Ether(**MACS)


def well_formed():
    """[(name, frame)]: what a host really sends. Tools agree on these."""
    frames = []

    def add(name, packet):
        frames.append((name, bytes(packet)))

    v4 = dict(src="192.0.2.10", dst="203.0.113.25")
    v6 = dict(src="2001:db8:1:2::10", dst="2001:db8:ffff::25")
    options = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (7, 0)), ("NOP", None), ("WScale", 7)]
    for port in PORTS:
        syn = dict(sport=40000 + port % 1000, dport=port, seq=port * 7919 + 1, options=options)
        add(f"v4 SYN {port}", ethernet() / IP(**v4) / TCP(flags="S", **syn))
        add(f"v6 SYN {port}", ethernet() / IPv6(**v6) / TCP(flags="S", **syn))
    for flags in ("S", "SEC", "SA", "A", "PA", "FA", "R", "RA", "F", "", "SF", "SR", "SU", "FSRPAUEC"):
        tcp = TCP(sport=41000, dport=25, seq=9, ack=77, flags=flags)
        add(f"v4 flags {flags}", ethernet() / IP(**v4) / tcp)
        add(f"v6 flags {flags}", ethernet() / IPv6(**v6) / tcp)
    s = TCP(sport=42000, dport=25, seq=5, flags="S", options=options)
    add("SYN with data (Fast Open)", ethernet() / IP(**v4) / s / Raw(b"EHLO x\r\n"))
    tags = {
        "802.1Q": Dot1Q(vlan=7), "priority tag": Dot1Q(vlan=0, prio=5),
        "QinQ": Dot1AD(vlan=100) / Dot1Q(vlan=7), "QinQ of 8100": Dot1Q(vlan=9) / Dot1Q(vlan=7),
        "four priority tags": Dot1Q(vlan=0) / Dot1Q(vlan=0) / Dot1Q(vlan=0) / Dot1Q(vlan=0),
    }
    for name, tag in tags.items():
        add(f"v4 {name}", ethernet() / tag / IP(**v4) / s)
        add(f"v6 {name}", ethernet() / tag / IPv6(**v6) / s)
        add(f"v4 {name} UDP", ethernet() / tag / IP(**v4) / UDP(sport=1, dport=25))
    add("record route", ethernet() / IP(options=[IPOption_RR(routers=["0.0.0.0"] * 9)], **v4) / s)
    add("one option word", ethernet() / IP(options=[IPOption_RR(routers=[], length=3)], **v4) / s)
    ext = {
        "hop-by-hop": IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]),
        "long hop-by-hop": IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 252)]),
        "routing": IPv6ExtHdrRouting(addresses=["2001:db8::9"], segleft=0),
        "destination": IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)]),
        "atomic fragment": IPv6ExtHdrFragment(offset=0, m=0, id=3),
        "first fragment": IPv6ExtHdrFragment(offset=0, m=1, id=3),
        "AH": AH(spi=1, seq=1, icv=b"\0" * 12),
        "AH of 24 bytes more": AH(spi=1, seq=1, icv=b"\0" * 32),
        "three": (IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)])
                  / IPv6ExtHdrRouting(addresses=["2001:db8::9"], segleft=0)
                  / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])),
    }
    for name, header in ext.items():
        add(f"v6 {name}", ethernet() / IPv6(**v6) / header / s)
        add(f"v6 {name} UDP", ethernet() / IPv6(**v6) / header / UDP(sport=2, dport=25))
    add("v4 first fragment", ethernet() / IP(flags="MF", **v4) / s / Raw(b"x" * 24))
    add("v4 later fragment", ethernet() / IP(frag=9, proto=6, **v4) / Raw(b"x" * 40))
    add("v6 later fragment", ethernet() / IPv6(**v6) / IPv6ExtHdrFragment(offset=9, nh=6)
        / Raw(b"x" * 40))
    add("DNS", ethernet() / IP(**v4) / UDP(sport=5353, dport=53) / Raw(b"q" * 30))
    add("UDP to 25", ethernet() / IP(**v4) / UDP(sport=5353, dport=25))
    add("ping", ethernet() / IP(**v4) / ICMP())
    add("ping6", ethernet() / IPv6(**v6) / ICMPv6EchoRequest())
    add("neighbour", ethernet() / IPv6(**v6) / ICMPv6ND_NS(tgt="2001:db8::1"))
    add("SCTP to 25", ethernet() / IP(**v4) / SCTP(sport=3, dport=25))
    add("ARP", ethernet() / ARP(psrc="192.0.2.1", pdst="192.0.2.2"))
    add("LLDP", Ether(type=0x88CC, **MACS) / Raw(b"\x02\x07" + b"x" * 40))
    add("802.3 LLC", Ether(type=38, **MACS) / Raw(b"\x42\x42\x03" + bytes(43)))
    add("IP in IP", ethernet() / IP(**v4) / IP(**v4) / s)
    add("GRE", ethernet() / IP(**v4) / GRE() / IP(**v4) / s)
    add("6in4", ethernet() / IP(**v4) / IPv6(**v6) / s)
    return [(name, frame.ljust(60, b"\0")) for name, frame in frames] \
        + [(name + ", no padding", frame) for name, frame in frames if len(frame) < 60]


def tcp_bytes(sport=43000, dport=25, seq=1, ack=0, flags=2, doff=5, tail=b""):
    return struct.pack("!HHIIBBHHH", sport, dport, seq, ack, doff << 4, flags, 64240, 0, 0) + tail


def ipv4_bytes(payload, source=b"\xc0\0\2\n", destination=b"\xcb\0\x71\x19", ihl=5, total=None,
               fragment=0, protocol=6, version=4, options=b""):
    total = 20 + len(options) + len(payload) if total is None else total
    return struct.pack("!BBHHHBBH4s4s", version << 4 | ihl, 0, total & 0xFFFF, 1, fragment, 64,
                       protocol, 0, source, destination) + options + payload


def ipv6_bytes(payload, following=6, source=b"\x20\1\r\xb8" + bytes(11) + b"\1",
               destination=b"\x20\1\r\xb8" + bytes(11) + b"\2", size=None, version=6):
    size = len(payload) if size is None else size
    return struct.pack("!IHBB16s16s", version << 28, size & 0xFFFF, following, 64, source,
                       destination) + payload


LINK = b"\2\0\0\0\0\2\2\0\0\0\0\1"


def framed(ip, tags=()):
    kind = b"\x86\xdd" if ip[:1] and ip[0] >> 4 == 6 else b"\x08\0"
    return LINK + b"".join(struct.pack("!HH", tpid, vid) for tpid, vid in tags) + kind + ip


def hostile():
    """[(name, frame)]: each is a way past a parser that believes."""
    syn, found = tcp_bytes(), []

    def add(name, ip, tags=()):
        found.append((name, framed(ip, tags)))

    for n in range(0, 12):
        add(f"{n} priority tags", ipv4_bytes(syn), [(0x8100, 0)] * n)
        add(f"{n} service tags", ipv6_bytes(syn), [(0x88A8, n)] * n)
        add(f"{n} old tags", ipv6_bytes(syn), [(0x9100, n)] * n)
    for ihl in range(16):
        add(f"ihl {ihl}", ipv4_bytes(syn, ihl=ihl, options=b"\1" * max(0, ihl * 4 - 20)))
        add(f"ihl {ihl}, not there", ipv4_bytes(syn, ihl=ihl))
    for version in range(16):
        found.append((f"v4 version {version}", LINK + b"\x08\0" + ipv4_bytes(syn, version=version)))
        found.append((f"v6 version {version}", LINK + b"\x86\xdd" + ipv6_bytes(syn, version=version)))
    for doff in range(16):
        add(f"doff {doff}", ipv4_bytes(tcp_bytes(doff=doff, tail=b"\1" * max(0, doff * 4 - 20))))
        add(f"doff {doff}, not there", ipv6_bytes(tcp_bytes(doff=doff)))
    for total in list(range(0, 64)) + [1500, 65535]:
        add(f"tot_len {total}", ipv4_bytes(syn, total=total) + bytes(20))
        add(f"payload_len {total}", ipv6_bytes(syn, size=total) + bytes(20))
    for offset in range(0, 8):
        for more in 0, 0x2000:
            for have in 0, 7, 8, 16, 19, 20, 28:
                part = (syn + bytes(20))[:have]
                add(f"v4 fragment {offset} {more:x} {have}",
                    ipv4_bytes(part, fragment=offset | more))
                add(f"v6 fragment {offset} {more:x} {have}", ipv6_bytes(
                    struct.pack("!BBHI", 6, 0, offset << 3 | (more and 1), 9) + part, 44))
                add(f"v6 fragment of an extension {offset} {more:x} {have}", ipv6_bytes(
                    struct.pack("!BBHI", 60, 0, offset << 3 | (more and 1), 9)
                    + (bytes([6, 0, 1, 4, 0, 0, 0, 0]) + part)[:have + 4], 44))
    add("don't fragment, reserved bit", ipv4_bytes(syn, fragment=0xC000))
    add("UDP's later fragment", ipv4_bytes(syn, fragment=1, protocol=17))
    for kind in (0, 43, 44, 51, 60, 135, 139, 140):
        for n in list(range(0, 34)) + [40]:
            head = bytes([kind, 0]) + bytes(6) if kind != 51 else bytes([kind, 0]) + bytes(6)
            chain = head * (n - 1) + bytes([6]) + head[1:] if n else b""
            add(f"{n} headers of kind {kind}", ipv6_bytes(chain + syn, kind if n else 6))
        for length in (0, 1, 2, 3, 4, 31, 127, 255):
            size = (length + 2) * 4 if kind == 51 else 8 if kind == 44 else (length + 1) * 8
            head = bytes([6, length]) + bytes(size - 2)
            if kind == 44:
                head = bytes([6, length]) + bytes(6)
            add(f"kind {kind}, length {length}", ipv6_bytes(head + syn, kind))
            add(f"kind {kind}, length {length}, not there", ipv6_bytes(head[:8] + syn, kind))
    add("no next header", ipv6_bytes(syn, 59))
    add("ESP", ipv6_bytes(syn, 50))
    add("v4-mapped source on the wire",
        ipv6_bytes(syn, source=bytes(10) + b"\xff\xff\xc0\0\2\n"))
    return found


def captures():
    """[(file, is Ethernet, [frame])] of the pcap files that lie here (captures/README says how)."""
    found = []
    for file in sorted(glob.glob(f"{HERE}/captures/*.pcap")):
        packets = rdpcap(file)
        found.append((file, packets[0].name == "Ethernet", [bytes(p) for p in packets]))
    return found


# ---- any number of them ----

NEXT = (6,) * 8 + (0, 43, 44, 51, 60, 60, 135, 139, 140, 17, 59, 58, 255)


def grown(r):
    """A packet grown from the grammar, with something odd here and there. -> (ip, tags)"""
    flags = r.choice((2, 2, 2, 2, 0xC2, 0x12, 0x10, 0x18, 4, 3, r.randrange(256)))
    port = r.choice(PORTS) if r.random() < 0.9 else r.randrange(65536)
    doff = 5 if r.random() < 0.7 else r.randrange(16)
    tail = bytes(r.choice((0, 0, 20, doff * 4 - 20 if doff > 5 else 0, r.randrange(60))))
    segment = tcp_bytes(r.randrange(65536), port, r.getrandbits(32), 0, flags, doff, tail)
    if r.random() < 0.05:
        segment = segment[:r.randrange(len(segment))]
    if r.random() < 0.5:
        odd = r.random()
        ihl = 5 if r.random() < 0.7 else r.randrange(16)
        ip = ipv4_bytes(segment, bytes((10, 0, r.randrange(40), r.randrange(250))),
                        r.randbytes(4), ihl,
                        r.choice((0, r.randrange(80), 65535)) if odd < 0.1 else None,
                        r.choice((0x2000, 0x4000, 1, 2, 3, 0x2001, r.randrange(65536)))
                        if odd > 0.85 else 0, 6 if r.random() < 0.9 else r.randrange(256),
                        4 if r.random() < 0.97 else r.randrange(16),
                        r.randbytes(max(0, ihl * 4 - 20)) if r.random() < 0.8 else b"")
    else:
        following, chain = 6, segment
        for _ in range(r.choice((0, 0, 1, 1, 2, 3, r.randrange(36)))):
            kind = r.choice((0, 43, 44, 51, 60, 60, 135, 139, 140))
            length = 0 if r.random() < 0.6 else r.randrange(4)
            size = (length + 2) * 4 if kind == 51 else 8 if kind == 44 else (length + 1) * 8
            body = bytes(6)
            if kind == 44:
                body = struct.pack("!HI", r.choice((0, 0, 0, 1, 8, 16, 24, r.randrange(65536))), 1)
            head = bytes([following, length]) + body + bytes(max(0, size - 8))
            chain, following = head + chain, kind
        if r.random() < 0.05:
            following = r.choice(NEXT)
        ip = ipv6_bytes(chain, following,
                        b"\x20\1\r\xb8\0\0" + struct.pack("!H", r.randrange(3000)) + r.randbytes(8),
                        r.randbytes(16),
                        r.choice((0, r.randrange(100))) if r.random() < 0.1 else None,
                        6 if r.random() < 0.98 else r.randrange(16))
    if r.random() < 0.1:
        ip += bytes(r.randrange(30))
    tags = [(r.choice((0x8100, 0x8100, 0x88A8, 0x9100, 0x9200, 0x9300)), r.getrandbits(16))
            for _ in range(r.choice((0, 0, 0, 1, 2, r.randrange(11))))]
    return ip, tags


def mutated(r, frame):
    b = bytearray(frame)
    for _ in range(r.choice((1, 1, 2, 3, 5))):
        if not b:
            break
        at, what = r.randrange(min(len(b), 90)), r.randrange(6)
        if what == 0:
            b[at] ^= 1 << r.randrange(8)
        elif what == 1:
            b[at] = r.choice((0, 1, 4, 5, 6, 43, 44, 51, 60, 255, r.randrange(256)))
        elif what == 2:
            del b[r.randrange(len(b)):]
        elif what == 3:
            b[at:at] = r.randbytes(r.choice((1, 2, 4, 8)))
        elif what == 4:
            del b[at:at + r.choice((1, 2, 4, 8))]
        else:
            b += r.randbytes(r.randrange(1, 40))
    return bytes(b)


def random_packets(seed, count, base):
    """Yields (is Ethernet, frame): a third grown, a half mutated, the rest noise."""
    r = random.Random(seed)
    for _ in range(count):
        dice = r.random()
        if dice < 0.4:
            ip, tags = grown(r)
            ethernet_wanted = r.random() < 0.7
            frame = framed(ip, tags) if ethernet_wanted else ip
        elif dice < 0.95:
            frame, ethernet_wanted = mutated(r, r.choice(base)), True
            if r.random() < 0.25:
                frame, ethernet_wanted = frame[14:], False
        else:
            frame = r.randbytes(r.randrange(14, 120))
            ethernet_wanted = r.random() < 0.5
            if r.random() < 0.7:        # so that it gets further
                frame = LINK + r.choice((b"\x08\0\x45", b"\x86\xdd\x60")) + frame \
                    if ethernet_wanted else r.choice((b"\x45", b"\x60", b"\x46")) + frame
        yield ethernet_wanted, frame
