# SPDX-License-Identifier: GPL-2.0-only
"""What "denied" and "allowed" mean: the sender's errno and the far end of the wire, both."""


def denied(lab, cgroup, how="connect", errno="EPERM", **options):
    """The attempt fails with this errno, at once, and no SYN of it arrives."""
    lab.clear()
    answer = lab.connect(cgroup, how, **options)
    syns = lab.syns(dport=options.get("port", 25))
    what = f"{how} {options} from {cgroup}"
    assert answer.get("errno") == errno and "stuck" not in answer, \
        f"{what}: wanted {errno}, got {answer}"
    assert not syns, f"{what}: said {errno}, but a SYN arrived: {syns[0]}"


def passes(lab, cgroup, how="connect", **options):
    """The attempt succeeds and its SYN arrives at the wanted port."""
    lab.clear()
    answer = lab.connect(cgroup, how, **options)
    what = f"{how} {options} from {cgroup}"
    assert answer["rc"] == 0, f"{what}: wanted success, got {answer}"
    assert lab.syns(dport=options.get("port", 25)), f"{what}: success, but no SYN arrived"


def connects(lab, cgroup, how="connect", **options):
    """The attempt succeeds; for destinations that are not in the world (loopback)."""
    answer = lab.connect(cgroup, how, **options)
    assert answer["rc"] == 0, f"{how} {options} from {cgroup}: wanted success, got {answer}"


def in_force(lab):
    """The fence stands: a web site is denied and the mail server is not. For after a change."""
    denied(lab, lab.web)
    passes(lab, lab.mta)


def not_in_force(lab):
    passes(lab, lab.web)
    passes(lab, lab.mta)
