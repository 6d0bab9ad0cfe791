# SPDX-License-Identifier: GPL-2.0-only
"""Destinations that are not what connect() says, and places where a quarantine can't be seen."""

import json

from checks import denied, in_force, passes
from lab import WORLD4, WORLD6

UNPRIVILEGED = dict(uid=65534, gid=65534)

# Run in the sender's cgroup: one socket with an option, one connect; prints the errno's name.
SENDER = """
import errno, json, socket, struct, sys
family, to, port, option = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
s = socket.socket(socket.AF_INET6 if family == "6" else socket.AF_INET)
s.settimeout(2)
if option.startswith("device:"):
    s.setsockopt(socket.SOL_SOCKET, 25, option[7:].encode() + b"\\0")
elif option.startswith("route:"):
    # RFC 8754: a segment routing header, two segments, the far one first
    far, near = (socket.inet_pton(socket.AF_INET6, a) for a in (to, option[6:]))
    header = struct.pack("!BBBBBBH", 0, 4, 4, 1, 1, 0, 0) + far + near
    s.setsockopt(socket.IPPROTO_IPV6, 57, header)
try:
    s.connect((to, port))
    print(json.dumps("connected"))
except OSError as e:
    print(json.dumps(errno.errorcode.get(e.errno, str(e))))
"""


def send(lab, cgroup, family, to, port, option):
    lab.clear()
    done = lab.run(["/usr/bin/python3", "-c", SENDER, family, to, str(port), option], cgroup=cgroup,
                   **UNPRIVILEGED)
    assert done.code == 0, f"{option}: {done}"
    return json.loads(done.out)


def test_loopback_through_another_interface_is_not_local(lab):
    lab.on()
    device = lab.run(["sh", "-c", "ip -o -4 addr show scope global | awk '{print $2; exit}'"])
    got = send(lab, lab.web, "4", "127.0.0.1", 25, "device:" + device.out.strip().split("@")[0])
    assert got == "EPERM", got
    assert not lab.syns(dport=25), "a SYN to 127.0.0.1 left by the uplink"
    # the neighbour: loopback itself stays open (nobody listens, so: refused, not denied)
    assert send(lab, lab.web, "4", "127.0.0.1", 25, "") in ("ECONNREFUSED", "connected")
    in_force(lab)


def test_a_routing_header_gives_no_right(lab):
    lab.on()
    got = send(lab, lab.web, "6", "::1", 25, "route:" + WORLD6)
    assert got == "EPERM", f"::1 by way of {WORLD6}: {got}"
    assert not lab.syns(dport=25)
    assert send(lab, lab.web, "6", "::1", 25, "") in ("ECONNREFUSED", "connected")
    in_force(lab)


def test_nesting_does_not_leave_a_quarantine_behind(lab):
    lab.conf.section("allow_net", WORLD4, ports=[25])
    lab.conf.section("quarantine_cgroup", lab.root + "/web")
    lab.on()
    denied(lab, lab.cgroup("web/site"))
    denied(lab, lab.cgroup("web/site" + "/n" * 34))
    passes(lab, lab.cgroup("other"))        # the relay is for everybody else
