# SPDX-License-Identifier: GPL-2.0-only
"""The census as a test sees it: its tables by the commands, floods to fill them, its alerts."""

import json
import os
import re
import struct

import kernel
import netns
from lab import BUILD, TOP, needs

FLOOD = os.path.join(BUILD, "tests", "flood")


def count_on(lab, *uplinks, mode="monitor", **keys):
    """Count on these uplinks (up0: to the world). mode="yes": and deny. Other keys as given."""
    lab.conf.keys.update(uplinks=list(uplinks or ["up0"]), FW_OUTPUT_MTA=mode, **keys)
    lab.conf.write()
    done = lab.fence("monitor" if mode == "monitor" else "on")
    assert done.code == 0 and "not counted" not in done.err, done


def spare_link(lab, name="fl0", peer="fl1"):
    """A wire of the host's own for floods: nobody at its far end looks at what comes."""
    netns.sh("ip", "-n", lab.host, "link", "add", name, "type", "veth", "peer", "name", peer)
    for one in (name, peer):
        netns.inside(netns.path(lab.host), lambda: _quiet(one))
        netns.sh("ip", "-n", lab.host, "link", "set", one, "up")


def _quiet(interface):
    with open(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6", "w") as f:
        f.write("1")


def flood(lab, how="packets", dev="fl0", same=False, timeout=120, cgroup=None, uid=None, **options):
    """What flood.c sent: {"sent", "seconds"}."""
    needs(FLOOD)
    argv = [FLOOD, how, "--dev", dev] + (["--same"] if same else [])
    for name, value in options.items():
        argv += [f"--{name}", str(value)]
    done = lab.run(argv, timeout=timeout, cgroup=cgroup or lab.web, uid=uid)
    assert done.code == 0, done
    return json.loads(done.out)


def rows(lab, table, *args):
    done = lab.fence("--json", table, *args, timeout=120)
    assert done.code == 0, done
    return [json.loads(line) for line in done.out.splitlines()]


def sources(lab, *args):
    """{address: row}; an address in two rows is a fault of the table."""
    found = rows(lab, "sources", *args)
    table = {row["source"]: row for row in found}
    twice = len(found) - len(table)
    assert not twice, f"{twice} addresses are in two rows"
    return table


def senders(lab, *args):
    """{(cgroup, uid): row}"""
    found = rows(lab, "senders", *args)
    table = {(row["cgroup"], row["uid"]): row for row in found}
    assert len(found) == len(table), "a sender is in two rows"
    return table


def source(lab, name):
    return sources(lab).get(name)


def sender(lab, cgroup, uid):
    return senders(lab).get((cgroup.name, uid))


def counters(lab):
    """What the census itself counted, by name (maps/census.h)."""
    text = open(os.path.join(TOP, "maps", "census.h")).read()
    names = re.findall(r'X\([A-Z_]+, "([a-z_]+)"', text.split("SF_CENSUS_COUNTERS(X)")[1]
                       .split("enum sf_census_counter")[0])
    shown = kernel.bpftool("map", "dump", "pinned", kernel.map_pin(lab, "census_counters"))
    out = {}
    for entry in shown:
        index = struct.unpack("I", _bytes(entry["key"]))[0]
        if index < len(names):
            out[names[index]] = sum(struct.unpack("Q", _bytes(v["value"]))[0]
                                    for v in entry["values"])
    return out


def _bytes(texts):
    return bytes(int(t, 16) for t in texts)


def syn_sum(table):
    return sum(row["syn"] for row in table.values())


def alerts(lab, rule, pattern=""):
    """The alerts of a rule in the log socket, in their order."""
    return [line for line in lab.log.lines()
            if re.search(rf"ALERT .*\brule={rule}\b", line) and re.search(pattern, line)]


def fields(line):
    found = re.findall(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|\S+)', line[line.index("ALERT "):])
    return {key: value.strip('"') for key, value in found}
