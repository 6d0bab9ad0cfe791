# SPDX-License-Identifier: GPL-2.0-only
"""The budgets of design.md section 10 against what was measured; where one is missed, why.

A budget is (what, limit, measured, met, why); met is None where there is none. Ratios are taken of
the floors (measure.Series.floor): other work on the machine moves the medians by a fifth.
"""
import statistics

import gateway
import packets


def _ms(seconds):
    return f"{seconds * 1e3:.1f} ms"


def _hook_budgets(result):
    """Each twice: the program alone, and with what the kernel takes for the hook being in use.

    That part is paid by every cgroup of the host as soon as anybody (systemd, a container runtime)
    has a program on the hook. If that was so from the start, it can't be seen.
    """
    for roles, hook in result.hooks.items():
        kernel = hook.cost("elsewhere", "open") - hook.cost("none", "open")
        trivial = hook.cost("trivial", "open") - hook.cost("elsewhere", "open")
        part = f"the kernel's part is {kernel:.0f} ns, a program that only returns {trivial:.0f}"
        if kernel < 20:
            part += " (somebody else has programs on the hook)"
        for case, limit, what in (("open", 30, "unfenced port"), ("mail", 200, "allowed SMTP")):
            for over, words in (("elsewhere", "the program"), ("none", "over an unused hook")):
                added = hook.added(case, over)
                yield (f"{what}, {words} ({roles:,} roles)", f"{limit} ns", f"{added:.0f} ns",
                       added <= limit, part)
        strict, whole = hook.added("open"), result.median(roles, "open", "nothing")
        yield (f"unfenced port, of a whole connect ({roles:,} roles)", "1 %",
               f"{100 * strict / whole:.2f} %", strict / whole <= 0.01, part)


def _denied_budgets(result):
    for roles, hook in result.hooks.items():
        fence, nft = (result.floor(roles, "denied", c) for c in ("fence", "nft"))
        yield (f"denied in a burst, against nftables' reject ({roles:,} roles)", "10 x faster",
               f"{nft / fence:.1f} x", nft / fence >= 10,
               f"{fence:,} against {nft:,} ns; on one socket {hook.cost('fence', 'denied'):.0f}, "
               f"where a program that only denies takes {hook.cost('trivial', 'denied'):.0f}")
        if not result.series(roles, "denied_paced", "fence"):
            continue
        paced = result.median(roles, "denied_paced", "fence")
        yield (f"denied while the reader sleeps ({roles:,} roles)", "2 us", f"{paced / 1e3:.2f} us",
               paced <= 2000, _paced_note(result, roles, "denied_paced"))
    first = min(result.hooks)
    reported = result.median(first, "denied_reported", "fence")
    yield ("  the same, each one reported, caches cold", "-", f"{reported / 1e3:.1f} us", None,
           _paced_note(result, first, "denied_reported"))


def _paced_note(result, roles, key):
    alone, nft = (result.median(roles, key, c) for c in ("fence_alone", "nft"))
    return f"{alone / 1e3:.1f} us without a reader to wake; nftables {nft / 1e3:.1f} us"


def _established_budgets(result):
    for roles in result.hooks:
        for row, what in (("pingpong", "unfenced port"), ("pingpong_smtp", "SMTP")):
            if not result.series(roles, row, "fence"):
                continue
            fence, nothing, nft = (result.floor(roles, row, c)
                                   for c in ("fence", "nothing", "nft"))
            yield (f"established, round trip, {what} ({roles:,} roles)", "1.00, noise apart",
                   f"{fence / nothing:.3f}", fence / nothing <= 1.01,
                   f"no hook of ours sees a packet; nftables {nft / nothing:.3f}")


MOST_ENTRIES = 10_000  # that the budgets of commands are about


def _command_budget(what, seconds, cpu, check, limited=True):
    middle = statistics.median(seconds)
    return (what, "0.2 s" if limited else "-", _ms(middle), middle <= 0.2 if limited else None,
            f"{_ms(statistics.median(cpu))} of it on a CPU; reading the file alone: {_ms(check)}")


def _service_budgets(result):
    for what, latency, missing in (
            ("denied connect to the datagram", result.latency, result.alerts_missing),
            ("crossed limit to the datagram", result.limit_latency, result.limits_missing)):
        if latency:
            middle = statistics.median(latency)
            worst = sorted(latency)[int(len(latency) * 0.99)]
            yield (what, "1 ms", f"{_ms(middle)} (p99 {_ms(worst)}, {missing} missing)",
                   middle <= 1e-3 and not missing,
                   f"least {_ms(min(latency))}; the daemon's walk from the ring to syslog")
    for roles, hook in result.hooks.items():
        yield _command_budget(f"smtpfence on ({roles:,} roles)", hook.on_seconds, hook.on_cpu,
                              result.check_seconds[roles], roles <= MOST_ENTRIES)
    for what, seconds in result.apply_seconds.items():
        yield _command_budget(f"apply, {what}", seconds, result.apply_cpu[what],
                              max(result.check_seconds.values()))
    if result.resident:
        mib = max(result.resident.values()) / 2**20
        yield ("smtpfenced resident memory", "16 MiB", f"{mib:.1f} MiB", mib <= 16,
               ", ".join(f"{r:,} roles: {b / 2**20:.1f}" for r, b in result.resident.items()))
        share = 100 * max(result.idle.values())
        yield ("smtpfenced idle CPU", "0.1 %", f"{share:.3f} %", share < 0.1,
               ", ".join(f"{r:,} roles: {100 * c:.3f} %" for r, c in result.idle.items()))


def judge(result):
    budgets = []
    if result.hooks:
        for part in _hook_budgets, _denied_budgets, _established_budgets, _service_budgets:
            budgets += part(result)
    else:
        budgets.append(("all of them", "", "", None, "build/smtpfence is not there"))
    budgets += packets.budgets(result.packets)
    budgets += gateway.budgets(result.gateway)
    return budgets
