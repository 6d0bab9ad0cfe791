# SPDX-License-Identifier: GPL-2.0-only
"""In the guest: does what host.py asks for, one JSON line each way, over a virtio-serial port."""

import json
import os
import subprocess
import sys

PORT = "/dev/virtio-ports/agent"


def write(request):
    os.makedirs(os.path.dirname(request["write"]), exist_ok=True)
    with open(request["write"], "w") as f:
        f.write(request["text"])
    os.chmod(request["write"], request["mode"])
    return {"code": 0, "out": "", "err": ""}


def run(request):
    try:
        done = subprocess.run(request["argv"], input=request["input"].encode(),
                              capture_output=True, timeout=request["seconds"],
                              user=request["uid"] or None, cwd="/")
    except subprocess.TimeoutExpired:
        return {"code": -1, "out": "", "err": f"no end in {request['seconds']} s"}
    return {"code": done.returncode, "out": done.stdout.decode(errors="backslashreplace"),
            "err": done.stderr.decode(errors="backslashreplace")}


def main():
    port = open(PORT, "r+b", buffering=0)

    def say(answer):
        text = json.dumps(answer).encode() + b"\n"
        while text:
            text = text[port.write(text):]

    with open("/proc/sys/kernel/random/boot_id") as f:
        say({"hello": f.read().strip()})
    pending = b""
    while True:
        data = port.read(1 << 16)
        if not data:
            return 0
        pending += data
        while b"\n" in pending:
            line, _, pending = pending.partition(b"\n")
            request = json.loads(line)
            try:
                say(write(request) if "write" in request else run(request))
            except OSError as error:
                say({"code": -1, "out": "", "err": str(error)})


if __name__ == "__main__":
    sys.exit(main())
