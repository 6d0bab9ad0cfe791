# SPDX-License-Identifier: GPL-2.0-only
"""Kernels, and what boots them, as Debian packages: fetched by apt, unpacked into a cache.

Nothing is installed, and the system's apt state stays untouched: each suite has lists of its own
in the cache, asked for again once a day. The mirror is the one that the machine's own apt sources
name; apt checks signatures. What can't be fetched again is used as it was fetched last.
"""

import collections
import contextlib
import fcntl
import glob
import lzma
import os
import re
import shutil
import subprocess
import time

CACHE = os.path.join(os.environ.get("SMTPFENCE_CACHE", "/var/cache/smtpfence-tests"), "vm")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DAY = 24 * 3600
TOOLS = {"amd64": ("qemu-system-x86", "busybox-static"),
         "arm64": ("qemu-system-arm", "busybox-static", "gcc-aarch64-linux-gnu")}

# Where a kernel is: the first image of the suites' newest that the pattern matches; without a
# pattern, what the suite's own choice, the meta package, leads to.
Source = collections.namedtuple("Source", "arch suites pattern", defaults=[None])
KERNELS = {
    "5.10": Source("amd64", ["bullseye-security"]),
    "6.1": Source("amd64", ["bookworm-security"]),
    "6.12": Source("amd64", ["trixie-security"]),
    "6.18": Source("amd64", ["trixie-backports"], r"linux-image-6[.]18[.][a-z0-9.+~]+-cloud-amd64"),
    "newest": Source("amd64", ["unstable", "testing", "trixie-backports"]),
    "6.1-arm64": Source("arm64", ["bookworm-security"]),
    "6.12-arm64": Source("arm64", ["trixie-security"]),
    # The floor as it was made: later 5.10s have taken a socket's cgroup out of the union that it
    # shared with net_cls and net_prio.
    "5.10.223": Source("amd64", ["bullseye"]),
}


class Unavailable(Exception):
    """No mirror, no such suite, no such package: said, never hidden."""


def run(*argv, **kwargs):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=600, **kwargs)
    except (FileNotFoundError, subprocess.TimeoutExpired) as why:
        raise Unavailable(str(why)) from None
    if done.returncode:
        words = (done.stderr or done.stdout).strip()[-400:].replace("\n", "; ")
        raise Unavailable(f"{' '.join(argv[:2])}: {words}")
    return done.stdout


@contextlib.contextmanager
def locked(what="lock"):
    """One at a time changes the cache, of all processes and threads."""
    os.makedirs(CACHE, exist_ok=True)
    with open(f"{CACHE}/{what}", "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def _mirror(security):
    """The machine's own mirror, of the archive or of its security updates."""
    for line in run("apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)").splitlines():
        release, uri = line.split()
        if "debian" in uri and release.endswith("-security") == security:
            return uri
    raise Unavailable("the machine's apt sources name no Debian mirror")


def unpack(debs, into):
    """Whole or not at all: into a directory of another name first."""
    shutil.rmtree(into + ".new", ignore_errors=True)
    for deb in debs:
        run("dpkg-deb", "-x", deb, into + ".new")
    shutil.rmtree(into, ignore_errors=True)
    os.rename(into + ".new", into)


def tools(arch="amd64"):
    """The directory with QEMU, virtiofsd and busybox for this machine, laid out as in a root."""
    into = f"{CACHE}/tools" + ("" if arch == "amd64" else f"-{arch}")
    with locked():
        if not os.path.isdir(into):
            debs = f"{into}.debs"
            os.makedirs(debs + "/partial", exist_ok=True)
            run("apt-get", "install", "--yes", "--download-only", "--no-install-recommends",
                "--reinstall", "-o", f"Dir::Cache::archives={debs}", *TOOLS[arch])
            unpack(glob.glob(debs + "/*.deb"), into)
            shutil.rmtree(debs)
    return into


def apt(suite, arch="amd64"):
    """The options of an apt of its own for one suite and architecture."""
    home = f"{CACHE}/apt/{suite}" + ("" if arch == "amd64" else f"-{arch}")
    options = []
    for key, value in (("Dir::Etc::sourcelist", f"{home}/sources.list"),
                       ("Dir::Etc::sourceparts", "-"), ("Dir::State", home),
                       ("Dir::State::lists", f"{home}/lists"),
                       ("Dir::State::status", f"{home}/status"),
                       ("Dir::Cache", f"{home}/cache"), ("APT::Architecture", arch),
                       ("APT::Architectures", arch), ("APT::Sandbox::User", "root")):
        options += ["-o", f"{key}={value}"]
    ready = f"{home}/ready"
    if os.path.exists(ready) and time.time() - os.path.getmtime(ready) < DAY:
        return options
    mirror = _mirror(suite.endswith("-security"))
    for part in ("lists/partial", "cache/archives/partial"):
        os.makedirs(f"{home}/{part}", exist_ok=True)
    open(f"{home}/status", "w").close()
    with open(f"{home}/sources.list", "w") as f:
        f.write(f"deb [arch={arch} signed-by={KEYRING}] {mirror} {suite} main\n")
    run("apt-get", *options, "-o", "APT::Update::Error-Mode=any", "update")
    open(ready, "w").close()
    return options


def _depends(options, package):
    """The parts of a cloud kernel that a package of one asks for."""
    out = []
    for line in run("apt-cache", *options, "depends", package).splitlines():
        kind, _, name = line.strip().partition(": ")
        if kind in ("Depends", "PreDepends") and name.startswith("linux-") and "cloud" in name:
            out.append(name)
    return out


def _number(image):
    """7.3.4 of linux-image-7.3.4+deb13-cloud-amd64, as numbers."""
    found = re.match(r"linux-image-(\d+(?:\.\d+)*)", image)
    return tuple(map(int, found.group(1).split("."))) if found else ()


def _images(source, options):
    if source.pattern:
        names = run("apt-cache", *options, "search", "--names-only", source.pattern).split("\n")
        return [name.split()[0] for name in names if re.match(source.pattern + r"\s", name)]
    return [name for name in _depends(options, f"linux-image-cloud-{source.arch}")
            if _number(name)]


def _choose(source):
    """(apt's options, the newest image) of the suites that can be had."""
    best, why = (), f"no such kernel in {', '.join(source.suites)}"
    for suite in source.suites:
        try:
            options = apt(suite, source.arch)
            best = max([best, *(((_number(i), options, i)) for i in _images(source, options))],
                       key=lambda one: one[:1])
        except Unavailable as error:
            why = str(error)
    if not best:
        raise Unavailable(why)
    return best[1:]


def _packages(options, image):
    """The packages of a kernel: one, or (from 7.2) several."""
    found, queue = {image}, [image]
    while queue:
        for name in _depends(options, queue.pop()):
            if name not in found:
                found.add(name)
                queue.append(name)
    return sorted(found)


def _uncompress_modules(root):
    for path in glob.glob(f"{root}/**/*.ko.xz", recursive=True):
        with lzma.open(path) as packed, open(path[:-3], "wb") as plain:
            shutil.copyfileobj(packed, plain)
        os.unlink(path)


def _fetch_kernel(name, into):
    options, image = _choose(KERNELS[name])
    parts = _packages(options, image)
    # the files' names have the versions
    files = "".join(sorted(line.split()[1] + "\n" for line in
                           run("apt-get", *options, "--print-uris", "download", *parts).splitlines()
                           if line.startswith("'")))
    with contextlib.suppress(FileNotFoundError), open(f"{into}/packages") as f:
        if f.read() == files:
            return
    debs = f"{into}.debs"
    shutil.rmtree(debs, ignore_errors=True)
    os.makedirs(debs)
    run("apt-get", *options, "download", *parts, cwd=debs)
    unpack(glob.glob(debs + "/*.deb"), into)
    shutil.rmtree(debs)
    _uncompress_modules(into)
    with open(f"{into}/packages", "w") as f:
        f.write(files)


def kernel(name):
    """(image, release, directory with lib/modules/RELEASE) of that kernel."""
    if name not in KERNELS:
        raise Unavailable(f"no kernel {name}: {', '.join(KERNELS)}")
    into = f"{CACHE}/linux-{name}"
    busybox = f"{tools()}/bin/busybox"
    with locked():
        try:
            _fetch_kernel(name, into)
        except Unavailable as why:
            if not os.path.isdir(into):
                raise
            print(f"# kernel {name}: as it was fetched last ({why})", flush=True)
        base = into if os.path.isdir(f"{into}/lib/modules") else f"{into}/usr"
        release = os.path.basename(glob.glob(f"{base}/lib/modules/*")[0])
        image = next(filter(os.path.exists, (f"{into}/boot/vmlinuz-{release}",
                                             f"{base}/lib/modules/{release}/vmlinuz")))
        if not os.path.exists(f"{base}/lib/modules/{release}/modules.dep"):
            run(busybox, "depmod", "-b", base, release)
    return image, release, base
