#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Static analysis of all that is ours: clang-tidy, gcc -fanalyzer and cppcheck for C, shellcheck for
shell scripts, pyflakes for Python. `make lint` runs it. The two slow ones look at what is installed
(bpf, cli, user); the tests' own C is seen by cppcheck, and runs under the sanitizers.

    lint.py [TOOL | FILE ...]        all tools on all files; or only those that are named

A finding is a failure. What a tool has wrong is explained at its place (NOLINT, cppcheck-suppress,
shellcheck disable), in .clang-tidy, or in analyzer.txt and cppcheck.txt beside this file. Flags come
from the Makefile in LINT_CPPFLAGS and LINT_BPFFLAGS. Ends with a line "N passed, N failed, N skipped",
one for each tool and file.
"""

import concurrent.futures
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
FOLDERS = ("bpf", "cli", "maps", "packaging", "tests", "user", ".ci")
FINDING = re.compile(r"^(\S[^:\n]*):(\d+)(?::\d+)?: (?:fatal )?(?:warning|error|style|performance|portability"
                     r"|note \(style\)): (.*)$")
FUNCTION = re.compile(r"^[^:\n]+: In function ['‘](\w+)['’]:$")

CPPFLAGS = shlex.split(os.environ.get("LINT_CPPFLAGS", "-D_GNU_SOURCE -isystem build/bpf"))
BPFFLAGS = shlex.split(os.environ.get("LINT_BPFFLAGS", "-O2 -g -target bpf -D__bpf__"))


def sources():
    """Every file below our folders, by its path from the root."""
    found = []
    for folder in FOLDERS:
        for path, folders, names in os.walk(os.path.join(ROOT, folder)):
            folders[:] = [f for f in folders if f != "__pycache__"]
            found += [os.path.relpath(os.path.join(path, name), ROOT) for name in names]
    return sorted(found)


def is_shell(name):
    if name.endswith(".sh"):
        return True
    with open(os.path.join(ROOT, name), "rb") as file:
        return re.match(rb"#!.*\b(ba)?sh\b", file.readline()) is not None


def run(command):
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace",
                          env={**os.environ, "LC_ALL": "C"})
    return done.returncode, done.stdout.replace(ROOT + "/", "")


def findings(text):
    return sorted({line for line in text.splitlines() if FINDING.match(line)})


def judged(status, text, found):
    """A tool that failed without a finding that we can read has not looked."""
    if status and not found:
        return [f"exit status {status}: " + text.strip()[-2000:]]
    return found


# ---- the tools: each gets names of files, and gives a list of findings ----

def clang_tidy(names):
    flags = BPFFLAGS if names[0].endswith(".bpf.c") else CPPFLAGS + ["-std=gnu11"]
    status, text = run(["clang-tidy", "--quiet", "--warnings-as-errors=*", *names, "--", *flags,
                        "-isystem", "tests/net"])
    return judged(status, text, findings(text))


def explained_options(names):
    """Each check that .clang-tidy leaves out stands in a comment there, with its reason."""
    with open(os.path.join(ROOT, names[0]), encoding="utf-8") as file:
        text = file.read()
    left_out = set(re.findall(r"^  -([a-z][\w.-]+),?$", text, re.MULTILINE))
    told = set(re.findall(r"^# -([a-z][\w.-]+): \S", text, re.MULTILINE))
    return ([f"{names[0]}: -{name} is not explained" for name in sorted(left_out - told)] +
            [f"{names[0]}: -{name} is explained, but not left out" for name in sorted(told - left_out)])


class Suppressions:
    """analyzer.txt: FILE FUNCTION WARNING: REASON. One that fits nothing is a finding, too."""

    def __init__(self):
        self.entries, self.used = set(), set()
        with open(os.path.join(HERE, "analyzer.txt"), encoding="utf-8") as file:
            for line in file:
                match = re.match(r"(\S+) (\w+) (-Wanalyzer-[\w-]+): \S", line)
                if match:
                    self.entries.add(match.groups())
                elif line.strip() and not line.startswith("#"):
                    raise SystemExit(f"analyzer.txt: what does this mean? {line}")

    def fits(self, entry):
        self.used.add(entry)
        return entry in self.entries


SUPPRESSIONS = Suppressions()


def analyzer(names):
    status, text = run([os.environ.get("LINT_GCC", "gcc"), *CPPFLAGS, "-isystem", "tests/net",
                        "-std=gnu11", "-O0", "-fanalyzer", "-fno-diagnostics-show-caret",
                        "-fdiagnostics-path-format=none", "-c", names[0], "-o", "/dev/null"])
    found, function = [], "-"
    for line in text.splitlines():
        if FUNCTION.match(line):
            function = FUNCTION.match(line)[1]
        match = FINDING.match(line)
        warning = re.search(r"\[(-W[\w-]+)\]$", line)
        if match and not (warning and SUPPRESSIONS.fits((match[1], function, warning[1]))):
            found.append(f"{line} (in {function})")
    return judged(status, text, sorted(set(found)))


# It reads no system header: what these macros make.
CPPCHECK_MACROS = [f"-D{name}(type,name,...)=struct type name = {{__VA_ARGS__}}"
                   for name in ("LIBBPF_OPTS", "DECLARE_LIBBPF_OPTS")]


def cppcheck(names):
    status, text = run(["cppcheck", "--quiet", "--std=c11", "--inline-suppr",
                        "--enable=warning,performance,portability,style",
                        f"--suppressions-list={HERE}/cppcheck.txt", "--error-exitcode=1",
                        "--template={file}:{line}: {severity}: {message} [{id}]", "-D_GNU_SOURCE",
                        "-DSF_VERSION=\"\"", "-D__x86_64__", *CPPCHECK_MACROS, *names])
    return judged(status, text, findings(text))


def shellcheck(names):
    status, text = run(["shellcheck", "--format=gcc", *names])
    return judged(status, text, [line for line in text.splitlines() if line])


def excused(line):
    """`# noqa: F401 - why` in that line of the file."""
    name, number = line.split(":")[:2]
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return re.search(r"# noqa: \w+ - \w", file.read().splitlines()[int(number) - 1]) is not None


def pyflakes(names):
    status, text = run([sys.executable, "-m", "pyflakes", *names])
    found = [line for line in text.splitlines() if line]
    return judged(status, text, found) if not found else [f for f in found if not excused(f)]


def chunks(names, size):
    return [names[i:i + size] for i in range(0, len(names), size)]


def jobs(names):
    """(tool, function, files): the longest first."""
    c = [n for n in names if n.endswith(".c")]
    c.sort(key=lambda n: -os.path.getsize(os.path.join(ROOT, n)))
    host = [n for n in c if not n.endswith(".bpf.c")]
    ours = [n for n in c if not n.startswith("tests/")]
    return ([("cppcheck", cppcheck, part) for part in [host] if part] +
            [("clang-tidy", clang_tidy, [n]) for n in ours] +
            [("gcc -fanalyzer", analyzer, [n]) for n in ours if n in host] +
            [("shellcheck", shellcheck, part) for part in chunks([n for n in names if is_shell(n)], 50)] +
            [("pyflakes", pyflakes, part) for part in chunks([n for n in names if n.endswith(".py")], 200)] +
            [("explained", explained_options, [n]) for n in (".clang-tidy", "bpf/.clang-tidy")])


def missing():
    tools = [t for t in ("clang-tidy", "gcc", "cppcheck", "shellcheck") if not shutil.which(t)]
    if run([sys.executable, "-c", "import pyflakes"])[0]:
        tools.append("pyflakes")
    return tools


def main():
    if missing():
        raise SystemExit(f"lint.py: not here: {', '.join(missing())}; `make deps` installs them")
    wanted, begun = sys.argv[1:], time.monotonic()
    todo = jobs(sources())
    tools = {tool for tool, _, _ in todo}
    if set(wanted) & tools:
        todo = [j for j in todo if j[0] in wanted]
    if set(wanted) - tools:
        todo = [(t, f, [n for n in names if n in wanted]) for t, f, names in todo]
        todo = [j for j in todo if j[2]]
    count, failed = {}, {}
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for (tool, _, names), found in zip(todo, pool.map(lambda j: j[1](j[2]), todo)):
            count[tool] = count.get(tool, 0) + len(names)
            for line in found:
                if line not in failed.setdefault(tool, {}):
                    print(f"FAIL {tool}: {line}", flush=True)
                failed[tool][line] = None
    if not wanted:
        for entry in sorted(SUPPRESSIONS.entries - SUPPRESSIONS.used):
            failed.setdefault("gcc -fanalyzer", {})[" ".join(entry)] = None
            print("FAIL gcc -fanalyzer: analyzer.txt: fits nothing: " + " ".join(entry))
    for tool, files in count.items():
        if tool not in failed:
            print(f"ok {tool} ({files} files)")
    bad = sum(min(len(lines), count[tool]) for tool, lines in failed.items())
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{time.monotonic() - begun:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of processors")
    print(f"{sum(count.values()) - bad} passed, {bad} failed, 0 skipped")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
