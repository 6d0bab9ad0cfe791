# SPDX-License-Identifier: GPL-2.0-only
"""Others on the same hooks, and a second fence: they keep working, and stay when we go."""

import os
import subprocess

import kernel
from checks import denied, in_force, not_in_force, passes
from conf import Config
from lab import BUILD, Skip, WORLD4, WORLD6

HERE = os.path.dirname(os.path.abspath(__file__))


class Other:
    """other.bpf.c at the lab's root cgroup, attached by bpftool: no link, `multi`."""

    def __init__(self, lab):
        self.lab = lab
        self.dir = f"/sys/fs/bpf/{lab.name}-other"

    def attach(self):
        kernel.need_bpffs()
        os.makedirs(self.dir)
        kernel.bpftool("prog", "loadall", self._object(), f"{self.dir}/prog",
                       "pinmaps", f"{self.dir}/map")
        for number in (4, 6):
            kernel.bpftool("cgroup", "attach", self.lab.root_path, f"connect{number}",
                           "pinned", f"{self.dir}/prog/other_conn{number}", "multi")
        return self

    def _object(self):
        built = f"{BUILD}/tests/other.bpf.o"
        if os.path.exists(built):
            return built
        obj = f"{self.lab.dir}/other.bpf.o"
        arch = f"/usr/include/{os.uname().machine}-linux-gnu"
        try:
            subprocess.run(["clang", "-O2", "-g", "-target", "bpf", "-I", arch, "-c",
                            f"{HERE}/other.bpf.c", "-o", obj], check=True, timeout=30)
        except FileNotFoundError:
            raise Skip("needs clang") from None
        return obj

    def works(self):
        """It refuses its own port, and sees what passes it."""
        lab = self.lab
        for dst in (WORLD4, WORLD6):
            denied(lab, lab.mta, dst=dst, port=99)
            before = self.seen()
            passes(lab, lab.mta, dst=dst, port=80)
            assert self.seen() == before + 1, "it did not see a connect()"

    def seen(self):
        entries = kernel.bpftool("map", "dump", "pinned", f"{self.dir}/map/other_seen")
        value = entries[0].get("formatted", entries[0])["value"]
        return value if isinstance(value, int) else int.from_bytes(
            bytes(int(b, 16) for b in value), "little")

    def attached(self):
        return [p for p in kernel.attached_programs(self.lab.root_path) if "other" in p[1]]


def test_another_program_attached_before(lab):
    other = Other(lab).attach()
    other.works()
    for _ in range(2):
        lab.on()
        in_force(lab)
        other.works()
        assert lab.fence("off").code == 0
        not_in_force(lab)
        other.works()
    assert len(other.attached()) == 2


def test_another_program_attached_after(lab):
    lab.on()
    other = Other(lab).attach()
    other.works()
    in_force(lab)
    lab.on()        # the programs are replaced beside it
    other.works()
    in_force(lab)
    assert lab.fence("status").code == 0
    assert lab.fence("off").code == 0
    other.works()
    not_in_force(lab)
    assert len(other.attached()) == 2


def test_off_leaves_nothing_of_ours(lab):
    other = Other(lab).attach()
    before = kernel.attached_programs(lab.root_path)
    lab.on()
    assert len(kernel.attached_programs(lab.root_path)) == len(before) + 2
    done = lab.fence("off")
    assert done.code == 0, done
    not_in_force(lab)
    other.works()
    # off may keep its programs attached and let everything pass; then it says so
    ours = [p for p in kernel.attached_programs(lab.root_path) if p not in before]
    if ours:
        assert lab.status()["attached"], "attached programs that status does not show"


def test_two_fences_do_not_touch_each_other(lab):
    """A second instance, its own pins and files, on a cgroup of the first."""
    lab.on()
    second = Config(f"{lab.dir}/second.conf", **{
        **lab.conf.keys, "cgroup_root": lab.web.name, "pin_dir": lab.pin_dir + "-second",
        "managed_file": f"{lab.dir}/second-managed.conf", "state_dir": f"{lab.dir}/second-state"})
    second.section("exempt", lab.web.name).write()
    os.mkdir(f"{lab.dir}/second-state")

    def run(*args):
        return lab.run([f"{BUILD}/smtpfence", "--config", second.file, *args])
    done = run("on")
    if done.code == 0:
        denied(lab, lab.web)        # the first still says no
        assert run("off").code == 0
    else:
        assert done.err.strip(), "refused without a word"
    in_force(lab)
    assert lab.fence("status").code == 0
