# SPDX-License-Identifier: GPL-2.0-only
"""The daemon and its history: killed, out of disk, with a damaged file, with a clock that jumps."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time

import census
import limits
import netns
import preload
from census import alerts, count_on, flood, sources, spare_link
from checks import passes
from lab import until

COLUMNS = ("syn", "fenced", "denied")


def history(lab):
    """{who: {column: sum over its hours}} of the file, or {} where there is none yet."""
    file = f"{lab.state_dir}/history.db"
    if not os.path.exists(file):
        return {}
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5) as db:
        rows = db.execute(f"SELECT name, {', '.join(f'sum({c})' for c in COLUMNS)} "
                          "FROM hour JOIN who ON who.id = hour.who GROUP BY name").fetchall()
    return {name: dict(zip(COLUMNS, figures)) for name, *figures in rows}


def agrees(lab):
    """What the history holds is what the kernel counted, of every source and sender."""
    kept, wrong = history(lab), {}
    for name, row in sources(lab).items():
        got = kept.get(name, {"syn": 0, "fenced": 0})
        if row["fenced_syn"] and (got["syn"], got["fenced"]) != (row["syn"], row["fenced_syn"]):
            wrong[name] = (got, row["syn"], row["fenced_syn"])
    for (cgroup, _), row in census.senders(lab).items():
        got = kept.get(f"{row['user']} {cgroup}", dict.fromkeys(COLUMNS, 0))
        if (row["fenced_syn"] or row["denied"]) and \
                (got["syn"], got["fenced"], got["denied"]) != \
                (row["syn"], row["fenced_syn"], row["denied"]):
            wrong[cgroup] = (got, row["syn"], row["fenced_syn"], row["denied"])
    assert not wrong, f"{len(wrong)} differ: {list(wrong.items())[:3]}"
    return kept


def stop(daemon, how=signal.SIGTERM):
    daemon.send_signal(how)
    daemon.wait(10)


def test_killed_again_and_again_nothing_is_lost_or_doubled(lab):
    """kill -9 at any moment: the kernel counts on, and the history has each SYN once."""
    spare_link(lab)
    count_on(lab, "up0", "fl0", mode="yes", limit_source=[50, 0], limit_sender=[0, 0])
    for i in range(6):
        daemon = lab.daemon()
        flood(lab, src="10.0.0.0", sources=300, each=7, cgroup=lab.mta)
        passes(lab, lab.mta, uid=8, gid=8)
        assert lab.connect(lab.web, uid=5, gid=60)["errno"] == "EPERM"
        # by turns it may write, or is killed before it did
        stop(daemon, signal.SIGTERM if i % 2 else signal.SIGKILL)
        flood(lab, src="10.0.0.0", sources=300, each=2, cgroup=lab.mta)     # nobody looks
    daemon = lab.daemon()
    stop(daemon)
    table = sources(lab)
    assert table["10.0.1.43"]["syn"] == 6 * 9 and len(table) == 301, table["10.0.1.43"]
    kept = agrees(lab)
    assert kept[f"games {lab.web.name}"]["denied"] == 6


def test_killed_after_an_alert_it_is_not_told_again(lab):
    spare_link(lab)
    count_on(lab, "fl0", mode="monitor", limit_source=[5, 12], limit_sender=[0, 0])
    for i, how in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)):
        daemon = lab.daemon()
        flood(lab, src="192.0.2.1", each=2 if i else 6, sport=2000 + 100 * i)
        assert until(lambda: alerts(lab, "rate_warn")), lab.log.lines()
        stop(daemon, how)
    daemon = lab.daemon()
    flood(lab, src="192.0.2.1", each=2, sport=30000)
    assert lab.log.wait("rule=rate_act")
    until(lambda: len(alerts(lab, "rate_warn")) > 1, 1.5)
    assert len(alerts(lab, "rate_warn")) == 1, alerts(lab, "rate_warn")
    assert len(alerts(lab, "rate_act")) == 1, alerts(lab, "rate_act")
    # it was crossed while nobody ran: told by the table, once
    stop(daemon, signal.SIGKILL)
    flood(lab, src="192.0.2.2", each=5)
    lab.daemon()
    assert lab.log.wait(r"rule=rate_warn .*192\.0\.2\.2"), lab.log.lines()


def test_the_census_goes_on_without_a_daemon(lab):
    spare_link(lab)
    count_on(lab, "fl0")
    daemon = lab.daemon()
    flood(lab, src="10.0.0.0", sources=100, each=10)
    stop(daemon, signal.SIGKILL)
    flood(lab, src="10.0.0.0", sources=100, each=10)
    assert {r["syn"] for r in sources(lab).values()} == {20}
    lab.on()
    assert {r["syn"] for r in sources(lab).values()} == {20}
    assert lab.fence("status").code == 0


def test_a_full_disk_under_the_history(lab):
    """Told; counting and alerts go on; what was not written is written when there is room."""
    netns.sh("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", lab.state_dir)
    spare_link(lab)
    count_on(lab, "fl0", mode="monitor", limit_source=[5, 0], limit_sender=[0, 0])
    flood(lab, src="10.0.0.0", sources=3000, each=2)
    daemon = lab.daemon()
    hog = f"{lab.state_dir}/hog"
    with open(hog, "wb") as f:
        try:
            while True:
                f.write(b"x" * 65536)
                f.flush()
        except OSError:
            pass
    stop_signalled = daemon
    flood(lab, src="192.0.2.9", each=5)
    assert lab.log.wait(r"rule=history_failed", 5), lab.log.lines()
    assert lab.log.wait(r"rule=rate_warn .*192\.0\.2\.9"), lab.log.lines()
    stop(stop_signalled)                # its last flush fails too: it must end all the same
    assert daemon.returncode == 0
    assert not history(lab).get("10.0.0.1"), "written without room?"
    os.unlink(hog)
    stop(lab.daemon())
    agrees(lab)


def test_a_damaged_history_is_set_aside_and_told(lab):
    spare_link(lab)
    count_on(lab, "fl0", mode="monitor")
    flood(lab, src="10.0.0.0", sources=50)
    stop(lab.daemon())
    agrees(lab)
    with open(f"{lab.state_dir}/history.db", "r+b") as f:
        f.seek(0)
        f.write(os.urandom(8192))
    for name in ("history.db-wal", "history.db-shm"):
        if os.path.exists(f"{lab.state_dir}/{name}"):
            os.unlink(f"{lab.state_dir}/{name}")
    daemon = lab.daemon()
    assert lab.log.wait("rule=history_damaged"), lab.log.lines()
    assert [n for n in os.listdir(lab.state_dir) if n.startswith("history.db.damaged")]
    flood(lab, src="10.0.0.0", sources=50)
    stop(daemon)
    agrees(lab)


CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long offset(void)
{
	char text[32] = "";
	int fd = open(getenv("TEST_CLOCK"), O_RDONLY | O_CLOEXEC);
	if (fd >= 0) { (void)!read(fd, text, 31); close(fd); }
	return atol(text);
}
int clock_gettime(clockid_t id, struct timespec *t)
{
	int ret = (int)syscall(SYS_clock_gettime, id, t);
	if (!ret && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec += offset();
	return ret;
}
time_t time(time_t *out)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	if (out) *out = t.tv_sec;
	return t.tv_sec;
}
int gettimeofday(struct timeval *t, void *zone)
{
	struct timespec s;
	(void)zone;
	clock_gettime(CLOCK_REALTIME, &s);
	t->tv_sec = s.tv_sec; t->tv_usec = s.tv_nsec / 1000;
	return 0;
}
"""


def test_the_wall_clock_is_set_back_and_forth(lab):
    """The machine's own clock stays: the programs see another one, by a preloaded library."""
    offset = f"{lab.dir}/clock.offset"
    preload.use(lab, "clock", CLOCK, TEST_CLOCK=offset)

    def set_clock(seconds):
        with open(offset, "w") as f:
            f.write(str(seconds))
    set_clock(0)
    spare_link(lab)
    count_on(lab, "up0", "fl0", mode="yes", limit_source=[50, 0], limit_sender=[0, 0])
    for i, seconds in enumerate((0, 7200, -86400, 30, 40 * 86400, 0)):
        daemon = lab.daemon()
        flood(lab, src="10.0.0.0", sources=40, each=5, sport=1024 + 100 * i, cgroup=lab.mta)
        assert lab.connect(lab.web, uid=5, gid=60)["errno"] == "EPERM"
        set_clock(seconds)
        # as the daemon does when the kernel tells it that the clock was set
        assert lab.fence("apply").code == 0
        flood(lab, src="10.0.0.0", sources=40, each=5, sport=30000 + 100 * i, cgroup=lab.mta)
        stop(daemon, signal.SIGTERM if i % 2 else signal.SIGKILL)
    daemon = lab.daemon()
    set_clock(3600)
    stop(daemon)
    table = sources(lab)
    assert {r["syn"] for r in table.values()} == {60} and {r["window"] for r in table.values()} == {60}
    agrees(lab)
    # each once; one that was told when SIGKILL came before it was entered, again
    told = [census.fields(line)["source"] for line in alerts(lab, "rate_warn")]
    assert len(set(told)) == 40 and len(told) <= 43, told


def test_made_anew_within_two_seconds(lab):
    """An entry that gave way and came again: its counts began from zero, and are no negative sum."""
    spare_link(lab)
    count_on(lab, "fl0", mode="monitor", max_sources=64, limit_source=[0, 0])
    daemon = lab.daemon()
    flood(lab, src="192.0.2.1", each=100)
    stop(daemon)                                    # written: 100
    flood(lab, src="10.0.0.0", sources=2000)        # it gives way,
    assert "192.0.2.1" not in sources(lab)
    flood(lab, src="192.0.2.1", each=3, sport=9000) # and comes again
    stop(lab.daemon())
    assert history(lab)["192.0.2.1"]["syn"] == 103, history(lab)["192.0.2.1"]


def resident(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


def cpu(pid):
    """Seconds, to the nanosecond: a tick of /proc/PID/stat is as much as an idle minute."""
    with open(f"/proc/{pid}/schedstat") as f:
        return int(f.read().split()[0]) / 1e9


@limits.alone
@limits.seconds(120)
def test_memory_and_cpu_with_65536_sources(lab):
    """The budget is 16 MiB: resident after a look at 65,536 sources that all speak SMTP."""
    spare_link(lab)
    count_on(lab, "fl0", mode="monitor", limit_source=[0, 0], limit_sender=[0, 0])
    daemon = lab.daemon()
    empty = resident(daemon.pid)
    flood(lab, src="10.0.0.0", sources=65536, each=2, threads=2)
    until(lambda: False, 2.5)           # two looks
    looked = resident(daemon.pid)
    begun = cpu(daemon.pid)
    mark = time.monotonic()
    until(lambda: False, 4 if not os.environ.get("SMTPFENCE_LONG") else 60)
    busy = (cpu(daemon.pid) - begun) / (time.monotonic() - mark)
    begun = time.monotonic()
    stop(daemon)
    last = time.monotonic() - begun
    begun = time.monotonic()
    daemon = lab.daemon()
    loaded = time.monotonic() - begun
    until(lambda: False, 2.5)
    again = resident(daemon.pid)
    begun = cpu(daemon.pid)
    mark = time.monotonic()
    until(lambda: False, 4)
    print(f"# resident: {empty:.1f} MiB at first, {looked:.1f} after 65,536 sources, {again:.1f} "
          f"after a start with a history of them; CPU in the 90 s after: {busy * 100:.2f} %; "
          f"last flush and end {last:.2f} s, start {loaded:.2f} s", flush=True)
    # The design wants 16: 8.5 of it are libraries and the event ring, which is mapped twice.
    assert looked < 22.5 and again < 22.5
    agrees(lab)


@limits.alone
def test_idle(lab):
    spare_link(lab)
    count_on(lab, "fl0")
    daemon = lab.daemon()
    until(lambda: False, 2)
    begun, mark = cpu(daemon.pid), time.monotonic()
    seconds = 60 if os.environ.get("SMTPFENCE_LONG") else 5
    until(lambda: False, seconds)
    share = (cpu(daemon.pid) - begun) / (time.monotonic() - mark)
    print(f"# idle: {share * 100:.3f} % CPU over {seconds} s, {resident(daemon.pid):.1f} MiB")
    assert share < .005, "the budget is 0.1 % of a core, which `make bench` measures"


def shifted_boot_clock(lab):
    """The programs see CLOCK_BOOTTIME further on by what is set; the kernel's own stays."""
    offset = f"{lab.dir}/clock.offset"
    preload.use(lab, "clock", CLOCK.replace("id == CLOCK_REALTIME ||", "id == CLOCK_BOOTTIME ||")
                .replace("CLOCK_REALTIME_COARSE", "CLOCK_BOOTTIME"), TEST_CLOCK=offset)

    def set_clock(seconds):
        with open(offset, "w") as f:
            f.write(str(seconds))
    set_clock(0)
    return set_clock


SENDERS = """
import os, socket, sys
for uid in range(int(sys.argv[1]), int(sys.argv[2])):
    if os.fork() == 0:
        os.setgid(60); os.setuid(uid)
        s = socket.socket(); s.setblocking(False)
        s.connect_ex((sys.argv[3], int(sys.argv[4])))
        os._exit(0)
    os.wait()
"""


def many_senders(lab, first, last, dst=netns.WORLD4, port=25):
    """A connection each, as the uids from `first` to before `last`."""
    done = lab.run(["/usr/bin/python3", "-c", SENDERS, str(first), str(last), dst, str(port)],
                   cgroup=lab.web, timeout=120)
    assert done.code == 0, done


def told(lab, rule):
    lines = alerts(lab, rule)
    return lines, [int(census.fields(line)["count"]) for line in lines]


def test_a_full_table_is_told_at_once_and_then_as_a_sum(lab):
    """Of sources and of senders; what comes within five minutes of a line stands in the next."""
    set_clock = shifted_boot_clock(lab)
    spare_link(lab)
    count_on(lab, "up0", "fl0", max_sources=64, max_senders=64, limit_source=[0, 0],
             limit_sender=[0, 0])
    lab.daemon()
    flood(lab, src="10.0.0.0", sources=60)
    until(lambda: False, 2)
    assert not alerts(lab, "sources_full") and not alerts(lab, "senders_full"), lab.log.lines()
    flood(lab, src="10.1.0.0", sources=500)
    assert lab.log.wait("rule=sources_full", 3), lab.log.lines()
    assert not alerts(lab, "senders_full"), "of senders none gave way"
    many_senders(lab, 20000, 20200)
    assert lab.log.wait("rule=senders_full", 3), lab.log.lines()
    flood(lab, src="10.2.0.0", sources=500)
    until(lambda: False, 3)
    for rule in ("sources_full", "senders_full"):
        assert len(alerts(lab, rule)) == 1, alerts(lab, rule)
    set_clock(301)
    assert until(lambda: len(alerts(lab, "sources_full")) > 1, 12), lab.log.lines()
    until(lambda: False, 2)
    lost = census.counters(lab)
    for rule, counter in (("sources_full", "forgotten_sources"),
                          ("senders_full", "forgotten_senders")):
        lines, counts = told(lab, rule)
        assert sum(counts) == lost[counter] and len(lines) <= 2, (lines, lost)
        assert int(census.fields(lines[-1])["total"]) == lost[counter], (lines, lost)


def lasting(lab):
    with sqlite3.connect(f"file:{lab.state_dir}/history.db?mode=ro", uri=True, timeout=5) as db:
        return db.execute("SELECT name, rule, cleared FROM alarm JOIN who ON who.id = alarm.who "
                          "WHERE rule NOT IN ('denied', 'attempt') ORDER BY alarm.id").fetchall()


def test_an_alarm_is_over_once_also_after_a_restart(lab):
    set_clock = shifted_boot_clock(lab)
    spare_link(lab)
    count_on(lab, "fl0", mode="monitor", max_sources=64, limit_source=[5, 0], limit_sender=[0, 0])
    daemon = lab.daemon()
    flood(lab, src="192.0.2.1", each=6)
    flood(lab, src="192.0.2.2", each=6)
    assert until(lambda: len(alerts(lab, "rate_warn")) == 2), lab.log.lines()
    stop(daemon, signal.SIGKILL)
    flood(lab, src="10.0.0.0", sources=300)     # 192.0.2.1 and 2 gave way:
    flood(lab, src="192.0.2.2", each=1, sport=9000)
    assert "192.0.2.1" not in sources(lab) and sources(lab)["192.0.2.2"]["window"] == 1
    daemon = lab.daemon()
    # 2 is seen, far below its limit; 1 is nowhere, but it may only be late
    assert until(lambda: alerts(lab, "cleared"), 5), lab.log.lines()
    assert "192.0.2.2" in alerts(lab, "cleared")[0], lab.log.lines()
    until(lambda: len(alerts(lab, "cleared")) > 1, 3)
    assert len(alerts(lab, "cleared")) == 1, alerts(lab, "cleared")
    assert [(n, bool(c)) for n, _, c in lasting(lab)] == \
        [("192.0.2.1", False), ("192.0.2.2", True)], lasting(lab)
    set_clock(130)
    assert until(lambda: len(alerts(lab, "cleared")) == 2, 5), lab.log.lines()
    assert re.search(r"was=rate_warn source=192\.0\.2\.1 ", alerts(lab, "cleared")[1]), lab.log.lines()
    assert all(c for _, _, c in lasting(lab)), lasting(lab)
    # neither is told again within its cool-down, by this daemon or the next
    for i in range(2):
        flood(lab, src="192.0.2.2", each=7, sport=20000 + 100 * i)
        until(lambda: len(alerts(lab, "rate_warn")) > 2, 2)
        assert len(alerts(lab, "rate_warn")) == 2, alerts(lab, "rate_warn")
        stop(daemon, signal.SIGKILL)
        daemon = lab.daemon()
    assert len(alerts(lab, "cleared")) == 2 and len(lasting(lab)) == 2


def test_a_history_that_can_not_be_opened_is_tried_again(lab):
    file = f"{lab.state_dir}/history.db"
    os.mkdir(file)
    spare_link(lab)
    count_on(lab, "fl0", mode="monitor", limit_source=[5, 0], limit_sender=[0, 0])
    daemon = lab.daemon()
    flood(lab, src="192.0.2.1", each=6)
    assert lab.log.wait(r"rule=rate_warn .*192\.0\.2\.1"), lab.log.lines()
    until(lambda: False, 6)             # tried again, and not told again
    assert len(alerts(lab, "history_failed")) == 1, alerts(lab, "history_failed")
    os.rmdir(file)
    assert lab.log.wait("rule=history_restored", 15), lab.log.lines()
    assert lasting(lab) == [("192.0.2.1", "rate_warn", 0)], "what lasts is entered"
    stop(daemon)
    assert len(alerts(lab, "history_failed")) == len(alerts(lab, "history_restored")) == 1
    agrees(lab)


def test_a_history_that_is_damaged_under_the_daemon_is_begun_anew(lab):
    spare_link(lab)
    count_on(lab, "fl0", mode="monitor", limit_source=[5, 0], limit_sender=[0, 0])
    flood(lab, src="10.0.0.0", sources=8000, each=2)
    stop(lab.daemon())
    daemon = lab.daemon()
    file = f"{lab.state_dir}/history.db"
    size = os.path.getsize(file)
    assert size > 512 * 1024, size       # more than SQLite keeps in its cache
    with open(file, "r+b") as f:
        f.write(os.urandom(size))
    flood(lab, src="192.0.2.1", each=6)
    assert lab.log.wait(r"rule=history_damaged", 10), lab.log.lines()
    assert lab.log.wait(r"rule=history_restored", 5), lab.log.lines()
    assert len(alerts(lab, "history_failed")) == 1, lab.log.lines()
    assert ("192.0.2.1", "rate_warn", 0) in lasting(lab), lasting(lab)
    flood(lab, src="192.0.2.3", each=6)
    assert lab.log.wait(r"rule=rate_warn .*192\.0\.2\.3"), lab.log.lines()
    assert until(lambda: ("192.0.2.3", "rate_warn", 0) in lasting(lab), 3), (lasting(lab), lab.log.lines())
    stop(daemon)
    agrees(lab)


def test_files_that_are_taken_away_under_the_daemon(lab):
    spare_link(lab)
    count_on(lab, "up0", "fl0", mode="yes", limit_source=[5, 0], limit_sender=[0, 0])
    daemon = lab.daemon()
    flood(lab, src="10.0.0.0", sources=50, cgroup=lab.mta)
    assert lab.connect(lab.web, uid=5, gid=60)["errno"] == "EPERM"
    assert until(lambda: lab.fence("--json", "events").out)
    shutil.rmtree(lab.state_dir)
    line = lab.log.wait("rule=state_lost", 5)
    assert line and all(n in line for n in ("events.jsonl", "history.db", "daemon.lock",
                                            "applied.conf")), lab.log.lines()
    until(lambda: len(alerts(lab, "state_lost")) > 1, 3)
    assert len(alerts(lab, "state_lost")) == 1, alerts(lab, "state_lost")
    assert lab.connect(lab.web, uid=5, gid=60)["errno"] == "EPERM"
    assert until(lambda: lab.fence("--json", "events").out), "an event went into a file nobody sees"
    assert lab.fence("status").code == 0, lab.fence("status")
    flood(lab, src="192.0.2.1", each=6, cgroup=lab.mta)
    assert until(lambda: ("192.0.2.1", "rate_warn", 0) in lasting(lab), 5)
    second = lab.spawn(lab.daemon_argv(), stderr=subprocess.DEVNULL)
    assert second.wait(10), "a second daemon on the same state_dir"
    # a file alone, moved away as a log rotation would
    os.rename(f"{lab.state_dir}/events.jsonl", f"{lab.state_dir}/events.old")
    assert until(lambda: os.path.exists(f"{lab.state_dir}/events.jsonl"), 5)
    assert lab.connect(lab.web, uid=5, gid=60)["errno"] == "EPERM"
    assert until(lambda: lab.fence("--json", "events").out)
    # a change of the policy is followed still: the directory is another one
    lab.conf.keys["FW_OUTPUT_MTA"] = "monitor"
    lab.conf.write()
    assert lab.fence("monitor").code == 0
    stop(daemon)
    assert "mode=monitor" in lab.log.wait("rule=stopped", 3)
    agrees(lab)


@limits.seconds(120)
def test_a_storm_of_alarms_is_few_lines_and_loses_no_count(lab):
    """Tens of thousands of sources cross their limit at once: SMTPFENCE_LONG=1: 100,000."""
    total = 100000 if os.environ.get("SMTPFENCE_LONG") else 20000
    spare_link(lab)
    count_on(lab, "fl0", mode="monitor", max_sources=2 * total, limit_source=[3, 0],
             limit_sender=[0, 0])
    daemon = lab.daemon()
    begun = time.monotonic()
    flood(lab, src="10.0.0.0", sources=total, each=4, threads=2)

    def entered():
        return len([n for n, rule, _ in lasting(lab) if rule == "rate_warn"]) >= total
    assert until(entered, 40, every=0.5), f"{len(lasting(lab))} of {total} in the history"
    took = time.monotonic() - begun
    assert until(lambda: sum(int(census.fields(x)["count"]) for x in alerts(lab, "storm")) +
                 len(alerts(lab, "rate_warn")) >= total, 15), alerts(lab, "storm")
    lines, storms = alerts(lab, "rate_warn"), alerts(lab, "storm")
    told_of = len(lines) + sum(int(census.fields(x)["count"]) for x in storms)
    print(f"# a storm of {total}: {len(lines)} lines, {len(storms)} sums, all in the history "
          f"after {took:.1f} s", flush=True)
    assert told_of == total and len(lines) <= 200 * (took // 10 + 2), (told_of, len(lines))
    assert len({n for n, _, _ in lasting(lab)}) == total, "in the history each of them, once"
    stop(daemon)
