# SPDX-License-Identifier: GPL-2.0-only
"""Who tries is denied and named: a page of a site, a cron job, a user's session, a container."""

import fence
import scenery
from far import Far
from host import until
from scenery import EPERM

# Says "25 ERRNO" and "26 ERRNO", 0 where it was let through.
TRY = ("import socket; [print(p, socket.socket().connect_ex(('%s', p))) for p in (25, 26)]"
       % Far.OTHER4)
DENIED = f"25 {EPERM}\n26 0\n"


def named(host, **wanted):
    """Its event, once the daemon has written it."""
    def look():
        return fence.events(host, verdict="denied", daddr=Far.OTHER4, dport=25, **wanted)
    return until(look, f"an event with {wanted}")[-1]


def no_syn(host):
    host.settle()
    assert not host.far.syns(), "a SYN arrived"


def alerted(host, **wanted):
    """In the journal and in rsyslogd's file, with these texts in one line.

    Its rule is the first denial's, or the limit's: root has crossed it where the boot was tested.
    """
    texts = [f'{key}="{value}"' for key, value in wanted.items()]
    for where, number in (("journal", 0), ("syslog", 1)):
        until(lambda: any(all(t in line for t in texts)
                          for rule in ("attempt", "denied")
                          for line in fence.alerts(host, rule, texts[0])[number]),
              f"an alert with {texts} in the {where}")


def test_a_page_of_a_site(host):
    fence.ensure(host)
    host.far.recorder.clear()
    assert scenery.page(host, "contact", port=25) == f"errno {EPERM}"
    assert scenery.page(host, "contact", port=26) == "connected"
    event = named(host, user=scenery.POOL_USER)
    wanted = {"cwd": scenery.SHOP, "cgroup": "/system.slice/php8.2-fpm.service",
              "unit": "php8.2-fpm.service", "comm": "php-fpm8.2", "exe": "/usr/sbin/php-fpm8.2"}
    assert {k: event.get(k) for k in wanted} == wanted, event
    alerted(host, user=scenery.POOL_USER, unit="php8.2-fpm.service", cwd=scenery.SHOP)
    no_syn(host)


def test_mail_of_the_same_site(host):
    fence.ensure(host)
    assert scenery.page(host, "order", token="order4711") == "sent"
    until(lambda: host.far.arrived("order4711"), "the site's mail, through sendmail and Postfix")
    assert not fence.events(host, user="postfix"), "Postfix was denied"


def test_a_cron_job(host):
    fence.ensure(host)
    host.far.recorder.clear()
    host.write("/usr/local/bin/try", f"#!/usr/bin/python3\n{TRY}\n", 0o755)
    host.write("/etc/cron.d/hijacked",
               f"* * * * * {scenery.CRON_USER} /usr/local/bin/try >/tmp/cron.out 2>&1\n")
    until(lambda: "26 " in host.run("cat /tmp/cron.out").out, "the cron job")
    host.must("rm /etc/cron.d/hijacked")
    assert host.must("cat /tmp/cron.out") == DENIED
    event = named(host, user=scenery.CRON_USER)
    assert event["unit"] == "cron.service" and event["cwd"] == f"/home/{scenery.CRON_USER}", event
    alerted(host, user=scenery.CRON_USER, unit="cron.service")
    no_syn(host)


def test_a_users_session(host):
    """A login over PAM, and in it a unit of the user's own systemd."""
    fence.ensure(host)
    host.far.recorder.clear()
    user = scenery.SESSION_USER
    uid = int(host.must("id", "-u", user))
    assert host.must("su", "-l", user, "-c", f'python3 -c "{TRY}"') == DENIED
    event = named(host, user=user)
    assert event["cgroup"].startswith(f"/user.slice/user-{uid}.slice/session-"), event
    assert event["unit"].startswith("session-") and event["unit"].endswith(".scope"), event
    host.must("loginctl", "enable-linger", user)
    out = host.must("su", "-l", user, "-c", f"export XDG_RUNTIME_DIR=/run/user/{uid}; systemd-run "
                    f'--user --quiet --pipe --wait --unit=mine python3 -c "{TRY}"')
    assert out == DENIED, out
    event = named(host, user=user, unit=f"user@{uid}.service")
    assert event["cgroup"].endswith("/mine.service"), event
    alerted(host, user=user, unit=f"user@{uid}.service")
    host.must("loginctl", "disable-linger", user)
    no_syn(host)


def test_a_container(host):
    """Root, in the host's network; the name has a dash, which systemd escapes."""
    fence.ensure(host)
    host.far.recorder.clear()
    assert scenery.container(host, "cust-1", "/usr/bin/python3", "-c", TRY) == DENIED
    event = named(host, container="cust-1")
    assert event["cgroup"].startswith("/machine.slice/machine-cust"), event
    alerted(host, user="root", container="cust-1")
    no_syn(host)
