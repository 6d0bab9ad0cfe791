#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""How much of each product file the fuzzers' inputs reach (lines): of what is committed, and what
was found if BUILD/found is given. For `make fuzz-coverage`, whose fuzzers are built to count that.

    tests/fuzz/cover.py --build build/cover/fuzz [--found build/fuzz/found] config csv ...
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# What each target is there for. Packets run in the kernel: their programs can't be seen here.
FILES = {
    "config": "config comments policy_text policy keys key_values image image_nets image_roles "
              "image_grants image_sources", "lists": "net times policy",
    "state": "hosts repeats", "penalty": "penalty", "csv": "replay replay_csv", "capture": "replay_pcap",
    "escape": "escape", "event": "explain record", "events": "../cli/cmd_events",
    "syslog": "syslog", "engine": "detect/engine detect/places detect/baseline detect/sketch detect",
    "links": "netlink uplinks customers", "diag": "sock_diag", "rulesets": "rulesets",
    "conflicts": "conflicts", "mailservers": "mailservers units procs", "proc": "procs cgroup",
    "tables": "table", "census": "census", "history": "history_file history_read history_near history_prune",
}


def lines_of(target, options):
    program = os.path.join(options.build, target)
    inputs = [os.path.join(HERE, "corpus", target), os.path.join(options.found or "", target)]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        raw, data = f"{place}/raw", f"{place}/data"
        subprocess.run([program, "-runs=0", *filter(os.path.isdir, inputs)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       env=dict(os.environ, LLVM_PROFILE_FILE=raw, SF_FUZZ_DIR=place))
        subprocess.run([options.llvm + "profdata" + options.suffix, "merge", raw, "-o", data],
                       check=True)
        told = subprocess.run([options.llvm + "cov" + options.suffix, "export", "-summary-only",
                               program, "-instr-profile", data], check=True,
                              stdout=subprocess.PIPE).stdout
    return {f["filename"]: f["summary"]["lines"] for f in json.loads(told)["data"][0]["files"]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--found")
    parser.add_argument("--llvm", default="llvm-")
    parser.add_argument("--suffix", default="-14")
    parser.add_argument("targets", nargs="+")
    options = parser.parse_args()
    for target in options.targets:
        if target not in FILES:
            continue
        lines = lines_of(target, options)
        parts = []
        for file in FILES[target].split():
            name = os.path.normpath(f"user/{file}.c")
            for path, n in lines.items():
                if path.endswith("/" + name) or path == name:
                    parts.append(f"{file.split('/')[-1]} {n['covered']}/{n['count']}"
                                 f" ({n['percent']:.0f} %)")
        print(f"{target:12} {', '.join(parts)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
