# SPDX-License-Identifier: GPL-2.0-only
"""From a denied connect to the line in syslog: who it was, once, and what was swallowed since."""

import json
import os
import re
import time

from lab import CLIENT, WORLD4, WORLD6, until


def burst(lab, count, **options):
    options.setdefault("uid", 5)
    options.setdefault("gid", 60)
    answer = lab.connect(options.pop("cgroup", lab.web), "hammer", count=count, **options)
    assert answer["counts"] == {"EPERM": count}, answer


def fields(line):
    found = re.findall(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|\S+)', line[line.index("ALERT "):])
    return {key: value.strip('"') for key, value in found}


def test_an_alert_names_the_sender(lab):
    lab.on()
    daemon = lab.daemon()
    burst(lab, 12, cwd="/usr/share", comm="mailer.php")
    line = lab.log.wait("ALERT.*rule=denied")
    assert line, lab.log.lines()
    got = fields(line)
    assert got["user"] == "games" and got["uid"] == "5", line
    assert got["cgroup"] == lab.web.name, line
    assert got["comm"] == "mailer.php" and got["cwd"] == "/usr/share", line
    assert got["exe"] == os.path.realpath(CLIENT), line
    assert got["daddr"] == WORLD4 and got["dport"] == "25", line
    assert got["severity"] == "warning" and got["window"] == "60s" and int(got["count"]) >= 10, line
    assert got["id"] and int(got["pid"]) > 0, line
    assert f"smtpfenced[{daemon.pid}]: ALERT" in line, line
    # <priority>: facility mail is 2
    assert int(re.match(r"<(\d+)>", line)[1]) >> 3 == 2, line


def test_a_number_that_is_somebody_elses_now(lab):
    """Names are remembered for a while, but never beyond a change of the users."""
    lab.conf.keys["alert_cooldown"] = 1
    lab.user(None, 61234)
    lab.on()
    lab.daemon()
    for name in (None, "anna", "berta", None, "carla"):
        lab.user(name, 61234)
        burst(lab, 1, uid=61234)
        wanted = name or "#61234"
        assert lab.log.wait(rf'ALERT.*rule=attempt .*user="{wanted}" uid=61234'), (wanted, lab.log.lines())
        until(lambda: False, 1.2)       # the cool-down
    events = [json.loads(line)["user"] for line in lab.fence("--json", "events").out.splitlines()]
    assert events[-5:] == ["#61234", "anna", "berta", "#61234", "carla"], events


def test_the_alert_comes_while_it_happens(lab):
    lab.on()
    lab.daemon()
    burst(lab, 9)
    begun = time.monotonic()
    assert not lab.log.wait("ALERT.*rule=denied", bound=0.5), "nine are below the threshold of ten"
    burst(lab, 1)
    assert lab.log.wait("ALERT.*rule=denied", bound=2), lab.log.lines()
    assert time.monotonic() - begun < 3


def test_alerts_are_swallowed_and_counted(lab):
    lab.conf.keys["alert_cooldown"] = 2
    lab.on()
    lab.daemon()
    burst(lab, 12)
    assert lab.log.wait("ALERT.*rule=denied ")
    mark = len(lab.log.records)
    burst(lab, 60)
    assert not lab.log.wait("ALERT.*rule=denied ", bound=1, after=mark), "within the cool-down"

    def again():
        burst(lab, 12)
        return lab.log.wait("ALERT.*rule=denied ", bound=0.2, after=mark)
    assert until(again, 6), f"no further alert after the cool-down: {lab.log.lines()}"
    # with the next alert, or by a line of their own where the cool-down ended before it
    swallowed = [int(fields(line)["swallowed" if "rule=denied " in line else "count"])
                 for line in lab.log.lines()[mark:] if "rule=denied" in line]
    assert sum(swallowed) >= 60, lab.log.lines()


def test_each_user_has_an_alert_of_his_own(lab):
    lab.on()
    lab.daemon()
    for uid in (5, 1, 2):
        burst(lab, 12, uid=uid, gid=uid)
    for uid in (5, 1, 2):
        assert lab.log.wait(rf"ALERT.*rule=denied.*\buid={uid}\b"), lab.log.lines()


def test_monitor_tells_what_it_would_deny(lab):
    lab.conf.keys["FW_OUTPUT_MTA"] = "monitor"
    lab.conf.write()
    assert lab.fence("monitor").code == 0
    lab.daemon()
    answer = lab.connect(lab.web, "hammer", count=12, uid=5, gid=60)
    assert answer["counts"] == {"OK": 12}
    assert lab.log.wait(r"ALERT.*\buid=5\b"), lab.log.lines()
    events = until(lambda: [e for e in lab.fence("--json", "events").out.splitlines()
                            if "would_deny" in e])
    assert events


def test_events_of_ipv6_and_mapped_addresses(lab):
    import json
    lab.on()
    lab.daemon()
    for dst in (WORLD6, "::ffff:" + WORLD4):
        lab.connect(lab.web, dst=dst, uid=5, gid=60)

    def read():
        found = [json.loads(x) for x in lab.fence("--json", "events").out.splitlines()]
        return found if len(found) >= 2 else None
    events = until(read)
    assert events and {e["daddr"] for e in events} == {WORLD6, WORLD4}, events


def test_a_flood_is_counted_exactly_without_being_told_of_each(lab):
    lab.on()
    daemon = lab.daemon()
    before = lab.status()["counters"]
    burst(lab, 20000)
    after = lab.status()["counters"]
    assert after["denied"] - before["denied"] == 20000
    assert lab.log.wait("ALERT.*rule=denied")
    assert len(lab.log.lines()) < 100, "a flood of denials must not become a flood of log lines"
    assert daemon.poll() is None


def test_the_daemon_looks_up_host_names_again(lab):
    from checks import denied, passes
    lab.conf.keys["resolve_interval"] = 10
    lab.conf.section("allow_host", "relay.example", ports=[25])
    lab.hosts({"relay.example": "203.0.113.5"})
    lab.on()
    lab.daemon()
    passes(lab, lab.web, dst="203.0.113.5")
    lab.hosts({"relay.example": "203.0.113.6"})
    assert until(lambda: lab.connect(lab.web, dst="203.0.113.6")["rc"] == 0, 15, every=0.2), \
        "the relay's new address is not allowed"
    denied(lab, lab.web, dst="203.0.113.7")


def test_the_hosts_addresses_are_followed(lab):
    """An address that comes while the daemon runs is local, and no longer when it goes."""
    import netns
    lab.listen("host", [25])
    lab.on()
    lab.daemon()
    assert lab.connect(lab.web, dst="192.0.2.1")["errno"] == "EPERM"
    netns.sh("ip", "-n", lab.host, "addr", "add", "192.0.2.1/32", "dev", "lo")
    netns.sh("ip", "-n", lab.host, "addr", "add", "2001:db8:9::1/128", "dev", "lo", "nodad")
    for dst in ("192.0.2.1", "2001:db8:9::1"):
        assert until(lambda: lab.connect(lab.web, dst=dst)["rc"] == 0), f"{dst} is not local"
    netns.sh("ip", "-n", lab.host, "addr", "del", "192.0.2.1/32", "dev", "lo")
    assert until(lambda: lab.connect(lab.web, dst="192.0.2.1").get("errno") == "EPERM")


def denied_lines(lab, rule="denied", pattern=""):
    return [line for line in lab.log.lines() if re.search(rf"ALERT .*\brule={rule}\b", line)
            and re.search(pattern, line)]


def test_each_site_of_a_user_has_an_alert_of_its_own(lab):
    """Two containers with the same uid: the first one's alert does not silence the second."""
    second = lab.cgroup("web/site2")
    lab.on()
    lab.daemon()
    burst(lab, 12, uid=33, gid=33)
    assert lab.log.wait(rf'ALERT.*rule=denied.*cgroup="{lab.web.name}"'), lab.log.lines()
    burst(lab, 1, uid=33, gid=33, cgroup=second)
    assert lab.log.wait(rf'ALERT.*rule=attempt.*cgroup="{second.name}"'), lab.log.lines()
    burst(lab, 12, uid=33, gid=33, cgroup=second)
    assert lab.log.wait(rf'ALERT.*rule=denied.*cgroup="{second.name}"'), lab.log.lines()
    for place in (lab.web, second):
        burst(lab, 12, uid=33, gid=33, cgroup=place)
    until(lambda: len(denied_lines(lab)) > 2, 1.5)
    assert len(denied_lines(lab)) == 2, denied_lines(lab)


def test_a_user_who_spreads_over_many_cgroups_is_found(lab):
    """One denial in each of them: below the limit everywhere. And the lines stay few."""
    lab.on()
    lab.daemon()
    before = lab.status()["counters"]["denied"]
    for i in range(200):
        burst(lab, 1, uid=33, gid=33, cgroup=lab.cgroup(f"web/many{i}"))
    burst(lab, 1, uid=34, gid=34)
    assert lab.log.wait("ALERT.*rule=attempt.*uid=34"), "one user's storm hides another's notice"
    assert len(denied_lines(lab, "denied", "uid=33")) == 1, denied_lines(lab)
    assert 10 < len(denied_lines(lab, "attempt", "uid=33")) <= 32, lab.log.lines()
    assert lab.status()["counters"]["denied"] - before == 201


def test_a_restart_tells_nothing_twice(lab):
    """kill -9 within the cool-down: what was told is known to the next daemon."""
    import signal
    lab.on()
    second = lab.cgroup("web/site2")
    for i in range(3):
        daemon = lab.daemon()
        burst(lab, 12)
        burst(lab, 1, uid=34, gid=34)
        assert lab.log.wait("ALERT.*rule=denied.*uid=5"), lab.log.lines()
        assert lab.log.wait("ALERT.*rule=attempt.*uid=34"), lab.log.lines()
        until(lambda: len(denied_lines(lab)) > 1, 1)
        assert len(denied_lines(lab)) == 1, denied_lines(lab)
        assert len(denied_lines(lab, "attempt", "uid=34")) == 1, denied_lines(lab, "attempt")
        daemon.send_signal(signal.SIGTERM if i % 2 else signal.SIGKILL)
        daemon.wait(10)
    lab.daemon()
    burst(lab, 12, cgroup=second)
    assert lab.log.wait(rf'ALERT.*rule=denied.*cgroup="{second.name}"'), lab.log.lines()
    shown = lab.fence("history", f"games {lab.web.name}")
    assert re.search(r"\bdenied\b", shown.out), shown
