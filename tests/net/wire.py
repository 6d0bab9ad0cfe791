# SPDX-License-Identifier: GPL-2.0-only
"""The far end of the wire: what arrived in the world's namespace, and servers that answer there.

A test that says "denied" asserts here that no SYN came. The recorder reads an AF_PACKET socket, so
it sees a SYN to a closed port as well, and it says so when it lost packets.
"""

import collections
import ctypes
import os
import selectors
import socket
import struct
import threading
import time

import netns

Packet = collections.namedtuple("Packet", "time proto src dst sport dport data")

ETH_P_ALL, SOL_PACKET, PACKET_STATISTICS, SO_RCVBUFFORCE, SO_ATTACH_FILTER = 3, 263, 6, 33, 26
PACKET_HOST = 0
MARKER_PORT = 9


def _filter():
    """Classic BPF: keep incoming SYN without ACK, UDP, and what has a header it does not know."""
    ld_ext, ldb, jeq, ldxb, ldb_x, ret = 0x20, 0x30, 0x15, 0xb1, 0x50, 0x06
    ad = 0xfffff000
    code = [
        (ld_ext, 0, 0, ad + 4),         # 0  packet type
        (jeq, 18, 0, 4),                # 1  outgoing: drop (20)
        (ld_ext, 0, 0, ad + 0),         # 2  protocol
        (jeq, 1, 0, 0x0800),            # 3  IPv4: 5
        (jeq, 7, 15, 0x86dd),           # 4  IPv6: 12, else drop (20)
        (ldb, 0, 0, 9),                 # 5
        (jeq, 14, 0, 17),               # 6  UDP: keep (21)
        (jeq, 0, 12, 6),                # 7  not TCP: drop (20)
        (ldxb, 0, 0, 0),                # 8  x = header length
        (ldb_x, 0, 0, 13),              # 9
        (0x54, 0, 0, 0x12),             # 10 SYN and ACK
        (jeq, 9, 8, 0x02),              # 11
        (ldb, 0, 0, 6),                 # 12
        (jeq, 7, 0, 17),                # 13 UDP
        (jeq, 5, 0, 58),                # 14 ICMPv6: drop
        (jeq, 0, 5, 6),                 # 15 an extension header: keep, Python looks
        (ldb, 0, 0, 40 + 13),           # 16
        (0x54, 0, 0, 0x12),             # 17
        (jeq, 2, 1, 0x02),              # 18
        (ret, 0, 0, 0),                 # 19
        (ret, 0, 0, 0),                 # 20
        (ret, 0, 0, 0xffff),            # 21
    ]
    return b"".join(struct.pack("=HBBI", *c) for c in code), len(code)


def _attach_filter(sock):
    code, length = _filter()
    keep = ctypes.create_string_buffer(code, len(code))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER,
                    struct.pack("HxxxxxxP", length, ctypes.addressof(keep)))


def parse(data, now):
    """A Packet, or None where it is neither a SYN nor UDP."""
    if len(data) < 20:
        return None
    if data[0] >> 4 == 4:
        proto, offset = data[9], (data[0] & 15) * 4
        src, dst = (socket.inet_ntop(socket.AF_INET, data[i:i + 4]) for i in (12, 16))
    else:
        proto, offset = data[6], 40
        src, dst = (socket.inet_ntop(socket.AF_INET6, data[i:i + 16]) for i in (8, 24))
        while proto in (0, 43, 60) and offset + 2 <= len(data):
            proto, offset = data[offset], offset + 8 * (data[offset + 1] + 1)
    if proto == 17 and len(data) >= offset + 8:
        sport, dport = struct.unpack_from(">HH", data, offset)
        return Packet(now, "udp", src, dst, sport, dport, data[offset + 8:])
    if proto == 6 and len(data) >= offset + 20 and data[offset + 13] & 0x12 == 0x02:
        sport, dport = struct.unpack_from(">HH", data, offset)
        offset += (data[offset + 12] >> 4) * 4
        return Packet(now, "tcp", src, dst, sport, dport, data[offset:])
    return None


class Recorder(threading.Thread):
    def __init__(self, ns_path):
        super().__init__(daemon=True)
        self.packets = []
        self._lock = threading.Lock()
        self._markers = set()
        self._arrived = threading.Condition(self._lock)
        self._stopping = False
        self._sock = netns.inside(ns_path, self._open)
        self._sock.settimeout(0.05)
        self.start()

    @staticmethod
    def _open():
        # not bound to an interface: it hears all of the namespace's
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        _attach_filter(sock)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        return sock

    def run(self):
        while not self._stopping:
            try:
                data, (ifname, _, kind, _, _) = self._sock.recvfrom(65535)
            except TimeoutError:
                continue
            except OSError:
                return
            packet = parse(data, time.time()) if ifname != "lo" and kind == PACKET_HOST else None
            if not packet:
                continue
            with self._arrived:
                if packet.proto == "udp" and packet.dport == MARKER_PORT:
                    self._markers.add(packet.data)
                    self._arrived.notify_all()
                elif packet.proto == "tcp" or packet.dport < 32768:
                    self.packets.append(packet)

    def settle(self, ns_paths, bound=5.0):
        """Wait until all that was sent before this call is recorded.

        A marker from each namespace and each CPU (the veth's queue is per CPU) follows on the same
        way; when it is here, so is what went before it.
        """
        wanted = set()
        for ns_path, dst in ns_paths:
            netns.inside(ns_path, lambda: wanted.update(_send_markers(dst)))
        end = time.monotonic() + bound
        with self._arrived:
            while not wanted <= self._markers:
                if time.monotonic() > end:
                    raise RuntimeError("the recorder's own markers did not arrive")
                self._arrived.wait(0.2)
            self._markers -= wanted
        _, drops = struct.unpack("II", self._sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        if drops:
            raise RuntimeError(f"the recorder lost {drops} packets: it cannot say what arrived")

    def select(self, proto, dport=None, dst=None, src=None):
        with self._lock:
            return [p for p in self.packets
                    if p.proto == proto and (dport is None or p.dport == dport)
                    and (dst is None or p.dst == dst) and (src is None or p.src == src)]

    def clear(self):
        with self._lock:
            self.packets.clear()

    def close(self):
        self._stopping = True
        self.join(2)
        self._sock.close()


def _send_markers(dst):
    sent = set()
    mine = os.sched_getaffinity(0)      # this thread's; it ends with the call
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for cpu in mine:
            os.sched_setaffinity(0, {cpu})
            token = b"marker" + os.urandom(8)
            sock.sendto(token, (dst, MARKER_PORT))
            sent.add(token)
    return sent


class Listeners(threading.Thread):
    """TCP servers in a namespace that greet like a mail server and drop what they are told."""

    GREETING = b"220 world.example ESMTP smtpfence test\r\n"

    def __init__(self, ns_path, ports):
        super().__init__(daemon=True)
        self.accepted = collections.Counter()
        self._select = selectors.DefaultSelector()
        self._stopping = False
        for port in ports:
            for family in (socket.AF_INET, socket.AF_INET6):
                sock = netns.inside(ns_path, lambda: self._listen(family, port))
                self._select.register(sock, selectors.EVENT_READ, port)
        self.start()

    @staticmethod
    def _listen(family, port):
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 64)
        sock.bind(("", port))
        sock.listen(4096)
        return sock

    def run(self):
        while not self._stopping:
            for key, _ in self._select.select(0.05):
                try:
                    if key.data is None:
                        if not key.fileobj.recv(4096):
                            self._drop(key.fileobj)
                        continue
                    conn, _ = key.fileobj.accept()
                    self.accepted[key.data] += 1
                    conn.setblocking(False)
                    self._select.register(conn, selectors.EVENT_READ, None)
                    conn.send(self.GREETING)
                except BlockingIOError:
                    pass
                except OSError:
                    if key.data is None:
                        self._drop(key.fileobj)

    def _drop(self, conn):
        self._select.unregister(conn)
        conn.close()

    def close(self):
        self._stopping = True
        self.join(2)
        for key in list(self._select.get_map().values()):
            key.fileobj.close()
        self._select.close()
