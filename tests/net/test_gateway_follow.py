# SPDX-License-Identifier: GPL-2.0-only
"""Customers' interfaces that come and go under the daemon's eyes, and what leaves meanwhile."""

import contextlib
import fcntl
import os
import socket
import struct
import subprocess
import threading
import time

import kernel
import netns
import tcx
from census import source
from lab import Skip, WORLD4, until
from router import packet, run
from test_gateway import gateway, places

SIOCSIFFLAGS, IFF_UP = 0x8914, 1
ROUTER_MAC, GUEST_MAC = bytes.fromhex("020000000901"), bytes.fromhex("020000000902")


class Flooder:
    """A guest that sends SYNs to port 25 from the moment that its interface lets it."""

    def __init__(self, r, name):
        self.r, self.ns = r, f"sfG-{r.lab.id}-{name}"
        self.port, self.sent, self.first, self.end = f"cu-{name}", 0, None, False
        netns.sh("ip", "netns", "add", self.ns)
        self.thread = threading.Thread(
            target=lambda: netns.inside(netns.path(self.ns), self._flood))

    def _flood(self):
        data = ROUTER_MAC + GUEST_MAC + b"\x08\0" + packet("10.9.8.2", WORLD4, 25)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            while not self.end:
                try:
                    if not self.first:      # up, as soon as it is there
                        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", b"eth0", IFF_UP))
                        sock.bind(("eth0", 0))
                    sock.send(data)
                except OSError:
                    continue
                self.first = self.first or time.monotonic()
                self.sent += 1

    def __enter__(self):
        """Made with its end up, in one request: no runtime is faster."""
        self.thread.start()
        netns.sh("ip", "-n", self.r.lab.host, "link", "add", self.port, "up",
                 "address", ROUTER_MAC.hex(":"), "type", "veth", "peer", "name", "eth0",
                 "address", GUEST_MAC.hex(":"), "netns", self.ns)
        return self

    def __exit__(self, *_):
        self.end = True
        self.thread.join()
        subprocess.run(["ip", "-n", self.r.lab.host, "link", "del", self.port], check=False)
        netns.remove(self.ns)


def syns_of(tap, src="10.9.8.2", bound=5.0):
    """The SYNs of that source that the far end has got, until none came for a while."""
    count, raw, end = 0, socket.inet_aton(src), time.monotonic() + bound
    with contextlib.suppress(TimeoutError):
        while time.monotonic() < end:
            frame = tap.sock.recv(2048)
            count += frame[12:14] == b"\x08\0" and frame[26:30] == raw
    return count


def test_without_the_daemon_it_forwards_until_apply(lab):
    with gateway(lab) as r:
        r.taps["world"].drain()
        with Flooder(r, "late") as guest:
            assert until(lambda: guest.sent > 200, 10)
            assert syns_of(r.taps["world"], bound=1.0) > 0
            assert lab.fence("apply").code == 0
            r.taps["world"].drain()
            before = guest.sent
            assert until(lambda: guest.sent > before + 50, 5)
            assert not syns_of(r.taps["world"])


def test_a_new_interface_is_fenced_by_the_daemon(lab):
    with gateway(lab) as r:
        lab.daemon()
        # one before it: what follows is by the kernel's word, not by the look each ten seconds
        r.add("early", 7)
        assert until(lambda: "cu-early" in places(lab), 5)
        r.taps["world"].drain()
        with Flooder(r, "late") as guest:
            assert until(lambda: guest.sent > 200 and "cu-late" in places(lab), 5)
            until(lambda: False, 0.2)
            out = syns_of(r.taps["world"])
            before = guest.sent
            assert until(lambda: guest.sent > before + 50, 5)
            assert not syns_of(r.taps["world"]), "SYNs still leave after the fence stood"
            print(f"{out} SYNs got out of {guest.sent}")
        assert until(lambda: not [p for p in os.listdir(f"{lab.pin_dir}/links")
                                  if p.startswith("gw") and p.endswith("-0")], 5)
        assert until(lambda: "cu-late" not in places(lab), 5)
        assert until(lambda: lab.fence("status").code == 0, 5), lab.fence("status")


def test_gateway_others_closes_the_time_before_the_fence(lab):
    with gateway(lab, gateway_others="deny") as r:
        lab.daemon()
        r.taps["world"].drain()
        with Flooder(r, "late") as guest:
            assert until(lambda: guest.sent > 200 and "cu-late" in places(lab), 5)
            until(lambda: False, 0.2)
            assert not syns_of(r.taps["world"]), "SYNs got out before the fence stood"
        # who is no customer: denied to fenced ports, where it leaves
        assert lab.fence("set", "customers=cu-mail,cu-lan").code == 0
        frames = [r.tcp_frame("web", p) for p in (25, 587, 26, 80)]
        assert r.send("web", frames) == [False, False, True, True]
        assert r.send("six", [r.tcp_frame("six", p) for p in (465, 443)]) == [False, True]
        assert r.send("mail", [r.tcp_frame("mail", 25)]) == [True]
        assert lab.fence("allow", "net", WORLD4, "--port", "587").code == 0
        frames = [r.tcp_frame("web", p) for p in (25, 587)]
        assert r.send("web", frames) == [False, True]
        before = lab.status()["counters"]
        assert lab.fence("monitor").code == 0
        assert r.send("web", [r.tcp_frame("web", 25)]) == [True]
        after = lab.status()["counters"]
        assert after["would_deny"] == before["would_deny"] + 1, (before, after)
        assert lab.fence("on").code == 0
        assert lab.fence("set", "gateway_others=pass").code == 0
        assert r.send("web", [r.tcp_frame("web", 25)]) == [True]


def test_gateway_others_behind_a_bridge(lab):
    """What came in by a fenced port of the bridge was judged there."""
    with gateway(lab, customers=("cu-*", "tr0"), gateway_others="deny") as r:
        assert lab.fence("allow", "source", r.customers["lan"].v4).code == 0
        assert r.send("lan", [r.tcp_frame("lan", 25)]) == [True]
        assert r.send("lan", [r.tcp_frame("lan", 25, src="10.9.2.9")]) == [False]
        # the bridge has a port that is none: what comes by it is not known to have been judged
        assert lab.fence("set", "customers=cu-*").code == 0
        assert r.send("lan", [r.tcp_frame("lan", 25)]) == [False]


def test_behind_a_bridge_it_is_counted_once(lab):
    """A routed packet seems to come from the bridge upon the fenced interface."""
    with gateway(lab, customers=("cu-*", "tr0")) as r:
        lan = r.customers["lan"]
        r.send("lan", [r.tcp_frame("lan", 80) for _ in range(5)])
        assert source(lab, lan.v4)["syn"] == 5, source(lab, lan.v4)
        # a port that is no customer's: what comes by the bridge is counted on the uplink too
        assert lab.fence("set", "customers=cu-*").code == 0
        assert lab.fence("status").code == 0, lab.fence("status")
        r.send("lan", [r.tcp_frame("lan", 80)])
        assert source(lab, lan.v4)["syn"] == 7, source(lab, lan.v4)


def test_behind_a_vlan_it_is_counted_once(lab):
    with gateway(lab) as r:
        web = r.customers["web"]
        made = run("ip", "-n", lab.host, "link", "add", "link", "cu-web", "name", "v100", "type",
                   "vlan", "id", "100")
        if made.returncode:
            raise Skip("this kernel has no VLAN devices")
        netns._batch(lab.host, ["link set v100 up"])
        assert lab.fence("apply").code == 0
        assert lab.fence("status").code == 0, lab.fence("status")
        frames = [r.tcp_frame("web", 80, tags=[(0x8100, 100)]) for _ in range(4)]
        assert r.send("web", frames) == [True] * 4
        assert source(lab, web.v4)["syn"] == 4, source(lab, web.v4)


def test_a_program_that_was_taken_off_is_told_and_back(lab):
    with gateway(lab) as r:
        lab.daemon()
        r.add("new", 7)
        assert until(lambda: "cu-new" in places(lab), 5)
        assert not lab.log.wait("rule=gateway_restored", 0.1), "an interface that came is no alarm"
        index = int(netns.inside(netns.path(lab.host), lambda: socket.if_nametoindex("cu-web")))
        pin = f"{lab.pin_dir}/links/gwin-{index}"
        if not os.path.exists(pin):
            raise Skip("no links before Linux 6.6 (TCX)")
        kernel.bpftool("link", "detach", "id", kernel.bpftool("link", "show", "pinned", pin)["id"])
        line = lab.log.wait("rule=gateway_restored", 8)
        assert line and ' count=1 interface="cu-web" ' in line, (line, lab.log.lines()[-3:])
        assert r.send("web", [r.tcp_frame("web", 25)]) == [False]
        assert lab.fence("status").code == 0, lab.fence("status")


def test_another_hook_is_taken_without_a_gap(lab):
    """Native and generic XDP can't stand at one interface: TC stands in meanwhile."""
    with gateway(lab, gateway_hook="tc") as r:
        got, end = [], threading.Event()

        def knock():
            while not end.is_set():
                got.extend(r.send("web", [r.tcp_frame("web", 25)]))
        knocker = threading.Thread(target=knock)
        knocker.start()
        try:
            for hook, how in (("xdp", "xdp"), ("generic", "xdpgeneric"), ("xdp", "xdp"),
                              ("tc", "tcx"), ("generic", "xdpgeneric"), ("auto", "tcx")):
                before = len(got)
                assert lab.fence("set", f"gateway_hook={hook}").code == 0
                found = {o["how"] for o in places(lab).values()}
                assert found in ({how}, {how.replace("tcx", "clsact")}), (hook, found)
                at_tc = tcx.programs(lab.host, "cu-web", (tcx.INGRESS,))
                assert len(at_tc) == (found == {"tcx"}), (hook, at_tc)
                assert until(lambda: len(got) > before + 1, 5), "nobody knocked"
        finally:
            end.set()
            knocker.join()
        assert not any(got), got
        assert r.send("mail", [r.tcp_frame("mail", 25)]) == [True]
