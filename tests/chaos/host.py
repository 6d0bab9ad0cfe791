# SPDX-License-Identifier: GPL-2.0-only
"""The host under chaos: a lab (tests/net/lab.py) in a mount namespace of its own, its daemon, and
the hands that chaos has on them. What is right is said in ledger.py, not here.

In the namespace /sys/fs/bpf and /var/lib are the lab's own, so that they can be unmounted, filled
and emptied: nothing of the machine's is touched.
"""

import contextlib
import json
import mmap
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import time

import cgroups
import far
import kernel
import lab as lab_module
import netns
import tcx
from lab import BUILD, Lab, until
from logs import LogSocket

lab_module.Recorder = far.Far

FAULTS = ("malloc", "write", "fsync", "bpf", "open", "rename", "send")
CONTROL_SIZE = 8 + 8 * 4 + 8 * 8
STATE = "/var/lib/smtpfence"        # the default: a daemon with a broken file looks there
PROBE_UID = 65533
STATE_BYTES = 64 << 20


def own_mounts():
    """In a private mount namespace, before anything else. Until own_bpffs() it has no bpffs: the mail
    server's namespace is a copy of this one, and would keep ours alive when it is unmounted."""
    while any(line.split()[1] == "/sys/fs/bpf" for line in open("/proc/self/mounts")):
        subprocess.run(["umount", "-l", "/sys/fs/bpf"], check=True, timeout=10)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m,mode=755", "chaos", "/var/lib"],
                   check=True, timeout=10)


def own_bpffs():
    subprocess.run(["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"], check=True, timeout=10)
    guard_the_machine()


def guard_the_machine():
    """Where the defaults of a policy without places would be pinned there is a dead end."""
    if not os.path.lexists("/sys/fs/bpf/smtpfence"):
        os.symlink("/proc/nowhere", "/sys/fs/bpf/smtpfence")


def machines_own():
    """No fence at this machine's own root, but what stood there before us."""
    return kernel.attached_programs(cgroups.v2_root())


class Control:
    """What faults.c does to who has it loaded."""

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as f:
            f.write(bytes(CONTROL_SIZE))
        with open(path, "r+b") as f:
            self._map = mmap.mmap(f.fileno(), CONTROL_SIZE)

    def fail(self, **per_million):
        struct.pack_into("8I", self._map, 8, *[per_million.get(k, 0) for k in FAULTS], 0)

    def set_clock(self, seconds):
        struct.pack_into("q", self._map, 0, seconds)

    def hits(self):
        return dict(zip(FAULTS, struct.unpack_from("8Q", self._map, 40)))


class Host(Lab):
    def __init__(self):
        super().__init__(world_ports=None)
        self.proc = None            # the daemon
        self.died = []              # of itself: (when, exit status, what chaos did to it then)
        self.crashed = []           # commands that ended by a signal of their own
        self.starts = 0
        self.trouble = ""           # what is being done to the daemon
        self.old_lines = []         # of syslog sockets that went

    def _set_up(self):
        super()._set_up()
        os.chdir(self.dir)          # for cores
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.state_dir = STATE
        os.makedirs(STATE)
        netns.sh("mount", "-t", "tmpfs", "-o", f"size={STATE_BYTES},mode=755", "chaos", STATE)
        binaries = f"{self.dir}/bin"
        os.makedirs(binaries)
        for name in ("smtpfence", "smtpfenced"):        # others build while this runs
            shutil.copy2(f"{BUILD}/{name}", binaries)
        lab_module.BUILD = binaries
        self.daemon_control = Control(f"{self.dir}/control.daemon")
        self.command_control = Control(f"{self.dir}/control.command")
        for pair in (far.CONNECT, far.RAW, far.CUSTOMER, far.STORM, far.MAIL, far.REMADE):
            self._closed_at_end(far.Greeters(self._netns_path("world"), pair))
        self.conf.keys["state_dir"] = STATE

    # ---- commands ----

    def environment(self, control):
        return {**os.environ, "CHAOS_CONTROL": control.path,
                "LD_PRELOAD": os.path.join(BUILD, "tests", "chaos-faults.so")}

    def command(self, *args, before=(), timeout=60):
        """A smtpfence command with whatever faults are on: Result. A crash is kept."""
        done = self.run([*before, *self.fence_argv(*args)], timeout=timeout,
                        env=self.environment(self.command_control))
        self.note_crash(args, done.code, done.err)
        return done

    def note_crash(self, args, code, err=""):
        if code in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE):
            self.crashed.append(f"{' '.join(args)}: signal {-code} {err[-300:]}{self._core()}")

    def start_command(self, *args, **popen):
        return self.spawn(self.fence_argv(*args), stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, env=self.environment(self.command_control),
                          **popen)

    def ask_status(self):
        """(exit status, its JSON as text), without faults."""
        done = self.run(self.fence_argv("--json", "status"))
        return done.code, done.out

    def whole(self):
        return self.ask_status()[0] == 0

    # ---- the daemon ----

    def daemon_start(self, before=(), wait=True, env=None):
        """Popen, or None where it ended before it was ready. It is self.proc while it lives."""
        ready = f"{self.dir}/notify.{self.starts}"
        self.starts += 1
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, \
                open(f"{self.dir}/daemon.err", "ab") as err:
            sock.bind(ready)
            sock.settimeout(0.05)
            self.proc = self.spawn(
                [*before, *self.daemon_argv()], stdout=subprocess.DEVNULL, stderr=err,
                env={**self.environment(self.daemon_control), "NOTIFY_SOCKET": ready, **(env or {})})
            end = time.monotonic() + 20
            while wait and self.proc.poll() is None and time.monotonic() < end:
                try:
                    if b"READY=1" in sock.recv(4096):
                        break
                except TimeoutError:
                    pass
            os.unlink(ready)
        return self.proc if self.proc.poll() is None else None

    def daemon_lives(self):
        return self.proc is not None and self.proc.poll() is None

    def daemon_note(self, why):
        """If it ended of itself, keep that it did, and in what trouble."""
        if self.proc is not None and self.proc.poll() is not None:
            self.died.append((time.time(), self.proc.returncode, why + self._core()))
            self._forget()

    def _whose(self, core):
        with open(core, "rb") as f:
            return f"{self.dir}/bin/" + ("smtpfenced" if b"/smtpfenced" in f.read() else "smtpfence")

    def _core(self):
        """Where it crashed, if it did and gdb is here to say."""
        core, gdb = f"{self.dir}/core", shutil.which("gdb")
        if not os.path.exists(core):
            return ""
        done = subprocess.run([gdb, "-batch", "-ex", "bt", self._whose(core), core],
                              capture_output=True, text=True, timeout=60) if gdb else None
        os.unlink(core)
        return " " + " ".join(l for l in done.stdout.splitlines() if l.startswith("#")) if done else ""

    def _forget(self):
        if self.proc in self._procs:
            self._procs.remove(self.proc)
        self.proc = None

    def daemon_end(self, how=signal.SIGTERM, why="killed"):
        if self.proc is None:
            return None
        if self.proc.poll() is not None:
            self.daemon_note(why)
            return None
        self.proc.send_signal(signal.SIGCONT)
        self.proc.send_signal(how)
        try:
            code = self.proc.wait(20)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
            code = "hung"
        self._forget()
        if how == signal.SIGTERM and code != 0:
            self.died.append((time.time(), code, f"{why}, by SIGTERM"))
        return code

    def daemon_sound(self):
        """A daemon in good health, started anew where there is none. Waits until all is whole."""
        self.daemon_control.fail()
        self.daemon_note(self.trouble or "left by the step before")
        self.trouble = ""
        if not self.daemon_lives() and not self.daemon_start():
            self.daemon_note("started in good health")
            raise AssertionError(f"the daemon does not start: {self.daemon_words()}")
        return self.proc

    def daemon_words(self):
        with open(f"{self.dir}/daemon.err", errors="replace") as f:
            return f.read()[-1500:]

    # ---- syslog ----

    def syslog_off(self):
        self.old_lines += self.log.lines()
        self.log.close()
        self._closing.remove(self.log)
        self.log = None

    def syslog_on(self):
        self.log = self._closed_at_end(LogSocket(self.log_path))

    def lines(self):
        return self.old_lines + (self.log.lines() if self.log else [])

    # ---- what the kernel holds of ours ----

    def attached(self):
        """(place, program's name) of all of ours: by the places, whatever pins and maps say."""
        found = [("cgroup", name) for _, name in kernel.attached_programs(self.root_path)]
        for interface in ("up0", "cu-web"):
            with contextlib.suppress(RuntimeError):     # one that was just exchanged
                found += [(interface, p["name"]) for p in tcx.programs(self.host, interface)]
        return sorted(f for f in found if f[1].startswith("smtpfence"))

    def map_ids(self):
        ids = set()
        for path in kernel.pins(self):
            if "/maps/" in path:
                ids.add(kernel.bpftool("map", "show", "pinned", path)["id"])
        return ids

    def links(self):
        """Of the cgroup and the interfaces, with their pins and holders: for the diary."""
        return [{k: v for k, v in link.items() if k in ("id", "type", "prog_id", "attach_type",
                                                        "pinned", "pids", "ifindex")}
                for link in kernel.bpftool("-f", "link", "show")
                if link.get("cgroup_id") == os.stat(self.root_path).st_ino
                or link.get("type") == "tcx"]

    def status_counters(self):
        return json.loads(self.ask_status()[1])["counters"]

    def probes_denied(self):
        """Of `on` and `test`: counted with the others where a failing call kept them unmarked."""
        shown = kernel.bpftool("map", "dump", "pinned", kernel.map_pin(self, "denials"))
        return sum(_number(e["value"][:8]) for e in shown if _number(e["key"][8:12]) == PROBE_UID)


def _number(texts):
    return int.from_bytes(bytes(int(t, 16) for t in texts), "little")


def shown(pid):
    """{"rss", "pss" (KiB), "fds", "threads"} of a process."""
    out = {"fds": len(os.listdir(f"/proc/{pid}/fd"))}
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmRSS"):
                out["rss"] = int(line.split()[1])
            elif line.startswith("Threads"):
                out["threads"] = int(line.split()[1])
    with open(f"/proc/{pid}/smaps_rollup") as f:
        out["pss"] = next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return out


def steady(pid):
    """The least of many, over two of its looks: at work it holds more for a moment."""
    seen = [shown(pid)]
    until(lambda: seen.append(shown(pid)), 4.5, 0.15)
    return {k: min(one[k] for one in seen) for k in seen[0]}
