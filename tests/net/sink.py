# SPDX-License-Identifier: GPL-2.0-only
"""The other end of the wire: an SMTP server in a network namespace, which keeps what it gets.

It speaks just enough for real mail servers to hand their mail over. It never refuses, and what it
accepted goes nowhere.
"""
import contextlib
import re
import socket
import threading

import netns as namespaces


class Sink:
    """messages: [{peer, sender, recipients, text}], in the order in which they came."""

    def __init__(self, netns, addresses, port=25):
        self.messages = []
        self._changed = threading.Condition()
        self._listeners = []
        for address in addresses:
            listener = namespaces.inside(str(netns), lambda: self._listen(address, port))
            self._listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    @staticmethod
    def _listen(address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.create_server((address, port), family=family, backlog=128)

    @staticmethod
    def _address(line):
        """Of MAIL FROM:<a@b> SIZE=1: a@b."""
        return re.sub(r".*<(.*)>.*", r"\1", line.decode("latin-1").strip())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)     # wakes accept()
            listener.close()

    def _accept(self, listener):
        while True:
            try:
                connection, peer = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, peer[0]), daemon=True).start()

    def _serve(self, connection, peer):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(30)
            stream = connection.makefile("rwb")

            def answer(line):
                stream.write(line + b"\r\n")
                stream.flush()

            sender, recipients = None, []
            answer(b"220 world.test ESMTP")
            for line in stream:
                verb = line[:4].upper()
                if verb == b"MAIL":
                    sender, recipients = self._address(line), []
                elif verb == b"RCPT":
                    recipients.append(self._address(line))
                elif verb == b"DATA":
                    answer(b"354 go ahead")
                    text = b""
                    for line in stream:
                        if line.rstrip(b"\r\n") == b".":
                            break
                        text += line
                    self._keep({"peer": peer, "sender": sender, "recipients": recipients,
                                "text": text.decode("latin-1")})
                elif verb == b"QUIT":
                    answer(b"221 bye")
                    return
                answer(b"250 ok")

    def _keep(self, message):
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    def _find(self, token):
        return [message for message in self.messages if token in message["text"]]

    def find(self, token):
        with self._changed:
            return self._find(token)

    def wait(self, token, bound=15):
        """The message with this text in it; None when it does not come."""
        with self._changed:
            self._changed.wait_for(lambda: self._find(token), bound)
            found = self._find(token)
        return found[0] if found else None
