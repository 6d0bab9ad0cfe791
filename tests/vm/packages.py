# SPDX-License-Identifier: GPL-2.0-only
"""Kernels, and what boots them, as Debian packages: fetched by apt, unpacked into a cache.

Nothing is installed, and the system's apt state stays untouched: each suite has lists of its own
in the cache. The mirror is the one that the machine's own apt sources name.
"""

import glob
import lzma
import os
import shutil
import subprocess

CACHE = os.path.join(os.environ.get("SMTPFENCE_CACHE", "/var/cache/smtpfence-tests"), "vm")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# 5.10.223 is the floor as it was made: later 5.10s have taken a socket's cgroup out of the union
# that it shared with net_cls and net_prio.
SUITES = {"5.10.223": "bullseye", "5.10": "bullseye-security", "6.1": "bookworm-security",
          "6.12": "trixie-security", "6.18": "trixie-backports"}
TOOLS = ("qemu-system-x86", "busybox-static")
META = "linux-image-cloud-amd64"


class Unavailable(Exception):
    """No mirror, no such suite, no such package: said, never hidden."""


def _run(*argv, **kwargs):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, **kwargs)
    if done.returncode:
        raise Unavailable(f"{' '.join(argv[:2])}: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout


def _mirror(security):
    """The machine's own mirror, of the archive or of its security updates."""
    for line in _run("apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)").splitlines():
        release, uri = line.split()
        if "debian" in uri and release.endswith("-security") == security:
            return uri
    raise Unavailable("the machine's apt sources name no Debian mirror")


def _unpack(debs, into):
    """Whole or not at all: into a directory of another name first."""
    shutil.rmtree(into + ".new", ignore_errors=True)
    for deb in debs:
        _run("dpkg-deb", "-x", deb, into + ".new")
    shutil.rmtree(into, ignore_errors=True)
    os.rename(into + ".new", into)


def _fetch_tools(into):
    debs = f"{CACHE}/tools.debs"
    os.makedirs(debs + "/partial", exist_ok=True)
    _run("apt-get", "install", "--yes", "--download-only", "--no-install-recommends", "--reinstall",
         "-o", f"Dir::Cache::archives={debs}", *TOOLS)
    _unpack(glob.glob(debs + "/*.deb"), into)
    shutil.rmtree(debs)


def tools():
    """The directory with QEMU, virtiofsd and busybox, laid out as in a root."""
    into = f"{CACHE}/tools"
    if not os.path.isdir(into):
        _fetch_tools(into)
    return into


def _apt_options(suite):
    """An apt of its own for one suite. Its lists are made once, and again when they are removed."""
    home = f"{CACHE}/apt/{suite}"
    options = []
    for key, value in (("Dir::Etc::sourcelist", f"{home}/sources.list"),
                       ("Dir::Etc::sourceparts", "-"), ("Dir::State", home),
                       ("Dir::State::lists", f"{home}/lists"),
                       ("Dir::State::status", f"{home}/status"),
                       ("Dir::Cache", f"{home}/cache"),
                       ("APT::Sandbox::User", "root")):
        options += ["-o", f"{key}={value}"]
    if not os.path.exists(f"{home}/ready"):
        for part in ("lists/partial", "cache/archives/partial"):
            os.makedirs(f"{home}/{part}", exist_ok=True)
        open(f"{home}/status", "w").close()
        with open(f"{home}/sources.list", "w") as f:
            f.write(f"deb [signed-by={KEYRING}] {_mirror(suite.endswith('-security'))} "
                    f"{suite} main\n")
        _run("apt-get", *options, "update")
        open(f"{home}/ready", "w").close()
    return options


def _kernel_packages(options):
    """The packages behind the suite's newest cloud kernel: one, or (from 7.2) several."""
    found, queue = set(), [META]
    while queue:
        for line in _run("apt-cache", *options, "depends", queue.pop()).splitlines():
            kind, _, name = line.strip().partition(": ")
            if kind in ("Depends", "PreDepends") and name.startswith("linux-") \
                    and "cloud" in name and name not in found:
                found.add(name)
                queue.append(name)
    if not found:
        raise Unavailable(f"the suite has no {META}")
    return sorted(found)


def _uncompress_modules(root):
    for path in glob.glob(f"{root}/**/*.ko.xz", recursive=True):
        with lzma.open(path) as packed, open(path[:-3], "wb") as plain:
            shutil.copyfileobj(packed, plain)
        os.unlink(path)


def _fetch_kernel(suite, into):
    options = _apt_options(suite)
    debs = f"{into}.debs"
    shutil.rmtree(debs, ignore_errors=True)
    os.makedirs(debs)
    _run("apt-get", *options, "download", *_kernel_packages(options), cwd=debs)
    _unpack(glob.glob(debs + "/*.deb"), into)
    shutil.rmtree(debs)
    _uncompress_modules(into)


def kernel(version):
    """(image, release, directory with lib/modules/RELEASE) of the suite's kernel."""
    if version not in SUITES:
        raise Unavailable(f"no suite is known for a kernel {version}: {', '.join(SUITES)}")
    into = f"{CACHE}/linux-{version}"
    if not os.path.isdir(into):
        _fetch_kernel(SUITES[version], into)
    image = glob.glob(f"{into}/boot/vmlinuz-*")[0]
    release = os.path.basename(image).removeprefix("vmlinuz-")
    base = into if os.path.isdir(f"{into}/lib/modules") else f"{into}/usr"
    if not os.path.exists(f"{base}/lib/modules/{release}/modules.dep"):
        _run(f"{tools()}/bin/busybox", "depmod", "-b", base, release)
    return image, release, base
