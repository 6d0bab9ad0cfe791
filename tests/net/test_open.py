# SPDX-License-Identifier: GPL-2.0-only
"""Connections that were open before `on`: listed; ended by `on --kill`; what is allowed survives."""

import json
import os
import select
import socket
import sys

import netns
from cgroups import Cgroup, v2_root
from checks import in_force
from lab import HOST4, HOST6, WORLD4, WORLD6, until
from test_hostile_names import CGROUP, control_bytes, unescape

# Connects, says so, and then says what becomes of it: on "?" whether it still stands.
HOLDER = r"""
import errno, os, select, socket, struct, sys
dst, port, source, how = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
s = socket.socket(socket.AF_INET6 if ":" in dst else socket.AF_INET)
if source:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("", source))
if how == "syn":
    s.setblocking(False)
    assert s.connect_ex((dst, port)) == errno.EINPROGRESS
else:
    s.connect((dst, port))
if how == "shutdown":
    s.shutdown(socket.SHUT_WR)
if how == "fork" and os.fork():     # the child holds it, as somebody else
    s.close()
    os.wait()
elif how.startswith("fork"):
    os.setresgid(60, 60, 60)
print("open", flush=True)
while True:
    wanted = [0] if how == "closed" else [0, s]
    if 0 in select.select(wanted, [], [])[0]:
        if not os.read(0, 100):
            sys.exit()
        state = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        print(errno.errorcode.get(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "state %d" % state),
              flush=True)
    else:
        try:
            if not s.recv(4096) and how != "shutdown":
                how = "closed"
        except OSError as error:
            print(errno.errorcode[error.errno], flush=True)
            sys.exit()
"""


class Held:
    """A connection of a process of its own, in a cgroup and namespace."""

    def __init__(self, lab, cgroup, dst=WORLD4, port=25, source=0, how="", where="host", **who):
        self.proc = lab.spawn([sys.executable, "-Ic", HOLDER, dst, str(port), str(source), how],
                              cgroup=cgroup, where=where, stdin=-1, stdout=-1, **who)
        self.what = f"{dst}:{port} {how} of {cgroup}"
        assert self._line() == "open", self.what

    def _line(self, bound=10):
        assert select.select([self.proc.stdout], [], [], bound)[0], f"{self.what}: no word"
        return self.proc.stdout.readline().decode().strip()

    def ended(self):
        """Its holder was told at once, without asking."""
        said = self._line()
        assert said == "ECONNABORTED", f"{self.what}: {said}"

    def stands(self, state=1):
        assert not select.select([self.proc.stdout], [], [], 0)[0], f"{self.what}: {self._line()}"
        self.proc.stdin.write(b"?")
        self.proc.stdin.flush()
        said = self._line()
        assert said == f"state {state}", f"{self.what}: {said}"


class Quiet:
    """A server in the world that accepts and does no more; by default it says nothing either."""

    def __init__(self, lab, port, where="world"):
        self.sock = netns.inside(lab._netns_path(where), lambda: socket.create_server(
            ("", port), family=socket.AF_INET6, dualstack_ipv6=True))
        lab._closed_at_end(self.sock)

    def accept(self):
        self.sock.settimeout(5)
        return self.sock.accept()[0]


def answer(lab, *args):
    """`on --json` with its remarks."""
    lab.conf.write()
    done = lab.fence("--json", "on", *args)
    assert done.code == 0, done
    return json.loads(done.out)["open_connections"], done.err


def far_ends(found):
    return sorted((c["daddr"], c["dport"]) for c in found["list"])


def crowd(lab):
    """What must be found, and what must survive."""
    hostile = os.path.join(os.fsencode(lab.root_path), CGROUP)
    os.mkdir(hostile)
    lab.conf.section("allow_net", "203.0.113.0/29", ports=[587])
    lab.conf.section("exempt", lab.root + "/free")
    denied = [Held(lab, lab.web), Held(lab, lab.web, WORLD6, 465), Held(lab, hostile, port=587),
              Held(lab, lab.web, "::ffff:203.0.113.1"),
              # not the relay's port, and an address behind the relay's network
              Held(lab, lab.web, "203.0.113.2", 465), Held(lab, lab.web, "203.0.113.9", 587),
              Held(lab, lab.web, netns.GUEST_GW4, where="guest"),
              Held(lab, lab.web, "2001:db8:2::1", where="guest"),
              Held(lab, lab.web, "203.0.113.200", how="syn"),
              Held(lab, lab.mta, "203.0.113.3", uid=1001)]
    allowed = [Held(lab, lab.mta), Held(lab, lab.mta, WORLD6), Held(lab, lab.mta, uid=8),
               Held(lab, lab.mta, "::ffff:" + WORLD4), Held(lab, lab.mta, netns.GUEST_GW4, where="guest"),
               Held(lab, lab.web, "203.0.113.5", 587), Held(lab, lab.web, "::ffff:203.0.113.5", 587),
               Held(lab, lab.web, port=80), Held(lab, lab.web, WORLD6, 26),
               Held(lab, lab.web, port=2525), Held(lab, lab.cgroup("free/x")),
               # not below the fence's root
               Held(lab, v2_root())]
    lab.listen("host", [25])
    allowed += [Held(lab, lab.web, local) for local in
                ("127.0.0.1", "::1", HOST4, HOST6, "::ffff:127.0.0.1")]
    wanted = sorted([(WORLD4, 25), (WORLD6, 465), (WORLD4, 587), ("203.0.113.1", 25),
                     ("203.0.113.2", 465), ("203.0.113.9", 587), (netns.GUEST_GW4, 25),
                     ("2001:db8:2::1", 25), ("203.0.113.200", 25), ("203.0.113.3", 25)])
    return denied, allowed, wanted


def test_listed_and_left(lab):
    denied, allowed, wanted = crowd(lab)
    found, said = answer(lab)
    assert far_ends(found) == wanted and found["count"] == len(wanted), found
    assert found["ended"] == 0 and found["complete"] and found["namespaces"] >= 3, found
    assert f"{len(wanted)} connections were open before" in said and "on --kill" in said, said
    for c in found["list"]:
        assert c["pid"] in [h.proc.pid for h in denied] and not c["ended"], c
        assert c["reason"] == ("mail_user" if c["daddr"] == "203.0.113.3" else "no_role"), c
        assert c["state"] == ("SYN_SENT" if c["daddr"] == "203.0.113.200" else "ESTABLISHED"), c
    # the text, as a terminal would get it
    done = lab.fence("on")
    rows = [line.split() for line in done.out.splitlines() if "ESTABLISHED" in line]
    assert len(rows) == len(wanted) - 1, done.out
    assert f"[{WORLD6}]:465" in done.out and "203.0.113.1:25" in done.out, done.out
    for held in allowed:
        held.stands()
    for held in denied:
        held.stands(2 if held.what.startswith("203.0.113.200") else 1)


def test_hostile_cgroup_in_the_list(lab):
    crowd(lab)
    found, _ = answer(lab)
    names = [unescape(c["cgroup"]) for c in found["list"] if (c["daddr"], c["dport"]) == (WORLD4, 587)]
    assert names == [os.fsencode(lab.root) + b"/" + CGROUP], names
    done = lab.fence("on")
    assert not control_bytes(os.fsencode(done.out + done.err)), done
    row = next(line for line in done.out.splitlines() if f"{WORLD4}:587" in line)
    assert unescape(row[row.index("/"):row.rindex("uid=0")]) + b"uid=0 \\x" == names[0], row


def test_kill_ends_only_what_is_not_allowed(lab):
    denied, allowed, wanted = crowd(lab)
    found, said = answer(lab, "--kill")
    assert far_ends(found) == wanted, found
    assert found["ended"] == found["count"] == len(wanted), (found, said)
    assert all(c["ended"] for c in found["list"]), found
    for held in denied:
        held.ended()
    for held in allowed:
        held.stands()
    in_force(lab)
    # nothing is left to be ended or listed
    done = lab.fence("on", "--kill")
    assert done.code == 0 and "open connections: ended 0 of 0" in done.out, done
    assert "open_connections" not in lab.json("monitor")
    for held in allowed:
        held.stands()


def test_states_of_a_closing_connection(lab):
    """One end has closed: it still carries what the other says. A closed one is nobody's."""
    lab.conf.keys["ports"] = [25, 2526]
    server = Quiet(lab, 2526)
    fin_wait = Held(lab, lab.web, port=2526, how="shutdown")
    kept = server.accept()
    close_wait = Held(lab, lab.web, port=2526)
    server.accept().close()
    mail = Held(lab, lab.mta, port=2526, how="shutdown")
    kept_too = server.accept()
    assert until(lambda: sorted(c["state"] for c in answer(lab)[0]["list"])
                 == ["CLOSE_WAIT", "FIN_WAIT2"]), answer(lab)
    found, _ = answer(lab, "--kill")
    assert found["ended"] == found["count"] == 2, found
    fin_wait.ended()
    # its holder waits for nothing; it is told when it asks
    close_wait.proc.stdin.write(b"?")
    close_wait.proc.stdin.flush()
    assert close_wait._line() in ("EPIPE", "ECONNABORTED", "state 7")
    mail.stands(5)
    kept.close()
    kept_too.close()


def test_users_groups_and_quarantine(lab):
    lab.conf.section("allow_user", "1001", ports=[25])
    lab.conf.section("allow_group", "60")
    lab.conf.section("quarantine_user", "8")
    lab.conf.section("quarantine_cgroup", lab.root + "/quarantined")
    lab.conf.section("mail", lab.root + "/quarantined/mta")
    lab.conf.section("quarantine_net", netns.GUEST4 + "/32")
    survive = [Held(lab, lab.web, uid=1001), Held(lab, lab.web, uid=1002, gid=60),
               # the group is that of who holds it now
               Held(lab, lab.web, how="fork"), Held(lab, lab.mta)]
    end = [Held(lab, lab.web, port=587, uid=1001), Held(lab, lab.web, uid=1002, gid=61),
           # a supplementary group does not count
           Held(lab, lab.web, uid=1002, gid=61, groups=[60]), Held(lab, lab.mta, uid=8),
           Held(lab, lab.cgroup("quarantined/mta")),
           Held(lab, lab.mta, netns.GUEST_GW4, where="guest")]
    found, _ = answer(lab, "--kill")
    assert found["ended"] == found["count"] == len(end), found
    assert [c["reason"] for c in found["list"]].count("quarantine") == 3, found
    for held in end:
        held.ended()
    for held in survive:
        if "fork" not in held.what:
            held.stands()


def test_an_accepted_connection_is_no_senders(lab):
    """A visitor of a web site may come from any port."""
    lab.conf.keys["ports"] = [25, 2526]
    server = Quiet(lab, 8080, "host")
    visitor = Held(lab, v2_root(), HOST4, 8080, source=2526, where="world")
    accepted = server.accept()          # this process, outside of the fence's root
    script = ("import socket,sys\ns=socket.create_server(('',8081))\nprint('ready',flush=True)\n"
              "c=s.accept()[0]\nprint('open',flush=True)\nsys.stdin.read()")
    site = lab.spawn([sys.executable, "-Ic", script], cgroup=lab.web, stdin=-1, stdout=-1)
    assert site.stdout.readline() == b"ready\n"
    second = Held(lab, v2_root(), HOST4, 8081, source=2526, where="world")
    assert site.stdout.readline() == b"open\n"
    found, said = answer(lab, "--kill")
    assert found["count"] == 0 and found["incoming"] == 1, found
    assert "look like accepted ones" in said, said
    visitor.stands()
    second.stands()
    accepted.close()


def test_a_cgroup_that_is_gone(lab):
    """Its holder's stands for it."""
    def moved(name, to):
        old = lab.cgroup("old/" + name)
        held = Held(lab, old, "203.0.113.8")
        with open(os.path.join(to, "cgroup.procs"), "w") as f:
            f.write(str(held.proc.pid))
        os.rmdir(old.path)
        return held
    lost, mail = moved("one", lab.web), moved("two", lab.mta)
    found, _ = answer(lab)
    assert [c["cgroup"] for c in found["list"]] == [lab.web.name], found
    found, _ = answer(lab, "--kill")
    assert found["ended"] == found["count"] == 1, found
    lost.ended()
    mail.stands()


def test_many(lab):
    """More than are shown; all are ended."""
    lab.conf.keys["ports"] = [25, 2526]
    server = Quiet(lab, 2526)
    script = ("import socket,sys\nl=[socket.create_connection(('%s',2526)) for _ in range(300)]\n"
              "print('open',flush=True)\nsys.stdin.read(1)\n"
              "print(sum(s.getsockopt(socket.IPPROTO_TCP,socket.TCP_INFO,1)[0]==7 for s in l))")
    procs = [lab.spawn([sys.executable, "-Ic", script % WORLD4], cgroup=c, stdin=-1, stdout=-1)
             for c in (lab.web, lab.mta)]
    accepted = [server.accept() for _ in range(600)]
    for proc in procs:
        assert proc.stdout.readline() == b"open\n"
    lab.on()
    done = lab.fence("on")
    assert "and 280 more\n" in done.out and done.out.count("ESTABLISHED") == 20, done.out
    done = lab.fence("on", "--kill")
    assert "ended 300 of 300" in done.out, done
    counts = [proc.communicate(b"x")[0] for proc in procs]
    assert counts == [b"300\n", b"0\n"], counts
    for sock in accepted:
        sock.close()


def test_kill_goes_with_on_only(lab):
    held = Held(lab, lab.web)
    lab.conf.write()
    for args in (("monitor", "--kill"), ("off", "--kill"), ("apply", "--kill"),
                 ("on", "--kill", "--confirm")):
        done = lab.fence(*args)
        assert done.code == 2 and done.err, (args, done)
    lab.on()
    for command in ("apply", "monitor"):
        assert "open before" not in lab.fence(command).err
    held.stands()
    # with a way back, it ends them all the same
    lab.on("--kill", "--rollback", "1h")
    held.ended()
    assert Cgroup(lab.root).id()
