# SPDX-License-Identifier: GPL-2.0-only
"""The packets of connect(): judged once; and those whose connect() was before `on`, or said yes to
something else. The far end of the wire tells.
"""

import os
import socket
import struct
import sys

import netns
import tcx
from census import count_on, sender
from checks import denied, passes
from lab import HOST4, WORLD4, WORLD6, Skip, until
from netns import EXTRA4, EXTRA6
from test_open import Held
from wires import (EXIT, JNE, LDX32, MOV, R0, R1, R2, STX32, clear_of, counters, program)

SILENT4, SILENT6 = "203.0.113.200", "2001:db8:2::c8"    # routed to the world, where nobody answers


def test_a_denied_connect_is_counted_once(lab):
    count_on(lab, mode="yes")
    base = counters(lab)[0]
    for how in ("connect", "tfo-connect", "mptcp"):
        denied(lab, lab.web, how, uid=1001)
    assert counters(lab)[0] - base == 3, counters(lab)
    assert sender(lab, lab.web, 1001)["denied"] == 3


def test_an_allowed_connect_is_not_judged_again(lab):
    """Where the packet shows less than connect() saw: by group, by a user who got the socket, by
    another uid of the mail server; and MPTCP, whose SYN is a subflow's."""
    lab.conf.section("allow_group", "60")
    lab.conf.section("allow_user", "1001")
    count_on(lab, mode="yes")
    base = counters(lab)[0]
    passes(lab, lab.web, uid=5, gid=60)
    passes(lab, lab.web, "tfo-connect", uid=5, gid=60)
    passes(lab, lab.web, uid=1001)
    passes(lab, lab.web, uid=1001, scm_from=lab.web)        # root made the socket
    passes(lab, lab.mta, uid=8, gid=8)
    passes(lab, lab.mta, "mptcp", uid=8, gid=8)
    denied(lab, lab.web, uid=1002, scm_from=lab.web)
    denied(lab, lab.mta, uid=33, scm_from=lab.mta)
    assert counters(lab)[0] - base == 2, counters(lab)


def silence(lab):
    """An address of each family at which nobody answers, not even by ICMP."""
    netns.sh("ip", "-n", lab.world, "-6", "route", "add", "blackhole", SILENT6)


def test_a_mail_servers_repeated_syn_is_not_denied(lab):
    silence(lab)
    lab.conf.section("allow_user", "1001")
    count_on(lab, mode="yes")
    base = counters(lab)
    for dst in (SILENT4, SILENT6):
        lab.clear()
        for cgroup, uid in ((lab.mta, 8), (lab.web, 1001)):
            answer = lab.connect(cgroup, "nonblock", dst=dst, timeout_ms=1600, uid=uid, gid=uid)
            assert answer["errno"] == "ETIMEDOUT", answer
        assert len(lab.syns(dport=25, dst=dst)) >= 4, lab.syns()
    assert counters(lab)[0] == base[0], counters(lab)
    # each is one connection, allowed once
    by = counters(lab)[2]
    assert by["mail"] - base[2].get("mail", 0) == 2 and by["sender"] == 2, by


# ---- connections that began before ----

def test_a_connection_that_began_before_on_sends_no_further_syn(lab):
    silence(lab)
    lab.conf.section("exempt", lab.root + "/free")
    lab.conf.write()
    begun = [Held(lab, lab.web, dst, port, how="syn") for dst in (SILENT4, SILENT6)
             for port in (25, 26)]
    begun += [Held(lab, cgroup, SILENT4, 587, how="syn") for cgroup in (lab.mta, lab.cgroup("free/x"))]
    count_on(lab, mode="yes")
    lab.clear()
    # each is repeated after 1, 3 and 7 s
    assert until(lambda: len(lab.syns(dport=26)) >= 2 and len(lab.syns(dport=587)) >= 2, 12)
    assert not lab.syns(dport=25), lab.syns(dport=25)
    assert until(lambda: counters(lab)[2].get("no_role", 0) >= 2, 5), counters(lab)
    for held in begun:
        held.stands(2)
    lab.fence("off")
    assert until(lambda: len(lab.syns(dport=25)) >= 2, 20), "the kernel still had it to send"


DEFERRED = r"""
import errno, socket, struct, sys
dst, port, route, move = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
s = socket.socket(socket.AF_INET6 if ":" in dst else socket.AF_INET)
s.setsockopt(socket.IPPROTO_TCP, 30, 1)     # TCP_FASTOPEN_CONNECT
try:
    s.connect((dst, port))
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
    sys.exit()
print("deferred", flush=True)
sys.stdin.readline()
if route:       # RFC 8754: two segments, the far one first
    far, near = (socket.inet_pton(socket.AF_INET6, a) for a in (route, dst))
    s.setsockopt(socket.IPPROTO_IPV6, 57, struct.pack("!BBBBBBH", 0, 4, 4, 1, 1, 0, 0) + far + near)
if move:
    with open(move + "/cgroup.procs", "w") as procs:
        procs.write("0")
s.setblocking(False)
try:
    print("sent", s.send(b"EHLO x\r\n"), flush=True)
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
sys.stdin.readline()
"""


def deferred(lab, cgroup, dst=WORLD4, port=25, route="", move="", **who):
    """connect() has said yes; the SYN waits for data."""
    proc = lab.spawn([sys.executable, "-Ic", DEFERRED, dst, str(port), route, move], cgroup=cgroup,
                     stdin=-1, stdout=-1, **who)
    assert proc.stdout.readline() == b"deferred\n", f"{dst}:{port} from {cgroup}"
    return proc


def release(lab, *procs):
    """Let them send; the SYNs of all that left."""
    lab.clear()
    for proc in procs:
        proc.stdin.write(b"\n")
        proc.stdin.flush()
        proc.stdout.readline()
    return lab.syns()


def test_a_fast_open_deferred_over_on_sends_no_syn(lab):
    lab.conf.write()
    held = [deferred(lab, lab.web, dst) for dst in (WORLD4, WORLD6)]
    others = [deferred(lab, lab.web, port=26), deferred(lab, lab.mta, port=587)]
    count_on(lab, mode="yes")
    assert sorted(p.dport for p in release(lab, *held, *others)) == [26, 587]
    # each twice: where the SYN with data goes down, the kernel tries one without
    assert clear_of(lab, "probe", "mail")["no_role"] in (3, 4), counters(lab)


def test_a_route_set_after_a_deferred_connect(lab):
    """connect() to an allowed relay, then a routing header to anybody, then the SYN."""
    lab.conf.section("allow_net", WORLD6, ports=[25])
    count_on(lab, mode="yes")
    who = dict(uid=1001, gid=1001)
    plain = deferred(lab, lab.web, WORLD6, **who)
    assert [p.dport for p in release(lab, plain)] == [25]
    routed = deferred(lab, lab.web, WORLD6, route=EXTRA6[0], **who)
    assert release(lab, routed) == [], "a SYN left by the route"
    assert sender(lab, lab.web, 1001)["denied"] == 2, "the SYN with data, and one without"
    # what beside it may go anywhere: another port, and the mail server
    beside = deferred(lab, lab.web, WORLD6, 26, route=EXTRA6[0], **who)
    mail = deferred(lab, lab.mta, WORLD6, route=EXTRA6[0], uid=8, gid=8)
    assert sorted(p.dport for p in release(lab, beside, mail)) == [25, 26]


def test_a_deferred_connect_stays_its_makers(lab):
    """The process moved between connect() and SYN: the socket's cgroup still has the right."""
    count_on(lab, mode="yes")
    moved = deferred(lab, lab.mta, move=str(lab.web))
    assert [p.dport for p in release(lab, moved)] == [25]
    assert counters(lab)[0] == 0, counters(lab)


def test_a_deferred_connect_ends_with_a_quarantine(lab):
    count_on(lab, mode="yes")
    held = deferred(lab, lab.mta, uid=8, gid=8)
    assert lab.fence("quarantine", "user", "8").code == 0
    assert release(lab, held) == []
    assert lab.fence("remove", "quarantine", "user", "8").code == 0
    assert [p.dport for p in release(lab, deferred(lab, lab.mta, uid=8, gid=8))] == [25]


MPTCP = r"""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
s.connect((sys.argv[1], 2600))
while True:
    s.send(b"x")
    s.recv(1)
    print("exchanged", flush=True)
    if not sys.stdin.readline():
        break
"""


def join(lab, cgroup, server):
    """An MPTCP connection to port 2600, whose far end announces another address with port 2526:
    the kernel connects there by itself. Did that SYN arrive?"""
    lab.clear()
    proc = lab.spawn([sys.executable, "-Ic", MPTCP, WORLD4], cgroup=cgroup, stdin=-1, stdout=-1)
    far, _ = server.accept()

    def exchange():     # the announcement travels with it
        far.recv(1)
        far.send(b"y")
        assert proc.stdout.readline() == b"exchanged\n"
        proc.stdin.write(b"\n")
        proc.stdin.flush()
        return lab.syns(dport=2526)
    arrived = bool(until(exchange, 2, 0.2))
    proc.kill()
    proc.wait()
    far.close()
    return arrived


def test_a_subflow_that_the_kernel_joins(lab):
    """A far end can have an MPTCP sender's kernel connect to any port: to a fenced one, only for
    whom it is open."""
    lab.conf.keys["ports"] = [25, 2526]
    for ns in (lab.host, lab.world):
        try:
            netns.sh("ip", "-n", ns, "mptcp", "limits", "set", "add_addr_accepted", "2", "subflows", "2")
        except RuntimeError as error:
            raise Skip(f"no MPTCP here: {error}")
    netns.sh("ip", "-n", lab.world, "mptcp", "endpoint", "add", EXTRA4[0], "port", "2526", "signal")

    def listen():
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
        sock.bind(("", 2600))
        sock.listen(8)
        sock.settimeout(5)
        return sock
    server = lab._closed_at_end(netns.inside(netns.path(lab.world), listen))
    assert join(lab, lab.web, server), "the way is one where nothing is fenced"
    for uplinks in ([], ["up0"]):       # by connect() alone, then by both
        lab.conf.keys["uplinks"] = uplinks
        lab.on()
        assert not join(lab, lab.web, server), uplinks
        assert join(lab, lab.mta, server), uplinks


# ---- sockets that change hands ----

REPAIR = r"""
import errno, socket, sys
s = socket.socket()
s.setsockopt(socket.IPPROTO_TCP, 19, 1)     # TCP_REPAIR
s.bind((sys.argv[1], 0))
try:
    s.connect((sys.argv[2], int(sys.argv[3])))
    print("state", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0])
except OSError as error:
    print(errno.errorcode[error.errno])
"""


def test_repaired_into_a_connection(lab):
    """TCP_REPAIR makes an established connection without a SYN; its connect() is one all the same."""
    count_on(lab, mode="yes")

    def repair(cgroup, port):
        done = lab.run([sys.executable, "-Ic", REPAIR, HOST4, WORLD4, str(port)], cgroup=cgroup)
        return (done.out + done.err).strip()
    assert repair(lab.web, 25) == "EPERM"
    assert repair(lab.web, 26) == repair(lab.mta, 25) == "state 1"


def rewriter(cgroup):
    """A connect4 program at a cgroup: 8025 becomes 25, and 8026 becomes 26."""
    port = [socket.htons(p) for p in (8025, 25, 8026, 26)]
    fd = program([(LDX32, R2 | R1 << 4, 0, 24), (JNE, R2, port[0], 2), (MOV, R2, port[1]),
                  (STX32, R1 | R2 << 4, 0, 24), (JNE, R2, port[2], 2), (MOV, R2, port[3]),
                  (STX32, R1 | R2 << 4, 0, 24), (MOV, R0, 1), (EXIT, 0, 0)], 18, 10)
    directory = os.open(str(cgroup), os.O_RDONLY)
    link, _ = tcx._bpf(tcx.BPF_LINK_CREATE, struct.pack("IIII", fd, directory, 10, 0))
    os.close(fd)
    os.close(directory)
    return link


def test_a_port_rewritten_by_another_connect_program(lab):
    """Below the fence's cgroup it runs before ours, which sees 25. Beside ours, later: connect() is
    allowed, and the packet is not."""
    count_on(lab, mode="yes")

    def connect(port):
        lab.clear()
        said = lab.connect(lab.web, "nonblock", port=port, timeout_ms=300)["errno"]
        return said, sorted({p.dport for p in lab.syns()})
    link = rewriter(lab.web)
    assert connect(8025) == ("EPERM", [])
    assert connect(8026) == ("", [26])
    os.close(link)
    link = rewriter(lab.root_path)
    assert connect(8025) == ("ETIMEDOUT", [])
    assert connect(8026) == ("", [26])
    os.close(link)
    assert counters(lab)[0] >= 2 and clear_of(lab, "probe") == {"no_role": counters(lab)[0]}
