# SPDX-License-Identifier: GPL-2.0-only
"""The disk of the whole host: a Debian system made by debootstrap, once, into the cache.

Its packages come from the mirror that the machine's own apt sources name. Nothing of it is
smtpfence's, and nothing is configured for a test: that is scenery.py, in the guest.
"""

import glob
import hashlib
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(os.path.dirname(HERE), "vm"))
import packages         # noqa: E402

SUITE = "bookworm"
CACHE = os.path.join(os.path.dirname(packages.CACHE), "host")
PACKAGES = """
    systemd systemd-sysv udev kmod dbus dbus-user-session libpam-systemd systemd-container
    iproute2 procps cron rsyslog postfix nginx-light php-fpm php-cli python3 make
    bpftool libbpf1 libelf1 zlib1g libconfuse2 libsmartcols1 libsystemd0 libjson-c5 libsqlite3-0
    libpcap0.8
    """.split()
SIZE = "3G"             # sparse
NEEDED = ("debootstrap", "mke2fs", "systemctl")

# What `exec chroot` runs in the new system. Services must not start in a chroot.
INSTALL = """
set -e
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
echo 'postfix postfix/main_mailer_type select Local only' | debconf-set-selections
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$@"
apt-get clean
rm -rf /var/lib/apt/lists/* /usr/share/doc /usr/share/locale /usr/share/man
rm -f /etc/resolv.conf /usr/sbin/policy-rc.d /etc/machine-id
touch /etc/machine-id
"""

AGENT_UNIT = """[Unit]
Description=the tests' hands in the guest (tests/host/agent.py)

[Service]
ExecStartPre=/bin/mount -o ro /dev/vdb /mnt
ExecStart=/usr/bin/python3 -B /mnt/agent.py
StandardError=journal+console
OOMScoreAdjust=-900
TimeoutStopSec=2

[Install]
WantedBy=multi-user.target
"""
# Nobody's work here, and each takes seconds of a slow boot.
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer",
          "e2scrub_all.timer", "e2scrub_reap.service", "getty@tty1.service",
          "serial-getty@ttyS0.service", "systemd-timesyncd.service")
LATER = ("postfix.service", "nginx.service", "php8.2-fpm.service")     # scenery.py starts them


def _run(argv, seconds=1200, **kwargs):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, timeout=seconds, **kwargs)
    if done.returncode:
        raise packages.Unavailable(f"{argv[0]} {argv[-1][:60]}: {done.stdout.strip()[-600:]}")


def _write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)


def _apt_sources(root):
    """As on this machine: archive and security updates, and how they are fetched."""
    lines = ""
    for suite in (SUITE, f"{SUITE}-security"):
        uri = packages._mirror(suite.endswith("-security"))
        lines += f"deb [signed-by={packages.KEYRING}] {uri} {suite} main\n"
    _write(f"{root}/etc/apt/sources.list", lines)
    for path in glob.glob("/etc/apt/apt.conf.d/*proxy*"):
        shutil.copy(path, f"{root}/etc/apt/apt.conf.d/")
    shutil.copy("/etc/resolv.conf", f"{root}/etc/resolv.conf")


def _make_root(root):
    """The mounts that debootstrap and the packages need are in a namespace of their own."""
    apart = ["nice", "-n", "15", "unshare", "--mount", "--propagation", "private"]
    _run([*apart, "debootstrap", "--variant=minbase", f"--keyring={packages.KEYRING}",
          SUITE, root, packages._mirror(False)])
    _apt_sources(root)
    _write(f"{root}/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
    _run([*apart, "sh", "-c", 'mount -t proc proc "$0/proc" && root=$0 && script=$1 && shift && '
          'exec chroot "$root" sh -c "$script" sh "$@"', root, INSTALL, *PACKAGES])


def _root():
    """The system as its packages made it. Made once; and again when what it is made of changes."""
    recipe = hashlib.sha256((SUITE + INSTALL + " ".join(PACKAGES)).encode()).hexdigest()[:12]
    root = f"{CACHE}/{SUITE}-{recipe}"
    if not os.path.isdir(root):
        for old in glob.glob(f"{CACHE}/*"):
            shutil.rmtree(old) if os.path.isdir(old) else os.unlink(old)
        os.makedirs(f"{root}.new")
        _make_root(f"{root}.new")
        os.rename(f"{root}.new", root)
    return root


def _finish(root, release, base):
    """What the tests need of every guest: a kernel's modules, and the agent."""
    shutil.rmtree(f"{root}/usr/lib/modules", ignore_errors=True)
    shutil.copytree(f"{base}/lib/modules/{release}", f"{root}/usr/lib/modules/{release}",
                    symlinks=True, ignore=shutil.ignore_patterns("build", "source"))
    _run(["chroot", root, "depmod", release])       # kmod's own index; busybox' is a text
    _write(f"{root}/etc/hostname", "host\n")
    _write(f"{root}/etc/systemd/system/test-agent.service", AGENT_UNIT)
    _run(["systemctl", f"--root={root}", "-q", "enable", "test-agent.service"])
    _run(["systemctl", f"--root={root}", "-q", "mask", *MASKED])
    _run(["systemctl", f"--root={root}", "-q", "disable", *LATER])


def disk(version):
    """(disk image, kernel image, release, directory with lib/modules/RELEASE).

    The disk is to be left as it is: machines write into an overlay of their own.
    """
    missing = [tool for tool in NEEDED if not shutil.which(tool)]
    if missing:
        raise packages.Unavailable(f"not installed here: {' '.join(missing)}")
    kernel, release, base = packages.kernel(version)
    with packages.locked("host"):
        root = _root()
        recipe = hashlib.sha256((AGENT_UNIT + " ".join(MASKED + LATER)).encode()).hexdigest()[:8]
        image = f"{root}-{release}-{recipe}.ext4"
        if not os.path.exists(image):
            _finish(root, release, base)
            for old in glob.glob(f"{root}-{release}-*.ext4"):
                os.unlink(old)      # a machine that runs from it keeps it
            _run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", root, f"{image}.new", SIZE])
            os.rename(f"{image}.new", image)
    return image, kernel, release, base
