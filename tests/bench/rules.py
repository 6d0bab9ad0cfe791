# SPDX-License-Identifier: GPL-2.0-only
"""The rivals: the same rule in nftables (a list of rules, and a set) and in iptables.

Each is written as its users would at their best: the ports are looked at once, and only packets to
a fenced port go through the chain of allowed senders, which ends in a reject with a TCP reset. The
mail server's entry stands in the middle of the list.
"""
import os
import time

PORTS = "25, 465, 587"
LEVEL = 2  # of /smtpfence-bench-PID/NAME
FIRST_UID = 100000


def _nft_paths(cgroups, roles, existing):
    """nft resolves cgroups below /sys/fs/cgroup, when the rule loads: they have to exist.

    `existing` of them are real; a longer list goes through them again, which costs a packet the
    same.
    """
    prefix = os.path.relpath(cgroups.root, "/sys/fs/cgroup")
    prefix = "" if prefix == "." else prefix + "/"
    others = [f"{prefix}{cgroups.role(i % existing)[1:]}" for i in range(roles - 1)]
    mail = f"{prefix}{cgroups.free[1:]}/mta"
    middle = len(others) // 2
    return others[:middle] + [mail] + others[middle:]


def _nft_table(allowed, sets=""):
    return f"""flush ruleset
table inet bench {{
{sets}
	chain smtp {{
{allowed}
		reject with tcp reset
	}}
	chain output {{
		type filter hook output priority 0; policy accept;
		tcp dport {{ {PORTS} }} jump smtp
	}}
}}
"""


def load_nft_list(world, roles, existing):
    paths = _nft_paths(world.cgroups, roles, existing)
    rules = "\n".join(f'\t\tsocket cgroupv2 level {LEVEL} "{p}" accept' for p in paths)
    net = world.networks
    net.inside(net.files["nft"], "nft", "-f", "-", text=_nft_table(rules))


def load_nft_set(world, roles, existing):
    paths = dict.fromkeys(_nft_paths(world.cgroups, roles, existing))
    elements = ",\n".join(f'"{p}"' for p in paths)
    sets = f"\tset allowed {{\n\t\ttype cgroupsv2\n\t\telements = {{ {elements} }}\n\t}}"
    net = world.networks
    net.inside(net.files["nftset"], "nft", "-f", "-", text=_nft_table(
        f"\t\tsocket cgroupv2 level {LEVEL} @allowed accept", sets))


def load_iptables(world, roles, _existing):
    uids = [FIRST_UID + i for i in range(roles - 1)]
    uids.insert(len(uids) // 2, 0)  # the mail server of the bench runs as root
    lines = ["*filter", ":OUTPUT ACCEPT", ":SMTP -",
             "-A OUTPUT -p tcp -m multiport --dports 25,465,587 -j SMTP"]
    lines += [f"-A SMTP -m owner --uid-owner {uid} -j ACCEPT" for uid in uids]
    lines += ["-A SMTP -p tcp -j REJECT --reject-with tcp-reset", "COMMIT", ""]
    net = world.networks
    net.inside(net.files["iptables"], "iptables-restore", text="\n".join(lines))


def load_all(world, roles, existing, missing):
    """{column: seconds} that loading took; in `missing` what is not there, or the kernel lacks."""
    seconds = {}
    for column, load in (("nft", load_nft_list), ("nftset", load_nft_set),
                         ("iptables", load_iptables)):
        if column in missing:
            continue
        start = time.monotonic()
        try:
            load(world, roles, existing)
        except SystemExit as why:
            if column == "nft":     # the budgets are about it
                raise
            missing[column] = str(why)
            continue
        seconds[column] = time.monotonic() - start
    return seconds
