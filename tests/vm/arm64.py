# SPDX-License-Identifier: GPL-2.0-only
"""What a guest of another architecture needs besides its kernel: a root made of Debian's arm64
packages, which is also the cross compiler's sysroot, and the project built for it.

Both lie in the cache. No package is configured: nothing of it ever runs on this machine.
"""

import glob
import os
import shutil
import subprocess
import sys

import packages

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TRIPLET = "aarch64-linux-gnu"
RUNS = ("base-files", "base-passwd", "bash", "bpftool", "busybox-static", "coreutils", "dash",
        "findutils", "grep", "iproute2", "mount", "netbase", "nftables", "procps", "python3",
        "python3-scapy", "sed", "util-linux")
BUILDS = ("libbpf-dev", "libcmocka-dev", "libconfuse-dev", "libelf-dev", "libjson-c-dev",
          "libpcap-dev", "libsmartcols-dev", "libsqlite3-dev", "libsystemd-dev", "zlib1g-dev",
          "libc6-dev", "libgcc-12-dev")
TARGETS = ("smtpfence", "smtpfenced", "tests/client", "tests/flood", "tests/bpf-packets",
           "tests/bpf-gateway", "tests/other.bpf.o", "tests/other_tc.bpf.o")


class BuildFailed(Exception):
    """A failure, not a skip."""


def _codename():
    for line in open("/etc/os-release"):
        if line.startswith("VERSION_CODENAME="):
            return line.split("=")[1].strip().strip('"')
    raise packages.Unavailable("/etc/os-release names no release")


def root():
    """The directory with the guest's root."""
    into = f"{packages.CACHE}/root-arm64"
    with packages.locked():
        if not os.path.isdir(into):
            options = packages.apt(_codename(), "arm64")
            debs = f"{into}.debs"
            os.makedirs(debs + "/partial", exist_ok=True)
            packages.run("apt-get", *options, "-o", f"Dir::Cache::archives={debs}", "install",
                         "--yes", "--download-only", "--no-install-recommends", *RUNS, *BUILDS)
            packages.unpack(sorted(glob.glob(debs + "/*.deb")), into)
            shutil.rmtree(debs)
            for name in ("passwd", "group"):
                shutil.copy(f"{into}/usr/share/base-passwd/{name}.master", f"{into}/etc/{name}")
            _compile_python(into)
    return into


def _compile_python(tree):
    """As the packages' own scripts would: else each start compiles what it imports."""
    version = f"python3.{sys.version_info.minor}"
    if os.path.isdir(f"{tree}/usr/lib/{version}"):      # made for this very version
        subprocess.run([sys.executable, "-m", "compileall", "-q", "-s", tree,
                        f"{tree}/usr/lib/{version}", f"{tree}/usr/lib/python3/dist-packages"],
                       capture_output=True, check=False)


def build(seconds=900):
    """The project, cross-built: the directory with its programs. Up to date by make's rules."""
    sysroot, tools = root(), packages.tools("arm64")
    into = f"{packages.CACHE}/build-arm64"
    env = {**os.environ, "PKG_CONFIG_SYSROOT_DIR": sysroot,
           "PKG_CONFIG_LIBDIR": f"{sysroot}/usr/lib/{TRIPLET}/pkgconfig:"
                                f"{sysroot}/usr/share/pkgconfig"}
    cross = f"env LD_LIBRARY_PATH={tools}/usr/lib/x86_64-linux-gnu {tools}/usr/bin/{TRIPLET}"
    argv = ["make", "-s", f"-j{os.cpu_count()}", f"B={into}", f"AR={cross}-ar",
            f"CC={cross}-gcc --sysroot={sysroot}",
            f"BPF_INC=../..{sysroot}/usr/include/{TRIPLET}", *(f"{into}/{t}" for t in TARGETS)]
    with packages.locked("lock-build"):
        done = subprocess.run(argv, cwd=TOP, env=env, capture_output=True, text=True,
                              timeout=seconds)
    if done.returncode:
        raise BuildFailed(done.stderr[-2000:])
    return into
