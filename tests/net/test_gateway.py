# SPDX-License-Identifier: GPL-2.0-only
"""The gateway fence: what customers hand in, and what of it reaches the internet."""

import contextlib
import json
import os
import socket
import struct
import time

import kernel
import netns
import tcx
from census import source
from lab import HOST4, WORLD4, WORLD6, until
from netns import EXTRA4
from router import (ACK, CWR, ECE, FIN, PSH, SYN, Frame, Router, destination_options,
                    fragment_header, hop_by_hop, ip4, ip6, needle, packet, tcp, udp)

MAIL_HOSTS = ["10.9.4.2/32", "2001:db8:9:4::2/128"]


@contextlib.contextmanager
def gateway(lab, mode="yes", customers=("cu-*",), uplinks=("up0",), **keys):
    with Router(lab) as r:
        lab.conf.keys.update(uplinks=list(uplinks), customers=list(customers), mail_hosts=MAIL_HOSTS,
                             FW_OUTPUT_MTA=mode, **keys)
        lab.conf.write()
        done = lab.fence("monitor" if mode == "monitor" else "on")
        assert done.code == 0 and "not all customers" not in done.err, done
        yield r


def reasons(lab):
    """{"no_role": 3, ...}"""
    return lab.status()["counters"]["by_reason"]


def places(lab):
    return {one["target"]: one for one in lab.status()["attached"] if one["hook"] == "gateway"}


def forms(r, name="web"):
    """(what, frames with port 25, the same with port 26): each way to write a SYN."""
    c = r.customers[name]
    v4, v6 = (c.v4, WORLD4), (c.v6, WORLD6)
    router_alert, nops = b"\x94\x04\0\0", b"\x01" * 40
    both = [
        ("plain", v4, {}), ("plain IPv6", v6, {}),
        ("ECN", v4, dict(flags=SYN | ECE | CWR)), ("SYN+FIN+PSH", v4, dict(flags=SYN | FIN | PSH)),
        ("with data", v4, dict(data=b"EHLO x\r\n")), ("with data, IPv6", v6, dict(data=b"EHLO\r\n")),
        ("TCP options", v4, dict(tcp_options=b"\x02\x04\x05\xb4" + b"\x01" * 36)),
        ("an IPv4 option", v4, dict(v4_options=router_alert)),
        ("40 bytes of IPv4 options", v4, dict(v4_options=nops)),
        ("hop-by-hop options", v6, dict(extensions=[hop_by_hop()])),
        ("destination options", v6, dict(extensions=[destination_options()])),
        ("8 extension headers", v6, dict(extensions=[hop_by_hop()] + [destination_options()] * 7)),
        ("an atomic fragment", v6, dict(extensions=[fragment_header()])),
        ("the first of fragments, IPv6", v6, dict(extensions=[fragment_header(more=1)],
                                                  data=b"x" * 4)),
    ]
    for what, (src, dst), options in both:
        yield (what, r.tcp_frame(name, 25, src=src, dst=dst, **options),
               r.tcp_frame(name, 26, src=src, dst=dst, **options))


def judge_all(r, name, wanted, tap="world", bypass=False):
    """Send each form to both ports; `wanted`: does port 25 arrive? Port 26 always does."""
    table = list(forms(r, name))
    got = r.send(name, [f for row in table for f in row[1:]], tap, bypass)
    for i, (what, _, _) in enumerate(table):
        assert got[2 * i] is wanted, f"{what} to port 25: arrived {got[2 * i]}, wanted {wanted}"
        assert got[2 * i + 1], f"{what} to port 26 did not arrive"
    return len(table)


def test_only_the_mail_host_sends(lab):
    with gateway(lab) as r:
        for port in (25, 465, 587):
            assert r.connect("mail", port), f"mail host, {port}"
            assert r.connect("mail", port, dst=WORLD6), f"mail host, {port}, IPv6"
            for name, dst in (("web", WORLD4), ("web", WORLD6), ("lan", WORLD4), ("six", WORLD6)):
                assert not r.connect(name, port, dst), f"{name} {port} to {dst}"
        for name in ("web", "lan", "six", "mail"):
            for port in (80, 24, 26):
                assert r.connect(name, port, timeout_ms=2000), f"{name} {port}"
        assert not lab.syns(dport=25, src="10.9.1.2") and not lab.syns(dport=25, src="10.9.2.2")
        assert not lab.syns(dport=25, src="2001:db8:9:3::2")
        assert len(lab.syns(dport=25, src="10.9.4.2")) == 1
        got = reasons(lab)
        assert got["mail_host"] == 6 and got["no_role"] >= 12, got
        assert {p: o["how"] for p, o in places(lab).items()} == dict.fromkeys(
            ("cu-web", "cu-lan", "cu-six", "cu-mail"), tcx.how()), places(lab)


def test_every_form_of_a_syn(lab):
    with gateway(lab) as r:
        n = judge_all(r, "web", False)
        judge_all(r, "web", False, bypass=True)
        judge_all(r, "mail", True)
        assert reasons(lab)["no_role"] == 2 * n, reasons(lab)


def test_every_form_by_xdp(lab):
    """The other door to the same decision: native XDP on the veth, then generic."""
    for hook, how in (("xdp", "xdp"), ("generic", "xdpgeneric")):
        with gateway(lab, gateway_hook=hook) as r:
            assert {o["how"] for o in places(lab).values()} == {how}, places(lab)
            judge_all(r, "web", False)
            judge_all(r, "mail", True)
            cut = list(unparsed(r))
            assert r.send("web", [f for _, f in cut]) == [False] * len(cut)
            assert lab.fence("off").code == 0


def test_what_is_no_syn_to_a_fenced_port_passes(lab):
    with gateway(lab) as r:
        c = r.customers["web"]
        frames = []
        for src, dst in ((c.v4, WORLD4), (c.v6, WORLD6)):
            frames += [r.tcp_frame("web", 25, src=src, dst=dst, flags=f)
                       for f in (ACK, ACK | PSH, SYN | ACK, FIN | ACK)]
            token = needle()
            frames.append(Frame(r.ethernet(c, udp(src, dst, 25, token)), token))
        token = needle()        # SCTP's ports lie where TCP's do
        frames.append(Frame(r.ethernet(c, ip4(c.v4, WORLD4, struct.pack(">HH", 1, 25) + token,
                                              132)), token))
        token = needle()        # a later fragment of anything
        frames.append(Frame(r.ethernet(c, ip4(c.v4, WORLD4, token * 8, 17, fragment=4)), token))
        got = r.send("web", frames)
        assert all(got), got
        assert not any(k in reasons(lab) and reasons(lab)[k] for k in ("no_role", "unparsed"))


def unparsed(r):
    """(what, frame) that may be TCP, but can't be followed to its ports."""
    c = r.customers["web"]
    token = needle()
    yield "8 bytes of TCP in the first fragment", Frame(
        r.ethernet(c, ip4(c.v4, WORLD4, tcp(c.v4, WORLD4, 25, seq=token)[:8], fragment=0x2000)),
        token)
    token = needle()
    yield "a fragment that rewrites the TCP header", Frame(
        r.ethernet(c, ip4(c.v4, WORLD4, token * 6, fragment=1)), token)
    token = needle()
    yield "8 bytes of TCP in the first fragment, IPv6", Frame(
        r.ethernet(c, ip6(c.v6, WORLD6, tcp(c.v6, WORLD6, 25, seq=token)[:8],
                          extensions=[fragment_header(more=1)])), token)
    token = needle()
    yield "34 extension headers", Frame(
        r.ethernet(c, packet(c.v6, WORLD6, 25, seq=token,
                             extensions=[destination_options()] * 34)), token)
    token = needle()
    yield "a TCP header of 16 bytes", Frame(
        r.ethernet(c, ip4(c.v4, WORLD4, tcp(c.v4, WORLD4, 25, seq=token)[:12] + b"\x40\x02\0\0"
                          + b"\0" * 4)), token)


def test_what_cannot_be_parsed(lab):
    with gateway(lab, uplinks=()) as r:
        table = list(unparsed(r))
        got = r.send("web", [f for _, f in table])
        assert got == [False] * len(table), list(zip((w for w, _ in table), got))
        assert reasons(lab)["unparsed"] == len(table), reasons(lab)
        # monitor: they go on, counted
        assert lab.fence("monitor").code == 0
        table = list(unparsed(r))
        assert all(r.send("web", [f for _, f in table]))
        status = lab.status()["counters"]
        assert status["would_deny"] == len(table), status


def test_monitor_counts_and_lets_pass(lab):
    with gateway(lab, mode="monitor") as r:
        n = judge_all(r, "web", True)
        counters = lab.status()["counters"]
        assert counters["would_deny"] == n and not counters["denied"], counters
        row = source(lab, "10.9.1.2")
        assert row and row["fenced_syn"] and row["syn"] >= row["fenced_syn"], row


def test_tags(lab):
    """Priority tags are routed; what is tagged for a VLAN crosses the bridge."""
    with gateway(lab) as r:
        for what, tags, tap in (("priority tag", [(0x8100, 0)], "world"),
                                ("two priority tags", [(0x8100, 0)] * 2, "world"),
                                ("VLAN 100", [(0x8100, 100)], "far"),
                                ("QinQ", [(0x88a8, 100), (0x8100, 200)], "far"),
                                ("old QinQ", [(0x9100, 100), (0x8100, 200)], "far")):
            name = "web" if tap == "world" else "lan"
            frames = [r.tcp_frame(name, port, tags=tags) for port in (25, 26)]
            if tap == "far":        # to a station beyond the bridge, which floods what it can't know
                frames = [Frame(b"\2\0\0\0\0\x63" + f.data[6:], f.needle) for f in frames]
                r.mac_of_far = True
            got = send_tagged(r, name, frames, tap)
            assert got == [False, True], f"{what}: {got}"


def send_tagged(r, name, frames, tap):
    if tap == "world":
        return r.send(name, frames)
    c = r.customers[name]
    marker = b"MARK" + os.urandom(8)
    last = b"\2\0\0\0\0\x63" + r.ethernet(c, udp(c.v4, WORLD4, 9, marker))[6:]
    from router import _send
    r.taps[tap].drain()
    netns.inside(netns.path(c.ns), lambda: _send([f.data for f in frames] + [last], False))
    seen = r.taps[tap].until(marker)
    return [any(f.needle in s for s in seen) for f in frames]


def test_spoofed_sources(lab):
    with gateway(lab, customers=()) as r:
        done = lab.fence("gateway", "add", "cu-mail")
        assert done.code == 0, done
        done = lab.fence("gateway", "add", "cu-web", "--net", "10.9.1.0/24,2001:db8:9:1::/64")
        assert done.code == 0, done
        mail = r.customers["mail"]
        web = r.customers["web"]
        token = needle()
        frames = [r.tcp_frame("web", 25, src=mail.v4), r.tcp_frame("web", 80, src=mail.v4),
                  r.tcp_frame("web", 25, src=mail.v6, dst=WORLD6),
                  r.tcp_frame("web", 80), r.tcp_frame("web", 80, src=web.v6, dst=WORLD6),
                  r.tcp_frame("web", 80, src=mail.v4, flags=ACK),
                  Frame(r.ethernet(web, udp(mail.v4, WORLD4, 53, token)), token)]
        got = r.send("web", frames)
        # stated: only what opens a connection is looked at
        assert got == [False, False, False, True, True, True, True], got
        assert reasons(lab)["spoofed"] == 3, reasons(lab)
        assert r.send("mail", [r.tcp_frame("mail", 25)]) == [True]
        # without the list every source may be its: the mail host's address is believed
        assert lab.fence("gateway", "add", "cu-web").code == 0
        assert r.send("web", [r.tcp_frame("web", 25, src=mail.v4)]) == [True]


def test_quarantine_and_its_end(lab):
    with gateway(lab) as r:
        assert lab.fence("quarantine", "net", "10.9.4.2", "--ttl", "4s").code == 0
        begin = time.monotonic()
        assert lab.fence("allow", "net", WORLD4).code == 0
        got = r.send("mail", [r.tcp_frame("mail", 25), r.tcp_frame("mail", 80)])
        assert time.monotonic() - begin < 3.5, "too slow to see it"
        assert got == [False, True], got
        assert reasons(lab)["quarantine"] == 1, reasons(lab)
        until(lambda: time.monotonic() > begin + 4.2, 6)
        assert r.send("mail", [r.tcp_frame("mail", 25)]) == [True]
        # a whole network, and many others beside it
        assert lab.fence("quarantine", "net", "10.9.0.0/16").code == 0
        assert r.send("mail", [r.tcp_frame("mail", 25)]) == [False]
        assert r.send("mail", [r.tcp_frame("mail", 25, dst=WORLD6)]) == [True]


def test_relays_for_everybody(lab):
    with gateway(lab) as r:
        assert lab.fence("allow", "net", WORLD4, "--port", "587").code == 0
        frames = [r.tcp_frame("web", 587), r.tcp_frame("web", 25),
                  r.tcp_frame("web", 587, dst=EXTRA4[0]),
                  # a source route could send it on to anybody: it gives no right
                  r.tcp_frame("web", 587, v4_options=b"\x83\x07\x04\xcb\x00\x71\x01\x00")]
        got = r.send("web", frames)
        assert got[:3] == [True, False, False], got
        assert reasons(lab)["relay"] == 1 and reasons(lab)["no_role"] == 3, reasons(lab)


def test_the_router_itself(lab):
    """A customer may use the router's own mail server, as a local sender may."""
    with gateway(lab) as r:
        lab.listen("host", [25])
        assert r.connect("web", 25, dst="10.9.1.1", timeout_ms=2000)
        assert r.connect("web", 25, dst=HOST4, timeout_ms=2000)
        assert reasons(lab)["local"] == 2, reasons(lab)
        assert lab.fence("set", "allow_local=no").code == 0
        assert not r.connect("web", 25, dst="10.9.1.1")


def test_a_routed_tun_device(lab):
    """Packets that begin with IP: a VPN's or a virtual machine's tun."""
    import fcntl
    with gateway(lab) as r:
        def make():
            fd = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", b"cu-tun", 0x1001))
            return fd
        if not os.path.exists("/dev/net/tun"):
            return
        fd = netns.inside(netns.path(lab.host), make)
        try:
            netns._batch(lab.host, ["link set cu-tun up", "addr add 10.9.7.1/24 dev cu-tun"])
            assert lab.fence("apply").code == 0
            assert places(lab)["cu-tun"]["how"] == tcx.how()
            tap = r.taps["world"]
            tap.drain()
            wanted = {25: False, 26: True}
            tokens = {port: needle() for port in wanted}
            marker = b"MARK" + os.urandom(8)
            for port, token in tokens.items():
                os.write(fd, packet("10.9.7.2", WORLD4, port, seq=token))
            os.write(fd, udp("10.9.7.2", WORLD4, 9, marker))
            seen = tap.until(marker)
            got = {port: any(t in s for s in seen) for port, t in tokens.items()}
            assert got == wanted, got
        finally:
            os.close(fd)


def test_new_interface_is_taken_in(lab):
    with gateway(lab) as r:
        r.add("late", 8)
        assert "cu-late" not in places(lab)
        status = lab.fence("status")
        assert status.code == 4 and "cu-late: not fenced" in status.out, status
        assert lab.fence("apply").code == 0
        assert places(lab)["cu-late"]["how"] == tcx.how()
        assert lab.fence("status").code == 0, lab.fence("status")
        assert r.send("late", [r.tcp_frame("late", 25), r.tcp_frame("late", 26)]) == [False, True]
        # gone, and its pins with it
        r.ip_link("del", "cu-late")
        assert lab.fence("apply").code == 0
        assert "cu-late" not in places(lab)
        assert lab.fence("status").code == 0
        assert len([p for p in kernel.pins(lab) if "/gwin-" in p]) == 4, kernel.pins(lab)


def test_off_removes_all(lab):
    for hook in ("auto", "xdp"):
        with gateway(lab, gateway_hook=hook) as r:
            assert r.send("web", [r.tcp_frame("web", 25)]) == [False]
            assert lab.fence("off").code == 0
            assert r.send("web", [r.tcp_frame("web", 25)]) == [True]
            assert kernel.pins(lab) == [], kernel.pins(lab)
            shown = netns.inside(netns.path(lab.host), lambda: kernel.bpftool("net", "show"))
            assert not shown[0].get("tc") and not shown[0].get("xdp"), shown


def test_status_asks_the_interface(lab):
    with gateway(lab) as r:
        assert lab.fence("status").code == 0, lab.fence("status")
        index = int(netns.inside(netns.path(lab.host), lambda: socket.if_nametoindex("cu-web")))
        pin = f"{lab.pin_dir}/links/gwin-{index}"
        link = kernel.bpftool("link", "show", "pinned", pin)
        kernel.bpftool("link", "detach", "id", link["id"])
        status = lab.fence("status")
        assert status.code == 4 and "cu-web: not fenced" in status.out, status
        assert r.send("web", [r.tcp_frame("web", 25)]) == [True]
        assert lab.fence("apply").code == 0
        assert lab.fence("status").code == 0
        assert r.send("web", [r.tcp_frame("web", 25)]) == [False]


def test_commands(lab):
    with gateway(lab, customers=()) as r:
        assert r.send("web", [r.tcp_frame("web", 25)]) == [True]
        assert lab.fence("gateway", "add", "cu-[wm]*", "--comment", "shared").code == 0
        shown = {one["interface"]: one for one in lab.json("gateway", "list")}
        assert set(shown) == {"cu-web", "cu-mail"}, shown
        assert shown["cu-web"]["fenced"] and shown["cu-web"]["by"] == "cu-[wm]*", shown
        assert r.send("web", [r.tcp_frame("web", 25)]) == [False]
        assert r.send("lan", [r.tcp_frame("lan", 25)]) == [True]
        assert lab.fence("set", "mail_hosts=10.9.1.2").code == 0
        assert r.send("web", [r.tcp_frame("web", 25)]) == [True]
        assert r.send("mail", [r.tcp_frame("mail", 25)]) == [False]
        assert lab.fence("gateway", "remove", "cu-[wm]*").code == 0
        assert lab.json("gateway", "list") == []
        assert r.send("mail", [r.tcp_frame("mail", 25)]) == [True]
        for wrong in (["add"], ["add", "a/b"], ["add", "x" * 16], ["remove", "nothing"],
                      ["add", "cu0", "--net", "10.0.0.1/8"], ["bend", "cu0"], []):
            done = lab.fence("gateway", *wrong)
            assert done.code == 2, (wrong, done)
        # an uplink is never a customer, whatever the pattern says
        assert lab.fence("gateway", "add", "*").code == 0
        assert "up0" not in places(lab)


def test_census_sees_how_it_ended_behind_a_masquerade(lab):
    with gateway(lab) as r:
        netns.sh("ip", "netns", "exec", lab.host, "nft", "-f", "-",
                 input="table ip sf { chain post { type nat hook postrouting priority 100\n"
                       "oifname \"up0\" masquerade\n}\n}\n")
        assert r.connect("mail", 25, timeout_ms=2000)
        assert r.connect("mail", 587, timeout_ms=2000)
        assert not r.connect("web", 25)
        row = source(lab, "10.9.4.2")
        assert (row["fenced_syn"], row["answered"], row["silent"]) == (2, 2, 0), row
        row = source(lab, "10.9.1.2")
        assert row["fenced_syn"] == 1 and not row["answered"] and not row["refused"], row


def test_two_gateway_maps_follow_the_census(lab):
    """Tables of another size are made anew: the gateway's programs look into the new ones."""
    with gateway(lab) as r:
        assert lab.fence("set", "max_sources=128").code == 0
        assert lab.fence("status").code == 0, lab.fence("status")
        assert r.send("web", [r.tcp_frame("web", 25)]) == [False]
        assert json.dumps(source(lab, "10.9.1.2")["syn"]) == "1"
