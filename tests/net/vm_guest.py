#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Inside the virtual machine of test_gateway_vm.py: configures its interface, sends what it is told
by $VM_GUEST (JSON), and says in lines of JSON how it went, as its programs see it."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
sys.dont_write_bytecode = True
import raw_sender       # noqa: E402

NIC = "eth0"


def say(**what):
    print(json.dumps(what), flush=True)


def configure(job):
    for line in (f"link set {NIC} up", f"addr add {job['v4']}/24 dev {NIC}",
                 f"-6 addr add {job['v6']}/64 dev {NIC} nodad",
                 f"route add default via {job['gw4']}", f"-6 route add default via {job['gw6']}"):
        subprocess.run(["/usr/sbin/ip", *line.split()], check=True)


def connect(address, port):
    try:
        with socket.create_connection((address, port), 1.0 if port in (25, 465, 587) else 15):
            return True
    except OSError:
        return False


def bulk(address, port, size):
    block = hashlib.sha256(b"bulk").digest() * 32768
    start = time.monotonic()
    with socket.create_connection((address, port), 15) as stream:
        for _ in range(size >> 20):
            stream.sendall(block)
    return time.monotonic() - start


def main():
    job = json.loads(os.environ["VM_GUEST"])
    configure(job)
    for address, port in job["web"] + job["connect"]:
        say(address=address, port=port, connected=connect(address, port))
    say(bulk=bulk(*job["bulk"]))
    os.sched_setaffinity(0, {0})
    for way, frames in job["frames"].items():
        if os.fork() == 0:      # by_xdp ends its process
            raw_sender.WAYS[way]([bytes.fromhex(f) for f in frames], NIC)
            os._exit(0)
        say(way=way, status=os.waitstatus_to_exitcode(os.wait()[1]))
    raw_sender.by_packet([bytes.fromhex(job["last"])], NIC)
    time.sleep(0.2)


if __name__ == "__main__":
    main()
