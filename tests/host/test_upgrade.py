# SPDX-License-Identifier: GPL-2.0-only
"""Another version and back, while somebody tries 100 times a second: no gap, nothing forgotten."""

import builds
import fence
import scenery
from host import until
from test_daemon import another_daemon, closed_throughout, tells

RESTART = "/usr/sbin/smtpfence on && systemctl restart smtpfenced"     # as README says


def change_to(host, tree, version):
    kept = host.must(f"cat {fence.CONF} /etc/smtpfence/managed.conf")
    programs, denied = fence.programs(host), fence.status(host)["counters"]["denied"]
    with closed_throughout(host) as attacker:
        pid = fence.main_pid(host)
        fence.install(host, tree)
        assert attacker.through() == 0
        host.must(RESTART)
        pid = another_daemon(host, pid)
    assert host.must("readlink", f"/proc/{pid}/exe").strip() == f"{fence.PREFIX}/sbin/smtpfenced"
    assert host.must(f"/proc/{pid}/exe", "--version").split()[-1] == version
    assert host.must(fence.FENCE, "--version").split()[-1] == version
    assert host.must(f"cat {fence.CONF} /etc/smtpfence/managed.conf") == kept
    now = fence.programs(host)
    assert now.keys() == programs.keys(), f"{programs} -> {now}"
    for hook in ("connect4", "connect6"):
        assert now[hook] != programs[hook], f"{hook} runs the old program"
    assert fence.status(host)["counters"]["denied"] >= denied, "the counters began anew"
    assert host.run(fence.FENCE, "status").code == 0, host.run(fence.FENCE, "status").out
    tells(host, pid)
    token = f"with-{version}"
    scenery.send_mail(host, token)
    until(lambda: host.far.arrived(token), "mail")


def test_upgrade(host):
    fence.ensure(host)
    fence.run(host, "allow", "user", "daemon", "--comment", "kept over upgrades")
    change_to(host, "two", builds.OTHER)


def test_downgrade(host):
    fence.ensure(host)
    change_to(host, "one", builds.version(builds.TOP))
    assert "kept over upgrades" in fence.run(host, "list")
