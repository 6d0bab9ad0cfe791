# SPDX-License-Identifier: GPL-2.0-only
"""Virtual machines (QEMU, Debian's kernel, virtio on a tap) behind the gateway: a customer's and
the mail host's. What their programs see, and what of it arrived at the far end."""

import contextlib
import glob
import json
import os
import subprocess
import sys
import tempfile
import threading

import limits
import netns
from lab import WORLD4, WORLD6, Skip
from router import Frame, needle, packet, udp
from test_gateway import gateway, places, reasons
from test_gateway_ways import Sink

HERE = os.path.dirname(os.path.abspath(__file__))
VERSION = "6.12"
WAYS = ("raw", "packet", "packet past the queue", "ring", "xdp")
BULK = 16 << 20


def parts():
    """tests/vm: QEMU and kernel from Debian's packages. A skip that says what is missing."""
    sys.path.append(os.path.join(os.path.dirname(HERE), "vm"))
    import machine
    import packages
    if not os.path.exists("/dev/net/tun"):
        raise Skip("no /dev/net/tun")
    if HERE.startswith(("/tmp/", "/run/")):
        raise Skip(f"a guest has a /tmp and a /run of its own, and does not see {HERE}")
    try:
        return machine, packages.kernel(VERSION), packages.tools()
    except (packages.Unavailable, FileNotFoundError) as why:
        raise Skip(f"no QEMU or no kernel for a guest: {why}") from None


class Vm:
    """A guest on a tap of the router: 10.9.N.2 and 2001:db8:9:N::2."""

    def __init__(self, r, name, n):
        self.r, self.name, self.tap = r, name, f"cu-{name}"
        self.v4, self.gw4 = f"10.9.{n}.2", f"10.9.{n}.1"
        self.v6, self.gw6 = f"2001:db8:9:{n}::2", f"2001:db8:9:{n}::1"
        self.mac, self.said, self.other = f"02:00:00:00:09:{n:02x}", [], []
        netns._batch(r.lab.host, [f"tuntap add dev {self.tap} mode tap",
                                  f"link set {self.tap} up",
                                  f"addr add {self.gw4}/24 dev {self.tap}",
                                  f"addr add {self.gw6}/64 dev {self.tap} nodad"])

    def frame(self, data):
        kind = b"\x86\xdd" if data[0] >> 4 == 6 else b"\x08\0"
        return self.r.mac(self.tap) + bytes.fromhex(self.mac.replace(":", "")) + kind + data

    def plan(self):
        """[(way, port, family, frame)], all SYNs with a needle each."""
        self.frames = []
        for way in WAYS:
            for src, dst in ((self.v4, WORLD4), (self.v6, WORLD6)):
                for port in (25, 26):
                    seq = needle()
                    self.frames.append((way, port, src, Frame(
                        self.frame(packet(src, dst, port, seq=seq, data=b"EHLO\r\n")), seq)))
        self.last = b"MARK" + os.urandom(8)
        by = {way: [f.data.hex() for w, _, _, f in self.frames if w == way] for way in WAYS}
        return dict(v4=self.v4, v6=self.v6, gw4=self.gw4, gw6=self.gw6, frames=by,
                    web=[(a, p) for a in (WORLD4, WORLD6) for p in (80, 26)],
                    connect=[(a, p) for a in (WORLD4, WORLD6) for p in (25, 465, 587)],
                    bulk=[WORLD4 if self.name == "vmweb" else WORLD6, 8080, BULK],
                    last=self.frame(udp(self.v4, WORLD4, 9, self.last)).hex())

    def run(self, machine, kernel, tools, plan):
        """To the guest's end. machine.run() with a network, in the router's namespace."""
        image, release, base = kernel
        busybox = f"{tools}/bin/busybox"
        libraries = ":".join(glob.glob(f"{tools}/usr/lib/*-linux-gnu*")
                             + glob.glob(f"{tools}/lib/*-linux-gnu*"))
        env = {**os.environ, "LD_LIBRARY_PATH": libraries}
        script = machine._script(["/usr/bin/python3", f"{HERE}/vm_guest.py"],
                                 {"VM_GUEST": json.dumps(plan)})
        with contextlib.ExitStack() as stack:
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="smtpfence-vm-"))
            initramfs = machine._initramfs(place, base, release, busybox, script)
            share = machine._share_root(tools, place, env, stack)
            argv = machine._qemu(tools, place, image, initramfs, share, 1) + [
                "-netdev", f"tap,id=net,ifname={self.tap},script=no,downscript=no",
                "-device", f"virtio-net-pci,netdev=net,mac={self.mac},romfile="]
            proc = subprocess.Popen(["nsenter", f"--net={netns.path(self.r.lab.host)}", *argv],
                                    env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT)
            stack.callback(machine._end, proc)
            self.status = machine._follow(proc, 150, self.hear)
            if self.status is None:
                with open(f"{place}/console", errors="replace") as f:
                    self.other += f.read().splitlines()[-20:]

    def hear(self, line):
        if line.startswith("{"):
            self.said.append(json.loads(line))
        else:
            self.other.append(line)

    def connected(self):
        return {(o["address"], o["port"]): o["connected"] for o in self.said if "port" in o}


class Watch(threading.Thread):
    """Which needles came by, all the time: the far end's buffer is too small for bulk traffic."""

    def __init__(self, tap, needles):
        super().__init__(daemon=True)
        self.tap, self.needles, self.seen, self.ended = tap, needles, set(), False
        self.start()

    def run(self):
        while not self.ended:
            with contextlib.suppress(TimeoutError):
                frame, (_, _, kind, _, _) = self.tap.sock.recvfrom(65535)
                if kind != 4 and len(frame) < 200:
                    self.seen.update(n for n in self.needles if n in frame)


@limits.alone
@limits.seconds(240)
def test_virtual_machines(lab):
    machine, kernel, tools = parts()
    machine.MODULES = (*machine.MODULES, "virtio_net")
    machine.MEMORY = "1G"
    with gateway(lab) as r:
        vms = [Vm(r, "vmweb", 50), Vm(r, "vmmail", 51)]
        lab.conf.keys["mail_hosts"] = [vms[1].v4, vms[1].v6]
        lab.conf.write()
        assert lab.fence("apply").code == 0
        assert places(lab)["cu-vmweb"]["how"] == "tcx", places(lab)
        plans = [vm.plan() for vm in vms]
        watch = Watch(r.taps["world"], {f.needle for vm in vms for *_, f in vm.frames}
                      | {vm.last for vm in vms})
        sinks = [Sink(lab.world, address) for address in (WORLD4, WORLD6)]
        threads = [threading.Thread(target=vm.run, args=(machine, kernel, tools, plan))
                   for vm, plan in zip(vms, plans)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        watch.ended = True
        watch.join()
        for vm in vms:
            check(lab, vm, watch.seen)
        assert [s.size for s in sinks] == [BULK, BULK]
        assert reasons(lab)["no_role"] >= 6 + 2 * len(WAYS), reasons(lab)
        assert reasons(lab)["mail_host"] >= 6 + 2 * len(WAYS), reasons(lab)


def check(lab, vm, seen):
    may = vm.name == "vmmail"
    assert vm.status == 0, f"{vm.name}: status {vm.status}: {vm.said} {vm.other[-25:]}"
    assert vm.last in seen, f"{vm.name}: its last packet did not arrive: {vm.other[-5:]}"
    got = vm.connected()
    assert len(got) == 10, got
    for (address, port), connected in got.items():
        assert connected is (may or port not in (25, 465, 587)), f"{vm.name} to {address} {port}"
    for source in (vm.v4, vm.v6):
        assert bool(lab.syns(dport=25, src=source)) is may, source
    ways = {o["way"]: o["status"] for o in vm.said if "way" in o}
    assert ways == dict.fromkeys(WAYS, 0), f"{vm.name}: {ways} {vm.other[-10:]}"
    for way, port, source, frame in vm.frames:
        assert (frame.needle in seen) is (may or port == 26), f"{vm.name} {way} {source} to {port}"
    print(f"# {vm.name}: 16 MiB in {next(o['bulk'] for o in vm.said if 'bulk' in o):.1f} s",
          flush=True)
