#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""make chaos: the fence at work while all that can go wrong does.

    tests/chaos/chaos.py [--seconds 240] [--seed N] [--only FAULT,...]

A: faults that must never open it (closed*.py). B: root takes fences away (opened.py). C: the mode is
changed, twice at once, on trial (modes.py). The plan comes from the seed alone; time decides how far
it is followed, but each fault comes at least once. The last line is "N passed, N failed, N skipped".
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "net"), HERE]
sys.dont_write_bytecode = True

import closed           # noqa: E402
import host             # noqa: E402
import leftovers        # noqa: E402
import modes            # noqa: E402
import opened           # noqa: E402
import world            # noqa: E402
from lab import until   # noqa: E402
from ledger import Book  # noqa: E402

ROUND_BEFORE_COMPARE = 12


class Chaos(world.World):
    def __init__(self, seed, seconds, only=None, phases="AsBC"):
        super().__init__()
        self.seed, self.seconds, self.only, self.phases = seed, seconds, only, phases
        self.faults = []            # (what, text) that is wrong
        self.windows = []           # (begin, end, kinds): open by root's hand
        self.troubled = []          # faults that are still on: their end
        self.remade_ok = self.storm_denied = self.gone_handed_in = self.status_looks = 0
        self.book = Book(self)
        self.incidents, self.did_see_double = [], 0
        self.told_double = False
        self.ran = set()
        self.odd_answers = False
        self.machines_own = host.machines_own()

    def wrong(self, what, text):
        self.faults.append((what, f"{time.time() - self.begun:.1f} s: {text}"))
        self.note(f"WRONG: {what}: {text}")
        print(f"FAIL {what}: {text}", flush=True)

    def mode(self):
        return json.loads(self.host.ask_status()[1])["mode"]

    def look_for_doubles(self, when):
        """One of each; but for a moment, while somebody still holds what was exchanged."""
        def doubles():
            attached = self.host.attached()
            return sorted({one for one in attached if attached.count(one) > 1})
        if self.mode() != "enforce":
            self.wrong("the mode was changed by a fault", f"{when}: {self.host.ask_status()[1][-900:]}")
        if doubles():
            self.did_see_double += 1
            if not until(lambda: not doubles(), 5, 0.2) and not self.told_double:
                self.told_double = True
                self.wrong("a program is attached twice", f"{when}: {doubles()}; {self.host.links()}")

    def look_at_answers(self, when):
        """While connect() is fenced it says so at once; those that are cut off are left out."""
        odd = {s.name: s.counts() for s in self.senders.hijacked
               if s.name not in ("uring", "tools") and (s.sums()[1] or s.sums()[3])}
        if odd and not self.odd_answers:
            self.wrong("a hijacked sender was answered otherwise than by EPERM", f"{when}: {odd}")
        self.odd_answers = bool(odd)

    def mail_failed(self):
        return sum(s.sums()[2] + s.sums()[3] for s in self.senders.allowed)

    def mail_words(self):
        return {s.name: s.counts() for s in self.senders.allowed}

    # ---- A ----

    def end_troubles(self, all_of_them=False):
        still = []
        for left, end in self.troubled:
            if left <= 0 or all_of_them:
                end()
            else:
                still.append((left - 1, end))
        self.troubled = still

    def phase_closed(self, until_when):
        steps, planned = closed.plan(self.seed), 0
        wanted = len(closed.STEPS)
        while planned < wanted or time.time() < until_when:
            step, rnd = next(steps)
            planned += 1
            if self.only and step.__name__ not in self.only:
                continue
            begin = time.time()
            leaks, mail = len(self.host.recorder.leaked()), self.mail_failed()
            end = step(self, rnd)
            self.ran.add(step.__name__)
            self.note(f"{step.__name__} ({time.time() - begin:.1f} s)")
            if end:
                self.troubled.append((closed.lingering(rnd), end))
            self.end_troubles()
            self.look_at_answers(step.__name__)
            if len(self.host.recorder.leaked()) > leaks:
                self.wrong("SYNs left during", f"{step.__name__}: {self.host.recorder.leaks[-1]}")
            if host.machines_own() != self.machines_own:
                raise SystemExit(f"{step.__name__} reached the machine's own cgroup root")
            self.look_for_doubles(step.__name__)
            if self.mail_failed() > mail:
                self.wrong("mail failed during", f"{step.__name__}: {self.mail_words()}")
            if planned % ROUND_BEFORE_COMPARE == 0:
                self.compare(f"A, after {planned}")
        self.compare(f"A, after {planned}, the last")

    def compare(self, when):
        self.end_troubles(True)
        trouble = self.heal()
        if trouble:
            self.wrong("not whole when all faults were over", f"{when}: {trouble}")
        if not self.book.compare(when):
            self.wrong("counts differ", f"{when}: {self.diary[-1][1]}")
            self.book.rebase()

    # ---- between ----

    def soak(self):
        """One daemon, all of its trouble but its own death: it must be afterwards as before."""
        self.heal()
        self.host.daemon_end()
        self.host.daemon_sound()
        rnd = random.Random(f"{self.seed} soak")
        for warm in (True, False):
            daemon = self.host.proc
            if not warm:
                before = host.steady(daemon.pid)
            for _ in range(1 if warm else 2):
                for step in (closed.daemon_reloads, closed.commands, closed.closed_kernel.interfaces,
                             closed.closed_kernel.cgroups_by_the_thousand,
                             closed.closed_files.config_other, closed.closed_kernel.pins_removed,
                             closed.closed_files.config_under_fire):
                    step(self, rnd)
                self.note("soaked")
            trouble = self.heal()
            if trouble or self.host.proc is not daemon:
                self.wrong("the daemon did not live through it", trouble)
                return
        self.book.as_at_start(before, host.steady(self.host.proc.pid), "daemon")
        self.book.zombies()

    # ---- all of it ----

    def go(self):
        begin = time.time()
        self.heal()
        started = self.book.kernel_things()
        self.book.rebase()
        if "A" in self.phases:
            self.phase_closed(begin + (self.seconds - 180) * 0.5)
        if "s" in self.phases:
            self.soak()
        if "B" in self.phases:
            self.phase_opened()
        if "C" in self.phases:
            modes.run(self, random.Random(f"{self.seed} modes"), 4 if self.seconds < 400 else 12)
        trouble = self.heal()
        self.book.check("whole at the end", not trouble, trouble)
        self.book.rebase()
        until(lambda: False, 2)
        self.book.compare("at the end")
        self.last(started)

    def phase_opened(self):
        turn = 0
        while turn == 0 or time.time() - self.begun < self.seconds * 0.85:
            incidents = list(opened.INCIDENTS)
            random.Random(f"{self.seed} opened {turn}").shuffle(incidents)
            if self.only:
                incidents = [i for i in incidents if any(o in i.name for o in self.only)]
            for incident in incidents:
                rnd = random.Random(f"{self.seed} {turn} {incident.name}")
                row = opened.run(self, incident, rnd)
                self.note(f"incident: {row}")
                self.incidents.append(row)
                if turn and time.time() - self.begun > self.seconds * 0.9:
                    break
            turn += 1

    def last(self, started):
        h, book = self.host, self.book
        now = book.kernel_things()
        for key, was in started.items():
            book.check(f"kernel's {key} as at the start", was == now[key],
                       was if was == now[key] else f"{was} -> {now[key]}")
        book.leaks()
        book.leftovers()
        book.check("senders that died", not self.senders.dead(), self.senders.dead())
        alone = [d for d in h.died if not _excused(d)]
        book.check("daemon ended of itself in good health", not alone,
                   f"{alone[:3]}; {len(h.died) - len(alone)} times under faults: "
                   f"{sorted({str(d[1]) for d in h.died})}")
        crashes = h.crashed + [f"smtpfenced: {d[2]}" for d in h.died if d[1] in (-11, -6, -7, -8)]
        ours = [c for c in crashes if not _in_a_library(c)]
        book.check("programs that crashed", not ours,
                   f"{len(ours)} {[c[:900] for c in ours]}; {len(crashes) - len(ours)} within "
                   "libraries that were given no memory")
        book.mail()
        book.nothing_left()

    def report(self):
        print(f"\n{'DONE':<58}TIMES")
        for what, n in sorted(self.done.items()):
            print(f"{what:<58}{n}")
        print(f"\n{'INCIDENT (open by root)':<50}{'HURT s':<8}{'SYNs':<7}"
              f"{'LAST ONE, s AFTER THE DAEMON RUNS':<36}{'WHOLE s':<9}STATUS")
        for row in filter(None, self.incidents):
            print(f"{row[0]:<50}{row[1]:<8}{row[2]:<7}{row[3]:<36}{row[4]:<9}{row[5]}")
        kinds = {k: sum(h[k] for h in (self.host.daemon_control.hits(),
                                       self.host.command_control.hits())) for k in host.FAULTS}
        print(f"\ncalls that were made to fail: {kinds}")
        hijacked = [sum(c) for c in zip(*(s.sums() for s in self.senders.hijacked))]
        print(f"hijacked senders: {hijacked[0]} tries, {hijacked[2]} times EPERM; raw and customers: "
              f"{self.senders.handed_in() + self.gone_handed_in} packets; status asked "
              f"{len(self.watch.samples)} times, {self.status_looks} of them while it was open")
        for what, n in kinds.items():
            self.book.check(f"fault injected: {what}", n > 0 or self.only or self.phases != "AsBC", n)
        if self.phases == "AsBC" and not self.only:
            never = {s.__name__ for s in closed.STEPS} - self.ran
            never |= {i.name for i in opened.INCIDENTS} - {r[0] for r in self.incidents if r}
            self.book.check("faults that never came", not never, sorted(never))
        for what, why in self.skipped.items():
            print(f"skip {what}: {why}")
        print("\nINVARIANT")
        for what, ok, numbers in self.book.checks:
            print(f"{'ok  ' if ok else 'FAIL'} {what}: {numbers}")
        what_is_wrong = sorted({what for what, _ in self.faults})
        for what in what_is_wrong:
            texts = [t for w, t in self.faults if w == what]
            print(f"FAIL {what} ({len(texts)}): {texts[0]}")
        failed = sum(not ok for _, ok, _ in self.book.checks) + len(what_is_wrong)
        passed = sum(ok for _, ok, _ in self.book.checks) + len(self.done)
        if failed:
            with open(f"/tmp/chaos-{self.seed}.diary", "w") as f:
                f.writelines(f"{when:7.1f} s  {text}\n" for when, text in self.diary)
            print(f"\nseed {self.seed}; the last steps:")
            for when, text in self.diary[-20:]:
                print(f"  {when:7.1f} s  {text}")
        return passed, failed


def _in_a_library(crash):
    """libconfuse, for one, does not ask whether it got memory."""
    libc = ("libc.so", " at ./", " at ../sysdeps")
    frames = [f for f in crash.split("#")[1:] if not any(place in f for place in libc)]
    return bool(frames) and "from /" in frames[0]


def _excused(death):
    """Out of memory or of files, a start that failed: what the unit's Restart= is for."""
    return death[2] not in ("left by the step before", "started in good health", "in good health",
                            "killed")


def inside(args):
    host.own_mounts()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"seed {args.seed}, {args.seconds} s", flush=True)
    passed, failed = 0, 1
    chaos = Chaos(args.seed, args.seconds, args.only, args.phases)
    try:
        with chaos:
            try:
                chaos.go()
            except BaseException as error:
                traceback.print_exc()
                chaos.wrong("chaos itself ended", repr(error))
            passed, failed = chaos.report()
    finally:
        print(f"{passed} passed, {failed} failed, {len(chaos.skipped)} skipped", flush=True)
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=240)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", type=lambda t: t.split(","), default=None)
    parser.add_argument("--phases", default="AsBC", help="some of A, s (soak), B, C")
    args = parser.parse_args()
    if args.seed is None:
        args.seed = int.from_bytes(os.urandom(4), "little")
    if os.environ.get("CHAOS_INSIDE"):
        return inside(args)
    # A mount namespace of its own; when it ends, however, what it left is removed.
    child = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv,
         "--seed", str(args.seed)], env={**os.environ, "CHAOS_INSIDE": "1"}, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        return child.wait(args.seconds * 2 + 300)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        print("0 passed, 1 failed, 0 skipped: it did not end", flush=True)
        return 1
    finally:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
        leftovers.remove(child.pid)


if __name__ == "__main__":
    sys.exit(main())
