# SPDX-License-Identifier: GPL-2.0-only
"""What a packet is, told from the RFCs: 791 (IPv4), 8200 (IPv6), 9293 (TCP), 4302 (AH), 1858, 3128
and 8200 4.5 (fragments), IEEE 802.1Q and 802.1ad (tags).

Not a translation of bpf/lib/parse.h: that the two agree is what is tested. Where the RFCs leave
open which of two names a broken packet deserves, both are in `may_be`; that it is none else, and
that it is counted at all, is still demanded.
"""
import struct
from collections import namedtuple

TAGS_MAX, EXTENSIONS_MAX = 8, 32    # limits that bpf/lib/parse.h states
TAGS = {0x8100, 0x88A8, 0x9100, 0x9200, 0x9300}
LENGTH_IN_EIGHTS = {0, 43, 60, 135, 139, 140}
AH, FRAGMENT, ROUTING, TCP = 51, 44, 43, 6
FIN, SYN, RST, ACK = 1, 2, 4, 16

# routed: by IPv4 options or an IPv6 routing header, which may hold a source route
Segment = namedtuple("Segment",
                     "family source destination sport dport seq ack flags payload routed")
View = namedtuple("View", "may_be segment")     # outcomes that are right, and the TCP header if any


class Broken(Exception):
    def __init__(self, *may_be):
        super().__init__(may_be)
        self.may_be = frozenset(may_be)


class Bytes:
    """A stretch of the frame that knows where it ends."""

    def __init__(self, raw, start=0, end=None):
        self.raw, self.start = raw, start
        self.end = len(raw) if end is None else min(end, len(raw))

    def take(self, n, why):
        """The next n bytes, or the packet is broken in the way that is told."""
        if self.end - self.start < n:
            raise Broken(*why)
        self.start += n
        return self.raw[self.start - n:self.start]

    def left(self):
        return max(0, self.end - self.start)


def look(frame, ethernet):
    try:
        return _ethernet(Bytes(frame)) if ethernet else _raw(Bytes(frame))
    except Broken as b:
        return View(b.may_be, None)


def _ethernet(rest):
    rest.take(12, ["truncated"])
    ethertype, = struct.unpack("!H", rest.take(2, ["truncated"]))
    tags = 0
    while ethertype in TAGS:
        tags += 1
        if tags > TAGS_MAX:     # the three old numbers are no standard: "not IP" is as true
            return View({"too_many_headers"} if ethertype in (0x8100, 0x88A8)
                        else {"too_many_headers", "not_ip"}, None)
        ethertype, = struct.unpack("!2xH", rest.take(4, ["truncated"]))
    if ethertype == 0x0800:
        return _ipv4(rest)
    if ethertype == 0x86DD:
        return _ipv6(rest)
    return View({"not_ip"}, None)


def _raw(rest):
    if not rest.left():
        return View({"truncated"}, None)
    version = rest.raw[rest.start] >> 4
    return _ipv4(rest) if version == 4 else _ipv6(rest) if version == 6 else View({"not_ip"}, None)


def _ipv4(rest):
    begin = rest.start
    first, total, fragment, protocol, source, destination = struct.unpack(
        "!BxHxxHxBxx4s4s", rest.take(20, ["truncated"]))
    length = (first & 15) * 4
    if first >> 4 != 4 or length < 20:
        raise Broken("bad_header")
    extra = set()
    if total:
        if total < length:              # its header is longer than itself
            extra = {"bad_header"}
        rest.end = min(rest.end, begin + total)
    offset, more = (fragment & 0x1FFF) * 8, bool(fragment & 0x2000)
    if offset:
        return View(_later_fragment(offset, protocol) | extra, None)
    if protocol != TCP:
        return View({"other"} | extra, None)
    short = (["tiny_fragment"] if more else ["truncated"]) + list(extra)
    if rest.left() < length - 20:
        raise Broken(*short)
    rest.take(length - 20, short)
    mapped = bytes(10) + b"\xff\xff"
    return _tcp(rest, (4, mapped + source, mapped + destination), length > 20, short)


def _ipv6(rest):
    version, size, following, source, destination = struct.unpack(
        "!BxxxHBx16s16s", rest.take(40, ["truncated"]))
    if version >> 4 != 6:
        raise Broken("bad_header")
    if size:                            # 0: jumbogram, BIG TCP
        rest.end = min(rest.end, rest.start + size)
    more = routed = False
    for n in range(EXTENSIONS_MAX + 1):
        short = ["tiny_fragment"] if more else ["truncated"]
        # At the very limit it may say either.
        limit = {"too_many_headers"} if n == EXTENSIONS_MAX else set()
        if following == TCP:
            try:
                view = _tcp(rest, (6, source, destination), routed, short)
            except Broken as b:
                raise Broken(*b.may_be, *limit) from None
            return View(view.may_be | limit, view.segment)
        if limit:
            return View(limit, None)
        if following not in LENGTH_IN_EIGHTS and following not in (FRAGMENT, AH):
            # The last extension header may have claimed more than there was.
            return View({"other"} if not _overrun(rest) else {"other", *short}, None)
        if rest.left() < 8:
            raise Broken(*short)
        head = rest.raw[rest.start:rest.start + 8]
        routed = routed or following == ROUTING
        if following == FRAGMENT:
            where, = struct.unpack("!H", head[2:4])
            if where & 0xFFF8:
                return View(_later_fragment(where & 0xFFF8, head[0]), None)
            more = more or bool(where & 1)
            rest.start += 8
        elif following == AH:
            rest.start += (head[1] + 2) * 4
        else:
            rest.start += (head[1] + 1) * 8
        following = head[0]
    raise AssertionError("not reached")


def _overrun(rest):
    return rest.start > rest.end


def _later_fragment(offset, protocol):
    """RFC 1858 and 3128: an offset within the 20 bytes could rewrite ports and flags."""
    return {"tiny_fragment"} if protocol == TCP and offset < 20 else {"fragment"}


def _tcp(rest, ends, routed, short):
    if rest.start > rest.end:
        raise Broken(*short)
    sport, dport, seq, ack, length, flags = struct.unpack("!HHIIBB6x", rest.take(20, short))
    size = (length >> 4) * 4
    if size < 20:
        raise Broken("bad_header")
    segment = Segment(*ends, sport, dport, seq, ack, flags, rest.start + size - 20, routed)
    # Options that are not all there: the 20 bytes tell what it is, a receiver would drop it.
    may_be = {"tcp"} if size - 20 <= rest.left() else {"tcp", "bad_header", *short}
    return View(may_be, segment)


# ---- what the census should make of it ----

def source_key(segment):
    """IPv4 as it is, IPv6 by /64."""
    return segment.source if segment.family == 4 else segment.source[:8] + bytes(8)


def kernel_refuses(frame):
    """BPF_PROG_TEST_RUN's own demands (net/bpf/test_run.c): a link header, and a whole IP header
    where the bytes of an EtherType say so. Raw IP packets have something else there."""
    if len(frame) < 14:
        return True
    least = {b"\x08\x00": 20, b"\x86\xdd": 40}.get(bytes(frame[12:14]), 0)
    return len(frame) - 14 < least or len(frame) == 14


def kernel_knows_family(frame):
    """The test run's socket has a family, and so counts as a sender, only then."""
    return bytes(frame[12:14]) in (b"\x08\x00", b"\x86\xdd")
