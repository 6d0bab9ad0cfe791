# SPDX-License-Identifier: GPL-2.0-only
"""A throw-away host with a world around it: `with Lab() as lab:`.

Three network namespaces (netns.py), a cgroup root of its own (cgroups.py), a configuration of its
own (conf.py), a recorder and servers in the world (wire.py), a syslog socket (logs.py). All of it
is named after this process, and is removed at the end, also on failure (leftovers.py).
A lab says nothing of what is right: that is checks.py and the tests.
"""

import collections
import json
import os
import socket
import subprocess
import time
import unittest

import leftovers
import netns
from cgroups import Cgroup, v2_root
from conf import Config
from logs import LogSocket, Rsyslogd
from netns import HOST4, HOST6, WORLD4, WORLD6  # noqa: F401 - for the tests
from wire import Listeners, Recorder

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("SMTPFENCE_BUILD", os.path.join(TOP, "build"))
CLIENT = os.path.join(BUILD, "tests", "client")
WORLD_PORTS = (25, 465, 587, 24, 26, 80, 2525)

Skip = unittest.SkipTest
Result = collections.namedtuple("Result", "code out err")


def needs(*paths):
    """Skip the test where the build has not made these."""
    for path in paths:
        if not os.path.exists(path):
            raise Skip(f"{os.path.relpath(path, TOP)} is not built")


def until(condition, bound=5.0, every=0.02):
    """The condition's first true value, or its last one when the time is up."""
    end = time.monotonic() + bound
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(every)


def _told_ready(sock, proc):
    if proc.poll() is not None:
        raise AssertionError(f"smtpfenced ended at once, exit {proc.returncode}")
    try:
        return b"READY=1" in sock.recv(4096)
    except TimeoutError:
        return False


class Lab:
    def __init__(self, world_ports=WORLD_PORTS, log_socket=True):
        """log_socket=False leaves the path free for lab.rsyslogd()."""
        self.id = os.getpid()
        self.name = f"smtpfence-test-{self.id}"
        self.dir = f"/tmp/{self.name}"
        self.root = f"/{self.name}"
        self.pin_dir = f"/sys/fs/bpf/{self.name}"
        self.state_dir = f"{self.dir}/state"
        self.managed_file = f"{self.dir}/managed.conf"
        self.log_path = f"{self.dir}/log"
        self.host, self.world, self.guest = (f"sf{x}-{self.id}" for x in "AWC")
        self._world_ports = world_ports
        self._want_log_socket = log_socket
        self._closing = []
        self._procs = []
        self.log = None

    # ---- life ----

    def __enter__(self):
        if os.geteuid():
            raise Skip("needs root: network namespaces and cgroups")
        if not v2_root():
            raise Skip("needs a cgroup v2 hierarchy")
        needs(CLIENT)
        try:
            self._set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _set_up(self):
        leftovers.remove(self.id)       # an earlier lab of this process, ended badly
        os.makedirs(self.state_dir)
        os.chmod(self.dir, 0o755)
        netns.make(self.host, self.world, self.guest)
        self.recorder = self._closed_at_end(Recorder(netns.path(self.world)))
        if self._world_ports:
            self.listen("world", self._world_ports)
        if self._want_log_socket:
            self.log = self._closed_at_end(LogSocket(self.log_path))
        self.root_path = Cgroup(self.root).make().path
        self.mta = self.cgroup("mta")
        self.web = self.cgroup("web/site1")
        self.conf = Config(
            f"{self.dir}/smtpfence.conf",
            cgroup_root=self.root, pin_dir=self.pin_dir, managed_file=self.managed_file,
            state_dir=self.state_dir, syslog_socket=self.log_path, FW_OUTPUT_MTA="yes",
            ports=[25, 465, 587], watch_ports=[2525], detect_mail=False)
        self.conf.section("mail", self.mta.name, users=["root", "mail"])
        self.conf.write()

    def __exit__(self, *_):
        try:
            for proc in self._procs:
                if proc.poll() is None:
                    proc.kill()
                    proc.wait()
            while self._closing:
                self._closing.pop().close()
        finally:
            leftovers.remove(self.id)

    def _closed_at_end(self, thing):
        self._closing.append(thing)
        return thing

    # ---- places and processes ----

    def cgroup(self, name):
        """Make a cgroup below the lab's root; name as "web/site1"."""
        return Cgroup(f"{self.root}/{name}").make()

    def _netns_path(self, where):
        name = {"host": self.host, "world": self.world, "guest": self.guest}.get(where, where)
        return name if "/" in name else netns.path(name)

    def _argv(self, argv, cgroup, where, uid, gid, groups, cwd, comm):
        options = []
        for option, value in (("cgroup", cgroup), ("uid", uid), ("gid", gid), ("cwd", cwd),
                              ("comm", comm), ("groups", groups and ",".join(map(str, groups)))):
            if value is not None:
                options += [f"--{option}", os.fsencode(value if isinstance(value, (str, bytes))
                                                       else str(value))]
        if where:
            options += ["--netns", self._netns_path(where)]
        return [CLIENT, "exec", *options, "--", *argv]

    def spawn(self, argv, cgroup=None, where="host", uid=None, gid=None, groups=None, cwd=None,
              comm=None, **popen):
        """A process that enters cgroup and namespace before anything else; killed at the end."""
        popen.setdefault("stdin", subprocess.DEVNULL)
        argv = self._argv(argv, cgroup, where, uid, gid, groups, cwd, comm)
        proc = subprocess.Popen(argv, **popen)
        self._procs.append(proc)
        return proc

    def run(self, argv, timeout=30, input=None, **kwargs):
        """Likewise, but to its end. Returns Result(code, out, err), text."""
        proc = self.spawn(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          errors="backslashreplace",
                          stdin=subprocess.DEVNULL if input is None else subprocess.PIPE, **kwargs)
        try:
            out, err = proc.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired:
            proc.kill()
            out, err = proc.communicate()
            raise AssertionError(f"{argv[0]} did not end in {timeout} s: {out} {err}")
        finally:
            self._procs.remove(proc)
        return Result(proc.returncode, out, err)

    # ---- the fence ----

    def hosts(self, table):
        """The fence's programs, and nobody else, resolve these names from now on."""
        with open(f"{self.dir}/hosts", "w") as f:
            f.writelines(f"{address} {name}\n" for name, address in table.items())
        with open(f"{self.dir}/resolv.conf", "w") as f:
            f.write("nameserver 127.0.0.1\n")      # nobody: other names fail at once

    def user(self, name, uid):
        """For the fence's programs this uid has another name from now on; None: it has none."""
        with open("/etc/passwd") as f:
            lines = [line for line in f if line.split(":")[2] != str(uid)]
        with open(f"{self.dir}/passwd", "w") as f:      # in place: it may be mounted
            f.writelines(lines + [f"{name}:x:{uid}:{uid}::/:/bin/sh\n"] * bool(name))

    def _with_files(self, argv):
        # bind mounts in a mount namespace of its own; the host's files stay as they are
        if not any(os.path.exists(f"{self.dir}/{name}") for name in ("hosts", "passwd")):
            return argv
        script = ('for f in hosts resolv.conf passwd; do [ ! -e /etc/$f ] || [ ! -e "$0/$f" ] ||'
                  ' mount --bind "$0/$f" /etc/$f || exit 1; done; exec "$@"')
        return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, self.dir,
                *argv]

    def fence_argv(self, *args):
        return self._with_files([f"{BUILD}/smtpfence", "--config", self.conf.file, *args])

    def fence(self, *args, **kwargs):
        """Run a smtpfence command in the host's namespace. Returns Result(code, out, err)."""
        needs(f"{BUILD}/smtpfence")
        return self.run(self.fence_argv(*args), **kwargs)

    def on(self, *args):
        """Write the configuration, turn the fence on, and insist that it worked."""
        self.conf.write()
        done = self.fence("on", *args)
        if done.code:
            raise AssertionError(f"smtpfence on: exit {done.code}: {done.out}{done.err}")
        return done

    def json(self, *args, codes=(0,)):
        done = self.fence("--json", *args)
        if done.code not in codes:
            raise AssertionError(f"smtpfence {args}: exit {done.code}: {done.out}{done.err}")
        return json.loads(done.out)

    def status(self):
        return self.json("status", codes=(0, 3, 4))

    def daemon_argv(self):
        return self._with_files([f"{BUILD}/smtpfenced", "-f", "--config", self.conf.file])

    def daemon(self):
        """Start smtpfenced in the foreground; returns its Popen once it says that it is ready."""
        needs(f"{BUILD}/smtpfenced")
        ready = f"{self.dir}/notify"        # as systemd would be told: sd_notify(3)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, \
                open(f"{self.dir}/daemon.err", "ab") as err:
            sock.bind(ready)
            sock.settimeout(0.1)
            proc = self.spawn(self.daemon_argv(), stdout=subprocess.DEVNULL, stderr=err,
                              env={**os.environ, "NOTIFY_SOCKET": ready})
            try:
                if not until(lambda: _told_ready(sock, proc), 10):
                    words = open(f"{self.dir}/daemon.err", errors="replace").read()
                    raise AssertionError(f"smtpfenced is not ready: exit {proc.poll()}: {words}")
            finally:
                os.unlink(ready)
        return proc

    def rsyslogd(self):
        """A real rsyslogd on the lab's socket path (needs log_socket=False)."""
        return self._closed_at_end(Rsyslogd(self.dir, self.log_path))

    # ---- senders and the far end ----

    def listen(self, where, ports):
        return self._closed_at_end(Listeners(self._netns_path(where), ports))

    def client_argv(self, how, cgroup, dst=WORLD4, port=25, where="host", **options):
        argv = [CLIENT, how, "--dst", dst, "--port", str(port), "--netns", self._netns_path(where)]
        if cgroup is not None:
            argv += ["--cgroup", os.fsencode(cgroup)]
        for option, value in options.items():
            if value is None or value is False:
                continue
            argv.append("--" + option.replace("_", "-"))
            if value is not True:
                value = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value
                argv.append(os.fsencode(value) if isinstance(value, (str, bytes, os.PathLike))
                            else str(value))
        return argv

    def connect(self, cgroup, how="connect", timeout=30, **options):
        """One attempt by client.c from that cgroup; its JSON answer as a dict."""
        done = self.run(self.client_argv(how, cgroup, **options), where=None, timeout=timeout)
        if done.code:
            raise RuntimeError(f"client {how}: exit {done.code}: {done.err}")
        return json.loads(done.out)

    def start(self, cgroup, how="hammer", **options):
        """As connect(), without waiting; answer() collects it."""
        return self.spawn(self.client_argv(how, cgroup, **options), where=None,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def answer(proc, timeout=60):
        out, err = proc.communicate(timeout=timeout)
        if proc.returncode:
            raise RuntimeError(f"client: exit {proc.returncode}: {err}")
        return json.loads(out)

    def _settle(self):
        self.recorder.settle([(netns.path(self.host), WORLD4),
                              (netns.path(self.guest), netns.GUEST_GW4)])

    def syns(self, dport=None, dst=None, src=None):
        """Every TCP SYN that had left for the world before this call."""
        self._settle()
        return self.recorder.select("tcp", dport, dst, src)

    def datagrams(self, dport=None, dst=None):
        self._settle()
        return self.recorder.select("udp", dport, dst)

    def clear(self):
        self._settle()
        self.recorder.clear()
