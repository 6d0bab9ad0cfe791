# SPDX-License-Identifier: GPL-2.0-only
"""A reboot: fenced before the network is there, and before what could misuse it."""

import fence
import scenery
from scenery import EPERM, Attacker
from host import until

ENETUNREACH, ENETDOWN = 101, 100


def since_boot(host, unit, what):
    """Microseconds: when the unit began (InactiveExit) or was up (ActiveEnter)."""
    value = int(host.show(unit, f"{what}TimestampMonotonic")[0])
    assert value, f"{unit} never was: {what}"
    return value


def test_fenced_before_the_network(host):
    fence.ensure(host)
    host.must("systemctl", "enable", "attacker-first", "attacker-ordinary")
    scenery.send_mail(host, "before-the-reboot")
    host.far.recorder.clear()
    host.reboot()
    until(lambda: host.far.arrived("before-the-reboot"), "the mail that was queued, or sent before")
    first, ordinary = (Attacker(host, f"attacker-{name}") for name in ("first", "ordinary"))
    for attacker in (first, ordinary):
        until(attacker.denied, f"denials of {attacker.name}")
        until(lambda: (26, 0) in attacker.log(), f"{attacker.name} at the open port")
        errors = {error for port, error in attacker.log() if port == 25}
        assert errors <= {EPERM, ENETUNREACH, ENETDOWN}, f"{attacker.name}: {attacker.log()}"
    host.settle()
    assert not host.far.syns(), f"{len(host.far.syns())} SYNs got out at boot"
    up = since_boot(host, "smtpfence.service", "ActiveEnter")
    for unit in ("network-pre.target", "systemd-networkd.service", "sysinit.target",
                 "attacker-ordinary.service"):
        what = "ActiveEnter" if unit.endswith(".target") else "InactiveExit"
        assert up <= since_boot(host, unit, what), f"{unit} was there before the fence"
    # The attacker that waits for nothing runs before the fence does: that is what it was for.
    early = min(answer.first for answer in first.log().values())
    print(f"# fence {up / 1e6:.2f} s after boot, first attempt {early:.2f} s, network "
          f"{since_boot(host, 'systemd-networkd.service', 'InactiveExit') / 1e6:.2f} s", flush=True)
    assert early * 1e6 < up, "no attempt before the fence: the test shows less than it says"
    host.must("systemctl", "disable", "--now", "attacker-first", "attacker-ordinary")


def test_all_is_there_after_the_reboot(host):
    fence.ensure(host)
    assert host.run("systemctl", "is-active", *fence.UNITS).out.split() == ["active"] * 2
    until(lambda: not host.run(fence.FENCE, "status").code, "status 0: all of the policy in effect")
    token = "after-the-reboot"
    scenery.send_mail(host, token)
    until(lambda: host.far.arrived(token), "mail through Postfix")
