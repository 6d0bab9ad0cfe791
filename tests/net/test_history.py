# SPDX-License-Identifier: GPL-2.0-only
"""history and report over a database that another program made: SQLite's own, by Python."""

import contextlib
import html.parser
import json
import os
import re
import sqlite3
import stat
import subprocess
import tempfile
import time
import unicodedata
import xml.etree.ElementTree as ET

from conf import Config
from lab import BUILD, TOP, needs

HOUR = 3600
WEB1 = "web1 /system.slice/php-fpm.service"
# As the daemon writes names: escaped. And as nobody but an attacker of the file would.
EVIL = 'x<script>alert(1)</script>\\"\' /a<b>&amp;\\x1b[31m\\x0a'
RAW = "raw\x1b[2J /c\n\x07\u202e<i>\x9b"
COLUMNS = ("syn", "fenced", "retransmitted", "answered", "refused", "silent", "denied",
           "would_deny", "destinations")


def schema():
    """The very text of the program, so that the two can't differ."""
    source = open(os.path.join(TOP, "user", "history_file.c")).read()
    body = re.search(r"schema\[\] =(.*?);\n\n", source, re.DOTALL)[1]
    text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', body))
    strict = sqlite3.sqlite_version_info >= (3, 37)
    number = {n: int(v, 0) for n, v in re.findall(
        r"#define SF_HISTORY_(SCHEMA|APP)\s+(\w+)",
        open(os.path.join(TOP, "user", "history_db.h")).read())}
    return text % (" STRICT" if strict else "", ", STRICT" if strict else "",
                   " STRICT" if strict else "", number["APP"], number["SCHEMA"])


class State:
    """A state_dir of its own, and the commands on it. Needs no lab: nothing is fenced."""

    def __init__(self, directory):
        self.dir = directory
        self.file = f"{directory}/history.db"
        self.now = int(time.time()) // HOUR * HOUR
        self.conf = Config(f"{directory}/smtpfence.conf", state_dir=directory,
                           managed_file=f"{directory}/managed.conf", FW_OUTPUT_MTA="monitor")
        self.conf.write()

    def make(self):
        db = sqlite3.connect(self.file)
        db.executescript("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;" + schema())
        self.db = db
        return self

    def who(self, name):
        self.db.execute("INSERT OR IGNORE INTO who (name) VALUES (?)", (name,))
        return self.db.execute("SELECT id FROM who WHERE name = ?", (name,)).fetchone()[0]

    def hour(self, name, ago, **counts):
        """What `name` did in the hour that began `ago` hours before this one."""
        values = [counts.get(c, 0) for c in COLUMNS]
        self.db.execute(f"INSERT INTO hour (hour, who, {', '.join(COLUMNS)}) "
                        f"VALUES ({', '.join('?' * 11)})",
                        [self.now - ago * HOUR, self.who(name), *values])
        self.db.commit()

    def alarm(self, name, ago, text="window=17", rule="rate_warn", cleared=0):
        self.db.execute("INSERT INTO alarm (raised, cleared, who, rule, severity, text) "
                        "VALUES (?, ?, ?, ?, 'warning', ?)",
                        (self.now - ago * HOUR, cleared, self.who(name), rule, text))
        self.db.commit()

    def event(self, user, ago, **fields):
        when = time.strftime("%Y-%m-%dT%H:%M:%S.000001Z", time.gmtime(self.now - ago * HOUR))
        one = dict(time=when, verdict="denied", reason="no_role", user=user, exe="/usr/bin/php",
                   cwd="/home/web1", cmdline="php x.php", cgroup="/system.slice/php-fpm.service",
                   daddr="203.0.113.9", dport=25, **fields)
        with open(f"{self.dir}/events.jsonl", "a") as f:
            f.write(json.dumps(one) + "\n")

    def run(self, *args, wanted=0, **kwargs):
        done = subprocess.run([f"{BUILD}/smtpfence", "--config", self.conf.file, *args],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=30, **kwargs)
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()   # UTF-8, always
        for text in (done.stdout, done.stderr):
            bad = [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs")]
            assert not bad, f"{args}: {bad} in {text!r}"
        assert done.returncode == wanted, f"{args}: exit {done.returncode}: {done}"
        return done


@contextlib.contextmanager
def state(made=True):
    needs(f"{BUILD}/smtpfence")
    with tempfile.TemporaryDirectory(prefix=f"smtpfence-test-{os.getpid()}-") as directory:
        one = State(directory)
        yield one.make() if made else one


def narrow(text):
    for line in text.splitlines():
        wide = sum(0 if unicodedata.combining(c) else
                   2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)
        assert wide <= 80, f"{wide} columns: {line}"
        assert line == line.rstrip(), f"spaces at the end: {line!r}"


def test_a_table_by_the_hour_and_by_the_day():
    with state() as s:
        for ago in range(1, 200):
            s.hour(WEB1, ago, syn=9, fenced=3 if ago != 5 else 1234, refused=1, silent=1, denied=7,
                   would_deny=2, destinations=4)
        s.alarm(WEB1, 5, text="window=112 limit=100 " * 10, rule="rate_act")
        out = s.run("history", "web1", "--since", "1d").stdout
        narrow(out)
        rows = re.findall(r"^\d{4}-\d\d-\d\d \d\d:00 +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) [#x]+$",
                          out, re.MULTILINE)
        assert len(rows) == 24, out
        assert rows.count(("3", "2", "7", "2", "4")) == 23, out
        assert ("1234", "2", "7", "2", "4") in rows, out
        assert "rate_act" in out and "to now: warning" in out, out
        assert re.search("[\u2581-\u2588]{20}", out), "no sparkline"
        out = s.run("history", "web1").stdout
        narrow(out)
        days = re.findall(r"^\d{4}-\d\d-\d\d +(\d+) .*[\u2581-\u2588]", out, re.MULTILINE)
        assert 7 <= len(days) <= 8, out
        assert sum(map(int, days)) == 3 * 168 + 1231, out
        # nothing in the last minute, but known
        out = s.run("history", "web1", "--since", "1s").stdout
        assert "nothing since" in out, out


def test_json_is_an_object_a_line():
    with state() as s:
        s.hour(WEB1, 2, syn=9, fenced=3, denied=7)
        s.hour(WEB1, 1, syn=1, fenced=1)
        s.alarm(WEB1, 1)
        lines = [json.loads(x) for x in s.run("history", "web1", "--json").stdout.splitlines()]
        assert len(lines) == 3, lines
        assert all(x["who"] == WEB1 for x in lines), lines
        assert [x["fenced"] for x in lines if "hour" in x] == [3, 1], lines
        assert lines[0]["hour"] == s.now - 2 * HOUR and lines[0]["denied"] == 7, lines
        assert lines[2]["rule"] == "rate_warn" and lines[2]["cleared"] == 0, lines


def test_who_is_meant():
    with state() as s:
        for name in (WEB1, "web1 /system.slice/cron.service", "web2 /user.slice/web1.scope",
                     "#54321 /x", "192.0.2.1", "2001:db8:1::/64"):
            s.hour(name, 1, fenced=5)
        done = s.run("history", "web1", wanted=1)
        assert not done.stdout and "several" in done.stderr, done
        assert f"smtpfence history '{WEB1}'" in done.stderr, done
        done = s.run("--json", "report", "web1", wanted=1)
        assert json.loads(done.stdout)["names"] == ["web1 /system.slice/cron.service", WEB1], done
        for who, head in (([WEB1], "user web1 in /system.slice/php-fpm.service"),
                          (WEB1.split(), "user web1 in /system.slice/php-fpm.service"),
                          (["cron"], "user web1 in /system.slice/cron.service"),
                          (["web2"], "user web2 in"), (["54321"], "user #54321 in /x"),
                          (["192.0.2.0/28"], "address 192.0.2.1"),
                          (["2001:db8:1::77"], "address 2001:db8:1::/64")):
            out = s.run("history", *who).stdout
            assert out.startswith(head), f"{who}: {out}"
        done = s.run("history", "wbe2", wanted=1)
        assert "no history" in done.stderr and "web2 /user.slice/web1.scope" in done.stderr, done
        done = s.run("history", "zzzzzz", wanted=1)
        assert "no history" in done.stderr and "nearest" not in done.stderr, done


def test_wrong_words():
    with state() as s:
        s.hour(WEB1, 1, fenced=5)
        for words in (["history"], ["history", ""], ["history", "a", "b"],
                      ["history", "a", "/b", "c"], ["history", "web1", "--since", "never"],
                      ["history", "web1", "--format", "html"], ["report"], ["report", "x" * 600],
                      ["report", "web1", "--format", "pdf"],
                      ["report", "web1", "--format", "html", "--json"]):
            done = s.run(*words, wanted=2)
            assert done.stderr.startswith("smtpfence: "), done
        s.run("history", "\x1b[31m\n%n%s", wanted=1)


def test_no_history_yet_and_files_that_are_none():
    with state(made=False) as s:
        for words in (["history", "web1"], ["report", "web1"]):
            done = s.run(*words, wanted=1)
            assert "no history" in done.stderr and "smtpfenced" in done.stderr, done
            assert json.loads(s.run("--json", *words, wanted=1).stdout)["error"]
        assert "history.db" not in os.listdir(s.dir), "a reader made it"
        for content in (b"garbage" * 1000, b"SQLite format 3\0" + bytes(range(256)) * 40):
            with open(s.file, "wb") as f:
                f.write(content)
            done = s.run("history", "web1", wanted=1)
            assert "damaged" in done.stderr, done
            assert open(s.file, "rb").read() == content, "a reader changed it"
            assert not [n for n in os.listdir(s.dir) if "damaged" in n]
        os.unlink(s.file)
        s.make().db.execute("PRAGMA user_version = 99")
        s.db.commit()
        assert "schema 99" in s.run("history", "web1", wanted=1).stderr


def test_not_readable():
    with state() as s:
        s.hour(WEB1, 1, fenced=5)
        os.chmod(s.dir, 0o755)
        os.chmod(s.file, 0o600)
        nobody = {} if os.geteuid() else {"user": 65534, "group": 65534, "extra_groups": []}
        if not nobody:
            os.chmod(s.file, 0)
        with tempfile.TemporaryDirectory() as copy:     # the build may lie where nobody may look
            os.chmod(copy, 0o755)
            binary = f"{copy}/smtpfence"
            with open(f"{BUILD}/smtpfence", "rb") as f, open(binary, "wb") as out:
                out.write(f.read())
            os.chmod(binary, 0o755)
            done = subprocess.run([binary, "--config", s.conf.file, "history", "web1"],
                                  capture_output=True, text=True, timeout=20, **nobody)
        assert done.returncode == 1 and "root" in done.stderr, done


def test_a_report_as_text():
    with state() as s:
        for ago in range(1, 60):
            s.hour(WEB1, ago, syn=20, fenced=10, answered=5, refused=3, silent=2, denied=4,
                   would_deny=1, destinations=6)
        s.alarm(WEB1, 3, text="window=112 limit=100")
        s.conf.section("quarantine_cgroup", "/system.slice", comment="ticket 4711").write()
        for ago in range(1, 31):
            s.event("web1", ago, pid=ago)
            s.event("web2", ago, pid=ago)
        out = s.run("report", "web1", "--since", "2d").stdout
        narrow(out)
        for pattern in ("user web1 in /system.slice/php-fpm.service", r"sent +480$",
                        r"not sent +192$", "The last 20 of 30:", "rate_warn",
                        "window=112 limit=100", "/usr/bin/php", "203.0.113.9 port 25",
                        "It denied 192 connections",
                        "quarantine cgroup /system.slice until removed: ticket"):
            assert re.search(pattern, out, re.MULTILINE), f"{pattern} is not in {out}"
        assert len(re.findall(r"denied \(no_role\) to", out)) == 20, out
        one = json.loads(s.run("report", "web1", "--since", "2d", "--json").stdout)
        assert one["totals"]["fenced"] == 480 and len(one["hours"]) == 48, one
        assert one["first_seen"] == s.now - 59 * HOUR and one["last_seen"] == s.now - HOUR, one
        assert len(one["events"]) == 20 and one["events_in_all"] == 30, one
        assert one == json.loads(s.run("report", "web1", "--since", "2d", "--format",
                                       "json").stdout) | {"made": one["made"], "to": one["to"],
                                                          "from": one["from"]}


class Strict(html.parser.HTMLParser):
    """A page of known elements, all closed, that fetches nothing and runs nothing."""
    KNOWN = set("html head meta title style body h1 h2 table thead tbody tr th td p code svg defs "
                "pattern rect path line text".split())
    ATTRIBUTES = set("lang charset http-equiv content name scope class xmlns viewbox role "
                     "aria-labelledby font-family font-size id width height patternunits fill d "
                     "stroke stroke-width x y x1 y1 x2 y2 text-anchor".split())

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.text, self.bars = [], "", 0
        self.feed(page)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        assert tag in self.KNOWN, f"<{tag}>"
        for key, value in attributes:
            assert key in self.ATTRIBUTES, f"<{tag} {key}={value!r}>"
            assert "://" not in value or value == "http://www.w3.org/2000/svg", value
        self.bars += tag == "rect"
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag != "meta":
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            assert "url" not in data and "@import" not in data, data
        else:
            self.text += data

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")


def test_a_report_as_html():
    with state() as s:
        for ago in range(1, 60):
            s.hour(WEB1, ago, fenced=10, denied=4)
        s.event("web1", 1)
        page = s.run("report", "web1", "--format", "html").stdout
        parsed = Strict(page)
        assert parsed.bars > 100, "no plot"
        assert "The sender is not in quarantine now." in parsed.text
        assert "user web1 in /system.slice/php-fpm.service" in parsed.text
        tree = ET.fromstring(page)      # also well-formed XML
        assert tree.find(".//{http://www.w3.org/2000/svg}title") is not None


def test_hostile_names_in_all_forms():
    with state() as s:
        for name in (EVIL, RAW):
            s.hour(name, 1, fenced=10, denied=4)
            s.alarm(name, 1, text=name * 3, rule="<b>\x1b")
        evil_user = EVIL.split(" /")[0].replace('\\"', '"')     # as events.jsonl has it
        s.event(evil_user, 1, pid="<i>\x1b")
        with open(f"{s.dir}/events.jsonl", "a") as f:
            f.write('null\n[]\n{"user":null}\n{"time":7}\n' + "[" * 100000 + "\n")
            f.write(json.dumps(dict(user=evil_user, time=time.strftime(
                "%Y-%m-%dT%H:%M:%S", time.gmtime(s.now - HOUR)) + ".5Z", exe=RAW, cwd=RAW,
                cmdline=EVIL, daddr=RAW, verdict=EVIL, reason=EVIL, cgroup=RAW, dport="x")) + "\n")
        s.conf.section("quarantine_user", "root", comment="<b>").write()
        for name in (EVIL, RAW):
            narrow(s.run("history", name).stdout)
            narrow(s.run("report", name).stdout)
            for line in s.run("history", name, "--json").stdout.splitlines():
                assert json.loads(line)["who"] == name.replace("\n", "\\x0a") \
                    .replace("\x1b", "\\x1b").replace("\x07", "\\x07") \
                    .replace("\u202e", "\\xe2\\x80\\xae").replace("\x9b", "\\xc2\\x9b"), line
            json.loads(s.run("report", name, "--json").stdout)
            page = s.run("report", name, "--format", "html").stdout
            parsed = Strict(page)
            ET.fromstring(page)
            assert ("alert(1)" in parsed.text) == (name == EVIL)
        one = json.loads(s.run("report", EVIL, "--json").stdout)
        assert len(one["events"]) == 2, one["events"]
        # several match, none matches: their names are shown too
        s.run("history", "<", wanted=1)
        s.run("history", "raw\x1b[3J", wanted=1)


def test_output_is_written_whole_for_root_only_and_not_through_a_link():
    with state() as s:
        s.hour(WEB1, 1, fenced=10)
        file = f"{s.dir}/report.html"
        words = ["report", "web1", "--format", "html", "--output"]
        s.run(*words, file, umask=0)
        assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
        Strict(open(file).read())
        os.chmod(file, 0o644)
        s.run(*words, file)
        assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
        with open(f"{s.dir}/victim", "w") as f:
            f.write("mine")
        os.symlink("victim", f"{s.dir}/link")
        os.symlink("nowhere", f"{s.dir}/dangling")
        os.mkfifo(f"{s.dir}/fifo")
        for name in ("link", "dangling", "fifo", "."):
            done = s.run(*words, f"{s.dir}/{name}", wanted=1)
            assert "nothing was written" in done.stderr, done
        s.run(*words, "/dev/null", wanted=1)
        s.run(*words, f"{s.dir}/none/report", wanted=1)
        assert open(f"{s.dir}/victim").read() == "mine"
        assert not os.path.exists(f"{s.dir}/nowhere")
        assert not [n for n in os.listdir(s.dir) if re.match(r".*\.\w{6}$", n)], os.listdir(s.dir)
        with open("/dev/full", "w") as full:
            done = subprocess.run([f"{BUILD}/smtpfence", "--config", s.conf.file, "report", "web1"],
                                  stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)
        assert done.returncode == 1 and "No space" in done.stderr, done


def test_a_reader_beside_a_writer():
    """Within the writer's transaction, and on a log that its death left."""
    with state() as s:
        s.hour(WEB1, 1, fenced=10)
        s.db.execute("UPDATE hour SET fenced = 99")     # not committed
        out = s.run("history", "web1", "--json").stdout
        assert json.loads(out)["fenced"] == 10, out
        s.db.commit()
        assert json.loads(s.run("history", "web1", "--json").stdout)["fenced"] == 99
        pid = os.fork()
        if not pid:
            db = sqlite3.connect(s.file)
            db.execute("UPDATE hour SET fenced = 100")
            db.commit()
            db.execute("UPDATE hour SET fenced = 101")
            os.kill(os.getpid(), 9)
        os.waitpid(pid, 0)
        assert json.loads(s.run("history", "web1", "--json").stdout)["fenced"] == 100


def test_events_of_a_file_that_was_edited_or_cut():
    """Any member may be null, of another type, or raw bytes; the events around it are shown."""
    with state() as s:
        s.event("web1", 1, comm='x" cwd="/forged', pid=7, uid=1001)
        fields = ("time", "verdict", "reason", "user", "uid", "pid", "comm", "cgroup", "cwd",
                  "cmdline", "daddr", "dport")
        with open(f"{s.dir}/events.jsonl", "ab") as f:
            for value in ("null", "7", "[]", "{}", "true", "1.5", '"\\u001b[2J\\u0000\\u009b"'):
                f.write(("{" + ", ".join(f'"{key}": {value}' for key in fields) + "}\n").encode())
            f.write(b'null\n[]\n7\n"text"\n\n{"time": null}\n{"time": "2026-\n' + b"[" * 100000 +
                    b'\n{"time": "2999-01-01T00:00:00Z\x1b[2J", "user": "\x1b[2J\xff"}\n')
        s.event("web2", 1)
        for since in ([], ["--since", "1d"]):
            out = s.run("events", *since).stdout
            assert "user=web1" in out and "user=web2" in out, out
            assert 'comm="x\\" cwd=\\"/forged" in ' in out, out     # a quote ends no field
            found = [json.loads(x) for x in s.run("events", "--json", *since).stdout.splitlines()]
            assert found[-1]["user"] == "web2" and found[0]["user"] == "web1", found
            assert found[0]["comm"] == 'x" cwd="/forged', found[0]
            assert all(isinstance(e, dict) for e in found), found
