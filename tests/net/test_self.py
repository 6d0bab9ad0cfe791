# SPDX-License-Identifier: GPL-2.0-only
"""The tests' own instruments, without any fence: what is never seen is never proved absent."""

from lab import HOST4, WORLD4, WORLD6
from ways import LOCATIONS, TCP_WAYS


def test_recorder_sees_the_syn_of_every_way(lab):
    for how in TCP_WAYS:
        for dst in (WORLD4, WORLD6, "::ffff:" + WORLD4):
            lab.clear()
            answer = lab.connect(lab.web, how, dst=dst)
            assert answer["rc"] == 0, f"{how} to {dst}: {answer}"
            assert len(lab.syns(dport=25)) == 1, f"{how} to {dst}: no SYN seen, or several"


def test_recorder_sees_the_syn_from_every_place(lab):
    for name, options in LOCATIONS(lab).items():
        lab.clear()
        answer = lab.connect(**options)
        assert answer["rc"] == 0 and lab.syns(dport=25), f"{name}: {answer}"


def test_fast_open_carries_data_in_its_syn(lab):
    lab.connect(lab.web, "tfo-sendto")
    assert [p.data for p in lab.syns(dport=25)] == [b"EHLO x\r\n"]


def test_recorder_sees_udp_and_closed_ports(lab):
    lab.connect(lab.web, "udp")
    assert len(lab.datagrams(dport=25)) == 1
    assert lab.connect(lab.web, port=2)["errno"] == "ECONNREFUSED"
    assert len(lab.syns(dport=2)) == 1


def test_recorder_sees_nothing_of_loopback(lab):
    lab.listen("host", [25])
    for dst in ("127.0.0.1", "::1", HOST4):
        assert lab.connect(lab.web, dst=dst)["rc"] == 0
    assert not lab.syns()


def test_sender_is_where_and_who_it_was_told(lab):
    done = lab.run(["sh", "-c", "id -u; id -g; id -G; grep 0:: /proc/self/cgroup; pwd"],
                   cgroup=lab.web, uid=12, gid=13, groups=[14], cwd="/usr")
    assert done.out.split() == ["12", "13", "13", "14", "0::" + lab.web.name, "/usr"], done
