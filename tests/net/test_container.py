# SPDX-License-Identifier: GPL-2.0-only
"""A real container runtime behind the gateway: podman with its default bridge (netavark), all of it
in the lab's network namespace and in mounts of its own. A mail container (Postfix) sends, a web
container serves, and sends no mail.

Needs Debian's podman, crun, netavark and iptables; the containers' root is this machine's own under
an overlay, with Postfix's packages unpacked into it (fetch_mta.sh), so that no image is fetched.
"""

import contextlib
import json
import os
import resource
import shutil
import subprocess
import textwrap

import limits
import netns
from cgroups import v2_root
from census import source
from lab import HOST4, WORLD4, Lab, Skip
from mta import Postfix, Unavailable, wait_for
from netns import EXTRA4
from router import needle, packet
from sink import Sink
from test_gateway import places, reasons

HERE = os.path.dirname(os.path.abspath(__file__))
MAIL4, WEB4 = "10.88.0.25", "10.88.0.80"
FAR = EXTRA4[0]         # where only the web container tries to send
PREPARE = """
    set -e
    mount -t cgroup2 none /sys/fs/cgroup        # podman knows no hybrid hierarchies
    mount -t tmpfs -o mode=755 podman /run      # its namespaces
    mount -t tmpfs podman /dev/shm              # its locks
    mkdir -p /run/netns "$1"
    mount -t tmpfs podman "$1"
"""
TRY = textwrap.dedent("""
    import json, os, socket, sys
    sys.path[:0] = [sys.argv[1]]
    import raw_sender
    found = {}
    for port in (25, 465, 587, 80):
        try:
            with socket.create_connection((sys.argv[2], port), 1.0):
                found[port] = True
        except OSError:
            found[port] = False
    packets = [bytes.fromhex(line) for line in sys.stdin]
    raw_sender.by_raw([bytes(12) + b"\\x08\\0" + p for p in packets], "eth0")
    print(json.dumps(found))
""")


def needs_podman():
    missing = [name for name, program in (
        ("podman", "podman"), ("crun", "crun"), ("iptables", "iptables"),
        ("netavark", "/usr/lib/podman/netavark")) if not shutil.which(program)]
    if missing:
        raise Skip(f"not installed: {', '.join(missing)}")
    if HERE.startswith(("/tmp/", "/run/")):
        raise Skip(f"a container has a /tmp and a /run of its own, and does not see {HERE}")


class Podman:
    """podman in the mount namespace of a mail server's private root, in the lab's network."""

    def __init__(self, lab, mta, cgroup):
        self.lab, self.mta, self.cgroup = lab, mta, cgroup
        self.place = f"{mta.root._base}/podman"
        self._enter(["sh", "-c", PREPARE, "sh", self.place])

    def _enter(self, argv, text="", check=True):
        done = subprocess.run(
            ["/bin/sh", "-c", 'echo 0 >"$1/cgroup.procs" && shift && exec "$@"', "sh", self.cgroup,
             "nsenter", f"--target={self.mta.root._holder.pid}", "--mount",
             f"--net={netns.path(self.lab.host)}", *argv],
            input=text, capture_output=True, text=True, timeout=60)
        if check and done.returncode:
            raise AssertionError(f"{argv[0]} {argv[-3:]}: exit {done.returncode}: "
                                 f"{done.stderr.strip()[-1500:]}")
        return done

    def __call__(self, *argv, **options):
        return self._enter(["podman", "--root", f"{self.place}/root", "--runroot",
                            f"{self.place}/run", "--tmpdir", f"{self.place}/tmp",
                            "--cgroup-manager=cgroupfs", "--events-backend=none", *argv], **options)

    def run(self, name, address, *argv, options=()):
        """In the background; no cgroup of its own, for the machine's v2 hierarchy has no
        controllers. Limits as they are: raising them takes CAP_SYS_RESOURCE."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self("run", "-d", "--name", name, "--network", "podman", "--ip", address,
             "--cgroups=disabled", "--ulimit", f"nofile={hard}:{hard}", "--ulimit",
             "nproc=4096:4096", "--no-hosts", "--dns=none", *options, "--rootfs",
             self.mta.root._mounted, *argv)


@contextlib.contextmanager
def containers():
    needs_podman()
    try:
        Postfix.fetch()
    except Unavailable as why:
        raise Skip(str(why)) from None
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab(world_ports=(80, 465, 587)))
        sink = stack.enter_context(Sink(netns.path(lab.world), [WORLD4, FAR]))
        # outside of the process fence: what stops them is the gateway's
        cgroup = f"{v2_root()}/smtpfence-test-{lab.id}-podman"
        os.makedirs(cgroup)
        mta = Postfix(cgroup, netns.path(lab.host), {"four.test": WORLD4})
        stack.callback(mta.close)
        try:
            podman = Podman(lab, mta, cgroup)
            stack.callback(lambda: podman("rm", "-f", "-t", "0", "-a", check=False))
            podman("info")
        except AssertionError as why:
            raise Skip(f"podman does not run here: {why}") from None
        yield lab, sink, mta, podman


@limits.seconds(120)
def test_podman_web_and_mail():
    with containers() as (lab, sink, mta, podman):
        lab.conf.keys.update(uplinks=["up0"], customers=["veth*"], mail_hosts=[MAIL4])
        lab.on()
        podman.run("mail", MAIL4, "postfix", "start-fg")
        podman.run("web", WEB4, "python3", "-m", "http.server", "--directory", "/usr/share/doc",
                   "8000", options=("-p", "8088:8000", "--cap-add", "NET_RAW"))
        assert lab.fence("apply").code == 0     # the daemon's, where it runs
        fenced = places(lab)
        assert len(fenced) == 2 and {o["how"] for o in fenced.values()} <= {"tcx", "clsact"}, fenced
        mail_is_sent(sink, mta, podman)
        web_sends_none(lab, sink, podman)
        web_serves(lab)
        row = source(lab, MAIL4)
        assert row["fenced_syn"] >= 1 and row["answered"] >= 1, row
        assert source(lab, WEB4)["fenced_syn"] >= 3
        # and it was the fence: off, the same packet leaves
        assert lab.fence("off").code == 0
        assert web_tries(podman, WORLD4, [])["25"]


def mail_is_sent(sink, mta, podman):
    wait_for(lambda: "daemon started" in mta.log(), lambda: f"Postfix to start: {mta.log()}")
    podman("exec", "-i", "mail", "/usr/sbin/sendmail", "-t", "-i",
           text="From: root@mta.test\nTo: someone@four.test\nSubject: x\n\nfrom-a-container\n")
    message = sink.wait("from-a-container", 20)
    assert message and message["peer"] == HOST4, f"{sink.messages} {mta.log()[-1500:]}"


def web_tries(podman, address, packets):
    said = podman("exec", "-i", "web", "python3", "-c", TRY, HERE, address,
                  text="".join(p.hex() + "\n" for p in packets))
    return json.loads(said.stdout)


def web_sends_none(lab, sink, podman):
    before = reasons(lab).get("no_role", 0)
    lab.clear()
    raw = [packet(WEB4, FAR, port, seq=needle()) for port in (25, 26)]
    got = web_tries(podman, FAR, raw)
    assert got == {"25": False, "465": False, "587": False, "80": True}, got
    assert not lab.syns(dport=25) and not lab.syns(dport=587)
    assert len(lab.syns(dport=26)) == 1, "raw sockets work, but for mail"
    assert reasons(lab)["no_role"] >= before + 4, reasons(lab)
    assert not [m for m in sink.messages if m["peer"] != HOST4]


def web_serves(lab):
    """Through podman's own port mapping, as its visitors come."""
    done = lab.run(["curl", "-sS", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}",
                    f"http://{HOST4}:8088/"], where="world")
    assert done.out == "200", done
