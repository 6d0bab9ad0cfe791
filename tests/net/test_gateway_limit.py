# SPDX-License-Identifier: GPL-2.0-only
"""gateway_limit: what follows where a customer reaches the second of its limits."""

from lab import WORLD4, until
from test_gateway import gateway, reasons

LIMITS = dict(limit_source=[3, 6], limit_sender=[0, 0], limit_local=[0, 0], limit_relay=[0, 0])


def sent(r, name, n=1, port=25, **where):
    """How many of so many new SYNs to the (allowed) world arrived."""
    return r.send(name, [r.tcp_frame(name, port, **where) for _ in range(n)]).count(True)


def quarantined(lab):
    return [e["value"] for e in lab.json("list") if e["kind"] == "quarantine net"]


def test_alert_or_drop(lab):
    with gateway(lab, **LIMITS) as r:
        assert lab.fence("allow", "net", WORLD4).code == 0
        assert sent(r, "web", 9) == 9, "alert: nothing is dropped"
        assert lab.fence("set", "gateway_limit=drop").code == 0
        assert sent(r, "web", 3) == 0 and sent(r, "web", 1, port=26) == 1
        assert reasons(lab)["limit"] == 3, reasons(lab)
        # a neighbour has its own; the last that is let pass is the one that reaches the limit
        assert sent(r, "lan", 9) == 6
        # a mail host has none, but one that names it
        assert sent(r, "mail", 20) == 20
        assert lab.fence("limit", "net", r.customers["mail"].v4, "--warn", "5", "--act", "21").code == 0
        assert sent(r, "mail", 3) == 1


def test_quarantine_by_the_daemon(lab):
    with gateway(lab, customers=("cu-web", "cu-mail"), gateway_limit="quarantine", **LIMITS) as r:
        daemon = lab.daemon()
        assert lab.fence("allow", "net", WORLD4).code == 0
        assert sent(r, "web", 5) == 5 and not quarantined(lab)
        assert sent(r, "web", 4) == 1, "above the limit without waiting for the daemon"
        web = r.customers["web"].v4
        assert until(lambda: quarantined(lab) == [f"{web}/32"] or quarantined(lab) == [web], 10), \
            (quarantined(lab), lab.log.lines())
        assert sent(r, "web", 2) == 0 and reasons(lab)["quarantine"] >= 2, reasons(lab)
        # who comes by no customer's interface: an alarm only, as action_quarantine is off
        assert sent(r, "lan", 9) == 9
        assert lab.log.wait(f"rule=rate_act .*source={r.customers['lan'].v4}", 5), lab.log.lines()
        until(lambda: False, 1.0)
        assert len(quarantined(lab)) == 1, quarantined(lab)
        # the daemon dead: what the kernel holds goes on
        daemon.kill()
        daemon.wait()
        assert sent(r, "web", 1) == 0
