#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Writes what a run measured into docs/PERFORMANCE.md, and the plot beside it.

    tests/bench/document.py [--markdown build/bench.json] [--vm build/bench-observers-vm.json]
                            [--into docs/PERFORMANCE.md]

Only the marked parts of the file change (<!-- bench NAME --> to <!-- end -->), so that no number in
it is typed by hand.
"""
import argparse
import json
import os
import re
import statistics
import sys

sys.dont_write_bytecode = True
import plot
from excess import by_design, excess, of_limit

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
COLUMNS = {"nothing": "nothing", "fence": "smtpfence", "nft": "nftables, list",
           "nftset": "nftables, set", "iptables": "iptables"}
PATH_COLUMNS = {"nothing": "nothing", "fence": "smtpfence", "nft": "nftables, forward",
                "nftdev": "nftables, device", "iptables": "iptables + ipset"}
CONNECT_ROWS = {
    "denied": "denied, in a burst", "denied_paced": "denied, one in 0.5 ms",
    "denied_reported": "denied, one in 110 ms (each reported, caches cold)",
    "allowed": "allowed SMTP", "open": "a port that is not fenced",
    "pingpong": "round trip on a connection, port not fenced",
    "pingpong_smtp": "round trip on a connection, SMTP"}


def time_of(ns):
    for size, unit in ((1e6, "ms"), (1e3, "µs")):
        if ns >= size:
            return f"{ns / size:.3g} {unit}" if ns < 1000 * size else f"{ns / size:,.0f} {unit}"
    return f"{ns:.0f} ns"


def seconds(s):
    return f"{s:.2f} s" if s >= 1 else f"{s * 1e3:.3g} ms"


def table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "|---" + "|---:" * (len(head) - 1) + "|"
    for row in rows:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"


def machine(d):
    m = d["machine"]
    kind = "a virtual machine" if m["virtual"] else "no virtual machine"
    yield f"- {m['date']}, Linux {m['kernel']}, {m['cpu']}, {m['cores']} cores, " \
          f"{m['memory_mib']:,} MiB, {kind}; load average when it began: {m['load_at_start'][0]}"
    weak = {}
    for name, how in m["mitigations"].items():
        weak.setdefault(how, []).append(name)
    yield "- what makes system calls and indirect calls dear here: " + "; ".join(
        f"{', '.join(names)}: {how}" for how, names in weak.items())
    yield "- " + ", ".join(f"{k}: {v}" for k, v in m["peers"].items())
    for column, why in d.get("missing", {}).items():
        yield f"- not there: {column}: {why}"
    yield f"- {'quick run, noisy' if d['quick'] else 'full run'} of {d['run_seconds']:.0f} s"


def connect(d):
    cells = {(c["row"], c["roles"], c["column"]): c for c in d["cells"]}
    rows = []
    for key, title in CONNECT_ROWS.items():
        for roles in sorted({r for k, r, _ in cells if k == key}):
            by = {c: cells.get((key, roles, c)) for c in COLUMNS}
            row = [title, f"{roles:,}"]
            row += [f"{time_of(c['median_ns'])} / {time_of(c['p99_ns'])}" if c else "-"
                    for c in by.values()]
            fence = by["fence"]["floor_ns"] if by["fence"] else 0
            row += [f"{by[c]['floor_ns'] / fence:.3g}" if fence and by[c] else "-"
                    for c in ("nothing", "nft", "nftset", "iptables")]
            rows.append(row)
    yield from table(["connect(): median / p99", "entries", *COLUMNS.values(),
                      *(f"{c} / smtpfence" for c in ("nothing", "list", "set", "iptables"))], rows)


def hook(d):
    rows = []
    for roles, h in d["hook"].items():
        for case, name in (("open", "port not fenced"), ("mail", "allowed SMTP"),
                           ("denied", "denied")):
            get = lambda state: h.get(f"{state}_{case}_ns")
            rows.append([name, f"{int(roles):,}"] + [
                f"{get(s):.0f}" if get(s) is not None else "-"
                for s in ("none", "elsewhere", "trivial", "fence")])
    yield from table(["smallest connect(), ns", "entries", "hook not in use",
                      "hook in use elsewhere", "a program of two instructions", "smtpfence"], rows)


def paths(d):
    rows = []
    for key in dict.fromkeys((r["table"], r["key"]) for r in d["paths"]):
        by = {r["column"]: r for r in d["paths"] if (r["table"], r["key"]) == key}
        row = [f"{key[0]}: {by['nothing']['what']}", f"{by['nothing']['ns']:.0f}"]
        for c in list(PATH_COLUMNS)[1:]:
            one = by.get(c)
            if not one:
                row.append("-")
                continue
            row.append(f"{one['added_ns']:+.0f} ({one['added_least_ns']:+.0f} to "
                       f"{one['added_most_ns']:+.0f})")
        rows.append(row)
    head = ["ns a packet", "nothing: in all"]
    yield from table(head + [f"{c}: more" for c in list(PATH_COLUMNS.values())[1:]], rows)


def _observers(cells):
    rows = []
    bare = next(c for c in cells if c["column"] == "nothing")
    for c in cells:
        told = "-" if c["column"] == "nothing" else f"{100 * c['told'] / c['of']:.4g} %"
        late = seconds(c["latency_seconds"]) if c["latency_seconds"] else "-"
        rows.append([c["title"], time_of(c["burst_ns"]), f"{c['burst_ns'] / bare['burst_ns']:.2f}",
                     time_of(c["spaced_ns"]), time_of(c["other_ns"]), told, late,
                     f"{c['resident'] / 2**20:.0f} MiB" if c["resident"] else "-"])
    yield from table(["watching connect()", "port 25, burst", "of nothing", "port 25, 1 in 2 ms",
                      "other port", "of the burst told in 0.5 s", "connect to its line",
                      "memory"], rows)


def observers(d):
    if d["observers"]:
        yield f"On the machine itself (Linux {d['machine']['kernel']}):"
        yield ""
        yield from _observers(d["observers"])
    vm = d.get("observers_vm")
    if vm:
        yield ""
        yield f"In a virtual machine (Linux {vm['kernel']}, emulated by QEMU without KVM: only " \
              "the ratios say something):"
        yield ""
        yield from _observers(vm["cells"])


def commands(d):
    rows = []
    for roles, times in d["on_seconds"].items():
        cpu = statistics.median(d["on_cpu"][roles])
        rows.append(["smtpfence on", f"{int(roles):,}", seconds(statistics.median(times)),
                     seconds(max(times)), seconds(cpu)])
    for what, times in d["apply_seconds"].items():
        cpu = statistics.median(d["apply_cpu"][what])
        rows.append(["smtpfence apply", what, seconds(statistics.median(times)),
                     seconds(max(times)), seconds(cpu)])
    for roles, s in d["apply_far_seconds"].items():
        rows.append(["smtpfence apply (once)", f"{int(roles):,}, none changed", seconds(s), "-",
                     "-"])
    for roles, by in d["load_seconds"].items():
        for column, s in by.items():
            rows.append([f"{COLUMNS[column]}: load (once)", f"{int(roles):,}", seconds(s), "-",
                         "-"])
    yield from table(["command", "entries", "median", "longest", "on a CPU"], rows)


def _quantiles(times):
    if not times:
        return ["-"] * 3
    times = sorted(times)
    return [seconds(times[0]), seconds(statistics.median(times)),
            seconds(times[int(len(times) * 0.99)])]


def service(d):
    yield from table(["from the event to its line on the log socket", "least", "median", "p99",
                      "missing"],
                     [["denied connect()", *_quantiles(d["alert_latency_seconds"]),
                       d["alerts_missing"]],
                      ["limit crossed", *_quantiles(d["limit_latency_seconds"]),
                       d["limits_missing"]]])
    yield ""
    rows = []
    for roles, b in d["resident_bytes"].items():
        maps = d["map_bytes"].get(roles)
        rows.append([f"{int(roles):,}", f"{b / 2**20:.1f} MiB",
                     f"{maps / 2**20:.1f} MiB" if maps else "-",
                     f"{100 * d['idle_cpu'][roles]:.3f} %"])
    yield from table(["entries", "smtpfenced resident", "maps in the kernel",
                      "smtpfenced idle CPU"], rows)


def programs(d):
    rows = [[p["name"], p["hook"], f"{p['bytecode'] // 8:,}", f"{p['native']:,}"]
            for p in d["programs"]]
    yield from table(["program", "hook", "instructions", "bytes of native code"], rows)


def budgets(d):
    rows = []
    for b in d["budgets"]:
        if b["met"] is None:
            continue
        verdict = "met" if b["met"] else f"**missed{excess(b['limit'], b['measured'])}**"
        rows.append([b["what"], b["limit"], b["measured"], verdict])
    missed = sum(1 for b in d["budgets"] if b["met"] is False)
    yield from table(["budget of the design", "met", "worst case", "measured", "of the limit"], [
        [title, f"{met} of {of}" if of > 1 else "yes" if met else "**no**", worst["what"],
         worst["measured"], f"{of_limit(worst['limit'], worst['measured']):.3g}"]
        for title, met, of, worst in by_design(d["budgets"])])
    yield ""
    yield f"<details><summary>All {len(rows)} cases: {len(rows) - missed} met, {missed} missed"
    yield "</summary>"
    yield ""
    yield from table(["budget", "limit", "measured", ""], rows)
    yield ""
    yield "</details>"


def noise(d):
    """The spread of the slices' medians of each column, at one entry."""
    rows = []
    for key in "denied", "allowed", "open", "pingpong":
        row = [CONNECT_ROWS[key]]
        for column in COLUMNS:
            cell = next((c for c in d["cells"] if (c["row"], c["column"]) == (key, column)), None)
            if not cell:
                row.append("-")
                continue
            m = cell["slice_medians_ns"]
            row.append(f"{min(m) / cell['median_ns']:.2f} to {max(m) / cell['median_ns']:.2f}")
        rows.append(row)
    yield from table(["medians of slices, of the cell's median", *COLUMNS.values()], rows)


BLOCKS = {f.__name__: f for f in (machine, connect, hook, paths, observers, commands, service,
                                  budgets, programs, noise)}


def draw(d):
    connects = {key: {c: [(x["roles"], x["median_ns"]) for x in d["cells"]
                          if (x["row"], x["column"]) == (key, c)]
                      for c in COLUMNS} for key in ("denied", "allowed")}
    counted = {c: [(r["sources"], r["ns"]) for r in d["paths"] if r["column"] == c
                   and r["table"] == "census" and re.fullmatch(r"syn_\d+", r["key"])]
               for c in PATH_COLUMNS}
    dropped = {c: [(r["entries"], r["ns"]) for r in d["paths"] if r["column"] == c
                   and r["table"] == "gateway" and re.fullmatch(r"drop_\d+", r["key"])]
               for c in PATH_COLUMNS}
    m = d["machine"]
    note = f"Linux {m['kernel']}, {m['cpu']}, {m['cores']} cores, {m['date']}; medians"
    above = plot.draw(
        [plot.Panel("Denied connect() to port 25", "cgroups in the list", "time of one connect()",
                    connects["denied"]),
         plot.Panel("Allowed connect() to port 25", "cgroups in the list", "time of one connect()",
                    connects["allowed"])], COLUMNS, note)
    below = plot.draw(
        [plot.Panel("SYN to port 25, counted by its source", "sources, at random",
                    "time of one packet through the host", counted),
         plot.Panel("SYN to port 25, dropped by the gateway", "sources in quarantine",
                    "time of one packet through the host", dropped)], PATH_COLUMNS, note)
    return {"performance-connect.svg": above, "performance-packets.svg": below}


def write(d, into):
    with open(into, encoding="utf-8") as f:
        text = f.read()
    for name, block in BLOCKS.items():
        made = "\n".join(block(d))
        text, count = re.subn(rf"(<!-- bench {name} -->\n).*?(<!-- end -->)",
                              lambda m, made=made: f"{m[1]}\n{made}\n\n{m[2]}", text, flags=re.S)
        if not count:
            sys.exit(f"{into}: there is no <!-- bench {name} -->")
    with open(into, "w", encoding="utf-8") as f:
        f.write(text)
    for name, svg in draw(d).items():
        with open(os.path.join(os.path.dirname(into), name), "w", encoding="utf-8") as f:
            f.write(svg)


def main():
    build = os.environ.get("BUILD", os.path.join(ROOT, "build"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", metavar="FILE", default=f"{build}/bench.json")
    parser.add_argument("--vm", metavar="FILE", default=f"{build}/bench-observers-vm.json")
    parser.add_argument("--into", metavar="FILE", default=f"{ROOT}/docs/PERFORMANCE.md")
    options = parser.parse_args()
    with open(options.markdown, encoding="utf-8") as f:
        data = json.load(f)
    if os.path.exists(options.vm):
        with open(options.vm, encoding="utf-8") as f:
            data["observers_vm"] = json.load(f)
    write(data, options.into)


if __name__ == "__main__":
    main()
