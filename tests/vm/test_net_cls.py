# SPDX-License-Identifier: GPL-2.0-only
"""net_cls: before 5.15 (and before some 5.10) its number shares a word with the socket's cgroup.
Run after all others: where it does, no socket shows its cgroup any more once that was used."""

import os
import subprocess
import time

from checks import denied, in_force
from lab import Skip
from test_kernel import RELEASE, on
from test_lacks import doctor


def shares_its_word():
    """Has a socket here one word for its cgroup and for net_cls's number? Some 5.10 have."""
    if RELEASE >= (5, 15):
        return False
    types = subprocess.run(["bpftool", "btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format",
                            "c"], capture_output=True, text=True, timeout=60).stdout
    return "cgroup *" not in types.split("\nstruct sock_cgroup_data {")[1].split("\n};")[0]


class NetCls:
    """A net_cls v1 hierarchy in use: a class id written. On old kernels that is for ever."""

    def __init__(self, lab):
        self.path = f"{lab.dir}/net_cls"

    def __enter__(self):
        os.mkdir(self.path)
        done = subprocess.run(["mount", "-t", "cgroup", "-o", "net_cls", "net_cls", self.path],
                              capture_output=True, text=True, timeout=10)
        if done.returncode:
            raise Skip(f"no net_cls here: {done.stderr.strip()}")
        os.mkdir(f"{self.path}/marked")
        return self

    def use(self):
        with open(f"{self.path}/marked/net_cls.classid", "w") as f:
            f.write("0x100001")

    def __exit__(self, *_):
        for _ in range(100):
            try:
                os.rmdir(f"{self.path}/marked")
                break
            except OSError:
                time.sleep(0.05)
        subprocess.run(["umount", self.path], capture_output=True, timeout=10)


def test_net_cls_never_opens_the_fence(lab):
    shared = shares_its_word()
    print(f"# net_cls shares a word with the socket's cgroup here: {shared}", flush=True)
    if shared:      # below / the kernel would not run our programs for such sockets
        lab.conf.write()
        done = lab.fence("on")
        assert done.code == 2 and "net_cls" in done.err, done
        lab.conf.keys["cgroup_root"] = "/"
    with NetCls(lab) as net_cls:
        on(lab)
        in_force(lab)           # mounted, not used
        net_cls.use()
        denied_or_identified(lab, shared)
        assert doctor(lab)["net_cls and net_prio"][0] == ("warn" if shared else "ok")
    denied_or_identified(lab, shared)       # it outlives the mount


def denied_or_identified(lab, hidden):
    if not hidden:
        return in_force(lab)
    denied(lab, lab.web)
    denied(lab, lab.mta)        # closed, and it says why
    done = lab.fence("status")
    assert done.code == 4 and "net_cls" in done.out, done
    assert lab.status()["counters"]["by_reason"]["no_identity"] >= 2
    return None
