# SPDX-License-Identifier: GPL-2.0-only
"""Which tests run in a guest, by group, and what each needs of the kernel.

A whole tests/net takes an hour under TCG: chosen is what another kernel could make different (the
verifier, the hooks, the helpers' answers); what user space does alone is left to the machine itself.
`tests/vm/run.py --all` takes all tests of the groups.
"""

import fnmatch

# group: (all of its tests, the chosen ones)
GROUPS = {
    "fence": (["test_kernel.*"], ["test_kernel.*"]),
    "packets": (["test_packets.*", "test_gateway_packets.*"],
                ["test_packets.test_hostile", "test_packets.test_scapy_agrees",
                 "test_packets.test_random_packets", "test_packets.test_backstop",
                 "test_gateway_packets.test_checksums_of_resets",
                 "test_gateway_packets.test_a_source_at_its_limit"]),
    "counts": (["test_counts.*", "test_attached.*"],
               ["test_attached.*", "test_counts.test_answers_of_either_kind",
                "test_counts.test_the_crossing_syn", "test_counts.test_two_cores_tell_once",
                "test_counts.test_sources_full"]),
    "census": (["test_census.*", "test_census_limits.*", "test_census_daemon.*",
                "test_census_flood.*"],
               ["test_census.test_each_syn_under_its_source_and_its_sender",
                "test_census.test_pins_that_were_taken_away",
                "test_census.test_what_leaves_without_a_connect*",
                "test_census_limits.test_a_greeting_on_another_port"]),
    "uplinks": (["test_uplinks.*"],
                ["test_uplinks.test_interfaces_come_and_go",
                 "test_uplinks.test_other_programs_before_and_after_ours",
                 "test_uplinks.test_off_and_no_uplinks_take_all_of_ours",
                 "test_uplinks.test_a_raw_ip_device"]),
    "gateway": (["test_gateway.*", "test_gateway_*.*"],
                ["test_gateway.test_only_the_mail_host_sends",
                 "test_gateway.test_every_form_by_xdp", "test_gateway.test_tags",
                 "test_gateway.test_a_routed_tun_device", "test_gateway.test_off_removes_all"]),
    "open": (["test_open.*"],
             ["test_open.test_listed_and_left",
              "test_open.test_kill_ends_only_what_is_not_allowed"]),
}

CAS = ((5, 12), "no compare-and-swap in BPF programs before Linux 5.12 (test_kernel: what is said)")
TCX = ((6, 6), "no TCX before Linux 6.6 (test_kernel has clsact)")

# (pattern, what it needs); test_kernel.py proves that a kernel which should have it has it.
NEEDS = [
    *((pattern, CAS) for name in ("packets", "counts", "census", "uplinks", "gateway")
      for pattern in GROUPS[name][0]),
    ("test_uplinks.test_other_programs_before_and_after_ours", TCX),
    ("test_uplinks.test_a_program_that_somebody_detached", TCX),
    ("test_uplinks.test_another_instance_on_the_same_wire", TCX),
]


def match(name, patterns):
    return any(fnmatch.fnmatchcase(name, p) for p in patterns)


def group_of(name):
    """The group of a test; those of no group, named on the command line, are "others"."""
    return next((g for g, (whole, _) in GROUPS.items() if match(name, whole)), "others")


def is_chosen(name, everything):
    return any(match(name, part[0 if everything else 1]) for part in GROUPS.values())


def lacks(name, release):
    """Why this kernel, by its (major, minor), can't run the test; or None."""
    return next((why for pattern, (since, why) in NEEDS
                 if release < since and match(name, [pattern])), None)
