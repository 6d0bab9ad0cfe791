# SPDX-License-Identifier: GPL-2.0-only
"""Real connections on a real wire: each SYN under its source and its sender, and nobody else's."""

import json
import os
import socket

import census
import kernel
import limits
import netns
from checks import denied, passes
from census import count_on, flood, sender, source, sources, spare_link
from lab import HOST4, WORLD4, WORLD6, until

V6 = "2001:db8:1::/64"


def figures(row, *names):
    return tuple(row[name] for name in names) if row else None


def test_each_syn_under_its_source_and_its_sender(lab):
    other = lab.cgroup("web/site2")
    for mode in ("monitor", "yes"):
        count_on(lab, mode=mode)
        lab.clear()
        before = source(lab, HOST4) or {"syn": 0, "fenced_syn": 0}
        for _ in range(3):
            passes(lab, lab.mta, uid=8, gid=8)
        passes(lab, lab.mta, dst=WORLD6, uid=8, gid=8)
        passes(lab, other, port=80, uid=5, gid=60)
        row = source(lab, HOST4)
        assert row["syn"] - before["syn"] == 4 and row["fenced_syn"] - before["fenced_syn"] == 3, row
        # The wire's own count, by an independent reader, agrees.
        assert len(lab.syns()) == 1, "passes() clears; the last is what is left"
        lab.fence("off")
    count_on(lab, mode="yes")
    for _ in range(3):
        passes(lab, lab.mta, uid=8, gid=8)
    passes(lab, lab.mta, dst=WORLD6, uid=8, gid=8)
    passes(lab, other, port=80, uid=5, gid=60)
    assert figures(source(lab, HOST4), "syn", "fenced_syn", "window") == (4, 3, 3)
    assert figures(source(lab, V6), "syn", "fenced_syn", "window") == (1, 1, 1)
    assert set(sources(lab)) == {HOST4, V6}
    mail = sender(lab, lab.mta, 8)
    assert figures(mail, "syn", "fenced_syn", "user") == (4, 4, "mail"), mail
    neighbour = sender(lab, other, 5)
    assert figures(neighbour, "syn", "fenced_syn", "window", "user") == (1, 0, 0, "games")
    assert not sender(lab, lab.mta, 5) and not sender(lab, lab.web, 8)


def test_what_is_no_syn_is_not_counted(lab):
    """UDP to port 25, and data on a connection that stands."""
    count_on(lab)
    server = netns.inside(netns.path(lab.world), lambda: socket.create_server((WORLD4, 2500)))
    client = netns.inside(netns.path(lab.host),
                          lambda: socket.create_connection((WORLD4, 2500), timeout=5))
    peer, _ = server.accept()
    before = census.counters(lab)
    for _ in range(50):
        client.sendall(b"x" * 3000)
        peer.sendall(b"y" * 3000)
        client.recv(65536)
    datagram = netns.inside(netns.path(lab.host),
                            lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    for _ in range(20):
        datagram.sendto(b"x", (WORLD4, 25))
    assert until(lambda: len(lab.datagrams(25)) == 20)
    for thing in (client, peer, server, datagram):
        thing.close()
    after = census.counters(lab)
    assert after["syn"] == before["syn"] == 1, (before, after)
    assert sources(lab)[HOST4]["fenced_syn"] == 0


def test_denied_connects_have_the_same_sender_and_no_syn(lab):
    count_on(lab, mode="yes")
    for dst in (WORLD4, WORLD6):
        for _ in range(4):
            denied(lab, lab.web, uid=5, gid=60, dst=dst)
    passes(lab, lab.web, uid=5, gid=60, port=80)
    row = sender(lab, lab.web, 5)
    assert figures(row, "denied", "would_deny", "syn", "fenced_syn") == (8, 0, 1, 0), row
    denied(lab, lab.web, uid=1, gid=1)
    # who never sent a SYN is there as well
    assert figures(sender(lab, lab.web, 1), "denied", "syn") == (1, 0)
    assert source(lab, HOST4)["fenced_syn"] == 0
    count_on(lab, mode="monitor")
    passes(lab, lab.web, uid=5, gid=60)
    row = sender(lab, lab.web, 5)
    assert figures(row, "denied", "would_deny", "fenced_syn") == (8, 1, 1), row
    text = lab.fence("senders").out
    line = next(x for x in text.splitlines() if x.startswith("games "))
    assert line.split()[1] == lab.web.name and line.split()[-2] == "9", text


def test_a_container_with_a_wire_of_its_own_is_not_seen_here(lab):
    """The neighbour's namespace: its SYNs do not cross this host's uplink."""
    count_on(lab, mode="monitor")
    passes(lab, lab.web, where="guest", dst=netns.GUEST_GW4)
    assert not sources(lab) and census.counters(lab)["syn"] == 0


def mac_of(ns):
    return netns.sh("ip", "-n", ns, "-o", "link", "show", "up0").split("link/ether ")[1].split()[0]


@limits.seconds(60)
def test_answered_refused_silent_and_repeated(lab):
    """Real kernels: a server, a closed port, and a host that is not there."""
    count_on(lab, mode="monitor")
    # a neighbour that never answers: the wire leads to the world, where nobody has this address
    mac = mac_of(lab.world)
    for ns, hole in ((lab.host, "198.51.100.99"), (lab.host, "2001:db8:1::99")):
        netns.sh("ip", "-n", ns, "neigh", "add", hole, "lladdr", mac, "dev", "up0")
    daemon = lab.daemon()
    for _ in range(5):
        passes(lab, lab.web, uid=5, gid=60)
    for _ in range(3):
        assert lab.connect(lab.web, uid=5, gid=60, dst=WORLD4, port=587)["rc"] == 0
    # a port without a listener answers with RST
    lab.conf.keys["ports"] = [25, 465, 587, 26, 10025]
    lab.conf.write()
    assert lab.fence("apply").code == 0
    for _ in range(4):
        assert lab.connect(lab.web, uid=5, gid=60, port=10025)["errno"] == "ECONNREFUSED"
    row = sender(lab, lab.web, 5)
    assert figures(row, "fenced_syn", "answered", "refused", "silent", "failed",
                   "retransmitted") == (12, 8, 4, 0, 4, 0), row
    row = source(lab, HOST4)
    assert figures(row, "answered", "refused") == (8, 4), row

    lab.clear()
    waiting = [lab.start(lab.web, "nonblock", dst=dst, uid=1, gid=1, timeout_ms=25000)
               for dst in ("198.51.100.99", "2001:db8:1::99")]

    def silent():
        row = sender(lab, lab.web, 1)
        return row if row and row["silent"] == 2 else None
    row = until(silent, 35, every=0.5)
    assert row, sender(lab, lab.web, 1)
    for proc in waiting:
        proc.kill()
    # the kernel's own repeats, and none of them is a new connection
    row = sender(lab, lab.web, 1)
    wire = len(lab.syns(dst="198.51.100.99")) + len(lab.syns(dst="2001:db8:1::99"))
    assert figures(row, "fenced_syn", "failed") == (2, 2), row
    assert row["syn"] == wire and row["retransmitted"] == wire - 2 and wire >= 8, (wire, row)
    assert daemon.poll() is None


def test_destinations_are_estimated(lab):
    spare_link(lab)
    count_on(lab, "fl0", mode="monitor")
    for src, dsts in (("192.0.2.1", 1), ("192.0.2.2", 20), ("192.0.2.3", 1000),
                      ("192.0.2.4", 20000)):
        flood(lab, src=src, each=dsts, dsts=dsts, dst="203.0.0.0")
    found = {s: row["distinct"] for s, row in sources(lab).items()}
    assert found["192.0.2.1"] == 1 and 17 <= found["192.0.2.2"] <= 23, found
    # the standard error is 9.2 %: four of them
    for src, dsts in (("192.0.2.3", 1000), ("192.0.2.4", 20000)):
        assert abs(found[src] / dsts - 1) < .37, found
    print(f"# destinations 1, 20, 1000, 20000 estimated as {found}")


def test_counts_survive_an_exchange_of_programs_and_apply(lab):
    """Under fire: `on` and `apply` neither lose nor double a SYN."""
    spare_link(lab)
    count_on(lab, "fl0", mode="yes")
    status = lab.status()
    sent = lab.spawn([census.FLOOD, "packets", "--dev", "fl0", "--src", "10.0.0.0", "--sources",
                      "1000", "--each", "1500"], stdout=-1, text=True, cgroup=lab.mta)
    for i in range(6):
        assert lab.fence("on" if i % 2 else "apply").code == 0
    count = lab.answer(sent)["sent"]
    table = sources(lab)
    assert count == 1500000 and census.syn_sum(table) == count, (count, census.syn_sum(table))
    assert {row["syn"] for row in table.values()} == {1500} and len(table) == 1000
    ids = [{(a["hook"], a["target"]): a["program_id"] for a in s["attached"]}
           for s in (status, lab.status())]
    assert ids[0].keys() == ids[1].keys()
    assert ids[0]["egress", "fl0"] != ids[1]["egress", "fl0"], "never exchanged"


def test_another_size_begins_new_tables(lab):
    spare_link(lab)
    count_on(lab, "fl0", mode="yes")
    flood(lab, src="10.0.0.0", sources=100, cgroup=lab.mta)
    assert len(sources(lab)) == 100
    lab.conf.keys["max_sources"] = 1000
    lab.conf.write()
    done = lab.fence("apply")
    assert done.code == 0, done
    assert not sources(lab), "counted anew from zero"
    flood(lab, src="10.0.0.0", sources=100, cgroup=lab.mta)
    assert len(sources(lab)) == 100 and lab.fence("status").code == 0


def test_pins_that_were_taken_away(lab):
    """As everywhere: `status` believes no pin, and a census that can't be read is not well."""
    spare_link(lab)
    count_on(lab, "fl0", mode="yes")
    for name in ("source_counts", "crossings", "census_settings"):
        flood(lab, src="10.0.0.0", sources=100, cgroup=lab.mta)
        os.unlink(kernel.map_pin(lab, name))
        done = lab.fence("status")
        assert done.code == 4, f"{name} is out of reach, and status exits {done.code}"
        assert lab.fence("apply").code == 0
        assert lab.fence("status").code == 0
    table = sources(lab)
    assert len(table) == 100 and {r["syn"] for r in table.values()} == {3}, "counts went with a pin"


def test_top_and_the_tables_for_people(lab):
    spare_link(lab)
    count_on(lab, "fl0", mode="monitor")
    flood(lab, src="192.0.2.1", each=30)
    flood(lab, src="192.0.2.2", each=20, port=80)
    top = lab.fence("top", "--once").out
    assert "192.0.2.1" in top and lab.web.name[:10] in top, top
    assert all(len(line) <= 80 for line in top.splitlines()), top
    assert [r["source"] for r in census.rows(lab, "sources", "--sort", "syn", "--limit", "1")] \
        == ["192.0.2.1"]
    assert [r["source"] for r in census.rows(lab, "sources", "--sort", "window")][0] == "192.0.2.1"
    assert set(sources(lab, "--since", "1m")) == {"192.0.2.1", "192.0.2.2"}
    assert lab.fence("sources", "--sort", "nonsense").code == 2
    lab.fence("off")
    done = lab.fence("sources")
    assert done.code == 1 and "no census" in done.err, done


def test_hostile_cgroup_names(lab):
    # (the kernel itself refuses a newline in the name of a cgroup)
    bad = lab.cgroup("web/bell\x07 \x1b[31m\"quote\\ uid=0")
    count_on(lab, mode="monitor", limit_sender=[2, 0], limit_local=[0, 0])
    lab.daemon()
    for _ in range(2):
        passes(lab, bad, uid=5, gid=60)
    done = lab.fence("--json", "senders")
    row = census.rows(lab, "senders")[0]
    assert len(done.out.splitlines()) == 1 and row["fenced_syn"] == 2, done.out
    line = lab.log.wait("rule=rate_warn")
    assert line and "\n" not in line.rstrip("\n") and "\x1b" not in line, lab.log.lines()
    assert census.fields(line)["uid"] == "5" and "\\x1b" in line, line
    table = lab.fence("senders").out
    assert "\x1b" not in table and len(table.splitlines()) == 2, table


def test_what_leaves_without_a_connect_is_denied_and_counted_with_its_sender(lab):
    """enforce: raw SYNs of a web site do not leave, and stand in its denied column."""
    spare_link(lab)
    count_on(lab, "fl0", mode="yes")
    flood(lab, src="192.0.2.1", each=20, cgroup=lab.web)
    flood(lab, src="192.0.2.1", each=20, cgroup=lab.mta, sport=5000)
    assert figures(sender(lab, lab.web, 0), "denied", "answered", "silent") == (20, 0, 0)
    assert figures(sender(lab, lab.mta, 0), "denied", "fenced_syn") == (0, 20)
    assert received(lab, "fl1") == 20, received(lab, "fl1")       # the far end of the wire


def received(lab, interface):
    shown = json.loads(netns.sh("ip", "-n", lab.host, "-j", "-s", "link", "show", interface))
    return shown[0]["stats64"]["rx"]["packets"]
