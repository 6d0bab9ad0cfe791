# SPDX-License-Identifier: GPL-2.0-only
"""Where alerts go in a test: a datagram socket of our own, or a real rsyslogd of our own.

The host's /dev/log and its syslog daemon are never touched.
"""

import os
import re
import socket
import subprocess
import threading
import time


class LogSocket(threading.Thread):
    """Receives what would go to /dev/log; keeps each datagram with its time of arrival."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path = path
        self.records = []
        self._stopping = False
        self._news = threading.Condition()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(path)
        os.chmod(path, 0o666)
        self._sock.settimeout(0.05)
        self.start()

    def run(self):
        while not self._stopping:
            try:
                data = self._sock.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return
            with self._news:
                self.records.append((time.monotonic(), data))
                self._news.notify_all()

    def lines(self):
        with self._news:
            return [data.decode("utf-8", "backslashreplace") for _, data in self.records]

    def wait(self, pattern, bound=5.0, after=0):
        """The first line from number `after` on that matches, or None when none came in time."""
        end = time.monotonic() + bound
        regex = re.compile(pattern)
        with self._news:
            while True:
                for _, data in self.records[after:]:
                    text = data.decode("utf-8", "backslashreplace")
                    if regex.search(text):
                        return text
                left = end - time.monotonic()
                if left <= 0:
                    return None
                self._news.wait(left)

    def close(self):
        self._stopping = True
        self._sock.close()
        self.join(1)
        if os.path.exists(self.path):
            os.unlink(self.path)


class Rsyslogd:
    """A real rsyslogd with a configuration, socket, pid file and output file of its own."""

    def __init__(self, directory, socket_path):
        self.output = os.path.join(directory, "rsyslog.out")
        work = os.path.join(directory, "rsyslog")
        conf = os.path.join(directory, "rsyslog.conf")
        os.makedirs(work, exist_ok=True)
        with open(conf, "w") as f:
            f.write(f'global(workDirectory="{work}")\n'
                    f'module(load="imuxsock" SysSock.Use="off")\n'
                    f'input(type="imuxsock" Socket="{socket_path}")\n'
                    f'*.* action(type="omfile" file="{self.output}" asyncWriting="off"'
                    f' flushOnTXEnd="on")\n')
        self.proc = subprocess.Popen(
            ["rsyslogd", "-n", "-f", conf, "-i", os.path.join(directory, "rsyslog.pid")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while not os.path.exists(socket_path):
            if self.proc.poll() is not None or time.monotonic() > end:
                self.close()
                raise RuntimeError("rsyslogd did not start")
            time.sleep(0.02)

    def bytes(self):
        try:
            with open(self.output, "rb") as f:
                return f.read()
        except FileNotFoundError:
            return b""

    def wait(self, pattern, bound=5.0):
        end = time.monotonic() + bound
        while time.monotonic() < end:
            if re.search(pattern, self.bytes()):
                return True
            time.sleep(0.02)
        return False

    def close(self):
        if self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(5)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
