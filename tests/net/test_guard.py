# SPDX-License-Identifier: GPL-2.0-only
"""The inbound guard: from outside, only listed filters reach a guarded host's port 25."""

import contextlib
import fcntl
import os
import socket
import struct
import threading
import time

import kernel
import netns
from lab import HOST4, HOST6, Skip, WORLD4, WORLD6, until
from netns import EXTRA4, EXTRA6
from router import (ACK, CWR, ECE, SYN, Router, Tap, destination_options, fragment_header,
                    hop_by_hop, ip4, ip6, needle, packet, tcp, udp)
from wire import Listeners

FILTER4, FILTER6 = EXTRA4[0], EXTRA6[0]
OTHER4, OTHER6 = EXTRA4[1], EXTRA6[1]


@contextlib.contextmanager
def guarded(lab, mode="yes", hosts=None, filters=(FILTER4, FILTER6), **keys):
    """A router with a mail host behind it (10.9.4.2), which is guarded as the router itself is."""
    with Router(lab) as r:
        mail = r.customers["mail"]
        lab.conf.keys.update(
            uplinks=["up0"], FW_OUTPUT_MTA=mode, guard_filters=list(filters),
            guard_hosts=list(hosts or (mail.v4, "2001:db8:9:4::/64", HOST4, HOST6)), **keys)
        lab.conf.write()
        done = lab.fence("monitor" if mode == "monitor" else "on")
        assert done.code == 0 and not done.err, done
        assert lab.fence("status").code == (3 if mode == "monitor" else 0), lab.fence("status")
        with contextlib.closing(Listeners(netns.path(mail.ns), [25, 26, 587])), \
                contextlib.closing(Listeners(netns.path(r.customers["web"].ns), [25])):
            lab.listen("host", [25, 26])
            yield r


def reaches(lab, src, dst, port=25, timeout=0.6):
    """A real connection from the world, of that source."""
    def body():
        with socket.socket(socket.AF_INET6 if ":" in src else socket.AF_INET) as sock:
            sock.settimeout(timeout)
            sock.bind((src, 0))
            return sock.connect_ex((dst, port)) == 0
    return netns.inside(netns.path(lab.world), body)


def by_reason(lab):
    return lab.status()["counters"]["by_reason"]


def test_only_filters_reach_it(lab):
    with guarded(lab) as r:
        mail, web = r.customers["mail"], r.customers["web"]
        places = [(FILTER4, OTHER4, mail.v4, web.v4), (FILTER6, OTHER6, mail.v6, web.v6),
                  (FILTER4, OTHER4, HOST4, None), (FILTER6, OTHER6, HOST6, None)]
        for filtering, other, host, neighbour in places:
            assert reaches(lab, filtering, host), (filtering, host)
            assert not reaches(lab, other, host), (other, host)
            assert reaches(lab, other, host, 26), "another port"
            assert not neighbour or reaches(lab, other, neighbour), "another host"
        got = by_reason(lab)
        assert got["filter"] == 4 and got["no_filter"] >= 4, got
        # out of the host: not the guard's
        assert not lab.syns(dport=25, src=HOST4)
        assert lab.connect(lab.mta, uid=8, gid=8, dst=WORLD4, port=25)["rc"] == 0


def arrive(lab, r, frames):
    """Frames from the world's own interface: which of them (by needle) came to the mail host?"""
    mail = r.customers["mail"]
    tap = Tap(mail.ns, "eth0")
    head = r.mac("up0") + r.mac("up0", lab.world)

    def frame(data):
        return head + (b"\x86\xdd" if data[0] >> 4 == 6 else b"\x08\0") + data

    def send(all_of):
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.bind(("up0", 0))
            for data in all_of:
                sock.send(data)
    with contextlib.closing(tap):
        marker = b"MARK" + os.urandom(8)
        last = frame(udp(WORLD4, mail.v4, 9, marker))
        # the neighbour is known before, or the first of them wait for it, out of their order
        netns.inside(netns.path(lab.world), lambda: send([
            frame(udp(WORLD4, mail.v4, 9, b"x")), frame(udp(WORLD6, mail.v6, 9, b"x"))]))
        until(lambda: False, 0.1)
        tap.drain()
        netns.inside(netns.path(lab.world), lambda: send([frame(d) for d, _ in frames] + [last]))
        seen = tap.until(marker)
    return [any(token in s for s in seen) for _, token in frames]


def forms(src4, src6, dst4, dst6, port=25):
    """(what, packet, needle) of each way to write a SYN."""
    for what, src, dst, options in (
            ("plain", src4, dst4, {}), ("IPv6", src6, dst6, {}),
            ("ECN", src4, dst4, dict(flags=SYN | ECE | CWR)),
            ("data", src4, dst4, dict(data=b"EHLO x\r\n")),
            ("IPv4 options", src4, dst4, dict(v4_options=b"\x01" * 40)),
            ("hop-by-hop", src6, dst6, dict(extensions=[hop_by_hop()])),
            ("8 headers", src6, dst6, dict(extensions=[hop_by_hop()] + [destination_options()] * 7)),
            ("first fragment", src6, dst6, dict(extensions=[fragment_header(more=1)],
                                                data=b"x" * 4))):
        token = needle()
        yield what, packet(src, dst, port, seq=token, **options), token


def test_every_form_of_a_syn(lab):
    with guarded(lab) as r:
        mail = r.customers["mail"]
        for src4, src6, port, passes in ((OTHER4, OTHER6, 25, False), (FILTER4, FILTER6, 25, True),
                                         (OTHER4, OTHER6, 26, True)):
            table = list(forms(src4, src6, mail.v4, mail.v6, port))
            got = arrive(lab, r, [(data, token) for _, data, token in table])
            wrong = [what for (what, _, _), here in zip(table, got) if here != passes]
            assert not wrong, f"from {src4} to port {port}: {wrong} {'kept' if passes else 'came'}"
        token, tokens = needle(), [needle() for _ in range(3)]
        cut = [(ip4(OTHER4, mail.v4, tcp(OTHER4, mail.v4, 25, seq=token)[:8], fragment=0x2000),
                token),
               (ip4(OTHER4, mail.v4, tokens[0] * 6, fragment=1), tokens[0]),
               (packet(OTHER6, mail.v6, 25, seq=tokens[1],
                       extensions=[destination_options()] * 34), tokens[1])]
        assert arrive(lab, r, cut) == [False] * 3
        assert by_reason(lab)["unparsed"] == 3, by_reason(lab)
        # what opens no connection, and what is no TCP
        fine = [(packet(OTHER4, mail.v4, 25, flags=ACK, seq=tokens[2]), tokens[2]),
                (udp(OTHER4, mail.v4, 25, b"datagram"), b"datagram"),
                (ip6(OTHER6, mail.v6, b"\0\1\0\x19sctp-packet", 132), b"sctp-packet")]
        assert arrive(lab, r, fine) == [True] * 3


def test_monitor_counts_only(lab):
    with guarded(lab, mode="monitor") as r:
        assert reaches(lab, OTHER4, r.customers["mail"].v4)
        assert reaches(lab, OTHER6, HOST6)
        counters = lab.status()["counters"]
        assert counters["would_deny"] == 2 and counters["by_reason"]["no_filter"] == 2, counters


def test_changes_and_off(lab):
    with guarded(lab) as r:
        mail = r.customers["mail"].v4
        assert lab.fence("set", f"guard_filters={OTHER4}").code == 0
        assert reaches(lab, OTHER4, mail) and not reaches(lab, FILTER4, mail)
        assert lab.fence("set", "guard_ports=587").code == 0
        assert reaches(lab, FILTER4, mail) and not reaches(lab, FILTER4, mail, 587)
        assert lab.fence("set", f"guard_hosts={HOST4}").code == 0
        assert reaches(lab, FILTER4, mail, 587)
        assert lab.fence("status").code == 0, lab.fence("status")
        # somebody writes into the table: it is seen, and mended
        kernel.empty_map(lab, "guard_hosts")
        status = lab.fence("status")
        assert status.code == 4 and "guard" in status.out, status
        assert lab.fence("apply").code == 0 and lab.fence("status").code == 0
        assert lab.fence("set", f"guard_hosts={mail}", ).code == 0
        assert lab.fence("set", "guard_ports=25").code == 0
        assert not reaches(lab, FILTER4, mail)
        assert lab.fence("off").code == 0
        assert reaches(lab, FILTER4, mail)
        assert kernel.pins(lab) == [], kernel.pins(lab)
        assert lab.fence("on").code == 0
        assert not reaches(lab, FILTER4, mail)
        assert lab.fence("set", "guard_hosts=").code == 0
        assert reaches(lab, FILTER4, mail)


def test_a_limit_for_each_filter(lab):
    with guarded(lab, filters=(f"{FILTER4}", f"{OTHER4}", FILTER6), guard_limit=5) as r:
        mail = r.customers["mail"]
        begin = time.monotonic()
        got = [reaches(lab, FILTER4, mail.v4, timeout=0.3) for _ in range(8)]
        assert got == [True] * 5 + [False] * 3, got
        # and it is kept where the programs are exchanged
        assert lab.fence("on").code == 0
        again = reaches(lab, FILTER4, mail.v4, timeout=0.3)
        assert not again or time.monotonic() - begin > 11
        # each has its own, also by the other family
        assert reaches(lab, OTHER4, mail.v4) and reaches(lab, FILTER6, mail.v6)
        assert by_reason(lab)["filter_limit"] >= 3, by_reason(lab)
        # a twelfth of a minute pays for one more
        assert until(lambda: reaches(lab, FILTER4, mail.v4, timeout=0.3), 14)
        assert lab.fence("set", "guard_limit=0").code == 0
        assert all(reaches(lab, FILTER4, mail.v4) for _ in range(8))


def test_a_crowd_of_filters_is_counted_and_passes(lab):
    """More sources than the table has places: nobody is denied for it, and it is told."""
    with guarded(lab, filters=("198.18.0.0/15",), guard_limit=1) as r:
        mail = r.customers["mail"]
        many = [socket.inet_ntoa((0xC6120000 + i).to_bytes(4, "big")) for i in range(20000)]
        for at in range(0, len(many), 500):
            table = []
            for src in many[at:at + 500]:
                token = needle()
                table.append((packet(src, mail.v4, 25, seq=token), token))
            got = arrive(lab, r, table)
            assert all(got), f"{got.count(False)} of those from {at} on were denied"
        assert lab.status()["census"]["guard_crowded"] > 0
        assert by_reason(lab)["filter"] == len(many), by_reason(lab)


def test_the_daemon_tells_who(lab):
    with guarded(lab) as r:
        lab.daemon()
        begin = time.monotonic()
        assert not reaches(lab, OTHER4, r.customers["mail"].v4)
        assert not reaches(lab, OTHER6, HOST6)
        for src, dst in ((OTHER4, r.customers["mail"].v4), (OTHER6, HOST6)):
            line = until(lambda: [l for l in lab.log.lines()
                                  if " rule=guard " in l and f"source={src} " in l], 5)
            assert line and len(line) == 1, lab.log.lines()
            assert f"daddr={dst} dport=25" in line[0] and "reason=no_filter" in line[0], line
        # once in a cool-down
        for _ in range(3):
            assert not reaches(lab, OTHER4, r.customers["mail"].v4, timeout=0.2)
        assert time.monotonic() - begin < 60
        until(lambda: False, 0.5)
        assert len([l for l in lab.log.lines() if f"source={OTHER4} " in l]) == 1


def test_what_is_refused(lab):
    lab.conf.write()
    for wrong in ("guard_hosts=10.0.0.1/8", "guard_limit=-1", "guard_limit=1000001",
                  "guard_ports=0", "guard_filters=somebody"):
        done = lab.fence("set", wrong)
        assert done.code == 2, (wrong, done)
    assert lab.fence("set", "uplinks=").code == 0
    done = lab.fence("set", f"guard_hosts={HOST4}")
    assert done.code == 2 and "uplinks" in done.err, done


def test_an_uplink_whose_packets_begin_with_ip(lab):
    """A provider's tunnel."""
    if not os.path.exists("/dev/net/tun"):
        raise Skip("no /dev/net/tun")

    def make():
        fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", b"up-tun", 0x1001))
        return fd
    with guarded(lab) as r:
        mail, web = r.customers["mail"], r.customers["web"]
        fd = netns.inside(netns.path(lab.host), make)
        taps = {c.name: Tap(c.ns, "eth0") for c in (mail, web)}
        try:
            netns._batch(lab.host, ["link set up-tun up"])
            assert lab.fence("set", "uplinks=up0,up-tun").code == 0
            assert lab.fence("status").code == 0, lab.fence("status")
            for src, c, port, passes in ((OTHER4, mail, 25, False), (FILTER4, mail, 25, True),
                                         (OTHER4, mail, 26, True), (OTHER4, web, 25, True),
                                         (OTHER6, mail, 25, False), (FILTER6, mail, 25, True)):
                v6 = ":" in src
                token, marker = needle(), b"MARK" + os.urandom(8)
                dst = c.v6 if v6 else c.v4
                os.write(fd, udp(src, dst, 9, b"who are you"))      # the neighbour is known then
                until(lambda: False, 0.05)
                taps[c.name].drain()
                os.write(fd, packet(src, dst, port, seq=token))
                os.write(fd, udp(src, dst, 9, marker))
                seen = taps[c.name].until(marker)
                assert any(token in s for s in seen) == passes, (src, c.name, port)
        finally:
            os.close(fd)
            for tap in taps.values():
                tap.close()


def test_an_exchange_of_the_programs_opens_nothing(lab):
    """`on` again, and tables of another size, while somebody knocks."""
    with guarded(lab) as r:
        mail = r.customers["mail"].v4
        got, end = [], threading.Event()

        def knock():
            while not end.is_set():
                got.append(reaches(lab, OTHER4, mail, timeout=0.02))
        knocker = threading.Thread(target=knock)
        knocker.start()
        try:
            for step in (("on",), ("set", "max_sources=128"), ("apply",)):
                before = len(got)
                assert lab.fence(*step).code == 0
                assert until(lambda: len(got) > before + 1, 5), (step, "nobody knocked")
        finally:
            end.set()
            knocker.join()
        assert not any(got), got
        assert reaches(lab, FILTER4, mail)
