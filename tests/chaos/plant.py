#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Can chaos fail? Defects are planted, one at a time, in a copy of the tree: each must be found, by
the invariant that is named with it.

    tests/chaos/plant.py [NAME...]      prints a row for each; status 1 when one was not found
"""

import os
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# name: (file, old, new, arguments of chaos.py, a part of the line that must fail)
PLANTS = {
    "apply detaches before it attaches": (
        "user/attach.c", "		if (!bpf_link_update(link, program_fd, NULL))\n			return 0;",
        "		bpf_link_detach(link), usleep(30000), errno = ENOLINK;",
        "--phases A --only commands,commands_killed", "was answered otherwise than by EPERM"),
    "uplinks are detached before they are attached": (
        "user/tc.c", "	if (link >= 0 && !bpf_link_update(link, program_fd, NULL))\n		return 0;",
        "	if (link >= 0)\n		bpf_link_detach(link), usleep(30000);",
        "--phases A --only commands,commands_killed", "SYNs that should not have left"),
    "a descriptor is leaked at each reload": (
        "user/daemon/guard.c", "	d->policy_stamp = stamp;", "	d->policy_stamp = stamp, (void)!dup(0);",
        "--phases s", "daemon: fds"),
    "64 KiB are leaked at each reload": (
        "user/daemon/guard.c", "	d->policy_stamp = stamp;",
        "	d->policy_stamp = stamp, memset(sbrk(65536), 1, 65536);", "--phases s", "daemon: rss"),
    "a child is not waited for": (
        "user/daemon/guard.c", "	d->policy_stamp = stamp;",
        "	d->policy_stamp = stamp;\n	if (!fork())\n		_exit(0);", "--phases s", "zombies"),
    "a repair begins the census anew": (
        "user/gateway.c", "		sf_census_maps_recover(w->policy, &census);\n"
        "		gateway_recover_census(w, &census);\n", "",
        "--phases A --only pins_removed --seconds 300", "counts differ"),
    "a denial is not counted now and then": (
        "bpf/connect.bpf.c", "	count_decision(d);\n	if (d.verdict",
        "	if (bpf_ktime_get_ns() % 64)\n		count_decision(d);\n	if (d.verdict",
        "--phases A --only commands", "kernel's denials"),
    "a mail connect is denied now and then": (
        "bpf/connect.bpf.c", "			mark(ctx->sk);\n		return GO_ON;",
        "			mark(ctx->sk);\n		return bpf_ktime_get_ns() % 64 ? GO_ON : refuse(deny_errno);",
        "--phases A --only commands", "mail"),
    "the daemon mends nothing": (
        "user/daemon/guard.c", "	pin_held_links(d);\n	return", "	return 0;\n	return",
        "--phases B --only wiped", "not mended"),
    "the daemon tells nothing": (
        "user/daemon/guard.c", "		daemon_alert(d, LOG_CRIT, \"fence_broken\",",
        "		daemon_alert(d, LOG_CRIT, \"fence\",", "--phases B --only wiped", "not told"),
    "the daemon looks too seldom": (
        "user/daemon/guard.c", "#define LOOK_INTERVAL_NS 2000000000LL",
        "#define LOOK_INTERVAL_NS 30000000000LL", "--phases B --only wiped", "open for longer than stated"),
    "status believes": (
        "cli/cmd_status.c", "cli_failed(cli, &err) : sf_status_exit(&status);",
        "cli_failed(cli, &err) : SF_EXIT_OK;",
        "--phases B --only egress", "status says that all is enforced while it is not"),
    "the backstop leaves connections alone": (
        "bpf/lib/backstop.h", "	if (!syn || !s)\n		return PACKED(pass);",
        "	if (!syn || !s || syn->socket == TCP_SOCKET)\n		return PACKED(pass);",
        "--phases B --only both", "the second fence did not hold"),
    "off leaves pins": (
        "user/pins.c", "int sf_pins_remove_all(const char *pin_dir, struct sf_error *err)\n{",
        "int sf_pins_remove_all(const char *pin_dir, struct sf_error *err)\n{\n	if (pin_dir)\n"
        "		return 0;", "--phases A --only pause", "nothing left"),
    "cgroups made anew get no role": (
        "bpf/roles.bpf.c", "	if (bpf_map_update_elem(&roles, &id, role, BPF_ANY))", "	if (0)",
        "--phases A --only roles_remade", "mail denied from a cgroup made anew"),
    "a command that refused a file says that all is well": (
        "cli/output.c", "	return err->is_usage ? SF_EXIT_USAGE : SF_EXIT_FAILED;",
        "	return SF_EXIT_OK;",
        "--phases A --only config_garbage", "garbage was applied"),
}


def try_one(name, tree):
    file, old, new, arguments, wanted = PLANTS[name]
    path = os.path.join(tree, file)
    with open(path) as f:
        text = f.read()
    if text.count(old) != 1:
        return f"cannot be planted: {file} has it {text.count(old)} times"
    with open(path, "w") as f:
        f.write(text.replace(old, new))
    try:
        done = subprocess.run(["make", "-s", "all"], cwd=tree, capture_output=True, text=True)
        if done.returncode:
            return f"does not build: {done.stderr[:300]}"
        done = subprocess.run(
            [sys.executable, "tests/chaos/chaos.py", "--seconds", "20", "--seed", "7",
             *arguments.split()], cwd=tree, capture_output=True, text=True, timeout=400,
            env={**os.environ, "SMTPFENCE_BUILD": os.path.join(tree, "build")})
        lines = [l for l in done.stdout.splitlines() if l.startswith("FAIL")]
        found = [l for l in lines if wanted in l]
        if found:
            return f"found: {found[-1][5:150]}"
        with open(f"/tmp/chaos-plant.{name.replace(' ', '-')}.log", "w") as f:
            f.write(done.stdout + done.stderr)
        return f"NOT FOUND; all it said is in {f.name}"
    finally:
        with open(path, "w") as f:
            f.write(text)


def main():
    names = sys.argv[1:] or list(PLANTS)
    missed = 0
    with tempfile.TemporaryDirectory(prefix="chaos-plant-") as tree:
        subprocess.run(["cp", "-a", *(os.path.join(TOP, d) for d in sorted(os.listdir(TOP))
                                      if d != ".git"), tree], check=True)
        for name in names:
            verdict = try_one(name, tree)
            missed += not verdict.startswith("found")
            print(f"{name}: {verdict}", flush=True)
    print(f"{len(names) - missed} passed, {missed} failed, 0 skipped")
    return 1 if missed else 0


if __name__ == "__main__":
    shutil.which("make") or sys.exit("needs make")
    sys.exit(main())
