#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Builds and installs the tree twice, as differently as can be, and compares every byte.

The first build: as we are, in a short directory, one job, umask 022, locale C, UTC. The second: as
nobody (where we are root), in a long one on another path, two jobs, umask 077, other locale, time
zone and home, sources of another time. Both from clean copies of what git knows here. `make
check-reproducible` runs it; ends with a line "N passed, N failed, N skipped", one for each file.
"""

import hashlib
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILT = re.compile(r"build/(smtpfenced?|bpf/\w+\.(bpf\.o|skel\.h)|libsmtpfence\.a)$")


def tracked():
    names = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "ls-files", "-co", "-z", "--exclude-standard"],
                           cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.decode().split("\0")
    return [n for n in names if n and os.path.lexists(os.path.join(ROOT, n))]


class Build:
    def __init__(self, parent, prefix, user, umask, time, environment, jobs):
        self.top = tempfile.mkdtemp(dir=parent, prefix=prefix)
        self.tree, self.user, self.umask, self.jobs = os.path.join(self.top, "src"), user, umask, jobs
        self.environment = {"PATH": os.environ["PATH"], **environment}
        for name in tracked():
            copy = os.path.join(self.tree, name)
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copy(os.path.join(ROOT, name), copy, follow_symlinks=False)
            os.utime(copy, (time, time), follow_symlinks=False)
        if user:
            for path, folders, names in os.walk(self.top):
                for name in [path] + [os.path.join(path, n) for n in folders + names]:
                    os.chown(name, user.pw_uid, user.pw_gid, follow_symlinks=False)
        self.log = open(os.path.join(self.top, "log"), "w+", encoding="utf-8")
        self.process = None

    def become(self):
        os.umask(self.umask)
        if self.user:
            os.setgroups([])
            os.setgid(self.user.pw_gid)
            os.setuid(self.user.pw_uid)

    def start(self):
        self.process = subprocess.Popen(
            ["make", f"-j{self.jobs}", "install", f"DESTDIR={self.tree}/build/installed"],
            cwd=self.tree, env=self.environment, preexec_fn=self.become, stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=subprocess.STDOUT)

    def finish(self):
        if self.process.wait():
            self.log.seek(0)
            raise SystemExit(f"the build in {self.tree} failed:\n{self.log.read()[-3000:]}")

    def files(self):
        """{name: (mode, sha256)} of what was built, and of all that was installed."""
        found = {}
        for path, folders, names in os.walk(os.path.join(self.tree, "build")):
            for full in [os.path.join(path, n) for n in folders + names]:
                name, mode = os.path.relpath(full, self.tree), os.lstat(full).st_mode
                installed = name.startswith("build/installed/")
                if not installed and not BUILT.match(name):
                    continue
                data = b""
                if stat.S_ISREG(mode):
                    with open(full, "rb") as file:
                        data = file.read()
                found[name] = (stat.filemode(mode) if installed else "", hashlib.sha256(data).hexdigest())
        return found

    def remove(self):
        self.log.close()
        shutil.rmtree(self.top)


def section_at(path, offset):
    """Of an ELF file, the section that holds this byte."""
    text = subprocess.run(["readelf", "-SW", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True).stdout
    for name, start, size in re.findall(r"\] (\S+) +\S+ +[0-9a-f]+ ([0-9a-f]+) ([0-9a-f]+) ", text):
        if int(start, 16) <= offset < int(start, 16) + int(size, 16):
            return f", in {name}"
    return ""


def difference(one, two):
    with open(one, "rb") as a, open(two, "rb") as b:
        a, b = a.read(), b.read()
    at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    near = slice(max(0, at - 24), at + 40)
    return f"at byte {at}{section_at(one, at)}: {a[near]!r} is {b[near]!r}"


def main():
    nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    one = Build("/tmp", "a", None, 0o022, 1700000000,
                {"LC_ALL": "C", "TZ": "UTC", "HOME": "/root"}, 1)
    two = Build("/var/tmp", "a-longer-name-for-the-second-build-", nobody, 0o077, 1000000000,
                {"LC_ALL": "C.UTF-8", "TZ": "Pacific/Kiritimati", "HOME": "/nonexistent",
                 "USER": "nobody"}, 2)
    passed, failed = 0, 0
    try:
        one.start()
        two.start()
        one.finish()
        two.finish()
        first, second = one.files(), two.files()
        for name in sorted(set(first) | set(second)):
            if first.get(name) == second.get(name):
                passed += 1
                continue
            failed += 1
            if name not in first or name not in second:
                print(f"FAIL {name}: made by one build only")
            elif first[name][1] == second[name][1]:
                print(f"FAIL {name}: {first[name][0]} is {second[name][0]}")
            else:
                print(f"FAIL {name}: " + difference(f"{one.tree}/{name}", f"{two.tree}/{name}"))
        if not any(n.endswith("/smtpfenced") and "installed" in n for n in first):
            print("FAIL: nothing was installed")
            failed += 1
    finally:
        for build in (one, two):
            if build.process and build.process.poll() is None:
                build.process.kill()
                build.process.wait()
            build.remove()
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
