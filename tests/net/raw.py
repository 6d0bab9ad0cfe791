# SPDX-License-Identifier: GPL-2.0-only
"""The sender of what needs no connect(): run as a program in the sender's cgroup and namespace.

    python3 raw.py < JOBS      JOBS: {"device", "marker", "marker_dst", "move", "jobs": [...]}

A job is {"way", "data" (hex, the IP packet), "dst", "port"}; the answer is a list of errno names, ""
where the kernel took it. All is sent from one CPU, a marker last, so that what the far end saw
before the marker is all that came. Nothing here knows of smtpfence.
"""

import ctypes
import errno
import json
import mmap
import os
import socket
import struct
import sys

ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
SOL_PACKET, PACKET_VERSION, PACKET_TX_RING, PACKET_QDISC_BYPASS = 263, 10, 13, 20
AF_XDP, SOL_XDP = 44, 283
XDP_MMAP_OFFSETS, XDP_TX_RING, XDP_UMEM_REG = 1, 3, 4
XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING = 5, 6
XDP_COPY = 2
_libc = ctypes.CDLL(None, use_errno=True)


def _kind(data):
    return ETH_P_IPV6 if data[0] >> 4 == 6 else ETH_P_IP


class Sender:
    def __init__(self, device, far_mac, own_mac):
        self.device, self.far, self.own = device, bytes.fromhex(far_mac), bytes.fromhex(own_mac)
        self.sockets = {}

    def once(self, name, make):
        if name not in self.sockets:
            self.sockets[name] = make()
        return self.sockets[name]

    def frame(self, data):
        return self.far + self.own + struct.pack(">H", _kind(data)) + data

    # ---- raw IP ----

    def header_included(self, data, dst):
        family = socket.AF_INET6 if _kind(data) == ETH_P_IPV6 else socket.AF_INET
        sock = self.once(("raw", family), lambda: socket.socket(
            family, socket.SOCK_RAW, socket.IPPROTO_RAW))
        sock.sendto(data, (dst, 0))

    def raw_tcp(self, data, dst):
        """The kernel writes the IP header."""
        v6 = _kind(data) == ETH_P_IPV6
        family = socket.AF_INET6 if v6 else socket.AF_INET
        sock = self.once(("tcp", family), lambda: socket.socket(
            family, socket.SOCK_RAW, socket.IPPROTO_TCP))
        sock.sendto(data[40:] if v6 else data[(data[0] & 15) * 4:], (dst, 0))

    def raw_connected(self, data, dst):
        """A raw socket's connect() only remembers where to."""
        v6 = _kind(data) == ETH_P_IPV6
        with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW,
                           socket.IPPROTO_TCP) as sock:
            sock.connect((dst, 25))
            sock.send(data[40:] if v6 else data[(data[0] & 15) * 4:])

    # ---- packet sockets ----

    def _packet(self, kind, bypass=False):
        sock = socket.socket(socket.AF_PACKET, kind, 0)
        sock.bind((self.device, 0))
        if bypass:
            sock.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        return sock

    def packet_raw(self, data, _dst):
        self.once("packet", lambda: self._packet(socket.SOCK_RAW)).send(self.frame(data))

    def packet_frame(self, data, _dst):
        """`data` is the whole frame."""
        self.once("packet", lambda: self._packet(socket.SOCK_RAW)).send(data)

    def packet_dgram(self, data, _dst):
        """The kernel writes the link's header."""
        self.once("dgram", lambda: self._packet(socket.SOCK_DGRAM)).sendto(
            data, (self.device, _kind(data), 0, 0, self.far))

    def packet_ring(self, data, _dst):
        """Its packets have 14 bytes in their linear part."""
        frame = self.frame(data)
        with self._packet(socket.SOCK_RAW) as sock:
            sock.setsockopt(SOL_PACKET, PACKET_VERSION, 1)      # TPACKET_V2
            sock.setsockopt(SOL_PACKET, PACKET_TX_RING, struct.pack("IIII", 4096, 1, 2048, 2))
            with mmap.mmap(sock.fileno(), 4096) as ring:
                ring[32:32 + len(frame)] = frame                # behind the aligned header
                struct.pack_into("II", ring, 0, 1, len(frame))  # TP_STATUS_SEND_REQUEST, length
                sock.send(b"")

    def bypass(self, data, _dst):
        self.once("bypass", lambda: self._packet(socket.SOCK_RAW, True)).send(self.frame(data))

    # ---- AF_XDP, copy mode ----

    def _xdp(self):
        sock = socket.socket(AF_XDP, socket.SOCK_RAW, 0)
        umem = mmap.mmap(-1, 16 * 2048)
        where = ctypes.addressof(ctypes.c_char.from_buffer(umem))
        sock.setsockopt(SOL_XDP, XDP_UMEM_REG, struct.pack("QQIIII", where, len(umem), 2048, 0, 0, 0))
        for ring in (XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_TX_RING):
            sock.setsockopt(SOL_XDP, ring, struct.pack("I", 16))
        offsets = struct.unpack("16Q", sock.getsockopt(SOL_XDP, XDP_MMAP_OFFSETS, 128))
        producer, _consumer, desc, _flags = offsets[4:8]        # rx, tx, fill, completion
        ring = mmap.mmap(sock.fileno(), desc + 16 * 16, offset=0x80000000)
        address = struct.pack("=HHIII", AF_XDP, XDP_COPY, socket.if_nametoindex(self.device), 0, 0)
        if _libc.bind(sock.fileno(), address, len(address)):
            raise OSError(ctypes.get_errno(), "bind AF_XDP")
        return sock, umem, ring, producer, desc

    def xdp(self, data, _dst):
        sock, umem, ring, producer, desc = self.once("xdp", self._xdp)
        n, = struct.unpack_from("I", ring, producer)
        frame = self.frame(data)
        umem[n * 2048:n * 2048 + len(frame)] = frame            # 16 sends at most
        struct.pack_into("QII", ring, desc + n * 16, n * 2048, len(frame), 0)
        struct.pack_into("I", ring, producer, n + 1)
        if _libc.sendto(sock.fileno(), None, 0, socket.MSG_DONTWAIT, None, 0) < 0:
            raise OSError(ctypes.get_errno(), "AF_XDP")

    # ---- a device of one's own ----

    def _tun(self):
        import fcntl
        fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", b"own0", 0x1001))    # TUN, no header
        os.system("ip link set own0 up")
        return fd

    def tun(self, data, _dst):
        os.write(self.once("tun", self._tun), data)


def main():
    todo = json.load(sys.stdin)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sender = Sender(todo["device"], todo["far_mac"], todo["own_mac"])
    if todo.get("move"):        # the sockets are made here, the process goes there
        for way in {job["way"] for job in todo["jobs"]}:
            if way == "packet_raw":
                sender.once("packet", lambda: sender._packet(socket.SOCK_RAW))
            if way == "header_included":
                sender.once(("raw", socket.AF_INET), lambda: socket.socket(
                    socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        with open(todo["move"] + "/cgroup.procs", "w") as procs:
            procs.write("0")
    said = []
    for job in todo["jobs"]:
        try:
            getattr(sender, job["way"])(bytes.fromhex(job["data"]), job["dst"])
            said.append("")
        except OSError as error:
            said.append(errno.errorcode.get(error.errno, str(error)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(bytes.fromhex(todo["marker"]), (todo["marker_dst"], 9))
    print(json.dumps(said))


if __name__ == "__main__":
    main()
