# SPDX-License-Identifier: GPL-2.0-only
"""Which interfaces are counted, as they come and go; and those who were there before us."""

import fcntl
import json
import os
import re
import socket
import struct

import census
import kernel
import netns
import preload
import tcx
from cgroups import Cgroup
from census import sources, spare_link
from checks import passes
from lab import BUILD, HOST4, needs, until

OTHER_TC = os.path.join(BUILD, "tests", "other_tc.bpf.o")


def count_on(lab, *uplinks, mode="yes"):
    census.count_on(lab, *uplinks, mode=mode)


def flood(lab, **options):
    """By who may: what others write by hand does not leave under enforce."""
    return census.flood(lab, cgroup=lab.mta, **options)


def ip(lab, *argv, ns=None):
    return netns.sh("ip", "-n", ns or lab.host, *argv)


def counted(lab):
    """{interface: (egress, ingress)} as `status` sees them in the kernel."""
    out = {}
    for one in lab.status()["attached"]:
        if one["hook"] in ("egress", "ingress"):
            out.setdefault(one["target"], set()).add(one["hook"])
    return {name for name, hooks in out.items() if hooks == {"egress", "ingress"}}


def programs(lab, interface, hooks=(tcx.INGRESS, tcx.EGRESS)):
    """Names of the programs at the interface, ours and others', by TCX and by clsact."""
    return [p["name"] for p in tcx.programs(lab.host, interface, hooks) + at_clsact(lab, interface)]


def at_clsact(lab, interface):
    done = lab.run(["bpftool", "-j", "net", "show", "dev", interface])
    if done.code:
        raise RuntimeError(done.err)
    ids = [p["id"] for entry in json.loads(done.out) for p in entry.get("tc", [])]
    return [kernel.bpftool("prog", "show", "id", i) for i in ids]


OURS = ["smtpfence_in", "smtpfence_out"]


def test_auto_follows_the_default_routes(lab):
    """IPv4 only, IPv6 only, several next hops, another table; nothing else."""
    ip(lab, "route", "del", "default")
    ip(lab, "-6", "route", "del", "default")
    for i in range(1, 6):
        spare_link(lab, f"w{i}", f"x{i}")
        ip(lab, "addr", "add", f"10.9.{i}.1/24", "dev", f"w{i}")
        netns.inside(netns.path(lab.host), lambda: open(
            f"/proc/sys/net/ipv6/conf/w{i}/disable_ipv6", "w").write("0"))
        ip(lab, "addr", "add", f"2001:db8:9{i}::1/64", "dev", f"w{i}", "nodad")
    count_on(lab, "auto")
    assert counted(lab) == set(), "no default route"
    for add, wanted in (
            (["route", "add", "default", "via", "10.9.1.2"], {"w1"}),
            (["-6", "route", "add", "default", "via", "2001:db8:92::2"], {"w2"}),
            (["route", "add", "default", "nexthop", "via", "10.9.1.2", "nexthop", "via",
              "10.9.3.2"], {"w1", "w3"}),
            (["-6", "route", "add", "default", "nexthop", "via", "2001:db8:91::2", "nexthop",
              "via", "2001:db8:94::2"], {"w1", "w4"}),
            (["route", "add", "default", "via", "10.9.5.2", "table", "77"], {"w5"}),
            (["route", "add", "default", "dev", "w2"], {"w2"}),
            (["route", "add", "blackhole", "default"], set()),
            (["route", "add", "10.0.0.0/8", "via", "10.9.1.2"], set())):
        ip(lab, *add)
        assert lab.fence("apply").code == 0
        assert counted(lab) == wanted, f"{add}: {counted(lab)}"
        ip(lab, *[{"add": "del"}.get(x, x) for x in add])
    assert lab.fence("apply").code == 0
    assert counted(lab) == set() and programs(lab, "w1") == []


def test_two_default_routes(lab):
    spare_link(lab, "w1", "x1")
    ip(lab, "addr", "add", "10.9.1.1/24", "dev", "w1")
    ip(lab, "route", "add", "default", "via", "10.9.1.2", "metric", "500")
    count_on(lab, "auto")
    assert counted(lab) == {"up0", "w1"}
    flood(lab, dev="w1", src="192.0.2.1", each=5)
    passes(lab, lab.mta, uid=8, gid=8)
    assert sources(lab)["192.0.2.1"]["syn"] == 5 and sources(lab)[HOST4]["syn"] == 1


def test_interfaces_come_and_go(lab):
    """Taken in by the daemon when they match, forgotten when they are gone, counts kept."""
    count_on(lab, "up0", "ppp*")
    lab.daemon()
    assert counted(lab) == {"up0"}
    spare_link(lab, "ppp7", "peer7")
    spare_link(lab, "other", "peer8")
    assert until(lambda: counted(lab) == {"up0", "ppp7"}, 5), counted(lab)
    assert programs(lab, "other") == [] and programs(lab, "peer7") == []
    flood(lab, dev="ppp7", src="192.0.2.1", each=5)
    assert sources(lab)["192.0.2.1"]["syn"] == 5
    ip(lab, "link", "del", "ppp7")
    assert until(lambda: not [p for p in kernel.pins(lab) if re.search(r"/(in|out)-", p)
                              and p.rsplit("-", 1)[1] != index(lab, "up0")], 5), kernel.pins(lab)
    assert counted(lab) == {"up0"} and lab.fence("status").code == 0
    assert sources(lab)["192.0.2.1"]["syn"] == 5
    # the same name again is another interface
    spare_link(lab, "ppp7", "peer7")
    assert until(lambda: counted(lab) == {"up0", "ppp7"}, 5), counted(lab)
    flood(lab, dev="ppp7", src="192.0.2.1", sport=9000)
    assert sources(lab)["192.0.2.1"]["syn"] == 6
    # one that is renamed to what does not match
    ip(lab, "link", "set", "ppp7", "down")
    ip(lab, "link", "set", "ppp7", "name", "eth7")
    assert until(lambda: programs(lab, "eth7") == [], 5), programs(lab, "eth7")


def index(lab, name):
    return netns.inside(netns.path(lab.host), lambda: str(socket.if_nametoindex(name)))


def test_a_new_default_route_is_followed(lab):
    spare_link(lab, "w1", "x1")
    ip(lab, "addr", "add", "10.9.1.1/24", "dev", "w1")
    count_on(lab, "auto")
    lab.daemon()
    assert counted(lab) == {"up0"}
    ip(lab, "route", "replace", "default", "via", "10.9.1.2", "dev", "w1")
    assert until(lambda: "w1" in counted(lab), 5), counted(lab)
    ip(lab, "-6", "route", "del", "default")
    assert until(lambda: counted(lab) == {"w1"} and programs(lab, "up0") == [], 5), counted(lab)


def link_pins(lab, interface):
    number = index(lab, interface)
    return [p for p in kernel.pins(lab) if re.search(rf"/links/(in|out)-{number}$", p)]


def test_a_program_that_somebody_detached(lab):
    """`status` says so, the daemon attaches it again and tells."""
    count_on(lab, "up0")
    assert programs(lab, "up0") == OURS
    links = link_pins(lab, "up0")
    assert len(links) == 2, links
    tcx.detach(links[0])
    assert len(programs(lab, "up0")) == 1
    done = lab.fence("status")
    assert done.code == 4 and "up0" in done.out + done.err, done
    assert lab.fence("apply").code == 0
    assert programs(lab, "up0") == OURS and lab.fence("status").code == 0
    lab.daemon()
    # before the look of every ten seconds: links that die are missed
    for take_away in (tcx.detach, os.unlink):
        for link in link_pins(lab, "up0"):
            take_away(link)
        assert until(lambda: len(link_pins(lab, "up0")) == 2 and programs(lab, "up0") == OURS, 8,
                     every=0.2), programs(lab, "up0")
    assert lab.log.wait(r"rule=uplinks|rule=census"), lab.log.lines()
    passes(lab, lab.mta, uid=8, gid=8)
    assert sources(lab)[HOST4]["syn"] == 1


def seen(lab):
    """What each of the others' programs counted."""
    maps = [p["map_ids"][0] for p in tcx.programs(lab.host, "fl0", (tcx.EGRESS,))
            + at_clsact(lab, "fl0") if p["name"] == "other_tc"]
    return [kernel.bpftool("map", "dump", "id", i)[0]["formatted"]["value"] for i in maps]


def names(lab):
    return [p["name"] for p in tcx.programs(lab.host, "fl0", (tcx.EGRESS,))]


def test_other_programs_before_and_after_ours(lab):
    """Three of others: TCX before and after ours, and a clsact filter. All see all that we see."""
    needs(OTHER_TC)
    spare_link(lab)
    kernel.need_bpffs()
    os.makedirs(f"{lab.pin_dir}-other")     # goes with what the lab leaves
    pins = [f"{lab.pin_dir}-other/{i}" for i in (1, 2)]
    for pin in pins:
        kernel.bpftool("prog", "load", OTHER_TC, pin)
    theirs = [tcx.attach(lab.host, "fl0", pins[0], tcx.BEFORE)]
    count_on(lab, "fl0")
    theirs.append(tcx.attach(lab.host, "fl0", pins[1], tcx.AFTER))
    netns.sh("tc", "-n", lab.host, "qdisc", "add", "dev", "fl0", "clsact")
    netns.sh("tc", "-n", lab.host, "filter", "add", "dev", "fl0", "egress", "pref", "1", "bpf",
             "da", "obj", OTHER_TC, "sec", "tc")
    egress = names(lab)
    assert egress == ["other_tc", "smtpfence_out", "other_tc"], egress
    flood(lab, src="192.0.2.1", each=100)
    assert sources(lab)["192.0.2.1"]["syn"] == 100
    assert seen(lab) == [100] * 3, seen(lab)
    for command in ("on", "apply"):
        assert lab.fence(command).code == 0
        assert names(lab) == egress, "the order stays"
    lab.fence("off")
    assert programs(lab, "fl0") == ["other_tc"] * 3, programs(lab, "fl0")
    flood(lab, src="192.0.2.1", each=10)
    assert seen(lab) == [110] * 3, seen(lab)
    assert not [p for p in kernel.pins(lab) if "-other" not in p]
    for link in theirs:
        os.close(link)


def test_off_and_no_uplinks_take_all_of_ours(lab):
    spare_link(lab)
    count_on(lab, "up0", "fl0")
    assert programs(lab, "up0") == OURS == programs(lab, "fl0")
    lab.conf.keys["uplinks"] = ["up0"]
    lab.conf.write()
    assert lab.fence("apply").code == 0
    assert programs(lab, "fl0") == [] and programs(lab, "up0") == OURS
    lab.conf.keys["uplinks"] = []
    lab.conf.write()
    assert lab.fence("apply").code == 0 and programs(lab, "up0") == []
    assert lab.fence("status").code == 0
    count_on(lab, "up0", "fl0")
    # an interface that went to another namespace, or is gone: `off` has nothing to stumble over
    ip(lab, "link", "del", "fl0")
    assert lab.fence("off").code == 0
    assert programs(lab, "up0") == [] and not kernel.pins(lab), kernel.pins(lab)


# As a kernel before 6.6 answers: for TCX alone.
OLD_KERNEL = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <bpf/bpf.h>
int bpf_link_create(int fd, int target, enum bpf_attach_type type,
		    const struct bpf_link_create_opts *opts)
{
	int (*next)(int, int, enum bpf_attach_type, const void *) = dlsym(RTLD_NEXT, __func__);
	if ((int)type == 46 || (int)type == 47) { errno = EINVAL; return -EINVAL; }
	return next(fd, target, type, opts);
}
int bpf_prog_query(int target, enum bpf_attach_type type, __u32 flags, __u32 *attach, __u32 *ids,
		   __u32 *count)
{
	int (*next)(int, enum bpf_attach_type, __u32, __u32 *, __u32 *, __u32 *) =
		dlsym(RTLD_NEXT, __func__);
	if ((int)type == 46 || (int)type == 47) { errno = EINVAL; return -EINVAL; }
	return next(target, type, flags, attach, ids, count);
}
"""


def filters(lab, interface, direction="egress"):
    return netns.sh("tc", "-n", lab.host, "filter", "show", "dev", interface, direction)


def test_clsact_where_there_is_no_tcx(lab):
    """The kernel's answer is forged, the filters are real: attached, exchanged, mended, removed."""
    needs(OTHER_TC)
    spare_link(lab)
    netns.sh("tc", "-n", lab.host, "qdisc", "add", "dev", "fl0", "clsact")
    netns.sh("tc", "-n", lab.host, "filter", "add", "dev", "fl0", "egress", "pref", "1", "bpf",
             "da", "obj", OTHER_TC, "sec", "tc")
    preload.use(lab, "old-kernel", OLD_KERNEL)
    count_on(lab, "fl0", "up0")
    assert tcx.programs(lab.host, "fl0") == [], "it was not forged"
    assert programs(lab, "fl0") == ["smtpfence_in", "other_tc", "smtpfence_out"] \
        or sorted(programs(lab, "fl0")) == ["other_tc", *OURS], programs(lab, "fl0")
    assert counted(lab) == {"fl0", "up0"} and lab.fence("status").code == 0
    assert "egress (clsact)" in lab.fence("status").out
    flood(lab, src="192.0.2.1", each=10)
    before = filters(lab, "fl0")
    assert lab.fence("on").code == 0
    name = "name smtpfence_out "
    assert filters(lab, "fl0").count(name) == before.count(name) == 1
    assert filters(lab, "fl0") != before, "never exchanged"
    flood(lab, src="192.0.2.1", each=10, sport=9000)
    assert sources(lab)["192.0.2.1"]["syn"] == 20
    netns.sh("tc", "-n", lab.host, "filter", "del", "dev", "fl0", "ingress")
    done = lab.fence("status")
    assert done.code == 4 and "fl0" in done.out, done
    lab.daemon()
    assert until(lambda: counted(lab) == {"fl0", "up0"}, 14, every=0.2), counted(lab)
    lab.conf.keys["uplinks"] = ["fl0"]
    lab.conf.write()
    assert lab.fence("apply").code == 0 and programs(lab, "up0") == []
    lab.fence("off")
    assert programs(lab, "fl0") == ["other_tc"], programs(lab, "fl0")
    assert sorted(kernel.pins(lab)) == []


TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 1, 0x1000


def test_a_raw_ip_device(lab):
    """tun: packets begin with IP. The SYN of a socket, and one that is written by hand."""
    def make():
        fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"tun7", IFF_TUN | IFF_NO_PI))
        return fd
    fd = netns.inside(netns.path(lab.host), make)
    ip(lab, "addr", "add", "10.77.0.1/24", "dev", "tun7")
    ip(lab, "addr", "add", "2001:db8:77::1/64", "dev", "tun7", "nodad")
    ip(lab, "link", "set", "tun7", "up")
    count_on(lab, "tun*", "up0", mode="monitor")
    assert counted(lab) == {"tun7", "up0"}
    assert programs(lab, "tun7") == ["smtpfence_inip", "smtpfence_outip"], programs(lab, "tun7")
    lab.connect(lab.web, "nonblock", dst="10.77.0.9", uid=5, gid=60, timeout_ms=200)
    lab.connect(lab.web, "nonblock", dst="2001:db8:77::9", uid=5, gid=60, timeout_ms=200)
    table = sources(lab)
    assert table["10.77.0.1"]["fenced_syn"] == 1, table
    assert table["2001:db8:77::/64"]["fenced_syn"] == 1, table
    assert census.sender(lab, lab.web, 5)["fenced_syn"] == 2
    # the far end answers with RST, through the file
    packets = []
    os.set_blocking(fd, False)
    while True:
        try:
            packets.append(os.read(fd, 65536))
        except BlockingIOError:
            break
    first = next(p for p in packets if p[0] >> 4 == 4 and p[9] == 6)
    os.write(fd, reset(first))
    assert until(lambda: sources(lab)["10.77.0.1"]["refused"] == 1), sources(lab)
    os.close(fd)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def reset(packet):
    """The RST that answers this IPv4 SYN."""
    at = (packet[0] & 15) * 4
    src, dst = packet[12:16], packet[16:20]
    sport, dport, seq = struct.unpack("!HHI", packet[at:at + 8])
    tcp = struct.pack("!HHIIBBHHH", dport, sport, 0, seq + 1, 0x50, 0x14, 0, 0, 0)
    check = checksum(dst + src + struct.pack("!BBH", 0, 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", check) + tcp[18:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, dst, src)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + tcp


def test_an_uplink_that_is_not_there(lab):
    """Nothing is counted: that must not read as if all were well."""
    count_on(lab, "no-such0")
    done = lab.fence("status")
    assert done.code == 4 and "no-such0" in done.out + done.err, done
    spare_link(lab, "no-such0", "fl1")
    assert lab.fence("apply").code == 0 and lab.fence("status").code == 0


def test_another_instance_on_the_same_wire(lab):
    """Its own pins and tables: each counts all, and taking one away leaves the other."""
    import copy
    spare_link(lab)
    count_on(lab, "fl0")
    second = copy.copy(lab)
    second.pin_dir = lab.pin_dir + "-second"
    second.conf = type(lab.conf)(f"{lab.dir}/second.conf", **{
        **lab.conf.keys, "pin_dir": second.pin_dir, "state_dir": f"{lab.dir}/second",
        "managed_file": f"{lab.dir}/second-managed.conf", "cgroup_root": Cgroup(lab.root + "-two").make().name})
    os.makedirs(f"{lab.dir}/second")
    second.conf.write()
    assert second.fence("on").code == 0
    for one in (lab, second):       # a raw SYN must be allowed by both
        one.conf.keys["FW_OUTPUT_MTA"] = "monitor"
        one.conf.write()
        assert one.fence("monitor").code == 0
    flood(lab, src="192.0.2.1", each=7)
    for one in (lab, second):
        assert one.fence("on").code == 0
    assert sources(lab)["192.0.2.1"]["syn"] == 7 == sources(second)["192.0.2.1"]["syn"]
    # without its pins the first counts no more, whatever else stands at the wire
    for link in ours_of(lab):
        os.unlink(link)
    assert until(lambda: len(programs(lab, "fl0")) == 2), (programs(lab, "fl0"), ours_of(lab))
    assert lab.fence("status").code == 4, "the other's program is not ours"
    assert lab.fence("apply").code == 0
    assert lab.fence("status").code == 0 and len(programs(lab, "fl0")) == 4
    assert second.fence("off").code == 0
    assert programs(lab, "fl0") == OURS
    flood(lab, src="192.0.2.1", sport=9000)
    assert sources(lab)["192.0.2.1"]["syn"] == 8


def ours_of(lab):
    return [p for p in kernel.pins(lab) if re.search(r"/links/(in|out)-", p)]
