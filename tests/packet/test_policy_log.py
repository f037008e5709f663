# SPDX-License-Identifier: BSD-3-Clause
"""Rules that log: what is handed to the control thread, when, and how much at most."""
import time

import pytest
from conftest import A, B, GW, both, ip, tcp, udp
from scapy.layers.l2 import Ether

ALLOW, DENY, REJECT = range(3)


def frame(family, packet):
    return Ether(src=A.mac, dst=GW) / ip(A.ip(family), B.ip(family)) / packet


def bound(net, endpoint, direction, action, name="p", **how):
    net.cmd("policy.add", name=name)
    net.cmd("rule.add", policy=name, name="r", direction=direction, action=action, **how)
    net.cmd("policy.bind", policy=name, endpoint=endpoint)


def logs(net):
    return [{k: p[k] for k in ("port", "src", "sport", "target", "dport", "proto", "verdict", "dir")} for p in net.punts()
            if p["kind"] == "log"]


def line(family, verdict, direction, sport, dport, proto):
    return {"port": "a", "src": A.ip(family), "sport": sport, "target": B.ip(family), "dport": dport, "proto": proto,
            "verdict": verdict, "dir": direction}


@both
@pytest.mark.parametrize("action", ("allow", "log"))
def test_a_connection_is_logged_when_it_begins(net, family, action):
    bound(net, "a", "egress", action, log=True)
    for _ in range(3):
        net.send("a", frame(family, tcp(sport=1000, dport=80)))
        assert len(net.drain("b")) == 1
    assert logs(net) == [line(family, ALLOW, "egress", 1000, 80, 6)]
    net.cmd("policy.add", name="other")  # judged again, but nothing new
    net.send("a", frame(family, tcp(sport=1000, dport=80)))
    assert len(net.drain("b")) == 1
    assert logs(net) == []


@both
def test_refused_packets_are_logged_one_by_one(net, family):
    bound(net, "b", "ingress", "deny", log=True)
    net.send_dropped("a", [frame(family, udp(sport=1000, dport=53))] * 3, "policy_denied")
    assert logs(net) == [line(family, DENY, "ingress", 1000, 53, 17)] * 3


@both
def test_both_ends_log_one_verdict(net, family):
    bound(net, "a", "egress", "allow", name="out", log=True)
    bound(net, "b", "ingress", "reject", name="in", log=True)
    net.send_dropped("a", frame(family, tcp(sport=1000, dport=80)), "policy_rejected")
    assert len(net.drain("a")) == 1
    assert logs(net) == [line(family, REJECT, way, 1000, 80, 6) for way in ("egress", "ingress")]


@both
def test_nobody_asked_nothing_is_logged(net, family):
    bound(net, "b", "ingress", "deny")
    net.send_dropped("a", frame(family, udp(sport=1000, dport=53)), "policy_denied")
    assert logs(net) == []


@both
def test_a_flood_is_logged_in_part(net, family):
    bound(net, "b", "ingress", "deny", log=True)
    started = time.monotonic()
    net.send_dropped("a", [frame(family, udp(sport=1000, dport=53))] * 2000, "policy_denied")
    passed_ms = (time.monotonic() - started) * 1000
    assert 50 <= len(logs(net)) <= 51 + passed_ms
