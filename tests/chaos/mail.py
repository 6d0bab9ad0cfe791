# SPDX-License-Identifier: GPL-2.0-only
"""A real mail server under chaos: mail goes in all the time; each message must arrive, once."""

import collections
import smtplib
import threading
import time

import netns
from lab import WORLD4, WORLD6, until
from mta import UID, Postfix
from sink import Sink

DOMAINS = {"four.test": WORLD4, "six.test": WORLD6}
INFLIGHT = 5        # seconds around a restart in which SMTP itself may deliver twice


class MailAtWork:
    """Postfix in its cgroup with a mail role, a submitter on loopback, the sink in the world."""
    uids = [UID["postfix"]]

    def __init__(self, host):
        self.host = host
        self.cgroup = host.cgroup("mta-postfix")
        self.accepted = {}          # token: when the server took it
        self.restarts = []
        self._ending, self._hold = threading.Event(), threading.Event()
        self.sink = Sink(netns.path(host.world), list(DOMAINS.values()))
        self.arrived = collections.Counter()
        self.mta = Postfix(self.cgroup.path, netns.path(host.host), DOMAINS)
        self.mta.start()
        self._thread = threading.Thread(target=netns.inside, daemon=True,
                                        args=(netns.path(host.host), self._submit_all))
        self._thread.start()

    def _submit_all(self):
        n = 0
        while not self._ending.wait(0.25):
            if self._hold.is_set():
                continue
            n += 1
            for domain in DOMAINS:
                self._submit(f"chaos-{n}-{domain}-end", domain)

    def _submit(self, token, domain):
        try:
            with smtplib.SMTP("127.0.0.1", 25, "mta.test", 5) as server:
                server.sendmail("root@mta.test", [f"somebody@{domain}"],
                                f"Subject: {token}\r\n\r\n{token}\r\n")
                self.accepted[token] = time.time()
        except (OSError, smtplib.SMTPException):
            pass        # it restarts; what it did not take is the submitter's to keep

    def restart(self):
        """As a service: its cgroup goes and comes."""
        self.restarts.append(time.time())
        self.mta.stop()
        self.mta.start()
        self.restarts.append(time.time())

    def hold(self, bound=10):
        """Nothing more goes in; returns when all that did has arrived."""
        self._hold.set()
        if not until(lambda: not self.missing(), bound, 0.1):
            self.mta.flush()        # what failed in a restart waits for its time
            until(lambda: not self.missing(), bound, 0.1)

    def freeze(self, frozen):
        with open(f"{self.cgroup}/cgroup.freeze", "w") as f:
            f.write(str(frozen))
        until(lambda: f"frozen {frozen}" in open(f"{self.cgroup}/cgroup.events").read(), 10)

    def go_on(self):
        self._hold.clear()

    def _tally(self):
        """Take the sink's messages into counts; their texts are not kept."""
        with self.sink._changed:
            texts = [m["text"] for m in self.sink.messages]
            self.sink.messages.clear()
        for text in texts:
            for line in text.splitlines():
                if line.startswith("chaos-"):
                    self.arrived[line.strip()] += 1

    def missing(self):
        self._tally()
        return [t for t in list(self.accepted) if not self.arrived[t]]

    def settle(self, bound=60):
        """No more goes in; wait until all of it has arrived. What did not, or came too often."""
        self._ending.set()
        self._thread.join(20)
        self.mta.flush()
        until(lambda: not self.missing(), bound, 0.2)
        doubled = [t for t, n in self.arrived.items() if n > 1]
        wrong = [t for t in doubled if not any(
            abs(self.accepted.get(t, 0) - r) < INFLIGHT for r in self.restarts)]
        return self.missing(), doubled, wrong

    def denied(self):
        return self.mta.log().count("Operation not permitted")

    def close(self):
        self._ending.set()
        self._thread.join(20)
        self.mta.close()
        self.sink.__exit__()
