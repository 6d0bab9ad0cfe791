# SPDX-License-Identifier: GPL-2.0-only
"""smtpfenced as systemd runs it: ready, reloaded, restarted, killed, hung: always closed."""

import contextlib

import fence
import scenery
from far import Far
from host import until
from scenery import EPERM, Attacker


@contextlib.contextmanager
def closed_throughout(host):
    """An attacker from begin to end of it: nothing of his arrives, and he is denied at the end."""
    host.far.recorder.clear()
    with Attacker(host) as attacker:
        yield attacker
        denied = attacker.denied()
        until(lambda: attacker.denied() > denied + 10, "denials to the end")
        host.settle()
        assert set(attacker.log()) == {(25, EPERM), (26, 0)}, attacker.log()
        assert not host.far.syns(), f"{len(host.far.syns())} SYNs"


def another_daemon(host, pid):
    """Another process is the daemon, and systemd knows it as ready."""
    def look():
        now, state = host.show("smtpfenced", "MainPID", "SubState")
        return state == "running" and int(now) not in (0, pid) and int(now)
    return until(look, "another smtpfenced")


def try_port(host, port, **kwargs):
    """The errno of a connect() to the far end."""
    return int(host.must("python3", "-c", "import socket; print(socket.socket()."
                         f"connect_ex(('{Far.OTHER4}', {port})))", **kwargs))


def tells(host, pid):
    """This daemon explains what is denied: a new user gets his alert."""
    user = f"u{pid}"
    host.must("useradd", user)
    try:
        assert try_port(host, 25, uid=int(host.must("id", "-u", user))) == EPERM
        until(lambda: fence.events(host, user=user), f"the event of {user}")
        until(lambda: fence.alerts(host, "attempt", f'user="{user}"')[0], f"the alert of {user}")
    finally:
        host.must("userdel", user)


def test_ready_and_named_in_systemd(host):
    fence.ensure(host)
    kind, access, watchdog, state = host.show("smtpfenced", "Type", "NotifyAccess", "WatchdogUSec",
                                              "SubState")
    assert (kind, access, watchdog, state) == ("notify", "main", "30s", "running")
    tells(host, fence.main_pid(host))


def test_reload(host):
    """Of the fence: the files count. Of the daemon: the same process, still at work."""
    fence.ensure(host)
    pid = fence.main_pid(host)
    assert try_port(host, 26) == 0
    host.write(fence.CONF, fence.CONFIGURATION + "ports = {25, 465, 587, 26}\n")
    host.must("systemctl", "reload", "smtpfence")
    assert try_port(host, 26) == EPERM and try_port(host, 25) == EPERM
    host.write(fence.CONF, fence.CONFIGURATION)
    host.must("systemctl", "reload", "smtpfence")
    assert try_port(host, 26) == 0 and try_port(host, 25) == EPERM
    host.must("systemctl", "reload", "smtpfenced")
    assert fence.main_pid(host) == pid, "a reload restarted the daemon"
    tells(host, pid)


def test_restarted_and_killed(host):
    fence.ensure(host)
    with closed_throughout(host):
        pid = fence.main_pid(host)
        host.must("systemctl", "restart", "smtpfenced")
        pid = another_daemon(host, pid)
        host.must("kill", "-9", str(pid))
        pid = another_daemon(host, pid)
        host.must("systemctl", "stop", "smtpfence")     # it has no ExecStop, on purpose
        assert try_port(host, 25) == EPERM
        host.must("systemctl", "start", "smtpfence")
    tells(host, pid)
    assert host.run(fence.FENCE, "status").code == 0


def test_watchdog(host):
    """A daemon that hangs is ended by systemd, and the next one takes over."""
    fence.ensure(host)
    with closed_throughout(host):
        pid = fence.main_pid(host)
        host.must("kill", "-STOP", str(pid))
        pid = another_daemon(host, pid)
        log = host.must("journalctl -b -o cat -u smtpfenced")
        assert "Watchdog timeout" in log, log[-500:]
    tells(host, pid)


def test_mail_meanwhile(host):
    fence.ensure(host)
    host.must("systemctl", "kill", "-s", "KILL", "smtpfenced")
    scenery.send_mail(host, "daemonless")
    until(lambda: host.far.arrived("daemonless"), "mail while the daemon is restarted")
