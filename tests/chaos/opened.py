# SPDX-License-Identifier: GPL-2.0-only
"""Phase B: root's own hand takes a fence away. What is promised then: it is open no longer than the
stated time after the daemon can run, `status` never says that all is enforced meanwhile, a line of
the log says it, and where a second fence stands, that one holds.

The daemon is stopped while the damage is done, so that it is there to be seen.
"""

import collections
import os
import re
import signal
import subprocess
import time

import host
import kernel
import tcx
from lab import until

LOOK = 2        # seconds: how often the daemon looks (ARCHITECTURE.md)
SLACK = 4                   # and what a busy machine may add
ALL = {"connect", "raw", "customer"}

# kinds: what may leave meanwhile, and until LOOK after the daemon can run. seen: must be seen at the
# far end, or this proves nothing. dead: the daemon is killed before, and started after.
Incident = collections.namedtuple("Incident", "name hurt kinds alert dead")


def _links(w, *prefixes):
    """Detach the pinned links of these names, as `bpftool link detach` and bpf(2) do by turns."""
    found = [p for p in kernel.pins(w.host)
             if "/links/" in p and os.path.basename(p).startswith(prefixes)]
    for i, pin in enumerate(found):
        if i % 2:
            tcx.detach(pin)
            w.did("link detached by bpf(2)")
        else:
            kernel.bpftool("link", "detach", "id",
                           kernel.bpftool("link", "show", "pinned", pin)["id"])
            w.did("link detached by bpftool")
    assert found, prefixes


def _pins(w):
    for pin in kernel.pins(w.host):
        os.unlink(pin)
        w.did("pin removed")


def _unmount(w):
    subprocess.run(["umount", "-l", "/sys/fs/bpf"], check=True, timeout=10)
    w.did("bpffs unmounted")


def _unmount_and_mount(w):
    _unmount(w)
    host.own_bpffs()
    w.did("bpffs mounted anew, empty")


def _ports(w):
    kernel.zero_map(w.host, "ports")
    w.did("table of ports wiped")


def _xdp(w):
    _links(w, "gw-")
    w.did("XDP programs taken off")


BROKEN, UPLINK, ANY = r"rule=fence_broken", r"rule=(uplinks|census_broken)", r"rule=(fence_broken|uplinks)"
INCIDENTS = (
    Incident("connect4's link detached", lambda w: _links(w, "connect4"), set(), BROKEN, 0),
    Incident("both connect links detached", lambda w: _links(w, "connect"), set(), BROKEN, 0),
    Incident("the uplink's egress link detached", lambda w: _links(w, "out-"), {"raw"}, UPLINK, 0),
    Incident("connect and egress links detached", lambda w: _links(w, "connect", "out-"),
             {"connect", "raw"}, ANY, 0),
    Incident("customers' links detached", lambda w: _links(w, "gwin-"), {"customer"}, None, 0),
    Incident("the table of ports wiped", _ports, ALL, BROKEN, 0),
    Incident("all pins removed", _pins, {"raw", "customer"}, BROKEN, 0),
    Incident("bpffs unmounted", _unmount, {"raw", "customer"}, BROKEN, 0),
    Incident("bpffs unmounted, an empty one mounted", _unmount_and_mount, {"raw", "customer"},
             BROKEN, 0),
    Incident("daemon dead, connect and egress links detached",
             lambda w: _links(w, "connect", "out-"), {"connect", "raw"}, ANY, 1),
    Incident("daemon dead, all pins removed", _pins, ALL, BROKEN, 1),
    Incident("daemon dead, bpffs unmounted", _unmount, ALL, BROKEN, 1),
    Incident("customers' XDP programs taken off", _xdp, {"customer"}, None, 0),
)


def run(w, incident, rnd):
    """Returns a row for the table, and writes what was wrong into the world's book."""
    h, far = w.host, w.host.recorder
    xdp = "XDP" in incident.name
    host.guard_the_machine()
    h.conf.keys["gateway_hook"] = "xdp" if xdp else "auto"
    trouble = w.heal()
    if trouble:
        w.wrong("not whole before an incident", f"{incident.name}: {trouble}")
        return None
    until(lambda: False, 1.2)       # what began to connect while the last one was open has given up
    daemon, mark = h.proc, len(h.lines())
    if incident.dead:
        h.daemon_end(signal.SIGKILL)
    else:
        daemon.send_signal(signal.SIGSTOP)
    begin = time.time()
    incident.hurt(w)
    w.did(f"incident: {incident.name}")
    said = [h.ask_status()[0] for _ in range(2)]
    until(lambda: False, rnd.uniform(0.4, 0.8))
    said.append(h.ask_status()[0])
    runs = time.time()
    if incident.dead:
        h.daemon_sound()
    else:
        daemon.send_signal(signal.SIGCONT)
    ready = time.time()
    whole = until(h.whole, LOOK + SLACK + 10, 0.1)
    mended = time.time()
    told = not incident.alert or until(
        lambda: any(_match(incident.alert, line) for line in h.lines()[mark:]), 10, 0.1)
    h._settle()
    leaks = far.leaked(begin)
    w.windows.append((begin, time.time(), incident.kinds))
    _judge(w, incident, said, leaks, ready, whole, told)
    _status_lied(w, incident, leaks)
    if xdp:
        del h.conf.keys["gateway_hook"]
    last = {k: max(p.time for p in leaks if p.kind == k) - ready
            for k in incident.kinds if any(p.kind == k for p in leaks)}
    return (incident.name, f"{runs - begin:.1f}", len(leaks),
            " ".join(f"{k} {v:+.1f}" for k, v in sorted(last.items())) or "none left",
            f"{mended - ready:.1f}", "/".join(map(str, said)))


def _match(pattern, line):
    return re.search(pattern, line)


def _judge(w, incident, said, leaks, ready, whole, told):
    name = incident.name
    if 0 in said:
        w.wrong("status says that all is enforced while it is not", f"{name}: {said}")
    foreign = [p for p in leaks if p.kind not in incident.kinds]
    if foreign:
        w.wrong("the second fence did not hold", f"{name}: {len(foreign)} SYNs, {foreign[0]}")
    for kind in incident.kinds:
        of_kind = [p for p in leaks if p.kind == kind]
        if not of_kind:
            w.wrong("an incident opened nothing", f"{name}: no SYN of {kind}")
            continue
        late = [p for p in of_kind if p.time > ready + LOOK + SLACK]
        if late:
            w.wrong("open for longer than stated",
                    f"{name}: {len(late)} SYNs of {kind}, until {late[-1].time - ready:.1f} s")
    if not whole:
        w.wrong("not mended", f"{name}: {w.host.ask_status()}")
    if not told:
        w.wrong("not told", f"{name}: {w.host.lines()[-3:]}")


def _status_lied(w, incident, leaks):
    """A status that began after one leak and ended before another: it was open all the while."""
    for kind in incident.kinds:
        times = sorted(p.time for p in leaks if p.kind == kind)
        if not times:
            continue
        for begin, end, code, enforcing in list(w.watch.samples):
            if not times[0] < begin <= end < times[-1] - 0.05:
                continue
            w.status_looks += 1
            if code == 0 or (kind == "connect" and enforcing):
                w.wrong("status says that all is enforced while it is not",
                        f"{incident.name}: exit {code}, enforcing {enforcing}, {kind} leaked "
                        f"{times[-1] - end:.2f} s after")
