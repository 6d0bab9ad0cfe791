# SPDX-License-Identifier: GPL-2.0-only
"""The packet programs under another kernel, on one router in one lab: gateway (TC, XDP, generic
XDP, a tun device), inbound guard, census, backstop, and going away."""

import contextlib
import fcntl
import os
import socket
import struct

import kernel
import netns
import tcx
from census import sender, source
from checks import denied, passes
from lab import HOST4, HOST6, WORLD4, WORLD6
from router import Frame, Router, needle, packet, udp
from series import series
from test_gateway import MAIL_HOSTS, judge_all, places, reasons, send_tagged, unparsed
from test_guard import FILTER4, FILTER6, OTHER4, OTHER6, reaches
from wire import Listeners
from wires import WAYS4, WAYS6, Wire

TUNSETIFF, IFF_TUN_NO_PI = 0x400454ca, 0x1001


def routed(lab):
    """The router of this series, fenced at TC; made by whichever test comes first."""
    if not hasattr(lab, "router"):
        stack = lab._closed_at_end(contextlib.ExitStack())
        lab.router = stack.enter_context(Router(lab))
        mail = lab.router.customers["mail"]
        stack.enter_context(contextlib.closing(Listeners(netns.path(mail.ns), [25, 26])))
        lab.listen("host", [25, 26])
        lab.conf.keys.update(
            uplinks=["up0"], customers=["cu-*"], mail_hosts=MAIL_HOSTS,
            guard_hosts=[mail.v4, "2001:db8:9:4::/64", HOST4, HOST6],
            guard_filters=[FILTER4, FILTER6])
        done = lab.on()
        assert not done.err, done
    return lab.router


def settled(lab, code=0):
    lab.conf.write()
    assert lab.fence("apply").code == 0
    status = lab.fence("status")
    assert status.code == code, status


def test_customers_at_tc(lab):
    r = routed(lab)
    assert {p: o["how"] for p, o in places(lab).items()} == dict.fromkeys(
        ("cu-web", "cu-lan", "cu-six", "cu-mail"), tcx.how()), places(lab)
    judge_all(r, "web", False)
    judge_all(r, "mail", True)
    cut = list(unparsed(r))
    assert r.send("web", [f for _, f in cut]) == [False] * len(cut)
    for name, tags, tap in (("web", [(0x8100, 0)], "world"),
                            ("lan", [(0x88a8, 100), (0x8100, 200)], "far")):
        frames = [r.tcp_frame(name, port, tags=tags) for port in (25, 26)]
        if tap == "far":        # to a station beyond the bridge, which floods what it can't know
            frames = [Frame(b"\2\0\0\0\0\x63" + f.data[6:], f.needle) for f in frames]
        assert send_tagged(r, name, frames, tap) == [False, True], (name, tags)
    for dst in (WORLD4, WORLD6):
        assert not r.connect("web", 25, dst) and r.connect("mail", 25, dst), dst
    assert r.connect("web", 80, timeout_ms=3000)
    got = reasons(lab)
    assert got["no_role"] >= 15 and got["mail_host"] >= 16, got


def test_customers_by_xdp(lab):
    """Native on the veth, then generic: the other door to the same decision."""
    r = routed(lab)
    # native and generic can't stand beside each other: from one to the other by TC
    for hook, how in (("xdp", "xdp"), ("auto", tcx.how()), ("generic", "xdpgeneric")):
        lab.conf.keys["gateway_hook"] = hook
        settled(lab)
        assert {o["how"] for o in places(lab).values()} == {how}, places(lab)
        if hook == "auto":
            continue
        judge_all(r, "web", False)
        assert r.send("mail", [r.tcp_frame("mail", 25)]) == [True]
        cut = list(unparsed(r))
        assert r.send("web", [f for _, f in cut]) == [False] * len(cut)
    lab.conf.keys["gateway_hook"] = "auto"
    settled(lab)
    assert {o["how"] for o in places(lab).values()} == {tcx.how()}, places(lab)
    assert r.send("web", [r.tcp_frame("web", port) for port in (25, 26)]) == [False, True]


def test_a_routed_tun_device(lab):
    """Packets that begin with IP: a VPN's or a virtual machine's tun."""
    r = routed(lab)

    def make():
        fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"cu-tun", IFF_TUN_NO_PI))
        return fd
    fd = netns.inside(netns.path(lab.host), make)
    try:
        netns._batch(lab.host, ["link set cu-tun up", "addr add 10.9.7.1/24 dev cu-tun"])
        settled(lab)
        assert places(lab)["cu-tun"]["how"] == tcx.how()
        tap = r.taps["world"]
        tap.drain()
        tokens, marker = {port: needle() for port in (25, 26)}, b"MARK" + os.urandom(8)
        for port, token in tokens.items():
            os.write(fd, packet("10.9.7.2", WORLD4, port, seq=token))
        os.write(fd, udp("10.9.7.2", WORLD4, 9, marker))
        seen = tap.until(marker)
        got = {port: any(t in s for s in seen) for port, t in tokens.items()}
        assert got == {25: False, 26: True}, got
    finally:
        os.close(fd)
    settled(lab)


def test_the_inbound_guard(lab):
    mail = routed(lab).customers["mail"]
    for filtering, other, host in ((FILTER4, OTHER4, mail.v4), (FILTER6, OTHER6, HOST6)):
        assert reaches(lab, filtering, host, timeout=3), (filtering, host)
        assert not reaches(lab, other, host), (other, host)
        assert reaches(lab, other, host, 26, timeout=3), "another port"
    got = reasons(lab)
    assert got["filter"] >= 2 and got["no_filter"] >= 2, got


def test_each_syn_under_its_source_and_its_sender(lab):
    routed(lab)
    before = source(lab, HOST4) or {"syn": 0, "fenced_syn": 0}
    for dst in (WORLD4, WORLD4, WORLD6):
        passes(lab, lab.mta, dst=dst, uid=8, gid=8)
    passes(lab, lab.web, port=80, uid=5, gid=60)
    denied(lab, lab.web, uid=5, gid=60)
    row, mail = source(lab, HOST4), sender(lab, lab.mta, 8)
    assert (row["syn"] - before["syn"], row["fenced_syn"] - before["fenced_syn"]) == (3, 2), row
    assert (mail["syn"], mail["fenced_syn"]) == (3, 3), mail
    web = sender(lab, lab.web, 5)
    assert (web["syn"], web["fenced_syn"]) == (1, 0), web


def test_what_leaves_without_a_connect(lab):
    """The backstop: every raw way, both families; from the mail server they pass."""
    routed(lab)
    wire = Wire(lab)
    n = wire.judge(lab.web, False, WAYS4, (25, 587), uid=1001)
    n += wire.judge(lab.web, False, WAYS6, dst=WORLD6, uid=1001)
    wire.judge(lab.mta, True, WAYS4[:4], uid=8)
    row = sender(lab, lab.web, 1001)
    assert (row["denied"], row["fenced_syn"]) == (n, 0), row


def test_what_somebody_took_away(lab):
    """A pin of the census, a program at a customer's interface: told, mended, and counts kept."""
    r = routed(lab)
    passes(lab, lab.mta, uid=8, gid=8)
    before = source(lab, HOST4)["syn"]
    os.unlink(kernel.map_pin(lab, "source_counts"))
    assert lab.fence("status").code == 4
    settled(lab)
    assert source(lab, HOST4)["syn"] == before
    if tcx.how() == "tcx":
        index = netns.inside(netns.path(lab.host), lambda: socket.if_nametoindex("cu-web"))
        tcx.detach(f"{lab.pin_dir}/links/gwin-{index}")
    else:
        netns.sh("tc", "-n", lab.host, "filter", "del", "dev", "cu-web", "ingress")
    status = lab.fence("status")
    assert status.code == 4 and "cu-web" in status.out, status
    assert r.send("web", [r.tcp_frame("web", 25)]) == [True]
    settled(lab)
    assert r.send("web", [r.tcp_frame("web", 25)]) == [False]


def test_off_leaves_nothing_on_the_wires(lab):
    r = routed(lab)
    assert lab.fence("off").code == 0
    assert r.send("web", [r.tcp_frame("web", 25)]) == [True]
    assert kernel.pins(lab) == [], kernel.pins(lab)
    shown = netns.inside(netns.path(lab.host), lambda: kernel.bpftool("net", "show"))
    assert not shown[0].get("tc") and not shown[0].get("xdp"), shown


series(test_customers_at_tc, test_customers_by_xdp, test_a_routed_tun_device,
       test_the_inbound_guard, test_each_syn_under_its_source_and_its_sender,
       test_what_leaves_without_a_connect, test_what_somebody_took_away,
       test_off_leaves_nothing_on_the_wires)
