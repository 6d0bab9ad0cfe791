# SPDX-License-Identifier: GPL-2.0-only
"""What must hold, with its numbers. Counts of ours are compared with counts that are not ours."""

import os

import census
import closed_files
import kernel
from lab import until
from netns import EXTRA4, EXTRA6

KIB_MORE = 2048         # of memory: caches of the C library, of SQLite; a leak grows past it
FENCED = (25, 465, 587)


class Book:
    """checks: [(what, ok, numbers)]"""

    def __init__(self, w):
        self.w, self.checks, self.base = w, [], None

    def check(self, what, ok, numbers=""):
        self.checks.append((what, bool(ok), str(numbers)))
        return ok

    # ---- counts, while nobody sends ----

    def _figures(self):
        w = self.w
        s, c, far = w.senders, w.host.status_counters(), w.host.recorder
        rows = census.sources(w.host)
        lost = census.counters(w.host)
        fenced = sum(n for (_, dst, port), n in list(far.count.items())
                     if port in FENCED and dst not in (*EXTRA4[:4], *EXTRA6[:4]))
        return {
            "senders' denials": s.told_denied() + s.handed_in() + w.gone_handed_in + w.storm_denied,
            "kernel's denials": c["denied"] - w.host.probes_denied(),
            "kernel's would_deny": c["would_deny"],
            "mail SYNs at the far end": fenced,
            "kernel's mail": c["by_reason"]["mail"],
            "SYNs at the far end and raw ones denied":
                far.syns() + s.handed_in() + w.gone_handed_in,
            "census": sum(r["syn"] for r in rows.values()) + lost.get("uncounted", 0)
                + sum(n for k, n in lost.items() if k.startswith("forgotten") and "source" in k
                      and "syn" in k),
            "far end, packet socket": far.syns(),
            "far end, nftables": far.by_nftables()["syns"],
            "no answer": sum(x.sums()[3] for x in s.hijacked),
            "mail client's tries": sum(x.sums()[0] for x in s.allowed),
            "mail client's successes": sum(x.sums()[1] for x in s.allowed),
        }

    def rebase(self):
        with self.w.quiet():
            self.base = self._figures()

    def compare(self, when):
        """Since rebase(): each number with its independent twin."""
        with self.w.quiet():
            now = self._figures()
        grown = {k: now[k] - self.base[k] for k in now}
        fine = True
        for ours, theirs in (("kernel's denials", "senders' denials"),
                             ("kernel's mail", "mail SYNs at the far end"),
                             ("census", "SYNs at the far end and raw ones denied"),
                             ("far end, nftables", "far end, packet socket"),
                             ("mail client's successes", "mail client's tries")):
            # attempts that were cut off, with no answer: denied or not
            unknown = grown["no answer"] if ours == "kernel's denials" else 0
            same = 0 <= grown[ours] - grown[theirs] <= unknown
            fine &= same
            text = f"{ours} {grown[ours]} = {theirs} {grown[theirs]}" + (
                f" (and {unknown} without an answer)" if unknown else "")
            self.check(f"{when}: {ours} = {theirs}", same, text)
        self.w.note(f"compared: {grown}")
        return fine and grown["kernel's would_deny"] == 0

    # ---- what must not have left ----

    def leaks(self):
        w = self.w
        inside = lambda p: any(b <= p.time <= e and p.kind in kinds for b, e, kinds in w.windows)
        outside = [p for p in w.host.recorder.leaked() if not inside(p)]
        everything = len(w.host.recorder.leaked())
        self.check("SYNs that should not have left", not outside,
                   f"{len(outside)}" + (f", the first {outside[0].time - w.begun:.2f} s after the "
                                        f"begin: {outside[0]}" if outside else ""))
        self.check("leaks counted by nftables as by the packet socket",
                   w.host.recorder.by_nftables()["leaked"] == everything,
                   f"{w.host.recorder.by_nftables()['leaked']} = {everything}")

    def mail(self):
        w = self.w
        client = [sum(x) for x in zip(*(s.sums() for s in w.senders.allowed))]
        self.check("mail connects wrongly denied", client[2] == 0 and w.mail.denied() == 0,
                   f"{client[2]} of {client[0]} of the client, {w.mail.denied()} of Postfix, "
                   f"{w.remade_ok} of cgroups made anew went through")
        missing, doubled, wrong = w.mail.settle()
        self.check("mail delivered", not missing and not wrong and w.mail.accepted,
                   f"{len(w.mail.accepted)} accepted, {len(missing)} lost, {len(wrong)} doubled, "
                   f"{len(doubled) - len(wrong)} doubled by restarts")

    # ---- what must be as at the start ----

    def kernel_things(self):
        h = self.w.host
        ids = h.map_ids()
        programs = kernel.bpftool("prog", "show")
        ours = [p for p in programs if set(p.get("map_ids", [])) & ids]
        maps = set().union(ids, *(p["map_ids"] for p in ours)) if ours else ids
        return {"programs": sorted(p["name"] for p in ours), "maps": len(maps),
                "pins": len(kernel.pins(h)),
                "links": len([l for l in kernel.bpftool("link", "show")
                              if l.get("prog_id") in {p["id"] for p in ours}])}

    def as_at_start(self, before, now, what):
        for key in ("fds", "threads"):
            self.check(f"{what}: {key}", before[key] == now[key], f"{before[key]} -> {now[key]}")
        for key in ("rss", "pss"):
            self.check(f"{what}: {key} (KiB)", now[key] <= before[key] + KIB_MORE,
                       f"{before[key]} -> {now[key]}")

    def zombies(self):
        pid, found = self.w.host.proc.pid, []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/stat") as f:
                    state, parent = f.read().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == pid and state == "Z":
                found.append(entry)
        self.check("zombies of the daemon", not found, len(found))

    def leftovers(self):
        found = closed_files.leftovers(self.w)
        self.check("temporary files left", not found, f"{len(found)} {found[:3]}")

    def nothing_left(self):
        """After `off`, and when the daemon ended."""
        w = self.w
        h, ids = w.host, w.host.map_ids()
        done = h.command("off")
        h.daemon_end()

        def left():
            programs = [p["name"] for p in kernel.bpftool("prog", "show")
                        if set(p.get("map_ids", [])) & ids]
            maps = [m["id"] for m in kernel.bpftool("map", "show") if m["id"] in ids]
            probes = [n for n in os.listdir(h.root_path) if "probe" in n]
            return programs + maps + kernel.pins(h) + probes
        until(lambda: not left(), 15, 0.3)
        self.check("nothing left after `off`", done.code == 0 and not left(),
                   f"exit {done.code}, {left()[:6]}")


