# SPDX-License-Identifier: GPL-2.0-only
"""One virtual machine (QEMU, TCG): this machine's own / under another kernel.

The guest's root is the host's, or one of another architecture that lies in it (arm64.py), read-only
by virtiofs, with a throw-away overlay in memory. It runs one command and ends; its output comes
over one serial line, the kernel's over another.
"""

import contextlib
import ctypes
import glob
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import arm64
import packages

HERE = os.path.dirname(os.path.abspath(__file__))
MODULES = ("virtio_pci", "virtiofs", "overlay", "veth", "dummy")
EXIT_LINE = re.compile(r"^smtpfence-vm: exit (\d+)$")
MEMORY = "2G"
PR_SET_PDEATHSIG = 1
# What costs an emulated processor most and changes nothing of what is tested: a fifth page table
# level, strings by byte (112: rep_good), pages wiped twice, mitigations, waits for grace periods.
# no_timer_check: the kernel panics where the emulator had to wait for a core at that moment.
KERNEL_LINE = "panic=-1 oops=panic mitigations=off clearcpuid=112 init_on_alloc=0 " \
    "rcupdate.rcu_expedited=1 no_timer_check rdinit=/init"
# by architecture: the processor; where the guest's command writes; what modules this takes
MACHINES = {
    "amd64": ("x86_64", ["-M", "pc", "-cpu", "max,-la57,-erms,-fsrm"], "ttyS0", "ttyS1",
              ()),
    "arm64": ("aarch64", ["-M", "virt", "-cpu", "neoverse-n1"], "hvc0", "ttyAMA0",
              ("virtio_console",)),
}


def _module_files(base, release, modules):
    """The modules' files with all that they need, each after what it needs."""
    top = f"{base}/lib/modules/{release}"
    needs = {}
    with open(f"{top}/modules.dep") as f:
        for line in f:
            name, _, rest = line.partition(":")
            needs[os.path.basename(name)[:-3].replace("-", "_")] = (name, rest.split())
    order = []
    for module in modules:
        if module in needs:         # else it is built in
            name, rest = needs[module]
            order += [f for f in [*reversed(rest), name] if f not in order]
    return [(os.path.basename(f), f"{top}/{f}") for f in order]


def _script(argv, environment):
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "\n".join([*lines, f"cd {shlex.quote(os.getcwd())}", f"exec {shlex.join(argv)}", ""])


def _initramfs(directory, base, release, busybox, command, arch="amd64", guest_root=""):
    """guest_root: the root, where it is not the host's own; with the tests and programs in it."""
    root = f"{directory}/initramfs"
    for part in ("bin", "modules", "proc", "sys", "dev", "lower", "upper", "root"):
        os.makedirs(f"{root}/{part}")
    shutil.copy(f"{guest_root}/bin/busybox" if guest_root else busybox, f"{root}/bin/busybox")
    shutil.copy(f"{HERE}/init.sh", f"{root}/init")
    modules = _module_files(base, release, MODULES + MACHINES[arch][4])
    places = {"modules": base, "busybox": "/bin/busybox" if guest_root else busybox,
              "output": f"/dev/{MACHINES[arch][2]}", "guest_root": guest_root,
              "shared": f"{arm64.TOP} {packages.CACHE}" if guest_root else ""}
    for name, path in modules:
        shutil.copy(path, f"{root}/modules/{name}")
    for name, text in (("modules/order", "".join(f"{name}\n" for name, _ in modules)),
                       ("places", "".join(f"{k}={shlex.quote(v)}\n" for k, v in places.items())),
                       ("command", command)):
        with open(f"{root}/{name}", "w") as f:
            f.write(text)
    names = subprocess.run(["find", "."], cwd=root, capture_output=True, check=True).stdout
    with open(f"{directory}/initramfs.cpio", "wb") as out:
        subprocess.run([busybox, "cpio", "-o", "-H", "newc"], cwd=root, input=names, stdout=out,
                       stderr=subprocess.DEVNULL, check=True)
    return f"{directory}/initramfs.cpio"


def _die_with_us():
    """In the child: no emulator goes on when this process was killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(proc):
    if proc.poll() is None:
        proc.kill()
    proc.wait()


def _share_root(tools, directory, env, stack, procs=None):
    """virtiofsd (put into procs); it ends with the connection to its only client."""
    path = f"{directory}/root.sock"
    log = stack.enter_context(open(f"{directory}/virtiofsd.log", "wb"))
    proc = subprocess.Popen([f"{tools}/usr/lib/qemu/virtiofsd", f"--socket-path={path}",
                             "-o", "source=/,sandbox=chroot,cache=always"],
                            env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    stack.callback(_end, proc)
    if procs is not None:
        procs.append(proc)
    end = time.monotonic() + 10
    while not os.path.exists(path):
        if proc.poll() is not None or time.monotonic() > end:
            raise packages.Unavailable("virtiofsd does not start: " +
                                       open(log.name, errors="replace").read()[-300:])
        time.sleep(0.01)
    return path


def _qemu(tools, directory, image, initramfs, sock, cpus, arch="amd64"):
    name, machine, output, console, _ = MACHINES[arch]
    argv = [f"{tools}/usr/bin/qemu-system-{name}", "-L", f"{tools}/usr/share/qemu",
            "-L", f"{tools}/usr/share/seabios", "-L", f"{tools}/usr/lib/ipxe/qemu", *machine,
            "-accel", "tcg,thread=multi", "-smp", str(cpus),
            "-m", MEMORY, "-object", f"memory-backend-memfd,id=mem,size={MEMORY},share=on",
            "-numa", "node,memdev=mem", "-nodefaults", "-no-user-config", "-display", "none",
            "-no-reboot", "-kernel", image, "-initrd", initramfs,
            "-append", f"console={console} {KERNEL_LINE}",
            "-chardev", f"socket,id=fs,path={sock}",
            "-device", "vhost-user-fs-pci,chardev=fs,tag=root,queue-size=1024",
            "-device", "virtio-rng-pci"]
    if output == "hvc0":
        argv += ["-device", "virtio-serial-pci", "-chardev", "stdio,id=out",
                 "-device", "virtconsole,chardev=out"]
    else:
        argv += ["-serial", "stdio"]
    return argv + ["-serial", f"file:{directory}/console"]


def _cpu_seconds(procs):
    """What these processes have used so far; nothing for those that ended."""
    total = 0
    for proc in procs:
        with contextlib.suppress(OSError), open(f"/proc/{proc.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


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


def run(version, argv, environment, seconds=300, cpus=2, echo=print, meter=None):
    """Run a command (of the guest's file system) under that kernel.

    Returns its exit status; None where the guest came to no end. `echo` gets each line at once.
    `meter` gets a function that says how many seconds of CPU the guest has used so far.
    """
    image, release, base = packages.kernel(version)
    arch = packages.KERNELS[version].arch
    tools, busybox = packages.tools(arch), f"{packages.tools()}/bin/busybox"
    libraries = ":".join(glob.glob(f"{tools}/usr/lib/*-linux-gnu*") +
                         glob.glob(f"{tools}/lib/*-linux-gnu*"))
    env = {**os.environ, "LD_LIBRARY_PATH": libraries}
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="smtpfence-vm-"))
        initramfs = _initramfs(directory, base, release, busybox, _script(argv, environment), arch,
                               "" if arch == "amd64" else arm64.root())
        share = []
        sock = _share_root(tools, directory, env, stack, share)
        guest = subprocess.Popen(_qemu(tools, directory, image, initramfs, sock, cpus, arch),
                                 env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, preexec_fn=_die_with_us)
        stack.callback(_end, guest)
        if meter:
            meter(lambda: _cpu_seconds([guest, *share]))
        status = _follow(guest, seconds, echo)
        if status is None:
            with open(f"{directory}/console", errors="replace") as f:
                for line in f.read().splitlines()[-40:]:
                    echo(f"# console: {line}")
        return status
