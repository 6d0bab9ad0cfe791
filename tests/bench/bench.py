#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""make bench: smtpfence against nothing, nftables and iptables, interleaved in one run.

Needs root and build/tests/bench-connect; without build/smtpfence its columns stay empty. All it
does happens in network and mount namespaces and cgroups of its own.
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
import packets
import report
import rules
from fence import Fence
from hookcost import HookCost
from world import World, describe_machine, enter_private_namespaces


class Result:
    def __init__(self):
        self.cells = {}          # (roles, row, column) -> Series
        self.hooks = {}          # roles -> HookCost
        self.check_seconds = {}  # roles -> reading and validating the file, nothing else
        self.apply_seconds = {}  # what -> times
        self.apply_cpu = {}
        self.latency, self.alerts_missing = [], 0
        self.resident, self.idle = {}, {}
        self.counters = {}
        self.packets = []        # what packets.py measured
        self.gateway = []        # what gateway.py measured, ns a packet

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
            "packets": self.packets, "gateway": self.gateway,
        }


class Bench:
    def __init__(self, world, options):
        self.world, self.options = world, options
        self.fence = Fence(world, max(options.roles))
        self.columns = measure.columns(world.cgroups)
        self.result = Result()

    def run(self):
        for roles in self.options.roles:
            self._say(f"{roles:,} roles")
            existing = min(roles, self.options.existing)
            self.world.cgroups.make_roles(existing)
            rules.load_all(self.world, roles, existing)
            if self.fence.available:
                self._turn_on(roles, existing)
            self._rounds(roles)
            if self.fence.available and roles in self._ends():
                self._watch_daemon(roles)
        if self.fence.available:
            self._latency()
            self._reload()
            self.result.counters = self.fence.status()["counters"]
        if os.access(packets.TOOL, os.X_OK):
            self._say("packets")
            self.result.packets = packets.measure(self.options.quick)
        if os.access(gateway.TOOL, os.X_OK):
            self._say("gateway")
            self.result.gateway = gateway.measure(self.options.quick)

    @staticmethod
    def _say(text):
        print(f"bench: {text}", file=sys.stderr)

    def _turn_on(self, roles, existing):
        self.fence.stop_daemon()
        self.fence.write_config(roles, existing)
        self.result.check_seconds[roles] = statistics.median(
            self.fence.command("check")[0] for _ in range(3))
        if roles in self._ends():
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
        only = ("all", "first") if roles == self.options.roles[0] else ("all",)
        ends = roles in self._ends()
        for i in range(self.options.rounds if ends else self.options.rounds // 2):
            rows = [row for row in measure.ROWS if i % row.every == 0 and row.only in only]
            for column in self._order(i):
                if column.key == "fence":
                    self.fence.start_daemon()
                for row in rows:
                    series = self.result.series(roles, row.key, column.key)
                    for _ in range(row.slices):
                        series.add(measure.run_cell(self.world, row, column))
                if column.key == "fence":
                    self.fence.stop_daemon()
            self.fence.drain_log()

    def _order(self, i):
        """Another column begins each round."""
        usable = [c for c in self.columns
                  if self.fence.available or not c.key.startswith("fence")]
        return usable[i % len(usable):] + usable[:i % len(usable)]

    def _watch_daemon(self, roles):
        self.fence.start_daemon()
        time.sleep(0.5)  # its start is not its idle life
        start, cpu = time.monotonic(), self.fence.daemon_cpu()
        time.sleep(self.options.idle)
        self.result.idle[roles] = (self.fence.daemon_cpu() - cpu) / (time.monotonic() - start)
        self.result.resident[roles] = self.fence.daemon_resident()

    def _latency(self):
        for _ in range(self.options.alerts):
            seconds = self.fence.alert_latency()
            if seconds is None:
                self.result.alerts_missing += 1
            else:
                self.result.latency.append(seconds)
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
                self.fence.must_enforce(roles)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="under 40 s; noisier")
    parser.add_argument("--json", metavar="FILE", help="everything measured")
    parser.add_argument("--roles", help="role counts, default 1,100,10000")
    options = parser.parse_args()
    options.roles = [int(n) for n in (options.roles or "1,100,10000").split(",")]
    options.existing = 2000  # role cgroups that exist; the rest are only written down
    full = {"rounds": 8, "hook_rounds": 5, "hook_samples": 1000, "idle": 10, "alerts": 60,
            "reloads": 5}
    quick = {"rounds": 2, "hook_rounds": 2, "hook_samples": 200, "idle": 2, "alerts": 8,
             "reloads": 1}
    vars(options).update(quick if options.quick else full)
    return options


def main():
    options = parse_options()
    if not os.access(measure.TOOL, os.X_OK):
        sys.exit(f"bench: {measure.TOOL} is not there: make it first")
    enter_private_namespaces()
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
    report.print_table(measure.ROWS, bench.columns, result.cells, options.roles)
    print()
    report.print_budgets(table)
    print(f"\nevents lost: {result.counters.get('events_lost', '-')}, "
          f"run time {time.monotonic() - start:.0f} s")
    if options.json:
        with open(options.json, "w") as f:
            json.dump({"machine": machine, "quick": options.quick, **result.to_json(),
                       "budgets": [dict(zip(("what", "limit", "measured", "met", "why"), b))
                                   for b in table]}, f, indent=1)


if __name__ == "__main__":
    main()
