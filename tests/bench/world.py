# SPDX-License-Identifier: GPL-2.0-only
"""The bench's own piece of the machine: private namespaces, cgroups, veth pairs.

Everything is made so that it goes away by itself: mounts and networks live in namespaces that end
with the bench, and the cgroups are removed at the end, or by the next run if this one was killed.
Nothing here knows what is measured.
"""
import contextlib
import ctypes
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

INSIDE = "SMTPFENCE_BENCH_INSIDE"
BUILT = "SMTPFENCE_BENCH_BUILT"      # where the copy was taken from
COPY = "SMTPFENCE_BENCH_COPY"
PREFIX = "smtpfence-bench-"
WEB_UID = 64001      # the sender that nobody allows; no user has to exist
FENCED_PORT = 25
OPEN_PORT = 8025
NOWHERE = "203.0.113.1"  # no route in any of our networks
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent():
    """For children: they go with the bench at once (those with another uid: by their cgroup)."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run(*argv, text=None):
    """Run a tool; its words are only shown when it fails."""
    done = subprocess.run(argv, input=text, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"bench: {' '.join(argv)[:200]}: {done.stderr.strip()[:2000]}")
    return done.stdout


def enter_private_namespaces():
    """Start this program again in a mount and a network namespace of its own (once).

    The fence's pins go to a bpffs that only we see: with the last process of the bench it is
    gone, and with it the links, whatever happened. unshare keeps /sys as it is, which `ip netns
    exec` would not.
    """
    if os.geteuid():
        sys.exit("bench: must be run as root (namespaces, cgroups, bpf)")
    if os.environ.get(INSIDE):
        return
    os.environ[INSIDE] = "1"
    _copy_build()
    os.execvp("unshare", ["unshare", "--mount", "--net", "--propagation", "private",
                          sys.executable] + sys.argv)


def _copy_build():
    """What is measured stays what it is, also when somebody builds meanwhile."""
    build = os.environ.get("BUILD") or os.path.join(os.path.dirname(__file__), "../../build")
    copy = tempfile.mkdtemp(prefix=PREFIX + "build-")
    for path in ("smtpfence", "smtpfenced", "tests/flood", "bpf/packets.bpf.o",
                 *(f"tests/bench-{name}" for name in ("connect", "gateway", "packets", "path"))):
        if os.path.exists(f"{build}/{path}"):
            os.makedirs(os.path.dirname(f"{copy}/{path}"), exist_ok=True)
            shutil.copy2(f"{build}/{path}", f"{copy}/{path}")
    os.environ.update({BUILT: os.path.abspath(build), "BUILD": copy, COPY: copy})


def find_v2_root():
    """Where cgroup v2 is mounted; on a hybrid host that is not /sys/fs/cgroup."""
    for line in open("/proc/self/mountinfo"):
        fields, _, rest = line.partition(" - ")
        if rest.split()[0] == "cgroup2" and fields.split()[3] == "/":
            return fields.split()[4]
    sys.exit("bench: cgroup v2 is not mounted")


class Cgroups:
    """Two trees alike, mta and web in each: `fenced` is where smtpfence attaches, `free` is not."""

    def __init__(self):
        self.root = find_v2_root()
        self.fenced = f"/{PREFIX}{os.getpid()}"
        self.free = self.fenced + "-free"
        self.made = 0
        self._sweep()
        for tree in self.fenced, self.free:
            for name in "", "/mta", "/web", "/senders", "/daemon":
                os.mkdir(self.dir(tree + name))

    def dir(self, path):
        return self.root + path

    def role(self, i):
        return f"{self.fenced}/r{i}"

    def make_roles(self, count):
        """At least so many role cgroups exist afterwards."""
        while self.made < count:
            os.mkdir(self.dir(self.role(self.made)))
            self.made += 1

    def remove(self):
        for tree in self.fenced, self.free:
            self._remove_tree(self.dir(tree))

    @staticmethod
    def _remove_tree(top):
        """With the processes in it, all of them ours; they take a moment to leave."""
        for _ in range(100):
            with contextlib.suppress(OSError), open(f"{top}/cgroup.kill", "w") as f:
                f.write("1")
            for path, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(path)
            if not os.path.exists(top):
                return
            time.sleep(0.05)

    def _sweep(self):
        for path in glob.glob(f"{self.root}/{PREFIX}*"):
            pid = re.search(rf"{PREFIX}(\d+)", path)
            if pid and not os.path.exists(f"/proc/{pid[1]}"):
                self._remove_tree(path)


class Networks:
    """A network per kind of rules and one far end, a veth pair from each to it.

    `plain` is the bench's own namespace (nothing and smtpfence share it: only the cgroup differs).
    """

    def __init__(self, tmp, names):
        self.far = self._make(f"{tmp}/far")
        self.files, self.addr = {}, {}
        for i, name in enumerate(names):
            own = name == "plain"
            self.files[name] = f"/proc/{os.getpid()}/ns/net" if own else self._make(f"{tmp}/{name}")
            self.addr[name] = f"198.18.{i}.2"
            self._connect(i, self.files[name])

    @staticmethod
    def _make(file):
        open(file, "w").close()
        run("unshare", f"--net={file}", "true")  # held by a mount in our namespace, no process
        return file

    def _connect(self, i, near):
        self.inside(near, "ip", "link", "add", "near", "type", "veth",
                    "peer", "name", f"far{i}", "netns", self.far)
        for net, dev, host in (near, "near", 1), (self.far, f"far{i}", 2):
            self.inside(net, "ip", "addr", "add", f"198.18.{i}.{host}/30", "dev", dev)
            self.inside(net, "ip", "link", "set", dev, "up")
            self.inside(net, "ip", "link", "set", "lo", "up")  # a REJECT's reset comes by lo
        # the neighbour's address now, not in the first sample
        self.inside(near, "ping", "-c1", "-W2", f"198.18.{i}.2", must=False)

    @staticmethod
    def inside(net, *argv, text=None, must=True):
        if must:
            return run("nsenter", f"--net={net}", *argv, text=text)
        return subprocess.run(["nsenter", f"--net={net}", *argv], capture_output=True)


class World:
    """All of it; a context manager. Another process takes it down, also after a kill -9."""

    def __enter__(self):
        self.mounted = False
        self.mount_bpffs()
        self.cgroups = Cgroups()
        self.tmp = tempfile.mkdtemp(prefix=PREFIX)
        self._start_cleaner()
        try:
            self.networks = Networks(self.tmp, ("plain", "nft", "nftset", "iptables"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def mount_bpffs(self):
        """An empty bpffs. Mounting it again instead of the old one drops every pin of ours."""
        if self.mounted:
            run("umount", "/sys/fs/bpf")
        run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
        self.mounted = True

    def _start_cleaner(self):
        alive, self.end = os.pipe()
        self.cleaner = os.fork()
        if self.cleaner:
            os.close(alive)
            return
        os.setsid()  # no terminal's signal is for it
        os.close(self.end)
        os.read(alive, 1)  # nothing is ever written: it returns when the bench has ended
        try:
            self._clean_up()
        finally:
            os._exit(0)

    def _clean_up(self):
        self.cgroups.remove()
        for path in glob.glob(f"{self.tmp}/*"):
            subprocess.run(["umount", path], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.tmp, ignore_errors=True)
        if COPY in os.environ:
            shutil.rmtree(os.environ[COPY], ignore_errors=True)

    def __exit__(self, *_):
        os.close(self.end)
        os.waitpid(self.cleaner, 0)


def _version(*argv):
    with contextlib.suppress(OSError):
        done = subprocess.run(argv, capture_output=True, text=True)
        if not done.returncode:
            return (done.stdout or done.stderr).strip().splitlines()[0]
    return "not there"


def describe_machine():
    """What somebody has to know who compares these numbers with others."""
    model = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())
    memory = re.search(r"MemTotal:\s*(\d+)", open("/proc/meminfo").read())
    load = open("/proc/loadavg").read().split()[:3]
    weak = {}
    for path in sorted(glob.glob("/sys/devices/system/cpu/vulnerabilities/*")):
        text = open(path).read().strip()
        if text.startswith("Mitigation") or text.startswith("Vulnerable"):
            weak[os.path.basename(path)] = text
    return {"kernel": os.uname().release, "cpu": model[1] if model else os.uname().machine,
            "cores": os.cpu_count(), "memory_mib": int(memory[1]) // 1024,
            "virtual": "hypervisor" in open("/proc/cpuinfo").read(),
            "mitigations": weak, "load_at_start": [float(x) for x in load],
            "date": time.strftime("%Y-%m-%d"),
            "peers": {"nftables": _version("nft", "--version"),
                      "iptables": _version("iptables", "--version"),
                      "ipset": _version("ipset", "--version"),
                      "bpftrace": _version("bpftrace", "--version"),
                      "auditd": _version("auditctl", "-v")}}
