# SPDX-License-Identifier: GPL-2.0-only
"""What the gateway and the uplink's backstop should do with a packet, told from what their rules
say (smtpfence.conf(5), design section 3), and the same policy as entries of the programs' maps.

Not a translation of bpf/lib/gateway.h: that the two agree is what is tested.
"""
import ipaddress
import os
import re
import struct
from dataclasses import dataclass

import oracle
from oracle import ACK, SYN

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FENCED, WATCHED = (25, 465, 587), (2525,)
OFF, MONITOR, ENFORCE, WIPED = 1, 2, 3, 0
HERE, ELSEWHERE = 1, 99         # interfaces: a test run's packets come in at the first (lo)
NEVER = 2 ** 64 - 1
OUT, OUTIP, GWIN, GWIP, XDP, GWOUT, GWOIP = range(7)
PUT = 16


def _list(file, macro):
    """The labels of a list of the contract, in their order."""
    text = open(os.path.join(ROOT, "maps", file), encoding="utf-8").read()
    body = re.search(rf"#define {macro}\(X\)(.*?)\n\n", text, re.S).group(1)
    return re.findall(r'X\(\w+,\s*"(\w+)"', body)


ABI = int(re.search(r"#define SF_ABI_VERSION (\d+)",
                    open(os.path.join(ROOT, "maps/abi.h"), encoding="utf-8").read()).group(1))
VERDICTS, REASONS = _list("verdict.h", "SF_VERDICTS"), _list("verdict.h", "SF_REASONS")
CENSUS = _list("census.h", "SF_CENSUS_COUNTERS")
BIT = {name: 1 << i for i, name in enumerate(CENSUS)}
# What a table does when it is full is no property of a packet.
APART = sum(BIT[n] for n in CENSUS if n.startswith(("forgotten", "crossings", "untracked")))
UNPARSED = ("tiny_fragment", "truncated", "bad_header", "too_many_headers")


def decision_name(index):
    if not 0 < index < 0xFFFF:
        return None if not index else ("several", "reasons")
    return VERDICTS[(index - 1) // 32], REASONS[(index - 1) % 32]


class Nets:
    """Networks of both families; IPv4 is IPv4, never an IPv6 address that looks like it."""

    def __init__(self, *texts):
        self.nets = [ipaddress.ip_network(t) for t in texts]
        self._of = {4: [], 6: []}
        for n in self.nets:
            self._of[n.version].append((int(n.network_address), int(n.netmask)))

    def hold(self, family, address):
        number = int.from_bytes(address[12:] if family == 4 else address, "big")
        return any(number & mask == base for base, mask in self._of[family])


def lpm_key(net, ifindex=None):
    family, bits = (4, 96 + net.prefixlen) if net.version == 4 else (6, net.prefixlen)
    raw = net.network_address.packed
    address = bytes(10) + b"\xff\xff" + raw if family == 4 else raw
    if ifindex is None:
        return struct.pack("=II", 32 + bits, family) + address
    return struct.pack("=III", 64 + bits, ifindex, family) + address


def is_host(net):
    return net.prefixlen == net.max_prefixlen


def put(name, key, value):
    data = name.encode().ljust(32, b"\0") + key + value
    return struct.pack("=II", len(data), PUT) + data


def packet(op, frame):
    return struct.pack("=II", len(frame), op) + frame


@dataclass(frozen=True)
class Policy:
    name: str
    mode: int = ENFORCE
    relays: tuple = ()              # (Nets, ports), disjoint; no ports: every port
    quarantine: Nets = Nets()
    mail_hosts: Nets = Nets()       # behind any interface
    bound_hosts: tuple = ()         # (Nets, interface)
    own_nets: Nets = None           # of the interface; None: every source may be its
    local: Nets = Nets()
    allow_local: bool = True
    reset: bool = False
    old: int = 0                    # with WIPED: not zeros, but another version's mode

    # ---- as maps ----

    def records(self):
        yield put("settings", bytes(4), self._settings())
        yield put("census_settings", bytes(4), struct.pack(
            "=QQQqqII", 0x9E3779B97F4A7C15, NEVER, 0, 0, 0, ABI, 1) + bytes(48))
        for word in range(1024):
            bits = [sum(1 << p % 64 for p in ports if p // 64 == word)
                    for ports in (FENCED, WATCHED)]
            if any(bits):
                yield put("ports", struct.pack("=I", word), struct.pack("=QQ", *bits))
        for nets, ports in self.relays:
            grants = struct.pack("=II", len(ports) or 1, 0) + b"".join(
                struct.pack("=QHHHH", NEVER, p, 0, 0, 0) for p in ports or [0])
            for net in nets.nets:
                yield put("relays", lpm_key(net), grants.ljust(8 + 16 * 8, b"\0"))
        for net in self.quarantine.nets:
            table = "hosts" if is_host(net) else "nets"
            yield put(f"quarantine_{table}", lpm_key(net), struct.pack("=Q", NEVER))
        for net in self.mail_hosts.nets:
            yield put("mail_hosts", lpm_key(net), bytes(8))
        for nets, interface in self.bound_hosts:
            for net in nets.nets:
                yield put("bound_hosts", lpm_key(net, interface), bytes(4))
        yield put("gateway", bytes(4), struct.pack("=II", ABI, self.flags()))
        for net in self.local.nets:
            yield put("local_addrs", lpm_key(net)[8:], b"\1")
        yield put("local_filter", bytes(4), b"\xff" * 512)
        yield put("customers", struct.pack("=I", HERE),
                  struct.pack("=II", self.own_nets is not None, 0))
        for net in self.own_nets.nets if self.own_nets else ():
            yield put("customer_nets", lpm_key(net, HERE), bytes(4))

    def flags(self):
        return self.reset | bool(self.mail_hosts.nets) << 2 | bool(self.bound_hosts) << 3

    def _settings(self):
        if self.mode == WIPED:
            return struct.pack("=IIIIQQQQ", ABI + 1, self.old, 0, 0, 0, 0, 0, 0) if self.old \
                else bytes(48)
        hosts = [is_host(net) for net in self.quarantine.nets]
        flags = self.allow_local | bool(self.relays) << 1 | (False in hosts) << 3 | \
            (True in hosts) << 5
        return struct.pack("=IIIIQQQQ", ABI, self.mode, flags, 1, 0, 0, 0, 0)

    # ---- as rules ----

    def _denied(self, reason):
        return ("would_deny" if self.mode == MONITOR else "denied"), reason

    def _relayed(self, s):
        return not s.routed and any(
            nets.hold(s.family, s.destination) and (not ports or s.dport in ports)
            for nets, ports in self.relays)

    def gateway_unparsed(self):
        return ("allowed", "off") if self.mode == OFF else self._denied("unparsed")

    def gateway_syn(self, s):
        """(verdict, reason), or None where nothing is to be said of it."""
        fenced = s.dport in FENCED
        if self.mode == OFF:
            return ("allowed", "off") if fenced else None
        if self.mode == WIPED:
            return ("denied", "no_settings") if fenced else None
        if self.own_nets and not self.own_nets.hold(s.family, s.source):
            return self._denied("spoofed")
        if not fenced:
            return None
        if self.allow_local and not s.routed and self.local.hold(s.family, s.destination):
            return "allowed", "local"
        if self.quarantine.hold(s.family, s.source):
            return self._denied("quarantine")
        if self.mail_hosts.hold(s.family, s.source) or any(
                i == HERE and nets.hold(s.family, s.source) for nets, i in self.bound_hosts):
            return "allowed", "mail_host"
        return ("allowed", "relay") if self._relayed(s) else self._denied("no_role")

    def uplink_unparsed(self):
        return None if self.mode == OFF else self._denied("unparsed")

    def uplink_syn(self, s, has_sender):
        """A sender without any role; what is forwarded is only counted. Allowed: not counted."""
        if s.dport not in FENCED or not has_sender or self.mode == OFF:
            return None
        if self.mode == WIPED:
            return "denied", "no_settings"
        if self.quarantine.hold(s.family, s.source):
            return self._denied("quarantine")
        return None if self._relayed(s) else self._denied("no_role")

    # ---- what may become of a frame ----

    def allowed(self, frame, view, program):
        """{(what the program does, decision, census counters)}; each is right."""
        found = set()
        for outcome in view.may_be:
            decision, mask = None, 0
            if outcome in UNPARSED:
                decision = self.uplink_unparsed() if program <= OUTIP else self.gateway_unparsed()
            elif outcome == "tcp" and view.segment.flags & (SYN | ACK) == SYN:
                decision, mask = self._of_syn(frame, view.segment, program)
            # the gateway counts only what it may have to drop
            if outcome in UNPARSED or (program <= OUTIP and outcome in ("not_ip", "fragment")):
                mask = BIT[outcome]
            found.add((self._verdict(decision, frame, view, program), decision, mask))
        return found

    def _of_syn(self, frame, s, program):
        mask = BIT["syn"] | (BIT["fenced_syn"] if s.dport in FENCED else 0) \
            | (BIT["watched_syn"] if s.dport in WATCHED else 0)
        if program > OUTIP:
            return self.gateway_syn(s), mask
        has_sender = oracle.kernel_knows_family(frame)
        return self.uplink_syn(s, has_sender), mask | (0 if has_sender else BIT["no_sender"])

    def _verdict(self, decision, frame, view, program):
        if decision is None or decision[0] != "denied":
            return "passes"
        if self.reset and program in (GWIN, GWIP, XDP) \
                and decision[1] not in ("spoofed", "unparsed") \
                and can_be_answered(frame, view.segment, program):
            return "reset"
        return "dropped"


def can_be_answered(frame, s, program):
    """Stated in smtpfence.conf(5): a plain header, from one station to one other."""
    start = 0 if program == GWIP else 14
    if start and (frame[12:14] not in (b"\x08\0", b"\x86\xdd") or frame[0] & 1):
        return False
    if s.family == 4:
        return frame[start] & 15 == 5 and not frame[start + 6] & 0x3F and not frame[start + 7]
    return frame[start + 6] == oracle.TCP


def right_reset(frame, s, program, answer):
    """RFC 9293 3.5.2: a segment that reaches nobody. Complaint, or nothing."""
    start = 0 if program == GWIP else 14
    if start and answer[:12] != frame[6:12] + frame[:6]:
        return "not to who sent it"
    v = oracle.look(answer, bool(start)).segment
    if not v or (v.source, v.destination, v.sport, v.dport) != \
            (s.destination, s.source, s.dport, s.sport):
        return "not between the same ends"
    if v.flags != oracle.RST | ACK or v.seq or v.ack != (s.seq + 1) % 2 ** 32:
        return f"flags {v.flags:#x}, seq {v.seq}, ack {v.ack}"
    header = 20 if s.family == 4 else 40
    if checksum(answer[start + header:], s) != checksum(frame[start + header:], s):
        return "the checksum is not right by as much as it was"
    return None


def checksum(segment, s):
    """What is left over in RFC 9293's sum: 0xffff where it is right. The order of the ends, and of
    the bytes that stayed, does not matter."""
    data = s.source + s.destination + segment + b"\0" * (len(segment) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return total % 0xFFFF


# ---- the policies that packets of corpus.py are run under ----

QUARANTINE = Nets("10.0.4.0/22", "10.0.5.9/32", "192.0.2.10/32", "2001:db8:0:100::/56",
                  "2001:db8:0:720::/60", "10.0.1.0/25", "2001:db8:0:10::/60")   # mail hosts, too
MAIL = Nets("10.0.0.0/23", "10.0.2.7/32", "2001:db8::/57", "2001:db8::1/128")
BOUND = ((Nets("10.0.8.0/23", "2001:db8:0:200::/56"), HERE),
         (Nets("10.0.10.0/23", "2001:db8:0:300::/56"), ELSEWHERE))
RELAYS = ((Nets("0.0.0.0/2", "::/2"), (25, 587)), (Nets("128.0.0.0/2", "8000::/2"), ()))
OWN = Nets("10.0.0.0/20", "192.0.2.0/24", "2001:db8::/54", "2001:db8:1:2::/64")
LOCAL = Nets("203.0.113.25/32", "2001:db8::2/128", "2001:db8:ffff::25/128")
LISTS = dict(relays=RELAYS, quarantine=QUARANTINE, mail_hosts=MAIL, bound_hosts=BOUND)
POLICIES = [
    Policy("lists", **LISTS),
    Policy("own nets, resets", own_nets=OWN, reset=True, **LISTS),
    Policy("bare"),
    Policy("this host", local=LOCAL, **LISTS),
    Policy("local is none", local=LOCAL, allow_local=False, own_nets=OWN, **LISTS),
    Policy("watching", mode=MONITOR, own_nets=OWN, local=LOCAL, reset=True, **LISTS),
    Policy("off", mode=OFF, own_nets=OWN, **LISTS),
    Policy("wiped", mode=WIPED, own_nets=OWN, **LISTS),
]
ANOTHER_VERSION = Policy("another version", mode=WIPED, old=OFF, **LISTS)
