# SPDX-License-Identifier: GPL-2.0-only
"""What hijacked web sites use: PHP, swaks, curl, Python and nc, from a web cgroup, as a customer.

Each is told the errno by its own connect(), and no SYN of it arrives, while Postfix goes on
delivering. The same commands are run without the fence first: there each must reach the far end, or
its failure later would show nothing.
"""
import os
import shutil
import threading

from lab import Skip
from mta import UID, Postfix
from test_mail import FORBIDDEN, arrives, denials, mail_host

GREETING = "220 world.test"
FSOCKOPEN = ('$s = @fsockopen($argv[1], 25, $errno, $error, 5);'
             'echo $s ? fgets($s) : "errno=$errno $error\n"; exit($s ? 0 : 1);')
STREAM = ('$s = @stream_socket_client("tcp://$argv[1]:25", $errno, $error, 5);'
          'echo $s ? fgets($s) : "errno=$errno $error\n"; exit($s ? 0 : 1);')
SMTPLIB = ("import smtplib, sys\n"
           "try:\n"
           "    print(smtplib.SMTP(timeout=5).connect(sys.argv[1], 25))\n"
           "    print('220 world.test')\n"
           "except OSError as error:\n"
           "    sys.exit(f'errno={error.errno} {error.strerror}')\n")


def commands(address):
    """{name: (argv, stdin)}: each prints the greeting of the server that it reaches."""
    literal = f"[{address}]" if ":" in address else address
    message = "Subject: spam\r\n\r\nspam\r\n"
    found = {
        "php fsockopen": (["php", "-r", FSOCKOPEN, "--", literal], None),
        "php stream_socket_client": (["php", "-r", STREAM, "--", literal], None),
        "curl": (["curl", "--silent", "--show-error", "--verbose", "--max-time", "5",
                  "--mail-from", "a@spam.test", "--mail-rcpt", "b@spam.test",
                  "--upload-file", "-", f"smtp://{literal}:25/spam.test"], message),
        "python smtplib": (["/usr/bin/python3", "-c", SMTPLIB, address], None),
        "nc": (["nc", "-v", "-N", "-w", "5", address, "25"], "QUIT\r\n"),
    }
    # swaks speaks IPv6 only with a Perl module that it merely suggests.
    if ":" not in address:
        found["swaks"] = (["swaks", "--server", address, "--port", "25", "--timeout", "5",
                           "--helo", "spam.test", "--from", "a@spam.test",
                           "--to", "b@spam.test"], None)
    return found


def runs(lab):
    """(what, exit status, everything it said) of each command against each address."""
    missing = [tool for tool in ("php", "curl", "nc", "swaks") if not shutil.which(tool)]
    if missing:
        raise Skip(f"not installed: {' '.join(missing)}")
    for address in FORBIDDEN:
        for name, (argv, text) in commands(address).items():
            done = lab.run(argv, cgroup=lab.web, uid=UID["web1"], gid=UID["web1"], cwd="/",
                           input=text)
            yield f"{name} to {address}", done.code, done.out + done.err


class Traffic:
    """Mail handed to Postfix again and again, for as long as the with block lasts."""

    def __init__(self, mta, cgroup):
        self.tokens = []
        self._mta, self._cgroup, self._stop, self._error = mta, cgroup, threading.Event(), None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            while not self._stop.is_set():
                domain = ("four.test", "six.test")[len(self.tokens) % 2]
                token = f"traffic-{len(self.tokens)}-"
                self._mta.sendmail(f"somebody@{domain}", token, self._cgroup)
                self.tokens.append(token)
        except Exception as error:
            self._error = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        if self._error:
            raise self._error


def all_denied(lab, text, number):
    """Each command fails with this errno and its text, is counted, and nothing of it arrives."""
    lab.clear()
    before, attempts = denials(lab), 0
    for what, code, said in runs(lab):
        attempts += 1
        assert code != 0, f"{what} got through: {said}"
        assert text in said, f"{what} was not told '{text}': {said}"
        if "errno=" in said:
            assert f"errno={number} " in said, f"{what}: {said}"
        assert GREETING not in said, f"{what}: {said}"
    for address in FORBIDDEN:
        assert not lab.syns(dst=address), f"a SYN arrived at {address}: {lab.syns(dst=address)[0]}"
    counted = denials(lab) - before
    assert counted >= attempts, f"{attempts} commands were denied, {counted} connections counted"


def denied_while_postfix_delivers(errno, number):
    with mail_host(Postfix, keys={"errno": errno}) as (lab, sink, mta):
        with Traffic(mta, lab.web) as traffic:
            all_denied(lab, os.strerror(number), number)
        assert len(traffic.tokens) > 5, f"only {len(traffic.tokens)} messages in all that time"
        for token in traffic.tokens:
            arrives(sink, mta, token)


def test_clients_reach_the_far_end_without_the_fence():
    with mail_host(Postfix) as (lab, _, _mta):
        done = lab.fence("off")
        assert done.code == 0, f"off: {done}"
        for what, code, said in runs(lab):
            assert code == 0 and GREETING in said, f"{what}: exit status {code}: {said}"
        for address in FORBIDDEN:
            assert len(lab.syns(dst=address)) >= len(commands(address))


def test_clients_get_eperm_while_postfix_delivers():
    denied_while_postfix_delivers("EPERM", 1)


def test_clients_get_econnrefused_while_postfix_delivers():
    denied_while_postfix_delivers("ECONNREFUSED", 111)
