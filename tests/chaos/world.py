# SPDX-License-Identifier: GPL-2.0-only
"""All that is at work at once: host, router with customers, senders, mail, the far end; and the
diary of what chaos did to it.
"""

import collections
import contextlib
import time

import closed_files
import far
from host import Host, own_bpffs
from lab import until
from mail import MailAtWork
from router import Router
from senders import Senders

MAIL_HOSTS = ["10.9.4.2/32", "2001:db8:9:4::2/128"]


class World:
    def __init__(self, say=print):
        self.say = say
        self.done = collections.Counter()       # fault: how often
        self.skipped = {}                       # fault: why it can't be had here
        self.diary = []                         # (time, text)
        self.begun = time.time()
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        try:
            self._set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _set_up(self):
        self.host = self._stack.enter_context(Host())
        self.mail = MailAtWork(self.host)
        self._stack.callback(self.mail.close)
        own_bpffs()
        self.router = self._stack.enter_context(Router(self.host))
        h = self.host
        h.cgroup("system/post.service")
        h.conf.keys.update(
            uplinks=["up0"], customers=["cu-*"], mail_hosts=MAIL_HOSTS, gateway_others="deny",
            limit_source=[0, 0], limit_sender=[0, 0], alert_cooldown=60)
        h.conf.drop("mail")
        for path, users in ((h.mta.name, ["root", "mail"]),
                            (self.mail.cgroup.name, [str(u) for u in self.mail.uids]),
                            (h.root + "/system/post.service", ["root", "mail"])):
            h.conf.section("mail", path, users=users)
        h.on()
        h.daemon_sound()
        self.senders = Senders(h)
        self.senders.add_customer(self.router)
        self._stack.callback(self.senders.end)
        self.watch = far.Watch(h.ask_status)
        self._stack.callback(self.watch.stop)

    # ---- the diary ----

    def did(self, what, n=1):
        self.done[what] += n

    def note(self, text):
        self.diary.append((time.time() - self.begun, text))

    # ---- still for a moment ----

    @contextlib.contextmanager
    def quiet(self):
        """Nobody sends: all that was sent has arrived, and is counted."""
        self.mail.hold()
        self.mail.freeze(1)
        self.senders.pause()
        try:
            self.host._settle()
            yield
        finally:
            self.mail.freeze(0)
            self.senders.go_on()
            self.mail.go_on()

    def heal(self):
        """No fault is on, the files are good, the daemon lives, all is in effect."""
        h = self.host
        h.daemon_control.fail()
        h.command_control.fail()
        for control in (h.daemon_control, h.command_control):
            control.set_clock(0)
        if not h.log:
            h.syslog_on()
        closed_files.write_config(self)
        h.daemon_sound()
        done = h.command("apply")
        whole = until(h.whole, 30, 0.1)
        return "" if done.code == 0 and whole else \
            f"apply: exit {done.code} {done.err.strip()}; status: {h.ask_status()}"
