# SPDX-License-Identifier: GPL-2.0-only
"""Many sources at the rate that the machine can make: every count exact, every loss counted.

SMTPFENCE_LONG=1: the full-table test with 1,000,000 sources.
"""

import os
import time

import census
import limits
from census import count_on, flood, sources, spare_link, syn_sum

LONG = bool(os.environ.get("SMTPFENCE_LONG"))
CPUS = min(os.cpu_count() or 1, 16)


def exact(lab, sent, wanted, each):
    """Every source is there, and its count is what was sent; nothing gave way."""
    table = sources(lab)
    assert len(table) == wanted, f"{len(table)} sources of {wanted}"
    wrong = {s: r["syn"] for s, r in table.items() if r["syn"] != each or r["fenced_syn"] != each}
    assert not wrong, f"{len(wrong)} of {wanted} are wrong: {list(wrong.items())[:5]}"
    assert syn_sum(table) == sent
    lost = census.counters(lab)
    assert not lost["uncounted"] and not lost["forgotten_sources"], lost
    return table


def rate(what, got):
    print(f"# {what}: {got['sent']} SYNs in {got['seconds']:.2f} s, "
          f"{got['sent'] / got['seconds'] / 1e6:.2f} million a second", flush=True)


def test_10000_sources_of_each_family_are_exact(lab):
    """All cores send; each source from one core, all of them at once."""
    spare_link(lab)
    count_on(lab, "fl0")
    v4 = flood(lab, src="10.0.0.0", sources=10000, each=50, threads=CPUS)
    rate("10,000 IPv4 sources, counted", v4)
    table = exact(lab, v4["sent"], 10000, 50)
    assert set(table) == {f"10.0.{i // 256}.{i % 256}" for i in range(10000)}
    v6 = flood(lab, src="2001:db8:100::1", shift=64, sources=10000, each=50, threads=CPUS,
               dst="2001:db8:ffff::1")
    rate("10,000 IPv6 sources, counted", v6)
    table = exact(lab, v4["sent"] + v6["sent"], 20000, 50)
    assert "2001:db8:100:270f::/64" in table, [s for s in table if ":" in s][:3]
    row = census.sender(lab, lab.web, 0)
    assert row["syn"] == v4["sent"] + v6["sent"], "the sender by its socket, whatever its sources"
    lab.fence("off")
    rate("the same flood with the fence off",
         flood(lab, src="10.0.0.0", sources=10000, each=50, threads=CPUS))


@limits.alone
def test_the_same_sources_from_all_cores_at_once(lab):
    """They race for the places of the very same newcomers: each has one row, and all its counts."""
    spare_link(lab)
    count_on(lab, "fl0")
    got = flood(lab, src="10.0.0.0", sources=30000, each=10, threads=CPUS, same=True)
    assert got["sent"] == 300000 * CPUS
    exact(lab, got["sent"], 30000, 10 * CPUS)


def test_ipv6_by_another_prefix(lab):
    """256 networks of /64 in each /56; addresses within one network are one source."""
    spare_link(lab)
    count_on(lab, "fl0", ipv6_prefix=56)
    got = flood(lab, src="2001:db8:100::1", shift=64, sources=25600, each=4, threads=CPUS,
                dst="2001:db8:ffff::1")
    table = sources(lab)
    assert {r["syn"] for r in table.values()} == {1024}, sorted(r["syn"] for r in table.values())
    assert len(table) == 100 and syn_sum(table) == got["sent"]
    assert "2001:db8:100:6300::/56" in table
    count_on(lab, "fl0", ipv6_prefix=128, max_sources=50000)
    flood(lab, src="2001:db8:200::", sources=1000, dst="2001:db8:ffff::1")
    table = sources(lab)
    assert len(table) == 1000 and "2001:db8:200::3e7" in {s.removesuffix("/128") for s in table}


def full(lab, total, room, each=1):
    """More sources than there is room for: what gave way is counted, and the rest is exact."""
    spare_link(lab)
    count_on(lab, "fl0", max_sources=room)
    # known ones that keep sending all the while are not the ones that give way
    got = flood(lab, src="10.0.0.0", sources=total, each=each, threads=CPUS)
    rate(f"{total} sources in a table of {room}", got)
    begun = time.monotonic()
    table = sources(lab)
    took = time.monotonic() - begun
    lost = census.counters(lab)
    assert got["sent"] == total * each == lost["syn"], (got, lost)
    assert syn_sum(table) + lost["forgotten_source_syn"] + lost["uncounted"] == got["sent"], lost
    assert len(table) + lost["forgotten_sources"] + lost["uncounted"] >= total, lost
    assert {row["syn"] for row in table.values()} <= set(range(1, each + 1))
    assert room <= len(table) <= room * 7 // 5 + 8, len(table)
    print(f"# {len(table)} in the table, {lost['forgotten_sources']} gave way, "
          f"{lost['uncounted']} found no place, read by `sources --json` and here in {took:.2f} s",
          flush=True)
    said = lab.fence("sources", "--limit", "1").err
    assert str(lost["forgotten_sources"]) in said and "max_sources" in said, said
    return table


def test_a_full_table_counts_what_gave_way(lab):
    full(lab, 200000, 4096)


def test_a_tiny_table_counts_what_gave_way(lab):
    full(lab, 20000, 64, each=2)


@limits.alone
@limits.seconds(300)
def test_a_million_sources(lab):
    if LONG:
        full(lab, 1000000, 65536)
    else:
        full(lab, 150000, 65536)


@limits.alone
@limits.seconds(300)
def test_a_million_places(lab):
    """Room for all: none gives way, and reading them takes little."""
    total = 1000000 if LONG else 100000
    spare_link(lab)
    count_on(lab, "fl0", max_sources=total)
    got = flood(lab, src="10.0.0.0", sources=total, threads=CPUS)
    rate(f"{total} sources in as many places", got)
    begun = time.monotonic()
    done = lab.fence("--json", "sources", "--limit", "1", timeout=120)
    took = time.monotonic() - begun
    assert done.code == 0
    lost = census.counters(lab)
    assert lost["forgotten_sources"] == 0 and lost["uncounted"] == 0 and lost["syn"] == total, lost
    print(f"# `sources --limit 1` over {total}: {took * 1000:.0f} ms", flush=True)
    if not LONG:
        exact(lab, got["sent"], total, 1)


def test_headers_that_a_sender_may_choose(lab):
    """IPv4 options, IPv6 extension headers and tags do not hide a SYN, nor its source."""
    spare_link(lab)
    count_on(lab, "fl0")
    sent = 0
    for i, more in enumerate(({"options": 40}, {"options": 4}, {"vlan": 7}, {"vlan": 7, "options": 8})):
        sent += flood(lab, src=f"10.{i}.0.0", sources=50, **more)["sent"]
    for i, more in enumerate(({"ext": 1}, {"ext": 8}, {"ext": 24}, {"ext": 30, "vlan": 9})):
        sent += flood(lab, src=f"2001:db8:{i:x}00::", sources=50, shift=64,
                      dst="2001:db8:ffff::1", **more)["sent"]
    table = exact(lab, sent, 400, 1)
    assert "10.3.0.49" in table and "2001:db8:300:31::/64" in table
    flood(lab, src="2001:db8:900::", ext=40, dst="2001:db8:ffff::1")
    assert census.counters(lab)["too_many_headers"] == 1


def test_spoofed_sources_have_one_sender(lab):
    """A raw socket of a container's root: any source, but its own cgroup and user."""
    spare_link(lab)
    count_on(lab, "fl0")
    other = lab.cgroup("web/site2")
    flood(lab, src="192.0.2.0", sources=200, cgroup=other)
    assert len(sources(lab)) == 200
    assert census.sender(lab, other, 0)["fenced_syn"] == 200
    assert len(census.senders(lab)) == 1


def test_one_cgroup_with_many_users(lab):
    """Root in a container takes any uid: each is a sender of its own, by the wire's real SYNs."""
    count_on(lab, mode="monitor")
    got = flood(lab, "users", first=100000, users=500, each=3, dst="198.51.100.2", port=26)
    table = census.senders(lab)
    assert got["sent"] == 1500 and len(table) == 500, len(table)
    assert {r["syn"] for r in table.values()} == {3}
    assert sources(lab)["198.51.100.1"]["syn"] == 1500
