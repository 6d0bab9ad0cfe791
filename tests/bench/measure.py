# SPDX-License-Identifier: GPL-2.0-only
"""Runs slices of bench-connect and keeps their samples; no printing, no policy."""
import array
import os
import statistics
import subprocess
import sys

from world import FENCED_PORT, NOWHERE, OPEN_PORT, WEB_UID, die_with_parent

BUILD = os.environ.get("BUILD", os.path.join(os.path.dirname(__file__), "../../build"))
TOOL = os.path.join(BUILD, "tests/bench-connect")
EPERM, ENETUNREACH, ECONNREFUSED = 1, 101, 111
SLICE_NS = 60_000_000
SLICE_SAMPLES = 4000
BATCH = 64  # connects in one sample of "repeat"
WARM_UP = 32  # samples thrown away first


class Series:
    """The samples of one cell, slice by slice."""

    def __init__(self):
        self.slices = []

    def add(self, samples):
        if samples:
            self.slices.append(samples)

    def __bool__(self):
        return bool(self.slices)

    def quantile(self, q):
        merged = sorted(x for s in self.slices for x in s)
        return merged[min(len(merged) - 1, int(len(merged) * q))]

    @property
    def median(self):
        return self.quantile(0.5)

    @property
    def p99(self):
        return self.quantile(0.99)

    @property
    def floor(self):
        """The best slice's tenth percentile: without what other work on the machine added."""
        return min(sorted(s)[len(s) // 10] for s in self.slices)

    def medians(self):
        return [statistics.median(s) for s in self.slices]

    def summary(self):
        return {"median_ns": self.median, "p99_ns": self.p99, "floor_ns": self.floor,
                "samples": sum(len(s) for s in self.slices), "slice_medians_ns": self.medians()}


class Column:
    """Something that is compared: its network, its cgroup tree and what a denied sender gets."""

    def __init__(self, key, title, net, tree, denied_errno, denied_to=None):
        self.key, self.title, self.net, self.tree = key, title, net, tree
        self.denied_errno, self.denied_to = denied_errno, denied_to


def columns(cgroups):
    fenced, free = cgroups.fenced, cgroups.free
    return [
        # With nothing there is no denied connect: its number is one that has no route, the
        # cheapest way for the kernel to say no.
        Column("nothing", "nothing", "plain", free, ENETUNREACH, NOWHERE),
        Column("fence", "smtpfence", "plain", fenced, EPERM),
        Column("fence_alone", "  (no daemon)", "plain", fenced, EPERM),
        Column("nft", "nftables list", "nft", free, ECONNREFUSED),
        Column("nftset", "nftables set", "nftset", free, ECONNREFUSED),
        Column("iptables", "iptables", "iptables", free, ECONNREFUSED),
    ]


class Row:
    def __init__(self, key, title, mode, who, port, denied=False, pace_ns=0, samples=SLICE_SAMPLES,
                 warm_up=WARM_UP, every=1, only="all", slices=1):
        self.key, self.title, self.mode, self.who, self.port = key, title, mode, who, port
        self.denied, self.pace_ns, self.samples = denied, pace_ns, samples
        self.warm_up = warm_up  # more than the fence's burst of events a sender (20)
        self.every = every      # measured in each n-th round,
        self.only = only        # with "all" counts of roles, those "near", or the "first" only,
        self.slices = slices    # so many slices a round


ROWS = [
    Row("denied", "denied connect, burst", "fail", "web", FENCED_PORT, denied=True),
    # Slow enough for the daemon to sleep in between, fast enough for the caches to stay warm.
    # Events are limited a sender, so most of these denials are only counted.
    Row("denied_paced", "denied connect, 1 in 0.5 ms", "fail", "web", FENCED_PORT, denied=True,
        pace_ns=500_000, samples=200, only="near"),
    # Slower than that limit: each denial makes an event and may wake the daemon. By then the
    # caches are cold, which makes any path through the kernel 5 times as long.
    Row("denied_reported", "denied connect, 1 in 110 ms", "fail", "web", FENCED_PORT, denied=True,
        pace_ns=110_000_000, samples=4, warm_up=1, every=4, only="first"),
    Row("allowed", "allowed SMTP connect", "accept", "mta", FENCED_PORT),
    Row("open", "connect, unfenced port", "accept", "web", OPEN_PORT),
    # What each packet of everybody else pays, and what the mail server's pay. More slices, since
    # one per cent is looked for, and a slice is a fifth slower now and then.
    Row("pingpong", "round trip, unfenced port", "pingpong", "web", OPEN_PORT, samples=1200,
        slices=3, only="near"),
    Row("pingpong_smtp", "round trip, SMTP", "pingpong", "mta", FENCED_PORT, samples=1200,
        slices=3, only="near"),
]


def _slice(*argv):
    done = subprocess.run([TOOL, *map(str, argv)], capture_output=True,
                          preexec_fn=die_with_parent)
    if done.returncode:
        sys.exit(f"bench: {' '.join(map(str, done.args))}: {done.stderr.decode().strip()}")
    return array.array("I", done.stdout)


def run_cell(world, row, column, warm_up=None):
    """One slice of one cell of the table."""
    net = world.networks
    to_nowhere = row.denied and column.denied_to
    bound = SLICE_NS + row.samples * row.pace_ns * 2
    argv = ["-n", net.files[column.net], "-N", net.far, "-p", row.port,
            "-a", column.denied_to if to_nowhere else net.addr[column.net],
            "-c", world.cgroups.dir(f"{column.tree}/{row.who}"),
            "-u", WEB_UID if row.who == "web" else 0,
            "-e", column.denied_errno if row.denied else 0,
            "-s", row.samples, "-t", bound, "-i", row.pace_ns,
            "-w", row.warm_up if warm_up is None else warm_up]
    return _slice(*argv, row.mode)


def run_hook(world, who, port, tree, program=None, expect=ENETUNREACH, samples=1500):
    """One slice of the hook's own cost: ns of one connect(), several in a sample.

    The destination has no route, so what the hook lets pass fails right after it. No packet, port
    or timer is in the time: it is the smallest connect() there is (some 300 ns), and 5 ns more are
    seen, while a whole handshake has a noise of hundreds. The same socket serves all of them.
    """
    argv = ["-n", world.networks.files["plain"], "-p", port, "-a", NOWHERE,
            "-c", world.cgroups.dir(f"{tree}/{who}"), "-u", WEB_UID if who == "web" else 0,
            "-e", expect, "-b", BATCH, "-s", samples, "-t", 2 * SLICE_NS]
    if program is not None:
        argv += ["-P", program]
    return array.array("d", (ns / BATCH for ns in _slice(*argv, "repeat")))
