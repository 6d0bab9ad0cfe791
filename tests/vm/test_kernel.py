# SPDX-License-Identifier: GPL-2.0-only
"""The fence under another kernel, in one lab at the root of the cgroups: what the loader chose,
every way to connect, identity, rights, texts, what the daemon mends, what stood before, the end."""

import json
import os
import platform
import time

import kernel
from cgroups import v2_root
from checks import denied, in_force, not_in_force, passes
from lab import CLIENT, WORLD4, WORLD6, until
from netns import EXTRA4
from series import series
from test_open import Held, answer, far_ends

RELEASE = tuple(int(n) for n in platform.release().split("-")[0].split(".")[:2])
HAS_CAS = RELEASE >= (5, 12)        # compare-and-swap in programs: census, backstop, gateway
TC = "tcx" if RELEASE >= (6, 6) else "clsact"


def programs():
    return [p["name"] for p in kernel.bpftool("prog", "show")
            if p.get("name", "").startswith("smtpfence_")]


def on(lab, *args):
    """At /, as on a host: the guest is ours alone."""
    lab.conf.keys["cgroup_root"] = "/"
    lab.root_path = v2_root()
    lab.stands = True
    return lab.on(*args)


def standing(lab):
    """Once in a series."""
    if not getattr(lab, "stands", False):
        on(lab)


def apply(lab):
    lab.conf.write()
    done = lab.fence("apply")
    assert done.code == 0, done


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
    standing(lab)
    chosen = rodata(lab)
    wanted = {"typed_pointers": int(RELEASE >= (5, 15)), "can_set_errno": int(RELEASE >= (5, 18)),
              "capture_texts": 1, "can_mark": 1}
    print(f"# the loader chose {chosen}", flush=True)
    assert chosen == wanted, chosen
    in_force(lab)
    lab.fence("apply")          # IPv6 may have given the interface one more address meanwhile
    assert lab.fence("status").code == 0, lab.fence("status")


def test_ways_and_addresses(lab):
    standing(lab)
    ways = ["connect", "mptcp", "tfo-sendto", "tfo-connect", "uring-async"]
    if lab.connect(lab.web, "mptcp", port=26).get("errno") == "EPROTONOSUPPORT":
        print("# this kernel has no MPTCP", flush=True)
        ways.remove("mptcp")
    for dst, some in ((WORLD4, ways), (WORLD6, ways[:2]), ("::ffff:" + WORLD4, ways[:2])):
        for how in some:
            denied(lab, lab.web, how, dst=dst)
            passes(lab, lab.mta, how, dst=dst)


def test_sockets_that_change_places(lab):
    standing(lab)
    before = lab.status()["counters"]["by_reason"]
    for options in (dict(cgroup=lab.web, scm_from=lab.mta), dict(cgroup=lab.mta, move=lab.web),
                    dict(cgroup=lab.mta, inherit=lab.web), dict(cgroup=lab.web, move=lab.mta),
                    dict(cgroup=lab.mta, clone_into=lab.web),
                    dict(cgroup=lab.mta, uid=33, gid=33)):
        denied(lab, options.pop("cgroup"), **options)
    after = lab.status()["counters"]["by_reason"]
    grown = {reason: after[reason] - before.get(reason, 0) for reason in after}
    assert grown["socket_moved"] == 5 and grown["mail_user"] == 1, (before, after)


def test_rights_and_quarantine(lab):
    """Every kind of table that decides: by uid, gid, network, cgroup; each with a neighbour."""
    standing(lab)
    lab.conf.section("allow_user", "1001", ports=[587]).section("allow_group", "1003")
    lab.conf.section("allow_net", "203.0.113.0/29", ports=[587])
    lab.conf.section("exempt", lab.root + "/free")
    apply(lab)
    passes(lab, lab.web, port=587, uid=1001)
    denied(lab, lab.web, port=25, uid=1001)
    passes(lab, lab.web, uid=1003, gid=1003)
    passes(lab, lab.web, port=587, dst=EXTRA4[0])
    denied(lab, lab.web, port=587, dst=EXTRA4[8])
    free = lab.cgroup("free/site")      # entered by the program on cgroup_mkdir
    passes(lab, free)
    for kind, value, who in (("user", "1003", dict(cgroup=lab.web, uid=1003, gid=1003)),
                             ("cgroup", free.name, dict(cgroup=free))):
        assert lab.fence("quarantine", kind, value).code == 0
        denied(lab, **who)
        assert lab.fence("remove", "quarantine", kind, value).code == 0
        passes(lab, **who)


def test_cgroups_made_again(lab):
    again = lab.cgroup("again")
    lab.conf.section("mail", again.name)
    standing(lab)
    apply(lab)
    again.remove()
    made = lab.connect(None, "remake", clone_into=again, count=30, timeout=60)
    assert made["counts"] == {"OK": 30}, made


def test_an_errno_that_the_kernel_may_lack(lab):
    standing(lab)
    lab.conf.keys["errno"] = "ECONNREFUSED"
    apply(lab)
    if RELEASE >= (5, 18):
        denied(lab, lab.web, errno="ECONNREFUSED")
        # the host's own link-local address may have come meanwhile
        assert until(lambda: lab.fence("apply").code == 0 and lab.fence("status").code == 0, 30), \
            lab.fence("status")
    else:
        denied(lab, lab.web, errno="EPERM")
        done = lab.fence("status")
        assert done.code == 4 and "errno" in done.out, done
    lab.conf.keys["errno"] = "EPERM"
    apply(lab)


def test_status_believes_the_kernel(lab):
    """Spoiled tables, and links that somebody detached."""
    standing(lab)
    for name, spoil in (("roles", kernel.empty_map), ("settings", kernel.zero_map)):
        spoil(lab, name)
        assert lab.fence("status").code in (3, 4), name
        apply(lab)
        in_force(lab)
    assert kernel.detach_links(lab) == 2
    not_in_force(lab)
    assert lab.fence("status").code == 3 and lab.status()["enforcing"] is False
    on(lab)
    in_force(lab)


def test_events_say_who(lab):
    standing(lab)
    lab.daemon()
    cwd = f"{lab.dir}/site"
    os.mkdir(cwd)
    os.chmod(cwd, 0o755)
    denied(lab, lab.web, uid=77, gid=77, cwd=cwd)
    event = until(lambda: [e for e in events(lab) if e["uid"] == 77], 10)[0]
    assert event["exe"] == CLIENT and event["cwd"] == cwd, event
    assert event["cgroup"] == lab.web.name and event["uid"] == 77, event
    assert "--dst" in str(event.get("cmdline", "")), event
    assert lab.log.wait(r"ALERT .*rule=attempt .*uid=77\b", 20), lab.log.lines()


def events(lab):
    """`events --json` prints one object a line."""
    return [json.loads(line) for line in lab.fence("--json", "events").out.splitlines()]


def test_the_daemon_mends_a_detached_link(lab):
    standing(lab)
    if not lab.log.wait("rule=started", 0):
        lab.daemon()
    kernel.detach_links(lab)
    start = time.monotonic()
    assert until(lambda: lab.connect(lab.web).get("errno") == "EPERM", 60), \
        (lab.log.lines(), lab.fence("status"), open(lab.dir + "/daemon.err").read())
    print(f"# mended after {time.monotonic() - start:.1f} s", flush=True)
    in_force(lab)


def test_what_stood_before_is_ended(lab):
    """By SOCK_DESTROY: it serves where bpf_sock_destroy is missing (before 6.5) as everywhere."""
    standing(lab)
    assert lab.fence("off").code == 0
    lab.stands = False
    ends = [Held(lab, lab.web), Held(lab, lab.web, WORLD6, 465)]
    stays = [Held(lab, lab.mta), Held(lab, lab.web, port=80)]
    found, said = answer(lab, "--kill")
    lab.stands = True
    assert far_ends(found) == sorted([(WORLD4, 25), (WORLD6, 465)]), found
    assert found["ended"] == 2 and found["complete"], (found, said)
    for one in ends:
        one.ended()
    for one in stays:
        one.stands()
    for one in ends + stays:
        one.proc.kill()


def test_off_leaves_nothing(lab):
    standing(lab)
    assert programs()
    assert lab.fence("off").code == 0
    # a closed link goes asynchronously on 5.10
    assert until(lambda: not programs(), 5), programs()
    assert not kernel.pins(lab) and not kernel.connect_links(lab)
    not_in_force(lab)
    lab.stands = False


series(test_the_loader_takes_the_best_that_the_kernel_has, test_ways_and_addresses,
       test_sockets_that_change_places, test_rights_and_quarantine, test_cgroups_made_again,
       test_an_errno_that_the_kernel_may_lack, test_status_believes_the_kernel,
       test_events_say_who, test_the_daemon_mends_a_detached_link, test_what_stood_before_is_ended,
       test_off_leaves_nothing)
