#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Holds man pages, default configuration, completion and units against the code.

    check_docs.py BUILD_DIR

Prints "ok NAME" or "FAIL NAME: why", a line a check; exit status 1 when something failed. Needs no
root. What is documented is looked for where it belongs: in the head of a list item (.It), not
anywhere in the prose.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = ("smtpfence.8", "smtpfenced.8", "smtpfence.conf.5")


class Failure(Exception):
    pass


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def need(what, missing):
    if missing:
        raise Failure(f"{what}: {', '.join(sorted(missing))}")


def found(pattern, text, least, where):
    """All matches; a pattern that fits no more must not look like a test that passes."""
    matches = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    if len(matches) < least:
        raise Failure(f"{where}: only {len(matches)} of at least {least} found; has its form changed?")
    return matches


# ---- what the code says ----

def run(build, program, *args):
    done = subprocess.run([os.path.join(build, program), *args], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout, done.stderr


def help_of(build, program):
    status, out, err = run(build, program, "--help")
    if status:
        raise Failure(f"{program} --help: exit {status}: {err}")
    return out


def commands(build):
    """{command: usage} as --help has them."""
    return dict(found(r"^  (\w+) ([^\n]*)\n      \S", help_of(build, "smtpfence"), 15, "--help"))


def long_options(pattern):
    text = "".join(read(os.path.relpath(f, ROOT)) for f in glob.glob(f"{ROOT}/{pattern}"))
    return set(re.findall(r'\{"([a-z-]+)", *(?:no|required)_argument', text))


def keys():
    """{key: default} of user/keys.c."""
    text = read("user/keys.c")
    table = text[text.index("sf_keys[] = {"):text.index("sf_key_count =")]
    return dict(found(r'\{"(\w+)", *SF_KEY_[^"]*"([^"]*)"', table, 15, "user/keys.c"))


def macro_list(file, name):
    """First strings of the X(...) lines of one list."""
    body = re.search(rf"#define {name}\(X\)(.*?)\n\n", read(file), re.DOTALL)
    if not body:
        raise Failure(f"{file}: no list {name}")
    return found(r'X\(\w+, "(\w+)"', body.group(1), 3, f"{file} {name}")


def alert_rules():
    text = "".join(read(os.path.relpath(f, ROOT)) for f in glob.glob(f"{ROOT}/user/daemon/*.c"))
    rules = set()
    for call in found(r"daemon_alert\((\s*d,\s.*?)\);", text, 10, "daemon_alert"):
        # Without its texts for people: what is left in quotes before the format is the rule.
        call = re.sub(r"\\.", "", call)
        for word in re.findall(r'"([^"]*)"', call):
            if not re.fullmatch(r"[a-z]+(_[a-z]+)*", word):
                break   # the format
            rules.add(word)
    rules |= set(re.findall(r"rule=([a-z_]+)", text + read("user/syslog.c")))
    # The census' rules come from their list; those of the actions are said in their own words.
    rules |= set(macro_list("user/detect/engine.h", "SF_RULES"))
    actions = "".join(read(os.path.relpath(f, ROOT)) for f in glob.glob(f"{ROOT}/user/action*.c")
                      ) + read("user/penalty.c")
    rules |= set(found(r'LOG_[A-Z]+,\s*"([a-z]+(?:_[a-z]+)+|quarantined)"', actions, 6,
                       "lines about actions"))
    rules |= set(found(r'"(hook_[a-z]+)"', actions, 2, "lines about hooks"))
    # A rule in a variable is given by its names beside it.
    for names in re.findall(r"\*rule = [^;]*;", text):
        rules |= set(re.findall(r'"([a-z_]+)"', names))
    return rules - {"yes", "no"}


def json_fields():
    text = "".join(read(os.path.relpath(f, ROOT)) for f in glob.glob(f"{ROOT}/cli/*.c"))
    return set(found(r'json_object_object_add\(\s*\w+,\s*"(\w+)"', text, 20, "cli/*.c"))


def event_fields():
    return set(found(r'(?:add_text|json_object_object_add)\(o, "(\w+)"', read("user/record.c"), 12,
                     "user/record.c"))


def alert_fields():
    return set(re.findall(r"\b([a-z]+)=\\?\"?%", read("user/daemon/denials.c")))


# ---- what the pages say ----

def heads(page):
    """The words of all list items' heads."""
    words = set()
    for line in re.findall(r"^\.It (.*)$", read(f"docs/{page}"), re.MULTILINE):
        words.update(re.findall(r"[A-Za-z_][\w-]*", line.replace("\\-", "-")))
    return words


def words(page):
    """All words that are set as literals or names."""
    text = "\n".join(re.findall(r"^\.(?:It|Li|Ic|Pq|Po|Cm|Brq)\b.*$", read(f"docs/{page}"), re.MULTILINE))
    return set(re.findall(r"[A-Za-z_]\w*", text))


def options_of(page):
    """Long options; mdoc writes --name as Fl -name."""
    return set(re.findall(r"(?:Fl|,) -([a-z][a-z-]+)", read(f"docs/{page}")))


# ---- checks ----

def check_commands(build):
    need("not in smtpfence.8", set(commands(build)) - heads("smtpfence.8"))


def check_usage(build):
    """Every option that --help names stands in the head of its command's item."""
    items = re.findall(r"^\.It (Ic .*)$", read("docs/smtpfence.8"), re.MULTILINE)
    missing = []
    for command, usage in commands(build).items():
        of = [i for i in items if re.match(rf"Ic {command}\b", i)]
        for option in re.findall(r"--([a-z-]+)", usage):
            if not any(f"-{option}" in item for item in of):
                missing.append(f"{command} --{option}")
    need("not in smtpfence.8", missing)


def check_options(_build):
    need("not in smtpfence.8", long_options("cli/*.c") - options_of("smtpfence.8"))
    need("not in smtpfenced.8", long_options("user/daemon/main.c") - options_of("smtpfenced.8"))


def check_keys(_build):
    need("not in smtpfence.conf.5", set(keys()) - heads("smtpfence.conf.5"))


def check_key_defaults(_build):
    page = read("docs/smtpfence.conf.5")
    missing = []
    for key, default in keys().items():
        item = re.search(rf"^\.It Ic {key} .*?(?=^\.It |^\.El)", page, re.MULTILINE | re.DOTALL)
        plain = re.sub(r"^\.(Cm|Pa) ", "", item.group(0), flags=re.MULTILINE) if item else ""
        plain = re.sub(r"\s+", " ", plain)
        wanted = default.replace(",", ", ") or "none"
        if not re.search(rf"Default: {re.escape(wanted)}(?![\w/])", plain):
            missing.append(f"{key} ({wanted})")
    need("defaults not in smtpfence.conf.5", missing)


def check_sections(_build):
    need("not in smtpfence.conf.5",
         set(macro_list("user/policy.h", "SF_ENTRIES")) - heads("smtpfence.conf.5"))


def check_section_options(_build):
    options = set(re.findall(r'CFG_STR(?:_LIST)?\("(\w+)"', read("user/config.c")))
    if len(options) < 4:
        raise Failure("user/config.c: no options of sections found")
    need("not in smtpfence.conf.5", options - words("smtpfence.conf.5") -
         set(re.findall(r"comment", read("docs/smtpfence.conf.5"))))


def check_reasons(_build):
    need("not in smtpfence.8", set(macro_list("maps/verdict.h", "SF_REASONS")) - heads("smtpfence.8"))
    need("verdicts not in smtpfence.8",
         set(macro_list("maps/verdict.h", "SF_VERDICTS")) - words("smtpfence.8"))


def check_losses(_build):
    need("not in smtpfence.8", set(macro_list("maps/counters.h", "SF_LOSSES")) - heads("smtpfence.8"))


def check_alerts(_build):
    need("rules not in smtpfenced.8", alert_rules() - heads("smtpfenced.8"))
    told = re.findall(r"^\.It Li ([a-z_ ,]+)\n\.Pq", read("docs/smtpfenced.8"), re.MULTILINE)
    need("rules of smtpfenced.8 that the code has not",
         set(re.findall(r"[a-z_]+", " ".join(told))) - alert_rules())
    need("fields not in smtpfenced.8", alert_fields() - words("smtpfenced.8"))


def check_json(_build):
    need("fields not in smtpfence.8", json_fields() - words("smtpfence.8") - {"error"})
    need("fields not in smtpfenced.8", event_fields() - words("smtpfenced.8"))


def check_limits(_build):
    """Numbers that the pages promise."""
    source = "".join(read(f) for f in ("maps/abi.h", "maps/grants.h", "maps/roles.h",
                                       "user/policy.h", "user/hosts.h"))
    page = read("docs/smtpfence.conf.5")
    define = dict(re.findall(r"#define (SF_\w+)\s+(\d+)", source))
    wrong = []
    for name, pattern in (("SF_GRANTS_MAX", r"It ports of an entry\n{}\n"),
                          ("SF_ROLE_USERS_MAX", r"It users of a mail role\n{}\n"),
                          ("SF_PORT_LIST_MAX", r"It ports , watch_ports\n{} each"),
                          ("SF_DEPTH_MAX", r"It levels of cgroups\n{} above")):
        if not re.search(pattern.format(define.get(name, "?")), page):
            wrong.append(f"{name} = {define.get(name)}")
    if int(define["SF_PATH_MAX"]) - 2 != 254 or define["SF_HOST_KEEP"] != "3600":
        wrong.append("path or host limit")
    need("smtpfence.conf.5 says otherwise", wrong)


def check_bypasses(_build):
    """Every test that the documents name exists; every hole that a test holds stands in BYPASSES.md."""
    test_name = r"\b(test_\w+)\.(test_\w+)"
    named = set(found(test_name, read("docs/BYPASSES.md"), 40, "BYPASSES.md"))
    others = set(found(test_name, read("docs/SECURITY.md"), 10, "SECURITY.md"))
    there = {(os.path.basename(f)[:-3], name) for f in glob.glob(f"{ROOT}/tests/*/test_*.py")
             for name in re.findall(r"^def (test_\w+)", read(os.path.relpath(f, ROOT)), re.MULTILINE)}
    need("named in docs/, but no tests", {".".join(n) for n in (named | others) - there})
    need("not in BYPASSES.md", {".".join(n) for n in there - named
                                if n[1].endswith("not_caught") or n[0].startswith("test_backstop")})


def check_lint(_build):
    if not shutil.which("mandoc"):
        return "mandoc is not here"
    files = [os.path.join(ROOT, "docs", p) for p in PAGES]
    done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", *files], capture_output=True, text=True)
    if done.returncode:
        raise Failure(done.stdout.strip().replace("\n", "; "))
    return None


def config_file(folder, text, more=""):
    path = os.path.join(folder, "smtpfence.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'managed_file = "{folder}/managed.conf"\n{more}{text}')
    return path


def check_examples(build):
    blocks = found(r'^\.\\" check: conf\n\.Bd [^\n]*\n(.*?)^\.Ed', read("docs/smtpfence.conf.5"), 3,
                   "smtpfence.conf.5")
    with tempfile.TemporaryDirectory() as folder:
        for block in blocks:
            file = config_file(folder, block.replace("\\e", "\\"))
            status, _out, err = run(build, "smtpfence", "--config", file, "check")
            if status:
                raise Failure(f"an example is refused: {err.strip()}")


def check_default_config(build):
    """Every key with its default, commented out; and the file is one that is taken."""
    text = read("packaging/smtpfence.conf")
    shown = dict(re.findall(r"^#(\w+) = (.*)$", text, re.MULTILINE))
    need("not in packaging/smtpfence.conf", set(keys()) - set(shown))
    need("in packaging/smtpfence.conf, but no keys", set(shown) - set(keys()))
    bare = re.sub(r"^#(\w+ = )", r"\1", text, flags=re.MULTILINE)
    examples = "\n".join(re.findall(r"^#   (\w+ \".*\})$", text, re.MULTILINE))
    examples = re.sub(r'(allow_user|quarantine_user) "\w+"', r'\1 "1001"', examples)
    examples = re.sub(r'users = \{.*?\}', 'users = {"0"}', examples)
    with tempfile.TemporaryDirectory() as folder:
        bare = re.sub(r"^managed_file = .*$", "", bare, flags=re.MULTILINE)
        file = config_file(folder, bare + examples + "\n")
        status, out, err = run(build, "smtpfence", "--config", file, "check")
        if status:
            raise Failure(f"refused: {err.strip()}")
        if ", 0 entries" in out:
            raise Failure("its examples were not found")
        for key, default in keys().items():
            if key == "managed_file":
                continue
            value = run(build, "smtpfence", "--config", file, "get", key)[1].strip()
            if value != default:
                raise Failure(f"{key}: shows {value}, the default is {default}")


COMPLETE = r"""
source "$1"; shift
compopt() { :; }
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_smtpfence
printf '%s\n' "${COMPREPLY[@]}"
"""


def complete(*line):
    done = subprocess.run(["bash", "-c", COMPLETE, "bash",
                           os.path.join(ROOT, "packaging/smtpfence.bash-completion"), *line],
                          capture_output=True, text=True, timeout=20)
    if done.returncode or done.stderr:
        raise Failure(f"{' '.join(line)}: {done.stderr.strip() or done.returncode}")
    return set(done.stdout.split())


def check_completion(build):
    table = commands(build)
    need("commands not completed", set(table) - complete("smtpfence", ""))
    need("completed, but no commands", complete("smtpfence", "") - set(table))
    general = {"--" + o for o in ("config", "json", "help", "version")}
    need("options not completed", general - complete("smtpfence", "-"))
    for command, usage in table.items():
        options = set(re.findall(r"--[a-z-]+", usage))
        if command in ("on", "monitor"):
            options.add("--confirm")
        got = complete("smtpfence", "--json", command, "--")
        need(f"{command}: not completed", options - got)
        need(f"{command}: completed, but no options", got - options - {"--json", "--help"})
        first = re.match(r"([a-z|]+) (?:NAME|VALUE)", usage)
        if first:
            need(f"{command}: not completed",
                 set(first.group(1).split("|")) - complete("smtpfence", command, ""))
    need("options of no command", long_options("cli/*.c") - {o[2:] for o in general} -
         set(re.findall(r"--([a-z-]+)", " ".join(table.values()))) - {"confirm"})


def check_completion_values(_build):
    need("keys not completed", set(keys()) - complete("smtpfence", "get", ""))
    fixed = set(re.findall(r'\{"(\w+)", SF_KEY_[^{}]*?, 1\}', read("user/keys.c")))
    if not fixed:
        raise Failure("user/keys.c: no locations found")
    need("keys not completed", {k + "=" for k in set(keys()) - fixed} - complete("smtpfence", "set", ""))
    need("locations that set refuses", {k + "=" for k in fixed} & complete("smtpfence", "set", ""))
    if "root" not in complete("smtpfence", "remove", "allow", "user", "ro"):
        raise Failure("remove allow user: users are not completed")


def check_units(build):
    """The units name what is installed, and systemd takes them."""
    units = ("smtpfence.service", "smtpfenced.service")
    with tempfile.TemporaryDirectory() as folder:
        for unit in units:
            text = read(f"packaging/{unit}").replace("@SBINDIR@", os.path.abspath(build))
            if re.search(r"^(ExecStop|ProtectKernelTunables)", text, re.MULTILINE):
                raise Failure(f"{unit}: ExecStop opens the fence, ProtectKernelTunables closes bpffs")
            with open(os.path.join(folder, unit), "w", encoding="utf-8") as file:
                file.write(text)
        if not shutil.which("systemd-analyze"):
            return "systemd-analyze is not here"
        done = subprocess.run(["systemd-analyze", "verify", "--man=no",
                               *[os.path.join(folder, u) for u in units]],
                              capture_output=True, text=True, timeout=60)
        said = [l for l in done.stderr.splitlines() if "smtpfence" in l]
        if done.returncode or said:
            raise Failure("; ".join(said) or done.stderr.strip())
    return None


def main():
    if len(sys.argv) != 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    failed = 0
    for name, check in sorted(globals().items()):
        if not name.startswith("check_"):
            continue
        name = "docs/" + name[6:]
        try:
            note = check(sys.argv[1])
            print(f"ok {name}" + (f" (in part: {note})" if note else ""), flush=True)
        except Failure as why:
            failed = 1
            print(f"FAIL {name}: {why}", flush=True)
        except Exception as error:  # a form that is read no more is a failure, not the run's end
            failed = 1
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
