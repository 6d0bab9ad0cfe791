# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel shows of the fence, by bpftool, and meddling with it as somebody else would."""

import glob
import json
import os
import subprocess
import sys

from lab import Skip


def bpftool(*args):
    try:
        done = subprocess.run(["bpftool", "-j", *map(str, args)], capture_output=True, text=True,
                              timeout=20)
    except FileNotFoundError:
        raise Skip("needs bpftool") from None
    if done.returncode:
        raise RuntimeError(f"bpftool {args}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout) if done.stdout.strip() else None


def need_bpffs():
    """Mounted where it always is; what the fence's own commands do as well."""
    if not any(line.split()[1] == "/sys/fs/bpf" for line in open("/proc/self/mounts")):
        subprocess.run(["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"], check=True, timeout=10)


def pins(lab):
    """Every pinned thing of the lab's fence, by its path."""
    return sorted(p for p in glob.glob(lab.pin_dir + "/**", recursive=True) if os.path.isfile(p))


def connect_links(lab):
    """{program id: link id} of what is attached to the lab's cgroup root by links."""
    root = os.stat(lab.root_path).st_ino
    return {link["prog_id"]: link["id"] for link in bpftool("link", "show")
            if link.get("cgroup_id") == root}


def detach_links(lab, keep=0):
    """Take our links off, as `bpftool link detach` does; their pins stay. Returns how many."""
    links = sorted(connect_links(lab).values())[keep:]
    for link in links:
        bpftool("link", "detach", "id", link)
    return len(links)


def attached_programs(cgroup):
    """[(hook, program name)] that the kernel runs at this very cgroup."""
    shown = bpftool("cgroup", "show", str(cgroup)) or []
    return sorted((p["attach_type"], p["name"]) for p in shown)


def map_pin(lab, name):
    for path in pins(lab):
        if os.path.basename(path) == name:
            return path
    raise AssertionError(f"no map {name} among the pins {pins(lab)}")


def keys_of(path):
    """Every key as a list of hex bytes."""
    out = []
    key = None
    while True:
        args = ["map", "getnext", "pinned", path]
        if key:
            args += ["key", "hex", *key]
        try:
            answer = bpftool(*args)
        except RuntimeError:
            return out      # the last key: "can't get next key"
        key = [b.removeprefix("0x") for b in answer["next_key"]]
        out.append(key)


def empty_map(lab, name):
    """Delete every entry of a hash; returns how many there were."""
    path = map_pin(lab, name)
    keys = keys_of(path)
    for key in keys:
        bpftool("map", "delete", "pinned", path, "key", "hex", *key)
    return len(keys)


def set_entry(lab, name, key, value):
    """Enter lists of hex bytes."""
    bpftool("map", "update", "pinned", map_pin(lab, name), "key", "hex", *key,
            "value", "hex", *value)


def value_of(lab, name, key):
    """The value at a key, as a list of hex bytes."""
    shown = bpftool("map", "lookup", "pinned", map_pin(lab, name), "key", "hex", *key)
    return [byte.removeprefix("0x") for byte in shown["value"]]


def id_key(number):
    """A cgroup id as a key."""
    return [f"{byte:02x}" for byte in number.to_bytes(8, sys.byteorder)]


def zero_map(lab, name):
    """
    Write zeros over every entry of an array (its entries cannot be deleted). In one go: the daemon
    looks whole only now and then, and would mend what is wiped so far.
    """
    path = map_pin(lab, name)
    shown = bpftool("map", "show", "pinned", path)
    value = " ".join(["00"] * shown["bytes_value"])
    batch = f"{lab.dir}/zero.bpftool"
    with open(batch, "w") as f:
        for key in keys_of(path):
            f.write(f"map update pinned {path} key hex {' '.join(key)} value hex {value}\n")
    bpftool("batch", "file", batch)
