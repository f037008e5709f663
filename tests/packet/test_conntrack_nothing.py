# SPDX-License-Identifier: BSD-3-Clause
"""No connection from nothing: what only answers or ends something makes none, and what a server says without its connection never leaves as
the server's own (RFC 9293 s. 3.10.7.1; RFC 9260 s. 8.4: out of the blue)."""
import pytest
from conftest import A, B, both, from_tunnel, ip, tcp, to_gw, udp, REMOTE2
from nat import HOST, OUTSIDE, VIP, frontend, pod_add, sent, service
from scapy.layers.l2 import Ether
from scapy.layers.sctp import (SCTP, SCTPChunkAbort, SCTPChunkCookieEcho, SCTPChunkInit, SCTPChunkInitAck, SCTPChunkShutdown,
                               SCTPChunkShutdownAck, SCTPChunkShutdownComplete)

SCTP_ENDS = [SCTPChunkInitAck, SCTPChunkAbort, SCTPChunkShutdown, SCTPChunkShutdownAck, SCTPChunkShutdownComplete]


def sctp(sport, dport, chunk):
    return SCTP(sport=sport, dport=dport, tag=7) / chunk()


def frame(source, family, dst, l4):
    return sent(source) / ip(source.ip(family), dst.ip(family), ttl=64) / l4


@both
@pytest.mark.parametrize("source, target", [(A, B), (A, OUTSIDE), (OUTSIDE, B), (HOST, B)])
def test_what_ends_or_answers_makes_no_connection(net, family, source, target):
    for flags in ("R", "RA", "FA", "FPA", "SA"):
        net.send_dropped(source.port, frame(source, family, target, tcp(1000, 80, flags)), "no_connection")
    for chunk in SCTP_ENDS:
        net.send_dropped(source.port, frame(source, family, target, sctp(1000, 80, chunk)), "no_connection")
    assert net.conns() == []


@both
def test_data_in_the_middle_is_picked_up_unless_strict(net, family):
    net.send("a", frame(A, family, B, tcp(1000, 80, "PA", b"data")))
    assert len(net.drain("b")) == 1
    net.cmd("conntrack.set", tcp_strict=True)
    for flags in ("A", "PA", "FA", "R"):
        net.send_dropped("a", frame(A, family, B, tcp(1001, 80, flags)), "no_connection")
    net.send("a", frame(A, family, B, tcp(1000, 80, "PA", b"data")))  # older than the switch
    net.send("a", frame(A, family, B, tcp(1002, 80, "S")))
    assert len(net.drain("b")) == 2


@both
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kind, front", [("host-port", {"target_port": 8080}), ("cluster", {}), ("external", {"target_port": 8080})])
def test_late_segments_of_a_server_never_leave_as_its_own(net, family, kind, front, strict):
    net.cmd("conntrack.set", tcp_strict=strict)
    net.cmd("service.add", name="s", backends=[{"ip": B.ip(family), "port": 8080, "local": True}], frontends=[
        frontend(family, kind, proto, 80, HOST.ip(family) if kind == "host-port" else None, **front) for proto in ("tcp", "sctp")])
    for target in (OUTSIDE, A, HOST):
        for flags in ("SA", "A", "PA", "FA", "R", "RA"):
            net.send_dropped("b", frame(B, family, target, tcp(8080, 1000, flags)), "no_connection")
        for chunk in (*SCTP_ENDS, SCTPChunkCookieEcho, SCTPChunkInit):
            net.send_dropped("b", frame(B, family, target, sctp(8080, 1000, chunk)), "no_connection")
    net.send("b", frame(B, family, A, tcp(8080, 1000, "S")))  # a connection of its own
    assert len(net.drain("a")) == 1
    if not strict:
        net.send("b", frame(B, family, A, tcp(8081, 1000, "A")))  # serves nothing there
        net.cmd("service.del", name="s")
        net.send("b", frame(B, family, A, tcp(8080, 1001, "A")))  # … and no more
        assert len(net.drain("a")) == 2


@both
def test_server_of_several_services_is_one_until_the_last_goes(net, family):
    for n in range(3):
        service(net, family, [B], name=f"s{n}", port=80 + n, front={"target_port": 8080})
    for n in range(3):
        net.send_dropped("b", frame(B, family, A, tcp(8080, 1000, "A")), "no_connection")
        service(net, family, [A] if n == 1 else [], name=f"s{n}", port=80 + n, front={"target_port": 8080})
    net.send("b", frame(B, family, A, tcp(8080, 1000, "A")))
    assert len(net.drain("a")) == 1
    net.send_dropped("a", frame(A, family, B, tcp(8080, 1001, "A")), "no_connection")


@both
def test_server_behind_a_tunnel_is_one_too(net, family):
    service(net, family, [{"ip": REMOTE2[family], "port": 80, "local": False}])
    net.send_dropped("up", from_tunnel(ip(REMOTE2[family], A.ip(family), ttl=64) / tcp(80, 1000, "A")), "no_connection")


@both
def test_clients_next_segment_brings_a_lost_connection_back(net, family):
    service(net, family, [B])
    net.send_dropped("b", frame(B, family, A, tcp(80, 1000, "A")), "no_connection")
    net.send("a", to_gw(A) / ip(A.ip(family), VIP[family], ttl=64) / tcp(1000, 80, "A"))
    net.send("b", frame(B, family, A, tcp(80, 1000, "A")))
    assert len(net.drain("b")) == 1
    answer, = net.drain("a")
    assert Ether(answer).payload.src == VIP[family]


# ---- UDP: a late answer is the service's for one time-out more

def lapsed(net, family, is_answered, after):
    service(net, family, [B], proto="udp")
    net.cmd("conntrack.set", udp_new_s=30, udp_replied_s=60)
    net.send("a", to_gw(A) / ip(A.ip(family), VIP[family], ttl=64) / udp(1000, 80))
    assert len(net.drain("b")) == 1
    if is_answered:
        net.send("b", frame(B, family, A, udp(80, 1000)))
        assert len(net.drain("a")) == 1
    for _ in range(after):
        net.warp(1)
        net.step(16)
    return [c["state"] for c in net.conns()]


@both
@pytest.mark.parametrize("is_answered, timeout", [(False, 30), (True, 60)])
def test_late_answer_is_still_the_services(net, family, is_answered, timeout):
    assert lapsed(net, family, is_answered, timeout + 12) == ["lapsed"]
    for _ in range(3):
        net.send("b", frame(B, family, A, udp(80, 1000)))
        answer, = net.drain("a")
        assert Ether(answer).payload.src == VIP[family]
    for _ in range(timeout + 12):  # answers do not keep it
        net.warp(1)
        net.step(16)
    assert net.conns() == []
    net.send("b", frame(B, family, A, udp(80, 1000)))
    answer, = net.drain("a")
    assert Ether(answer).payload.src == B.ip(family)


@both
def test_client_of_a_lapsed_flow_begins_anew(net, family):
    """Its limits, its backend: nothing of the old one binds it, and it counts nowhere."""
    pod_add(net)
    net.cmd("endpoint.del", id="a")
    net.cmd("endpoint.add", id="a", port="a", addresses=[A.ip4, A.ip6], max_conns=1)
    assert lapsed(net, family, True, 72) == ["lapsed"]
    net.send("a", to_gw(A) / ip(A.ip(family), VIP[family], ttl=64) / udp(1000, 80))
    assert len(net.drain("b")) == 1
    assert [c["state"] for c in net.conns() if c["state"] != "dead"] == ["new"]
    net.send_dropped("a", to_gw(A) / ip(A.ip(family), VIP[family], ttl=64) / udp(1001, 80), "conn_limit")


@both
def test_flow_without_service_does_not_lapse(net, family):
    net.cmd("conntrack.set", udp_new_s=30, udp_replied_s=60)
    net.send("a", frame(A, family, B, udp(1000, 80)))
    assert len(net.drain("b")) == 1
    for _ in range(42):
        net.warp(1)
        net.step(16)
    assert net.conns() == []
