# SPDX-License-Identifier: GPL-2.0-only
"""Who is allowed, on which ports, and until when; the modes; exempt, fence and quarantine."""

import datetime
import grp
import pwd
import time

from checks import denied, in_force, not_in_force, passes
from lab import HOST4, WORLD4, WORLD6

# Users that every distribution has.
USER, OTHER = pwd.getpwnam("games"), pwd.getpwnam("daemon")
GROUP = grp.getgrnam("uucp")


def as_user(user):
    return dict(uid=user.pw_uid, gid=user.pw_gid)


def utc(moment):
    when = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_off_monitor_and_on(lab):
    lab.conf.write()
    not_in_force(lab)
    assert lab.fence("monitor").code == 0
    not_in_force(lab)
    assert lab.status()["counters"]["would_deny"] >= 1
    assert lab.status()["mode"] == "monitor"
    lab.on()
    in_force(lab)
    assert lab.fence("off").code == 0
    not_in_force(lab)
    lab.on()
    in_force(lab)


def test_the_switch_in_the_style_of_asl(lab):
    lab.conf.write()
    for value, mode in (("yes", "enforce"), ("monitor", "monitor"), ("no", "off")):
        done = lab.fence("set", f"FW_OUTPUT_MTA={value}")
        assert done.code == 0, done
        assert lab.status()["mode"] == mode
        got = lab.fence("get", "FW_OUTPUT_MTA")
        assert got.code == 0 and value in got.out, got
        (in_force if value == "yes" else not_in_force)(lab)


def test_an_allowed_user_on_his_ports_only(lab):
    lab.conf.section("allow_user", USER.pw_name, ports=[25])
    lab.on()
    for dst in (WORLD4, WORLD6):
        passes(lab, lab.web, dst=dst, **as_user(USER))
        denied(lab, lab.web, dst=dst, port=587, **as_user(USER))
        denied(lab, lab.web, dst=dst, **as_user(OTHER))
        denied(lab, lab.web, dst=dst)       # root is not special


def test_an_allowed_user_on_every_port(lab):
    lab.conf.section("allow_user", USER.pw_name)
    lab.on()
    for port in (25, 465, 587):
        passes(lab, lab.web, port=port, **as_user(USER))
        denied(lab, lab.web, port=port, **as_user(OTHER))


def test_an_allowed_group_on_its_ports_only(lab):
    lab.conf.section("allow_group", GROUP.gr_name, ports=[587])
    lab.on()
    passes(lab, lab.web, port=587, uid=OTHER.pw_uid, gid=GROUP.gr_gid)
    denied(lab, lab.web, port=25, uid=OTHER.pw_uid, gid=GROUP.gr_gid)
    denied(lab, lab.web, port=587, uid=OTHER.pw_uid, gid=OTHER.pw_gid, groups=[7])
    # a user whose number is the group's
    denied(lab, lab.web, port=587, uid=GROUP.gr_gid, gid=OTHER.pw_gid)


def test_an_allowed_network_on_its_ports_only(lab):
    lab.conf.section("allow_net", "203.0.113.4/30", ports=[587])
    lab.conf.section("allow_net", "2001:db8:2::4/126", ports=[587])
    lab.on()
    for dst in ("203.0.113.4", "203.0.113.7", "::ffff:203.0.113.5", "2001:db8:2::5"):
        passes(lab, lab.web, dst=dst, port=587)
        denied(lab, lab.web, dst=dst, port=25)
    for dst in ("203.0.113.3", "203.0.113.8", "2001:db8:2::3", "2001:db8:2::8"):
        denied(lab, lab.web, dst=dst, port=587)


def test_a_relay_inside_a_wider_relay_keeps_both_rights(lab):
    lab.conf.section("allow_net", "203.0.113.0/24", ports=[465])
    lab.conf.section("allow_net", "203.0.113.5", ports=[587])
    lab.on()
    passes(lab, lab.web, dst="203.0.113.5", port=587)
    passes(lab, lab.web, dst="203.0.113.5", port=465)
    passes(lab, lab.web, dst="203.0.113.6", port=465)
    denied(lab, lab.web, dst="203.0.113.6", port=587)


def test_all_of_ipv6_is_not_all_of_ipv4(lab):
    lab.conf.section("allow_net", "::/0", ports=[25])
    lab.on()
    passes(lab, lab.web, dst=WORLD6)
    denied(lab, lab.web, dst=WORLD4)
    denied(lab, lab.web, dst="::ffff:" + WORLD4)


def test_a_relay_where_the_probe_would_look(lab):
    """`on` proves itself by connecting to nobody's address; a relay may well hold that address."""
    lab.conf.section("allow_net", "192.0.2.0/24").section("allow_net", "2001:db8::/32")
    lab.on()
    passes(lab, lab.web, dst=WORLD6)
    denied(lab, lab.web, dst=WORLD4)


def test_a_relay_by_host_name(lab):
    lab.conf.section("allow_host", "relay.example", ports=[587])
    lab.conf.section("allow_host", "relay6.example", ports=[587])
    lab.hosts({"relay.example": "203.0.113.5", "relay6.example": "2001:db8:2::5"})
    lab.on()
    for dst in ("203.0.113.5", "2001:db8:2::5"):
        passes(lab, lab.web, dst=dst, port=587)
        denied(lab, lab.web, dst=dst, port=25)
    denied(lab, lab.web, dst="203.0.113.6", port=587)
    # The relay moves; `apply` looks again (the daemon does so by itself, every resolve_interval).
    # What a name gave before is kept for a while: names of relay services turn round and round.
    lab.hosts({"relay.example": "203.0.113.6", "relay6.example": "2001:db8:2::5"})
    assert lab.fence("apply").code == 0
    passes(lab, lab.web, dst="203.0.113.6", port=587)
    denied(lab, lab.web, dst="203.0.113.6", port=25)
    denied(lab, lab.web, dst="203.0.113.7", port=587)
    lab.conf.drop("allow_host", "relay.example").write()
    assert lab.fence("apply").code == 0
    for dst in ("203.0.113.5", "203.0.113.6"):
        denied(lab, lab.web, dst=dst, port=587)


def expires_on_the_second(lab, sender, expected, **allowed_connect):
    """Tries until after the moment; each answer must fit the clock, to the second."""
    before = after = 0
    answer = {"rc": 0}
    while time.time() < expected + 0.3:
        begun = time.time()
        answer = lab.connect(sender, **allowed_connect)
        ended = time.time()
        if ended < expected - 0.5:
            assert answer["rc"] == 0, f"denied {expected - ended:.2f} s too early: {answer}"
            before += 1
        elif begun > expected + 0.1:
            assert answer["errno"] == "EPERM", f"allowed {begun - expected:.2f} s too late"
            after += 1
        time.sleep(0.02)
    assert before and after, f"nothing tried on both sides of the moment: {before}, {after}"
    denied(lab, sender, **allowed_connect)


def test_entries_of_the_file_end_on_the_second_without_a_daemon(lab):
    end = int(time.time()) + 3
    lab.conf.section("allow_user", USER.pw_name, ports=[25], expires=utc(end), comment="till then")
    lab.conf.section("allow_user", OTHER.pw_name, ports=[25])
    lab.conf.section("allow_net", "203.0.113.5", ports=[25], expires=utc(end))
    lab.on()
    passes(lab, lab.web, dst="203.0.113.5")
    expires_on_the_second(lab, lab.web, end, **as_user(USER))
    denied(lab, lab.web, dst="203.0.113.5")
    passes(lab, lab.web, **as_user(OTHER))


def test_a_group_added_by_command_ends_with_its_ttl(lab):
    lab.on()
    done = lab.fence("allow", "group", GROUP.gr_name, "--port", "25", "--ttl", "3s",
                     "--comment", "a \"quoted\" one")
    assert done.code == 0, done
    end = time.time() + 3
    # the command computed the moment a little earlier than we
    sender = dict(uid=OTHER.pw_uid, gid=GROUP.gr_gid)
    passes(lab, lab.web, **sender)
    while time.time() < end + 1:
        time.sleep(0.02)
        if lab.connect(lab.web, **sender)["rc"]:
            break
    assert end - 1.5 < time.time() < end + 1, f"ended {time.time() - end:+.2f} s from its ttl"
    denied(lab, lab.web, **sender)


def test_an_entry_that_is_over_gives_nothing(lab):
    lab.conf.section("allow_user", USER.pw_name, expires=utc(time.time() - 10))
    lab.on()
    denied(lab, lab.web, **as_user(USER))


def test_exempt_and_fence_the_nearest_role_counts(lab):
    lab.conf.section("exempt", lab.root + "/free")
    lab.conf.section("fence", lab.root + "/free/jail")
    lab.conf.section("exempt", lab.root + "/free/jail/pardoned")
    lab.on()
    passes(lab, lab.cgroup("free"))
    passes(lab, lab.cgroup("free/x/y"))
    denied(lab, lab.cgroup("free/jail"))
    denied(lab, lab.cgroup("free/jail/x"))
    passes(lab, lab.cgroup("free/jail/pardoned/z"))
    denied(lab, lab.cgroup("freedom"))


def test_only_the_web_servers_fenced(lab):
    lab.conf.section("exempt", lab.root)
    lab.conf.section("fence", lab.root + "/web")
    lab.on()
    denied(lab, lab.web)
    passes(lab, lab.mta)
    passes(lab, lab.cgroup("backup"))


def test_quarantine_comes_before_every_right(lab):
    lab.conf.section("allow_user", USER.pw_name)
    lab.conf.section("allow_net", WORLD4)
    lab.on()
    passes(lab, lab.web, **as_user(USER))
    for kind, value in (("user", USER.pw_name), ("cgroup", lab.web.name)):
        done = lab.fence("quarantine", kind, value, "--comment", "spam")
        assert done.code == 0, done
        denied(lab, lab.web, **as_user(USER))
        done = lab.fence("remove", "quarantine", kind, value)
        assert done.code == 0, done
        passes(lab, lab.web, **as_user(USER))


def test_a_quarantined_mail_server_and_its_neighbours(lab):
    other = lab.cgroup("mta2")
    lab.conf.section("mail", other.name)
    lab.conf.section("quarantine_cgroup", other.name + "/hijacked")
    lab.on()
    denied(lab, lab.cgroup("mta2/hijacked"))
    denied(lab, lab.cgroup("mta2/hijacked/deeper"))
    passes(lab, other)
    passes(lab, lab.cgroup("mta2/clean"))
    passes(lab, lab.mta)


def test_quarantine_ends_by_itself(lab):
    end = int(time.time()) + 2
    lab.conf.section("allow_user", USER.pw_name)
    lab.conf.section("quarantine_user", USER.pw_name, expires=utc(end))
    lab.on()
    denied(lab, lab.web, **as_user(USER))
    while time.time() < end + 0.1:
        time.sleep(0.02)
    passes(lab, lab.web, **as_user(USER))


def test_roles_added_and_removed_by_command(lab):
    lab.on()
    second = lab.cgroup("second-mta")
    denied(lab, second)
    assert lab.fence("mail", "cgroup", second.name, "--user", "root").code == 0
    passes(lab, second)
    denied(lab, second, uid=33, gid=33)
    listed = lab.fence("list")
    assert listed.code == 0 and second.name in listed.out, listed
    assert lab.fence("remove", "mail", second.name).code == 0
    denied(lab, second)
    passes(lab, lab.mta)


def test_two_mail_servers_do_not_share_sockets(lab):
    # one subtree, one rule: a socket of the first in a task of the second has no right
    second = lab.cgroup("second-mta")
    lab.conf.section("mail", second.name)
    lab.on()
    passes(lab, second)
    denied(lab, second, scm_from=lab.mta)
    denied(lab, lab.mta, move=second)


def test_reasons_are_counted(lab):
    lab.conf.section("allow_user", USER.pw_name)
    lab.conf.section("allow_net", "203.0.113.5")
    lab.conf.section("exempt", lab.root + "/free")
    lab.listen("host", [25])
    lab.on()
    wanted = {
        "mail": dict(cgroup=lab.mta),
        "sender": dict(cgroup=lab.web, **as_user(USER)),
        "relay": dict(cgroup=lab.web, dst="203.0.113.5"),
        "exempt": dict(cgroup=lab.cgroup("free")),
        "local": dict(cgroup=lab.web, dst=HOST4),
        "no_role": dict(cgroup=lab.web),
        "mail_user": dict(cgroup=lab.mta, uid=33, gid=33),
        "socket_moved": dict(cgroup=lab.web, scm_from=lab.mta),
    }
    for reason, options in wanted.items():
        before = lab.status()["counters"]
        for _ in range(3):
            lab.connect(**options)
        after = lab.status()["counters"]

        def grown(reason):
            return after["by_reason"].get(reason, 0) - before["by_reason"].get(reason, 0)
        assert grown(reason) == 3, f"{reason} grew by {grown(reason)}"
        verdict = "denied" if reason in ("no_role", "mail_user", "socket_moved") else "allowed"
        assert after[verdict] - before[verdict] == 3, f"{reason}: {verdict}"
