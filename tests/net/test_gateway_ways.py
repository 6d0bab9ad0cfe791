# SPDX-License-Identifier: GPL-2.0-only
"""Ways past a gateway that the customers of test_gateway.py do not go: what a container with
CAP_NET_RAW can do, tunnels, tags, fragments, an IPv6-only customer; each with what arrived at the
far end. And their web traffic, whole."""

import contextlib
import fcntl
import hashlib
import inspect
import os
import socket
import struct
import subprocess
import sys
import threading
import time

import netns
import raw_sender
from lab import WORLD4, WORLD6, Skip
from router import (Frame, fragment_header, ip4, ip6, needle, packet, tcp, udp)
from test_gateway import MAIL_HOSTS, gateway, judge_all, places, reasons

# As text: who runs it need not be able to read these files.
SENDER = inspect.getsource(raw_sender)
ONLY_RAW = ["setpriv", "--inh-caps=-all,+net_raw", "--bounding-set=-all,+net_raw",
            "--ambient-caps=-all,+net_raw", "--reuid=65534", "--regid=65534", "--clear-groups",
            "--no-new-privs"]


def send_by(r, way, name, frames, tap="world"):
    """As Router.send, by a process of the container that has CAP_NET_RAW and nothing else."""
    c = r.customers[name]
    marker = b"MARK" + os.urandom(8)
    src, dst = (c.v6, WORLD6) if name == "six" else (c.v4, WORLD4)
    last = r.ethernet(c, udp(src, dst, 9, marker))
    r.taps[tap].drain()
    done = subprocess.run(
        ["nsenter", f"--net={netns.path(c.ns)}", *ONLY_RAW, sys.executable,
         "-c", SENDER, way, "eth0"],
        input="".join(f.hex() + "\n" for f in [f.data for f in frames] + [last]),
        capture_output=True, text=True, timeout=20)
    if "EAFNOSUPPORT" in done.stderr or "Address family not supported" in done.stderr:
        raise Skip(f"{way}: this kernel has no such sockets")
    assert not done.returncode, f"{way}: {done.stderr[-500:]}"
    seen = r.taps[tap].until(marker)
    return [any(f.needle in s for s in seen) for f in frames]


def plain(r, name):
    """[frame to 25, frame to 26] in each family that the customer has; with data, too."""
    c = r.customers[name]
    ends = [(c.v6, WORLD6)] + ([] if name == "six" else [(c.v4, WORLD4)])
    return [r.tcp_frame(name, port, src=src, dst=dst, data=data)
            for src, dst in ends for data in (b"", b"EHLO x\r\n" * 60) for port in (25, 26)]


def test_a_container_with_net_raw(lab):
    """Each kind of socket that CAP_NET_RAW gives, with that capability alone."""
    with gateway(lab) as r:
        denied = 0
        for way in raw_sender.WAYS:
            if way == "xdp" and not has_xdp_sockets():
                print("# no AF_XDP in this kernel", flush=True)
                continue
            for name in ("web", "lan", "six"):
                frames = plain(r, name)
                got = send_by(r, way, name, frames)
                assert got == [False, True] * (len(frames) // 2), f"{way} by {name}: {got}"
                denied += len(frames) // 2
            got = send_by(r, way, "mail", plain(r, "mail"))
            assert all(got), f"{way} by the mail host: {got}"
        assert reasons(lab)["no_role"] == denied, reasons(lab)


def has_xdp_sockets():
    try:
        socket.socket(raw_sender.AF_XDP, socket.SOCK_RAW, 0).close()
    except OSError:
        return False
    return True


def test_those_ways_against_xdp(lab):
    """The XDP program on the veth's host side, native and generic, sees them too."""
    for hook in ("xdp", "generic"):
        with gateway(lab, gateway_hook=hook) as r:
            for way in raw_sender.WAYS:
                if way == "xdp" and not has_xdp_sockets():
                    continue
                frames = plain(r, "web")
                got = send_by(r, way, "web", frames)
                assert got == [False, True] * (len(frames) // 2), f"{hook}, {way}: {got}"
                assert all(send_by(r, way, "mail", plain(r, "mail"))), f"{hook}, {way}, mail host"
            assert lab.fence("off").code == 0


def test_an_ipv6_only_customer(lab):
    """Its every form of a SYN; a source of IPv4 that it does not have; the mail host by IPv6."""
    with gateway(lab) as r:
        judge_all(r, "six", False)
        judge_all(r, "six", False, bypass=True)
        four = [r.tcp_frame("six", port, src="10.9.3.2", dst=WORLD4) for port in (25, 26)]
        assert r.send("six", four) == [False, True]
        for port in (25, 465, 587):
            assert not r.connect("six", port)
            assert r.connect("mail", port, dst=WORLD6, timeout_ms=2000)
        assert r.connect("six", 80, timeout_ms=2000)
        assert not lab.syns(dport=25, src="2001:db8:9:3::2")


# ---- fragments ----

def fragments(r, name, port, six, cut=24):
    """(first, rest): a SYN with data, in two pieces."""
    c, first, rest = r.customers[name], needle(), needle()
    src, dst = (c.v6, WORLD6) if six else (c.v4, WORLD4)
    segment = tcp(src, dst, port, seq=first, data=b"x" * (cut - 20) + rest * 8)
    ident = os.urandom(4)
    parts = []
    for at, more in ((0, 1), (cut, 0)):
        piece = segment[at:cut] if more else segment[at:]
        if six:
            parts.append(ip6(src, dst, piece,
                             extensions=[fragment_header(at // 8, more, ident)]))
        else:
            parts.append(ip4(src, dst, piece, fragment=at // 8 | (0x2000 if more else 0),
                             ident=struct.unpack(">H", ident[:2])[0]))
    return [Frame(r.ethernet(c, p), n) for p, n in zip(parts, (first, rest))]


def test_fragments(lab):
    """The first one decides. The rest alone is no connection: nobody can put it together."""
    with gateway(lab) as r:
        for six in (False, True):
            for backwards in (False, True):
                for port in (25, 26):
                    first, rest = fragments(r, "web", port, six)
                    order = [rest, first] if backwards else [first, rest]
                    got = dict(zip(("second", "first") if backwards else ("first", "second"),
                                   r.send("web", order)))
                    assert got == {"first": port == 26, "second": True}, (six, backwards, port, got)
            first, rest = fragments(r, "mail", 25, six)
            assert r.send("mail", [first, rest]) == [True, True]
            # 8 bytes: ports, but no flags; then what would rewrite it
            for name, wanted in (("web", False), ("mail", False)):
                first, rest = fragments(r, name, 26, six, cut=8)
                assert r.send(name, [first, rest]) == [wanted] * 2, f"{name}, 8 bytes: stated"


def test_a_reassembled_connection(lab):
    """The far end's kernel answers a SYN that came in pieces, where it may; else nothing comes."""
    with gateway(lab) as r:
        for name, port, wanted in (("web", 25, 0), ("web", 80, 1), ("mail", 25, 1)):
            c = r.customers[name]
            tap = netns.inside(netns.path(c.ns), answers)
            with contextlib.closing(tap):
                r.send(name, fragments(r, name, port, False))
                assert count_answers(tap, port, wanted) == wanted, f"{name}, {port}"


def answers():
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sock.bind(("eth0", 0x0800))
    sock.settimeout(0.4)
    return sock


def count_answers(sock, port, enough):
    """SYN-ACKs from that port."""
    n = 0
    with contextlib.suppress(TimeoutError):
        while n < enough or not enough:
            data = sock.recv(2048)
            n += data[23] == 6 and data[34:36] == struct.pack(">H", port) and data[47] == 0x12
    return n


# ---- tags ----

def test_tags_by_ways(lab):
    """Tags of each kind, in each of the ways."""
    with gateway(lab) as r:
        c = r.customers["lan"]
        station = b"\2\0\0\0\0\x63"
        stacks = [[(0x8100, 100)], [(0x88a8, 100), (0x8100, 200)], [(0x8100, 0)] * 3,
                  [(0x9100, 7), (0x9200, 8), (0x8100, 9)], [(0x88a8, n) for n in range(1, 9)]]
        for way in ("packet", "packet past the queue", "ring"):
            frames = []
            for tags in stacks:
                for src, dst in ((c.v4, WORLD4), (c.v6, WORLD6)):
                    frames += [Frame(station + f.data[6:], f.needle) for f in
                               (r.tcp_frame("lan", port, src=src, dst=dst, tags=tags)
                                for port in (25, 26))]
            got = send_tagged(r, way, frames)
            assert got == [False, True] * (len(frames) // 2), f"{way}: {got}"
        # one more the kernel takes off before us; the tenth can't be followed
        for tags, wanted in ((9, [False, True]), (10, [False, False])):
            deep = [r.tcp_frame("lan", port, tags=[(0x8100, n + 1) for n in range(tags)])
                    for port in (25, 26)]
            got = send_tagged(r, "packet", [Frame(station + f.data[6:], f.needle) for f in deep])
            assert got == wanted, f"{tags} tags: {got}"


def send_tagged(r, way, frames):
    """As send_by, but the marker has to get beyond the bridge as well."""
    c = r.customers["lan"]
    marker = b"MARK" + os.urandom(8)
    last = Frame(b"\2\0\0\0\0\x63" + r.ethernet(c, udp(c.v4, WORLD4, 9, marker))[6:], marker)
    tap = r.taps["far"]
    tap.drain()
    subprocess.run(["nsenter", f"--net={netns.path(c.ns)}", *ONLY_RAW, sys.executable,
                    "-c", SENDER, way, "eth0"], check=True, timeout=20, text=True,
                   input="".join(f.data.hex() + "\n" for f in [*frames, last]))
    seen = tap.until(marker)
    return [any(f.needle in s for s in seen) for f in frames]


def devices_or_skip(ns, *lines):
    """ip commands; a kind of device that the kernel does not have is a skip."""
    try:
        netns._batch(ns, list(lines))
    except RuntimeError as error:
        if "Unknown device type" in str(error) or "not supported" in str(error):
            raise Skip(f"this kernel has no such device: {lines[0]}") from None
        raise


def test_vlan_devices(lab):
    """The fence on VLAN and QinQ devices of a trunk that itself is none of the customers'."""
    with gateway(lab, customers=("vl-*",)) as r:
        c = r.customers["web"]
        for ns, trunk, names in ((c.ns, "eth0", ("v100", "v200", "q100", "q7")),
                                 (lab.host, c.port, ("vl-100", "vl-200", "sv-q", "vl-q7"))):
            devices_or_skip(ns, *(f"link add link {parent} name {name} type vlan id {number} "
                                  f"proto {proto}" for parent, name, number, proto in
                                  ((trunk, names[0], 100, "802.1q"),
                                   (trunk, names[1], 200, "802.1q"),
                                   (trunk, names[2], 100, "802.1ad"),
                                   (names[2], names[3], 7, "802.1q"))),
                            *(f"link set {name} up" for name in names))
            side = 1 if ns == lab.host else 2
            netns._batch(ns, [f"addr add 10.9.{20 + i}.{side}/24 dev {name}"
                              for i, name in enumerate(names) if "q100" not in name
                              and name != "sv-q"])
        lab.conf.keys["mail_hosts"] = [*MAIL_HOSTS, "10.9.21.2"]
        lab.conf.write()
        assert lab.fence("apply").code == 0
        assert {"vl-100", "vl-200", "vl-q7"} == set(places(lab)), places(lab)
        for third, wanted in ((20, False), (21, True), (23, False)):
            netns._batch(c.ns, [f"route replace default via 10.9.{third}.1"])
            for port, arrives in ((25, wanted), (80, True)):
                got = r.connect("web", port, timeout_ms=2000 if arrives else 400)
                assert got is arrives, f"10.9.{third}.2 to {port}: {got}"
        # the trunk itself is not fenced: untagged traffic goes on, as the pattern says
        assert r.send("web", [r.tcp_frame("web", 25)]) == [True]


# ---- tunnels ----

@contextlib.contextmanager
def tun(ns, name, flags=0x1001):        # IFF_TUN | IFF_NO_PI; 0x1002: IFF_TAP
    def make():
        fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", name.encode(), flags))
        return fd
    if not os.path.exists("/dev/net/tun"):
        raise Skip("no /dev/net/tun")
    fd = netns.inside(netns.path(ns), make)
    try:
        yield fd
    finally:
        os.close(fd)


def test_inner_packets_of_a_vpn(lab):
    """A VPN server on the router (tun): what comes out of the tunnel is judged by its inner source,
    on the tun device; what is still in it is the VPN's own traffic, which goes on."""
    with gateway(lab) as r, tun(lab.host, "cu-vpn") as fd:
        netns._batch(lab.host, ["link set cu-vpn up", "addr add 10.9.7.1/24 dev cu-vpn",
                                "addr add 2001:db8:9:7::1/64 dev cu-vpn nodad"])
        lab.conf.keys["mail_hosts"] = [*MAIL_HOSTS, "10.9.7.9"]
        lab.conf.write()
        assert lab.fence("apply").code == 0
        assert places(lab)["cu-vpn"]["how"] == "tcx"
        wanted, frames = [], []
        for src, dst in (("10.9.7.2", WORLD4), ("2001:db8:9:7::2", WORLD6), ("10.9.7.9", WORLD4)):
            for port in (25, 26):
                seq = needle()
                frames.append(Frame(packet(src, dst, port, seq=seq), seq))
                wanted.append(port == 26 or src == "10.9.7.9")
        tap, marker = r.taps["world"], b"MARK" + os.urandom(8)
        tap.drain()
        for data in [f.data for f in frames] + [udp("10.9.7.2", WORLD4, 9, marker)]:
            os.write(fd, data)
        seen = tap.until(marker)
        assert [any(f.needle in s for s in seen) for f in frames] == wanted


def test_inner_packets_of_a_tunnel_device(lab):
    """Tunnels that end on the router, their devices among the customers: IP in IP, GRE, VXLAN."""
    with gateway(lab) as r:
        c, kinds = r.customers["web"], []
        for n, (kind, at_home, at_router) in enumerate((
                ("ipip", f"local {c.v4} remote {c.gw4}", f"local {c.gw4} remote {c.v4}"),
                ("gre", f"local {c.v4} remote {c.gw4}", f"local {c.gw4} remote {c.v4}"),
                ("vxlan", f"id 5 dstport 4789 local {c.v4} remote {c.gw4} dev eth0",
                 f"id 5 dstport 4789 local {c.gw4} remote {c.v4} dev {c.port}"))):
            try:
                for ns, name, options, side in ((c.ns, f"t{n}", at_home, 2),
                                                (lab.host, f"cu-t{n}", at_router, 1)):
                    devices_or_skip(ns, f"link add {name} type {kind} {options}",
                                    f"link set {name} up", f"addr add 10.9.{30 + n}.{side}/24 "
                                    f"dev {name}")
            except Skip as why:
                print(f"# {why}", flush=True)
                continue
            kinds.append((kind, n))
        if not kinds:
            raise Skip("this kernel has no tunnel devices")
        lab.conf.keys["mail_hosts"] = [*MAIL_HOSTS, "10.9.30.3", "10.9.32.3"]
        lab.conf.write()
        assert lab.fence("apply").code == 0
        for kind, n in kinds:
            netns._batch(c.ns, [f"route replace default via 10.9.{30 + n}.1 dev t{n}"])
            assert places(lab)[f"cu-t{n}"]["how"] == "tcx", kind
            before = reasons(lab).get("no_role", 0)
            assert r.connect("web", 80, timeout_ms=2000), kind
            assert not r.connect("web", 25), kind
            assert reasons(lab)["no_role"] > before, kind
            assert not lab.syns(dport=25, src=f"10.9.{30 + n}.2"), kind
            assert lab.syns(dport=80, src=f"10.9.{30 + n}.2"), kind


def test_a_tunnel_that_ends_elsewhere_is_not_looked_into(lab):
    """Who has a host outside can send from there; what leaves here is the tunnel."""
    with gateway(lab) as r:
        c, inner = r.customers["web"], needle()
        frames = [Frame(r.ethernet(c, ip4(c.v4, WORLD4, packet(c.v4, WORLD4, 25, seq=inner), 4)),
                        inner)]
        inner = needle()
        frames.append(Frame(r.ethernet(c, udp(c.v4, WORLD4, 51820,
                                              packet(c.v4, WORLD4, 25, seq=inner))), inner))
        assert r.send("web", frames) == [True, True]
        assert not reasons(lab).get("no_role")


# ---- the rest of their traffic ----

class Sink(threading.Thread):
    """Reads one connection to its end."""

    def __init__(self, ns, address):
        super().__init__(daemon=True)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.server = netns.inside(netns.path(ns), lambda: socket.create_server(
            (address, 8080), family=family))
        self.digest, self.size = hashlib.sha256(), 0
        self.start()

    def run(self):
        with self.server, self.server.accept()[0] as stream:
            while data := stream.recv(1 << 20):
                self.digest.update(data)
                self.size += len(data)


def transfer(r, lab, name, address, size):
    """Seconds that it took; everything arrived, in its order."""
    sink = Sink(lab.world, address)
    block = os.urandom(1 << 20)
    wanted = hashlib.sha256()
    for _ in range(size >> 20):
        wanted.update(block)

    def send():
        with socket.create_connection((address, 8080), 10) as stream:
            for _ in range(size >> 20):
                stream.sendall(block)
    start = time.monotonic()
    netns.inside(netns.path(r.customers[name].ns), send)
    sink.join(20)
    seconds = time.monotonic() - start
    assert sink.size == size and sink.digest.digest() == wanted.digest(), (name, address, sink.size)
    return seconds


def test_bulk_web_traffic_is_whole(lab):
    """Both families, while the same customer tries to send mail; tests/bench has the ratio."""
    with gateway(lab) as r:
        stop = threading.Event()
        trying = threading.Thread(target=lambda: [r.connect("web", 25, timeout_ms=20)
                                                  for _ in iter(stop.is_set, True)])
        trying.start()
        try:
            for name, address in (("web", WORLD4), ("web", WORLD6), ("lan", WORLD4),
                                  ("six", WORLD6)):
                seconds = transfer(r, lab, name, address, 64 << 20)
                print(f"# {name} to {address}: {64 / seconds:.0f} MiB/s", flush=True)
        finally:
            stop.set()
            trying.join()
        assert reasons(lab)["no_role"] >= 1 and not reasons(lab).get("unparsed")
        assert not lab.syns(dport=25, src="10.9.1.2")
