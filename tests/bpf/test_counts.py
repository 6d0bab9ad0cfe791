# SPDX-License-Identifier: GPL-2.0-only
"""What the census' programs count, tell and forget: repeated SYNs, answers, limits, full tables,
greetings, two cores at once."""
import random
import socket
import struct
import sys
import os

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__))]
from corpus import framed, ipv4_bytes, ipv6_bytes, tcp_bytes
from runner import (ABI, BIT, IN, INIP, OUT, OUTIP, PASS, Run, jump, limit, net_limit,
                    record)

SYN, SYNACK, RSTACK, RST, DATA = 2, 0x12, 0x14, 4, 0x18
US, THEM = "10.1.2.3", "203.0.113.25"
US6, THEM6 = "2001:db8:1:2::10", "2001:db8:ffff::25"


def ip(source, destination, sport, dport, seq=1, ack=0, flags=SYN, data=b""):
    tcp = tcp_bytes(sport, dport, seq, ack, flags) + data
    if ":" in source:
        return ipv6_bytes(tcp, 6, *(socket.inet_pton(socket.AF_INET6, a)
                                    for a in (source, destination)))
    return ipv4_bytes(tcp, socket.inet_aton(source), socket.inet_aton(destination))


def out(*args, **kwargs):
    return record(OUT, framed(ip(*args, **kwargs)))


def back(*args, **kwargs):
    return record(IN, framed(ip(*args, **kwargs)))


def mapped(address):
    return address if ":" in address else "::ffff:" + address


def counts(entry, *names):
    return tuple(entry[n] for n in names or ("syn", "fenced", "retransmitted", "answered",
                                             "refused", "silent", "untracked"))


def four(address):
    return socket.inet_ntoa(struct.pack("!I", address))


# ---- new or repeated ----

def test_repeated_syn():
    """Same flow and sequence number: repeated. Another number, port or peer: another connection."""
    a = (US, THEM, 1025, 25)
    run = Run([out(*a, seq=7), out(*a, seq=7), out(*a, seq=7), out(*a, seq=8), out(*a, seq=8),
               out(US, THEM, 1026, 25, seq=7), out(US, "203.0.113.26", 1025, 25, seq=7),
               out(US, THEM, 1025, 587, seq=7), out(US, THEM, 1025, 80, seq=7),
               out(US, THEM, 1025, 80, seq=7)])
    assert counts(run.sources[mapped(US)], "syn", "fenced", "retransmitted") == (10, 5, 3)
    assert run.counters["fenced_syn"] == 8


def test_repeated_syn_in_every_form():
    """The repeat may take another way: raw IP, a tag, IPv6."""
    for source, peer in (US, THEM), (US6, THEM6):
        packet = ip(source, peer, 1025, 25, seq=7)
        run = Run([record(OUT, framed(packet)), record(OUTIP, packet),
                   record(OUT, framed(packet, [(0x8100, 7)]))])
        entry, = run.sources.values()
        assert counts(entry, "syn", "fenced", "retransmitted") == (3, 1, 2)


def test_repeats_after_the_answer():
    a = (US, THEM, 1025, 25)
    run = Run([out(*a, seq=7), back(THEM, US, 25, 1025, 99, 8, SYNACK), out(*a, seq=7)])
    assert counts(run.sources[mapped(US)]) == (2, 1, 1, 1, 0, 0, 0)


# ---- answers ----

def test_answers_of_either_kind():
    for us, them in (US, THEM), (US6, THEM6):
        run = Run([out(us, them, 1000 + n, 25, seq=n * 1000) for n in range(5)]
                  + [back(them, us, 25, 1000, 5, 1, SYNACK),
                     back(them, us, 25, 1001, 5, 1001, SYNACK),
                     back(them, us, 25, 1002, 0, 2001, RSTACK)])
        entry, = run.sources.values()
        assert counts(entry) == (5, 5, 0, 2, 1, 0, 0), entry
        sender, = run.senders.values()
        assert counts(sender) == counts(entry)
        assert run.verdicts() == {PASS}


def test_an_answer_counts_once():
    run = Run([out(US, THEM, 1025, 25, seq=7)] + [back(THEM, US, 25, 1025, 9, 8, SYNACK)] * 3
              + [back(THEM, US, 25, 1025, 10, 8, RSTACK)])
    assert counts(run.sources[mapped(US)]) == (1, 1, 0, 1, 0, 0, 0)
    assert not run.counters["stray_answer"]


def test_what_is_no_answer():
    """A wrong acknowledgement, peer or port, a SYN without ACK, a RST without ACK."""
    syn = out(US, THEM, 1025, 25, seq=1000)
    stray = [back(THEM, US, 25, 1025, 9, 1000, SYNACK),          # acknowledges nothing
             back(THEM, US, 25, 1025, 9, 999, SYNACK),
             back(THEM, US, 25, 1025, 9, 1001 + 65536, SYNACK),  # more than a SYN can carry
             back("203.0.113.26", US, 25, 1025, 9, 1001, SYNACK),
             back(THEM, "10.1.2.4", 25, 1025, 9, 1001, SYNACK),
             back(THEM, US, 587, 1025, 9, 1001, SYNACK),
             back(THEM, US, 25, 1026, 9, 1001, SYNACK)]
    silent = [back(THEM, US, 25, 1025, 9, 1001, SYN), back(THEM, US, 25, 1025, 9, 1001, RST),
              back(THEM, US, 25, 1025, 9, 5, RSTACK), back(THEM, US, 2525, 1025, 9, 1001, SYNACK),
              back(THEM, US, 80, 1025, 9, 1001, SYNACK), back(THEM, US, 25, 1025, 9, 1001, 0x10)]
    run = Run([syn] + stray + silent)
    assert counts(run.sources[mapped(US)]) == (1, 1, 0, 0, 0, 0, 0)
    assert run.counters["stray_answer"] == len(stray)
    assert [bool(c & BIT["stray_answer"]) for _, c in run.results[1:]] == \
        [True] * len(stray) + [False] * len(silent)
    run = Run([syn] + stray + silent + [back(THEM, US, 25, 1025, 9, 1001, SYNACK)])
    assert counts(run.sources[mapped(US)], "answered") == (1,)


def test_fast_open_and_wrapped_numbers():
    """The answer may acknowledge the SYN's data too; numbers wrap."""
    run = Run([out(US, THEM, 1, 25, seq=0xFFFFFFFF), back(THEM, US, 25, 1, 9, 0, SYNACK),
               out(US, THEM, 2, 25, seq=0xFFFFFF00, data=b"x" * 512),
               back(THEM, US, 25, 2, 9, 0x101, SYNACK)])
    assert counts(run.sources[mapped(US)], "fenced", "answered") == (2, 2)


def test_a_late_answer():
    """Late is not never: what still waits is answered. Its ports taken again: it was silent."""
    a = (US, THEM, 1025, 25)
    run = Run([out(*a, seq=7), jump(60), back(THEM, US, 25, 1025, 9, 8, SYNACK)])
    assert counts(run.sources[mapped(US)]) == (1, 1, 0, 1, 0, 0, 0)
    run = Run([out(*a, seq=7), jump(60), out(*a, seq=1 << 20),
               back(THEM, US, 25, 1025, 9, 8, SYNACK)])
    assert counts(run.sources[mapped(US)]) == (2, 2, 0, 0, 0, 1, 0)
    assert run.counters["stray_answer"] == 1
    # Within the time that an answer may take, nobody knows.
    run = Run([out(*a, seq=7), jump(5), out(*a, seq=1 << 20)])
    assert counts(run.sources[mapped(US)]) == (2, 2, 0, 0, 0, 0, 1)
    assert run.counters["untracked"] == 1


def test_attempts_full():
    """Every attempt ends in exactly one way, also in a table of four places."""
    r = random.Random(5)
    records = []
    for n in range(3000):
        records.append(out(US, four(0xC6120000 + n), 1024 + n, 25, seq=n))
        if n % 3 == 0:
            records.append(back(four(0xC6120000 + n), US, 25, 1024 + n, 1, n + 1,
                                r.choice((SYNACK, RSTACK))))
        if n % 10 == 9:
            records.append(jump(3))
    run = Run(records, "-a", 1)
    e = run.sources[mapped(US)]
    ended = sum(counts(e, "answered", "refused", "silent", "untracked"))
    assert e["fenced"] == 3000 and 2996 <= ended <= 3000, e
    assert e["answered"] + e["refused"] == 1000, e
    assert e["untracked"] == run.counters["untracked"]


# ---- sources and senders ----

def test_ipv6_by_64():
    run = Run([out(f"2001:db8:1:2::{n:x}", THEM6, n, 25) for n in range(1, 6)]
              + [out("2001:db8:1:3::1", THEM6, 9, 25), out("2001:db8:1:2:8000::", THEM6, 9, 25)])
    assert {k: v["syn"] for k, v in run.sources.items()} == \
        {"2001:db8:1:2::": 6, "2001:db8:1:3::": 1}


def test_ten_thousand_sources():
    """IPv4 and IPv6, each with its own number of SYNs, shuffled: exactly counted."""
    wanted, packets = {}, []
    for n in range(10_000):
        source = four(0x0A000000 + n) if n % 2 else f"2001:db8:{n:x}:{n % 7}::9"
        key = mapped(source) if n % 2 else f"2001:db8:{n:x}:{n % 7}::"
        key = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, key))
        wanted[key] = 1 + n % 5
        packets += [(source, THEM if n % 2 else THEM6, 1024 + k, 25, n * 5 + k)
                    for k in range(1 + n % 5)]
    random.Random(3).shuffle(packets)
    run = Run([out(*p[:4], seq=p[4]) for p in packets], "-s", 2048, "-a", 16384)
    assert {k: v["syn"] for k, v in run.sources.items()} == wanted
    assert {k: v["fenced"] for k, v in run.sources.items()} == wanted
    assert not run.counters["forgotten_sources"] and not run.counters["uncounted"]


def test_sources_full():
    """The oldest gives way; what went is counted; the rest is exact."""
    wanted, records = {}, []
    keep = [four(0x0B000000 + n) for n in range(16)]
    for n in range(4000):
        source = four(0x0A000000 + n)
        records += [out(source, THEM, 1024 + k, 25, seq=n) for k in range(1 + n % 3)]
        wanted[mapped(source)] = 1 + n % 3
        if n % 16 == 0:
            records += [jump(1)] + [out(k, THEM, n, 80) for k in keep]
            for k in keep:
                wanted[mapped(k)] = wanted.get(mapped(k), 0) + 1
    run = Run(records, "-s", 64)
    assert len(run.sources) == 512
    kept = sum(s["syn"] for s in run.sources.values())
    assert kept + run.counters["forgotten_source_syn"] == sum(wanted.values()) \
        == run.counters["syn"]
    assert run.counters["forgotten_sources"] == len(wanted) - 512
    for key, entry in run.sources.items():
        assert entry["syn"] == wanted[key], f"{key}: {entry['syn']}, sent {wanted[key]}"
    assert not set(map(mapped, keep)) - set(run.sources), \
        "a source that sent every second gave way to ones that sent once"
    # Mostly the newest are left: two choices of eight are no perfect order.
    newest = sum(mapped(four(0x0A000000 + n)) in run.sources for n in range(3700, 4000))
    assert newest >= 295, f"{newest} of the newest 300"


def test_settings_of_another_version():
    run = Run([out(US, THEM, 1, 25), record(ABI, struct.pack("=I", 99)), out(US, THEM, 2, 25),
               out(US, THEM, 3, 80), back(THEM, US, 25, 1, 9, 2, SYNACK)])
    assert run.sources[mapped(US)]["syn"] == 1
    assert run.counters["uncounted"] == 2 and run.verdicts() <= {PASS, 0}
    assert not run.sources[mapped(US)]["answered"]


# ---- limits ----

def crossings(run, kind=1):
    return [(e["event"], e["level"], e["window"], e["limit"]) for e in run.events
            if e["kind"] == kind]


def test_the_crossing_syn():
    """Exactly at the warn-th and the act-th, with the fields of that very SYN."""
    run = Run([out(US, four(0xCB007100 + n), 2000 + n, (25, 465, 587)[n % 3], seq=n)
               for n in range(150)], "-l", "15,100")
    assert crossings(run) == [(14, 1, 15, 15), (99, 2, 100, 100)]
    assert crossings(run, 2) == [(14, 1, 15, 15), (99, 2, 100, 100)]
    for e in run.events:
        n = e["event"]
        assert (e["saddr"], e["daddr"], e["sport"], e["dport"]) == \
            (mapped(US), mapped(four(0xCB007100 + n)), 2000 + n, (25, 465, 587)[n % 3]), e
        assert e["class"] == (0 if e["kind"] == 1 else 6)
        assert e["kind"] == 2 or e["address"] == mapped(US)
        assert e["abi"] == 2
    assert run.counters["crossings"] == 4


def test_what_does_not_count_to_a_limit():
    """Repeats, other ports, watched ports, other sources."""
    run = Run([out(US, THEM, 1, 25, seq=1)] * 40
              + [out(US, THEM, n, p, seq=n) for n in range(40) for p in (80, 2525, 24, 26)]
              + [out(f"10.9.0.{n}", THEM, n, 25) for n in range(1, 40)], "-l", "3,5", "-d", 64)
    assert crossings(run) == []


def test_ipv6_sources_share_a_limit():
    run = Run([out(f"2001:db8:1:2::{n:x}", THEM6, n, 25) for n in range(1, 9)], "-l", "3,6")
    assert crossings(run) == [(2, 1, 3, 3), (5, 2, 6, 6)]
    assert [e["saddr"] for e in run.events if e["kind"] == 1] == \
        ["2001:db8:1:2::3", "2001:db8:1:2::6"]
    assert {e["address"] for e in run.events if e["kind"] == 1} == {"2001:db8:1:2::"}


def test_told_again_only_after_calm():
    """While the window stays at or above warn: silence. After it was below: told again."""
    burst = lambda k: [out(US, THEM, 5000 + n, 25, seq=n + k) for n in range(k, k + 20)]  # noqa: E731
    run = Run(burst(0) + [jump(90)] + burst(100) + [jump(700)] + burst(200), "-l", "10,30")
    # 20, then 40 within the window, then a new window: records count the jumps too
    assert crossings(run) == [(9, 1, 10, 10), (30, 2, 30, 30), (51, 1, 10, 10)]


def test_the_window_slides():
    """One a minute never reaches 12; one every 40 s reaches 15 in 600 s and no more than that."""
    slow, fast = [], []
    for n in range(60):
        slow += [out(US, THEM, 1000 + n, 25, seq=n), jump(60)]
        fast += [out(US, THEM, 1000 + n, 25, seq=n), jump(40)]
    assert crossings(Run(slow, "-l", "12,0")) == []
    told = crossings(Run(fast, "-l", "14,0"))
    assert len(told) == 1 and told[0][2] == 14
    assert crossings(Run(fast, "-l", "17,0")) == []
    run = Run(fast + [jump(700)], "-l", "14,0")
    assert run.sources[mapped(US)]["window"] == 0 and run.sources[mapped(US)]["fenced"] == 60


def test_limits_change_while_running():
    syn = [out(US, THEM, n, 25, seq=n) for n in range(30)]
    run = Run(syn[:10] + [limit(12, 14)] + syn[10:20] + [limit(0, 0)] + syn[20:], "-l", "100,200")
    assert crossings(run) == [(12, 1, 12, 12), (14, 2, 14, 14)]


def test_limits_of_networks():
    """The longest prefix alone holds; its class is told; IPv6 and IPv4 are apart."""
    nets = [net_limit("::ffff:10.1.0.0", 16, 5, 0, 3), net_limit("::ffff:10.1.2.0", 24, 8, 0, 4),
            net_limit("2001:db8:1::", 48, 4, 0, 5), net_limit("::", 0, 0, 0, 1)]
    records = list(nets)
    for n in range(10):
        for source, peer in (("10.1.2.3", THEM), ("10.1.3.3", THEM), ("10.2.2.3", THEM),
                             (US6, THEM6), ("2001:db9::1", THEM6)):
            records.append(out(source, peer, 3000 + n, 25, seq=n))
    run = Run(records, "-l", "9,0")
    told = sorted((e["address"], e["limit"], e["class"]) for e in run.events if e["kind"] == 1)
    assert told == [("2001:db8:1:2::", 4, 5), ("::ffff:10.1.2.3", 8, 4), ("::ffff:10.1.3.3", 5, 3),
                    ("::ffff:10.2.2.3", 9, 0)]


def test_a_full_ring():
    """Nobody reads: the report is lost and told, the counts are not."""
    run = Run([out(four(0x0A000000 + n), THEM, n & 0xFFFF, 25) for n in range(3000)],
              "-l", "1,0", "-t", 1, "-b", 4096, "-s", 1024)
    assert run.counters["crossings_lost"] > 2000
    assert run.counters["crossings"] + run.counters["crossings_lost"] == 3000 + 1
    assert sum(s["syn"] for s in run.sources.values()) == 3000


# ---- greetings ----

def greeting(text, sport=8025, flags=DATA, form=IN, peer=THEM):
    packet = ip(peer, US if peer == THEM else US6, sport, 45000, 5, 6, flags, text)
    return record(form, framed(packet) if form == IN else packet)


def test_greetings():
    told = [b"220 mail.example.org ESMTP\r\n", b"220 x SMTP\r\n", b"220-x ESMTP Exim\r\n220 ok\r\n",
            b"220 " + b"h" * 100 + b" ESMTP\r\n", b"220 SMTP"]
    for text in told:
        for form, peer in (IN, THEM), (INIP, THEM), (IN, THEM6), (INIP, THEM6):
            run = Run([greeting(text, form=form, peer=peer)])
            assert len(run.events) == 1, f"{text}: {run.events}"
            e = run.events[0]
            us = US if peer == THEM else US6
            assert (e["kind"], e["saddr"], e["daddr"], e["sport"], e["dport"]) == \
                (3, mapped(us), mapped(peer), 45000, 8025), e
    quiet = [b"220 ProFTPD Server ready.\r\n", b"220 (vsFTPd 3.0.5)\r\n", b"221 x ESMTP\r\n",
             b"250 x ESMTP\r\n", b" 220 x ESMTP\r\n", b"2200 ESMTP\r\n", b"220", b"220 ", b"",
             b"220 x ESM", b"220 x EXMTP\r\n", b"220 x ESMXP\r\n", b"HTTP/1.1 220 ESMTP", b"220\r\nESMTP"]
    run = Run([greeting(text) for text in quiet])
    assert not run.events, run.events
    run = Run([greeting(told[0], sport) for sport in (25, 465, 587, 2525)])
    assert not run.events, "a greeting on a port that is listed"
    run = Run([greeting(told[0], flags=SYNACK), greeting(told[0], flags=RSTACK)])
    assert not run.events


def test_greetings_are_rationed():
    run = Run([greeting(b"220 x ESMTP\r\n")] * 2000)
    assert 1 <= len(run.events) <= 2 + 10 * run.seconds, len(run.events)
    assert run.verdicts() == {PASS}


# ---- two cores at once ----

def test_two_cores():
    """The same sources from both: no SYN is lost, none is counted twice."""
    r = random.Random(9)
    packets = [out(four(0x0A000000 + r.randrange(300)), four(r.getrandbits(32)), r.randrange(65536),
                   25, seq=n) for n in range(60_000)]
    run = Run(packets, "-t", 2, "-T", "-s", 128, "-a", 65536)
    assert run.counters["syn"] == 120_000 and run.verdicts() == {PASS}
    # Who prepares a slot may lose its core for a while; what could not wait is told.
    uncounted = run.counters["uncounted"]
    assert uncounted < 500, run.counters
    assert 0 <= 120_000 - sum(s["syn"] for s in run.sources.values()) <= uncounted
    both = sum(s["fenced"] + s["retransmitted"] for s in run.sources.values())
    assert 0 <= 120_000 - both <= uncounted, both
    if uncounted:
        return
    wanted = {}
    for p in packets:
        key = mapped(socket.inet_ntoa(p[8 + 14 + 12:8 + 14 + 16]))
        wanted[key] = wanted.get(key, 0) + 2
    assert {k: v["syn"] for k, v in run.sources.items()} == wanted


def test_two_cores_one_source():
    """Both add to the same numbers all the time."""
    for port, name in (80, "syn"), (25, "retransmitted"):
        run = Run([out(US, THEM, 1025, port)], "-t", 2, "-T", "-n", 500_000)
        entry, = run.sources.values()
        sender, = run.senders.values()
        assert entry["syn"] == sender["syn"] == 1_000_000, (entry, sender)
        assert port == 80 or entry[name] + entry["fenced"] == 1_000_000, entry
        assert run.counters["syn"] == 1_000_000


def test_two_cores_full_table():
    """Both bring new sources into a full table all the time: the sum stays exact."""
    r = random.Random(10)
    packets = [out(four(0x0A000000 + r.randrange(1 << 20)), THEM, n & 0xFFFF, (25, 80)[n & 1])
               for n in range(100_000)]
    run = Run(packets, "-t", 2, "-s", 16, "-a", 1024)
    kept = sum(s["syn"] for s in run.sources.values())
    # `uncounted` may be of the senders' table
    assert 0 <= 100_000 - kept - run.counters["forgotten_source_syn"] <= run.counters["uncounted"]
    assert run.counters["uncounted"] < 1000, run.counters
    assert not any(s["busy"] for s in run.sources.values())


def test_two_cores_tell_once():
    """Both cross a limit at the same time: it is told once."""
    r = random.Random(11)
    packets = [out(four(0x0A000000 + n % 200), THEM, r.randrange(65536), 25, seq=n)
               for n in range(200 * 60)]
    run = Run(packets, "-t", 2, "-l", "20,50", "-s", 64, "-a", 16384, "-d", 1)
    told = sorted((e["address"], e["level"]) for e in run.events if e["kind"] == 1)
    assert told == sorted((mapped(four(0x0A000000 + n)), level)
                          for n in range(200) for level in (1, 2)), len(told)
