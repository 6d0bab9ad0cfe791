# SPDX-License-Identifier: GPL-2.0-only
"""Wrong input and a poor environment: a message that says where and what, and nothing changed."""

import os
import re
import shutil
import subprocess

import limits
from checks import denied, in_force, not_in_force, passes
from lab import BUILD, until

LONG = "/x" * 128

# (what it is, lines put after the good ones, what the message must name)
MISTAKES = [
    ("unknown key", 'FW_OUTPUT_MTTA = "yes"', "FW_OUTPUT_MTTA"),
    ("mode", 'FW_OUTPUT_MTA = "maybe"', "FW_OUTPUT_MTA"),
    ("empty mode", 'FW_OUTPUT_MTA = ""', "FW_OUTPUT_MTA"),
    ("port 0", "ports = {25, 0}", "ports"),
    ("port too large", "ports = {25, 65536}", "ports"),
    ("port is no number", "ports = {25, smtp}", "ports"),
    ("negative port", "ports = {-25}", "ports"),
    ("errno", 'errno = "EIO"', "errno"),
    ("boolean", 'allow_local = "perhaps"', "allow_local"),
    ("number", 'resolve_interval = "soon"', "resolve_interval"),
    ("number out of range", "resolve_interval = 0", "resolve_interval"),
    ("relative pin_dir", 'pin_dir = "pins"', "pin_dir"),
    ("relative cgroup_root", 'cgroup_root = "here"', "cgroup_root"),
    ("relative role path", 'mail "here" { }', "mail"),
    ("role path with ..", 'mail "/a/../b" { }', "mail"),
    ("role path from the mount point", 'fence "/sys/fs/cgroup/a" { }', "fence"),
    ("role path over the limit", f'exempt "{LONG}" {{ }}', "exempt"),
    ("role without a name", "mail { }", "mail"),
    ("unknown user of a mail server", 'mail "/a" { users = {"no-such-user"} }', "no-such-user"),
    ("unknown user", 'allow_user "no-such-user" { }', "no-such-user"),
    ("unknown group", 'allow_group "no-such-group" { }', "no-such-group"),
    ("uid out of range", 'allow_user "4294967295" { }', "4294967295"),
    ("no address", 'allow_net "192.0.2.256" { }', "192.0.2.256"),
    ("prefix too long", 'allow_net "192.0.2.0/33" { }', "192.0.2.0/33"),
    ("bits beyond the prefix", 'allow_net "192.0.2.1/24" { }', "192.0.2.1/24"),
    ("no host name", 'allow_host "relay example" { }', "allow_host"),
    ("a bad port of an entry", 'allow_user "games" { ports = {70000} }', "ports"),
    ("too many ports of an entry",
     'allow_user "games" { ports = {1,2,3,4,5,6,7,8,9} }', "ports"),
    ("expiry", 'allow_user "games" { expires = "tomorrow" }', "expires"),
    ("expiry without a zone", 'allow_user "games" { expires = "2030-01-01T00:00:00" }', "expires"),
    ("an impossible date", 'allow_user "games" { expires = "2030-02-31T00:00:00Z" }', "expires"),
    ("unknown key of an entry", 'allow_user "games" { port = {25} }', "port"),
    ("unknown section", 'alow_user "games" { }', "alow_user"),
    ("quarantine of an unknown user", 'quarantine_user "no-such-user" { }', "no-such-user"),
    ("missing brace", 'mail "/a" { users = {"root"}', ""),
    ("missing quote", 'syslog_socket = "/dev/log', ""),
    ("stray brace", "}", ""),
]


def with_lines(lab, *lines):
    """The good configuration and these lines after it. Returns the number of the first of them."""
    good = lab.conf.text()
    with open(lab.conf.file, "wb") as f:
        f.write(good + b"\n".join(os.fsencode(line) for line in lines) + b"\n")
    return good.count(b"\n") + 1


def kernel_state(lab):
    """What must not change. The counters and present roles are the kernel's, not the command's."""
    status = lab.status()
    return {key: status[key] for key in ("mode", "enforcing", "attached", "roles")}


@limits.seconds(120)
def test_mistakes_in_the_file(lab):
    lab.on()
    before = kernel_state(lab)
    for what, line, named in MISTAKES:
        number = with_lines(lab, "", "# a comment", line)
        for command in (("check",), ("apply",), ("on",)):
            done = lab.fence(*command)
            assert done.code == 2, f"{what}: {command}: exit {done.code}: {done}"
            found = re.search(rf"{re.escape(lab.conf.file)}:(\d+)", done.err)
            assert found, f"{what}: no file and line in: {done.err}"
            assert int(found[1]) - number in (2, 3), f"{what}: line {number + 2} wanted: {done.err}"
            assert named in done.err, f"{what}: {named} is not named in: {done.err}"
            assert len(done.err.strip().splitlines()) <= 3, f"{what}: too many words: {done.err}"
    lab.conf.write()
    assert kernel_state(lab) == before
    in_force(lab)


def test_a_mistake_before_the_first_on(lab):
    with_lines(lab, 'FW_OUTPUT_MTA = "perhaps"')
    for command in ("on", "apply", "monitor", "off", "status"):
        assert lab.fence(command).code == 2, command
    not_in_force(lab)
    assert not os.path.exists(lab.managed_file) and not os.path.exists(lab.pin_dir)


def test_lines_are_counted_past_comments_and_lists(lab):
    number = with_lines(lab, "/* two", "lines */", "watch_ports = {2525,", "  2526}  # end", "// x",
                        'allow_user "games" {', "  ports = {25}", "}", 'errno = "EWHAT"')
    done = lab.fence("check")
    assert done.code == 2 and f"{lab.conf.file}:{number + 8}:" in done.err, (number, done)


def test_mistakes_in_the_managed_file(lab):
    lab.on()
    with open(lab.managed_file, "a") as f:
        f.write('allow_user "no-such-user" { }\n')
    lines = open(lab.managed_file).read().count("\n")
    done = lab.fence("apply")
    assert done.code == 2 and f"{lab.managed_file}:{lines}" in done.err, done
    in_force(lab)


def test_files_that_cannot_be_read(lab):
    lab.on()
    conf = lab.conf.file
    for file in (conf + ".missing", lab.dir):
        lab.conf.file = file
        done = lab.fence("apply")
        assert done.code == 2 and file in done.err, done
    lab.conf.file = conf
    in_force(lab)


def test_wrong_words_on_the_command_line(lab):
    lab.on()
    before, managed = kernel_state(lab), open(lab.managed_file).read()
    for words in ([], ["onn"], ["on", "of"], ["allow"], ["allow", "user"], ["allow", "cat", "tom"],
                  ["allow", "user", "no-such-user"], ["allow", "user", "games", "--port", "x"],
                  ["allow", "user", "games", "--port", "65536"],
                  ["allow", "user", "games", "--ttl", "soon"],
                  ["allow", "user", "games", "--ttl", "-1h"], ["allow", "net", "192.0.2.1/24"],
                  ["allow", "host", "a b"], ["quarantine", "user", "games", "--ttl", "0"],
                  ["mail", "cgroup", "relative"],
                  ["mail", "cgroup", "/a", "--user", "no-such-user"],
                  ["set", "FW_OUTPUT_MTA"], ["set", "FW_OUTPUT_MTA=perhaps"], ["set", "NO_KEY=1"],
                  ["set", "pin_dir=/tmp/x"], ["get", "NO_KEY"], ["--no-option", "status"],
                  ["on", "--rollback", "never"], ["remove", "user"]):
        done = lab.fence(*words)
        assert done.code == 2 and done.err.strip(), f"{words}: {done}"
    assert kernel_state(lab) == before and open(lab.managed_file).read() == managed
    in_force(lab)


def test_a_long_role_path_works_up_to_the_limit(lab):
    """254 bytes are matched, 255 are refused; nothing in between is cut silently."""
    name = lab.root + "/" + "a" * 120
    name += "/" + "b" * (254 - len(name) - 1)
    assert len(name) == 254
    lab.conf.section("mail", name)
    lab.on()
    passes(lab, lab.cgroup(name.removeprefix(lab.root + "/")))
    denied(lab, lab.cgroup(name.removeprefix(lab.root + "/") + "c"))
    done = lab.fence("mail", "cgroup", name + "c")
    assert done.code == 2 and "254" in done.err, done
    in_force(lab)


def test_a_host_name_that_does_not_resolve(lab):
    lab.conf.section("allow_host", "relay.example", ports=[25])
    lab.hosts({"relay.example": "203.0.113.5"})
    lab.on()
    passes(lab, lab.web, dst="203.0.113.5")
    lab.conf.section("allow_host", "no-such-host.invalid", ports=[25])
    lab.conf.write()
    done = lab.fence("apply")
    assert "no-such-host.invalid" in done.out + done.err, done
    in_force(lab)
    passes(lab, lab.web, dst="203.0.113.5")     # the others keep their right
    assert lab.fence("status").code in (0, 4)
    # a name that no longer resolves keeps the addresses it had: a resolver's bad day is no reason
    lab.conf.drop("allow_host", "no-such-host.invalid").write()
    lab.hosts({"another.example": "203.0.113.9"})
    done = lab.fence("apply")
    assert "relay.example" in done.out + done.err, done
    in_force(lab)


def test_without_root(lab):
    lab.on()
    before = kernel_state(lab)
    program = shutil.copy(f"{BUILD}/smtpfence", lab.dir)    # nobody may enter root's checkout

    def by_nobody(*command):
        return lab.run([program, "--config", lab.conf.file, *command], uid=65534, gid=65534)
    for command in (["on"], ["off"], ["apply"], ["monitor"], ["allow", "user", "games"]):
        done = by_nobody(*command)
        assert done.code in (1, 2) and "root" in done.err, f"{command}: {done}"
    for command in (["status"], ["list"]):
        done = by_nobody(*command)
        assert done.code != 3 and (not done.code or "root" in done.err), \
            f"{command} without root must not say that the fence is off: {done}"
    assert kernel_state(lab) == before
    in_force(lab)


def hide(lab, script, *command):
    """Run a command in a mount namespace of its own, changed by that script."""
    return lab.run(["unshare", "--mount", "--propagation", "private", "sh", "-c",
                    script + ' && exec "$@"', "sh", *lab.fence_argv(*command)])


def test_without_cgroup_v2(lab):
    lab.conf.write()
    # wherever it is mounted: a chroot that somebody made may have it too
    done = hide(lab, "awk '/ - cgroup2 /{print $5}' /proc/self/mountinfo | xargs -r umount -l", "on")
    assert done.code == 1 and "cgroup" in done.err, done
    assert not os.path.exists(lab.pin_dir) or not os.listdir(lab.pin_dir)
    not_in_force(lab)


def test_without_btf(lab):
    lab.conf.write()
    done = hide(lab, "mount -t tmpfs none /sys/kernel/btf", "on")
    # libbpf also looks for BTF under /boot and /lib/modules; where it finds some, it works
    if done.code:
        assert done.code == 1 and "BTF" in done.err, done
        not_in_force(lab)
    else:
        in_force(lab)


def test_pins_where_there_is_no_bpffs(lab):
    lab.conf.keys["pin_dir"] = f"{lab.dir}/pins"
    lab.conf.write()
    done = lab.fence("on")
    assert done.code in (1, 2) and "bpf" in done.err and lab.conf.keys["pin_dir"] in done.err, done
    not_in_force(lab)


def test_a_full_disk_under_the_managed_file(lab):
    full = f"{lab.dir}/full"
    os.mkdir(full)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", full], check=True)
    lab.conf.keys["managed_file"] = f"{full}/managed.conf"
    lab.on()
    assert lab.fence("allow", "user", "games", "--port", "25").code == 0
    kept = open(f"{full}/managed.conf").read()
    try:
        with open(f"{full}/ballast", "wb", buffering=0) as f:
            while f.write(b"x" * 512):
                pass
    except OSError:
        pass
    done = lab.fence("allow", "user", "daemon", "--comment", "c" * 200)
    assert done.code == 1 and f"{full}/managed.conf" in done.err, done
    assert open(f"{full}/managed.conf").read() == kept, "the old file must stay whole"
    assert sorted(os.listdir(full)) == ["ballast", "managed.conf"], "half a file was left behind"
    denied(lab, lab.web, uid=1, gid=1)          # the kernel follows the file: not allowed either
    passes(lab, lab.web, uid=5, gid=60)
    done = lab.fence("off")
    assert done.code == 1, f"a mode that cannot be kept must not be said to be: {done}"
    assert lab.fence("status").code in (0, 3, 4)
    os.unlink(f"{full}/ballast")
    lab.on()
    in_force(lab)


def test_more_roles_than_there_is_room(lab):
    lab.conf.keys["max_roles"] = 64
    lab.on()
    before = kernel_state(lab)
    for i in range(100):
        lab.conf.section("fence", f"{lab.root}/many/{i}")
    lab.conf.write()
    done = lab.fence("apply")
    assert done.code in (1, 2) and "max_roles" in done.err, done
    assert kernel_state(lab) == before, "the old policy must stay, whole"
    in_force(lab)
    lab.conf.drop("fence")
    lab.on()
    in_force(lab)


def test_two_commands_at_once(lab):
    """Each waits or says that another is at work; what is said to be done is done."""
    lab.on()
    users = range(20001, 20013)
    commands = {user: lab.spawn(lab.fence_argv("allow", "user", str(user), "--port", "25"),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for user in users}
    done = set()
    for user, proc in commands.items():
        _, err = proc.communicate(timeout=30)
        if proc.returncode == 0:
            done.add(user)
        else:
            assert proc.returncode == 1 and err.strip(), (user, proc.returncode, err)
    assert done, "not one got through"
    assert lab.fence("check").code == 0 and lab.fence("status").code == 0
    kept = set(map(int, re.findall(r"\b200\d\d\b", open(lab.managed_file).read())))
    assert kept == done, (kept, done)
    for user in users:
        (passes if user in done else denied)(lab, lab.web, uid=user, gid=user)


def test_on_and_off_at_once_end_in_one_of_them(lab):
    lab.on()
    for _ in range(5):
        both = [lab.spawn(lab.fence_argv(word), stdout=subprocess.DEVNULL)
                for word in ("off", "on", "off", "on")]
        codes = [p.wait(30) for p in both]
        assert set(codes) <= {0, 1}, codes
        status = lab.status()
        if status["mode"] == "enforce":
            assert lab.fence("status").code == 0
            in_force(lab)
        else:
            assert status["mode"] == "off" and not status["enforcing"], status
            not_in_force(lab)
        kept = lab.fence("get", "FW_OUTPUT_MTA").out
        assert ("yes" in kept) == (status["mode"] == "enforce"), (kept, status["mode"])


def test_a_dry_run_changes_nothing(lab):
    lab.on()
    before = kernel_state(lab)
    lab.conf.section("allow_user", "games")
    lab.conf.write()
    done = lab.fence("apply", "--dry-run")
    assert done.code == 0 and "senders" in done.out, done
    assert kernel_state(lab) == before
    denied(lab, lab.web, uid=5, gid=60)
    assert lab.fence("apply").code == 0
    passes(lab, lab.web, uid=5, gid=60)
    assert until(lambda: lab.fence("status").code == 0)
