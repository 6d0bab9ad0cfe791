# SPDX-License-Identifier: GPL-2.0-only
"""Phase A: the configuration, the state directory and the log socket in trouble."""

import glob
import os
import signal
import subprocess
import time

import host
from lab import until

# Never, not for a moment, a file that reads as right but lacks the lab's places (an empty one does):
# the defaults are the machine's own; nor one whose cut-off text still reads as a place of another
# name. So files come by rename, and what is wrong is wrong at the end, like this.
OPEN_QUOTE = b'\nconfusion = "'


def garbage(w, rnd):
    good = w.host.conf.text()
    kind = rnd.randrange(5)
    if kind == 0:
        return rnd.randbytes(rnd.randint(1, 4096)) + OPEN_QUOTE
    if kind == 1:
        return good + OPEN_QUOTE + rnd.randbytes(20).hex().encode()
    if kind == 2:
        return good[:good.rindex(b'"')]
    if kind == 3:
        return good + b"\nno_such_key = 1\n"
    return good.replace(b"ports = {25", b"ports = {99999999, 25", 1)


def replace_config(w, data):
    with open(w.host.conf.file + ".new", "wb") as f:
        f.write(data)
    os.rename(w.host.conf.file + ".new", w.host.conf.file)


def write_config(w):
    replace_config(w, w.host.conf.text())


def config_garbage(w, rnd):
    """A file that can't be read is refused by commands, and the daemon goes on with the last one."""
    wrong = []
    for _ in range(rnd.randint(2, 4)):
        replace_config(w, garbage(w, rnd))
        w.did("configuration of garbage")
        done = w.host.command(*rnd.choice((["apply"], ["on"], ["check"], ["set", "alert_denied=12"])))
        if done.code == 0:
            wrong.append(done)
        w.host.daemon_sound().send_signal(signal.SIGHUP)
        if rnd.random() < 0.4:
            w.host.daemon_end(signal.SIGKILL)
            w.host.daemon_sound()       # begins with what was applied last
    write_config(w)
    w.host.command("apply")
    if wrong and not w.troubled:
        w.wrong("garbage was applied", str(wrong[0]))


def config_gone(w, rnd):
    os.unlink(w.host.conf.file)
    w.did("configuration deleted")
    w.host.command(*rnd.choice((["apply"], ["on"], ["status"])))
    w.host.daemon_sound().send_signal(signal.SIGHUP)
    write_config(w)


def config_directory(w, rnd):
    os.unlink(w.host.conf.file)
    os.mkdir(w.host.conf.file)
    w.did("configuration is a directory")
    w.host.command(*rnd.choice((["apply"], ["on"], ["check"])))
    w.host.daemon_sound().send_signal(signal.SIGHUP)
    os.rmdir(w.host.conf.file)
    write_config(w)


def config_other(w, rnd):
    """Right, and different: roles, relays and users that none of the senders is."""
    conf = w.host.conf
    keys, sections = dict(conf.keys), list(conf.sections)
    for _ in range(rnd.randint(2, 4)):
        conf.keys, conf.sections = dict(keys), list(sections)
        conf.keys.update(watch_ports=[rnd.randint(2000, 3000)], alert_denied=rnd.randint(5, 50),
                         history_days=rnd.randint(1, 30), allow_local=True,
                         gateway_answer=rnd.choice(("drop", "drop")))
        for i in range(rnd.randint(0, 40)):
            conf.section("allow_net", f"192.0.2.{i}/32", ports=[rnd.choice((25, 465, 587))])
            conf.section("exempt", f"{w.host.root}/elsewhere/{i}")
            conf.section("quarantine_user", str(50000 + i))
        write_config(w)
        w.host.command("apply")
        w.did("configuration of other values")
    conf.keys, conf.sections = keys, sections
    write_config(w)
    w.host.command("apply")


def config_under_fire(w, rnd):
    """Good and bad by turns, many times while a command reads it twice."""
    good = w.host.conf.text()
    process = w.host.start_command(*rnd.choice((["apply"], ["on"])))
    for _ in range(30):
        replace_config(w, good + OPEN_QUOTE)
        replace_config(w, good)
        w.did("configuration rewritten while it is read")
    process.wait(60)
    w.host._procs.remove(process)
    w.host.command("apply")


# ---- state_dir ----

def disk_full(w, rnd):
    hog = f"{w.host.state_dir}/hog"
    with open(hog, "wb") as f:
        size = 1 << 20
        while size >= 64:
            try:
                os.write(f.fileno(), bytes(size))
            except OSError:
                size //= 2
    w.did("disk full under state_dir")
    for argv in rnd.sample((["apply"], ["on"], ["allow", "user", "games"], ["set", "alert_denied=9"],
                            ["apply", "--boot"]), 2):
        w.host.command(*argv)
    if rnd.random() < 0.5:
        w.host.daemon_end(signal.SIGKILL)
        w.host.daemon_sound()

    def end():
        if os.path.exists(hog):
            os.unlink(hog)
    return end


def small_state(w, rnd):
    """Another file system of a few KB comes over state_dir, and goes again."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={rnd.choice((4, 8, 32))}k", "chaos",
                    host.STATE], check=True, timeout=10)
    w.did("state_dir of a few KB")
    w.host.command("apply")
    until(lambda: False, rnd.uniform(0.2, 2.5))
    w.host.command("on")
    subprocess.run(["umount", "-l", host.STATE], check=True, timeout=10)
    w.host.daemon_note("state_dir of a few KB")
    w.host.daemon_end(signal.SIGKILL)       # it may hold the lock of the one that went
    w.host.daemon_sound()


def state_read_only(w, rnd):
    w.host.daemon_end()
    subprocess.run(["mount", "-o", "remount,ro", host.STATE], check=True, timeout=10)
    w.did("state_dir read-only")
    w.host.command(*rnd.choice((["apply"], ["on"], ["set", "alert_denied=9"])))
    w.host.daemon_start(wait=False)
    until(lambda: False, rnd.uniform(0.1, 1.0))
    w.host.daemon_note("state_dir read-only")
    subprocess.run(["mount", "-o", "remount,rw", host.STATE], check=True, timeout=10)
    w.host.daemon_sound()


def state_removed(w, rnd):
    """Files are taken away under the daemon: any of them, or all."""
    files = [f for f in sorted(os.listdir(host.STATE)) if f != "hog"]
    for name in files if rnd.random() < 0.4 else rnd.sample(files, rnd.randint(1, len(files))):
        if os.path.exists(f"{host.STATE}/{name}"):
            os.unlink(f"{host.STATE}/{name}")
    w.did("files of state_dir removed")
    if rnd.random() < 0.3:
        w.host.daemon_end(signal.SIGKILL)
        w.host.daemon_sound()
    else:
        until(lambda: os.path.exists(f"{host.STATE}/applied.conf"), 8)
    w.host.command("apply")


def state_garbage(w, rnd):
    """Files of state_dir hold anything; the daemon is started on them."""
    w.host.daemon_sound()
    w.host.daemon_end(signal.SIGKILL)
    for name in rnd.sample(("history.db", "hosts", "events.jsonl", "rollback", "history.db-wal"), 2):
        with open(f"{host.STATE}/{name}", "wb") as f:
            f.write(rnd.randbytes(rnd.randint(0, 3000)))
    w.did("files of state_dir of garbage")
    w.host.daemon_sound()
    w.host.command("apply")
    for name in ("hosts", "rollback"):
        if os.path.exists(f"{host.STATE}/{name}"):
            os.unlink(f"{host.STATE}/{name}")


# ---- syslog ----

def syslog_gone(w, rnd):
    if not w.host.log:
        return None
    w.host.syslog_off()
    w.did("syslog's socket gone")
    until(lambda: False, rnd.uniform(0.1, 1.0))

    def end():
        if not w.host.log:
            w.host.syslog_on()
            w.did("syslog's socket come back")
    return end


def leftovers(w):
    """Temporary files of writers that were killed: the next write takes those of a minute ago."""
    w.host.command("set", "alert_denied=10")
    found = glob.glob(f"{host.STATE}/*.??????") + glob.glob(f"{w.host.managed_file}.??????")
    return [p for p in found if not p.endswith(("-wal", "-shm"))
            and os.stat(p).st_mtime < time.time() - 65]


STEPS = (config_garbage, config_gone, config_directory, config_other, config_under_fire, disk_full,
         small_state, state_read_only, state_removed, state_garbage, syslog_gone)
