#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Labelled traces for the detection: a hosting provider's network over ten days.

The first nine days teach, the last is judged. Legitimate senders and bots draw their recipients from
the same kind of list (Zipf over mail providers), so that nothing but behaviour tells them apart. What
a sender is, is in its label alone; the trace has time, source, destination, port, flags, uid, cgroup
and nothing more. Everything follows from the seed.

    traces.py SEED FILE.csv        writes FILE.csv and FILE.csv.labels (JSON)
"""
import json
import math
import random
import sys

DAY = 86400
START = 1_700_006_400 // DAY * DAY + 5 * DAY  # midnight UTC, a Monday
DAYS = 10
JUDGED = START + (DAYS - 1) * DAY
PROVIDERS = 3000
DEAD = 2000


class Net:
    """The mail servers of the world."""

    def __init__(self, rng):
        self.rng = rng
        self.weights = {s: self._zipf(s) for s in (0.8, 1.1)}
        self.mx = []
        for i in range(PROVIDERS):  # the large ones have many addresses
            n = max(1, min(8, int(rng.gauss(6 / math.sqrt(1 + i / 4), 1))))
            self.mx.append([f"198.{18 + i // 16384}.{i // 64 % 256}.{i % 64 * 4 + k % 4}"
                            if k < 4 else f"203.0.{i % 256}.{k}" for k in range(n)])

    @staticmethod
    def _zipf(s):
        total, out = 0.0, []
        for i in range(PROVIDERS):
            total += 1 / (i + 1) ** s
            out.append(total)
        return out

    def provider(self, rng, s=1.1):
        return rng.choices(range(PROVIDERS), cum_weights=self.weights[s])[0]

    def host(self, rng, provider):
        return rng.choice(self.mx[provider])

    @staticmethod
    def dead(i):
        return f"192.{88 + i // 65536}.{i // 256 % 256}.{i % 256}"


class Trace:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.net = Net(random.Random(seed * 7 + 1))
        self.events = []  # (time, source, destination, port, flags, uid, cgroup)
        self.senders = {}  # key: {"class", "bad", "since", "declared"}
        self.next_host = 1

    # Senders

    def source(self, kind, bad=False, since=0, declared=False):
        n = self.next_host
        self.next_host += 1
        address = f"10.{1 if declared else 2}.{n // 250}.{n % 250 + 1}"
        self.senders[address] = dict(kind=kind, bad=bad, since=since, declared=declared)
        return (address, "", "")

    def user(self, kind, bad=False, since=0):
        n = self.next_host
        self.next_host += 1
        self.senders[str(10000 + n)] = dict(kind=kind, bad=bad, since=since, declared=False)
        return ("10.9.0.1", str(10000 + n), "/system.slice/php-fpm.service")

    # Connections

    def connect(self, who, t, destination, outcome, port=25):
        """outcome: ok, refused, silent. What the wire shows of it."""
        rng, (address, uid, cgroup) = self.rng, who
        if t >= START + DAYS * DAY:
            return
        add = self.events.append
        add((t, address, destination, port, "S", uid, cgroup))
        delay = rng.lognormvariate(-2.6, .6)
        if outcome == "ok":
            if rng.random() < .01:  # a lost SYN
                add((t + 1, address, destination, port, "ST", uid, cgroup))
                delay += 1
            add((t + delay, address, destination, port, "SA", uid, cgroup))
        elif outcome == "refused":
            add((t + delay, address, destination, port, "R", uid, cgroup))
        else:
            for after in (1, 3, 7, 15):
                add((t + after, address, destination, port, "ST", uid, cgroup))

    def deliver(self, who, t, destination, fails=.02, grey=.08):
        """One message of a real mail server: it comes back when it was not taken."""
        rng = self.rng
        if rng.random() < fails:
            # Down, or full: tried again with growing distances (Postfix: 300 s to 4000 s).
            for wait in (0, 300, 900, 2100, 4500):
                ok = wait and rng.random() < .4
                self.connect(who, t + wait + rng.uniform(0, 20), destination,
                             "ok" if ok else rng.choice(("refused", "silent", "silent")))
                if ok:
                    break
            return
        self.connect(who, t, destination, "ok")
        if rng.random() < grey:  # greylisted: answered, and asked to come again
            self.connect(who, t + rng.uniform(300, 900), destination, "ok")

    # Rhythms

    def daily(self, per_hour, first, last, office=True):
        """Times of a Poisson process with the day's and the week's shape."""
        rng, t = self.rng, first
        while True:
            t += rng.expovariate(per_hour / 3600)
            if t >= last:
                return
            hour = (t % DAY) / 3600
            shape = .08 + .92 * max(0, math.sin((hour - 6) / 14 * math.pi)) if 6 < hour < 20 else .08
            if office and (t - START) // DAY % 7 >= 5:
                shape *= .25
            if rng.random() < shape:
                yield t

    def contacts(self, n):
        return [self.net.provider(self.rng) for _ in range(n)]

    def recipients(self):
        n = 1
        while n < 12 and self.rng.random() < .25:
            n += 1
        return n

    # Legitimate senders

    def mail_server(self, who, per_hour, first, last, office=True, contacts=None, fails=.03):
        rng = self.rng
        for t in self.daily(per_hour, first, last, office):
            for _ in range(self.recipients() if contacts else 1):
                p = rng.choice(contacts) if contacts else self.net.provider(rng)
                self.deliver(who, t + rng.uniform(0, 2), self.net.host(rng, p), fails)

    def dead_hosts(self, who, first, last):
        """Some messages to hosts that died: five days of retries."""
        rng = self.rng
        for host in rng.sample(range(DEAD), rng.randint(1, 3)):
            for _ in range(rng.randint(2, 6)):
                t, wait = rng.uniform(first, last), 300
                for _ in range(30):
                    self.connect(who, t, self.net.dead(host), rng.choice(("silent", "refused")))
                    t += wait + rng.uniform(0, 60)
                    wait = min(wait * 2, 4000)

    def newsletter(self, who, t, count):
        rng = self.rng
        for _ in range(count):
            self.deliver(who, t + rng.uniform(0, 3000), self.net.host(rng, self.net.provider(rng)), .04)

    def forum(self, who, first, last, per_hour):
        rng = self.rng
        members = self.contacts(rng.randint(60, 200))
        for t in self.daily(per_hour, first, last, office=False):
            n = rng.randint(15, 40) if rng.random() < .08 else 1 + int(rng.expovariate(1 / 4))
            for p in rng.sample(members, min(n, len(members))):
                self.deliver(who, t + rng.uniform(0, 40), self.net.host(rng, p))

    def form(self, who, first, last):
        """A contact form: its owner's mailbox, at times a copy to who wrote."""
        rng, own = self.rng, self.net.provider(self.rng)
        for t in self.daily(rng.uniform(.1, 1.2), first, last, office=False):
            self.deliver(who, t, self.net.host(rng, own))
            if rng.random() < .3:
                self.deliver(who, t + 1, self.net.host(rng, self.net.provider(rng)))

    def smarthost(self, who, first, last):
        """A shop or a monitor that writes to its relay only, in small bursts."""
        rng = self.rng
        relay = self.net.mx[self.net.provider(rng)]
        for t in self.daily(rng.uniform(.5, 2), first, last, office=False):
            for _ in range(1 + int(rng.expovariate(1 / 2.5))):
                self.connect(who, t + rng.uniform(0, 30), rng.choice(relay), "ok", 587)

    # Bots

    def bot(self, who, times, success):
        """Old lists: what fails is mostly dead hosts, and some that block the sender."""
        rng, s = self.rng, self.rng.choice((.8, 1.1))
        for t in times:
            if rng.random() < success:
                self.connect(who, t, self.net.host(rng, self.net.provider(rng, s)), "ok")
            elif rng.random() < .7:
                self.connect(who, t, self.net.dead(rng.randrange(DEAD)),
                             rng.choice(("silent", "silent", "refused")))
            else:
                self.connect(who, t, self.net.host(rng, self.net.provider(rng, s)),
                             rng.choice(("silent", "refused")))

    def steady(self, first, last, per_second, most=3000):
        """Half of the bots keep time like a clock, half are random."""
        rng, t, n, clock = self.rng, first, 0, self.rng.random() < .5
        while t < last and n < most:
            yield t
            t += rng.gauss(1, .03) / per_second if clock else rng.expovariate(per_second)
            n += 1

    def success(self):
        return self.rng.uniform(.40, .95)

    def when(self, latest=16):
        return JUDGED + self.rng.uniform(0, latest * 3600)


def build(seed):
    t = Trace(seed)
    rng, end = t.rng, START + DAYS * DAY

    for _ in range(3):
        t.mail_server(t.source("mail server", declared=True), rng.uniform(60, 200), START, end)
    who = t.source("newsletter", declared=True)
    t.mail_server(who, 20, START, end)
    for week in range(2):  # day 2 and day 9, the judged one
        t.newsletter(who, START + (2 + 7 * week) * DAY + rng.uniform(8, 16) * 3600,
                     rng.randint(1000, 3000))
    who = t.source("dead hosts", declared=True)
    t.mail_server(who, 40, START, end)
    t.dead_hosts(who, JUDGED, JUDGED + DAY / 2)
    for _ in range(3):
        who = t.source("dead hosts")
        t.mail_server(who, rng.uniform(4, 10), START, end, contacts=t.contacts(40))
        t.dead_hosts(who, JUDGED, JUDGED + DAY / 2)
    for _ in range(4):
        t.mail_server(t.source("office"), rng.uniform(4, 14), START, end,
                      contacts=t.contacts(rng.randint(30, 100)))
    for _ in range(4):
        t.forum(t.source("forum"), START, end, rng.uniform(.5, 2))
    for _ in range(3):
        t.forum(t.user("forum"), START, end, rng.uniform(.3, 1))
    for _ in range(8):
        t.form(t.user("form"), START, end)
    for _ in range(4):
        t.smarthost(t.source("smarthost"), START, end)
    for _ in range(4):
        who, at = t.source("migrating"), t.when(12)
        t.mail_server(who, rng.uniform(4, 14), at, end, contacts=t.contacts(60))
        # It brings its old queue along: seldom much.
        for _ in range(rng.randint(9, 25) if rng.random() < .15 else rng.randint(0, 8)):
            t.deliver(who, at + rng.uniform(0, 300), t.net.host(rng, t.net.provider(rng)), .3)
    for _ in range(2):  # new contact forms are no bots
        t.form(t.user("new form"), t.when(), end)

    def bots(kind, n, make):
        for i in range(n):
            at = t.when()
            who = (t.user if i % 2 else t.source)(kind, bad=True, since=at)
            t.bot(who, make(at), t.success())

    bots("bot fast", 4, lambda at: t.steady(at, at + rng.uniform(300, 1200), rng.uniform(2, 20)))
    bots("bot medium", 4,
         lambda at: t.steady(at, at + rng.uniform(1, 3) * 3600, rng.uniform(5, 30) / 60))
    bots("bot slow", 6,
         lambda at: t.steady(at, at + rng.uniform(3, 6) * 3600, rng.uniform(1.05, 3) / 60))
    bots("bot bursty", 4, lambda at: [
        begin + rng.uniform(0, 60) for begin in (at + k * 3600 + rng.uniform(0, 1800) * bool(k)
                                                 for k in range(5))
        for _ in range(rng.randint(20, 60))])
    bots("bot crawl", 4, lambda at: t.steady(at, at + 8 * 3600, rng.uniform(6, 40) / 3600))
    at = t.when(10)  # one bot on the accounts of a server, each of them slow
    for _ in range(rng.randint(30, 60)):
        begin = at + rng.uniform(0, 7200)
        t.bot(t.user("bot many-user", bad=True, since=begin),
              t.steady(begin, begin + 5 * 3600, rng.uniform(3, 10) / 3600), t.success())
    for i in range(4):  # ten a day for days, and then a thousand
        begin = t.when(8)
        if i % 2:
            who = t.user("hijacked", bad=True, since=begin)
            t.form(who, START, end)
        else:
            who = t.source("hijacked", bad=True, since=begin)
            t.mail_server(who, rng.uniform(1, 4), START, end, contacts=t.contacts(30))
        t.bot(who, t.steady(begin, end, 1000 / rng.uniform(10, 15) / 3600, 1000), t.success())

    t.events.sort(key=lambda e: e[0])
    return t


def write(trace, path):
    with open(path, "w") as out:
        out.write("time,source,destination,port,flags,uid,cgroup\n")
        for e in trace.events:
            out.write(f"{e[0]:.3f},{e[1]},{e[2]},{e[3]},{e[4]},{e[5]},{e[6]}\n")
    with open(path + ".labels", "w") as out:
        json.dump(trace.senders, out)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    write(build(int(sys.argv[1])), sys.argv[2])
