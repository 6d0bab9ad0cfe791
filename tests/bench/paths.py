#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What a packet takes through a host that forwards it: with nothing, smtpfence, nftables, iptables.

    tests/bench/paths.py [--quick] [--json FILE]

By itself, or as a part of make bench. Two tables: the census (a SYN is counted by its source, and a
limit watched) and the gateway fence (who may pass, who is in quarantine). Each slice says how many
packets came to the other side: where that is not what the rules say, the bench ends.
"""
import argparse
import contextlib
import json
import os
import statistics
import sys

sys.dont_write_bytecode = True
from measure import BUILD
from pathworld import CENSUS, GATEWAY, run_tool
from world import World, enter_private_namespaces

TOOL = os.path.join(BUILD, "tests/bench-path")
SYN, ACK = 2, 16
FIRST, NEWCOMERS, STRANGERS = 0x10000000, 0x20000000, 0x30000000
CHECKED = 0x11000001, "17.0.0.1"
COLUMNS = ("nothing", "fence", "nft", "nftdev", "iptables")


class Row:
    def __init__(self, key, title, port, flags, sources, first=FIRST, new=False, entries=0,
                 drops=False):
        self.key, self.title, self.port, self.flags, self.sources = key, title, port, flags, sources
        self.first, self.new, self.entries, self.drops = first, new, entries, drops

    def argv(self, packets, slices, turn):
        if self.new:  # a million in all has to do, or the rivals' tables are full
            packets //= 4
        first = self.first + (turn * packets * slices if self.new else 0)
        return (self.port, self.flags, first, 1 << 28 if self.new else self.sources,
                "turn" if self.new else "random", packets, slices)


def census_rows(quick):
    sizes = (1, 1000, 100_000) if quick else (1, 100, 1000, 10_000, 100_000, 1_000_000)
    return [Row("ack", "established", 25, ACK, 1000),
            Row("syn_new", "SYN to 25, each of a new source", 25, SYN, 1, NEWCOMERS, True),
            Row("syn80", "SYN to 80, 1,000 sources", 80, SYN, 1000),
            *(Row(f"syn_{n}", f"SYN to 25, {n:,} source{'s' * (n > 1)}", 25, SYN, n)
              for n in sizes)]


def gateway_rows(quick):
    """In the order in which the quarantine grows."""
    sizes = (0, 10_000) if quick else (0, 100, 1000, 10_000, 100_000)
    rows = []
    for n in sizes:
        rows.append(Row(f"pass_{n}", f"established passes, {n:,} quarantined", 25, ACK, 100_000,
                        entries=n))
        rows.append(Row(f"drop_{n}", f"SYN to 25 dropped, {n:,} quarantined", 25, SYN, n or 100_000,
                        FIRST if n else STRANGERS, entries=n, drops=True))
    rows.append(Row("gate80", "SYN to 80 passes, 100,000 sources", 80, SYN, 100_000,
                    entries=sizes[-1]))
    rows.append(Row("stranger", "SYN to 25 dropped, one source in no list", 25, SYN, 1, STRANGERS,
                    entries=sizes[-1], drops=True))
    return rows


class Paths:
    def __init__(self, quick):
        self.missing = {}       # "table, column" -> why it is not there
        self.rounds, self.packets, self.slices = (2, 20_000, 3) if quick else (7, 50_000, 3)
        self.rows = {"census": census_rows(quick), "gateway": gateway_rows(quick)}
        self.samples = {}       # (table, row.key, column) -> [[ns of a slice] of a round]
        self.turns = 0

    def table(self, world, table, kinds):
        with contextlib.ExitStack() as stack:
            hosts = {}
            for name, kind in kinds.items():
                host = kind(world, f"{table}-{name}")
                stack.callback(host.close)
                try:
                    host.load()
                except SystemExit as why:
                    if name in ("nothing", "fence"):
                        raise
                    self.missing[f"{table}, {name}"] = str(why)
                    continue
                hosts[name] = host
                # until the tap's queue is full: from then on each packet is counted, as dropped
                run_tool(host, TOOL, 25, ACK, FIRST, 1, "turn", 3000, 1)
                self._check_count(host, name)
            entries = 0
            for group in self._groups(self.rows[table]):
                if group[0].entries > entries:
                    for host in hosts.values():
                        host.quarantine(entries, group[0].entries)
                    entries = group[0].entries
                self._rounds(table, hosts, group)
                if group[0].new:
                    for host in hosts.values():
                        host.forget()

    @staticmethod
    def _check_count(host, name):
        """Who does not count is fast."""
        run_tool(host, TOOL, 80, SYN, CHECKED[0], 1, "turn", 1000, 1)
        if host.counted(CHECKED[1]) not in (1000, None):
            sys.exit(f"bench: {name}: of 1,000 SYNs {host.counted(CHECKED[1])} were counted")

    @staticmethod
    def _groups(rows):
        """Rows with as many entries are measured in turns; newcomers come first."""
        groups = {}
        for row in sorted(rows, key=lambda row: not row.new):
            groups.setdefault((row.new, row.entries), []).append(row)
        return groups.values()

    def _rounds(self, table, hosts, rows):
        for row in rows:
            for name, host in hosts.items():
                self._fill(host, row, name)
        for i in range(self.rounds):
            names = list(hosts)[i % len(hosts):] + list(hosts)[:i % len(hosts)]
            for row in rows:
                for name in names:
                    ns = self._slices(hosts[name], row, self.packets, self.slices, name)
                    self.samples.setdefault((table, row.key, name), []).append(ns)

    def _fill(self, host, row, name):
        """Every source once, so that none is new when it counts."""
        if row.new:
            return
        run_tool(host, TOOL, row.port, row.flags, row.first, row.sources, "turn",
                 max(row.sources, 2000), 1)
        self._slices(host, row, 2000, 1, name)

    def _slices(self, host, row, packets, slices, name):
        self.turns += 1
        argv = row.argv(packets, slices, self.turns)
        said = json.loads(run_tool(host, TOOL, *argv))
        sent = argv[-2] * argv[-1]
        want = 0 if row.drops and name != "nothing" else sent
        if abs(said["left"] - want) > want // 1000 + 2:
            sys.exit(f"bench: {name}: {row.title}: {said['left']} of {sent} packets came through, "
                     f"not {want}")
        return said["ns"]

    def result(self):
        """The best slice of a round counts; what is added is a difference within a round."""
        rows = []
        for table, kinds in self.rows.items():
            for row in kinds:
                for name in COLUMNS:
                    if (table, row.key, name) not in self.samples:
                        continue
                    rounds = self.samples[table, row.key, name]
                    bare = [min(r) for r in self.samples[table, row.key, "nothing"]]
                    added = sorted(min(r) - b for r, b in zip(rounds, bare))
                    rows.append({
                        "table": table, "key": row.key, "what": row.title, "column": name,
                        "sources": row.sources, "entries": row.entries, "drops": row.drops,
                        "ns": statistics.median(min(r) for r in rounds),
                        "floor_ns": min(min(r) for r in rounds),
                        "most_ns": max(x for r in rounds for x in r),
                        "added_ns": statistics.median(added), "added_least_ns": added[0],
                        "added_most_ns": added[-1]})
        return rows


def measure(world, quick=False, missing=None):
    paths = Paths(quick)
    paths.table(world, "census", CENSUS)
    paths.table(world, "gateway", GATEWAY)
    if missing is not None:
        missing.update(paths.missing)
    return paths.result()


def print_rows(rows):
    titles = {"nothing": "nothing", "fence": "smtpfence", "nft": "nft forward",
              "nftdev": "nft device", "iptables": "iptables+ipset"}
    print(f"{'ns a packet (and over nothing)':44}" + "".join(f"{titles[c]:>17}" for c in COLUMNS))
    for key in dict.fromkeys((r["table"], r["key"]) for r in rows):
        cells = {r["column"]: r for r in rows if (r["table"], r["key"]) == key}
        line = f"{key[0]}: {cells['nothing']['what']}"[:44].ljust(44)
        for c in COLUMNS:
            if c not in cells:
                line += "-".rjust(17)
                continue
            one = cells[c]
            more = "" if c == "nothing" else f" ({one['added_ns']:+.0f})"
            line += f"{one['ns']:.0f}{more}".rjust(17)
        print(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    enter_private_namespaces()
    with World() as world:
        missing = {}
        rows = measure(world, options.quick, missing)
    print_rows(rows)
    for column, why in missing.items():
        print(f"not there: {column}: {why}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump(rows, f, indent=1)


if __name__ == "__main__":
    main()
