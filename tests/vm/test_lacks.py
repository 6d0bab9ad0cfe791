# SPDX-License-Identifier: GPL-2.0-only
"""What older kernels lack, and what is promised instead (docs/ARCHITECTURE.md, Limits): it is said,
what is left works, and nothing is tried over and over."""

import os
import re
import time

import kernel
import netns
from census import count_on, flood, source, sources, spare_link
from cgroups import Cgroup, v2_root
from checks import in_force
from lab import BUILD
from test_kernel import HAS_CAS, RELEASE, TC, on

OTHER_TC = os.path.join(BUILD, "tests", "other_tc.bpf.o")
GUARD = dict(guard_hosts=["198.51.100.1"], guard_filters=["203.0.113.1"])


def doctor(lab):
    """{subject: "ok"|"warn"|"fail", text}"""
    return {row["subject"]: (row["state"], row["text"]) for row in
            lab.json("doctor", codes=(0, 1))}


def test_the_doctor_names_what_is_missing(lab):
    lab.conf.write()
    seen = doctor(lab)
    for subject, since, state, word in (("compare-and-swap", (5, 12), "warn", "5.12"),
                                        ("chosen errno", (5, 18), "ok", "EPERM whatever"),
                                        ("TCX", (6, 6), "ok", "lacks it")):
        got, text = seen[subject]
        has = RELEASE >= since
        assert got == ("ok" if has else state), (subject, seen[subject])
        assert has or word in text, (subject, seen[subject])
    for subject in ("ring buffer", "socket identity", "cgroup tracepoints"):
        assert seen[subject][0] == "ok", seen[subject]


# ---- packet programs ----

def packet_policy(lab, **keys):
    """An uplink and a customer's interface, cu-a, with nobody behind it."""
    spare_link(lab, "cu-a", "cu-b")
    lab.conf.keys.update(uplinks=["up0"], customers=["cu-a"], mail_hosts=["10.9.4.2/32"], **keys)


def attached(lab):
    """{(hook, interface)} that status sees in the kernel, the fence's own left out."""
    return {(one["hook"], one["target"]) for one in lab.status()["attached"]
            if not one["hook"].startswith("c")}


def test_packet_programs_are_attached_or_their_lack_is_told(lab):
    packet_policy(lab, **GUARD)
    done = on(lab)
    missing = [line for line in done.err.splitlines()
               if re.search("not counted|not all cust", line)]
    in_force(lab)
    status = lab.fence("status")
    if HAS_CAS:
        assert not done.err and status.code == 0, (done, status)
        assert attached(lab) == {("egress", "up0"), ("ingress", "up0"), ("gateway", "cu-a")}
        assert status.out.count(f"({TC})") == 2, status     # egress, gateway
        assert source(lab, netns.HOST4)["syn"] == 1, sources(lab)
        return
    # Told once each, what is missing and since when; nothing else; what works is not in doubt.
    assert len(missing) == len(done.err.splitlines()) == 2, done
    assert all("5.12" in line for line in missing), missing
    assert status.code == 4 and lab.status()["enforcing"] is True, status
    for name in ("uplink up0", "customer cu-a"):
        assert len(re.findall(name, status.out)) == 1, f"{name}: {status.out}"
    assert not attached(lab), attached(lab)
    assert lab.fence("apply").code == 0
    in_force(lab)
    assert lab.fence("off").code == 0 and not kernel.pins(lab), kernel.pins(lab)


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_daemon_does_not_go_on_about_a_lack(lab):
    """15 s: two of its looks at the uplinks and customers, some at the fence."""
    packet_policy(lab)
    on(lab)
    proc = lab.daemon()
    time.sleep(3)
    before = cpu_seconds(proc.pid)
    time.sleep(12)
    spent = cpu_seconds(proc.pid) - before
    lines = lab.log.lines()
    print(f"# the daemon used {spent:.2f} s of CPU in 12 s, and said: {lines}", flush=True)
    assert spent < 3, f"{spent} s of CPU in 12 s"
    told = [line for line in lines if re.search("rule=(census|gateway|fence)_", line)]
    assert not [line for line in told if "fence_broken" in line], "the fence is whole"
    assert len(told) <= (0 if HAS_CAS else 2), told
    in_force(lab)


# ---- clsact: where there is no TCX, and beside it where others still use it ----

def filters(lab, interface):
    """[(direction, preference, handle, program)] of the interface, in their order."""
    return [(way, int(pref), int(handle, 16), name) for way in ("ingress", "egress")
            for pref, handle, name in re.findall(
                r"pref (\d+) bpf .*?handle 0x([0-9a-f]+) (\S+)",
                netns.sh("tc", "-n", lab.host, "filter", "show", "dev", interface, way))]


def test_ours_among_others_filters(lab):
    """Attached, exchanged, swept and taken off with a filter of somebody else beside it."""
    lab.conf.keys["cgroup_root"] = "/"
    lab.root_path = v2_root()
    spare_link(lab)
    netns.sh("tc", "-n", lab.host, "qdisc", "add", "dev", "fl0", "clsact")
    for way in ("ingress", "egress"):
        netns.sh("tc", "-n", lab.host, "filter", "add", "dev", "fl0", way, "pref", "7", "bpf", "da",
                 "obj", OTHER_TC, "sec", "tc")
    theirs = filters(lab, "fl0")
    assert len(theirs) == 2, theirs
    count_on(lab, "fl0", "up0", mode="yes")
    ours = [f for f in filters(lab, "fl0") if f not in theirs]
    if TC == "clsact":
        assert [(way, pref, handle) for way, pref, handle, _ in ours] == \
            [("ingress", 0x5346, 0x5346), ("egress", 0x5346, 0x5346)], ours
        assert all("smtpfence_" in name for *_, name in ours), ours
    else:
        assert not ours, ours
    flood(lab, src="192.0.2.1", each=10, cgroup=lab.mta)
    assert lab.fence("on").code == 0        # exchanged
    flood(lab, src="192.0.2.1", each=10, sport=9000, cgroup=lab.mta)
    assert sources(lab)["192.0.2.1"]["syn"] == 20
    assert len(filters(lab, "fl0")) == len(theirs) + len(ours)
    assert lab.fence("status").code == 0, lab.fence("status")
    lab.conf.keys["uplinks"] = ["up0"]      # swept
    lab.conf.write()
    assert lab.fence("apply").code == 0 and filters(lab, "fl0") == theirs, filters(lab, "fl0")
    assert lab.fence("off").code == 0
    assert not filters(lab, "up0") and not kernel.pins(lab)
    assert filters(lab, "fl0") == theirs, filters(lab, "fl0")


def test_two_instances_on_one_wire(lab):
    """By TCX both count; by clsact the later one's filter stands, and the other says so."""
    import copy
    spare_link(lab)
    count_on(lab, "fl0")
    second = copy.copy(lab)
    second.pin_dir = lab.pin_dir + "-second"
    second.conf = type(lab.conf)(f"{lab.dir}/second.conf", **{
        **lab.conf.keys, "pin_dir": second.pin_dir, "state_dir": f"{lab.dir}/second",
        "managed_file": f"{lab.dir}/second-managed.conf",
        "cgroup_root": Cgroup(lab.root + "-two").make().name})
    os.makedirs(f"{lab.dir}/second")
    count_on(second, "fl0")
    flood(lab, src="192.0.2.1", each=7)
    assert sources(second)["192.0.2.1"]["syn"] == 7, sources(second)
    status = lab.fence("status")
    if TC == "tcx":
        assert sources(lab)["192.0.2.1"]["syn"] == 7 and status.code == 3, (sources(lab), status)
        assert "uplink fl0" not in status.out, status
    else:
        assert "192.0.2.1" not in sources(lab), sources(lab)
        assert re.search("uplink fl0: .*not in effect", status.out), status
    assert second.fence("off").code == 0
