# SPDX-License-Identifier: GPL-2.0-only
"""binetflow files (Argus, as CTU-13 has them) as traces: one TCP flow to an SMTP port is a connection."""
import csv
import datetime
import types

PORTS = {25, 465, 587}


def outcome(state):
    """Argus states of TCP: flags of the source, '_', flags of the destination."""
    there = state.partition("_")[2]
    if "S" in there and "A" in there:
        return "SA"
    return "R" if "R" in there else None


def read(path):
    events, senders = [], {}
    with open(path, newline="", errors="replace") as lines:
        for row in csv.DictReader(lines):
            try:
                if row["Proto"].lower() != "tcp" or int(row["Dport"], 0) not in PORTS:
                    continue
                t = datetime.datetime.strptime(row["StartTime"], "%Y/%m/%d %H:%M:%S.%f")
            except (KeyError, ValueError, TypeError):
                continue
            t = t.replace(tzinfo=datetime.timezone.utc).timestamp()
            who, bad = row["SrcAddr"], "Botnet" in row["Label"]
            s = senders.setdefault(who, dict(kind="botnet" if bad else "other", bad=bad, since=t,
                                             declared=False))
            if bad and not s["bad"]:
                s.update(kind="botnet", bad=True, since=t)
            port = int(row["Dport"], 0)
            events.append((t, who, row["DstAddr"], port, "S", "", ""))
            answer = outcome(row["State"])
            if answer:
                events.append((t + .1, who, row["DstAddr"], port, answer, "", ""))
    events.sort(key=lambda e: e[0])
    return types.SimpleNamespace(events=events, senders=senders)
