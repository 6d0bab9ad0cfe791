# SPDX-License-Identifier: GPL-2.0-only
"""From a host without a fence to one with it."""

import fence
from host import until
from scenery import EPERM, Attacker


def test_without_a_fence_everybody_sends(host):
    """The attacker, the wire and the far end work: else all that follows shows nothing."""
    with Attacker(host) as attacker:
        until(attacker.through, "a connection of the attacker")
    host.settle()
    assert host.far.syns(), "the far end saw no SYN"


def test_install_fences_nothing_on_fences_all(host):
    fence.install(host)
    host.write(fence.CONF, fence.CONFIGURATION)
    with Attacker(host) as attacker:
        assert attacker.log().keys() <= {(25, 0), (26, 0)}, attacker.log()
        said = fence.switch_on(host)
        assert "Postfix" in said and "proved" in said, said
        before = attacker.denied()
        until(lambda: attacker.denied() > before + 20, "denials")
        host.settle()
        passed, seen = attacker.log(), len(host.far.syns())
        until(lambda: attacker.denied() > before + 100, "more denials")
        host.settle()
        assert attacker.through() == passed[25, 0].count, "a connection after `on`"
        assert len(host.far.syns()) == seen, "a SYN after `on`"
        assert attacker.log()[26, 0].count > passed[26, 0].count, "port 26 is not open"
        assert {e for p, e in attacker.log() if p == 25} == {0, EPERM}, attacker.log()


def test_units_are_enabled_and_verified(host):
    for unit in fence.UNITS:
        assert host.show(unit, "ActiveState", "UnitFileState") == ["active", "enabled"], unit
        done = host.run("systemd-analyze", "--man=no", "verify", unit)
        assert not done.code and not done.err, f"systemd-analyze verify {unit}: {done.err}"
        figure = host.must("systemd-analyze", "security", "--no-pager", unit).splitlines()[-1]
        print(f"# {figure.strip()}", flush=True)
    status = fence.status(host)
    assert status["enforcing"] and not status.get("faults"), status
