# SPDX-License-Identifier: GPL-2.0-only
"""Life and death: restarts of the mail server, of the daemon, of the fence itself, under load."""

import os
import shutil
import signal
import subprocess
import time

import kernel
import limits
from cgroups import Cgroup, v1_roots
from checks import denied, in_force, not_in_force, passes
from lab import Skip, WORLD4, WORLD6, until


def counts(answer):
    return answer["counts"]


@limits.seconds(120)
def test_mail_cgroup_made_again_1000_times(lab):
    """Its first act each time is an SMTP connect; no daemon runs. By turns over IPv4 and IPv6."""
    lab.on()
    for dst in (WORLD4, WORLD6):
        lab.clear()
        answer = lab.connect(None, "remake", clone_into=lab.mta, count=500, dst=dst, timeout=60)
        assert counts(answer) == {"OK": 500}, answer
        assert len(lab.syns(dport=25)) == 500


def test_mail_cgroup_made_deeper_and_again(lab):
    """The parent goes and comes too, as with a slice; the role is two levels up from the sender."""
    lab.conf.section("mail", lab.root + "/system/post.service")
    lab.on()
    for _ in range(20):
        worker = lab.cgroup("system/post.service/worker")
        passes(lab, worker)
        Cgroup(lab.root + "/system").remove()


def test_other_cgroups_made_again_are_denied(lab):
    lab.on()
    for name in ("web/site2", "web/mta"):
        answer = lab.connect(None, "remake", clone_into=f"{lab.root_path}/{name}", count=200)
        assert counts(answer) == {"EPERM": 200}, answer
    assert not lab.syns()


def test_removed_roles_are_taken_out(lab):
    """1,000 lives leave no entries behind: the table of roles does not fill up."""
    lab.conf.keys["max_roles"] = 64
    lab.on()
    answer = lab.connect(None, "remake", clone_into=lab.mta, count=300)
    assert counts(answer) == {"OK": 300}, answer
    passes(lab, lab.mta.make())


def test_a_path_in_a_v1_hierarchy_gives_no_right(lab):
    roots = v1_roots()
    if not roots:
        raise Skip("no v1 hierarchy on this host")
    lab.conf.section("mail", lab.root + "/ghost/mta")
    lab.on()
    entered = kernel.keys_of(kernel.map_pin(lab, "roles"))
    tried = 0
    for root in roots:
        try:
            v1 = Cgroup(lab.root + "/ghost/mta", root).make()
            lab.clear()
            # the process enters the web site's v2 cgroup, then the v1 namesake of the mail server
            answer = lab.connect(lab.web, move=v1)
        except (OSError, RuntimeError):
            continue        # not every controller takes a directory, or a task, just so
        tried += 1
        assert answer["errno"] == "EPERM" and not lab.syns(), f"{root}: {answer}"
    if not tried:
        raise Skip("no v1 hierarchy here takes a task")
    # ids of two hierarchies can be alike, so not even its id may get the role
    assert kernel.keys_of(kernel.map_pin(lab, "roles")) == entered
    denied(lab, lab.web)
    # Nor does its removal take the role from a v2 cgroup: here is one with the very same id.
    real = lab.cgroup("ghost/mta")
    passes(lab, real)
    role = kernel.value_of(lab, "roles", kernel.id_key(real.id()))
    for root in roots:
        v1 = Cgroup(lab.root + "/ghost/mta", root)
        if not os.path.isdir(v1.path):
            continue
        alike = kernel.id_key(v1.id())
        kernel.set_entry(lab, "roles", alike, role)
        Cgroup(lab.root, root).remove()
        assert alike in kernel.keys_of(kernel.map_pin(lab, "roles")), root
    passes(lab, real)


def test_nothing_runs_after_on(lab):
    lab.on()
    running = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if lab.conf.file.encode() in f.read():
                    running.append(pid)
        except OSError:
            pass
    assert not running, running
    in_force(lab)


def test_kill_9_of_the_daemon_changes_nothing(lab):
    lab.on()
    daemon = lab.daemon()
    in_force(lab)
    before = lab.status()["counters"]["denied"]
    daemon.send_signal(signal.SIGKILL)
    daemon.wait(5)
    in_force(lab)
    lab.connect(None, "remake", clone_into=lab.mta, count=20)
    lab.mta.make()
    in_force(lab)
    assert lab.status()["enforcing"]
    # it adopts what it finds: nothing is loaded anew, nothing counted is lost
    programs = [a["program_id"] for a in lab.status()["attached"]]
    lab.daemon()
    in_force(lab)
    assert [a["program_id"] for a in lab.status()["attached"]] == programs
    assert lab.status()["counters"]["denied"] >= before + 2


def test_stopping_the_daemon_changes_nothing(lab):
    lab.on()
    daemon = lab.daemon()
    daemon.terminate()
    assert daemon.wait(5) == 0
    in_force(lab)


@limits.seconds(200)
def test_200_replacements_and_200_reloads_under_fire(lab):
    """Eight senders that may not, a mail server that may; neither ever gets the other's answer."""
    lab.conf.section("allow_user", "games", ports=[587])
    lab.on()
    before = lab.status()
    lab.clear()
    senders = [lab.start(lab.web, dst=dst, seconds=190, interval_us=1000)
               for dst in (WORLD4, WORLD6, "::ffff:" + WORLD4, "203.0.113.7") * 2]
    mail = lab.start(lab.mta, dst="203.0.113.1", seconds=190, interval_us=2000)
    programs = set()
    for i in range(200):
        done = lab.fence("on")
        assert done.code == 0, f"replacement {i}: {done}"
        # two variants of the file that differ in roles, senders, relays and ports
        if i % 2:
            lab.conf.drop("allow_net").drop("exempt")
            lab.conf.keys["watch_ports"] = [2525]
        else:
            lab.conf.section("allow_net", "203.0.113.128/25", ports=[25])
            lab.conf.section("exempt", lab.root + "/elsewhere")
            lab.conf.keys["watch_ports"] = [2525, 2526]
        lab.conf.write()
        done = lab.fence("apply")
        assert done.code == 0, f"reload {i}: {done}"
        if i % 20 == 0:
            programs |= {a["program_id"] for a in lab.status()["attached"]}
    for proc in senders + [mail]:
        proc.send_signal(signal.SIGINT)     # it prints its counts
    denials = [counts(lab.answer(p)) for p in senders]
    sent = counts(lab.answer(mail))
    assert all(set(d) == {"EPERM"} for d in denials), denials
    assert set(sent) == {"OK"}, sent
    syns = [p for p in lab.syns(dport=25) if p.dst != "203.0.113.1"]
    assert not syns, f"{len(syns)} SYNs of denied senders arrived, the first: {syns[0]}"
    assert len(lab.syns(dst="203.0.113.1")) == sent["OK"]
    assert len(programs) > 5, "the programs were never replaced"
    after = lab.status()
    for reason, wanted in (("no_role", sum(d["EPERM"] for d in denials)), ("mail", sent["OK"])):
        grown = (after["counters"]["by_reason"][reason]
                 - before["counters"]["by_reason"].get(reason, 0))
        assert grown == wanted, f"{reason}: counted {grown} of {wanted}"


def test_killed_commands_leave_one_policy_whole(lab):
    """kill -9 in the midst of `on` and `apply`: never a hole, and the next command mends."""
    lab.on()
    lab.clear()
    sender = lab.start(lab.web, seconds=60, interval_us=300)
    mail = lab.start(lab.mta, dst="203.0.113.1", seconds=60, interval_us=2000)
    for i in range(40):
        if i % 2:
            lab.conf.section("allow_net", "203.0.113.128/25")
        else:
            lab.conf.drop("allow_net")
        lab.conf.write()
        command = lab.spawn(lab.fence_argv("on" if i % 4 < 2 else "apply"),
                            stdout=subprocess.DEVNULL)
        time.sleep(0.002 * (i % 20))        # not a wait for anything: the moment of the kill
        command.kill()
        command.wait()
    sender.send_signal(signal.SIGINT)
    mail.send_signal(signal.SIGINT)
    tried, sent = counts(lab.answer(sender)), counts(lab.answer(mail))
    assert set(tried) == {"EPERM"} and set(sent) == {"OK"}, (tried, sent)
    assert not [p for p in lab.syns(dport=25) if p.dst != "203.0.113.1"]
    lab.on()
    assert lab.fence("status").code == 0
    in_force(lab)
    # nor did a kill between two steps leave something behind that `off` does not take away
    lab.fence("off")
    assert not kernel.connect_links(lab) and not kernel.pins(lab), kernel.pins(lab)
    not_in_force(lab)
    assert not [n for n in os.listdir(lab.root_path) if "probe" in n], "a probe's cgroup was left"


def test_the_root_cgroup_itself_is_made_again(lab):
    """A link dies with its cgroup. `status` says so, `on` makes it anew."""
    lab.on()
    Cgroup(lab.root).remove()
    for cgroup in (lab.mta, lab.web):
        cgroup.make()
    assert lab.fence("status").code == 3
    lab.on()
    in_force(lab)


def test_off_takes_everything_away(lab):
    lab.on()
    assert lab.fence("off").code == 0
    not_in_force(lab)
    assert lab.fence("status").code == 3
    assert lab.status()["mode"] == "off"


def rollback_to_monitor(lab, start):
    lab.conf.keys["FW_OUTPUT_MTA"] = "monitor"
    lab.conf.write()
    assert lab.fence("monitor").code == 0
    start()
    in_force(lab)
    assert until(lambda: lab.status()["mode"] == "monitor", 8), "it was not undone"
    not_in_force(lab)


def test_rollback_when_not_confirmed(lab):
    def start():
        done = lab.fence("on", "--rollback", "3s")
        assert done.code == 0, done
    rollback_to_monitor(lab, start)


def test_rollback_when_the_shell_is_gone(lab):
    def start():
        shell = lab.spawn(["sh", "-c", '"$@"; echo $? > "$0"; sleep 60', f"{lab.dir}/code",
                           *lab.fence_argv("on", "--rollback", "3s")],
                          start_new_session=True, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL)
        assert until(lambda: os.path.exists(f"{lab.dir}/code"), 10)
        assert until(lambda: open(f"{lab.dir}/code").read().strip() == "0")
        # what a lost terminal does to everything started in it, and then some
        os.killpg(shell.pid, signal.SIGHUP)
        shell.kill()
        shell.wait()
    rollback_to_monitor(lab, start)


def test_a_trial_of_what_was_removed_leaves_no_process(lab):
    lab.on()

    def waiting():
        return subprocess.run(["pgrep", "-f", f"{lab.conf.file} on --rollback"],
                              capture_output=True).returncode == 0
    assert lab.fence("on", "--rollback", "2s").code == 0
    assert waiting(), "nobody waits for the trial's end"
    lab.fence("off")
    os.unlink(lab.conf.file)
    shutil.rmtree(f"{lab.dir}/state")
    assert until(lambda: not waiting(), 20, 0.2), "it is still there"


def test_a_prolonged_trial_goes_back_to_what_was_before_it(lab):
    lab.conf.write()
    lab.fence("monitor")
    assert lab.fence("on", "--rollback", "2s").code == 0
    assert lab.fence("on", "--rollback", "4s").code == 0
    assert lab.status()["mode"] == "enforce"
    assert until(lambda: lab.status()["mode"] == "monitor", 15), "it went back to the trial itself"


def test_a_trial_ends_with_a_boot_and_not_with_its_unit(lab):
    """What the unit runs at boot, `systemctl restart` runs too; no pin outlives its kernel."""
    lab.conf.write()
    lab.fence("monitor")
    assert lab.fence("on", "--rollback", "60s").code == 0
    assert lab.fence("apply", "--boot").code == 0
    assert lab.status()["mode"] == "enforce"
    in_force(lab)
    shutil.rmtree(lab.pin_dir)
    assert lab.fence("apply", "--boot").code == 0
    assert lab.status()["mode"] == "monitor"


def test_rollback_is_confirmed(lab):
    lab.conf.write()
    lab.fence("monitor")
    done = lab.fence("on", "--rollback", "2s")
    assert done.code == 0, done
    end = time.monotonic() + 3
    assert lab.fence("on").code == 0, "a second `on` confirms"
    until(lambda: time.monotonic() > end or lab.status()["mode"] != "enforce", 4)
    assert lab.status()["mode"] == "enforce", "it was undone although confirmed"
    in_force(lab)
