# SPDX-License-Identifier: GPL-2.0-only
"""What `doctor` says of the host's interfaces (in the lab's own network namespace) and files."""

import os

import netns


def interfaces(lab):
    """[(state, text)] of the rows about interfaces."""
    lab.conf.write()
    return [(row["state"], row["text"]) for row in lab.json("doctor")
            if row["subject"] == "interfaces"]


def test_uplinks_and_virtual_machines(lab):
    lab.conf.keys["uplinks"] = ["up*"]
    assert interfaces(lab) == [("ok", "uplinks: up0")]
    lab.conf.keys["uplinks"] = ["gone0"]
    assert [state for state, _ in interfaces(lab)] == ["warn"]
    lab.conf.keys["uplinks"] = []
    (state, text), = interfaces(lab)
    assert state == "warn" and "uplinks is empty" in text, text

    lab.conf.keys["uplinks"] = ["up0"]
    for name, mode in (("vm$0", "tap"), ("vpn0", "tun")):
        netns.sh("ip", "-n", lab.host, "tuntap", "add", name, "mode", mode)
    rows = interfaces(lab)
    assert len(rows) == 2 and rows[1][0] == "warn", rows
    assert "behind vm$0:" in rows[1][1] and "vpn0" not in rows[1][1], rows
    lab.conf.keys["customers"] = ["vm*"]
    assert interfaces(lab) == [("ok", "uplinks: up0")]


def files(lab):
    """[(state, text)] of the rows about who can change what smtpfence believes."""
    return [(row["state"], row["text"]) for row in lab.json("doctor", codes=(0, 1))
            if row["subject"] == "files"]


def test_files_that_others_can_change(lab):
    path = lab.conf.write().file
    assert [state for state, _ in files(lab)] == ["ok"], files(lab)

    # The file, its owner, its directory: each lets somebody else decide.
    os.chmod(path, 0o664)
    (state, text), = files(lab)
    assert state == "fail" and "the configuration" in text and "mode 0664" in text, text
    os.chmod(path, 0o644)
    os.chown(path, 12345, 0)
    (state, text), = files(lab)
    assert state == "fail" and "uid 12345" in text, text
    os.chown(path, 0, 0)

    # Where a name leads is what counts; a directory that is not there yet is its parent's.
    open_dir = os.path.join(lab.dir, "open")
    os.mkdir(open_dir)
    os.chmod(open_dir, 0o777)
    lab.conf.keys["state_dir"] = os.path.join(open_dir, "state")
    lab.conf.write()
    (state, text), = files(lab)
    assert state == "fail" and text.startswith("state_dir") and open_dir in text, text
    os.chmod(open_dir, 0o1777)
    assert [state for state, _ in files(lab)] == ["ok"], files(lab)

    # A link that others can exchange, to a file of root's; and one of root's to a file of theirs.
    os.chmod(open_dir, 0o777)
    state = os.path.join(lab.dir, "state-of-root")
    os.mkdir(state)
    lab.conf.keys["state_dir"] = os.path.join(open_dir, "link")
    os.symlink(state, lab.conf.keys["state_dir"])
    lab.conf.write()
    assert [state for state, _ in files(lab)] == ["fail"], files(lab)
    os.chmod(open_dir, 0o755)
    assert [state for state, _ in files(lab)] == ["ok"], files(lab)
    os.chown(state, 12345, 0)
    assert [state for state, _ in files(lab)] == ["fail"], files(lab)
