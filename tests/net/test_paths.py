# SPDX-License-Identifier: GPL-2.0-only
"""Every way out is closed, from every place without a right; and the ports beside stay open."""

from checks import connects, denied, passes
from lab import HOST4, HOST6, WORLD4, WORLD6
from ways import LOCATIONS, TCP_WAYS

ADDRESSES = {"IPv4": WORLD4, "IPv6": WORLD6, "v4-mapped": "::ffff:" + WORLD4}


def every_way(lab, dst):
    for how in TCP_WAYS:
        denied(lab, lab.web, how, dst=dst)
    for how in TCP_WAYS:        # the neighbour: the same calls from the mail server work
        passes(lab, lab.mta, how, dst=dst)


def test_every_way_over_ipv4(lab):
    lab.on()
    every_way(lab, ADDRESSES["IPv4"])


def test_every_way_over_ipv6(lab):
    lab.on()
    every_way(lab, ADDRESSES["IPv6"])


def test_every_way_over_v4_mapped(lab):
    lab.on()
    every_way(lab, ADDRESSES["v4-mapped"])


def test_every_fenced_port(lab):
    lab.on()
    for port in (25, 465, 587):
        denied(lab, lab.web, port=port)
        passes(lab, lab.mta, port=port)


def test_every_place_without_a_right(lab):
    lab.on()
    for name, options in LOCATIONS(lab).items():
        options = dict(options)
        try:
            denied(lab, options.pop("cgroup"), **options)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


def test_a_namespace_made_by_the_sender_itself(lab):
    # No route leads out of it, so the errno tells: without a fence it is ENETUNREACH.
    lab.on()
    denied(lab, lab.web, unshare_net=True)
    denied(lab, lab.web, unshare_net=True, uid=33, gid=33, userns_uid=0)


def test_a_made_up_uid_gives_no_right(lab):
    # In a user namespace of one's own, any number can be one's uid: 8 is the mail server's.
    lab.on()
    denied(lab, lab.mta, uid=33, gid=33, userns_uid=8)
    passes(lab, lab.mta, uid=8, gid=8, userns_uid=33)


def test_nested_cgroup_of_the_mail_server_may_send(lab):
    lab.on()
    inner = lab.cgroup("mta/worker/1")
    passes(lab, inner)
    passes(lab, lab.mta, move=inner)        # its own process, moved within its own subtree
    denied(lab, inner, uid=33, gid=33)


def test_cgroups_made_after_on(lab):
    lab.on()
    denied(lab, lab.cgroup("later/site"))
    passes(lab, lab.cgroup("mta/later"))


def test_a_role_for_a_cgroup_that_comes_later(lab):
    lab.conf.section("mail", lab.root + "/second/mta", users=["root"])
    lab.on()
    denied(lab, lab.web)
    passes(lab, lab.cgroup("second/mta"))
    denied(lab, lab.cgroup("second"))
    denied(lab, lab.cgroup("second/mta2"))


def test_ports_beside_stay_open(lab):
    lab.on()
    for dst in ADDRESSES.values():
        for port in (24, 26, 80, 2525):
            passes(lab, lab.web, dst=dst, port=port)


def test_udp_to_a_fenced_port_passes(lab):
    lab.on()
    for dst in (WORLD4, WORLD6):
        for how in ("udp", "udp-connect"):
            lab.clear()
            connects(lab, lab.web, how, dst=dst)
            assert len(lab.datagrams(dport=25)) == 1, f"{how} to {dst}: no datagram arrived"


def test_the_local_mail_server_is_reachable(lab):
    lab.listen("host", [25, 587])
    lab.on()
    for dst in ("127.0.0.1", "127.8.9.10", "0.0.0.0", HOST4, "::1", "::", HOST6,
                "::ffff:127.0.0.1", "::ffff:" + HOST4):
        connects(lab, lab.web, dst=dst)
        connects(lab, lab.web, dst=dst, port=587)
        connects(lab, lab.web, "tfo-sendto", dst=dst)
    assert not lab.syns(), "what is local never goes to the wire"
    denied(lab, lab.web)


def test_allow_local_can_be_turned_off(lab):
    lab.listen("host", [25])
    lab.conf.keys["allow_local"] = False
    lab.on()
    for dst in ("127.0.0.1", "::1", "0.0.0.0", "::", HOST4, HOST6):
        denied(lab, lab.web, dst=dst)
        connects(lab, lab.mta, dst=dst)


def test_a_large_scale_of_destinations_is_denied(lab):
    lab.on()
    for dst in ("203.0.113.1", "203.0.113.10", "2001:db8:2::1", "2001:db8:2::a", "192.0.2.77",
                "255.255.255.254", "2001:db8:ffff::1"):
        denied(lab, lab.web, dst=dst)


def test_the_chosen_errno(lab):
    for errno in ("ECONNREFUSED", "EACCES", "EPERM"):
        lab.conf.keys["errno"] = errno
        lab.on()
        for dst in (WORLD4, WORLD6):
            for how in ("connect", "nonblock", "tfo-sendto", "uring", "mptcp"):
                denied(lab, lab.web, how, errno=errno, dst=dst)


def test_who_is_outside_the_fenced_root_is_not_touched(lab):
    from cgroups import Cgroup
    lab.on()
    outside = Cgroup(lab.root + "-outside").make()
    passes(lab, outside)
    denied(lab, lab.web)
