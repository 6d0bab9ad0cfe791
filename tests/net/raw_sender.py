#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What a container with CAP_NET_RAW can send frames with; a program of its own, so that it has that
capability only, in the namespaces that it is started in.

    raw_sender.py WAY INTERFACE < frames in hex, one a line
"""
import ctypes
import errno
import mmap
import os
import socket
import struct
import sys

SOL_PACKET, PACKET_VERSION, PACKET_TX_RING, PACKET_QDISC_BYPASS = 263, 10, 13, 20
AF_XDP, SOL_XDP = 44, 283
XDP_MMAP_OFFSETS, XDP_TX_RING, XDP_UMEM_REG, XDP_FILL_RING, XDP_COMPLETION_RING = 1, 3, 4, 5, 6
XDP_COPY, TX_RING_OFFSET = 2, 0x80000000
CHUNK, CHUNKS = 4096, 64
CAP_NET_RAW = 1 << 13
libc = ctypes.CDLL(None, use_errno=True)


def no_more_rights():
    """Refuses to be a proof of anything where the process could do more than send."""
    with open("/proc/self/status") as f:
        effective = next(int(line.split()[1], 16) for line in f if line.startswith("CapEff"))
    if effective != CAP_NET_RAW:
        sys.exit(f"effective capabilities are {effective:#x}, not CAP_NET_RAW alone")


def ip_part(frame):
    return frame[14:]


def by_raw(frames, interface):
    """Sockets of the IP layer (IPPROTO_RAW): routed by the container's own kernel part."""
    for frame in frames:
        six = frame[14] >> 4 == 6
        with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW,
                           255) as sock:
            data = ip_part(frame)
            far = socket.inet_ntop(sock.family, data[24:40] if six else data[16:20])
            sock.sendto(data, (far, 0))


def by_packet(frames, interface, kind=socket.SOCK_RAW, bypass=False):
    with socket.socket(socket.AF_PACKET, kind, 0) as sock:
        if bypass:
            sock.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        for frame in frames:
            protocol = struct.unpack(">H", frame[12:14])[0]
            if kind == socket.SOCK_RAW:
                sock.sendto(frame, (interface, protocol))
            else:
                sock.sendto(ip_part(frame), (interface, protocol, 0, 0, frame[:6]))


def by_ring(frames, interface, bypass=False):
    """A memory-mapped ring: only the link's header is linear in what the kernel makes of it."""
    size = 2048
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.setsockopt(SOL_PACKET, PACKET_VERSION, 1)      # TPACKET_V2
        if bypass:
            sock.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        sock.setsockopt(SOL_PACKET, PACKET_TX_RING,
                        struct.pack("IIII", size * CHUNKS, 1, size, CHUNKS))
        with mmap.mmap(sock.fileno(), size * CHUNKS) as ring:
            sock.bind((interface, 0))
            for i, frame in enumerate(frames):
                at = i * size
                ring[at + 32:at + 32 + len(frame)] = frame
                ring[at:at + 8] = struct.pack("II", 1, len(frame))  # TP_STATUS_SEND_REQUEST
            sock.send(b"")


def xdp_rings(sock):
    """The offsets of the TX ring: producer, descriptors."""
    words, length = (ctypes.c_uint64 * 16)(), ctypes.c_uint32(128)
    if libc.getsockopt(sock.fileno(), SOL_XDP, XDP_MMAP_OFFSETS, words, ctypes.byref(length)):
        raise OSError(ctypes.get_errno(), "XDP_MMAP_OFFSETS")
    return words[4], words[6]       # rx is the first four: producer, consumer, desc, flags


def by_xdp(frames, interface):
    """AF_XDP, copy mode: to the device's transmit function, past every queue and TC."""
    with socket.socket(AF_XDP, socket.SOCK_RAW, 0) as sock, \
            mmap.mmap(-1, CHUNK * CHUNKS, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        base = ctypes.addressof(ctypes.c_char.from_buffer(area))
        sock.setsockopt(SOL_XDP, XDP_UMEM_REG, struct.pack("=QQIIII", base, len(area), CHUNK, 0, 0,
                                                           0))
        for ring in (XDP_FILL_RING, XDP_COMPLETION_RING, XDP_TX_RING):
            sock.setsockopt(SOL_XDP, ring, struct.pack("I", CHUNKS))
        producer, descriptors = xdp_rings(sock)
        ring = libc_map(sock, descriptors + 16 * CHUNKS)
        address = struct.pack("=HHIII", AF_XDP, XDP_COPY, socket.if_nametoindex(interface), 0, 0)
        if libc.bind(sock.fileno(), address, len(address)):
            raise OSError(ctypes.get_errno(), "bind")
        for i, frame in enumerate(frames):
            ctypes.memmove(base + i * CHUNK, frame, len(frame))
            ctypes.memmove(ring + descriptors + 16 * i,
                           struct.pack("=QII", i * CHUNK, len(frame), 0), 16)
        ctypes.c_uint32.from_address(ring + producer).value = len(frames)
        kick(sock)
        os._exit(0)     # the area is still lent to the kernel


def libc_map(sock, size):
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    found = libc.mmap(None, size, 3, mmap.MAP_SHARED, sock.fileno(), TX_RING_OFFSET)
    if found == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap of the ring")
    return found


def kick(sock):
    """EAGAIN: a batch is through, more wait."""
    for _ in range(CHUNKS):
        if libc.sendto(sock.fileno(), None, 0, socket.MSG_DONTWAIT, None, 0) >= 0:
            return
        if ctypes.get_errno() not in (errno.EAGAIN, errno.EBUSY):
            raise OSError(ctypes.get_errno(), "sendto")


WAYS = {
    "raw": by_raw,
    "packet": by_packet,
    "packet without a link header": lambda f, i: by_packet(f, i, socket.SOCK_DGRAM),
    "packet past the queue": lambda f, i: by_packet(f, i, bypass=True),
    "ring": by_ring,
    "ring past the queue": lambda f, i: by_ring(f, i, bypass=True),
    "xdp": by_xdp,
}


def main():
    no_more_rights()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})     # in their order: queues are a CPU's
    frames = [bytes.fromhex(line) for line in sys.stdin]
    assert len(frames) <= CHUNKS
    WAYS[sys.argv[1]](frames, sys.argv[2])


if __name__ == "__main__":
    main()
