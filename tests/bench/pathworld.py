# SPDX-License-Identifier: GPL-2.0-only
"""One host that forwards, again and again: a network namespace for each thing that is compared.

Packets come in by the tap `in0` (a virtual machine's) and leave by the tap `out0`, which nobody
reads. The rivals' rules, and smtpfence as census on out0 or as gateway on in0.
"""
import fcntl
import json
import os
import re
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "../net"))
import netns
from measure import BUILD
from world import die_with_parent, run

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454ca, 2, 0x1000
MAIL_HOST = "10.9.4.2"
PORTS = "25, 465, 587"
SYN = "tcp flags & (syn | ack) == syn"
ROOM = 1 << 21          # sources that the rivals have room for; ours: MAX_SOURCES
MAX_SOURCES = 1 << 20


def addresses(first, to):
    return [f"16.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(first, to)]


def _tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


class Host:
    """A network namespace with the two taps, and a route from one to the other."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.net = f"{world.tmp}/path-{name}"
        open(self.net, "w").close()
        run("unshare", f"--net={self.net}", "true")
        self.taps = netns.inside(self.net, self._make)
        for line in ("link set lo up", "link set in0 address 02:00:00:00:00:01 up",
                     "link set out0 up", "addr add 10.9.9.1/30 dev in0",
                     "addr add 198.51.100.1/24 dev out0",
                     "route add default via 198.51.100.2",
                     "neigh add 198.51.100.2 lladdr 02:00:00:00:00:04 dev out0 nud permanent"):
            self.inside("ip", *line.split())

    @staticmethod
    def _make():
        taps = _tap("in0"), _tap("out0")
        for key, value in (("all/forwarding", 1), ("all/rp_filter", 0), ("in0/rp_filter", 0)):
            with open(f"/proc/sys/net/ipv4/conf/{key}", "w", encoding="ascii") as f:
                f.write(str(value))
        return taps

    def inside(self, *argv, text=None):
        return run("nsenter", f"--net={self.net}", *argv, text=text)

    def quarantine(self, first, to):
        """Nothing to do where nobody is judged."""

    def forget(self):
        """Forget the sources seen, where a full table would change what is done."""

    def counted(self, address):
        """SYNs that were counted of that source."""
        return None

    def close(self):
        for fd in self.taps:
            os.close(fd)


class NftHost(Host):
    """Two dynamic sets count; a set with timeouts is the quarantine."""
    family, chain, only = "ip", "hook forward priority 0", "oifname out0"
    gateway = False

    def load(self):
        if self.gateway:
            rules = [f"{SYN} update @seen {{ ip saddr counter }}",
                     f"{SYN} tcp dport {{ {PORTS} }} ip saddr @out drop",
                     f"{SYN} tcp dport {{ {PORTS} }} ip saddr != {MAIL_HOST} drop"]
        else:
            rules = [f"{SYN} update @seen {{ ip saddr counter }}",
                     f"{SYN} tcp dport {{ {PORTS} }} update @over "
                     "{ ip saddr limit rate over 10/minute burst 100 packets } counter"]
        counted = f"type ipv4_addr; flags dynamic,timeout; timeout 10m; size {ROOM};"
        rules = "\n".join(f"  {self.only} {rule}" for rule in rules)
        self.inside("nft", "-f", "-", text=f"""table {self.family} bench {{
 set seen {{ {counted} }}
 set over {{ {counted} }}
 set out {{ type ipv4_addr; flags timeout; size 131072; }}
 chain c {{ type filter {self.chain}; policy accept;
{rules}
 }}
}}
""")

    def forget(self):
        for name in "seen", "over":
            self.inside("nft", "flush", "set", self.family, "bench", name)

    def counted(self, address):
        said = self.inside("nft", "get", "element", self.family, "bench", "seen",
                           f"{{ {address} }}")
        return int(re.search(r"counter packets (\d+)", said)[1])

    def quarantine(self, first, to):
        elements = addresses(first, to)
        for i in range(0, len(elements), 5000):
            part = ", ".join(f"{a} timeout 1d" for a in elements[i:i + 5000])
            self.inside("nft", "-f", "-",
                        text=f"add element {self.family} bench out {{ {part} }}\n")


class NftDeviceHost(NftHost):
    family, only = "netdev", ""
    chain = "hook egress device out0 priority 0"


class NftGateway(NftHost):
    gateway, only = True, "iifname in0"


class NftDeviceGateway(NftDeviceHost):
    gateway = True
    chain = "hook ingress device in0 priority 0"


class IptablesHost(Host):
    """The count of a source is an ipset's (for an entry's life), its limit hashlimit's.

    hashlimit drops the packets of everybody when its table is full, at 1,048,576 sources.
    """
    gateway = False

    def load(self):
        made = f"family inet hashsize 262144 maxelem {ROOM}"
        self.inside("ipset", "restore", text=f"create seen hash:ip {made} counters timeout 600\n"
                                             f"create out hash:ip {made} timeout 0\n")
        self._rules()

    def forget(self):
        self.inside("ipset", "flush", "seen")
        self.inside("iptables", "-F")
        self._rules()

    def counted(self, address):
        said = self.inside("ipset", "save", "seen")
        return int(re.search(rf"add seen {address} .*packets (\d+)", said)[1])

    def _rules(self):
        fenced = "-A FORWARD -p tcp --syn -m multiport --dports 25,465,587"
        rules = ["-A FORWARD -p tcp --syn -j SEEN",
                 "-A SEEN -m set --match-set seen src -j RETURN",
                 "-A SEEN -j SET --add-set seen src"]
        if self.gateway:
            rules += [f"{fenced} -m set --match-set out src -j DROP",
                      f"{fenced} ! -s {MAIL_HOST} -j DROP"]
        else:
            rules.append(f"{fenced} -m hashlimit --hashlimit-name over --hashlimit-mode srcip "
                         "--hashlimit-above 10/minute --hashlimit-burst 100 "
                         f"--hashlimit-htable-size 262144 --hashlimit-htable-max {ROOM} "
                         "--hashlimit-htable-expire 600000")
        text = "\n".join(["*filter", ":FORWARD ACCEPT", ":SEEN -", *rules, "COMMIT", ""])
        self.inside("iptables-restore", text=text)

    def quarantine(self, first, to):
        self.inside("ipset", "restore", text="".join(f"add out {a}\n"
                                                     for a in addresses(first, to)))


class IptablesGateway(IptablesHost):
    gateway = True


class FenceHost(Host):
    """smtpfence, enforce: the census on out0 (`gateway`: the gateway fence on in0)."""
    gateway = False

    def __init__(self, world, name):
        super().__init__(world, name)
        self.cgroup = f"{world.cgroups.free}/{name}"
        self.quarantined = 0
        os.makedirs(world.cgroups.dir(self.cgroup), exist_ok=True)

    def load(self):
        self.configure()
        self.command("on")

    def counted(self, address):
        said = json.loads(self.command("--json", "sources", "--sort", "syn", "--limit", "1"))
        return said["syn"] if said["source"] == address else 0

    def quarantine(self, first, to):
        self.quarantined = to
        self.configure()
        self.command("apply")

    def configure(self):
        tmp, where = self.world.tmp, '"in0"' if self.gateway else ""
        out = "" if self.gateway else '"out0"'
        lines = ['FW_OUTPUT_MTA = "yes"', "ports = {25, 465, 587}",
                 f'cgroup_root = "{self.cgroup}"', f'pin_dir = "/sys/fs/bpf/{self.name}"',
                 f'managed_file = "{tmp}/{self.name}.managed"', f'state_dir = "{tmp}/{self.name}"',
                 f'syslog_socket = "{tmp}/log"', "detect_mail = false",
                 f"max_sources = {MAX_SOURCES}", f"uplinks = {{{out}}}", f"customers = {{{where}}}",
                 f'mail_hosts = {{"{MAIL_HOST}"}}']
        lines += [f'quarantine_net "{a}" {{ }}' for a in addresses(0, self.quarantined)]
        with open(f"{tmp}/{self.name}.conf", "w", encoding="ascii") as f:
            f.write("\n".join(lines) + "\n")

    def command(self, *argv):
        return self.inside(f"{BUILD}/smtpfence", "--config", f"{self.world.tmp}/{self.name}.conf",
                           *argv)


class FenceGateway(FenceHost):
    gateway = True


class BareHost(Host):
    def load(self):
        """Nothing."""


CENSUS = {"nothing": BareHost, "fence": FenceHost, "nft": NftHost, "nftdev": NftDeviceHost,
          "iptables": IptablesHost}
GATEWAY = {"nothing": BareHost, "fence": FenceGateway, "nft": NftGateway,
           "nftdev": NftDeviceGateway, "iptables": IptablesGateway}


def run_tool(host, tool, *argv):
    done = subprocess.run([tool, host.net, "in0", "out0", *map(str, argv)], text=True,
                          capture_output=True, preexec_fn=die_with_parent)
    if done.returncode:
        sys.exit(f"bench: {' '.join(map(str, done.args))}: {done.stderr.strip()}")
    return done.stdout
