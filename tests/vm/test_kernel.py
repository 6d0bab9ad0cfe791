# SPDX-License-Identifier: GPL-2.0-only
"""What another kernel could make different: loading, identity, texts, errno, and going away; the
packet programs, which need more than the fence does, and what is said where they can't be."""

import os
import platform
import re
import subprocess
import time

import kernel
import netns
from census import count_on, flood, source, sources, spare_link
from cgroups import v2_root
from checks import denied, in_force, not_in_force, passes
from lab import BUILD, CLIENT, WORLD4, WORLD6, Skip, until

RELEASE = tuple(int(n) for n in platform.release().split("-")[0].split(".")[:2])
HAS_CAS = RELEASE >= (5, 12)        # compare-and-swap in programs: census, backstop, gateway
OTHER_TC = os.path.join(BUILD, "tests", "other_tc.bpf.o")
TC = "tcx" if RELEASE >= (6, 6) else "clsact"


def programs():
    return [p["name"] for p in kernel.bpftool("prog", "show")
            if p.get("name", "").startswith("smtpfence_")]


def on(lab):
    """At /, as on a host: the guest is ours alone."""
    lab.conf.keys["cgroup_root"] = "/"
    lab.root_path = v2_root()
    return lab.on()


def shares_its_word():
    """Has a socket here one word for its cgroup and for net_cls's number?"""
    types = subprocess.run(["bpftool", "btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format",
                            "c"], capture_output=True, text=True, timeout=60).stdout
    return "cgroup *" not in types.split("\nstruct sock_cgroup_data {")[1].split("\n};")[0]


def rodata(lab):
    """The loader's choices, as the kernel holds them."""
    links = kernel.connect_links(lab)
    shown = kernel.bpftool("prog", "show", "id", next(iter(links)))
    for number in shown["map_ids"]:
        if kernel.bpftool("map", "show", "id", number)["name"].endswith(".rodata"):
            dump = kernel.bpftool("map", "dump", "id", number)
            entry = dump[0].get("formatted", dump[0])["value"][".rodata"]
            return {k: v for d in entry for k, v in d.items()}
    raise AssertionError("no .rodata")


def test_the_loader_takes_the_best_that_the_kernel_has(lab):
    on(lab)
    chosen = rodata(lab)
    wanted = {"typed_pointers": int(RELEASE >= (5, 15)), "can_set_errno": int(RELEASE >= (5, 18)),
              "capture_texts": 1, "can_mark": 1}
    print(f"# the loader chose {chosen}", flush=True)
    assert chosen == wanted, chosen
    in_force(lab)
    lab.fence("apply")          # IPv6 may have given the interface one more address meanwhile
    assert lab.fence("status").code == 0, lab.fence("status")
    lab.fence("off")
    # a closed link goes asynchronously on 5.10
    assert until(lambda: not programs(), 2), programs()
    assert not kernel.pins(lab) and not kernel.connect_links(lab)
    not_in_force(lab)


def test_ways_and_addresses(lab):
    ways = ["connect", "mptcp", "tfo-sendto", "tfo-connect", "uring-async"]
    if lab.connect(lab.web, "mptcp")["errno"] == "EPROTONOSUPPORT":
        print("# this kernel has no MPTCP", flush=True)
        ways.remove("mptcp")
    on(lab)
    for dst in (WORLD4, WORLD6, "::ffff:" + WORLD4):
        for how in ways:
            denied(lab, lab.web, how, dst=dst)
            passes(lab, lab.mta, how, dst=dst)


def test_sockets_that_change_places(lab):
    on(lab)
    for options in (dict(cgroup=lab.web, scm_from=lab.mta), dict(cgroup=lab.mta, move=lab.web),
                    dict(cgroup=lab.mta, inherit=lab.web), dict(cgroup=lab.web, move=lab.mta),
                    dict(cgroup=lab.mta, clone_into=lab.web),
                    dict(cgroup=lab.mta, uid=33, gid=33)):
        denied(lab, options.pop("cgroup"), **options)
    reasons = lab.status()["counters"]["by_reason"]
    assert reasons["socket_moved"] >= 5 and reasons["mail_user"] == 1, reasons


def test_cgroups_made_again(lab):
    again = lab.cgroup("again")
    lab.conf.drop("mail").section("mail", again.name)
    on(lab)
    again.remove()
    answer = lab.connect(None, "remake", clone_into=again, count=50, timeout=60)
    assert answer["counts"] == {"OK": 50}, answer


def test_events_say_who(lab):
    on(lab)
    lab.daemon()
    cwd = f"{lab.dir}/site"
    os.mkdir(cwd)
    os.chmod(cwd, 0o755)
    denied(lab, lab.web, uid=33, gid=33, cwd=cwd)
    events = until(lambda: lab.json("events"), 10)
    event = events[0] if isinstance(events, list) else events
    assert event["exe"] == CLIENT and event["cwd"] == cwd, event
    assert event["cgroup"] == lab.web.name and event["uid"] == 33, event
    assert "--dst" in str(event.get("cmdline", "")), event


def test_an_errno_that_the_kernel_may_lack(lab):
    lab.conf.keys["errno"] = "ECONNREFUSED"
    on(lab)
    if RELEASE >= (5, 18):
        denied(lab, lab.web, errno="ECONNREFUSED")
        # the host's own link-local address may have come meanwhile
        assert until(lambda: lab.fence("apply").code == 0 and lab.fence("status").code == 0, 30), \
            lab.fence("status")
    else:
        denied(lab, lab.web, errno="EPERM")
        done = lab.fence("status")
        assert done.code == 4 and "errno" in done.out, done


def test_the_daemon_mends_a_detached_link(lab):
    on(lab)
    lab.daemon()
    kernel.detach_links(lab)
    start = time.monotonic()
    assert until(lambda: lab.connect(lab.web).get("errno") == "EPERM", 60), \
        f"not mended: {lab.log.lines()} {lab.fence('status')} {open(lab.dir + '/daemon.err').read()}"
    print(f"# mended after {time.monotonic() - start:.1f} s", flush=True)
    in_force(lab)


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
    packet_policy(lab)
    done = on(lab)
    missing = [line for line in done.err.splitlines() if re.search("not counted|not all cust", line)]
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
    if not HAS_CAS:
        raise Skip("no packet programs before Linux 5.12")
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


# ---- net_cls: before 5.15 its number shares a word with the socket's cgroup ----

class NetCls:
    """A net_cls v1 hierarchy in use: a class id written. On old kernels that is for ever."""

    def __init__(self, lab):
        self.path = f"{lab.dir}/net_cls"

    def __enter__(self):
        os.mkdir(self.path)
        done = subprocess.run(["mount", "-t", "cgroup", "-o", "net_cls", "net_cls", self.path],
                              capture_output=True, text=True, timeout=10)
        if done.returncode:
            raise Skip(f"no net_cls here: {done.stderr.strip()}")
        os.mkdir(f"{self.path}/marked")
        return self

    def use(self):
        with open(f"{self.path}/marked/net_cls.classid", "w") as f:
            f.write("0x100001")

    def __exit__(self, *_):
        for _ in range(100):
            try:
                os.rmdir(f"{self.path}/marked")
                break
            except OSError:
                time.sleep(0.05)
        subprocess.run(["umount", self.path], capture_output=True, timeout=10)


def test_net_cls_never_opens_the_fence(lab):
    """The last one: where the word is shared, no socket shows its cgroup after this."""
    shared = shares_its_word()
    if shared:      # below / the kernel would not run our programs for such sockets
        lab.conf.write()
        done = lab.fence("on")
        assert done.code == 2 and "net_cls" in done.err, done
        lab.conf.keys["cgroup_root"] = "/"
    with NetCls(lab) as net_cls:
        on(lab)
        in_force(lab)           # mounted, not used
        net_cls.use()
        denied_or_identified(lab, shared)
    denied_or_identified(lab, shared)       # it outlives the mount


def denied_or_identified(lab, hidden):
    if not hidden:
        return in_force(lab)
    denied(lab, lab.web)
    denied(lab, lab.mta)        # closed, and it says why
    done = lab.fence("status")
    assert done.code == 4 and "net_cls" in done.out, done
    assert lab.status()["counters"]["by_reason"]["no_identity"] >= 2
    return None
