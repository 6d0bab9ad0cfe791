# SPDX-License-Identifier: GPL-2.0-only
"""Phase A: faults that must never open the fence, and never close it to the mail server.

Each is a function of the world and of its own random numbers. It may return a function that ends
the fault: until then the next faults come on top of it.
"""

import os
import random
import signal

import closed_files
import closed_kernel
from host import FAULTS
from lab import until

KILL, TERM = signal.SIGKILL, signal.SIGTERM
VALID = (["apply"], ["on"], ["set", "alert_denied=11"], ["set", "watch_ports=2526"],
         ["allow", "user", "games", "--ttl", "1h"], ["remove", "allow_user", "games"],
         ["quarantine", "user", "news"], ["remove", "quarantine_user", "news"],
         ["allow", "net", "192.0.2.0/24", "--port", "587"], ["remove", "allow_net", "192.0.2.0/24"],
         ["limit", "user", "web3", "--warn", "300", "--act", "1000"],
         ["gateway", "add", "cu-none"], ["gateway", "remove", "cu-none"], ["apply", "--boot"])
READING = (["status"], ["list"], ["events"], ["sources"], ["senders"], ["history"], ["check"],
           ["doctor"], ["apply", "--dry-run"], ["test"])


# ---- the daemon ----

def daemon_killed(w, rnd):
    w.host.daemon_sound()
    until(lambda: False, rnd.uniform(0, 0.6))
    w.host.daemon_end(KILL)
    w.did("daemon kill -9")
    if rnd.random() < 0.5:
        until(lambda: False, rnd.uniform(0, 0.5))
    w.host.daemon_sound()


def daemon_ended(w, rnd):
    w.host.daemon_sound()
    w.host.daemon_end(TERM, "in good health")
    w.did("daemon SIGTERM")
    w.host.daemon_sound()


def daemon_killed_at_start(w, rnd):
    """Before it is ready, several times."""
    w.host.daemon_sound()
    for _ in range(rnd.randint(2, 5)):
        w.host.daemon_end(KILL)
        w.host.daemon_start(wait=False)
        until(lambda: False, rnd.uniform(0, 0.15))
        w.did("daemon killed while it starts")
    w.host.daemon_end(KILL)
    w.host.daemon_sound()


def daemon_stopped(w, rnd):
    daemon = w.host.daemon_sound()
    daemon.send_signal(signal.SIGSTOP)
    w.did("daemon SIGSTOP and SIGCONT")
    until(lambda: False, rnd.uniform(0.1, 1.0))
    w.host.command(*rnd.choice(VALID[:4]))
    daemon.send_signal(signal.SIGCONT)


def daemon_limited(w, rnd):
    """Started with too little of something; it may end, the fence may not."""
    what, low, high = rnd.choice((("--as", 8 << 20, 60 << 20), ("--nofile", 4, 40),
                                  ("--nproc", 0, 2), ("--fsize", 0, 4096), ("--data", 1 << 20, 8 << 20)))
    w.host.daemon_sound()
    w.host.daemon_end(TERM)
    w.host.daemon_start(before=["prlimit", f"{what}={rnd.randint(low, high)}"], wait=False)
    until(lambda: False, rnd.uniform(0.5, 2.0))
    w.did(f"daemon with RLIMIT {what[2:].upper()}")
    w.host.daemon_note(f"RLIMIT {what}")
    w.host.daemon_end(KILL)
    w.host.daemon_sound()


def daemon_without_memory(w, rnd):
    """In a memory cgroup that is too small: the kernel kills it."""
    place = closed_kernel.memory_cgroup(w, rnd.randint(1, 12) << 20)
    if not place:
        w.skipped["daemon with a memory limit of its cgroup"] = "no memory cgroup of v1 here"
        return
    w.host.daemon_sound()
    w.host.daemon_end(TERM)
    w.host.daemon_start(before=["sh", "-c", 'echo $$ >"$0/cgroup.procs"; exec "$@"', place],
                        wait=False)
    until(lambda: False, rnd.uniform(0.5, 2.0))
    w.did("daemon with a memory limit of its cgroup")
    w.host.daemon_note("memory cgroup")
    w.host.daemon_end(KILL)
    until(lambda: closed_kernel.remove_memory_cgroup(place), 5)
    w.host.daemon_sound()


OFTEN = {"malloc": (300, 3000, 30000), "bpf": (3000, 30000, 300000, 1000000)}
SELDOM = (500000, 1000000)      # those are few in a command


def rates(rnd, kind=None):
    """Of a million calls: one kind often, or all now and then."""
    if kind or rnd.random() < 0.5:
        kind = kind or rnd.choice(FAULTS)
        return {kind: rnd.choice(OFTEN.get(kind, SELDOM))}
    return {k: rnd.choice((0, 300, 3000, 30000)) for k in FAULTS}


def daemon_faults(w, rnd):
    """malloc, write, fsync, bpf, open, rename and sendto fail under the running daemon."""
    w.host.daemon_sound()
    w.host.daemon_control.fail(**rates(rnd))
    w.host.trouble = "failing calls"
    w.did("daemon with failing calls")
    if rnd.random() < 0.5:      # and it begins so
        w.host.daemon_end(KILL)
        w.host.daemon_start(wait=False)
    until(lambda: False, rnd.uniform(1.0, 2.5))

    def end():
        w.host.daemon_control.fail()
        w.host.daemon_note("failing calls")
        w.host.daemon_sound()
    return end


def daemon_clock(w, rnd):
    """The wall clock jumps under the daemon and under commands."""
    seconds = rnd.choice((-1, 1)) * rnd.choice((3, 3700, 86400, 40 * 86400, 3 * 366 * 86400))
    for control in (w.host.daemon_control, w.host.command_control):
        control.set_clock(seconds)
    w.did("wall clock jumps")
    w.host.command(*rnd.choice(VALID))

    def end():
        for control in (w.host.daemon_control, w.host.command_control):
            control.set_clock(0)
    return end


def daemon_time_namespace(w, rnd):
    """Monotonic and boot time of somebody else's: a container restored elsewhere."""
    hours = rnd.choice((1, 100, 2000)) * 3600
    before = ["unshare", "--time", f"--monotonic={hours}", f"--boottime={hours}", "--fork", "--"]
    w.host.command(*rnd.choice(VALID[:2]), before=before)
    w.did("other monotonic and boot time (time namespace)")


def daemon_reloads(w, rnd):
    for _ in range(rnd.randint(20, 60)):
        w.host.daemon_sound().send_signal(signal.SIGHUP)
        w.did("SIGHUP")
        until(lambda: False, 0.005)


# ---- commands ----

def commands(w, rnd):
    for argv in rnd.sample(VALID, 4) + rnd.sample(READING, 2):
        w.host.command(*argv)
        w.did("command")


def commands_killed(w, rnd):
    """kill -9 in the midst of a change, at random moments: old or new, never open."""
    for _ in range(rnd.randint(8, 16)):
        argv = rnd.choice((["apply"], ["on"], ["on"], *VALID))
        process = w.host.start_command(*argv)
        until(lambda: False, rnd.uniform(0.0, 0.12))
        process.kill()
        process.wait()
        w.host._procs.remove(process)
        w.did("command killed (kill -9) in its midst")
    w.host.command("apply")


def commands_at_once(w, rnd):
    processes = [(argv, w.host.start_command(*argv))
                 for argv in (rnd.choice(VALID + READING) for _ in range(rnd.randint(4, 8)))]
    for argv, process in processes:
        process.wait(60)
        w.host._procs.remove(process)
        w.host.note_crash(argv, process.returncode)
        w.did("commands at the same time")


def commands_with_faults(w, rnd):
    for kind in (*rnd.sample(FAULTS, len(FAULTS)), None):
        w.host.command_control.fail(**rates(rnd, kind))
        for argv in (["set", f"alert_denied={rnd.randint(5, 50)}"],
                     rnd.choice((["apply"], ["on"], *VALID, *READING))):
            w.host.command(*argv)
            w.did("command with failing calls")
    w.host.command_control.fail()


def commands_limited(w, rnd):
    for _ in range(rnd.randint(3, 6)):
        what = rnd.choice((f"--nofile={rnd.randint(4, 40)}", f"--as={rnd.randint(4, 80) << 20}",
                           "--nproc=0", f"--fsize={rnd.choice((0, 100, 1000))}",
                           f"--memlock={rnd.choice((0, 65536))}"))
        w.host.command(*rnd.choice((["apply"], ["on"], *VALID)), before=["prlimit", what])
        w.did("command with RLIMITs")


def trials(w, rnd):
    """`on --rollback` over an enforced policy: whatever comes of it is enforced as well."""
    w.host.command("on", "--rollback", "1s")
    w.did("on --rollback")
    if rnd.random() < 0.5:
        w.host.command("on", "--confirm")
        w.did("on --confirm")
    elif rnd.random() < 0.5:
        w.host.daemon_end(KILL)
    rollback = f"{w.host.state_dir}/rollback"
    until(lambda: not os.path.exists(rollback), 20, 0.1)
    w.host.daemon_sound()


def pause(w, rnd):
    """Nothing, for a moment: what was left to itself may mend itself."""
    until(lambda: False, rnd.uniform(0.2, 1.0))
    w.did("nothing")


STEPS = (daemon_killed, daemon_ended, daemon_killed_at_start, daemon_stopped, daemon_limited,
         daemon_limited, daemon_without_memory, daemon_faults, daemon_faults, daemon_clock,
         daemon_time_namespace, daemon_reloads, commands, commands_killed, commands_killed,
         commands_at_once, commands_at_once, commands_with_faults, commands_with_faults,
         commands_limited, trials, pause, *closed_files.STEPS, *closed_kernel.STEPS)


def plan(seed):
    """Endless: round by round, each fault in each round, in an order of the round's own."""
    turn = 0
    while True:
        steps = list(STEPS)
        random.Random(f"{seed} round {turn}").shuffle(steps)
        for i, step in enumerate(steps):
            yield step, random.Random(f"{seed} {turn} {i} {step.__name__}")
        turn += 1


def lingering(rnd):
    """How many steps a fault stays on that can."""
    return rnd.choice((0, 0, 1, 2))
