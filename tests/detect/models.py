# SPDX-License-Identifier: GPL-2.0-only
"""The rules of others, as small models: they get each event and say whether they alarm now."""
import math
from collections import defaultdict, deque


class Lfd:
    """CSF's LFD: a count an hour, wiped at the hour; more than 100 alarms."""
    name = "LFD, 100 an hour, wiped"

    def __init__(self):
        self.hour, self.count = None, {}

    def syn(self, who, t, _destination):
        hour = t // 3600
        if hour != self.hour:
            self.hour, self.count = hour, {}
        self.count[who] = self.count.get(who, 0) + 1
        return self.count[who] > 100

    def outcome(self, who, t, destination, good):
        return False


class Router:
    """connection-limit=30: more than 30 at once. The trace has no ends: a delivery takes 10 s,
    a half-open connection is dropped after 5 s, as the router's tracking does."""
    name = "router, 30 at once"

    def __init__(self):
        self.open = defaultdict(list)

    def syn(self, who, t, _destination):
        held = self.open[who]
        held[:] = [x for x in held if x > t]
        held.append(t + 10)
        return len(held) > 30

    def outcome(self, who, t, destination, good):
        if not good and self.open[who]:
            self.open[who].sort()
            self.open[who][-1] = t
        return False


class Zefilter:
    """15 in 10 minutes, 30 s buckets, sliding."""
    name = "ze-filter, 15 in 10 min"

    def __init__(self):
        self.buckets = defaultdict(deque)

    def syn(self, who, t, _destination):
        b, slot = self.buckets[who], int(t // 30)
        while b and b[0][0] <= slot - 20:
            b.popleft()
        if b and b[-1][0] == slot:
            b[-1][1] += 1
        else:
            b.append([slot, 1])
        return sum(n for _, n in b) > 15

    def outcome(self, who, t, destination, good):
        return False


class Walk:
    """Threshold random walk on first contacts (Jung et al. 2004: 0.8, 0.2, 0.01, 0.99)."""
    name = "plain random walk"

    def __init__(self):
        self.seen, self.walk = set(), defaultdict(float)
        self.upper, self.lower = math.log(.99 / .01), math.log(.01 / .99)

    def syn(self, who, t, _destination):
        return False

    def outcome(self, who, t, destination, good):
        if (who, destination) in self.seen:
            return False
        self.seen.add((who, destination))
        w = self.walk[who] + (math.log(.2 / .8) if good else math.log(.8 / .2))
        found = w >= self.upper
        self.walk[who] = 0 if found or w <= self.lower else w
        return found


MODELS = (Lfd, Router, Zefilter, Walk)
SILENCE = 21


def run(model, events, exempt, since, cooldown=3600):
    """Alarms as (sender, time, SYNs of that sender from `since` on)."""
    waiting, queue, alarms, last = defaultdict(deque), deque(), [], {}
    count = defaultdict(int)

    def alarm(who, t):
        if t >= since and t - last.get(who, -1e18) >= cooldown:
            alarms.append((who, t, count[who]))
            last[who] = t

    for t, source, destination, port, flags, uid, _ in events:
        who = uid or source
        if who in exempt:
            continue
        while queue and queue[0][0] <= t:
            at, key, entry = queue.popleft()
            if entry[0]:
                entry[0] = False
                waiting[key].popleft()
                if model.outcome(key[0], at, key[1], False):
                    alarm(key[0], at)
        if flags == "S":
            count[who] += 1
            entry, key = [True], (who, destination)
            waiting[key].append(entry)
            queue.append((t + SILENCE, key, entry))
            if model.syn(who, t, destination):
                alarm(who, t)
        elif flags in ("SA", "R"):
            key = (who, destination)
            if waiting[key]:
                waiting[key].popleft()[0] = False
                if model.outcome(who, t, destination, flags == "SA"):
                    alarm(who, t)
    return alarms
