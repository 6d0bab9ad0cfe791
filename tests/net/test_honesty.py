# SPDX-License-Identifier: GPL-2.0-only
"""`status` says what is true, whatever was done behind the fence's back; the daemon mends it."""

import os
import subprocess

import kernel
import limits
from cgroups import Cgroup
from checks import denied, in_force, not_in_force, passes
from lab import until

NOT_ENFORCING, IN_PART = 3, 4


def status_code(lab):
    return lab.fence("status").code


def test_exit_status_by_mode(lab):
    lab.conf.write()
    assert status_code(lab) == NOT_ENFORCING, "never turned on"
    lab.fence("monitor")
    assert status_code(lab) == NOT_ENFORCING, "monitor enforces nothing"
    lab.on()
    assert status_code(lab) == 0
    lab.fence("off")
    assert status_code(lab) == NOT_ENFORCING


def test_json_holds_what_the_contract_says(lab):
    lab.conf.section("fence", lab.root + "/web")
    lab.conf.section("exempt", lab.root + "/absent")
    lab.on()
    denied(lab, lab.web)
    passes(lab, lab.mta)
    s = lab.status()
    assert s["mode"] == "enforce" and s["enforcing"] is True, s
    ids = {p["id"] for p in kernel.bpftool("prog", "show")}
    assert {a["program_id"] for a in s["attached"]} <= ids, "a program that the kernel has not"
    hooks = " ".join(a["hook"] for a in s["attached"])
    assert "connect4" in hooks and "connect6" in hooks and "mkdir" in hooks, hooks
    assert all(a["target"] for a in s["attached"]), s["attached"]
    roles = {r["path"]: (r["role"], r["present"]) for r in s["roles"]}
    assert roles == {lab.mta.name: ("mail", True), lab.root + "/web": ("fence", True),
                     lab.root + "/absent": ("exempt", False)}, roles
    c = s["counters"]
    assert c["denied"] >= 1 and c["allowed"] >= 1 and c["would_deny"] == 0, c
    assert c["events_lost"] == 0 and c["by_reason"]["no_role"] >= 1, c
    lab.fence("monitor")
    s = lab.status()
    assert s["mode"] == "monitor" and s["enforcing"] is False, s
    lab.fence("off")
    s = lab.status()
    assert s["mode"] == "off" and s["enforcing"] is False, s


def test_both_links_detached(lab):
    lab.on()
    assert kernel.detach_links(lab) == 2
    not_in_force(lab)
    assert status_code(lab) == NOT_ENFORCING
    assert lab.status()["enforcing"] is False
    lab.on()
    in_force(lab)
    assert status_code(lab) == 0


def test_one_link_detached(lab):
    for keep in (0, 1):
        lab.on()
        links = sorted(kernel.connect_links(lab).values())
        assert len(links) == 2
        kernel.bpftool("link", "detach", "id", links[keep])
        assert status_code(lab) in (NOT_ENFORCING, IN_PART)
    lab.on()
    in_force(lab)


@limits.seconds(120)
def test_every_pin_is_missed(lab):
    lab.on()
    names = kernel.pins(lab)
    assert len(names) >= 4, names
    for pin in names:
        os.unlink(pin)
        code = status_code(lab)
        assert code in (NOT_ENFORCING, IN_PART), f"{pin} removed, but status exits {code}"
        done = lab.fence("on")
        assert done.code == 0, f"{pin} removed: `on` does not mend it: {done}"
        assert os.path.exists(pin), f"{pin} was not pinned again"
        assert status_code(lab) == 0, f"{pin} removed, `on` done: {lab.fence('status')}"
        in_force(lab)


def test_all_pins_removed(lab):
    lab.on()
    for pin in kernel.pins(lab):
        os.unlink(pin)
    assert until(lambda: not kernel.connect_links(lab)), "links outlived their pins"
    not_in_force(lab)
    assert status_code(lab) == NOT_ENFORCING
    lab.on()
    in_force(lab)


def test_maps_emptied(lab):
    """Each way to spoil the policy in the kernel, whether it opens the fence or closes it."""
    lab.conf.section("allow_user", "games")
    lab.conf.section("allow_net", "203.0.113.128/25")
    for name, spoil in (("roles", kernel.empty_map), ("role_paths", kernel.empty_map),
                        ("senders", kernel.empty_map), ("relays", kernel.empty_map),
                        ("ports", kernel.zero_map), ("settings", kernel.zero_map)):
        lab.on()
        spoil(lab, name)
        code = status_code(lab)
        assert code in (NOT_ENFORCING, IN_PART), f"{name} emptied, but status exits {code}"
        done = lab.fence("apply")
        assert done.code == 0, f"{name} emptied: apply: {done}"
        assert status_code(lab) == 0, f"{name} emptied and applied: {lab.fence('status')}"
        in_force(lab)


def test_emptied_settings_do_not_read_as_off(lab):
    lab.on()
    kernel.zero_map(lab, "settings")
    denied(lab, lab.web)


def test_another_cgroup_root_than_the_attached_one(lab):
    lab.on()
    other = Cgroup(lab.root + "-other").make()
    lab.conf.keys["cgroup_root"] = other.name
    lab.conf.write()
    code = status_code(lab)
    assert code in (NOT_ENFORCING, IN_PART), f"the configured root is not fenced: status {code}"
    done = lab.fence("on")
    if done.code == 0:      # it moved there
        assert status_code(lab) == 0
        denied(lab, other)
    else:                   # or it says why not, and the old fence stands
        assert other.name in done.err or "cgroup_root" in done.err, done
        denied(lab, lab.web)


def test_a_cgroup_root_that_is_not_in_v2(lab):
    lab.conf.keys["cgroup_root"] = lab.root + "/no/such"
    lab.conf.write()
    done = lab.fence("on")
    assert done.code in (1, 2) and lab.root + "/no/such" in done.err, done
    assert status_code(lab) == NOT_ENFORCING
    not_in_force(lab)


def test_on_does_not_believe_itself(lab):
    """A fence on another branch than the senders: `on` must not claim more than it proved."""
    lab.conf.keys["cgroup_root"] = lab.mta.name
    lab.conf.write()
    done = lab.fence("on")
    passes(lab, lab.web)        # it is outside of that root: not fenced, and nobody may say so
    if done.code == 0:
        attached = lab.status()["attached"]
        assert any(lab.mta.name in a["target"] for a in attached), attached


def test_a_second_daemon_is_refused(lab):
    lab.on()
    first = lab.daemon()
    second = lab.spawn(lab.daemon_argv(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = second.communicate(timeout=10)
    assert second.returncode not in (0, None), (out, err)
    assert str(first.pid).encode() in err or b"already" in err or b"another" in err, err
    assert first.poll() is None, "the first must stay"


def mended(lab, spoil, alert=r"ALERT"):
    """The daemon alerts within five seconds, mends it, and tells that it did."""
    lab.on()
    lab.daemon()
    mark = len(lab.log.records)
    spoil()
    line = lab.log.wait(alert, bound=5, after=mark)
    assert line, f"no alert within five seconds; the log holds {lab.log.lines()[mark:]}"
    assert until(lambda: lab.connect(lab.web).get("errno") == "EPERM"
                 and lab.connect(lab.mta)["rc"] == 0, 5), "not mended"
    assert until(lambda: status_code(lab) == 0, 5), lab.fence("status")
    assert lab.log.wait(r"(?i)restored|repaired|mended", bound=5, after=mark), \
        f"it does not tell that it mended it: {lab.log.lines()[mark:]}"
    in_force(lab)


def test_daemon_mends_detached_links(lab):
    mended(lab, lambda: kernel.detach_links(lab))


def test_daemon_mends_one_detached_link(lab):
    mended(lab, lambda: kernel.detach_links(lab, keep=1))


def test_daemon_mends_a_removed_pin(lab):
    def spoil():
        links = [p for p in kernel.pins(lab) if "link" in p or "conn" in os.path.basename(p)]
        for pin in links or kernel.pins(lab):
            os.unlink(pin)
    mended(lab, spoil)


def test_daemon_mends_emptied_roles(lab):
    mended(lab, lambda: kernel.empty_map(lab, "roles"))


def test_daemon_mends_wiped_ports(lab):
    mended(lab, lambda: kernel.zero_map(lab, "ports"))


def test_daemon_mends_a_dead_cgroup_root(lab):
    def spoil():
        Cgroup(lab.root).remove()
        for cgroup in (lab.mta, lab.web):
            cgroup.make()
    mended(lab, spoil)


def test_a_shortage_of_descriptors_opens_nothing(lab):
    """Whatever a command can't open, it must not take for something that is not there."""
    lab.on()
    for limit in range(5, 24):
        for command in (["allow", "user", "900"], ["apply"], ["on"]):
            lab.run(["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh",
                     *lab.fence_argv(*command)])
        in_force(lab)
    assert lab.fence("on").code == 0
    assert lab.fence("status").code == 0
