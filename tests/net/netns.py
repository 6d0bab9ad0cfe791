# SPDX-License-Identifier: GPL-2.0-only
"""Network namespaces of a lab: made, joined by veth, and entered for a socket.

Every interface is created inside the lab's own namespaces; the host's are never touched.
What travels there (recorder, listeners) is in wire.py.
"""

import ctypes
import os
import subprocess
import threading

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

HOST4, WORLD4 = "198.51.100.1", "198.51.100.2"
HOST6, WORLD6 = "2001:db8:1::1", "2001:db8:1::2"
GUEST4, GUEST6 = "198.51.101.1", "2001:db8:3::1"
GUEST_GW4, GUEST_GW6 = "198.51.101.2", "2001:db8:3::2"
# more destinations in the world
EXTRA4 = [f"203.0.113.{n}" for n in range(1, 11)]
EXTRA6 = [f"2001:db8:2::{n}" for n in range(1, 11)]


def path(name):
    return f"/run/netns/{name}"


def sh(*argv, **kwargs):
    """Run a tool that must succeed; its words are in the exception when it does not."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, **kwargs)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def inside(ns_path, function):
    """Call function in the namespace and return its result (setns is a thread's, not ours)."""
    out = {}

    def body():
        try:
            fd = os.open(ns_path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(fd, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"setns {ns_path}")
            finally:
                os.close(fd)
            out["value"] = function()
        except BaseException as error:
            out["error"] = error

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if "error" in out:
        raise out["error"]
    return out.get("value")


def _batch(ns, lines):
    sh("ip", "-n", ns, "-batch", "-", input="\n".join(lines) + "\n")


def make(host, world, guest):
    """Three namespaces: host and guest each reach the world, on a link of their own.

    The guest is a container with its own network: its senders are in the same cgroup tree as the
    host's, but nothing they send crosses the host's interfaces.
    """
    for ns in (host, world, guest):
        sh("ip", "netns", "add", ns)
        sysctl = {
            "ipv6/conf/default/accept_dad": 0,
            "ipv6/conf/all/accept_dad": 0,
            # client: Fast Open also without a cookie, so that data rides in the first SYN
            "ipv4/tcp_fastopen": 0x607,
        }
        for key, value in sysctl.items():
            inside(path(ns), lambda: _write(f"/proc/sys/net/{key}", str(value)))
    _batch(world, [
        "link set lo up",
        f"link add up0 type veth peer name up0 netns {host}",
        f"link add up1 type veth peer name up0 netns {guest}",
        f"addr add {WORLD4}/24 dev up0",
        f"addr add {WORLD6}/64 dev up0 nodad",
        f"addr add {GUEST_GW4}/24 dev up1",
        f"addr add {GUEST_GW6}/64 dev up1 nodad",
        *[f"addr add {a}/32 dev lo" for a in EXTRA4],
        *[f"addr add {a}/128 dev lo nodad" for a in EXTRA6],
        "link set up0 up", "link set up1 up",
    ])
    for ns, a4, a6, gw4, gw6 in ((host, HOST4, HOST6, WORLD4, WORLD6),
                                 (guest, GUEST4, GUEST6, GUEST_GW4, GUEST_GW6)):
        _batch(ns, [
            "link set lo up", "link set up0 up",
            f"addr add {a4}/24 dev up0",
            f"addr add {a6}/64 dev up0 nodad",
            f"route add default via {gw4}",
            f"route add ::/0 via {gw6}",
        ])


def _write(name, text):
    with open(name, "w") as f:
        f.write(text)


def remove(*names):
    for ns in names:
        if os.path.exists(path(ns)):
            subprocess.run(["ip", "netns", "del", ns], capture_output=True, timeout=20)
