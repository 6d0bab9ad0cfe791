# SPDX-License-Identifier: GPL-2.0-only
"""Ways to open a TCP connection (modes of client.c), and places from which senders try."""

TCP_WAYS = ("connect", "nonblock", "reconnect", "thread", "mptcp", "tfo-sendto", "tfo-sendmsg",
            "tfo-sendmmsg", "tfo-connect", "uring", "uring-async", "uring-sqpoll")


def LOCATIONS(lab):
    """Places that have no right to send, each as arguments of lab.connect()."""
    mta, web = lab.mta, lab.web
    inner = lab.cgroup("web/site1/a/b/c/d")
    namesake = lab.cgroup("web/mta")
    nested_namesake = lab.cgroup("web/site1" + mta.name)
    return {
        "a web site": dict(cgroup=web),
        "a web site, as root": dict(cgroup=web, uid=0),
        "a web site, with the mail server's uid": dict(cgroup=web, uid=8, gid=8),
        "nested cgroups": dict(cgroup=inner),
        "the lab's root cgroup": dict(cgroup=lab.root_path),
        "the mail server's name under another parent": dict(cgroup=namesake),
        "the mail server's whole path under another parent": dict(cgroup=nested_namesake),
        "a container with its own network": dict(cgroup=web, where="guest"),
        "a socket from the mail cgroup, by SCM_RIGHTS": dict(cgroup=web, scm_from=mta),
        "a socket carried by its process out of the mail cgroup": dict(cgroup=mta, move=web),
        "a socket inherited from the mail cgroup": dict(cgroup=mta, inherit=web),
        "a socket made in the mail cgroup, used by a clone born outside":
            dict(cgroup=mta, clone_into=web),
        "a foreign socket handed into the mail cgroup": dict(cgroup=mta, scm_from=web),
        "a foreign socket carried into the mail cgroup": dict(cgroup=web, move=mta),
        "a customer's program in the mail cgroup": dict(cgroup=mta, uid=33, gid=33),
    }
