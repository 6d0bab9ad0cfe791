# SPDX-License-Identifier: GPL-2.0-only
"""Which tests run in a guest, by group, and what each needs of the kernel.

A whole tests/net takes an hour under TCG: chosen is what another kernel could make different (the
verifier, the hooks, the helpers' answers), and of that what shares a lab (test_kernel, test_wire);
what user space does alone is left to the machine itself. `run.py --all` takes all tests of the
groups, `run.py --short` what a kernel can least do without.
"""

import fnmatch

CHOICES = ("short", "usual", "all")
# group: (all of its tests, the usual choice, the short one)
GROUPS = {
    "fence": (["test_kernel.*"], ["test_kernel.*"], ["test_kernel.*"]),
    "lacks": (["test_lacks.*"], ["test_lacks.*"],
              ["test_lacks.test_the_doctor*", "test_lacks.test_packet_programs*"]),
    "wire": (["test_wire.*"], ["test_wire.*"], ["test_wire.*"]),
    "packets": (["test_packets.*", "test_gateway_packets.*"],
                ["test_packets.test_hostile", "test_packets.test_random_packets",
                 "test_packets.test_backstop", "test_gateway_packets.test_checksums_of_resets",
                 "test_gateway_packets.test_a_source_at_its_limit"], []),
    "counts": (["test_counts.*", "test_attached.*"],
               ["test_attached.*", "test_counts.test_answers_of_either_kind",
                "test_counts.test_the_crossing_syn", "test_counts.test_two_cores_tell_once"],
               ["test_attached.test_headers_that_are_not_linear"]),
    "census": (["test_census.*", "test_census_limits.*", "test_census_daemon.*",
                "test_census_flood.*"],
               ["test_census_limits.test_a_greeting_on_another_port"], []),
    "uplinks": (["test_uplinks.*"],
                ["test_uplinks.test_interfaces_come_and_go", "test_uplinks.test_a_raw_ip_device",
                 "test_uplinks.test_other_programs_before_and_after_ours"], []),
    "backstop": (["test_backstop.*", "test_backstop_connect.*"],
                 ["test_backstop_connect.test_an_allowed_connect_is_not_judged_again"], []),
    "gateway": (["test_gateway.*", "test_gateway_[flsw]*.*", "test_guard.*"], [], []),
    "open": (["test_open.*"], [], []),
    "honesty": (["test_honesty.*", "test_life.*", "test_roles.*", "test_paths.*",
                 "test_container.*"], [], []),
    "net_cls": (["test_net_cls.*"], ["test_net_cls.*"], []),
}
# Of the usual choice, on these kernels only: the oldest that it is about, and one after it.
ONLY_ON = {
    "test_lacks.test_packet_programs_are_attached_or_their_lack_is_told": ["5.10"],
    "test_lacks.test_the_daemon_does_not_go_on_about_a_lack": ["5.10"],
    "test_lacks.test_ours_among_others_filters": ["6.1", "newest"],
    "test_lacks.test_two_instances_on_one_wire": ["6.1"],
    "test_net_cls.test_net_cls_never_opens_the_fence": ["5.10", "5.10.223"],
    "test_uplinks.test_interfaces_come_and_go": ["6.1", "newest"],
    "test_uplinks.test_a_raw_ip_device": ["6.1", "newest"],
    "test_uplinks.test_other_programs_before_and_after_ours": ["6.1", "6.12", "newest"],
}
# What a kernel is there for, where it is not all of the usual choice. Another architecture: what
# programs, layouts and atomics could make different.
ARM64 = ["test_kernel.*", "test_lacks.test_the_doctor*", "test_wire.*", "test_attached.*",
         *GROUPS["packets"][1], "test_counts.test_the_crossing_syn",
         "test_counts.test_two_cores_tell_once"]
FOR = {"5.10.223": ["test_net_cls.*"],
       "6.1-arm64": ARM64, "6.12-arm64": ARM64}

CAS = ((5, 12), "no compare-and-swap in BPF programs before Linux 5.12 (test_lacks: what is said)")
TCX = ((6, 6), "no TCX before Linux 6.6 (test_lacks has clsact)")

# (pattern, what it needs); test_kernel.py proves that a kernel which should have it has it.
NEEDS = [
    *((pattern, CAS) for name in ("wire", "packets", "counts", "census", "uplinks", "backstop",
                                  "gateway") for pattern in GROUPS[name][0]),
    ("test_lacks.test_ours_among_others_filters", CAS),
    ("test_lacks.test_two_instances_on_one_wire", CAS),
    ("test_uplinks.test_other_programs_before_and_after_ours", TCX),
    ("test_uplinks.test_a_program_that_somebody_detached", TCX),
    ("test_uplinks.test_another_instance_on_the_same_wire", TCX),
]


def match(name, patterns):
    return any(fnmatch.fnmatchcase(name, p) for p in patterns)


def group_of(name):
    """The group of a test; those of no group, named on the command line, are "others"."""
    return next((g for g, row in GROUPS.items() if match(name, row[0])), "others")


def is_chosen(name, choice, kernel):
    if kernel in FOR and choice != "all":
        return match(name, FOR[kernel])
    if choice != "all" and kernel not in ONLY_ON.get(name, [kernel]):
        return False
    column = CHOICES[::-1].index(choice)
    return any(match(name, row[column]) for row in GROUPS.values())


def may_choose_from(module, choice):
    column = CHOICES[::-1].index(choice)
    return any(match(module, [p.split(".")[0] for p in row[column]]) for row in GROUPS.values())


def lacks(name, release):
    """Why this kernel, by its (major, minor), can't run the test; or None."""
    return next((why for pattern, (since, why) in NEEDS
                 if release < since and match(name, [pattern])), None)
