#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What watching connect() costs whoever connects: bpftrace, auditd and smtpfence in monitor mode.

    tests/bench/observers.py [--quick] [--audit] [--vm KERNEL] [--json FILE]

By itself, or (without auditd) as a part of make bench. auditd is only measured with --audit: once
it was on, the kernel prepares a record for each system call of every new process until the next
boot, which would make all other numbers of the machine slower. So do it by --vm, in a virtual
machine (tests/vm; emulated, so that only its ratios say something).
"""
import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
from fence import Fence
from measure import BATCH, BUILD, ENETUNREACH, WARM_UP, Row, columns, run_cell, \
    run_hook
from world import FENCED_PORT, NOWHERE, OPEN_PORT, WEB_UID, World, die_with_parent, \
    enter_private_namespaces, run

SCRIPT = """struct sa { unsigned short family; unsigned short port; unsigned int addr; }
tracepoint:syscalls:sys_enter_connect
{
	$to = (struct sa *)args->uservaddr;
	$port = (($to->port & 255) << 8) | ($to->port >> 8);
	if ($port == 25 || $port == 465 || $port == 587) {
		@connects[uid] = count();
		printf("connect uid=%d pid=%d comm=%s port=%d\\n", uid, pid, comm, $port);
	}
}
BEGIN { printf("ready\\n"); }
"""
AUDITD = """log_file = {tmp}/audit.log
log_format = RAW
flush = NONE
num_logs = 2
max_log_file = 64
max_log_file_action = ROTATE
space_left = 8
admin_space_left = 4
space_left_action = IGNORE
admin_space_left_action = IGNORE
disk_full_action = IGNORE
disk_error_action = IGNORE
"""
TITLES = {"nothing": "nothing", "fence": "smtpfence, monitor", "bpftrace": "bpftrace, tracepoint",
          "auditd": "auditd, syscall rule"}


class Nothing:
    tree = "free"

    def start(self, world):
        pass

    def stop(self):
        pass

    def resident(self):
        return 0

    def told(self):
        return 0

    def latency(self, uid):
        """Seconds from a connect() of that uid to the line about it; None: there came none."""
        if not hasattr(self, "line_of"):
            return None
        start = _one_connect(uid)
        while not self.line_of(uid):
            if time.monotonic() > start + 5:
                return None
        return time.monotonic() - start


def _resident(pid):
    for line in open(f"/proc/{pid}/status", encoding="ascii"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


class Bpftrace(Nothing):
    def start(self, world):
        path = f"{world.tmp}/observer.bt"
        with open(path, "w", encoding="ascii") as f:
            f.write(SCRIPT)
        self.out = open(f"{world.tmp}/bpftrace.out", "w+b")
        self.proc = subprocess.Popen(["bpftrace", "-B", "line", path], stdout=self.out,
                                     stderr=self.out, preexec_fn=die_with_parent)
        _until(lambda: b"ready" in self.read(), "bpftrace did not begin: ", self.read)

    def read(self):
        return os.pread(self.out.fileno(), 1 << 28, 0)

    def line_of(self, uid):
        return f"connect uid={uid} ".encode() in self.read()

    def told(self):
        return self.read().count(f"connect uid={WEB_UID} ".encode())

    def resident(self):
        return _resident(self.proc.pid)

    def stop(self):
        while self.proc.poll() is None:     # seen: one that came while it was busy was lost
            self.proc.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.proc.wait(2)
        self.out.close()


class Auditd(Nothing):
    """Only the bench's own uids are in its rules: nobody else's connect() is recorded."""

    def start(self, world):
        self.dir = f"{world.tmp}/audit"
        os.makedirs(self.dir, exist_ok=True)
        with open(f"{self.dir}/auditd.conf", "w", encoding="ascii") as f:
            f.write(AUDITD.format(tmp=self.dir))
        os.chmod(f"{self.dir}/auditd.conf", 0o640)
        run("auditctl", "-b", "8192")
        self.proc = subprocess.Popen(["auditd", "-n", "-c", self.dir], preexec_fn=die_with_parent,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _until(lambda: f"pid {self.proc.pid}" in run("auditctl", "-s"), "auditd did not begin",
               bytes)
        run("auditctl", "-a", "always,exit", "-F", "arch=b64", "-S", "connect", "-F",
            f"uid>={WEB_UID}")
        self.log = f"{self.dir}/audit.log"

    def read(self):
        with open(self.log, "rb") as f:
            return f.read()

    def line_of(self, uid):
        return f" uid={uid} ".encode() in self.read()

    def told(self):
        return self.read().count(f" uid={WEB_UID} ".encode())

    def resident(self):
        return _resident(self.proc.pid)

    def stop(self):
        run("auditctl", "-D")
        run("auditctl", "-e", "0")
        self.proc.terminate()
        self.proc.wait()


class Monitor(Nothing):
    """smtpfence sees the same connects and tells of them; it denies none."""
    tree = "fenced"

    def __init__(self, fence):
        self.fence = fence

    def start(self, world):
        self.fence.write_config(1, 1, mode="monitor")
        self.fence.command("monitor")
        self.fence.start_daemon()

    def told(self):
        """Counted: what is told is one line and then a number."""
        return self.fence.status()["counters"]["would_deny"]

    def latency(self, uid):
        return self.fence.alert_latency()

    def resident(self):
        return self.fence.daemon_resident()

    def stop(self):
        self.fence.stop_daemon()


def _until(done, what, more):
    end = time.monotonic() + 60
    while not done():
        if time.monotonic() > end:
            sys.exit(f"bench: {what}{more()[-500:]}")
        time.sleep(0.02)


def _one_connect(uid):
    """A program that connects once; the time just before."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        import socket
        os.setuid(uid)
        sock = socket.socket()
        start = time.monotonic()
        with contextlib.suppress(OSError):
            sock.connect((NOWHERE, FENCED_PORT))
        os.write(write, repr(start).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    start = float(os.read(read, 64))
    os.close(read)
    return start


def _burst(world, tree, port):
    samples = run_hook(world, "web", port, tree, samples=400)
    return {"median": statistics.median(samples), "p99": sorted(samples)[len(samples) * 99 // 100],
            "count": (len(samples) + WARM_UP) * BATCH + 2}


def _spaced(world, column):
    """Connects 1 in 2 ms: no observer is behind."""
    row = Row("spaced", "", "fail", "web", FENCED_PORT, denied=True, pace_ns=2_000_000, samples=60)
    return list(run_cell(world, row, column))


def available(audit):
    kinds = ["bpftrace"] if shutil.which("bpftrace") else []
    return kinds + ["auditd"] * bool(audit and shutil.which("auditd"))


def measure(world, fence, quick=False, audit=False):
    """[{column, burst_ns, burst_p99_ns, other_ns, spaced_ns, told, of, latency, resident}]"""
    with contextlib.suppress(SystemExit):
        run("mount", "-t", "tracefs", "tracefs", "/sys/kernel/tracing")
    columns_ = {c.key: c for c in columns(world.cgroups)}
    kinds = {"nothing": Nothing(), "fence": Monitor(fence)}
    for name in available(audit):
        kinds[name] = Bpftrace() if name == "bpftrace" else Auditd()
    cells = {name: {"burst": [], "other": [], "spaced": [], "latency": [], "told": 0, "of": 0,
                    "resident": 0} for name in kinds}
    uid = 80000
    for _ in range(2 if quick else 4):
        for name, observer in kinds.items():
            cell = cells[name]
            tree = getattr(world.cgroups, observer.tree)
            observer.start(world)
            try:
                column = columns_["fence" if name == "fence" else "nothing"]
                column.denied_errno, column.denied_to = ENETUNREACH, NOWHERE
                cell["spaced"] += _spaced(world, column)
                cell["other"].append(_burst(world, tree, OPEN_PORT))
                for _ in range(5):
                    uid += 1
                    cell["latency"].append(observer.latency(uid))
                before = observer.told()
                burst = _burst(world, tree, FENCED_PORT)
                cell["burst"].append(burst)
                time.sleep(0.5)     # what comes, has come
                cell["resident"] = max(cell["resident"], observer.resident())
                cell["told"] += observer.told() - before
                cell["of"] += burst["count"]
            finally:
                observer.stop()
    return [_summary(name, cell) for name, cell in cells.items()]


def _summary(name, cell):
    spaced = sorted(cell["spaced"])
    latency = [x for x in cell["latency"] if x is not None]
    return {"column": name, "title": TITLES[name],
            "burst_ns": min(b["median"] for b in cell["burst"]),
            "burst_p99_ns": statistics.median(b["p99"] for b in cell["burst"]),
            "other_ns": min(b["median"] for b in cell["other"]),
            "spaced_ns": statistics.median(spaced),
            "spaced_p99_ns": spaced[len(spaced) * 99 // 100],
            "told": cell["told"], "of": cell["of"], "resident": cell["resident"],
            "latency_seconds": statistics.median(latency) if latency else None,
            "latency_missing": len(cell["latency"]) - len(latency)}


def print_cells(cells):
    print(f"{'watching connect()':22}{'burst, ns':>14}{'p99':>10}{'1 in 2 ms':>12}"
          f"{'other port':>12}{'told of':>22}{'to the line':>14}{'memory':>10}")
    for c in cells:
        told = f"{c['told']:,}/{c['of']:,}" if c["column"] != "nothing" else "-"
        latency = f"{c['latency_seconds'] * 1e3:.2f} ms" if c["latency_seconds"] else "-"
        print(f"{c['title']:22}{c['burst_ns']:14,.0f}{c['burst_p99_ns']:10,.0f}"
              f"{c['spaced_ns']:12,.0f}{c['other_ns']:12,.0f}{told:>22}{latency:>14}"
              f"{c['resident'] / 2**20:>6.1f} MiB")


def in_vm(kernel, words):
    """This program again, under another kernel."""
    sys.path.insert(0, os.path.join(HERE, "../vm"))
    import machine
    lines = []
    status = machine.run(kernel, [sys.executable, os.path.abspath(__file__), *words],
                         {"BUILD": os.path.abspath(BUILD)}, 900,
                         echo=lambda line: (lines.append(line), print(line, flush=True)))
    found = [line for line in lines if line.startswith("[{")]
    if status or not found:
        sys.exit(f"bench: the virtual machine ended with {status}")
    return json.loads(found[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--audit", action="store_true")
    parser.add_argument("--vm", metavar="KERNEL")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if options.vm:
        cells = in_vm(options.vm, ["--audit", "--json", "-"] + ["--quick"] * options.quick)
    else:
        enter_private_namespaces()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: stopped"))
        with World() as world:
            fence = Fence(world)
            try:
                fence.write_config(1, 1, mode="monitor")
                fence.command("monitor")
                cells = measure(world, fence, options.quick, options.audit)
            finally:
                fence.close()
    print_cells(cells)
    if options.json == "-":
        print(json.dumps(cells))
    elif options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump({"kernel": options.vm or os.uname().release, "cells": cells}, f, indent=1)


if __name__ == "__main__":
    main()
