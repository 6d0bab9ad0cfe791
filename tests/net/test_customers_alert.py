# SPDX-License-Identifier: GPL-2.0-only
"""A customer that the gateway denied: named by source and interface, at once and once."""

import time

from census import source
from lab import until
from test_alerts import fields
from test_gateway import gateway, reasons


def lines(lab, rule="customer"):
    return [fields(line) for line in lab.log.lines() if f"rule={rule} " in line]


def told(lab, src):
    return [one for one in lines(lab) if one["source"] == src]


def syns(r, name, count, port=25, **options):
    return [r.tcp_frame(name, port, **options) for _ in range(count)]


def test_the_first_denial_is_told_and_the_flood_is_not(lab):
    with gateway(lab) as r:
        lab.daemon()
        web, lan = r.customers["web"], r.customers["lan"]
        begun = time.monotonic()
        assert r.send("web", [r.tcp_frame("web", 25)]) == [False]
        assert lab.log.wait("rule=customer"), lab.log.lines()
        assert time.monotonic() - begun < 3
        one, = told(lab, web.v4)
        assert (one["interface"], one["dport"], one["reason"], one["verdict"], one["count"],
                one["severity"]) == ("cu-web", "25", "no_role", "denied", "1", "warning"), one
        r.send("web", syns(r, "web", 200))
        assert r.send("web", [r.tcp_frame("web", 26)]) == [True]
        assert r.send("mail", [r.tcp_frame("mail", 25)]) == [True]
        # another customer is told of although the first one goes on
        r.send("lan", [r.tcp_frame("lan", 25)])
        assert until(lambda: told(lab, lan.v4)), lab.log.lines()
        assert len(told(lab, web.v4)) == 1 and not told(lab, r.customers["mail"].v4)
        row = source(lab, web.v4)
        assert row["denied"] == 201 and row["fenced_syn"] == 201, row
        assert source(lab, r.customers["mail"].v4)["denied"] == 0


def test_a_repeated_syn_is_one_denial(lab):
    with gateway(lab) as r:
        frame = r.tcp_frame("web", 25)
        assert r.send("web", [frame, frame, frame]) == [False] * 3
        row = source(lab, r.customers["web"].v4)
        assert (row["denied"], row["retransmitted"]) == (1, 2), row


def test_made_up_sources_are_one_sender(lab):
    with gateway(lab, customers=()) as r:
        assert lab.fence("gateway", "add", "cu-web", "--net", "10.9.1.0/24").code == 0
        lab.daemon()
        frames = [r.tcp_frame("web", 25, src=f"198.51.100.{i}") for i in range(1, 101)]
        assert r.send("web", frames) == [False] * 100
        assert until(lambda: lines(lab)), lab.log.lines()
        time.sleep(2)
        assert len(lines(lab)) == 1 and lines(lab)[0]["reason"] == "spoofed", lines(lab)
        assert lines(lab)[0]["interface"] == "cu-web"


def test_monitor_tells_who_would_be_denied(lab):
    with gateway(lab, mode="monitor") as r:
        lab.daemon()
        assert r.send("web", [r.tcp_frame("web", 25)]) == [True]
        assert until(lambda: told(lab, r.customers["web"].v4)), lab.log.lines()
        assert told(lab, r.customers["web"].v4)[0]["verdict"] == "would_deny"
        assert source(lab, r.customers["web"].v4)["denied"] == 0


def test_a_flood_of_sources_is_some_lines_and_every_count(lab):
    """One customer makes up 3,000 sources, and nobody said which are his."""
    with gateway(lab) as r:
        lab.daemon()
        frames = [r.tcp_frame("web", 25, src=f"198.18.{i // 250}.{i % 250 + 1}")
                  for i in range(3000)]
        assert not any(r.send("web", frames))
        assert lab.log.wait("rule=customer"), lab.log.lines()
        time.sleep(2)
        assert len(lines(lab)) <= 60, len(lines(lab))
        assert reasons(lab)["no_role"] == 3000, reasons(lab)
        assert r.send("mail", [r.tcp_frame("mail", 25)]) == [True]
