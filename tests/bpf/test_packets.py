# SPDX-License-Identifier: GPL-2.0-only
"""The census' programs over a corpus, judged by oracle.py: what each packet is, that it passes, and
that each source's counts are what was sent. By itself with a number: so many random packets.

    tests/bpf/test_packets.py 10000000 [SEED]
"""
import os
import subprocess
import sys
import tempfile
import time
import unittest
from collections import Counter

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__))]
import corpus
import oracle
from oracle import ACK, SYN
from runner import BIT, COUNTERS, DROP, ENFORCE, IN, INIP, MONITOR, OUT, OUTIP, PASS, REFUSED
from runner import Run, names, record, text_of
from scapy.utils import wrpcap

FENCED, WATCHED = (25, 465, 587), (2525,)
RANDOM = int(os.environ.get("SMTPFENCE_PACKETS", "200000"))
BATCH = 200_000
# What a table does when it is full is no property of a packet.
APART = sum(BIT[n] for n in COUNTERS if n.startswith(("forgotten", "crossings", "untracked")))


class Ledger:
    """What should be in the table of sources."""

    def __init__(self):
        self.syn, self.fenced = Counter(), Counter()

    def add(self, segment):
        key = text_of(oracle.source_key(segment))
        self.syn[key] += 1
        self.fenced[key] += segment.dport in FENCED


def wanted_mask(outcome, frame, segment):
    """Counters that grow by a packet of this outcome on its way out."""
    if outcome == "other":
        return 0
    if outcome != "tcp":
        return BIT[outcome]
    if segment.flags & (SYN | ACK) != SYN:
        return 0
    return (BIT["syn"]
            | (BIT["fenced_syn"] if segment.dport in FENCED else 0)
            | (BIT["watched_syn"] if segment.dport in WATCHED else 0)
            | (0 if oracle.kernel_knows_family(frame) else BIT["no_sender"]))


def judge(frames, results, ledger, labels=None):
    """Each result against what the oracle allows. Returns complaints, with the packet."""
    wrong = []
    for i, ((ethernet, frame), (verdict, counters)) in enumerate(zip(frames, results)):
        view = oracle.look(frame, ethernet)
        refused = oracle.kernel_refuses(frame)
        got = counters & ~APART
        allowed = {wanted_mask(o, frame, view.segment) for o in view.may_be}
        if got & BIT["syn"] and view.segment:
            ledger.add(view.segment)
        if verdict == REFUSED and refused and not counters:
            continue
        if verdict == PASS and got in allowed:
            continue
        label = labels[i] if labels else f"packet {i}"
        wrong.append(f"{label}: verdict {verdict}, counted {names(got)}, wanted "
                     f"{' or '.join(sorted(map(names, allowed)))} ({'/'.join(sorted(view.may_be))}) "
                     f"{'out' if ethernet else 'outip'} {frame.hex()}")
    return wrong


def check_sources(run, ledger):
    lost = run.counters["forgotten_source_syn"] + run.counters["uncounted"]
    assert sum(s["syn"] for s in run.sources.values()) + lost == sum(ledger.syn.values()) \
        == run.counters["syn"], "SYNs of all sources and the forgotten ones are not all SYNs"
    if lost:
        return
    for key, syn in ledger.syn.items():
        got = run.sources.get(key, {})
        assert got.get("syn") == syn, f"{key}: {got.get('syn')} SYNs, {syn} were sent"
        total = got["fenced"] + got["retransmitted"]
        assert total == ledger.fenced[key], \
            f"{key}: {total} to fenced ports, {ledger.fenced[key]} were sent"
    assert set(run.sources) == set(ledger.syn), "sources that sent no SYN"


def run_out(frames, *options):
    return Run((record(OUT if e else OUTIP, f) for e, f in frames), *options)


def check_corpus(frames, labels=None, options=("-s", 2048)):
    run, ledger = run_out(frames, *options), Ledger()
    wrong = judge(frames, run.results, ledger, labels)
    assert not wrong, f"{len(wrong)} of {len(frames)} wrong; first: " + "\n".join(wrong[:3])
    check_sources(run, ledger)
    return run


def both_links(named):
    """Each frame as it is, and what has no tags also as a raw IP packet."""
    frames, labels = [], []
    for name, frame in named:
        frames.append((True, frame))
        labels.append(name)
        if frame[12:14] in (b"\x08\0", b"\x86\xdd"):
            frames.append((False, frame[14:]))
            labels.append(name + ", raw IP")
    return frames, labels


# ---- tests ----

def test_well_formed():
    frames, labels = both_links(corpus.well_formed())
    run = check_corpus(frames, labels)
    assert run.counters["syn"] > 100


def test_hostile():
    check_corpus(*both_links(corpus.hostile()))


def test_cut_at_every_byte():
    """Whatever the place, it is counted by its cause and nothing else."""
    frames, labels = [], []
    for name, frame in corpus.well_formed() + corpus.hostile()[::7]:
        for n in range(14, min(len(frame), 110)):
            frames.append((True, frame[:n]))
            labels.append(f"{name}, first {n} bytes")
            if n % 3 == 0:
                frames.append((False, frame[14:n]))
                labels.append(f"{name}, raw IP, first {n} bytes")
    check_corpus(frames, labels)


def test_scapy_agrees():
    """The oracle is no better than its author: on well-formed packets it must say what scapy does."""
    for name, frame in corpus.well_formed():
        p, segment = corpus.Ether(frame), oracle.look(frame, True).segment
        tcp, outer = p.getlayer(corpus.TCP), p.getlayer(corpus.IP) or p.getlayer(corpus.IPv6)
        tunnelled = sum(isinstance(layer, (corpus.IP, corpus.IPv6)) for layer in _layers(p)) > 1
        first = not (isinstance(outer, corpus.IP) and outer.frag)
        if tcp is None or tunnelled or not first:
            assert segment is None, name
            continue
        assert segment and (segment.sport, segment.dport, segment.seq, segment.ack,
                            segment.flags) == \
            (tcp.sport, tcp.dport, tcp.seq, tcp.ack, int(tcp.flags) & 255), name
        address = text_of(segment.source).replace("::ffff:", "")
        assert address == outer.src, name


def _layers(p):
    while p and p.name != "NoPayload":
        yield p
        p = p.payload


def test_tshark_agrees():
    named = [(n, f) for n, f in corpus.well_formed()
             if oracle.look(f, True).may_be in ({"tcp"}, {"other"}) and "IP in" not in n
             and "GRE" not in n and "6in4" not in n]
    for (name, frame), line in zip(named, tshark([f for _, f in named])):
        segment = oracle.look(frame, True).segment
        v4, v6, sport, dport, seq, flags = line
        if not segment:
            assert not sport, f"{name}: tshark sees TCP from port {sport}"
            continue
        assert (v4 or v6, sport, dport, seq) == (
            text_of(segment.source).replace("::ffff:", ""), str(segment.sport),
            str(segment.dport), str(segment.seq)), f"{name}: {line}"
        assert int(flags, 16) & 255 == segment.flags, name


def tshark(frames):
    fields = ("ip.src", "ipv6.src", "tcp.srcport", "tcp.dstport", "tcp.seq_raw", "tcp.flags")
    with tempfile.NamedTemporaryFile(suffix=".pcap") as f:
        wrpcap(f.name, [corpus.Ether(x) for x in frames])
        try:
            done = subprocess.run(
                ["tshark", "-n", "-r", f.name, "-o", "ip.defragment:false", "-o", "ipv6.defragment:false",
                 "-T", "fields"] + [a for n in fields for a in ("-e", n)],
                capture_output=True, text=True, timeout=50)
        except FileNotFoundError:
            raise unittest.SkipTest("tshark is not installed") from None
    assert not done.returncode, done.stderr[-300:]
    return [line.split("\t") for line in done.stdout.split("\n")[:-1]]


def test_real_captures():
    """Real conversations: SYNs by source as scapy counts them, and no answer unmatched."""
    found = corpus.captures()
    assert found, "no capture lies in tests/bpf/captures"
    for file, ethernet, frames in found:
        check_corpus([(ethernet, f) for f in frames])
        _replay(os.path.basename(file), ethernet, frames)


def _replay(name, ethernet, frames):
    """As an uplink would see it: what the client sends goes out, the rest comes in."""
    views = [oracle.look(f, ethernet).segment for f in frames]
    syns = [v for v in views if v and v.flags & (SYN | ACK) == SYN and v.dport in FENCED]
    clients = {v.source for v in syns}
    records = [record((OUT if v is None or v.source in clients else IN) + (not ethernet), f)
               for v, f in zip(views, frames)]
    run = Run(records)
    assert run.verdicts() == {PASS}, name
    flows = {(v.source, v.sport, v.destination, v.dport, v.seq) for v in syns}
    ended = {(v.destination, v.dport, v.source, v.sport, (v.ack - 1) & 0xFFFFFFFF)
             for v in views if v and v.flags & ACK and v.flags & (SYN | oracle.RST)} & flows
    assert syns and sum(s["fenced"] for s in run.sources.values()) == len(flows), name
    assert sum(s["retransmitted"] for s in run.sources.values()) == len(syns) - len(flows), name
    assert sum(s["answered"] + s["refused"] for s in run.sources.values()) == len(ended), name
    assert not run.counters["stray_answer"], name


def check_random(seed, count):
    base = [f for _, f in corpus.well_formed() + corpus.hostile()]
    frames = list(corpus.random_packets(seed, count, base))
    return check_corpus(frames, None, ("-s", 32768, "-a", 65536))


def test_random_packets():
    for n in range(0, RANDOM, BATCH):
        run = check_random(1000 + n, min(BATCH, RANDOM - n))
    assert all(run.counters[c] for c in ("syn", "fenced_syn", "not_ip", "fragment", "truncated",
                                         "tiny_fragment", "bad_header", "too_many_headers")), \
        f"the random packets do not reach everything: {run.counters}"


test_random_packets.time_limit = 120 + RANDOM // 5000


def test_backstop():
    """Enforcing, a sender without a role: its SYNs to fenced ports do not leave, nor does what can't
    be parsed; all else passes. Watching only: everything passes. Counted it is in either case."""
    frames, labels = both_links(corpus.well_formed() + corpus.hostile())
    enforced, watched = (run_out(frames, "-m", mode, "-s", 2048) for mode in (ENFORCE, MONITOR))
    assert watched.verdicts() <= {PASS, REFUSED}
    unparsed = sum(BIT[n] for n in ("tiny_fragment", "truncated", "bad_header",
                                    "too_many_headers"))
    dropped = 0
    for (verdict, mask), label in zip(enforced.results, labels):
        has_sender = not mask & BIT["no_sender"]
        wanted = DROP if mask & unparsed or mask & BIT["fenced_syn"] and has_sender else PASS
        assert verdict in (wanted, REFUSED), f"{label}: {verdict}, counted {names(mask)}"
        dropped += verdict == DROP
    assert dropped > 100
    strip = lambda run: [m & ~APART for _, m in run.results]   # noqa: E731
    assert strip(enforced) == strip(watched)


def test_random_answers():
    """The return path: nothing stops a packet, and nothing but answers is counted."""
    base = [f for _, f in corpus.well_formed() + corpus.hostile()]
    frames = list(corpus.random_packets(77, RANDOM // 4, base))
    run = Run(record(IN if e else INIP, f) for e, f in frames)
    allowed = BIT["stray_answer"] | BIT["crossings_lost"]
    for (ethernet, frame), (verdict, counters) in zip(frames, run.results):
        assert verdict == PASS or oracle.kernel_refuses(frame), frame.hex()
        assert not counters & ~allowed, f"{names(counters)}: {frame.hex()}"
        view = oracle.look(frame, ethernet)
        s = view.segment
        is_answer = s and s.flags & SYN and s.flags & ACK and not s.flags & oracle.RST \
            and s.sport in FENCED
        if counters & BIT["stray_answer"]:
            assert is_answer, frame.hex()
        elif verdict == PASS and view.may_be == {"tcp"}:
            assert not is_answer, frame.hex()
    assert not run.sources and not run.senders


def main():
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    begin, sums = time.monotonic(), Counter()
    for n in range(0, count, BATCH):
        run = check_random(f"{seed}/{n}", min(BATCH, count - n))
        sums.update(run.counters)
        print(f"{n + BATCH:,} packets, {time.monotonic() - begin:.0f} s; "
              f"{BATCH / run.seconds:,.0f}/s in the programs", flush=True)
    print(dict(sums))


if __name__ == "__main__":
    main()
