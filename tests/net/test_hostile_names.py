# SPDX-License-Identifier: GPL-2.0-only
"""Names that an attacker chose, through syslog, JSON and a terminal: harmless and unambiguous."""

import json
import os
import pty
import re
import shutil
import subprocess

from lab import CLIENT, Lab, until

# comm holds 15 bytes. No NUL, no / in a file name; no newline in a cgroup's name (the kernel says).
COMMS = [b"a\nALERT id=1", b'q"u" x=y', b"%n%s%p%d", b"\x1b[2J\x1b[31m", b"\xff\xfe\xc3(",
         b"a\rb\tc", b"\xe2\x80\xae rtl", b"b\\nc\\\"", b"\xc2\x9b31m", b" lead=trail "]
CWD = b'dir\nsmtpfenced[1]: ALERT id=9 "%n%n" \x1b]0;x\x07 \xff\xc0 user=root'
EXE = b"/ex\ne \x1b[1m%n\xff"
CGROUP = b'cg "%n%s" \x1b[31m \xff\xfe uid=0 \\x'


FIRST_UID = 20001      # nobody's; one for each of COMMS, so that each gets an alert of its own


def hostile_senders(lab, tries=12):
    """Denied connects by senders whose comm, exe, cwd, argv and cgroup are all hostile."""
    where = os.fsencode(lab.dir) + b"/" + CWD
    os.makedirs(where)
    os.chmod(where, 0o755)
    exe = where + EXE
    shutil.copy(CLIENT, exe)
    cgroup = os.path.join(os.fsencode(lab.root_path), CGROUP)
    os.mkdir(cgroup)
    for uid, comm in enumerate(COMMS, FIRST_UID):
        argv = lab.client_argv("hammer", cgroup, count=tries, comm=comm, cwd=where, uid=uid,
                               gid=60)
        done = subprocess.run([exe, *argv[1:]], capture_output=True, timeout=20)
        assert json.loads(done.stdout)["counts"] == {"EPERM": tries}, done


def control_bytes(data, allowed=b"\n"):
    """Bytes that a terminal or a log reader would act on, C1 controls in UTF-8 too."""
    found = {b for b in data if (b < 32 or b == 127) and b not in allowed}
    found |= set(re.findall(rb"\xc2[\x80-\x9f]", data))
    return found


def unescape(text):
    """What was escaped (\\xNN, \\\\, \\") as bytes; a text that cannot be taken back raises."""
    out, rest = b"", text
    while rest:
        match = re.match(r'\\x([0-9a-f]{2})|\\(["\\])|([^\\]+)', rest)
        assert match, f"ambiguous: {rest!r} in {text!r}"
        out += bytes.fromhex(match[1]) if match[1] else (match[2] or match[3]).encode()
        rest = rest[match.end():]
    return out


def recorded(lab, wanted):
    """`events --json` once it holds what the daemon was sent."""
    def read():
        done = lab.fence("--json", "events")
        assert done.code == 0, done
        lines = done.out.splitlines()
        return lines if len(lines) >= wanted else None
    lines = until(read, 10)
    assert lines, f"events --json never held {wanted} events: {lab.fence('--json', 'events')}"
    return lines


def test_json_is_read_by_another_program(lab):
    lab.on()
    lab.daemon()
    hostile_senders(lab, tries=2)
    lines = recorded(lab, 2 * len(COMMS))
    events = [json.loads(line) for line in lines]
    for event in events:
        for field in ("time", "verdict", "reason", "pid", "uid", "user", "comm", "exe", "cwd",
                      "cgroup", "daddr", "dport"):
            assert field in event, f"no {field} in {event}"
        assert event["verdict"] == "denied" and event["dport"] == 25, event
        assert unescape(event["comm"]) == COMMS[event["uid"] - FIRST_UID][:15], event
    # unambiguous: the very bytes can be had back
    here = os.fsencode(lab.dir) + b"/" + CWD
    assert {unescape(event["cwd"]) for event in events} == {here}
    assert {unescape(event["exe"]) for event in events} == {here + EXE}
    assert {unescape(event["cgroup"]) for event in events} == {
        os.fsencode(lab.root) + b"/" + CGROUP}
    for line in lines:
        assert not control_bytes(line.encode()), f"raw control bytes in JSON: {line!r}"
    done = lab.fence("--json", "status")
    json.loads(done.out)


def test_terminal_output_has_no_control_bytes(lab):
    lab.on()
    lab.daemon()
    hostile_senders(lab, tries=2)
    recorded(lab, 2 * len(COMMS))
    for command in ("events", "status", "list"):
        ours, theirs = pty.openpty()
        proc = lab.spawn(lab.fence_argv(command), stdout=theirs, stderr=theirs)
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:
            pass        # the other end is closed: Linux says EIO
        os.close(ours)
        proc.wait(10)
        shown = shown.replace(b"\r\n", b"\n")   # the terminal driver's own
        # colours of our own are harmless
        shown = re.sub(rb"\x1b\[[0-9;]*m", lambda m: b"" if command != "events" else m[0], shown)
        assert shown.strip(), f"{command} showed nothing"
        assert not control_bytes(shown), f"{command}: {control_bytes(shown)} in {shown!r}"
        shown.decode("utf-8")       # invalid UTF-8 does not reach the terminal


def alert_lines(data):
    return [line for line in data.splitlines() if b"ALERT" in line]


def check_alert(line):
    """One line, our tag at its front once, key=value that a simple reader takes apart."""
    assert not control_bytes(line), f"{control_bytes(line)} in {line!r}"
    line.decode("utf-8")
    text = line.decode("utf-8")
    assert text.count("smtpfenced[") >= 1
    body = text[text.index("ALERT ") + 6:]
    fields, rest = {}, body
    while rest:
        match = re.match(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?:\s+|$)', rest)
        assert match, f"not key=value: {rest!r} in {text!r}"
        assert match[1] not in fields, f"{match[1]} stands twice, so it can be forged: {text!r}"
        fields[match[1]] = match[2][1:-1] if match[2].startswith('"') else match[2]
        rest = rest[match.end():]
    return fields


def test_syslog_file_of_a_real_rsyslogd():
    if not shutil.which("rsyslogd"):
        from lab import Skip
        raise Skip("needs rsyslogd")
    with Lab(log_socket=False) as lab:
        rsyslog = lab.rsyslogd()
        lab.conf.keys.update(alert_denied=5, alert_cooldown=0)
        lab.on()
        daemon = lab.daemon()
        hostile_senders(lab, tries=6)
        assert rsyslog.wait(rb"ALERT.*rule=denied", 10), rsyslog.bytes()

        def alerts():
            found = map(check_alert, alert_lines(rsyslog.bytes()))
            return {f["uid"]: f for f in found if f.get("rule") == "denied"}
        until(lambda: len(alerts()) == len(COMMS), 10)
        data, seen = rsyslog.bytes(), alerts()
        assert len(seen) == len(COMMS), data
        for uid, comm in enumerate(COMMS, FIRST_UID):
            assert unescape(seen[str(uid)]["comm"]) == comm[:15], seen[str(uid)]
            assert seen[str(uid)]["dport"] == "25", seen[str(uid)]
        # no line of the file was made by a name: each starts like rsyslogd's own
        for line in data.splitlines():
            assert re.match(rb"^(\d{4}-\d\d-\d\dT|[A-Z][a-z]{2} [ \d]\d )", line), line
            if b"ALERT" in line:
                assert b"smtpfenced[%d]" % daemon.pid in line.split(b"ALERT")[0], line


def test_hostile_words_in_files_and_commands(lab):
    """Error messages quote what they were given; a terminal must survive them too."""
    lab.on()
    evil = '\x1b[31mx"\n%n%s\udcff'
    for words in (["allow", "user", evil], ["allow", "host", evil], ["mail", "cgroup", "/" + evil],
                  ["allow", "net", evil], ["set", f"{evil}=1"], ["set", f"errno={evil}"], [evil],
                  ["allow", "user", "games", "--ttl", evil], ["remove", "user", evil],
                  ["--config", "/nonexistent/" + evil, "status"]):
        proc = lab.spawn([os.fsencode(w) for w in lab.fence_argv(*words)], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
        out, err = proc.communicate(timeout=20)
        for text in (out, err):
            assert not control_bytes(text), f"{words}: {text!r}"
            text.decode("utf-8")
        if proc.returncode == 0:        # a cgroup may well have such a name
            assert words[0] == "mail", words
            assert lab.fence("check").code == 0, "what was kept is not read back"


def test_hostile_comments_and_cgroups_are_kept_as_they_are(lab):
    """Through the managed file and back: the kernel matches the very bytes."""
    lab.on()
    name = os.fsencode(lab.root) + b"/" + CGROUP
    done = lab.fence("mail", "cgroup", os.fsdecode(name), "--user", "root")
    assert done.code == 0, done
    comment = '"} mail "/evil" { } # ${HOME} \\ %n \x1b[0m'
    done = lab.fence("allow", "user", "games", "--comment", comment)
    assert done.code == 0, done
    assert lab.fence("check").code == 0
    cgroup = os.path.join(os.fsencode(lab.root_path), CGROUP)
    os.mkdir(cgroup)
    assert lab.connect(cgroup)["rc"] == 0
    assert lab.connect(lab.cgroup("evil"))["errno"] == "EPERM"
    listed = json.loads(lab.fence("--json", "list").out)
    assert "evil" not in json.dumps([r for r in lab.status()["roles"]]), "the comment made a role"
    assert listed


def test_tables_show_a_name_escaped_once(lab):
    """The very text that JSON and syslog have: a second escape would name another cgroup."""
    from census import count_on
    name = os.fsencode(lab.root) + b"/" + CGROUP
    os.mkdir(os.path.join(os.fsencode(lab.root_path), CGROUP))
    count_on(lab, mode="monitor", limit_local=[0, 0])
    done = lab.fence("mail", "cgroup", os.fsdecode(name), "--user", "root")
    assert done.code == 0, done
    lab.connect(os.path.join(os.fsencode(lab.root_path), CGROUP), uid=0, gid=0)
    wanted = [r["path"] for r in lab.status()["roles"] if unescape(r["path"]) == name]
    assert wanted and "\\x1b" in wanted[0], lab.status()["roles"]
    for command in ("list", "status", "senders", "top"):
        done = lab.fence(command, *(["--once"] if command == "top" else []))
        assert done.code in (0, 3), done
        if command == "top":    # cut to its column
            assert "\\x5c" not in done.out and "\x1b" not in done.out, done.out
        else:
            assert wanted[0] in done.out, f"{command}: not {wanted[0]!r} in {done.out!r}"


def test_top_shows_the_kernels_mode(lab):
    from census import count_on
    count_on(lab, mode="monitor")
    lab.conf.keys["FW_OUTPUT_MTA"] = "yes"      # not applied
    lab.conf.write()
    assert lab.fence("top", "--once").out.startswith("smtpfence monitor "), lab.fence("top", "--once")
    assert lab.fence("on").code == 0
    lab.conf.keys["FW_OUTPUT_MTA"] = "no"
    lab.conf.write()
    assert lab.fence("top", "--once").out.startswith("smtpfence enforce "), lab.fence("top", "--once")


def test_a_long_hostile_cgroup_does_not_leave_its_quotes(lab):
    """Names are cut somewhere: never within an escape, whose rest would eat the quote."""
    from census import count_on
    count_on(lab, mode="monitor", limit_sender=[2, 0], limit_local=[0, 0])
    lab.daemon()
    for pad in range(8):
        where = os.fsencode(lab.root_path)
        for part in (b"p" * pad + b"\x01" * 60, b'\\"' * 100, b"\x02" * 100):
            where += b"/" + part
            os.mkdir(where)
        for _ in range(3):
            lab.connect(where, uid=20001 + pad, gid=60)
    lines = until(lambda: (lambda found: found if len(found) == 8 else None)(
        [x for x in lab.log.lines() if "rule=rate_warn" in x]), 10)
    assert lines, lab.log.lines()
    for line in lines + [x for x in lab.log.lines() if "rule=attempt" in x]:
        fields = check_alert(line.encode())
        assert fields["severity"] in (b"warning", b"notice", "warning", "notice"), line
        assert ("class" in fields and "top" in fields) or "via" in fields, line
