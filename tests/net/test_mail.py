# SPDX-License-Identifier: GPL-2.0-only
"""Real mail through the fence: Postfix, Exim and OpenSMTPD deliver to another network namespace.

Each server runs in a cgroup with the role mail, made after the fence was turned on, with a user
list that holds only the server's own account. What is asserted is the message at the far end, and
that the fence denied nothing but what it should have.
"""
import contextlib
import textwrap

import netns
from cgroups import Cgroup
from lab import HOST4, HOST6, WORLD4, WORLD6, Lab, Skip
from mta import LOCAL_DOMAIN, UID, Exim, OpenSmtpd, Postfix, Unavailable, wait_for
from netns import EXTRA4, EXTRA6
from sink import Sink

ROUTES = {"four.test": WORLD4, "six.test": WORLD6}
# Where the senders go that are to be denied: addresses that no mail server has a reason to call, so
# that a SYN which arrives there is one of theirs. Somebody listens: what gets through is answered.
FORBIDDEN = (EXTRA4[0], EXTRA6[0])

PHP_MAIL = 'exit(mail($argv[1], "by mail()", $argv[2]) ? 0 : 1);'
SUBMIT = textwrap.dedent("""
    import smtplib, sys
    host, recipient, token = sys.argv[1:]
    with smtplib.SMTP(host, 25, timeout=10) as server:
        server.sendmail("web1@mta.test", [recipient], f"Subject: by SMTP\\r\\n\\r\\n{token}\\r\\n")
""")


@contextlib.contextmanager
def mail_host(server, keys=None, **options):
    """A lab whose fence is on and whose mail server then starts: yields lab, sink, mta."""
    try:
        server.fetch()
    except Unavailable as reason:
        raise Skip(str(reason)) from None
    with Lab(world_ports=(80,)) as lab, \
            Sink(netns.path(lab.world), [WORLD4, WORLD6, *FORBIDDEN]) as sink:
        cgroup = Cgroup(f"{lab.root}/mta-{server.name}")
        lab.conf.keys.update(keys or {})
        lab.conf.drop("mail").section("mail", cgroup.name,
                                      users=[str(UID[user]) for user in server.users])
        lab.on()
        with server(cgroup, netns.path(lab.host), ROUTES, **options) as mta:
            yield lab, sink, mta


def submit(lab, host, recipient, token, cgroup=None):
    """A web site's program talks SMTP to a server on this host."""
    done = lab.run(["/usr/bin/python3", "-c", SUBMIT, host, recipient, token],
                   cgroup=cgroup or lab.web, uid=UID["web1"], gid=UID["web1"])
    assert done.code == 0, f"submission to {host}: {done.err}"


def denials(lab):
    return lab.status()["counters"]["denied"]


def site_is_denied(lab):
    """As checks.denied(), but while mail goes out: only what arrives where no mail goes counts."""
    for address in FORBIDDEN:
        answer = lab.connect(lab.web, dst=address, uid=UID["web1"], gid=UID["web1"])
        assert answer["errno"] == "EPERM", f"a web site connecting to {address}: {answer}"
        assert not lab.syns(dst=address), f"EPERM, but a SYN arrived at {address}"


def arrives(sink, mta, token, peer=None):
    message = sink.wait(token)
    assert message, f"{token} did not arrive; the log of {mta.name}:\n{mta.log()[-2000:]}"
    assert peer in (None, message["peer"]), f"{token} came from {message['peer']}, not from {peer}"


def delivers(lab, sink, mta, flush=False):
    """By sendmail, by PHP's mail(), by SMTP on loopback and on the host's own addresses; over IPv4
    and IPv6. The site that hands the mail in cannot do what the server does for it."""
    site_is_denied(lab)
    before = denials(lab)
    expected = {}
    for domain, peer in (("four.test", HOST4), ("six.test", HOST6)):
        recipient = f"somebody@{domain}"
        tokens = {way: f"{mta.name}-{way}-{domain}"
                  for way in ("sendmail", "php", "127.0.0.1", "::1", HOST4, HOST6)}
        expected.update((token, peer) for token in tokens.values())
        mta.sendmail(recipient, tokens.pop("sendmail"), lab.web)
        mta.run(["/usr/bin/php", "-r", PHP_MAIL, "--", recipient, tokens.pop("php")],
                lab.web, "web1")
        for host, token in tokens.items():
            submit(lab, host, recipient, token)
    if flush:
        mta.flush()
    for token, peer in expected.items():
        arrives(sink, mta, token, peer)
    after = denials(lab)
    assert after == before, f"{after - before} connections were denied while mail went out"
    site_is_denied(lab)


def test_postfix_delivers():
    with mail_host(Postfix) as (lab, sink, mta):
        delivers(lab, sink, mta)


def test_exim_delivers():
    # What sendmail takes waits for the daemon here; the other way is the next test.
    with mail_host(Exim, queue_only=True) as (lab, sink, mta):
        delivers(lab, sink, mta, flush=True)


def test_opensmtpd_delivers():
    with mail_host(OpenSmtpd) as (lab, sink, mta):
        delivers(lab, sink, mta)


def test_exim_sending_from_the_callers_cgroup():
    """Exim's sendmail delivers at once, as Debian-exim but in the cgroup of the web site. That is
    denied, and waits until the queue runs in the mail cgroup; or Debian-exim is an allowed user."""
    with mail_host(Exim) as (lab, sink, mta):
        recipient = "somebody@four.test"
        submit(lab, "127.0.0.1", recipient, "exim-by-the-daemon")
        arrives(sink, mta, "exim-by-the-daemon")

        before = denials(lab)
        lab.clear()
        mta.sendmail(recipient, "exim-deferred", lab.web)
        wait_for(lambda: "defer (1): Operation not permitted" in mta.log(),
                 "Exim to note that its connection was denied")
        counted = denials(lab) - before
        assert counted == 1, f"Exim's one connection was counted as {counted} denials"
        assert not lab.syns(dport=25), "denied, but a SYN arrived"
        assert not sink.find("exim-deferred")
        mta.flush()
        arrives(sink, mta, "exim-deferred")

        lab.conf.section("allow_user", str(UID["Debian-exim"]))
        lab.conf.write()
        done = lab.fence("apply")
        assert done.code == 0, f"apply: {done}"
        mta.sendmail(recipient, "exim-at-once", lab.web)
        arrives(sink, mta, "exim-at-once")
        site_is_denied(lab)


def test_postfix_restarted():
    """Stopped and started three times, its cgroup removed and made again: no mail is denied."""
    with mail_host(Postfix) as (lab, sink, mta):
        before = denials(lab)
        for turn in range(3):
            mta.stop()
            # Handed in while nobody is there to send it: the start finds a queue with work in it.
            mta.sendmail("somebody@four.test", f"restart-{turn}-waiting", lab.web)
            mta.start()
            mta.sendmail("somebody@six.test", f"restart-{turn}-running", lab.web)
            arrives(sink, mta, f"restart-{turn}-waiting", HOST4)
            arrives(sink, mta, f"restart-{turn}-running", HOST6)
        assert denials(lab) == before, "mail was denied after a restart"
        assert "Operation not permitted" not in mta.log()
        site_is_denied(lab)


# A customer's autoresponder: it tries the world itself, then does what it may and asks the local
# server.
AUTORESPONDER = textwrap.dedent("""\
    import errno, os, socket, subprocess, sys
    sys.stdin.buffer.read()
    def attempt(host, port):
        try:
            socket.create_connection((host, port), 5).close()
            return "connected"
        except OSError as error:
            return errno.errorcode.get(error.errno, str(error))
    here = open("/proc/self/cgroup").read().rpartition("0::")[2].strip()
    answers = [here] + [attempt(host, 25) for host in {forbidden}] + [attempt("{world}", 80)]
    subprocess.run(["/usr/sbin/sendmail", "-i", "somebody@four.test"],
                   check=True, input=b"forward-answers\\n")
    with open("/home/web1/result.new", "w") as result:
        result.write(" ".join(answers))
    os.rename("/home/web1/result.new", "/home/web1/result")
""")


def test_customers_program_inside_the_mail_cgroup():
    """A .forward program runs in Postfix's own cgroup with the customer's uid, which is not on the
    user list."""
    with mail_host(Postfix) as (lab, sink, mta):
        uid = UID["web1"]
        mta.root.write("home/web1/respond.py",
                       AUTORESPONDER.format(forbidden=FORBIDDEN, world=WORLD4), uid=uid)
        mta.root.write("home/web1/.forward", '"|/usr/bin/python3 /home/web1/respond.py"\n', uid=uid)
        lab.clear()
        submit(lab, "127.0.0.1", f"web1@{LOCAL_DOMAIN}", "to-the-customer")
        result = mta.root.path("home/web1/result")
        wait_for(result.exists, lambda: f"the .forward program; the log:\n{mta.log()[-2000:]}")
        cgroup, *answers = result.read_text().split()
        assert cgroup == f"{lab.root}/mta-postfix", f"this shows nothing: it ran in {cgroup}"
        assert answers == ["EPERM", "EPERM", "connected"], f"25, 25 by IPv6, 80: {answers}"
        for address in FORBIDDEN:
            assert not lab.syns(dst=address), f"a SYN of the program arrived at {address}"
        # and the mail server itself, from the same cgroup, delivers what the program handed in
        arrives(sink, mta, "forward-answers")
