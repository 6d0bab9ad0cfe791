# SPDX-License-Identifier: GPL-2.0-only
"""By how much a budget is met or missed, from the two texts of its row (limit, measured)."""
import re

UNITS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}

# The rows of design.md, section 10, and which of judge()'s belong to each.
DESIGN = (
    ("connect() to a port that is not fenced: 30 ns, 1 %", r"unfenced port"),
    ("allowed SMTP connect(): 200 ns", r"allowed SMTP"),
    ("denied in a burst: 10 times faster than nftables' reject", r"denied in a burst"),
    ("denied while the reader sleeps: 2 µs", r"denied while"),
    ("established traffic: nothing per packet", r"established, round"),
    ("TC egress, no SYN: 5 ns", r"ACK|UDP|return path"),
    ("TC egress, SYN of 1,000,000 random sources: 200 ns", r".*SYN to \d+, 1,000,000 sources"),
    ("TC egress, SYN of a known source: 40 ns", r"(new )?SYN to"),
    ("gateway, pass: 8 ns", r"gateway, (TC|XDP): (?!.*dropped)"),
    ("gateway, drop: 40 ns", r"gateway, .*dropped"),
    ("event to the datagram: 1 ms", r".* to the datagram"),
    ("reading 1,000,000 sources: 10 ms", r"reading"),
    ("`smtpfence on`, reload of 10,000 entries: 0.2 s", r"smtpfence on|apply"),
    ("smtpfenced resident: 16 MiB", r"smtpfenced resident"),
    ("smtpfenced idle: 0.1 %", r"smtpfenced idle"),
)


def _number(text):
    found = re.match(r"\s*(-?[\d.,]+)\s*(\S*)", text)
    if not found:
        return None
    return float(found[1].replace(",", "")) * UNITS.get(found[2], 1)


def of_limit(limit, measured):
    """Measured in terms of the limit: above 1 it is missed. None where nobody can say."""
    allowed, seen = _number(limit), _number(measured)
    if not allowed or seen is None:
        return None
    return allowed / max(seen, 1e-9) if "x faster" in limit else seen / allowed


def excess(limit, measured):
    """", 1.4 times the limit", or "" where that says nothing."""
    ratio = of_limit(limit, measured)
    return f", {ratio:.3g} times the limit" if ratio else ""


def by_design(budgets):
    """[title, met, of, the worst row] of each of DESIGN that was measured."""
    left = [b for b in budgets if b["met"] is not None]
    for title, pattern in DESIGN:
        mine = [b for b in left if re.match(pattern, b["what"])]
        left = [b for b in left if b not in mine]
        if mine:
            worst = max(mine, key=lambda b: of_limit(b["limit"], b["measured"]) or 0)
            yield title, sum(b["met"] for b in mine), len(mine), worst
