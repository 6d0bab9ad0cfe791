# SPDX-License-Identifier: GPL-2.0-only
"""The far end of the host's wire: a network namespace with a tap, which is all of the world.

Mail belongs to MAIL4 and MAIL6; whoever sends by himself goes to OTHER4 and OTHER6. So each SYN
that the recorder saw is somebody's.
"""

import contextlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(os.path.dirname(HERE), "net"))
import leftovers        # noqa: E402
import netns            # noqa: E402
import sink             # noqa: E402
import wire             # noqa: E402


class Far:
    TAP = "tap0"
    HOST4, HOST6 = netns.HOST4, netns.HOST6
    MAIL4, MAIL6 = netns.WORLD4, netns.WORLD6
    OTHER4, OTHER6 = netns.EXTRA4[0], netns.EXTRA6[0]
    NET4, NET6 = "10.9.0.0/16", "2001:db8:9::/64"       # customers behind the host

    def __init__(self):
        self._name = f"sfW-{os.getpid()}"
        self._path = netns.path(self._name)
        self._closing = contextlib.ExitStack()

    def __enter__(self):
        leftovers.remove(os.getpid())
        self._closing.callback(leftovers.remove, os.getpid())
        try:
            netns.sh("ip", "netns", "add", self._name)
            netns._batch(self._name, [
                "link set lo up", f"tuntap add dev {self.TAP} mode tap",
                f"addr add {self.MAIL4}/24 dev {self.TAP}",
                f"addr add {self.MAIL6}/64 dev {self.TAP} nodad",
                f"addr add {self.OTHER4}/32 dev lo", f"addr add {self.OTHER6}/128 dev lo nodad",
                f"link set {self.TAP} up",
                f"route add {self.NET4} via {self.HOST4}",
                f"route add {self.NET6} via {self.HOST6}"])
            self.recorder = wire.Recorder(self._path)
            self._closing.callback(self.recorder.close)
            self.sink = self._closing.enter_context(
                sink.Sink(self._path, [self.MAIL4, self.MAIL6, self.OTHER4, self.OTHER6]))
            open_ports = wire.Listeners(self._path, (26, 465, 587, 2525))
            self._closing.callback(open_ports.close)
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(self, *_):
        self._closing.close()

    def command(self, argv):
        """The argv that runs it in the far end's namespace."""
        return ["nsenter", f"--net={self._path}", *argv]

    def settle(self, send):
        """send(token) has the guest send it from where the SYNs come; wait for it to arrive."""
        token = b"marker" + os.urandom(8)
        send(token)
        with self.recorder._arrived:
            if not self.recorder._arrived.wait_for(lambda: token in self.recorder._markers, 60):
                raise AssertionError("the recorder's marker did not arrive")

    def syns(self, dport=25, dst=None):
        """SYNs of self-made senders; dst=MAIL4: of the mail server."""
        wanted = (dst,) if dst else (self.OTHER4, self.OTHER6)
        return [p for one in wanted for p in self.recorder.select("tcp", dport, one)]

    def delivered(self, recipient):
        return any(recipient in message["recipients"] for message in list(self.sink.messages))

    def arrived(self, token):
        """How many messages with this text the sink has."""
        return len(self.sink.find(token))
