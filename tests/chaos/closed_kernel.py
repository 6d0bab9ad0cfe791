# SPDX-License-Identifier: GPL-2.0-only
"""Phase A: pins, cgroups and interfaces that come and go."""

import os
import subprocess

import cgroups
import far
import kernel
import netns
from cgroups import Cgroup
from lab import until

HELD = ("cgroup_mkdir", "cgroup_rmdir", "connect4", "connect6")


def memory_cgroup(w, limit):
    """A v1 memory cgroup of so many bytes, or None where the machine has none."""
    for root in cgroups.v1_roots():
        place = f"{root}/smtpfence-test-{w.host.id}-memory"
        if not os.path.exists(f"{root}/memory.limit_in_bytes") and \
                not os.path.exists(f"{root}/memory.usage_in_bytes"):
            continue
        os.makedirs(place, exist_ok=True)
        with open(f"{place}/memory.limit_in_bytes", "w") as f:
            f.write(str(limit))
        return place
    return None


def remove_memory_cgroup(place):
    try:
        os.rmdir(place)
    except OSError:
        return not os.path.isdir(place)
    return True


# ---- pins, while a daemon holds what they stand for ----

def pins_removed(w, rnd):
    """Removed under the daemon: it holds the links, and puts the pins back."""
    w.host.daemon_sound()
    if not until(w.host.whole, 20, 0.1):
        return
    pins = [p for p in kernel.pins(w.host)
            if os.path.basename(p) in HELD or "/maps/" in p or "/programs/" in p]
    for pin in pins if rnd.random() < 0.2 else rnd.sample(pins, rnd.randint(1, 5)):
        os.unlink(pin)
        w.did("pin removed")
    if not until(w.host.whole, 25, 0.1) and not w.troubled:
        w.wrong("removed pins are not put back", w.host.ask_status()[1][-600:])


# ---- cgroups ----

def cgroups_by_the_thousand(w, rnd):
    """Made and removed, nested, also below those with roles; and below the site's."""
    tops = (w.host.web, w.host.mta, w.host.cgroup("web"), w.mail.cgroup)
    for n in range(10):
        top = f"{rnd.choice(tops)}/storm{n}"
        for i in range(100):
            os.makedirs(f"{top}/{i % 25}/{i}")
        for directory, _, _ in os.walk(top, topdown=False):
            os.rmdir(directory)
        w.did("cgroup made and removed", 126)


def roles_remade(w, rnd):
    """The mail server's cgroup goes and comes, its parent too; its first act is to connect."""
    place = Cgroup(f"{w.host.root}/system/post.service")
    if rnd.random() < 0.5:
        Cgroup(f"{w.host.root}/system").remove()
        w.host.cgroup("system")
    answer = w.host.connect(None, "remake", clone_into=place, count=60, uid=None,
                            dst=rnd.choice(far.REMADE))
    w.did("cgroup of a role remade", 60)
    w.remade_ok += answer["counts"].pop("OK", 0)
    if answer["counts"]:
        w.wrong("mail denied from a cgroup made anew", str(answer))


def sites_remade(w, rnd):
    answer = w.host.connect(None, "remake", clone_into=f"{w.host.root_path}/web/new", count=60,
                            dst=rnd.choice(far.STORM))
    w.did("cgroup of a site remade", 60)
    w.storm_denied += answer["counts"].pop("EPERM", 0)
    if answer["counts"]:
        w.wrong("a site's first act was not denied", str(answer))


def cgroups_renamed(w, rnd):
    """To the mail server's name: the kernel refuses it, or the name gives no right."""
    fake = w.host.cgroup(f"web/fake{rnd.randrange(1000)}")
    for to in (f"{w.host.root_path}/web/mta", f"{w.host.root_path}/mta"):
        try:
            os.rename(fake.path, to)
            w.wrong("a cgroup of v2 was renamed", to)
        except OSError:
            w.did("cgroup renamed (refused)")
    inner = w.host.cgroup("web/site1" + w.host.mta.name)
    answer = w.host.connect(inner, dst=rnd.choice(far.STORM), uid=8)
    w.did("mail server's path under another parent")
    if answer.get("errno") != "EPERM":
        w.wrong("the mail server's path under another parent sends", str(answer))
    else:
        w.storm_denied += 1
    for cgroup in (inner, fake):
        cgroup.remove()


def mail_restarted(w, rnd):
    w.mail.restart()
    w.did("Postfix restarted, its cgroup remade")


# ---- interfaces ----

def interfaces(w, rnd):
    """Customers' interfaces, dummies, addresses and routes, by the dozen."""
    ns = w.host.host
    for n in range(8):
        name = f"cu-x{n}"
        netns._batch(ns, [f"link add {name} type veth peer name px{n}", f"link set {name} up",
                          f"link set px{n} up", f"addr add 192.0.2.{n}/32 dev {name}"])
        w.did("interface come and gone")
    netns._batch(ns, ["link add du0 type bridge", "link set du0 up",
                      "addr add 192.0.2.200/24 dev du0"])
    until(lambda: False, rnd.uniform(0.0, 0.4))
    netns._batch(ns, [*(f"link del cu-x{n}" for n in range(8)), "link del du0"])
    w.did("addresses and routes come and gone", 9)


def customer_comes(w, rnd):
    """A customer that sends from the first moment of its interface."""
    name = f"n{rnd.randrange(10 ** 6)}"
    w.router.add(name, 20 + rnd.randrange(200))
    before = len(w.senders.raw)
    w.senders.add_customer(w.router, name)
    w.did("customer comes, sends and goes")
    until(lambda: False, rnd.uniform(0.3, 1.5))
    sender = w.senders.raw.pop(before)
    sender.order(2)
    until(lambda: not sender.alive(), 5)
    w.host._procs.remove(sender.proc)
    w.gone_handed_in += sender.sums()[1]
    c = w.router.customers.pop(name)
    subprocess.run(["ip", "-n", w.host.host, "link", "del", c.port], check=False, timeout=20)
    netns.remove(c.ns)


STEPS = (pins_removed, pins_removed, cgroups_by_the_thousand, roles_remade, sites_remade,
         cgroups_renamed, mail_restarted, interfaces, customer_comes)
