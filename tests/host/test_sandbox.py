# SPDX-License-Identifier: GPL-2.0-only
"""Every feature of the daemon, within what its unit lets it do."""

import contextlib

import fence
import scenery
from far import Far
from host import until
from scenery import EPERM
from test_daemon import try_port

HOOK = """#!/bin/sh
echo "hook says $1 $2 $SMTPFENCE_USER as $(id -un)"
"""
HOOK_FILE = "/usr/local/sbin/on-alarm"
ACTIONS = fence.CONFIGURATION + f"""hook = "{HOOK_FILE}"
action_hook = "notice"
action_quarantine = "critical"
resolve_interval = "10"
gateway_answer = "reset"
"""
CUSTOMER = "cust-7"
VETH_NETWORK = f"""[Match]
Name=ve-*
[Network]
Address={Far.NET4.replace('.0.0/', '.0.1/')}
IPForward=ipv4
LinkLocalAddressing=no
"""
BEHIND = f"""import socket, subprocess, time
for line in ("addr add 10.9.0.7/16 dev host0", "link set host0 up",
             "route add default via 10.9.0.1"):
    subprocess.run(["ip", *line.split()], check=True)
def attempt(port):
    with socket.socket() as s:
        s.settimeout(5)
        return s.connect_ex(("{Far.OTHER4}", port))
while attempt(26):      # until the host's end of the wire has its address
    time.sleep(0.5)
print(25, attempt(25))
print(26, attempt(26))
"""


@contextlib.contextmanager
def configured(host, text):
    """With this configuration in the kernel and in the daemon."""
    fence.ensure(host)
    host.write(fence.CONF, text)
    fence.run(host, "apply")
    host.must("systemctl", "restart", "smtpfenced")
    try:
        yield
    finally:
        host.write(fence.CONF, fence.CONFIGURATION)
        host.must("systemctl reload smtpfence; systemctl restart smtpfenced")


def test_what_follows_an_alarm(host):
    """History, journal, hook (as nobody), quarantine (the daemon writes the managed file)."""
    fence.ensure(host)
    user = "web3"
    host.must("useradd", user)
    uid = int(host.must("id", "-u", user))
    host.write(HOOK_FILE, HOOK, 0o755)
    with configured(host, ACTIONS):
        fence.run(host, "allow", "user", user)
        fence.run(host, "limit", "user", user, "--warn", "3", "--act", "6")
        assert [try_port(host, 25, uid=uid) for _ in range(5)] == [0] * 5
        until(lambda: try_port(host, 25, uid=uid) == EPERM, "the quarantine")
        assert f'quarantine_user "{user}"' in host.must("cat /etc/smtpfence/managed.conf")
        until(lambda: f"hook says raised rate_act {user} as nobody" in
              host.must("journalctl -b -o cat -t smtpfenced"), "the hook's words")
        until(lambda: host.must("journalctl", "-b", "-o", "cat", f"SMTPFENCE_USER={user}",
                                "SMTPFENCE_RULE=rate_act"), "the journal's entry")
        assert try_port(host, 25) == EPERM and try_port(host, 26, uid=uid) == 0
        until(lambda: user in fence.run(host, "history", user), "the history")
        for kind in ("quarantine", "limit", "allow"):
            fence.run(host, "remove", kind, "user", user)
    host.must("userdel", user)


def test_repairs(host):
    """Pins removed, the uplink's program taken off: the daemon puts them back."""
    fence.ensure(host)
    links = "/sys/fs/bpf/smtpfence/links"
    before = host.must(f"ls {links}")
    host.must(f"rm {links}/connect4 {links}/connect6")
    until(lambda: host.must(f"ls {links}") == before, "the pins")
    assert try_port(host, 25) == EPERM
    for way in ("egress", "ingress"):
        host.must("tc", "filter", "del", "dev", "eth0", way, "pref", "21318")
        until(lambda: "smtpfence" in host.must("tc", "filter", "show", "dev", "eth0", way) or
              "pref 21318" in host.must("tc", "filter", "show", "dev", "eth0", way),
              f"the program at {way}")
    assert host.run(fence.FENCE, "status").code == 0, host.run(fence.FENCE, "status").out


def test_rollback_by_the_daemon(host):
    """The command that waits for it is gone: the daemon writes the managed file."""
    fence.ensure(host)
    fence.run(host, "monitor", "--rollback", "20s")
    assert try_port(host, 25) == 0
    host.run("pkill", "-KILL", "-x", "smtpfence")
    until(lambda: try_port(host, 25) == EPERM, "the rollback")
    assert fence.status(host)["mode"] == "enforce"


def test_names_that_move(host):
    """The daemon looks allowed hosts up."""
    with configured(host, ACTIONS):
        hosts = host.must("cat /etc/hosts")
        host.write("/etc/hosts", f"{hosts}{Far.MAIL4} relay.test\n")
        fence.run(host, "allow", "host", "relay.test")
        assert try_port(host, 25) == EPERM
        host.write("/etc/hosts", f"{hosts}{Far.OTHER4} relay.test\n")
        until(lambda: try_port(host, 25) == 0, "the new address of the relay")
        host.write("/etc/hosts", hosts)
        fence.run(host, "remove", "allow", "host", "relay.test")
        assert try_port(host, 25) == EPERM


def test_a_customers_network(host):
    """A container with a network of its own, exempt from the process fence: the gateway."""
    with configured(host, ACTIONS):
        host.write("/etc/systemd/network/20-ve.network", VETH_NETWORK)
        host.must("networkctl", "reload")
        fence.run(host, "gateway", "add", "ve-*")
        fence.run(host, "exempt", "cgroup", "/machine.slice")
        host.far.recorder.clear()
        out = scenery.container(host, CUSTOMER, "/usr/bin/python3", "-c", BEHIND,
                                option="--network-veth")
        assert out == "25 111\n26 0\n", out
        host.settle()
        assert not host.far.syns() and host.far.syns(26), "what left the gateway"
        until(lambda: fence.alerts(host, "customer", "10.9.0.7")[1], "the alert of the customer")
        fence.run(host, "gateway", "remove", "ve-*")
        fence.run(host, "remove", "exempt", "cgroup", "/machine.slice")
    host.must("rm /etc/systemd/network/20-ve.network && networkctl reload")
