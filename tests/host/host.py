# SPDX-License-Identifier: GPL-2.0-only
"""A whole host in a virtual machine (QEMU, TCG): `with Host(...) as host: host.run("id")`.

Its disk is image.py's, what is written to it lasts over reboots and goes with the machine. Its wire
ends in the far end's network namespace (far.py). Commands go to agent.py in it.
"""

import collections
import contextlib
import glob
import json
import os
import socket
import subprocess
import time

import image            # first: it finds tests/vm
import machine
import packages

HERE = os.path.dirname(os.path.abspath(__file__))
MODULES = ("virtio_pci", "virtio_blk", "virtio_rng", "ext4")
UNUSED = "kvm_amd,kvm,ata_piix,powernow_k8,aesni_intel,i2c_piix4"   # seconds each, by udev
MEMORY, CPUS = "2G", 2
SLOW = 600              # seconds of QEMU's processor time that anything may take
PATIENCE = 4            # and so many times as much by the clock, on a machine that others use
Result = collections.namedtuple("Result", "code out err")


class Gone(Exception):
    """The machine ended, or says nothing any more."""


def until(condition, what, bound=SLOW, every=0.5):
    """The condition's first true value; a failure that says what was waited for."""
    end = time.monotonic() + bound
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {bound} s for {what}")
        time.sleep(every)


def _initramfs(directory, release, base, busybox):
    root = f"{directory}/initramfs"
    for part in ("bin", "modules", "dev", "root"):
        os.makedirs(f"{root}/{part}")
    modules = machine._module_files(base, release, MODULES)
    for source, target in [(busybox, "bin/busybox"), (f"{HERE}/init.sh", "init"),
                           *((path, f"modules/{name}") for name, path in modules)]:
        with open(source, "rb") as f, open(f"{root}/{target}", "wb") as out:
            out.write(f.read())
        os.chmod(f"{root}/{target}", 0o755)
    with open(f"{root}/modules/order", "w") as f:
        f.writelines(f"{name}\n" for name, _ in modules)
    names = subprocess.run(["find", "."], cwd=root, capture_output=True, check=True).stdout
    with open(f"{directory}/initramfs.cpio", "wb") as out:
        subprocess.run([busybox, "cpio", "-o", "-H", "newc"], cwd=root, input=names, stdout=out,
                       stderr=subprocess.DEVNULL, check=True)
    return f"{directory}/initramfs.cpio"


def _environment(tools):
    libraries = glob.glob(f"{tools}/usr/lib/*-linux-gnu*") + glob.glob(f"{tools}/lib/*-linux-gnu*")
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}


class Host:
    def __init__(self, directory, far, work, kernel="6.1"):
        """work: a directory that the guest sees at /mnt, read-only."""
        self.directory, self.far = directory, far
        self.console = f"{directory}/console"
        self._proc = self._sock = None
        self._buffer = b""
        disk, kernel_image, release, base = image.disk(kernel)
        tools = packages.tools()
        drive = f"{directory}/work.ext4"
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d", work,
                        drive, "512M"], check=True, stdout=subprocess.DEVNULL)
        initramfs = _initramfs(directory, release, base, f"{tools}/bin/busybox")
        self._argv = far.command([
            f"{tools}/usr/bin/qemu-system-x86_64",
            "-L", f"{tools}/usr/share/qemu", "-L", f"{tools}/usr/share/seabios",
            "-L", f"{tools}/usr/lib/ipxe/qemu",
            *machine.MACHINES["amd64"][1], "-accel", "tcg,thread=multi", "-smp", str(CPUS),
            "-m", MEMORY, "-nodefaults", "-no-user-config", "-display", "none",
            "-kernel", kernel_image, "-initrd", initramfs, "-append",
            f"rw console=ttyS0 {machine.KERNEL_LINE} net.ifnames=0 systemd.show_status=0 "
            f"modprobe.blacklist={UNUSED}",
            "-drive", f"file={disk},format=raw,if=virtio,snapshot=on,cache=unsafe",
            "-drive", f"file={drive},format=raw,if=virtio,readonly=on",
            "-netdev", f"tap,id=net,ifname={far.TAP},script=no,downscript=no",
            "-device", "virtio-net-pci,netdev=net,romfile=",
            "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,path={directory}/agent,server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=agent",
            "-serial", f"file:{self.console}"])
        self._env = {**_environment(tools), "TMPDIR": directory}    # the disk's overlay

    def __enter__(self):
        with open(f"{self.directory}/qemu.log", "wb") as log:
            self._proc = subprocess.Popen(self._argv, env=self._env, stdin=subprocess.DEVNULL,
                                          stdout=log, stderr=log)
        try:
            agent = f"{self.directory}/agent"
            until(lambda: self._proc.poll() is not None or os.path.exists(agent), "QEMU's socket")
            self._sock = socket.socket(socket.AF_UNIX)
            self._sock.connect(agent)
            self.boot_id = self._hello()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self._proc and self._proc.poll() is None:
            self._proc.kill()
        if self._proc:
            self._proc.wait()
        if self._sock:
            self._sock.close()

    # ---- the agent ----

    def _line(self):
        end, used = time.monotonic() + SLOW * PATIENCE, self.cpu_seconds()
        while b"\n" not in self._buffer:
            self._sock.settimeout(5)
            try:
                data = self._sock.recv(1 << 20)
            except TimeoutError:
                if time.monotonic() < end and self.cpu_seconds() < used + SLOW:
                    continue
                raise Gone(f"the guest says nothing any more: {self.tail()}") from None
            if not data:
                raise Gone(f"the machine ended: {self.tail()}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        with contextlib.suppress(ValueError):
            return json.loads(line)
        return {}

    def _hello(self, earlier=None):
        """Until an agent of another boot than the earlier one is there."""
        while True:
            boot = self._line().get("hello")
            if boot and boot != earlier:
                return boot

    def _ask(self, **request):
        self._sock.settimeout(SLOW)
        self._sock.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = self._line()
            if "code" in answer:
                return Result(answer["code"], answer["out"], answer["err"])

    def cpu_seconds(self):
        return machine._cpu_seconds([self._proc])

    def tail(self):
        with open(self.console, errors="replace") as f:
            return " | ".join(f.read().splitlines()[-8:])

    # ---- what tests call ----

    def run(self, *argv, input="", seconds=SLOW * PATIENCE, uid=0):
        """A command (one string: the shell's) to its end, by root in the agent's cgroup."""
        if len(argv) == 1:
            argv = ("/bin/sh", "-c", argv[0])
        return self._ask(argv=argv, input=input, seconds=seconds, uid=uid)

    def must(self, *argv, **kwargs):
        """Likewise, and it has to succeed. Returns its output."""
        done = self.run(*argv, **kwargs)
        if done.code:
            words = (done.out + done.err)[-600:]
            raise AssertionError(f"{' '.join(argv)}: exit {done.code}: {words}")
        return done.out

    def write(self, path, text, mode=0o644):
        done = self._ask(write=path, text=text, mode=mode)
        if done.code:
            raise AssertionError(f"{path}: {done.err}")

    def json(self, *argv, codes=(0,)):
        done = self.run(*argv)
        if done.code not in codes:
            raise AssertionError(f"{' '.join(argv)}: exit {done.code}: {done.out}{done.err}")
        return json.loads(done.out)

    def show(self, unit, *properties):
        """systemd's properties of a unit, as texts."""
        text = self.must("systemctl", "show", unit, *(f"-p{name}" for name in properties))
        found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        return [found.get(name, "") for name in properties]

    def reboot(self):
        self.run("systemctl reboot")
        self.boot_id = self._hello(self.boot_id)

    def settle(self):
        """What left the guest before this call is recorded when it returns."""
        self.far.settle(lambda token: self.must(
            "/usr/bin/python3", "-c",
            "import socket,sys; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
            f".sendto(bytes.fromhex(sys.argv[1]), ('{self.far.MAIL4}', 9))", token.hex()))
