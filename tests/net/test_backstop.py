# SPDX-License-Identifier: GPL-2.0-only
"""What leaves without a connect(): dropped on the uplink, seen at the far end of the wire.

Each way is tried to port 25 and, beside it, to port 26; from a web site and from the mail server.
What has to do with connect() is in test_backstop_connect.py, devices in test_backstop_devices.py.
"""

import json
import socket
import struct

import census
from census import count_on, sender
from cgroups import Cgroup
from checks import denied, passes
from lab import HOST4, HOST6, WORLD4, WORLD6, until
from netns import EXTRA4, EXTRA6
from router import (ACK, CWR, ECE, FIN, PSH, SYN, destination_options, fragment_header, hop_by_hop,
                    ip4, ip6, needle, tcp, udp)
from wires import WAYS4, WAYS6, Wire, clear_of, counters


def test_every_raw_way_over_ipv4(lab):
    count_on(lab, mode="yes")
    wire = Wire(lab)
    n = wire.judge(lab.web, False, WAYS4, (25, 465, 587), uid=1001)
    wire.judge(lab.mta, True, WAYS4, (25, 465, 587), uid=8)
    wire.judge(lab.mta, True, WAYS4)
    assert clear_of(lab, "probe") == {"no_role": n}, counters(lab)
    row = sender(lab, lab.web, 1001)
    assert (row["denied"], row["fenced_syn"], row["syn"]) == (n, 0, n + len(WAYS4)), row


def test_every_raw_way_over_ipv6(lab):
    count_on(lab, mode="yes")
    wire = Wire(lab)
    n = wire.judge(lab.web, False, WAYS6, (25, 587), dst=WORLD6, uid=1001)
    wire.judge(lab.mta, True, WAYS6, (25, 587), dst=WORLD6, uid=8)
    assert sender(lab, lab.web, 1001)["denied"] == n


def test_who_may_not_from_the_mail_servers_cgroup(lab):
    """A customer's program in it; a site that took the mail server's uid."""
    count_on(lab, mode="yes")
    wire = Wire(lab)
    wire.judge(lab.mta, False, uid=33)
    wire.judge(lab.web, False, uid=8)
    wire.judge(lab.cgroup("mta/worker"), True, uid=8)
    assert clear_of(lab, "probe") == {"mail_user": 1, "no_role": 1}, counters(lab)


def test_allowed_users_and_their_ports(lab):
    lab.conf.section("allow_user", "1001", ports=[25])
    lab.conf.section("allow_group", "1003")
    count_on(lab, mode="yes")
    wire = Wire(lab)
    ways = ("header_included", "packet_raw")
    wire.judge(lab.web, True, ways, uid=1001)
    wire.judge(lab.web, False, ways, (465, 587), uid=1001)
    wire.judge(lab.web, False, ways, uid=1002)
    # a packet shows no group: what is allowed to one is so for connect() only
    wire.judge(lab.web, False, ways, uid=1003)
    passes(lab, lab.web, uid=1003, gid=1003)
    denied(lab, lab.web, uid=1003, gid=1004)


def test_exempt_relay_and_quarantine(lab):
    lab.conf.section("exempt", lab.root + "/free")
    lab.conf.section("allow_net", WORLD4, ports=[587])
    lab.conf.section("allow_net", WORLD6, ports=[587])
    lab.conf.section("quarantine_user", "8")
    lab.conf.section("quarantine_cgroup", lab.root + "/free/bad")
    count_on(lab, mode="yes")
    wire = Wire(lab)
    wire.judge(lab.cgroup("free/site"), True)
    wire.judge(lab.cgroup("free/bad/site"), False)
    wire.judge(lab.mta, False, uid=8)
    wire.judge(lab.mta, True)
    for dst in (WORLD4, WORLD6):
        wire.judge(lab.web, True, ports=(587,), dst=dst)
        wire.judge(lab.web, False, ports=(25,), dst=dst)
    wire.judge(lab.web, False, ports=(587,), dst=EXTRA4[0])


def test_a_quarantined_source(lab):
    """An address of the host's own that is in quarantine: for whom it is not bound before, too."""
    lab.conf.section("quarantine_net", HOST4 + "/32")
    count_on(lab, mode="yes")
    wire = Wire(lab)
    wire.judge(lab.mta, False)
    wire.judge(lab.mta, True, dst=WORLD6)


def test_a_source_route_gives_no_right(lab):
    """To an allowed relay by name, to somebody else by a route in its header."""
    lab.conf.section("allow_net", WORLD4, ports=[25])
    lab.conf.section("allow_net", WORLD6, ports=[25])
    count_on(lab, mode="yes")
    wire = Wire(lab)
    loose = b"\x83\x07\x04" + socket.inet_aton(EXTRA4[0]) + b"\x00"
    route = (43, b"\x02\x04\x01\0\0\0\0" + socket.inet_pton(socket.AF_INET6, EXTRA6[0]))
    jobs = [wire.syn("packet_raw", 25), wire.syn("packet_raw", 25, v4_options=loose),
            wire.syn("packet_raw", 26, v4_options=loose), wire.syn("packet_raw", 25, WORLD6),
            wire.syn("packet_raw", 25, WORLD6, extensions=[route]),
            wire.syn("packet_raw", 26, WORLD6, extensions=[route])]
    assert wire.send(lab.web, jobs) == [True, False, True, True, False, True]
    # the mail server's right is its own, not the destination's
    assert wire.send(lab.mta, jobs) == [True] * 6


def forms(wire, port):
    """(what, job): each way to write a SYN."""
    nops, alert = b"\x01" * 40, b"\x94\x04\0\0"
    for what, dst, options in (
            ("plain", WORLD4, {}), ("ECN", WORLD4, dict(flags=SYN | ECE | CWR)),
            ("SYN+FIN+PSH", WORLD4, dict(flags=SYN | FIN | PSH)),
            ("with data", WORLD4, dict(data=b"EHLO x\r\n")),
            ("TCP options", WORLD4, dict(tcp_options=b"\x02\x04\x05\xb4" + b"\x01" * 36)),
            ("an IPv4 option", WORLD4, dict(v4_options=alert)),
            ("40 bytes of IPv4 options", WORLD4, dict(v4_options=nops)),
            ("IPv6 with data", WORLD6, dict(data=b"EHLO x\r\n")),
            ("hop-by-hop options", WORLD6, dict(extensions=[hop_by_hop()])),
            ("8 extension headers", WORLD6,
             dict(extensions=[hop_by_hop()] + [destination_options()] * 7)),
            ("24 extension headers", WORLD6, dict(extensions=[destination_options()] * 24)),
            ("an atomic fragment", WORLD6, dict(extensions=[fragment_header()])),
            ("the first of fragments", WORLD6,
             dict(extensions=[fragment_header(more=1)], data=b"x" * 4))):
        yield what, wire.syn("packet_raw", port, dst, **options)
        if what != "plain":
            yield what + ", ring", wire.syn("packet_ring", port, dst, **options)
    token = needle()
    yield "first fragment, IPv4", ("packet_raw", ip4(HOST4, WORLD4, tcp(
        HOST4, WORLD4, port, seq=token, data=b"x" * 4), fragment=0x2000), token)
    for name, tags in (("priority tag", [(0x8100, 0)]), ("two tags", [(0x88a8, 0), (0x8100, 0)]),
                       ("VLAN 100", [(0x8100, 100)]), ("QinQ", [(0x88a8, 100), (0x8100, 200)])):
        _, data, token = wire.syn("packet_raw", port)
        frame = bytes.fromhex(wire.far + wire.own) + \
            b"".join(struct.pack(">HH", *t) for t in tags) + b"\x08\x00" + data
        yield name, ("packet_frame", frame, token)


def test_every_form_of_a_syn(lab):
    """No fixed offsets: options, extension headers, tags, fragments, and headers in pages."""
    count_on(lab, mode="yes")
    wire = Wire(lab)
    table = [(what, port, job) for port in (25, 26) for what, job in forms(wire, port)]
    got = wire.send(lab.web, [job for _, _, job in table])
    wrong = [f"{what} to {port}: arrived {a}" for (what, port, _), a in zip(table, got)
             if a is not (port == 26)]
    assert not wrong, wrong
    assert counters(lab)[0] == len(table) // 2, counters(lab)
    table = [job for _, job in forms(wire, 25)]
    assert all(wire.send(lab.mta, table))


def test_what_is_no_tcp_and_no_syn_is_not_touched(lab):
    count_on(lab, mode="yes")
    wire = Wire(lab)
    jobs = []
    for src, dst in ((HOST4, WORLD4), (HOST6, WORLD6)):
        jobs += [wire.syn("packet_raw", 25, dst, flags=f)
                 for f in (ACK, ACK | PSH, SYN | ACK, FIN | ACK)]
        token = needle()
        jobs.append(("packet_raw", udp(src, dst, 25, token), token))
        token = needle()        # a long datagram's later parts
        if ":" in src:
            jobs.append(("packet_raw", ip6(src, dst, token * 8, 17,
                                           extensions=[fragment_header(4)]), token))
        else:
            jobs.append(("packet_raw", ip4(src, dst, token * 8, 17, fragment=4), token))
        for proto in (132, 33, 136, 47, 50):    # SCTP, DCCP, UDP-Lite: ports lie where TCP's do
            token = needle()
            body = struct.pack(">HH", 4000, 25) + token + b"\0" * 16
            jobs.append(("packet_raw", ip6(src, dst, body, proto) if ":" in src
                         else ip4(src, dst, body, proto), token))
    got = wire.send(lab.web, jobs)
    assert all(got), got
    assert not clear_of(lab, "probe"), counters(lab)


def unparsed(wire):
    """(census counter, job): may be TCP, but can't be followed to its ports."""
    def cut(fragment):
        token = needle()
        return tcp(HOST4, WORLD4, 25, seq=token)[:8], fragment, token
    body, fragment, token = cut(0x2000)
    yield "tiny_fragment", ("packet_raw", ip4(HOST4, WORLD4, body, fragment=fragment), token)
    token = needle()            # rewrites the flags of a first fragment of 8 bytes more
    yield "tiny_fragment", ("packet_raw", ip4(HOST4, WORLD4, token * 6, fragment=1), token)
    body, _, token = cut(0)
    yield "tiny_fragment", ("packet_raw", ip6(HOST6, WORLD6, body,
                                              extensions=[fragment_header(more=1)]), token)
    token = needle()
    yield "tiny_fragment", ("packet_ring", ip6(HOST6, WORLD6, token * 2, extensions=[
        fragment_header(more=1), destination_options()]), token)
    body, _, token = cut(0)
    yield "truncated", ("packet_raw", ip4(HOST4, WORLD4, body), token)
    body, _, token = cut(0)
    yield "truncated", ("packet_raw", ip6(HOST6, WORLD6, body), token)
    token = needle()
    yield "bad_header", ("packet_raw", ip4(HOST4, WORLD4, tcp(HOST4, WORLD4, 25, seq=token)[:12]
                                           + b"\x40\x02\0\0" + b"\0" * 4), token)
    token = needle()
    _, data, token = wire.syn("packet_raw", 25)
    yield "bad_header", ("packet_raw", b"\x44" + data[1:], token)
    _, data, token = wire.syn("packet_raw", 25, WORLD6, extensions=[destination_options()] * 34)
    yield "too_many_headers", ("packet_raw", data, token)
    _, data, token = wire.syn("packet_raw", 25)
    yield "too_many_headers", ("packet_frame", bytes.fromhex(wire.far + wire.own)
                               + b"\x81\0\0\0" * 10 + b"\x08\0" + data, token)


def by_cause(lab):
    return {k: census.counters(lab)[k] for k in ("tiny_fragment", "truncated", "bad_header",
                                                 "too_many_headers")}


def test_what_cannot_be_parsed(lab):
    """Dropped under enforce, whoever sends it; counted by cause always; under monitor let pass."""
    count_on(lab, mode="yes")
    wire = Wire(lab)
    table = list(unparsed(wire))
    wanted = {}
    for cause, _ in table:
        wanted[cause] = wanted.get(cause, 0) + 1
    before = by_cause(lab)
    for cgroup in (lab.web, lab.mta):
        got = wire.send(cgroup, [job for _, job in unparsed(wire)])
        assert not any(got), list(zip([c for c, _ in table], got))
    after = by_cause(lab)
    assert {k: after[k] - before[k] for k in after} == {k: 2 * v for k, v in wanted.items()}, after
    assert clear_of(lab, "probe") == {"unparsed": 2 * len(table)}, counters(lab)
    assert lab.fence("monitor").code == 0
    got = wire.send(lab.web, [job for _, job in unparsed(wire)])
    assert all(got), got
    assert counters(lab)[1] == len(table), counters(lab)
    assert by_cause(lab)["bad_header"] - after["bad_header"] == wanted["bad_header"]


# ---- the modes ----

def test_monitor_counts_once_and_lets_pass(lab):
    count_on(lab, mode="monitor")
    wire = Wire(lab)
    n = wire.judge(lab.web, True, WAYS4, uid=1001)
    wire.judge(lab.mta, True, WAYS4, uid=8)
    assert counters(lab)[:2] == (0, n), counters(lab)
    assert clear_of(lab, "probe") == {"no_role": n}, counters(lab)
    # a connect() was judged by the connect program: once
    passes(lab, lab.web, uid=1001)
    passes(lab, lab.web, "tfo-connect", uid=1001, dst=WORLD6)
    assert counters(lab)[:2] == (0, n + 2), counters(lab)
    row = sender(lab, lab.web, 1001)
    assert (row["denied"], row["would_deny"]) == (0, n + 2), row


def test_off_has_no_opinion(lab):
    count_on(lab, mode="yes")
    wire = Wire(lab)
    wire.judge(lab.web, False, WAYS4)
    assert lab.fence("off").code == 0
    wire.judge(lab.web, True, WAYS4)
    got = wire.send(lab.web, [job for _, job in unparsed(wire)])
    assert all(got), got
    assert lab.fence("on").code == 0
    wire.judge(lab.web, False, WAYS4)


def events(lab):
    done = lab.fence("--json", "events")
    assert done.code == 0, done
    return [json.loads(line) for line in done.out.splitlines()]


def test_the_event_names_cgroup_and_uid(lab):
    site = lab.cgroup("web/raw")
    count_on(lab, mode="yes")
    lab.daemon()
    wire = Wire(lab)
    wire.judge(site, False, ("packet_raw",), uid=1001)
    wire.judge(site, False, ("header_included",), (587,), dst=WORLD6, uid=5)
    denied(lab, lab.web, uid=5, gid=60)
    assert until(lambda: len(events(lab)) >= 3, 5), events(lab)
    shown = {(e["via"], e["cgroup"], e["uid"], e["daddr"], e["dport"], e["verdict"], e["reason"])
             for e in events(lab)}
    assert shown == {("packet", site.name, 1001, WORLD4, 25, "denied", "no_role"),
                     ("packet", site.name, 5, WORLD6, 587, "denied", "no_role"),
                     ("connect", lab.web.name, 5, WORLD4, 25, "denied", "no_role")}, events(lab)
    by_packet = [e for e in events(lab) if e["via"] == "packet"]
    # which process it was can't be known from a packet: nothing is said, instead of a guess
    assert {(e["pid"], e["comm"], e["exe"]) for e in by_packet} == {(0, "", "")}, by_packet


def test_a_raw_socket_is_its_makers(lab):
    """Its cgroup is that in which it was made; where its process goes changes nothing. So what the
    mail server's root made and carried out may send: it could have sent itself."""
    count_on(lab, mode="yes")
    wire = Wire(lab)
    ways = ("header_included", "packet_raw")
    wire.judge(lab.web, False, ways, move=str(lab.mta))
    wire.judge(lab.mta, True, ways, move=str(lab.web))


def test_who_is_outside_the_fenced_root_is_not_touched(lab):
    count_on(lab, mode="yes")
    outside = Cgroup(lab.root + "-outside").make()
    wire = Wire(lab)
    passes(lab, outside)
    wire.judge(outside, True, WAYS4)
    wire.judge(lab.web, False, WAYS4)
