# SPDX-License-Identifier: GPL-2.0-only
"""A limit is crossed by one SYN: the line comes then, once, with the right name, and soon."""

import os
import re
import signal
import socket
import statistics
import time

import census
import limits
import netns
from census import alerts, count_on, fields, flood, sources, spare_link
from checks import passes
from lab import HOST4, WORLD4, WORLD6, Lab, until


def test_exactly_the_nth_syn_in_a_real_rsyslogd():
    """warn 5, act 9: one line each, by that very SYN, and none for those between."""
    with Lab(log_socket=False) as lab:
        log = lab.rsyslogd()
        count_on(lab, mode="monitor", limit_sender=[5, 9], limit_local=[0, 0])
        lab.daemon()
        for n in range(1, 12):
            passes(lab, lab.web, uid=5, gid=60)
            for rule, limit in (("rate_warn", 5), ("rate_act", 9)):
                found = rb"rule=" + rule.encode() + rb"\b[^\n]*\buid=5\b"
                if n < limit:
                    assert not re.search(found, log.bytes()), f"{rule} at SYN {n}: {log.bytes()}"
                else:
                    assert log.wait(found, 2), f"no {rule} at SYN {n}: {log.bytes()}"
                    assert len(re.findall(found, log.bytes())) == 1, log.bytes()
        line = next(x for x in log.bytes().decode().splitlines() if "rule=rate_warn" in x)
        got = fields(line)
        assert (got["user"], got["cgroup"], got["count"], got["window"], got["class"],
                got["severity"]) == ("games", lab.web.name, "5", "600s", "user", "warning"), line
        assert f"{WORLD4}:5" in got["top"] or WORLD4 in got["top"], line
        assert "severity=critical" in next(
            x for x in log.bytes().decode().splitlines() if "rule=rate_act" in x)


def test_limits_of_users_cgroups_and_networks(lab):
    """`smtpfence limit`: the most specific holds; each told at its own figure."""
    spare_link(lab)
    site2 = lab.cgroup("web/site2")
    count_on(lab, "up0", "fl0", mode="monitor", limit_sender=[20, 0], limit_local=[0, 0],
             limit_source=[30, 0], limit_own=[7, 0], own_networks=["192.0.2.0/24"])
    lab.daemon()
    for args in (["user", "games", "--warn", "3"], ["cgroup", site2.name, "--warn", "4"],
                 ["net", "192.0.2.128/25", "--warn", "5", "--act", "6"]):
        done = lab.fence("limit", *args)
        assert done.code == 0, done
    for uid, cgroup, limit in ((5, lab.web, 3), (5, site2, 3), (1, site2, 4)):
        for _ in range(limit - 1):
            passes(lab, cgroup, uid=uid, gid=uid)
        row = census.sender(lab, cgroup, uid)
        assert (row["warn"], row["act"], row["class"]) == (limit, 0, "named"), row
        pattern = rf'\buid={uid} cgroup="{cgroup.name}"'
        assert not alerts(lab, "rate_warn", pattern), lab.log.lines()
        passes(lab, cgroup, uid=uid, gid=uid)
        assert until(lambda: alerts(lab, "rate_warn", pattern)), lab.log.lines()
    for src, limit, kind in (("192.0.2.5", 7, "own"), ("192.0.2.200", 5, "named"),
                             ("203.0.113.77", 30, "unknown")):
        flood(lab, src=src, each=limit - 1)
        row = census.source(lab, src)
        assert (row["warn"], row["class"]) == (limit, kind), row
        assert not alerts(lab, "rate_warn", rf"source={src}\b"), lab.log.lines()
        flood(lab, src=src, sport=20000)
        assert until(lambda: alerts(lab, "rate_warn", rf"source={src}\b")), lab.log.lines()
    flood(lab, src="192.0.2.200", sport=21000)
    assert until(lambda: alerts(lab, "rate_act", r"source=192\.0\.2\.200\b")), lab.log.lines()
    # a limit that is taken away, and one that is lowered below what was counted already
    assert lab.fence("remove", "limit", "net", "192.0.2.128/25").code == 0
    flood(lab, src="192.0.2.200", sport=22000)
    assert census.source(lab, "192.0.2.200")["class"] == "own"
    flood(lab, src="203.0.113.78", each=10)
    assert lab.fence("limit", "net", "203.0.113.78", "--warn", "8").code == 0
    flood(lab, src="203.0.113.78", sport=23000)
    assert until(lambda: alerts(lab, "rate_warn", r"source=203\.0\.113\.78\b")), lab.log.lines()


def test_classes(lab):
    """What an address or sender is says which limit holds."""
    spare_link(lab)
    lab.conf.section("allow_net", "203.0.113.0/28", ports=[25])
    count_on(lab, "up0", "fl0", mode="monitor", own_networks=["192.0.2.0/24", "2001:db8:70::/48"])
    passes(lab, lab.mta, uid=8, gid=8)
    passes(lab, lab.web, uid=5, gid=60)
    passes(lab, lab.mta, dst=WORLD6, uid=8, gid=8)
    assert lab.connect(lab.web, dst="127.0.0.1").get("errno") == "ECONNREFUSED"
    for src in ("203.0.113.1", "192.0.2.9", "198.18.0.1", "127.0.0.9"):
        flood(lab, src=src)
    flood(lab, src="2001:db8:70::5", dst="2001:db8::1")
    table = sources(lab)
    found = {s: (r["class"], r["warn"], r["act"]) for s, r in table.items()}
    assert found == {
        HOST4: ("local", 300, 1000), "2001:db8:1::/64": ("local", 300, 1000),
        "203.0.113.1": ("relay", 300, 1000), "192.0.2.9": ("own", 15, 100),
        "2001:db8:70::/64": ("own", 15, 100), "198.18.0.1": ("unknown", 15, 100),
        # loopback never is on an uplink; made by hand, it has its class all the same
        "127.0.0.9": ("loopback", 1000, 3000)}, found
    kinds = {key: (r["class"], r["warn"]) for key, r in census.senders(lab).items()}
    assert kinds[lab.mta.name, 8] == ("mail", 0) and kinds[lab.web.name, 5] == ("user", 15), kinds


def test_a_mail_server_has_no_limit(lab):
    count_on(lab, mode="yes", limit_local=[0, 0])
    lab.daemon()
    answer = lab.connect(lab.mta, "hammer", count=300, uid=8, gid=8)
    assert answer["counts"] == {"OK": 300}, answer
    assert until(lambda: census.sender(lab, lab.mta, 8)["fenced_syn"] == 300)
    assert not lab.log.wait("rule=rate_", bound=1.5), lab.log.lines()


def syn_sender(lab, dev="fl0"):
    """A packet socket of the host, and a SYN to send on it."""
    return netns.inside(netns.path(lab.host), lambda: _packet_socket(dev))


def _packet_socket(dev):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.bind((dev, 0))
    return sock


def syn(source, sport, dport=25):
    ip = (bytes([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]) + socket.inet_aton(source)
          + socket.inet_aton("203.0.113.1"))
    tcp = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + os.urandom(4) + bytes(4) \
        + bytes([0x50, 2, 0xff, 0xff, 0, 0, 0, 0])
    return b"\x02\0\0\0\0\1\x02\0\0\0\0\2\x08\0" + ip + tcp


def crossings(lab, count, arrived):
    """Milliseconds from the crossing SYN's departure until `arrived(source)` gives its moment."""
    sock = syn_sender(lab)
    took = []
    for i in range(count):
        source = f"192.0.2.{i + 1}"
        for port in (1024, 1025):
            sock.send(syn(source, port))
        packet = syn(source, 1026)
        time.sleep(0.02)            # not a wait: the daemon is to be asleep, as it is on a host
        begun = time.monotonic()
        sock.send(packet)
        took.append((arrived(source) - begun) * 1000)
    return took


def test_from_the_crossing_syn_to_the_datagram(lab):
    spare_link(lab)
    count_on(lab, "fl0", mode="monitor", limit_source=[3, 0], limit_sender=[0, 0])
    lab.daemon()

    def arrived(source):
        assert lab.log.wait(rf"rule=rate_warn .*source={source} ", 5), lab.log.lines()
        return next(t for t, data in lab.log.records if f"source={source} ".encode() in data)
    took = crossings(lab, 60, arrived)
    print(f"# crossing SYN to datagram: median {statistics.median(took):.2f} ms, "
          f"95 % {sorted(took)[57]:.2f}, worst {max(took):.2f}", flush=True)
    assert statistics.median(took) < 1000


def test_from_the_crossing_syn_to_the_line_in_the_file():
    with Lab(log_socket=False) as lab:
        log = lab.rsyslogd()
        spare_link(lab)
        count_on(lab, "fl0", mode="monitor", limit_source=[3, 0], limit_sender=[0, 0])
        lab.daemon()
        assert log.wait(rb"rule=started")
        file = open(log.output, "rb")

        def arrived(source):
            seen, end = b"", time.monotonic() + 5
            while f"source={source} ".encode() not in seen:
                seen += file.read()
                assert time.monotonic() < end, log.bytes()
                time.sleep(0.0002)
            return time.monotonic()
        took = crossings(lab, 60, arrived)
        print(f"# crossing SYN to the line in rsyslogd's file: median "
              f"{statistics.median(took):.2f} ms, 95 % {sorted(took)[57]:.2f}, "
              f"worst {max(took):.2f}", flush=True)
        assert statistics.median(took) < 1000


def test_alerts_while_the_ring_overflowed(lab):
    """The daemon stands still while 2,000 sources cross: told, and found by the table."""
    spare_link(lab)
    count_on(lab, "fl0", mode="monitor", limit_source=[3, 0], limit_sender=[0, 0])
    daemon = lab.daemon()
    daemon.send_signal(signal.SIGSTOP)
    flood(lab, src="10.0.0.0", sources=2000, each=3, threads=2)
    lost = census.counters(lab)
    assert lost["crossings"] + lost["crossings_lost"] == 2000 and lost["crossings_lost"], lost
    daemon.send_signal(signal.SIGCONT)
    line = lab.log.wait("rule=crossings_lost", 10)
    assert line and int(fields(line)["count"]) == lost["crossings_lost"], (line, lost)
    # At most 200 lines each 10 s, and after each a sum of the rest: on a busy machine more than once.
    end = time.monotonic() + 40
    while True:
        lines, storms = alerts(lab, "rate_warn"), alerts(lab, "storm")
        swallowed = sum(int(fields(x)["count"]) for x in storms)
        if len(lines) + swallowed >= 2000:
            break
        assert time.monotonic() < end, (len(lines), swallowed)
        time.sleep(0.1)
    assert storms and len(lines) <= 200 * (len(storms) + 1), (len(lines), swallowed)
    assert len({fields(x)["source"] for x in lines}) == len(lines), "nobody is told twice"


@limits.seconds(90)
def test_a_storm_of_senders(lab):
    """5,000 users cross their limit within seconds: few lines, a sum, and no count lost."""
    netns.sh("ip", "-n", lab.host, "neigh", "add", "198.51.100.99", "lladdr", "02:00:00:00:00:99",
             "dev", "up0")
    lab.conf.section("exempt", lab.web.name)       # so that no line is about a denial
    count_on(lab, mode="monitor", limit_sender=[3, 0], limit_local=[0, 0])
    daemon = lab.daemon()
    begun = time.monotonic()
    got = flood(lab, "users", first=100000, users=5000, each=3, dst="198.51.100.99")
    sent = time.monotonic() - begun
    assert lab.log.wait("rule=storm", 20), lab.log.lines()[-3:]
    table = census.senders(lab)
    mine = {key: row for key, row in table.items() if key[1] >= 100000}
    assert len(mine) == 5000 and {r["fenced_syn"] for r in mine.values()} == {3}
    until(lambda: sum(int(fields(x)["count"]) for x in alerts(lab, "storm")) + len(
        alerts(lab, "rate_warn")) >= 5000, 15, every=0.2)
    lines = [x for x in lab.log.lines() if "ALERT" in x]
    swallowed = sum(int(fields(x)["count"]) for x in alerts(lab, "storm"))
    print(f"# a storm of 5,000 senders in {sent:.1f} s: {len(lines)} lines, {swallowed} summed up",
          flush=True)
    assert got["sent"] == 15000 and len(lines) < 1000, len(lines)
    assert swallowed + len(alerts(lab, "rate_warn")) >= 5000, swallowed
    assert daemon.poll() is None


def test_syslog_goes_and_comes_back():
    """While nobody listens, lines wait; when somebody does, they are there."""
    from logs import LogSocket
    with Lab() as lab:
        spare_link(lab)
        count_on(lab, "fl0", mode="monitor", limit_source=[3, 0], limit_sender=[0, 0])
        lab.daemon()
        assert lab.log.wait("rule=started")
        lab.log.close()
        flood(lab, src="192.0.2.1", sources=20, each=3)
        until(lambda: False, 1.2)       # the daemon's own tick, with nobody to send to
        lab.log = lab._closed_at_end(LogSocket(lab.log_path))
        assert until(lambda: len(alerts(lab, "rate_warn")) == 20, 10), lab.log.lines()
        assert len({fields(x)["source"] for x in alerts(lab, "rate_warn")}) == 20


def test_a_greeting_on_another_port(lab):
    """An SMTP server at port 80: told with the sender's name; FTP's 220 is not."""
    count_on(lab, mode="yes")
    lab.daemon()
    # the lab's servers greet as SMTP on every port; wait until the greeting came
    run = ["sh", "-c", f"exec 3<>/dev/tcp/{WORLD4}/80; head -c 10 <&3"]
    done = lab.run(["bash", *run[1:]], cgroup=lab.web, uid=5, gid=60)
    assert done.out.startswith("220"), done
    line = lab.log.wait("rule=other_port")
    assert line, lab.log.lines()
    got = fields(line)
    assert (got["uid"], got["cgroup"], got["port"]) == ("5", lab.web.name, "80"), line
