# SPDX-License-Identifier: GPL-2.0-only
"""The gateway's programs (TC and XDP) and the uplink's over a corpus, under several policies: each
packet's verdict, its reason and what was counted, against gateway_rules.py. By itself with a
number: so many random packets through all of them.

    tests/bpf/test_gateway_packets.py 10000000 [SEED [PROCESSES]]
"""
import os
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
import corpus
import gateway_rules as rules
import oracle
from gateway_rules import APART, BIT, CENSUS, GWIN, GWIP, OUT, OUTIP, POLICIES, XDP
from gateway_rules import Nets, Policy, decision_name

BUILD = os.environ.get("SMTPFENCE_BUILD", os.path.join(os.path.dirname(os.path.dirname(HERE)),
                                                       "build"))
TOOL = os.path.join(BUILD, "tests/bpf-gateway")
RANDOM = int(os.environ.get("SMTPFENCE_PACKETS", "200000"))
BATCH = 25_000
REFUSED, CHANGED = -1000 - 22, 1 << 31
TC = {0xFFFFFFFF: "passes", -1: "passes", 2: "dropped", 7: "reset"}
VERDICT = {OUT: TC, OUTIP: TC, GWIN: TC, GWIP: TC, XDP: {2: "passes", 1: "dropped", 3: "reset"}}


def run(what, policy, jobs, sets=4096):
    """[(verdict, census, decision)] of each (program, frame), and what was sent back, in order."""
    if not os.access(TOOL, os.X_OK):
        raise unittest.SkipTest(f"{TOOL} is not built")
    data = b"".join([*policy.records(), *(rules.packet(op, frame) for op, frame in jobs)])
    with tempfile.TemporaryDirectory() as place:
        files = [f"{place}/results", f"{place}/answers"]
        done = subprocess.run([TOOL, "-s", str(sets), "-r", files[0], "-o", files[1], what],
                              input=data, stderr=subprocess.PIPE)
        if done.returncode:
            raise AssertionError(f"bpf-gateway: exit {done.returncode}: "
                                 f"{done.stderr.decode('utf-8', 'replace')[-600:]}")
        results, answers = (open(f, "rb").read() for f in files)
    return list(struct.iter_unpack("=iII", results)), answers


def jobs_of(what, frames):
    """[(program, frame)]: each frame by each of the programs that may meet it."""
    if what == "egress":
        return [(OUT if ethernet else OUTIP, frame) for ethernet, frame in frames]
    return [(program, frame) for ethernet, frame in frames
            for program in ((GWIN, XDP) if ethernet else (GWIP,))]


def kernel_refuses(program, frame):
    """The test run of XDP looks at the link's header only."""
    return len(frame) < 14 if program == XDP else oracle.kernel_refuses(frame)


class Tally:
    def __init__(self):
        self.seen, self.wrong = Counter(), []

    def add(self, other):
        self.seen.update(other.seen)
        self.wrong += other.wrong


def counted(mask):
    return "+".join(n for n in CENSUS if mask & BIT[n]) or "nothing"


def judge(what, policy, frames):
    """Run them all; a Tally with a complaint for each that the rules don't have."""
    jobs, tally, at = jobs_of(what, frames), Tally(), 0
    results, answers = run(what, policy, jobs)
    assert len(results) == len(jobs)
    seen_frame, view = None, None
    for (program, frame), (code, census, index) in zip(jobs, results):
        if code == REFUSED and not census and not index and kernel_refuses(program, frame):
            tally.seen["refused by the kernel"] += 1
            continue
        if frame is not seen_frame:
            seen_frame, view = frame, oracle.look(frame, program not in (OUTIP, GWIP))
        did, decision = VERDICT[program].get(code, f"returns {code}"), decision_name(index)
        wanted = policy.allowed(frame, view, program)
        why = None if (did, decision, census & ~APART) in wanted else f"wanted {wanted}"
        if did == "reset":
            size, = struct.unpack_from("=I", answers, at)
            answer, at = answers[at + 4:at + 4 + size], at + 4 + size
            why = why or rules.right_reset(frame, view.segment, program, answer)
        if why:
            tally.wrong.append(f"{what} program {program}, policy {policy.name}: {did}, "
                               f"{decision}, {'changed, ' if census & CHANGED else ''}"
                               f"{counted(census)}: {why}: {frame.hex()}")
        tally.seen[did] += 1
        if decision:
            tally.seen["/".join(decision)] += 1
    assert at == len(answers), "a packet was sent back that nobody asked for"
    return tally


def complain(tally):
    assert not tally.wrong, f"{len(tally.wrong)} wrong, first: " + "\n".join(tally.wrong[:3])


def both_links(named):
    frames = [(True, f) for _, f in named]
    return frames + [(False, f[14:]) for _, f in named if f[12:14] in (b"\x08\0", b"\x86\xdd")]


def judge_everywhere(frames):
    total = Tally()
    for policy in POLICIES:
        for what in ("gateway", "egress"):
            total.add(judge(what, policy, frames))
    complain(total)
    return total.seen


# ---- tests ----

def test_the_corpus_under_each_policy():
    """What is well formed and what is hostile, by all programs."""
    seen = judge_everywhere(both_links(corpus.well_formed() + corpus.hostile()))
    assert all(seen[k] for k in ("passes", "dropped", "reset", "denied/no_role", "denied/unparsed",
                                 "would_deny/unparsed", "allowed/local",
                                 "denied/no_settings")), seen


def test_settings_of_another_version():
    """Nothing is believed, not even that it is off. (Wiped ones are among the policies above.)"""
    policy = rules.ANOTHER_VERSION
    for what in ("gateway", "egress"):
        tally = judge(what, policy, both_links(corpus.well_formed() + corpus.hostile()))
        complain(tally)
        assert tally.seen["denied/no_settings"] and tally.seen["denied/unparsed"], (what, tally.seen)


def test_cut_at_every_byte():
    """An end anywhere: never a way past the gateway that the whole packet would not have."""
    frames = [(True, frame[:n]) for _, frame in corpus.well_formed()[::3] + corpus.hostile()[::23]
              for n in range(14, min(len(frame), 110))]
    for what in ("gateway", "egress"):
        complain(judge(what, POLICIES[0], frames))


def test_checksums_of_resets():
    """A right checksum stays right, at odd lengths too, and with offload's half sums by as much."""
    s = dict(sport=41001, dport=25, seq=0xFFFFFFFF, flags="S")
    frames = []
    for n in range(4):
        data = corpus.Raw(b"EHLO x"[:n])
        for tcp in corpus.TCP(**s), corpus.TCP(options=[("MSS", 1460)], **s), \
                corpus.TCP(chksum=0x1234, **s):
            frames += [bytes(corpus.ethernet() / corpus.IP(src="10.0.9.9", dst="192.0.2.1") / tcp
                             / data),
                       bytes(corpus.ethernet() / corpus.IPv6(src="2001:db8:0:210::1",
                                                             dst="fd00::1") / tcp / data)]
    policy = Policy("resets", reset=True)
    tally = judge("gateway", policy, both_links([("", f) for f in frames]))
    complain(tally)
    assert tally.seen["reset"] == len(frames) * 3, tally.seen
    whole = frames[0]
    assert rules.checksum(whole[34:], oracle.look(whole, True).segment) == \
        (0xFFFF - 6 - (len(whole) - 34)) % 0xFFFF, "the check of the checksum sees nothing"


def test_a_source_at_its_limit():
    """Its connections of the window; repeated SYNs are none; others go on; also as XDP."""
    def syns(host, ports, dport=25):
        return [bytes(corpus.ethernet() / corpus.IP(src=host, dst="192.0.2.77")
                      / corpus.TCP(sport=p, dport=dport, seq=p, flags="S")) for p in ports]

    class Limited(Policy):
        def flags(self):
            return super().flags() | 2      # SF_GATEWAY_LIMIT_DROP

        def records(self):
            yield from super().records()
            for net in self.mail_hosts.nets:    # mail hosts have no limit but a named one
                kind = 5 if str(net).startswith("10.0.0.1") else 0
                yield rules.put("source_limits", rules.lpm_key(net),
                                struct.pack("=IIII", 3, 5, kind, 0))

    policy = Limited("limited", mail_hosts=Nets("10.0.0.1/32", "10.0.0.2/32"))
    for program in GWIN, XDP:
        frames = syns("10.0.0.1", range(4000, 4005)) + syns("10.0.0.1", range(4000, 4003)) \
            + syns("10.0.0.1", range(5000, 5004)) + syns("10.0.0.1", [1, 2], 80) \
            + syns("10.0.0.2", range(4000, 4012))
        results, _ = run("gateway", policy, [(program, f) for f in frames])
        said = [decision_name(index) for _, _, index in results]
        mail, limit = ("allowed", "mail_host"), ("denied", "limit")
        assert said[:5] == [mail] * 5, said
        assert said[5:12] == [limit] * 7, said
        assert said[12:14] == [None] * 2 and said[14:] == [mail] * 12, said
        did = [VERDICT[program][code] for code, _, _ in results]
        assert did == ["dropped" if s == limit else "passes" for s in said], did


def batch(job):
    """One policy's batch of random packets. In a process of its own."""
    seed, number, count = job
    base = [f for _, f in corpus.well_formed() + corpus.hostile()]
    frames = list(corpus.random_packets(f"{seed}/{number}", count, base))
    # the lists and resets get most of them, the rest of the policies their share
    order = POLICIES[:2] + POLICIES[:2] + POLICIES
    policy, total = order[number % len(order)], Tally()
    for what in ("gateway", "egress"):
        total.add(judge(what, policy, frames))
    total.seen[f"packets, policy {policy.name}"] += count
    del total.wrong[20:]
    return total


def check_random(seed, count, processes, told=None):
    jobs = [(seed, n, min(BATCH, count - n * BATCH)) for n in range(-(-count // BATCH))]
    total, done = Tally(), 0
    with ProcessPoolExecutor(processes) as pool:
        for job, tally in zip(jobs, pool.map(batch, jobs)):
            total.add(tally)
            done += job[2]
            if told:
                told(done, len(total.wrong))
    return total


def test_random_packets():
    """Some policy each; the total must reach every reason."""
    total = check_random("gateway", RANDOM, 2)
    complain(total)
    missing = [r for r in ("denied/no_role", "denied/quarantine", "denied/spoofed",
                           "denied/unparsed", "allowed/mail_host", "allowed/relay", "reset",
                           "dropped", "passes")
               if not total.seen[r]]
    assert not missing, f"the random packets do not reach {missing}: {total.seen}"


test_random_packets.time_limit = 120 + RANDOM // 3000


def main():
    count = int(sys.argv[1])
    seed = sys.argv[2] if len(sys.argv) > 2 else "1"
    processes = int(sys.argv[3]) if len(sys.argv) > 3 else os.cpu_count()
    begin, last = time.monotonic(), 0

    def told(done, wrong):
        nonlocal last
        if done - last >= 500_000 or done == count:
            last = done
            print(f"{done:,} packets, {time.monotonic() - begin:.0f} s, {wrong} wrong", flush=True)

    total = check_random(seed, count, processes, told)
    for key, n in sorted(total.seen.items()):
        print(f"  {key}: {n:,}")
    print("\n".join(total.wrong[:20]))
    print(f"{count:,} packets, {sum(total.seen[k] for k in ('passes', 'dropped', 'reset')):,} "
          f"verdicts, {len(total.wrong)} wrong, {time.monotonic() - begin:.0f} s")
    return 1 if total.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
