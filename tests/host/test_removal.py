# SPDX-License-Identifier: GPL-2.0-only
"""`make off`, `make uninstall` and the rest that the documents name: nothing stays but mail."""

import re

import fence
import scenery
from host import until
from scenery import Attacker

# What a host writes by itself; smtpfence's own names count there too.
ITS_OWN = "|".join((
    r"^/(proc|sys|dev|run|tmp|mnt|root|home|usr/src|lost\+found)(/|$)", "^/usr/local/s?bin/",
    "^/var/(log|spool|cache|tmp)/", "^/etc/(passwd|group|shadow|gshadow|sub[ug]id)-",
    "^/var/lib/(systemd|nginx|php|private|postfix|logrotate|apt|machines)(/|$)",
    r"^/etc/(resolv.conf|\.pwd.lock)"))


def snapshot(host):
    """{what: set of lines}: of files, accounts, units, pins, programs and filters."""
    return {what: set(host.must(command).splitlines()) for what, command in {
        "files": f"find / -xdev 2>/dev/null | grep -Ev '{ITS_OWN}'",
        "named files": "find / -xdev -not -path '/usr/src/*' -name '*smtpfence*' 2>/dev/null; true",
        "accounts": "cut -d: -f1 /etc/passwd /etc/group",
        "units": "systemctl list-unit-files --no-legend --plain | cut -d' ' -f1,2; "
                 "systemctl list-units --all --no-legend --plain '*smtpfence*'",
        "pins": "find /sys/fs/bpf",
        "programs": "bpftool prog show | sed -n 's/.* name \\(sf_[a-z0-9_]*\\|connect[46]\\|"
                    "on_cgroup[a-z_]*\\).*/\\1/p'",
        "maps": "bpftool map show | sed -n 's/.* name \\([a-z_0-9]*\\) .*/\\1/p' | "
                "grep -E 'role|sender|source|attempt|setting'; true",
        "filters": "tc filter show dev eth0 egress 2>/dev/null; "
                   "tc filter show dev eth0 ingress 2>/dev/null; true",
        "cgroups": "find /sys/fs/cgroup -name '*smtpfence*'",
    }.items()}


def test_off_and_uninstall(host):
    fence.ensure(host)
    with Attacker(host) as attacker:
        until(attacker.denied, "a denial")
        refused = host.run(f"make -s -C /usr/src/one PREFIX={fence.PREFIX} uninstall")
        assert refused.code and "make off" in refused.err, "uninstalled while the fence was on"
        fence.make(host, "one", "off")
        until(attacker.through, "a connection once the fence is off")
    fence.make(host, "one", "uninstall")
    host.must("rm -r /etc/smtpfence /var/lib/smtpfence")        # as smtpfence(8) says
    after = snapshot(host)
    for what, before in host.before.items():
        left, lost = after[what] - before, before - after[what]
        # This small disk lacks the directories of man pages, which are not ours to remove.
        left = {line for line in left if not line.startswith("attacker-")
                and not re.fullmatch("/usr/share/man(/man[58])?", line)}
        assert not left, f"{what} left behind: {sorted(left)[:10]}"
        assert not lost, f"{what} lost: {sorted(lost)[:10]}"
    scenery.send_mail(host, "without-a-fence")
    until(lambda: host.far.arrived("without-a-fence"), "mail")
