# SPDX-License-Identifier: GPL-2.0-only
"""What `doctor` says of the host's interfaces: in the lab's own network namespace."""

import netns


def interfaces(lab):
    """[(state, text)] of the rows about interfaces."""
    lab.conf.write()
    return [(row["state"], row["text"]) for row in lab.json("doctor")
            if row["subject"] == "interfaces"]


def test_uplinks_and_virtual_machines(lab):
    lab.conf.keys["uplinks"] = ["up*"]
    assert interfaces(lab) == [("ok", "uplinks: up0")]
    lab.conf.keys["uplinks"] = ["gone0"]
    assert [state for state, _ in interfaces(lab)] == ["warn"]
    lab.conf.keys["uplinks"] = []
    (state, text), = interfaces(lab)
    assert state == "warn" and "uplinks is empty" in text, text

    lab.conf.keys["uplinks"] = ["up0"]
    for name, mode in (("vm$0", "tap"), ("vpn0", "tun")):
        netns.sh("ip", "-n", lab.host, "tuntap", "add", name, "mode", mode)
    rows = interfaces(lab)
    assert len(rows) == 2 and rows[1][0] == "warn", rows
    assert "behind vm$0:" in rows[1][1] and "vpn0" not in rows[1][1], rows
    lab.conf.keys["customers"] = ["vm*"]
    assert interfaces(lab) == [("ok", "uplinks: up0")]
