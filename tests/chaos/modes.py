# SPDX-License-Identifier: GPL-2.0-only
"""Phase C: the administrator changes the mode, also twice at once and on trial. What `status` says
afterwards is what the far end sees.
"""

import time

from lab import until


def _race(w, rnd):
    """`on`, `off`, `monitor` and `apply` at the same moment: one of them is the last."""
    names = [rnd.choice(("on", "off", "monitor", "apply")) for _ in range(rnd.randint(2, 5))]
    processes = [w.host.start_command(name) for name in names]
    for process in processes:
        process.wait(60)
        w.host._procs.remove(process)
        w.host.note_crash(names, process.returncode)
    w.did("modes set at the same time", len(names))


def _killed(w, rnd):
    process = w.host.start_command(rnd.choice(("on", "off", "monitor")))
    until(lambda: False, rnd.uniform(0, 0.1))
    process.kill()
    process.wait()
    w.host._procs.remove(process)
    w.host.command("apply")
    w.did("mode's command killed")


def _trial(w, rnd):
    mode = rnd.choice(("monitor", "off"))
    w.host.command(mode)
    w.host.command("on", "--rollback", "1s")
    w.did("on --rollback")
    if not until(lambda: w.mode() == mode, 15, 0.1):
        w.wrong("a trial was not undone", w.mode())


def _plain(w, rnd):
    w.host.command(rnd.choice(("on", "off", "monitor")))
    w.did("mode set")


def check(w):
    """What leaves, against what status says."""
    h = w.host
    until(lambda: False, 0.4)       # tools that began a connect before
    code, _ = h.ask_status()
    mode, begin = w.mode(), time.time()
    until(lambda: False, 0.5)
    h._settle()
    leaks = h.recorder.leaked(begin, kinds={"connect", "raw"})
    same = h.ask_status()[0] == code and w.mode() == mode
    w.did("mode compared with the far end")
    if not same:
        return
    if code == 0 and leaks:
        w.wrong("status says that all is enforced while it is not",
                f"mode {mode}: {len(leaks)} SYNs, {leaks[0]}")
    if mode in ("off", "monitor") and not leaks:
        w.wrong("status says that nothing is enforced while it is", mode)


def run(w, rnd, turns):
    begin = time.time()
    w.heal()
    for turn in range(turns):
        (_race, _killed, _trial, _plain)[turn % 4](w, rnd)
        w.note(f"modes: turn {turn}, now {w.mode()}")
        check(w)
    w.host.command("on")
    w.windows.append((begin, time.time(), {"connect", "raw", "customer", "storm"}))
