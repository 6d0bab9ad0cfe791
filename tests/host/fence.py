# SPDX-License-Identifier: GPL-2.0-only
"""smtpfence on the host: installed as its Makefile does it, and what its commands say."""

import json


PREFIX = "/usr"
FENCE = f"{PREFIX}/sbin/smtpfence"
UNITS = ("smtpfence.service", "smtpfenced.service")
CONF = "/etc/smtpfence/smtpfence.conf"
STATE = "/var/lib/smtpfence"
CONFIGURATION = 'alert_cooldown = "5"\naction_journald = "notice"\nlimit_user "bin" { warn = 77 }\n'


def make(host, tree, *targets):
    """With the Makefile of /usr/src/TREE, in the guest."""
    return host.must("make", "-s", "-C", f"/usr/src/{tree}", f"PREFIX={PREFIX}", *targets)


def install(host, tree="one"):
    return make(host, tree, "install")


def switch_on(host, tree="one"):
    """What `make on` does after the installation."""
    return host.must(f"cd /usr/src/{tree} && sh packaging/on.sh {PREFIX}/sbin '' 2>&1")


def ensure(host):
    """For a test that needs the fence and may run alone."""
    if host.run(FENCE, "status").code == 0:
        return
    if host.run("test", "-x", FENCE).code:
        install(host)
    host.write(CONF, CONFIGURATION)
    switch_on(host)


def run(host, *args, **kwargs):
    return host.must(FENCE, *args, **kwargs)


def status(host):
    return host.json(FENCE, "--json", "status", codes=(0, 3, 4))


def programs(host):
    """The kernel's numbers of our programs: {hook: id}."""
    return {a["hook"]: a["program_id"] for a in status(host)["attached"]}


def denied_by_reason(host):
    return status(host)["counters"]["by_reason"]


def events(host, **wanted):
    """Those of all events kept whose members are as wanted, oldest first."""
    lines = host.must(FENCE, "--json", "events").splitlines()
    found = [json.loads(line) for line in lines]
    return [e for e in found if all(e.get(k) == v for k, v in wanted.items())]


def alerts(host, rule, text):
    """The lines about it: (in the journal, in rsyslogd's file)."""
    journal = host.must("journalctl -b -o cat -t smtpfenced").splitlines()
    syslog = host.must("cat /var/log/mail.log").splitlines()
    return tuple([line for line in lines if "ALERT " in line and f"rule={rule} " in line
                  and text in line] for lines in (journal, syslog))


def show_trouble(host):
    """For the report of a failure."""
    units = " ".join(f"-u {u}" for u in UNITS)
    text = host.run(f"{FENCE} status; journalctl -b --no-pager -n 8 {units}; "
                    "systemctl --failed --no-legend").out
    print("\n".join(f"# {line[:300]}" for line in text.splitlines()), flush=True)


def main_pid(host):
    return int(host.show("smtpfenced", "MainPID")[0])


