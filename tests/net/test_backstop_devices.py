# SPDX-License-Identifier: GPL-2.0-only
"""The backstop and devices: containers, tunnels, bridges, BPF. Tests named ..._not_caught hold what
docs/BYPASSES.md admits: they fail when it is no longer true.
"""

import contextlib
import os
import socket
import struct
import subprocess

import census
import netns
import tcx
from census import count_on, sender
from checks import denied, passes
from lab import HOST4, WORLD4, WORLD6, Skip
from router import Tap, ip4, udp
from wires import (CALL, EXIT, MOV, R0, R1, R2, R3, WAYS4, Wire, clear_of, counters, mac, program)


def own_namespace(lab, name="own"):
    ns = f"sfG-{lab.id}-{name}"
    netns.sh("ip", "netns", "add", ns)
    netns.inside(netns.path(ns), lambda: netns._write(
        "/proc/sys/net/ipv6/conf/default/accept_dad", "0"))
    return ns


@contextlib.contextmanager
def container(lab, kind):
    """A namespace with a way of its own to the world; kind: macvlan, bridge or routed. Its v4 and
    v6 are in the host's network but where it is routed."""
    ns = own_namespace(lab)
    v4, v6 = ("10.9.8.2", "2001:db8:9:8::2") if kind == "routed" else \
        ("198.51.100.7", "2001:db8:1::7")
    try:
        if kind == "macvlan":
            netns.sh("ip", "-n", lab.host, "link", "add", "link", "up0", "name", "mv0", "type",
                     "macvlan", "mode", "bridge")
            netns.sh("ip", "-n", lab.host, "link", "set", "mv0", "netns", ns, "name", "eth0")
        else:
            netns._batch(ns, [f"link add eth0 type veth peer name co0 netns {lab.host}"])
        if kind == "bridge":        # the uplink is a port of the bridge
            netns._batch(lab.host, [
                "link add br0 type bridge", "link set br0 up", "link set co0 master br0 up",
                f"addr del {HOST4}/24 dev up0", "link set up0 master br0",
                f"addr add {HOST4}/24 dev br0", f"route add default via {WORLD4}"])
        if kind == "routed":
            for family in ("ipv4", "ipv6"):
                netns.inside(netns.path(lab.host), lambda: netns._write(
                    f"/proc/sys/net/{family}/conf/all/forwarding", "1"))
            netns._batch(lab.host, ["link set co0 up", "addr add 10.9.8.1/24 dev co0",
                                    "addr add 2001:db8:9:8::1/64 dev co0 nodad"])
            netns._batch(lab.world, [f"route replace 10.9.0.0/16 via {HOST4}"])
        gateway = "10.9.8.1" if kind == "routed" else WORLD4
        netns._batch(ns, ["link set lo up", "link set eth0 up", f"addr add {v4}/24 dev eth0",
                          f"addr add {v6}/64 dev eth0 nodad", f"route add default via {gateway}"])
        yield Wire(lab, ns, "eth0", v4=v4, v6=v6,
                   far=mac(lab.host, "co0") if kind == "routed" else None)
    finally:
        # At once: a namespace goes later, and a macvlan on up0 keeps it out of a bridge until then.
        subprocess.run(["ip", "-n", ns, "link", "del", "eth0"], capture_output=True, check=False)
        netns.remove(ns)


def test_a_container_on_a_macvlan(lab):
    """Its packets go to the uplink with their socket."""
    count_on(lab, mode="yes")
    with container(lab, "macvlan") as wire:
        n = wire.judge(lab.web, False, WAYS4, uid=1001)
        wire.judge(lab.mta, True, WAYS4, uid=8)
        assert sender(lab, lab.web, 1001)["denied"] == n


def bridge_netfilter(lab, on):
    """Whether bridged packets are shown to iptables, as Docker and Kubernetes turn on."""
    for family in ("ip", "ip6"):
        name = f"/proc/sys/net/bridge/bridge-nf-call-{family}tables"
        if os.path.exists(name):
            netns.inside(netns.path(lab.host), lambda: netns._write(name, str(int(on))))
    return os.path.exists("/proc/sys/net/bridge")


def test_a_container_on_a_bridge_with_the_uplink(lab):
    """Likewise; and here what goes around the container's own TC is seen as well."""
    count_on(lab, mode="yes")
    with container(lab, "bridge") as wire:
        bridge_netfilter(lab, False)
        ways = WAYS4 + ("bypass", "xdp")
        n = wire.judge(lab.web, False, ways)
        wire.judge(lab.mta, True, ways)
        assert sender(lab, lab.web, 0)["denied"] == n


def test_a_bridge_with_netfilter_without_a_gateway_fence_is_not_caught(lab):
    """br_netfilter takes the socket off the packet, as routing does."""
    count_on(lab, mode="yes")
    with container(lab, "bridge") as wire:
        if not bridge_netfilter(lab, True):
            raise Skip("no br_netfilter here")
        ways = ("header_included", "packet_raw", "bypass", "xdp")
        wire.judge(lab.web, True, ways)
        denied(lab, lab.web, where=netns.path(wire.ns))
        count_on(lab, mode="yes", customers=["co0"])
        wire.judge(lab.web, False, ways)
        count_on(lab, mode="yes", customers=[], gateway_others="deny")
        wire.judge(lab.web, False, ways)


def nat(wire):
    """In the container's own namespace: what goes to port 8025 leaves to port 25."""
    netns.sh("ip", "netns", "exec", wire.ns, "nft", "-f", "-",
             input="table ip n { chain o { type nat hook output priority -100\n"
                   "tcp dport 8025 dnat to :25\ntcp dport 8026 dnat to :26\n}\n}\n")


def by_nat(lab, wire, cgroup):
    """(arrived at 25, at 26) of connects to 8025 and 8026 from the container."""
    lab.clear()
    for port in (8025, 8026):
        lab.connect(cgroup, "nonblock", port=port, where=netns.path(wire.ns), timeout_ms=300)
    return bool(lab.syns(dport=25)), bool(lab.syns(dport=26))


def test_a_port_rewritten_in_the_containers_own_namespace(lab):
    """connect() sees 8025; the packet on the uplink still has its socket, and port 25."""
    count_on(lab, mode="yes")
    for kind in ("macvlan", "bridge"):
        with container(lab, kind) as wire:
            if kind == "bridge":
                bridge_netfilter(lab, False)
            nat(wire)
            assert by_nat(lab, wire, lab.web) == (False, True), kind
            assert by_nat(lab, wire, lab.mta) == (True, True), kind


def test_a_local_destination_rewritten_in_the_containers_own_namespace(lab):
    """connect() sees 127.0.0.1, which is open; the packet goes to the world."""
    count_on(lab, mode="yes")
    with container(lab, "macvlan") as wire:
        netns.inside(netns.path(wire.ns), lambda: netns._write(
            "/proc/sys/net/ipv4/conf/all/route_localnet", "1"))
        netns.sh("ip", "netns", "exec", wire.ns, "nft", "-f", "-",
                 input="table ip n { chain o { type nat hook output priority -100\n"
                       f"ip daddr 127.0.0.1 tcp dport {{ 25, 26 }} dnat to {WORLD4}\n}}\n"
                       "chain p { type nat hook postrouting priority 100\nmasquerade\n}\n}\n")

        def arrived(cgroup):
            lab.clear()
            for port in (25, 26):
                lab.connect(cgroup, "nonblock", dst="127.0.0.1", port=port,
                            where=netns.path(wire.ns), timeout_ms=300)
            return sorted({p.dport for p in lab.syns()})
        assert arrived(lab.web) == [26]
        assert arrived(lab.mta) == [25, 26]


def test_a_routed_container_without_a_gateway_fence_is_not_caught(lab):
    """Routing takes the socket off the packet. Its connect() is judged; raw sockets and rewritten
    ports need `customers`."""
    count_on(lab, mode="yes")
    with container(lab, "routed") as wire:
        denied(lab, lab.web, where=netns.path(wire.ns))
        nat(wire)
        wire.judge(lab.web, True, ("header_included", "packet_raw", "bypass", "xdp"))
        assert by_nat(lab, wire, lab.web) == (True, True)
        assert census.source(lab, "10.9.8.2")["fenced_syn"] >= 4, "counted by its source"
        count_on(lab, mode="yes", customers=["co0"])
        wire.judge(lab.web, False, ("header_included", "packet_raw", "bypass", "xdp"))
        assert by_nat(lab, wire, lab.web) == (False, True)
        # or nobody's forwarded SYNs leave
        count_on(lab, mode="yes", customers=[], gateway_others="deny")
        wire.judge(lab.web, False, ("header_included", "packet_raw", "bypass", "xdp"))


def test_a_tun_of_ones_own_is_not_caught(lab):
    """Who may make one in the host's namespace: what he writes into it is forwarded, without a
    socket. As a customer's it is judged: test_gateway.test_a_routed_tun_device."""
    if not os.path.exists("/dev/net/tun"):
        raise Skip("no tun devices")
    count_on(lab, mode="yes")
    netns.inside(netns.path(lab.host), lambda: netns._write("/proc/sys/net/ipv4/ip_forward", "1"))
    netns.inside(netns.path(lab.host), lambda: netns._write(
        "/proc/sys/net/ipv4/conf/default/rp_filter", "0"))
    wire = Wire(lab, v4="10.9.7.2")
    wire.judge(lab.web, True, ("tun",))
    count_on(lab, mode="yes", customers=["own*"])
    lab.daemon()        # takes the interface in when it comes
    assert census.source(lab, "10.9.7.2")["fenced_syn"] == 1


def test_what_goes_around_tc_on_the_uplink_is_not_caught(lab):
    """PACKET_QDISC_BYPASS and AF_XDP hand their frames to the driver. Nothing counts them."""
    count_on(lab, mode="yes")
    wire = Wire(lab)
    wire.judge(lab.web, True, ("bypass", "xdp"), uid=None)
    assert not clear_of(lab, "probe"), counters(lab)
    assert not sender(lab, lab.web, 0) or not sender(lab, lab.web, 0)["syn"]


def spare(lab):
    """Another wire of the host's, with somebody at its far end."""
    census.spare_link(lab, "sp0", "sp1")
    netns._batch(lab.host, ["addr add 10.9.6.1/24 dev sp0",
                            "neigh add 10.9.6.9 lladdr 02:00:00:00:00:09 dev sp0"])


def tc_program(lab, interface, code):
    """At the egress of an interface, before all others. A descriptor of its link."""
    fd = program(code)
    link, _ = netns.inside(netns.path(lab.host), lambda: tcx._bpf(
        tcx.BPF_LINK_CREATE, struct.pack("IIIIII", fd, socket.if_nametoindex(interface), tcx.EGRESS,
                                         tcx.BEFORE, 0, 0)))
    os.close(fd)
    return link


def test_redirected_by_bpf(lab):
    """From another interface straight to the uplink: the packet keeps its socket."""
    if tcx.how() != "tcx":
        raise Skip("no TCX here")
    count_on(lab, mode="yes")
    spare(lab)
    wire = Wire(lab)
    up0 = netns.inside(netns.path(lab.host), lambda: socket.if_nametoindex("up0"))
    link = tc_program(lab, "sp0", [(MOV, R1, up0), (MOV, R2, 0), (CALL, 0, 23), (EXIT, 0, 0)])
    wire.judge(lab.web, False, dst="10.9.6.9")
    wire.judge(lab.mta, True, dst="10.9.6.9")
    os.close(link)


def test_a_copy_by_bpf_or_tc_is_not_caught(lab):
    """bpf_clone_redirect(), as tc's mirred and nft's dup: a copy has no socket. Counted by source."""
    if tcx.how() != "tcx":
        raise Skip("no TCX here")
    count_on(lab, mode="yes")
    spare(lab)
    wire = Wire(lab)
    up0 = netns.inside(netns.path(lab.host), lambda: socket.if_nametoindex("up0"))
    link = tc_program(lab, "sp0", [(MOV, R2, up0), (MOV, R3, 0), (CALL, 0, 13), (MOV, R0, 0),
                                   (EXIT, 0, 0)])
    wire.judge(lab.web, True, dst="10.9.6.9")
    assert census.source(lab, HOST4)["fenced_syn"] == 1
    assert census.counters(lab)["no_sender"] == 2
    os.close(link)


def test_a_program_before_ours_that_ends_the_chain_is_not_caught(lab):
    """It says "pass", not "next": ours is not asked."""
    if tcx.how() != "tcx":
        raise Skip("no TCX here")
    count_on(lab, mode="yes")
    wire = Wire(lab)
    link = tc_program(lab, "up0", [(MOV, R0, 0), (EXIT, 0, 0)])
    wire.judge(lab.web, True)
    os.close(link)
    link = tc_program(lab, "up0", [(MOV, R0, -1), (EXIT, 0, 0)])
    wire.judge(lab.web, False)
    os.close(link)


def test_a_macvtap_is_not_caught(lab):
    """A virtual machine's frames go from its tap to the uplink: no socket, and no way in at which a
    gateway's program could stand. Counted by source."""
    ip = ("ip", "-n", lab.host)
    count_on(lab, mode="yes")
    netns.sh(*ip, "link", "add", "link", "up0", "name", "mt0", "type", "macvtap", "mode", "bridge")
    netns.sh(*ip, "link", "set", "mt0", "up")
    major, minor = netns.sh("ip", "netns", "exec", lab.host, "sh", "-c",
                            "cat /sys/class/net/mt0/macvtap/tap*/dev").strip().split(":")
    node = f"{lab.dir}/tap"
    os.mknod(node, 0o600 | 0o020000, os.makedev(int(major), int(minor)))
    fd = netns.inside(netns.path(lab.host), lambda: os.open(node, os.O_RDWR))
    wire = Wire(lab, v4="198.51.100.8")
    marker = b"MARK" + os.urandom(8)
    ethernet = b"\0" * 10 + bytes.fromhex(wire.far + mac(lab.host, "mt0")) + b"\x08\0"
    _, data, token = wire.syn("", 25)
    os.write(fd, ethernet + data)
    os.write(fd, ethernet + udp("198.51.100.8", WORLD4, 9, marker))
    assert any(token in frame for frame in wire.tap.until(marker))
    assert census.source(lab, "198.51.100.8")["fenced_syn"] == 1
    os.close(fd)


def test_a_namespace_with_a_wire_of_its_own_is_not_caught(lab):
    """An interface that was moved into a container. Its connect() is judged."""
    count_on(lab, mode="yes")
    wire = Wire(lab, lab.guest, far=mac(lab.world, "up1"), v4=netns.GUEST4, marker=netns.GUEST_GW4,
                tap=lab._closed_at_end(Tap(lab.world, "up1")))
    wire.judge(lab.web, True, ("header_included", "packet_raw"), dst=netns.GUEST_GW4)
    denied(lab, lab.web, dst=netns.GUEST_GW4, where="guest")
    passes(lab, lab.mta, dst=netns.GUEST_GW4, where="guest")


def test_packets_in_other_packets_are_not_caught(lab):
    """What is no TCP over IP to this host's uplink: another machine has to unpack it first."""
    count_on(lab, mode="yes")
    wire = Wire(lab)
    ethernet = bytes.fromhex(wire.far + wire.own)

    def inner(dst=WORLD4):
        return wire.syn("", 25, dst)[1:]
    jobs = []
    for proto, dst in ((4, WORLD4), (41, WORLD6)):      # IPIP, 6in4
        data, token = inner(dst)
        jobs.append(("packet_raw", ip4(HOST4, WORLD4, data, proto), token))
    data, token = inner()
    jobs.append(("packet_raw", ip4(HOST4, WORLD4, b"\0\0\x08\0" + data, 47), token))    # GRE
    data, token = inner()
    jobs.append(("packet_raw", udp(HOST4, WORLD4, 4000, data), token))
    for header in (b"\x88\x47\0\x01\x01\x40", b"\x88\x64\x11\0\0\x01\0\x2a\0\x21"):   # MPLS, PPPoE
        data, token = inner()
        jobs.append(("packet_frame", ethernet + header + data, token))
    data, token = inner()       # 802.3 with LLC and SNAP
    jobs.append(("packet_frame", ethernet + struct.pack(">H", 8 + len(data)) +
                 b"\xaa\xaa\x03\0\0\0\x08\0" + data, token))
    assert all(wire.send(lab.web, jobs)), jobs
    assert not clear_of(lab, "probe"), counters(lab)
    assert census.counters(lab)["not_ip"] >= 3


def test_inner_packets_of_a_tunnel(lab):
    """On the uplink a tunnel is UDP: what is in it is seen where the tunnel is named an uplink."""
    netns._batch(lab.host, [f"link add vx0 type vxlan id 5 remote {WORLD4} local {HOST4} dstport 4789 "
                            "dev up0", "addr add 10.9.5.1/24 dev vx0", "link set vx0 up",
                            "neigh add 10.9.5.2 lladdr 02:00:00:00:00:05 dev vx0"])
    count_on(lab, mode="yes")
    wire = Wire(lab, v4="10.9.5.1")
    wire.judge(lab.web, True, ("header_included",), dst="10.9.5.2")      # not caught
    denied(lab, lab.web, dst="10.9.5.2")     # a connect() is, whatever the route
    count_on(lab, "up0", "vx0", mode="yes")
    wire.judge(lab.web, False, ("header_included",), dst="10.9.5.2")
    wire.judge(lab.mta, True, ("header_included",), dst="10.9.5.2")


def test_below_an_uplink_that_is_a_bridge(lab):
    """A packet socket on the bridge's port does not pass the bridge: name both."""
    with container(lab, "bridge"):
        wire = Wire(lab)
        count_on(lab, "br0", mode="yes")
        wire.judge(lab.web, False, ("header_included",))
        wire.judge(lab.web, True, ("packet_raw",))      # not caught
        count_on(lab, "br0", "up0", mode="yes")
        wire.judge(lab.web, False, ("header_included", "packet_raw"))
        wire.judge(lab.mta, True, ("header_included", "packet_raw"))


def test_an_interface_that_is_no_uplink_is_not_caught(lab):
    spare(lab)
    count_on(lab, mode="yes")
    tap = lab._closed_at_end(Tap(lab.host, "sp1"))
    wire = Wire(lab, tap=tap, marker="10.9.6.9")
    wire.judge(lab.web, True, ("header_included",), dst="10.9.6.9")
    count_on(lab, "up0", "sp0", mode="yes")
    wire.judge(lab.web, False, ("header_included",), dst="10.9.6.9")
    denied(lab, lab.web, dst="10.9.6.9")
