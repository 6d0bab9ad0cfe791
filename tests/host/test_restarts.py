# SPDX-License-Identifier: GPL-2.0-only
"""The mail server's right follows it through restarts."""

import fence
import scenery
from host import until
from scenery import Attacker

RESTARTS, EACH = 50, 3


def test_restarts_under_a_queue(host):
    """Each restart comes upon mail that is being sent."""
    fence.ensure(host)
    until(lambda: scenery.queue_is_empty(host), "an empty queue")
    before = fence.denied_by_reason(host)
    host.far.recorder.clear()       # what was sent before there was a fence
    with Attacker(host) as attacker:
        for n in range(RESTARTS):
            scenery.send_mail(host, f"restart{n:02}", EACH)
            host.must("systemctl", "restart", "postfix")
            assert attacker.through() == 0, f"the attacker got through at restart {n}"
        until(lambda: scenery.queue_is_empty(host), "an empty queue")
        denied = attacker.denied()
    host.settle()
    assert not host.far.syns(), "the attacker's SYNs"
    assert denied > RESTARTS, f"the attacker tried {denied} times only"
    missing = [f"restart{n:02}-{i}" for n in range(RESTARTS) for i in range(EACH)
               if not host.far.delivered(f"restart{n:02}-{i}@far.test")]
    assert not missing, f"{len(missing)} messages were lost: {missing[:5]}"
    print(f"# {RESTARTS} restarts, {RESTARTS * EACH} messages, {denied} denied", flush=True)
    # Who was denied meanwhile: nobody but the attacker (no_role); nothing of Postfix' users.
    after = fence.denied_by_reason(host)
    for reason in ("mail_user", "socket_moved", "no_identity", "too_deep", "no_settings"):
        assert after.get(reason, 0) == before.get(reason, 0), f"{reason}: {before} -> {after}"
    assert not fence.events(host, unit="postfix@-.service"), "Postfix was denied"
    log = host.must("cat /var/log/mail.log")
    assert "Operation not permitted" not in log, "Postfix saw EPERM"
