#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""make bench: smtpfence against nothing, nftables, iptables and bpftrace, interleaved in one run.

Needs root and build/tests/bench-*; without build/smtpfence its columns stay empty. All it does
happens in network and mount namespaces and cgroups of its own. What it measured goes to
build/bench.json, of which document.py makes docs/PERFORMANCE.md's tables and plots.
"""
import argparse
import json
import os
import signal
import statistics
import sys
import time

sys.dont_write_bytecode = True

import budgets
import gateway
import measure
import observers
import packets
import paths
import report
import rules
from fence import Fence
from hookcost import HookCost
from world import BUILT, World, describe_machine, enter_private_namespaces


class Result:
    def __init__(self):
        self.cells = {}          # (roles, row, column) -> Series
        self.hooks = {}          # roles -> HookCost
        self.apply_far = {}      # roles -> seconds, beyond what the budgets are about
        self.programs = []       # their size
        self.missing = {}        # column -> why it is not there
        self.check_seconds = {}  # roles -> reading and validating the file, nothing else
        self.apply_seconds = {}  # what -> times
        self.apply_cpu = {}
        self.latency, self.alerts_missing = [], 0
        self.resident, self.idle = {}, {}
        self.counters = {}
        self.seconds = {}        # part of the bench -> how long it took
        self.limit_latency, self.limits_missing = [], 0
        self.load_seconds = {}   # roles -> column -> loading the same rule there
        self.map_bytes = {}      # roles -> what the kernel keeps for the fence
        self.packets = []        # what packets.py measured
        self.gateway = []        # what gateway.py measured, ns a packet
        self.paths = []          # what paths.py measured
        self.observers = []      # what observers.py measured

    def series(self, roles, row, column):
        return self.cells.setdefault((roles, row, column), measure.Series())

    def median(self, roles, row, column):
        return self.series(roles, row, column).median

    def floor(self, roles, row, column):
        return self.series(roles, row, column).floor

    def to_json(self):
        return {
            "cells": [{"roles": r, "row": w, "column": c, **s.summary()}
                      for (r, w, c), s in self.cells.items() if s],
            "hook": {r: h.summary() for r, h in self.hooks.items()},
            "on_seconds": {r: h.on_seconds for r, h in self.hooks.items()},
            "check_seconds": self.check_seconds, "apply_seconds": self.apply_seconds,
            "apply_cpu": self.apply_cpu, "on_cpu": {r: h.on_cpu for r, h in self.hooks.items()},
            "alert_latency_seconds": self.latency, "alerts_missing": self.alerts_missing,
            "resident_bytes": self.resident, "idle_cpu": self.idle, "counters": self.counters,
            "apply_far_seconds": self.apply_far, "programs": self.programs,
            "missing": self.missing,
            "limit_latency_seconds": self.limit_latency, "limits_missing": self.limits_missing,
            "load_seconds": self.load_seconds, "map_bytes": self.map_bytes,
            "packets": self.packets, "gateway": self.gateway, "paths": self.paths,
            "observers": self.observers, "seconds": self.seconds,
        }


class Bench:
    def __init__(self, world, options):
        self.world, self.options = world, options
        self.fence = Fence(world)
        self.columns = measure.columns(world.cgroups)
        self.result = Result()

    def run(self):
        parts = [(f"{n:,} roles", lambda n=n: self._roles(n)) for n in self.options.roles]
        if self.fence.available:
            parts += [("event latency", self._latency), ("reload", self._reload)]
            parts += [(f"{n:,} roles", lambda n=n: self._far_roles(n)) for n in self.options.far]
            parts += [("packets", self._packets), ("gateway", self._gateway),
                      ("paths", self._paths), ("observers", self._observers)]
        for name, part in parts:
            self._say(name)
            start = time.monotonic()
            part()
            self.result.seconds[name] = time.monotonic() - start

    def _roles(self, roles):
        existing = min(roles, self.options.existing)
        self.world.cgroups.make_roles(existing)
        self.result.load_seconds[roles] = rules.load_all(
            self.world, roles, existing, self.result.missing)
        if self.fence.available:
            self._turn_on(roles, existing)
        self._rounds(roles)
        if self.fence.available and roles in self._ends():
            self._watch_daemon(roles)

    def _far_roles(self, roles):
        """Beyond what most budgets are about."""
        self.fence.stop_daemon()
        self.fence.detach()
        self.fence.max_roles = roles * 5 // 4
        self._roles(roles)
        self.fence.stop_daemon()
        self.result.apply_far[roles] = self.fence.command("apply")[0]

    def _packets(self):
        self.fence.stop_daemon()
        self.fence.detach()
        self.result.packets = packets.measure(how=packets.IN_BENCH[self.options.quick])

    def _gateway(self):
        self.result.gateway = gateway.measure(how=gateway.IN_BENCH[self.options.quick])

    def _paths(self):
        self.result.paths = paths.measure(self.world, self.options.quick, self.result.missing)
        self.world.mount_bpffs()

    def _observers(self):
        self.fence.max_roles = 20000
        self.fence.write_config(1, 1, mode="monitor")
        self.fence.command("monitor")
        self.result.observers = observers.measure(self.world, self.fence, self.options.quick)

    @staticmethod
    def _say(text):
        print(f"bench: {text}", file=sys.stderr)

    def _turn_on(self, roles, existing):
        self.fence.stop_daemon()
        self.fence.write_config(roles, existing)
        self.result.check_seconds[roles] = statistics.median(
            self.fence.command("check")[0] for _ in range(3))
        if roles in self._ends() or roles in self.options.far:
            hook = self.result.hooks[roles] = HookCost(self.options.hook_samples)
            hook.measure(self.world, self.fence, self.options.hook_rounds)
        else:
            self.fence.detach()
            self.fence.command("on")
        self.fence.must_enforce(roles)

    def _ends(self):
        return self.options.roles[0], self.options.roles[-1]

    def _rounds(self, roles):
        """One slice of each cell a round, so that what happens to the machine happens to all."""
        only = ("all", "near", "first") if roles == self.options.roles[0] else ("all", "near")
        if roles in self.options.far:
            only = ("all",)
        ends = roles in self._ends()
        # where one packet takes tens of ms, one sample to warm up has to do
        slow = {"nft": 1, "iptables": 1} if roles in self.options.far else {}
        for i in range(self.options.rounds if ends else self.options.rounds // 2):
            rows = [row for row in measure.ROWS if i % row.every == 0 and row.only in only]
            for column in self._order(i):
                if column.key == "fence":
                    self.fence.start_daemon()
                for row in rows:
                    series = self.result.series(roles, row.key, column.key)
                    for _ in range(row.slices):
                        series.add(measure.run_cell(self.world, row, column,
                                                    slow.get(column.key)))
                if column.key == "fence":
                    self.fence.stop_daemon()
            self.fence.drain_log()

    def _order(self, i):
        """Another column begins each round."""
        usable = [c for c in self.columns
                  if c.key not in self.result.missing
                  and (self.fence.available or not c.key.startswith("fence"))]
        return usable[i % len(usable):] + usable[:i % len(usable)]

    def _watch_daemon(self, roles):
        self.fence.start_daemon()
        time.sleep(0.5)  # its start is not its idle life
        start, cpu = time.monotonic(), self.fence.daemon_cpu()
        time.sleep(self.options.idle)
        self.result.idle[roles] = (self.fence.daemon_cpu() - cpu) / (time.monotonic() - start)
        self.result.resident[roles] = self.fence.daemon_resident()
        self.result.map_bytes[roles] = self.fence.map_bytes()

    def _latency(self):
        """Of both kinds, in turns, with the census on the bench's own uplink."""
        result = self.result
        self.fence.stop_daemon()
        self.fence.write_config(1, 1, more=['uplinks = {"near"}'])
        self.fence.command("apply")
        self.result.programs = self.fence.programs()
        self.fence.start_daemon()
        for _ in range(self.options.alerts):
            for probe, times, missing in (
                    (self.fence.alert_latency, result.latency, "alerts_missing"),
                    (self.fence.limit_latency, result.limit_latency, "limits_missing")):
                seconds = probe()
                if seconds is None:
                    setattr(result, missing, getattr(result, missing) + 1)
                else:
                    times.append(seconds)
                time.sleep(0.21)  # the daemon tells of 50 new senders in 10 s, one by one

    def _reload(self):
        most, existing = max(self.options.roles), self.options.existing
        steps = ((f"{most:,} roles, none changed", most),
                 (f"{most:,} roles to 1", 1), (f"1 role to {most:,}", most))
        self.fence.stop_daemon()
        self.fence.write_config(most, existing)
        self.fence.command("apply")
        for _ in range(self.options.reloads):
            for what, roles in steps:
                self.fence.write_config(roles, existing)
                seconds = self.fence.command("apply")[0]
                self.result.apply_seconds.setdefault(what, []).append(seconds)
                self.result.apply_cpu.setdefault(what, []).append(self.fence.cpu)
                self.result.counters = self.fence.must_enforce(roles)["counters"]


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two minutes; noisier")
    parser.add_argument("--json", metavar="FILE", help="everything measured; build/bench.json")
    options = parser.parse_args()
    options.json = options.json or os.path.join(os.environ.get(BUILT, measure.BUILD), "bench.json")
    options.roles = [1, 10_000] if options.quick else [1, 100, 1000, 10_000]
    options.far = [] if options.quick else [100_000]
    options.existing = 2000  # role cgroups that exist; the rest are only written down
    full = {"rounds": 8, "hook_rounds": 5, "hook_samples": 1000, "idle": 20, "alerts": 50,
            "reloads": 5}
    quick = {"rounds": 2, "hook_rounds": 2, "hook_samples": 200, "idle": 5, "alerts": 8,
             "reloads": 1}
    vars(options).update(quick if options.quick else full)
    return options


def main():
    parse_options()     # wrong words end here
    if not os.access(measure.TOOL, os.X_OK):
        sys.exit(f"bench: {measure.TOOL} is not there: make it first")
    enter_private_namespaces()
    options = parse_options()
    for number in signal.SIGTERM, signal.SIGHUP:
        signal.signal(number, lambda *_: sys.exit("bench: stopped"))
    start = time.monotonic()
    machine = describe_machine()
    print("kernel {kernel}, {cpu}, {cores} cores, load average {load_at_start}".format(**machine))
    if machine["load_at_start"][0] > 0.5:
        print("others are at work here: the numbers that count need a quiet machine")
    with World() as world:
        bench = Bench(world, options)
        try:
            bench.run()
        finally:
            bench.fence.close()
    result, table = bench.result, budgets.judge(bench.result)
    seconds = time.monotonic() - start
    report.print_table(measure.ROWS, bench.columns, result.cells, options.roles + options.far)
    for rows, show in (result.paths, paths.print_rows), (result.observers, observers.print_cells):
        if rows:
            print()
            show(rows)
    print()
    report.print_budgets(table)
    for column, why in result.missing.items():
        print(f"not there: {column}: {why}")
    print(f"\nevents lost: {result.counters.get('events_lost', '-')}, run time {seconds:.0f} s")
    with open(options.json, "w", encoding="utf-8") as f:
        json.dump({"machine": machine, "quick": options.quick, "run_seconds": seconds,
                   **result.to_json(), "budgets": [
                       dict(zip(("what", "limit", "measured", "met", "why"), b))
                       for b in table]}, f, indent=1)
    print(f"all of it: {options.json}")


if __name__ == "__main__":
    main()
