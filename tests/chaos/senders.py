# SPDX-License-Identifier: GPL-2.0-only
"""Who sends without a pause: hijacked sites, raw packets, a customer, and the mail server's own.

Each is a process of sender.c, which counts what it was answered in a file that is mapped here.
"""

import mmap
import os
import struct
import subprocess

import far
import netns
from lab import BUILD, HOST4, HOST6, until
from router import packet
from wires import mac

GO, PAUSE, END = 0, 1, 2
SIZE = 8 + 16 * 40
SENDER = os.path.join(BUILD, "tests", "chaos-sender")

CONNECT_WAYS = ("connect", "nonblock", "thread", "reconnect", "mptcp", "tfo-sendto", "tfo-sendmsg",
                "tfo-sendmmsg", "tfo-connect")
URING_WAYS = ("uring", "uring-async", "uring-sqpoll")
TOOLS = ("php", "nc", "curl")


class Sender:
    def __init__(self, host, name, ways, interval_us, cgroup=None, where="host", **options):
        self.name, self.ways = name, ways
        counts = f"{host.dir}/counts.{name}"
        with open(counts, "wb") as f:
            f.write(bytes(SIZE))
        os.chmod(counts, 0o666)
        with open(counts, "r+b") as f:
            self._map = mmap.mmap(f.fileno(), SIZE)
        argv = [SENDER, f"counts={counts}", f"netns={host._netns_path(where)}",
                f"ways={','.join(ways)}", f"interval_us={interval_us}"]
        if cgroup is not None:
            argv.append(f"cgroup={cgroup}")
        argv += [f"{k}={','.join(map(str, v)) if isinstance(v, (list, tuple)) else v}"
                 for k, v in options.items()]
        self.log = f"{host.dir}/sender.{name}"
        with open(self.log, "w") as err:
            self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=err, stderr=err)
        host._procs.append(self.proc)

    def order(self, what):
        struct.pack_into("I", self._map, 0, what)

    def paused(self):
        return struct.unpack_from("I", self._map, 4)[0] or self.proc.poll() is not None

    def counts(self):
        """{way: (tried, ok, eperm, other, last errno)}"""
        return {way: struct.unpack_from("5Q", self._map, 8 + 40 * i)
                for i, way in enumerate(self.ways)}

    def sums(self):
        return [sum(c) for c in zip(*self.counts().values())][:4]

    def alive(self):
        return self.proc.poll() is None


class Senders:
    """hijacked: must be denied. raw: handed in, must not arrive. allowed: must never be denied."""

    def __init__(self, host):
        self.host = host
        site, n = host.web, 1000
        self.hijacked, self.raw, self.allowed = [], [], []
        for i, to in enumerate((far.CONNECT[:1], far.CONNECT[1:], ["::ffff:" + far.CONNECT[0]])):
            n += 1
            self.hijacked.append(Sender(host, f"site{i}", CONNECT_WAYS, 20000, site, uid=n, to=to,
                                        ports=far.FENCED))
        self.hijacked.append(Sender(host, "uring", URING_WAYS, 150000, site, uid=n + 1,
                                    to=far.CONNECT, ports=far.FENCED))
        self.hijacked.append(Sender(host, "tools", TOOLS, 300000, site, uid=n + 2, to=far.CONNECT,
                                    ports=(25,)))
        # the mail server's own uid, in another place; and another uid in the mail server's place
        self.hijacked.append(Sender(host, "uid8", ("connect",), 50000, host.cgroup("web/site2"),
                                    uid=8, to=far.CONNECT, ports=far.FENCED))
        self.hijacked.append(Sender(host, "forward", ("connect",), 50000, host.mta, uid=33,
                                    to=far.CONNECT, ports=far.FENCED))
        self.raw.append(Sender(host, "raw", ("raw", "packet"), 20000, site, device="up0",
                               packets=self._frames("raw", "up0", host.host, host.world,
                                                    (HOST4, HOST6), far.RAW)))
        self.allowed.append(Sender(host, "mail", ("connect", "nonblock", "tfo-sendto"), 20000,
                                   host.mta, uid=8, to=far.MAIL, ports=far.FENCED))

    def add_customer(self, router, name="web"):
        c = router.customers[name]
        frames = self._frames(f"customer-{name}", "eth0", c.ns, None, (c.v4, c.v6), far.CUSTOMER,
                              router.mac(c.port))
        self.raw.append(Sender(self.host, f"customer-{name}", ("packet",), 20000, None,
                               netns.path(c.ns), device="eth0", packets=frames))

    def _frames(self, name, device, ns, far_ns, near, to, far_mac=None):
        far_mac = far_mac or bytes.fromhex(mac(far_ns, "up0"))
        own = bytes.fromhex(mac(ns, device))
        path = f"{self.host.dir}/frames.{name}"
        with open(path, "w") as f:
            for sport in range(40000, 40016):
                for port in far.FENCED:
                    for src, dst in zip(near, to):
                        kind = b"\x86\xdd" if ":" in src else b"\x08\x00"
                        frame = far_mac + own + kind + packet(src, dst, port)
                        f.write(frame.hex() + "\n")
        os.chmod(path, 0o644)
        return path

    def all(self):
        return self.hijacked + self.raw + self.allowed

    def pause(self):
        """Returns when nobody is in the midst of an attempt."""
        for s in self.all():
            s.order(PAUSE)
        waited = until(lambda: all(s.paused() for s in self.all()), 30)
        assert waited, [s.name for s in self.all() if not s.paused()]

    def go_on(self):
        for s in self.all():
            s.order(GO)

    def end(self):
        for s in self.all():
            s.order(END)

    def dead(self):
        return [f"{s.name}: exit {s.proc.returncode}: {open(s.log).read().strip()}"
                for s in self.all() if not s.alive()]

    def told_denied(self):
        return sum(s.sums()[2] for s in self.hijacked)

    def handed_in(self):
        return sum(s.sums()[1] for s in self.raw)
