#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What the gateway fence adds to a packet, in ns over an empty program, and what is left of a veth
pair's packets per (CPU) second with it, with nftables and with tc.

    tests/bench/gateway.py [--quick] [--only ns|wire] [--json FILE]

Needs root, build/tests/bench-gateway, build/tests/flood and build/smtpfence.
"""
import argparse
import contextlib
import hashlib
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../net")]
import report

BUILD = os.environ.get("BUILD", os.path.join(HERE, "../../build"))
TOOL = os.path.join(BUILD, "tests/bench-gateway")
QUICK, FULL = (5, 50_000), (15, 300_000)       # rounds, repetitions, by itself
IN_BENCH = {True: (3, 50_000), False: (7, 100_000)}


# ---- ns over an empty program ----

def measure(quick=False, how=None):
    """[{door, case, entries, ns, least, empty, budget}]"""
    done = subprocess.run([TOOL, *map(str, how or (QUICK if quick else FULL))],
                          stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"bench: {TOOL}: exit {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def budgets(cases):
    """As budgets.judge has them: (what, limit, measured, met, why)."""
    for c in cases:
        limit = c["budget"]
        yield (f"gateway, {c['door']}: {c['case']}" + (f", {c['entries']:,} entries"
                                                       if c["entries"] else ""),
               f"{limit} ns" if limit else "-", f"{c['ns']:.0f} ns",
               c["ns"] <= limit if limit else None,
               f"least {c['least']:.0f}; the empty program's round {c['empty']:.0f}")


# ---- packets per second of CPU, on the wire ----

QUARANTINED = 100_000
FLOOD_MAC = "02:00:00:00:00:01"         # where flood.c's frames go
FAR = "203.0.113.200"                   # routed to the world, which has no such address
NFT = """table {table} {{
 set mail {{ type ipv4_addr; flags interval; elements = {{ 10.9.4.2 }} }}
 set out {{ type ipv4_addr; flags timeout; size 131072; }}
 set seen {{ type ipv4_addr; flags dynamic,timeout; timeout 10m; size 131072; }}
 chain fence {{ type filter hook {hook} priority {priority}; policy accept;
  {only} tcp flags & (syn | ack) == syn update @seen {{ ip saddr counter }}
  {only} tcp flags & (syn | ack) == syn tcp dport {{ 25, 465, 587 }} ip saddr @out drop
  {only} tcp flags & (syn | ack) == syn tcp dport {{ 25, 465, 587 }} ip saddr != @mail drop
 }}
}}
"""


def quarantined():
    return [f"16.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(QUARANTINED)]


def nft(r, table, hook, priority, only=""):
    text = NFT.format(table=table, hook=hook, priority=priority, only=only)
    addresses = quarantined()
    for i in range(0, len(addresses), 5000):
        text += f"add element {table} out {{ " + \
            ", ".join(f"{a} timeout 1d" for a in addresses[i:i + 5000]) + " }\n"
    done = subprocess.run(["nsenter", f"--net=/run/netns/{r.lab.host}", "nft", "-f", "-"],
                          input=text, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"bench: nft: {done.stderr[:500]}")


class Fenced:
    """The fence on its own customer's interface; another hook is another life of it."""

    def __init__(self, hook):
        self.hook = hook

    def put(self, r, port):
        lab = r.lab
        lab.conf.keys.update(uplinks=["up0"], customers=[port], mail_hosts=["10.9.4.2"],
                             gateway_hook=self.hook, max_sources=131072, FW_OUTPUT_MTA="yes")
        lab.conf.sections = [s for s in lab.conf.sections if s[0] != "quarantine_net"]
        for address in quarantined():
            lab.conf.section("quarantine_net", address)
        done = lab.on()
        assert not done.code
        how = {o["target"]: o["how"] for o in lab.status()["attached"] if o["hook"] == "gateway"}
        print(f"  {port}: {how}", flush=True)


class Nft:
    def put(self, r, port):
        nft(r, "netdev bench", f"ingress device {port}", 0)


class NftForward:
    def put(self, r, port):
        nft(r, "ip bench", "forward", 0, f"iifname {port}")


class Tc:
    def put(self, r, port):
        from netns import sh
        ns = ["nsenter", f"--net=/run/netns/{r.lab.host}", "tc"]
        sh(*ns, "qdisc", "add", "dev", port, "clsact")
        sh(*ns, "filter", "add", "dev", port, "ingress", "bpf", "da", "obj",
           f"{BUILD}/bpf/packets.bpf.o", "sec", "classifier")


class Nothing:
    def put(self, r, port):
        pass


# (name, what is put there) of one life of the router; each life has its own "nothing".
LIVES = [
    [("nothing", Nothing()), ("smtpfence, TC", Fenced("tc")), ("nftables, netdev", Nft()),
     ("tc, bare filter", Tc())],
    [("nothing", Nothing()), ("smtpfence, XDP", Fenced("xdp"))],
    [("nothing", Nothing()), ("smtpfence, generic XDP", Fenced("generic"))],
    [("nothing", Nothing()), ("nftables, forward", NftForward())],
]
FLOODS = [
    ("SYN to 80, one source", ["--port", "80"], 1),
    ("SYN to 80, 100,000 sources", ["--port", "80"], QUARANTINED),
    ("SYN to 25, 100,000 quarantined", ["--port", "25"], QUARANTINED),
    ("SYN to 25, one source in no list", ["--port", "25", "--src", "17.0.0.1"], 1),
]


def flood(c, options, sources, packets):
    """Packets in a second of one CPU: sent, forwarded or dropped, all of it in the sender's time,
    where the soft interrupts of its packets are counted too. Others' work does not change that."""
    proc = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{c.ns}", f"{BUILD}/tests/flood", "packets", "--dev", "eth0",
         "--src", "16.0.0.0", "--dst", FAR, "--sources", str(sources), "--each",
         str(max(1, packets // sources)), *options], stdout=subprocess.PIPE, text=True)
    said = proc.stdout.read()
    _, status, used = os.wait4(proc.pid, 0)
    proc.returncode = os.waitstatus_to_exitcode(status)
    if status:
        sys.exit(f"bench: flood: exit {proc.returncode}")
    return json.loads(said)["sent"] / (used.ru_utime + used.ru_stime)


def bulk(r, c, size):
    """Bytes of one TCP connection to the far end in a second of CPU, both ends' together."""
    import netns
    from lab import WORLD4
    server = netns.inside(netns.path(r.lab.world),
                          lambda: socket.create_server((WORLD4, 8080), backlog=1))
    seen = []

    def read():
        with server.accept()[0] as stream:
            total = 0
            while data := stream.recv(1 << 20):
                total += len(data)
            seen.append(total)

    def send():
        block = hashlib.sha256(b"x").digest() * 32768
        with socket.create_connection((WORLD4, 8080), 10) as stream:
            for _ in range(size >> 20):
                stream.sendall(block)

    reader = threading.Thread(target=read)
    reader.start()
    start = time.process_time()
    netns.inside(netns.path(c.ns), send)
    reader.join()
    seconds = time.process_time() - start
    server.close()
    assert seen == [size], seen
    return size / seconds


def life(columns, rounds, packets, size):
    """{row: {column: [rate]}} of one router with a customer for each column, in turns."""
    from lab import Lab
    from router import Router
    result = {}
    with Lab() as lab, Router(lab) as r:
        customers = {}
        for i, (name, what) in enumerate(columns):
            c = customers[name] = r.add(f"c{i}", 40 + i)
            r.ip_link("set", c.port, "address", FLOOD_MAC)
            what.put(r, c.port)
        for i in range(rounds):
            order = list(customers.items())
            for name, c in order[i % len(order):] + order[:i % len(order)]:
                for row, options, sources in FLOODS:
                    result.setdefault(row, {}).setdefault(name, []).append(
                        flood(c, options, sources, packets))
                result.setdefault("bulk TCP, bytes", {}).setdefault(name, []).append(
                    bulk(r, c, size))
    return result


def wire(quick=False):
    rounds, packets, size = (3, 100_000, 128 << 20) if quick else (9, 200_000, 512 << 20)
    rows = []
    for columns in LIVES:
        with contextlib.redirect_stdout(sys.stderr):
            found = life(columns, rounds, packets, size)
        for row, by in found.items():
            for name, _ in columns[1:]:
                ratios = [one / nothing for one, nothing in zip(by[name], by["nothing"])]
                rows.append({"what": row, "column": name,
                             "nothing": statistics.median(by["nothing"]),
                             "rate": statistics.median(by[name]), "least_ratio": min(ratios),
                             "most_ratio": max(ratios)})
    return rows


def print_wire(rows):
    print(f"{'packets a CPU second (bulk: MiB)':36}{'':26}{'nothing':>10}{'with it':>10}"
          f"{'ratio':>8}{'from - to':>14}{'ns a packet':>13}")
    for r in rows:
        is_bulk = r["what"].startswith("bulk")
        unit = 1 << 20 if is_bulk else 1
        more = "" if is_bulk else f"{1e9 / r['rate'] - 1e9 / r['nothing']:+.0f}"
        spread = f"{r['least_ratio']:.2f} - {r['most_ratio']:.2f}"
        print(f"{r['what']:36}{r['column']:26}{r['nothing'] / unit:10,.0f}{r['rate'] / unit:10,.0f}"
              f"{r['rate'] / r['nothing']:8.2f}{spread:>14}{more:>13}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=("ns", "wire"))
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    print("kernel {}, load average {}".format(os.uname().release,
                                              open("/proc/loadavg").read().split()[0]))
    cases = measure(options.quick) if options.only != "wire" else []
    if cases:
        report.print_budgets(list(budgets(cases)))
    rows = wire(options.quick) if options.only != "ns" else []
    if rows:
        print_wire(rows)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump({"ns": cases, "wire": rows}, f, indent=1)


if __name__ == "__main__":
    main()
