# SPDX-License-Identifier: GPL-2.0-only
"""smtpfence under test: its configuration, its commands, its daemon, what they take."""
import glob
import json
import os
import resource
import select
import socket
import struct
import subprocess
import sys
import time

from measure import BUILD, run_hook
from world import FENCED_PORT, die_with_parent

ALERT_TIMEOUT = 1.0
FIRST_UID = 70000  # senders of the alerts: nobody's uids
FIRST_SOURCE = 0x12000000
LIMIT = 15  # connections a source that raise an alarm, by default


def _children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _syn(source, number):
    """An Ethernet frame with a SYN to port 25 of nobody."""
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, number, 0x4000, 64, 6, 0,
                     socket.inet_aton(source), socket.inet_aton("198.18.0.2"))
    tcp = struct.pack("!HHIIBBHHH", 40000 + number, FENCED_PORT, number, 0, 0x50, 2, 64240, 0, 0)
    return bytes.fromhex("020000000002" "020000000001" "0800") + ip + tcp


class Fence:
    def __init__(self, world, max_roles=20000):
        self.world = world
        self.max_roles = max_roles
        self.mode = "yes"
        self.program = os.path.join(BUILD, "smtpfence")
        self.daemon_program = os.path.join(BUILD, "smtpfenced")
        self.available = all(os.access(p, os.X_OK) for p in (self.program, self.daemon_program))
        self.config = f"{world.tmp}/smtpfence.conf"
        self.daemon, self.cpu = None, 0.0
        self.uid, self.source = FIRST_UID, FIRST_SOURCE
        self.senders = world.cgroups.fenced + "/senders"
        # Deep enough that the daemon never waits for the bench to read.
        with open("/proc/sys/net/unix/max_dgram_qlen", "w") as f:
            f.write("4096")
        self.log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.log.bind(f"{world.tmp}/log")
        self.log.setblocking(False)

    def write_config(self, roles, existing, mode="yes", more=()):
        """One mail role and roles - 1 fenced ones, `existing` of them cgroups that are there.

        Another max_roles would mean new tables, and so new programs. `more`: further lines.
        """
        self.mode = mode
        cgroups, tmp = self.world.cgroups, self.world.tmp
        lines = [f'FW_OUTPUT_MTA = "{mode}"', "ports = {25, 465, 587}",
                 f'cgroup_root = "{cgroups.fenced}"',
                 f'pin_dir = "/sys/fs/bpf/{os.path.basename(cgroups.fenced)}"',
                 f'managed_file = "{tmp}/managed.conf"', f'state_dir = "{tmp}/state"',
                 f'syslog_socket = "{tmp}/log"', "detect_mail = false",
                 f"max_roles = {self.max_roles}",
                 *more, f'mail "{cgroups.fenced}/mta" {{ users = {{"root"}} }}']
        for i in range(roles - 1):
            path = cgroups.role(i) if i < existing else f"{cgroups.fenced}/absent/site{i}.slice"
            lines.append(f'fence "{path}" {{ }}')
        with open(self.config, "w") as f:
            f.write("\n".join(lines) + "\n")

    def command(self, *argv, may_fail=False):
        """Run one command; the seconds it took and its output. self.cpu: the CPU's part of them."""
        start, used = time.monotonic(), _children_cpu()
        done = subprocess.run([self.program, "--config", self.config, *argv], text=True,
                              capture_output=True, timeout=120)
        seconds = time.monotonic() - start
        self.cpu = _children_cpu() - used
        if done.returncode and not may_fail:
            sys.exit(f"bench: smtpfence {' '.join(argv)} gave {done.returncode}: "
                     f"{done.stdout[-1500:]}{done.stderr[-1500:]}")
        return seconds, done.stdout

    def status(self):
        return json.loads(self.command("--json", "status", may_fail=True)[1])

    def must_enforce(self, roles):
        status = self.status()
        if not status["enforcing"] or len(status["roles"]) < roles:
            sys.exit(f"bench: {roles} roles, but status says: {str(status)[:1500]}")
        return status

    def detach(self):
        """As if it had never been on. Its pins are alone in our bpffs."""
        self.stop_daemon()
        self.world.mount_bpffs()
        for _ in range(60):
            try:    # a connect that the fence would deny finds no route now
                run_hook(self.world, "web", FENCED_PORT, self.world.cgroups.fenced, samples=1)
                return
            except SystemExit:
                print("bench: somebody else's program denies this connect too (one at the root of "
                      "the cgroups?): waiting for its end", file=sys.stderr)
                time.sleep(3)
        sys.exit("bench: with a second fence in the way there is nothing to compare")

    def start_daemon(self):
        """Returns when a denied connect has really given an alert."""
        with open(f"{self.world.tmp}/daemon.err", "a") as err:
            self.daemon = subprocess.Popen(
                [self.daemon_program, "-f", "--config", self.config], stdout=err, stderr=err,
                preexec_fn=lambda: self._join(self.world.cgroups.free + "/daemon"))
        for _ in range(20):
            if self.alert_latency(0.5) is not None:
                return
        sys.exit("bench: smtpfenced gives no alerts: "
                 + open(f"{self.world.tmp}/daemon.err").read()[-1500:])

    def _join(self, cgroup):
        die_with_parent()
        with open(self.world.cgroups.dir(cgroup) + "/cgroup.procs", "w") as f:
            f.write("0")

    def stop_daemon(self):
        if self.daemon:
            self.daemon.kill()
            self.daemon.wait()
            self.daemon = None

    def drain_log(self):
        try:
            while True:
                self.log.recv(8192)
        except BlockingIOError:
            pass

    def alert_latency(self, timeout=ALERT_TIMEOUT):
        """Seconds from a denied connect() to its line in our hand; None: no line came.

        Each time from a new cgroup and uid, since the first denial of a sender is told at once
        and later ones are gathered. Includes that we are waked: a log daemon has to be as well.
        """
        self.uid += 1
        cgroup = f"{self.senders}/s{self.uid}"
        os.mkdir(self.world.cgroups.dir(cgroup))
        told, tell = os.pipe()
        child = os.fork()
        if not child:
            self._denied_sender(cgroup, tell)
        os.close(tell)
        try:
            arrived = self._wait_line(f"uid={self.uid} ".encode(), time.monotonic() + timeout)
            start = os.read(told, 64)
            if not start:
                sys.exit("bench: a sender that should have been denied was not")
            return arrived - float(start) if arrived else None
        finally:
            os.close(told)
            os.kill(child, 9)
            os.waitpid(child, 0)
            os.rmdir(self.world.cgroups.dir(cgroup))

    def limit_latency(self, timeout=ALERT_TIMEOUT):
        """Seconds from the SYN that crosses a source's limit (of LIMIT) to its line in our hand.

        Raw packets through `near`, an uplink, each time from another source.
        """
        self.source += 1
        source = socket.inet_ntoa(struct.pack("!I", self.source))
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind(("near", 0))
            for i in range(LIMIT - 1):
                sock.send(_syn(source, i))
            self.drain_log()
            start = time.monotonic()
            sock.send(_syn(source, LIMIT))
            # before the socket is closed, which waits for the kernel's RCU for 10 ms
            arrived = self._wait_line(f"source={source} ".encode(), start + timeout)
        return arrived - start if arrived else None

    def _denied_sender(self, cgroup, tell):
        """Stays until it is killed: the daemon looks at its /proc entry meanwhile."""
        try:
            self._join(cgroup)
            os.setuid(self.uid)
            to = (self.world.networks.addr["plain"], FENCED_PORT)
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            start = time.monotonic()
            try:
                sock.connect(to)
            except OSError as error:
                if self.mode != "yes" or isinstance(error, PermissionError):
                    os.write(tell, repr(start).encode())
            os.close(tell)
            time.sleep(60)
        finally:
            os._exit(1)

    def _wait_line(self, token, end):
        while (left := end - time.monotonic()) > 0:
            if select.select([self.log], [], [], left)[0]:
                line = self.log.recv(8192)
                when = time.monotonic()
                if token in line + b" ":
                    return when
        return None

    def daemon_cpu(self):
        """Seconds on a CPU, all threads."""
        tasks = glob.glob(f"/proc/{self.daemon.pid}/task/*/schedstat")
        return sum(int(open(t).read().split()[0]) for t in tasks) / 1e9

    def daemon_resident(self):
        for line in open(f"/proc/{self.daemon.pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def programs(self):
        """[{name, hook, bytecode, native}], bytes of each program that is attached."""
        found = []
        for one in self.status()["attached"]:
            shown = subprocess.run(["bpftool", "-j", "prog", "show", "id", str(one["program_id"])],
                                   capture_output=True, text=True)
            if not shown.returncode:
                p = json.loads(shown.stdout)
                found.append({"name": p["name"], "hook": one["hook"],
                              "bytecode": p["bytes_xlated"], "native": p.get("bytes_jited", 0)})
        return found

    def map_bytes(self):
        """What the kernel says that our maps take; those of a program's own constants apart."""
        total = 0
        for pin in glob.glob(f"/sys/fs/bpf/{os.path.basename(self.world.cgroups.fenced)}/maps/*"):
            shown = subprocess.run(["bpftool", "-j", "map", "show", "pinned", pin],
                                   capture_output=True, text=True)
            if shown.returncode:
                return None
            total += json.loads(shown.stdout).get("bytes_memlock", 0)
        return total

    def close(self):
        self.stop_daemon()
        self.log.close()
