# SPDX-License-Identifier: GPL-2.0-only
"""allow source: who behind which of the customers' interfaces may send mail."""

from lab import WORLD6
from test_gateway import gateway, reasons


def sends(r, name, src, port=25):
    """A SYN of this source, handed in by this customer: did it arrive?"""
    dst = {"dst": WORLD6} if ":" in src else {}
    return r.send(name, [r.tcp_frame(name, port, src=src, **dst)]) == [True]


def test_on_its_interface_only(lab):
    with gateway(lab) as r:
        web, lan = r.customers["web"], r.customers["lan"]
        assert not sends(r, "web", web.v4)
        # the form: a network with its interface is a source, not a destination
        done = lab.fence("allow", "net", web.v4, "--on", "cu-web")
        assert done.code == 0, done
        assert sends(r, "web", web.v4) and not sends(r, "web", "10.9.1.3")
        assert not sends(r, "lan", web.v4), "the same address by another interface"
        assert reasons(lab)["mail_host"] == 1, reasons(lab)
        # a destination is not allowed by it
        assert not sends(r, "lan", lan.v4)
        # several interfaces, one of them by pattern; it replaces what was
        assert lab.fence("allow", "source", "10.9.0.0/16", "--on", "cu-l*,cu-six").code == 0
        assert sends(r, "lan", lan.v4) and sends(r, "lan", web.v4)
        assert sends(r, "web", web.v4), "the narrower one stays beside the wider"
        assert not sends(r, "web", "10.9.1.3")
        assert lab.fence("allow", "source", "10.9.0.0/16", "--on", "cu-six").code == 0
        assert not sends(r, "lan", lan.v4)
        assert lab.fence("status").code == 0, lab.fence("status")
        assert lab.fence("remove", "allow", "source", web.v4).code == 0
        assert not sends(r, "web", web.v4)


def test_ipv6_and_without_interface(lab):
    with gateway(lab) as r:
        web, six = r.customers["web"], r.customers["six"]
        assert lab.fence("allow", "source", "2001:db8:9:1::/64", "--on", "cu-web").code == 0
        assert sends(r, "web", web.v6) and not sends(r, "six", web.v6)
        # without --on it is as in mail_hosts: behind any of them
        assert lab.fence("allow", "source", "2001:db8:9:3::/64").code == 0
        assert sends(r, "six", six.v6) and sends(r, "web", six.v6)
        # mail_hosts and another's interface hide nothing of each other
        assert lab.fence("allow", "source", r.customers["mail"].v4, "--on", "cu-six").code == 0
        assert sends(r, "mail", r.customers["mail"].v4)


def test_an_interface_that_comes_later(lab):
    with gateway(lab) as r:
        assert lab.fence("allow", "source", "10.9.8.0/24", "--on", "cu-late").code == 0
        assert lab.fence("status").code == 0, lab.fence("status")
        late = r.add("late", 8)
        assert lab.fence("apply").code == 0
        assert sends(r, "late", late.v4) and not sends(r, "late", "10.9.1.2")
        assert not sends(r, "web", late.v4)
        # its number goes with it: another interface does not inherit
        r.ip_link("del", "cu-late")
        assert lab.fence("apply").code == 0
        assert lab.fence("status").code == 0, lab.fence("status")
        shown = [e for e in lab.json("list") if e["kind"] == "allow source"]
        assert [(e["value"], e["users"]) for e in shown] == [("10.9.8.0/24", "cu-late")], shown


def test_what_is_refused(lab):
    with gateway(lab) as r:
        for wrong in (["user", "0", "--on", "cu-web"], ["host", "localhost", "--on", "cu-web"],
                      ["source", "10.0.0.1/8"], ["source", "no-network", "--on", "cu-web"],
                      ["source", "10.9.1.2", "--on", "a/b"], ["source", "10.9.1.2", "--on", ""],
                      ["source", "10.9.1.2", "--on", "cu-web,"], ["net", "10.9.1.2", "--on", "x" * 16],
                      ["source", "10.9.1.2", "--ttl", "1h"], ["net", "10.9.1.2", "--on", "cu-web",
                                                              "--port", "25"]):
            done = lab.fence("allow", *wrong)
            assert done.code == 2, (wrong, done)
        assert not sends(r, "web", "10.9.1.2")


def test_more_than_there_is_room_for(lab):
    """Who does not fit lacks his right, and it is said; the fence stands."""
    with gateway(lab) as r:
        for i in range(66000):
            lab.conf.section("allow_source", f"100.{64 + i // 65536}.{i // 256 % 256}.{i % 256}")
        lab.conf.write()
        done = lab.fence("apply", timeout=60)
        assert done.code == 0 and "full" in done.err, done
        status = lab.fence("status", timeout=60)
        assert status.code == 4 and "lists" in status.out, status
        assert not sends(r, "web", "10.9.1.2") and sends(r, "web", "10.9.1.2", 26)
        late = r.add("late", 8)
        lab.fence("apply", timeout=60)
        assert not sends(r, "late", late.v4), "a new one is fenced too"
