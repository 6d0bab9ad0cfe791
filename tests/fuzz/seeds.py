#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""The hand-made inputs that are no text: netlink answers, event records, captures, packets. Written
once into the corpora, which `make fuzz` then keeps small; here so that one can see what they are.

    tests/fuzz/seeds.py DIRECTORY       writes DIRECTORY/TARGET/NAME
"""
import os
import struct
import sys


# ---- netlink ----

def padded(b):
    return b + bytes(-len(b) % 4)


def attribute(kind, data):
    return padded(struct.pack("=HH", 4 + len(data), kind) + data)


def message(kind, body, flags=2):
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + padded(body)


def datagram(*messages):
    whole = b"".join(messages)
    return struct.pack("=H", len(whole)) + whole


DONE = message(3, struct.pack("=i", 0))


def link(index, name, flags=1, kind=None, arphrd=1, *more):
    info = attribute(18, attribute(1, kind)) if kind else b""     # IFLA_LINKINFO, IFLA_INFO_KIND
    return message(16, struct.pack("=BxHiII", 0, arphrd, index, flags, 0)
                   + attribute(3, name + b"\0") + info + b"".join(more))


def route(index, *more):
    body = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0)   # dst_len 0, RTN_UNICAST
    return message(24, body + attribute(4, struct.pack("=i", index)) + b"".join(more))


def hops(*indexes):
    return attribute(9, b"".join(struct.pack("=HBBi", 8, 0, 0, i) for i in indexes))


def links():
    xdp = attribute(43, attribute(2, b"\1") + attribute(4, struct.pack("=I", 7)))
    some = [link(1, b"lo", 9, None, 772), link(2, b"eth0"), link(3, b"tap1", 1, b"tun\0", 1, xdp),
            link(4, b"vlan7", 1, b"vlan\0", 1, attribute(5, struct.pack("=i", 3))),
            link(5, b"br0", 1, b"bridge\0"),
            link(6, b"veth9", 1, b"veth\0", 1, attribute(10, struct.pack("=i", 5))),
            link(7, b"wg0", 1, b"wireguard\0", 65534)]
    yield "dump", (datagram(route(2, hops(2, 6)), DONE) + datagram(DONE)
                   + datagram(*some[:4]) + datagram(*some[4:], DONE))
    yield "routes of 6", datagram(route(2), route(7)) + datagram(DONE) + datagram(DONE) \
        + datagram(*some, DONE)
    # Nothing behind the last of them where the next would be: lengths that are no fours.
    odd = struct.pack("=BxHiII", 0, 1, 9, 1, 0) + attribute(3, b"tap9\0") \
        + struct.pack("=HH", 9, 18) + struct.pack("=HH", 5, 1) + b"v"
    odd = struct.pack("=IHHII", 16 + len(odd), 16, 2, 1, 0) + odd
    yield "not padded", datagram(DONE) + datagram(DONE) + struct.pack("=H", len(odd)) + odd
    yield "error", datagram(message(2, struct.pack("=i", -1) + bytes(16)))
    yield "changed", datagram(DONE) + datagram(DONE) + datagram(message(16, bytes(16), 0x12), DONE)


def diag():
    def socket(uid, *more):
        sockid = struct.pack(">HH", 40000, 25) + bytes(32) + struct.pack("=III", 0, 1, 2)
        return message(20, struct.pack("=BBBB", 2, 1, 0, 0) + sockid
                       + struct.pack("=IIIII", 0, 0, 0, uid, 9) + b"".join(more))

    cgroup = attribute(21, struct.pack("=Q", 77))
    yield "list", b"\0" + datagram(socket(33, cgroup), socket(0, attribute(8, b"\0"), cgroup)) \
        + datagram(socket(63), DONE)
    yield "refused", b"\0" + datagram(message(2, struct.pack("=i", -2) + bytes(16)))
    yield "ended", b"\1" + datagram(message(2, struct.pack("=i", 0) + bytes(16)))


# ---- events ----

def trail(*names, cut=0):
    text = b"".join(n + b"\0" for n in names)
    return struct.pack("=HBB", len(text), cut, -(-len(text) // 3)) \
        + text.ljust(-(-len(text) // 3) * 3, b"\0")


def event():
    def record(hook, family, cmdline, *trails, time=10 ** 12):
        head = struct.pack("=IIQQQ16sIIIIHBBBB2x16sH6x", 2, 96 + 3 * 776 + 512, time, 5, 5,
                           bytes(10) + b"\xff\xff\xc6\x33\x64\x07", 77, 77, 33, 33, 25, 1, 7,
                           family, hook, b"p\x1bhp\"\\", len(cmdline))
        return b"\1" + head + b"".join(trails) + cmdline

    box = b"0123456789abcdef" * 4
    yield "connect", record(0, 4, b"php\0-r\0\x1b[2J\"", trail(b"php8.2", b"bin", b"usr"),
                            trail(b"shop\n", b"we\"b\\1", b"home"),
                            trail(b"php-fpm.service", b"system.slice"))
    yield "packet", record(1, 6, b"", trail(), trail(), trail(b"docker-" + box + b".scope",
                                                                b"machine.slice", cut=1))
    yield "of no clock's time", record(0, 4, b"", time=2 ** 63 - 1)
    yield "container", record(0, 6, b"x" * 511, trail(), trail(), trail(
        b"lxc.payload.web\xc3\xa9\x85", b"machine-a.scope", box))


# ---- captures and packets ----

def tcp(sport=40001, dport=25, seq=7, ack=0, flags=2, offset=5, more=b""):
    return struct.pack(">HHIIBBHHH", sport, dport, seq, ack, offset << 4, flags, 64240, 0, 0) + more


def ipv4(payload, proto=6, ihl=5, fragment=0, source=b"\xc0\0\2\1", to=b"\xc6\x33\x64\7",
         options=b"", total=None):
    total = 20 + len(options) + len(payload) if total is None else total
    return struct.pack(">BBHHHBBH4s4s", 0x40 | ihl, 0, total, 1, fragment, 64, proto, 0, source,
                       to) + options + payload


def ipv6(payload, following=6, source=b"\x20\1\r\xb8" + bytes(11) + b"\1",
         to=b"\x20\1\r\xb8" + bytes(11) + b"\2"):
    return struct.pack(">IHBB16s16s", 6 << 28, len(payload), following, 64, source, to) + payload


def ether(ip, *tags):
    kind = b"\x86\xdd" if ip[0] >> 4 == 6 else b"\x08\0"
    return b"\2\0\0\0\0\2\2\0\0\0\0\1" + b"".join(t + b"\0\7" for t in tags) + kind + ip


def frames():
    yield ether(ipv4(tcp(more=b"\2\4\5\xb4", offset=6)))
    yield ether(ipv4(tcp(dport=40001, sport=25, seq=99, ack=8, flags=0x12), source=b"\xc6\x33\x64\7",
                     to=b"\xc0\0\2\1"))
    yield ether(ipv4(tcp(dport=40002, sport=25, ack=8, flags=0x14)), b"\x81\0")
    yield ether(ipv6(struct.pack(">BBHI", 60, 0, 1, 5) + b"\6\0\1\4\0\0\0\0" + tcp(dport=587), 44),
                b"\x88\xa8", b"\x81\0")
    yield ether(ipv6(b"\x33\0" + bytes(6) + b"\6\1" + bytes(10) + tcp(dport=465), 0))
    yield ether(ipv4(tcp(), ihl=6, options=b"\1\1\1\0", fragment=0x2000))
    yield ether(ipv4(ipv4(tcp()), 4))
    yield ether(ipv4(b"\0\0\x08\0" + ipv4(tcp()), 47))


def capture():
    def pcap(magic, kind, packets):
        return struct.pack("=IHHiIII", magic, 2, 4, 0, 0, 65535, kind) + b"".join(
            struct.pack("=IIII", 1700000000 + i, 5, len(p), len(p)) + p
            for i, p in enumerate(packets))

    def block(kind, body):
        body += bytes(-len(body) % 4)
        return struct.pack("=II", kind, len(body) + 12) + body + struct.pack("=I", len(body) + 12)

    ether_frames = list(frames())
    yield "ethernet", pcap(0xa1b2c3d4, 1, ether_frames)
    yield "raw, nanoseconds", pcap(0xa1b23c4d, 101, [f[14:] for f in ether_frames[:2]])
    yield "cooked", pcap(0xa1b2c3d4, 113, [bytes(14) + f[12:] for f in ether_frames[:3]])
    yield "cooked 2", pcap(0xa1b2c3d4, 276, [f[12:14] + bytes(18) + f[14:]
                                             for f in ether_frames[:3]])
    yield "ng", block(0x0a0d0d0a, struct.pack("=IHHq", 0x1a2b3c4d, 1, 0, -1)) \
        + block(1, struct.pack("=HHI", 1, 0, 0)) + b"".join(
            block(6, struct.pack("=IIIII", 0, 0x60a24, i, len(f), len(f)) + f)
            for i, f in enumerate(ether_frames[:3]))
    for i, f in enumerate(ether_frames):
        yield f"packet {i}", b"\xf0" + f


def packets():
    """What target_packets.c wants: what it runs under, then the frame."""
    for program in range(5):        # out, outip, gwin, gwip, xdp
        for i, f in enumerate(frames()):
            yield f"{program} {i}", bytes([program, i % 5, 0x1f, 0x0f - i % 2 * 8]) \
                + (f[14:] if program in (1, 3) else f)


def main():
    for target in (links, diag, event, capture, packets):
        place = os.path.join(sys.argv[1], target.__name__)
        os.makedirs(place, exist_ok=True)
        for name, data in target():
            with open(os.path.join(place, name.translate({32: "-", 44: "", 39: ""})), "wb") as out:
                out.write(data)


if __name__ == "__main__":
    main()
