# SPDX-License-Identifier: GPL-2.0-only
"""Writes smtpfence.conf: keys and sections in libconfuse's form."""

import os


def quote(value):
    out = bytearray(b'"')
    for byte in os.fsencode(str(value)):
        if byte in b'"\\':
            out += b"\\" + bytes([byte])
        elif byte < 32 or byte == 127:
            out += b"\\x%02x" % byte
        else:
            out.append(byte)
    return bytes(out) + b'"'


def render(value):
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, (list, tuple, set)):
        return b"{" + b", ".join(render(v) for v in value) + b"}"
    return quote(value)


class Config:
    """keys: name -> value. sections: (kind, title, {option: value}), in their order."""

    def __init__(self, file, **keys):
        self.file = file
        # A test names its uplinks: "auto" would be this machine's own.
        self.keys = {"uplinks": [], **keys}
        self.sections = []

    def section(self, kind, title, **options):
        self.sections.append((kind, title, options))
        return self

    def drop(self, kind, title=None):
        self.sections = [s for s in self.sections
                         if not (s[0] == kind and title in (None, s[1]))]
        return self

    def text(self):
        lines = [key.encode() + b" = " + render(value) for key, value in self.keys.items()]
        for kind, title, options in self.sections:
            body = b" ".join(k.encode() + b" = " + render(v) for k, v in options.items())
            lines.append(kind.encode() + b" " + quote(title) + b" { " + body + b" }")
        return b"\n".join(lines) + b"\n"

    def write(self):
        with open(self.file, "wb") as f:
            f.write(self.text())
        return self
