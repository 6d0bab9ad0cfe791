# SPDX-License-Identifier: GPL-2.0-only
"""One virtual machine (QEMU, TCG): this machine's own / under another kernel.

The guest's root is the host's, read-only by virtiofs, with a throw-away overlay in memory. It runs
one command and ends; its output comes over the first serial line, the kernel's over the second.
"""

import contextlib
import glob
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
import time

import packages

HERE = os.path.dirname(os.path.abspath(__file__))
MODULES = ("virtio_pci", "virtiofs", "overlay", "veth", "dummy")
EXIT_LINE = re.compile(r"^smtpfence-vm: exit (\d+)$")
MEMORY = "2G"


def _module_files(base, release):
    """The modules' files with all that they need, each after what it needs."""
    top = f"{base}/lib/modules/{release}"
    needs = {}
    with open(f"{top}/modules.dep") as f:
        for line in f:
            name, _, rest = line.partition(":")
            needs[os.path.basename(name)[:-3].replace("-", "_")] = (name, rest.split())
    order = []
    for module in MODULES:
        if module in needs:         # else it is built in
            name, rest = needs[module]
            order += [f for f in [*reversed(rest), name] if f not in order]
    return [(os.path.basename(f), f"{top}/{f}") for f in order]


def _script(argv, environment):
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "\n".join([*lines, f"cd {shlex.quote(os.getcwd())}", f"exec {shlex.join(argv)}", ""])


def _initramfs(directory, base, release, busybox, command):
    root = f"{directory}/initramfs"
    for part in ("bin", "modules", "proc", "sys", "dev", "lower", "upper", "root"):
        os.makedirs(f"{root}/{part}")
    shutil.copy(busybox, f"{root}/bin/busybox")
    shutil.copy(f"{HERE}/init.sh", f"{root}/init")
    modules = _module_files(base, release)
    for name, path in modules:
        shutil.copy(path, f"{root}/modules/{name}")
    for name, text in (("modules/order", "".join(f"{name}\n" for name, _ in modules)),
                       ("places", f"modules={shlex.quote(base)} busybox={shlex.quote(busybox)}\n"),
                       ("command", command)):
        with open(f"{root}/{name}", "w") as f:
            f.write(text)
    names = subprocess.run(["find", "."], cwd=root, capture_output=True, check=True).stdout
    with open(f"{directory}/initramfs.cpio", "wb") as out:
        subprocess.run([busybox, "cpio", "-o", "-H", "newc"], cwd=root, input=names, stdout=out,
                       stderr=subprocess.DEVNULL, check=True)
    return f"{directory}/initramfs.cpio"


def _end(proc):
    if proc.poll() is None:
        proc.kill()
    proc.wait()


def _share_root(tools, directory, env, stack):
    """virtiofsd; it ends with the connection to its only client."""
    path = f"{directory}/root.sock"
    log = stack.enter_context(open(f"{directory}/virtiofsd.log", "wb"))
    proc = subprocess.Popen([f"{tools}/usr/lib/qemu/virtiofsd", f"--socket-path={path}",
                             "-o", "source=/,sandbox=chroot,cache=always"],
                            env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    stack.callback(_end, proc)
    end = time.monotonic() + 10
    while not os.path.exists(path):
        if proc.poll() is not None or time.monotonic() > end:
            raise packages.Unavailable("virtiofsd does not start: " +
                                       open(log.name, errors="replace").read()[-300:])
        time.sleep(0.01)
    return path


def _qemu(tools, directory, image, initramfs, sock, cpus):
    return [f"{tools}/usr/bin/qemu-system-x86_64", "-L", f"{tools}/usr/share/qemu",
            "-L", f"{tools}/usr/share/seabios", "-L", f"{tools}/usr/lib/ipxe/qemu",
            "-M", "pc", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(cpus),
            "-m", MEMORY, "-object", f"memory-backend-memfd,id=mem,size={MEMORY},share=on",
            "-numa", "node,memdev=mem", "-nodefaults", "-no-user-config", "-display", "none",
            "-no-reboot", "-kernel", image, "-initrd", initramfs, "-append",
            "console=ttyS1 panic=-1 oops=panic mitigations=off rdinit=/init",
            "-chardev", f"socket,id=fs,path={sock}",
            "-device", "vhost-user-fs-pci,chardev=fs,tag=root,queue-size=1024",
            "-device", "virtio-rng-pci", "-serial", "stdio",
            "-serial", f"file:{directory}/console"]


def _follow(guest, seconds, echo):
    """Pass the guest's lines on, until its end or ours. Returns the command's exit status."""
    status = None
    timer = threading.Timer(seconds, guest.kill)
    timer.start()
    try:
        for raw in guest.stdout:
            line = raw.decode("utf-8", "backslashreplace").rstrip("\r\n")
            found = EXIT_LINE.match(line)
            if found:
                status = int(found.group(1))
            else:
                echo(line)
        guest.wait()
    finally:
        timer.cancel()
    return status


def run(version, argv, environment, seconds=300, cpus=2, echo=print):
    """Run a command (of this machine's file system) under that kernel.

    Returns its exit status; None where the guest came to no end. `echo` gets each line at once.
    """
    image, release, base = packages.kernel(version)
    tools = packages.tools()
    busybox = f"{tools}/bin/busybox"
    libraries = ":".join(glob.glob(f"{tools}/usr/lib/*-linux-gnu*") +
                         glob.glob(f"{tools}/lib/*-linux-gnu*"))
    env = {**os.environ, "LD_LIBRARY_PATH": libraries}
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="smtpfence-vm-"))
        initramfs = _initramfs(directory, base, release, busybox, _script(argv, environment))
        sock = _share_root(tools, directory, env, stack)
        guest = subprocess.Popen(_qemu(tools, directory, image, initramfs, sock, cpus), env=env,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT)
        stack.callback(_end, guest)
        status = _follow(guest, seconds, echo)
        if status is None:
            with open(f"{directory}/console", errors="replace") as f:
                for line in f.read().splitlines()[-40:]:
                    echo(f"# console: {line}")
        return status
