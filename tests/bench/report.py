# SPDX-License-Identifier: GPL-2.0-only
"""Prints: the one table of samples, and the table of budgets."""

LABEL, ROLES, CELL = 28, 7, 15


def _number(ns):
    return f"{ns:,.0f}" if ns < 100_000 else f"{ns / 1000:,.0f}k"


def _ratio(above, below):
    return f"{above / below:.2f}" if below and above / below < 100 else (
        f"{above / below:,.0f}" if below else "-")


def print_table(rows, columns, cells, role_counts):
    """cells[roles, row.key, column.key] is a Series."""
    head = " " * LABEL + "roles".rjust(ROLES)
    head += "".join(c.title.rjust(CELL) for c in columns)
    head += "fence /".rjust(10) + "nftables /".rjust(11)
    print(head)
    units = "  ns, median/p99 (k: 1,000)".ljust(LABEL + ROLES + CELL * len(columns))
    print(units + "nothing".rjust(10) + "fence".rjust(11))
    for row in rows:
        for i, roles in enumerate(role_counts):
            line = (row.title if not i else "").ljust(LABEL) + f"{roles:,}".rjust(ROLES)
            medians = {}
            for column in columns:
                series = cells.get((roles, row.key, column.key))
                if not series:
                    line += "-".rjust(CELL)
                    continue
                medians[column.key] = series.median
                line += f"{_number(series.median)}/{_number(series.p99)}".rjust(CELL)
            fence = medians.get("fence")
            line += (_ratio(fence, medians.get("nothing")) if fence else "-").rjust(10)
            line += (_ratio(medians.get("nft", 0), fence) if fence else "-").rjust(11)
            print(line)


def print_budgets(budgets):
    wide = [max(len(b[i]) for b in budgets + [("budget", "limit", "measured")]) for i in range(3)]
    print(f"{'budget':{wide[0]}}  {'limit':{wide[1]}}  {'measured':{wide[2]}}")
    for what, limit, measured, met, why in budgets:
        verdict = {True: "met", False: "MISSED", None: "no budget"}[met]
        why = f": {why}" if why and not met else ""
        print(f"{what:{wide[0]}}  {limit:{wide[1]}}  {measured:{wide[2]}}  {verdict}{why}")
