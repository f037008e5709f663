# SPDX-License-Identifier: BSD-3-Clause
"""Connections: states, time-outs on a warped clock, limits, and what a changed configuration does to live ones."""
import pytest
from conftest import (A, B, EXTERNAL, HOST, REMOTE2, ROUTER, UP, both, echo, from_gw, from_tunnel, ip, tcp, to_gw, udp)
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6EchoReply
from scapy.layers.l2 import Ether
from scapy.packet import Raw


class Talk:
    """A TCP or UDP conversation between pods a and b, packet by packet."""

    def __init__(self, net, family, sport=1000, dport=80):
        self.net, self.family, self.sport, self.dport = net, family, sport, dport

    def a(self, flags):
        self.net.send("a", to_gw(A) / ip(A.ip(self.family), B.ip(self.family), ttl=64) / tcp(
            self.sport, self.dport, flags))
        assert len(self.net.drain("b")) == 1
        return self.state()

    def b(self, flags):
        self.net.send("b", to_gw(B) / ip(B.ip(self.family), A.ip(self.family), ttl=64) / tcp(
            self.dport, self.sport, flags))
        assert len(self.net.drain("a")) == 1
        return self.state()

    def open(self):
        assert [self.a("S"), self.b("SA"), self.a("A")] == ["syn_sent", "syn_recv", "established"]

    def state(self):
        states = [c["state"] for c in self.net.conns() if c["state"] != "dead"]
        assert len(states) == 1
        return states[0]


@both
def test_tcp_handshake_and_orderly_end(net, family):
    talk = Talk(net, family)
    talk.open()
    assert [talk.a("PA"), talk.b("A")] == ["established"] * 2
    assert [talk.a("FA"), talk.b("A"), talk.b("FA"), talk.a("A")] == ["fin_wait", "fin_wait", "time_wait", "time_wait"]


def test_fragments_of_an_answer_are_no_acknowledgement(net):
    """What follows the SYN and ACK in a fragment of its own does not end the handshake."""
    talk = Talk(net, 4)
    talk.a("S")
    whole = bytes(ip(B.ip4, A.ip4) / tcp(80, 1000, "SA") / Raw(bytes(40)))[20:]
    for start, flags in ((0, "MF"), (24, 0)):
        net.send("b", to_gw(B) / IP(src=B.ip4, dst=A.ip4, id=5, proto=6, frag=start // 8, flags=flags) / Raw(
            whole[start:] if start else whole[:24]))
    assert len(net.drain("a", check=False)) == 2
    assert talk.state() == "syn_recv"
    assert talk.a("A") == "established"


@both
def test_tcp_end_begun_by_the_other_side(net, family):
    talk = Talk(net, family)
    talk.open()
    assert [talk.b("FA"), talk.b("FA"), talk.a("A"), talk.a("FA")] == ["fin_wait"] * 3 + ["time_wait"]


@both
@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("flags", ["R", "RA"])
def test_tcp_reset_closes(net, family, side, flags):
    talk = Talk(net, family)
    talk.open()
    assert getattr(talk, side)(flags) == "closed"


@both
@pytest.mark.parametrize("first", ["a", "b"])
def test_tcp_forged_reset_does_not_kill(net, family, first):
    talk = Talk(net, family)
    talk.open()
    assert talk.a("R") == "closed"
    if first == "a":
        assert [talk.a("A"), talk.a("PA")] == ["closed"] * 2, "who resets cannot say that it was not meant"
    assert [talk.b("A"), talk.a("PA")] == ["established"] * 2
    assert talk.b("R") == "closed"
    assert talk.a("FA") == "fin_wait"
    assert [talk.a("R"), talk.b("A")] == ["closed", "fin_wait"]


@both
def test_tcp_syn_on_a_live_connection_changes_nothing(net, family):
    talk = Talk(net, family)
    talk.open()
    assert [talk.a("S"), talk.b("S"), talk.b("SA"), talk.a("A")] == ["established"] * 4


@both
def test_tcp_simultaneous_open(net, family):
    talk = Talk(net, family)
    assert [talk.a("S"), talk.b("S"), talk.a("SA"), talk.b("SA"), talk.a("A")] == [
        "syn_sent"] + ["syn_recv"] * 3 + ["established"]


@both
def test_tcp_refused_connection_closes(net, family):
    talk = Talk(net, family)
    assert [talk.a("S"), talk.b("RA")] == ["syn_sent", "closed"]


@both
def test_tcp_retransmitted_handshake_changes_nothing(net, family):
    talk = Talk(net, family)
    assert [talk.a("S"), talk.a("S"), talk.b("SA"), talk.b("SA"), talk.a("A"), talk.b("SA")] == [
        "syn_sent", "syn_sent", "syn_recv", "syn_recv", "established", "established"]


@both
def test_tcp_data_instead_of_the_last_ack_establishes(net, family):
    talk = Talk(net, family)
    assert [talk.a("S"), talk.b("SA"), talk.a("PA")][-1] == "established"


@both
def test_tcp_is_picked_up_in_the_middle(net, family):
    talk = Talk(net, family)
    assert [talk.b("A"), talk.a("PA"), talk.b("FA")] == ["established", "established", "fin_wait"]


@both
@pytest.mark.parametrize("end", [("FA", "FA"), ("R",)])
def test_tcp_tuple_used_again_starts_anew(net, family, end):
    talk = Talk(net, family)
    talk.open()
    for n, flags in enumerate(end):
        (talk.a, talk.b)[n % 2](flags)
    assert [talk.a("S"), talk.b("SA"), talk.a("A"), talk.a("FA")] == ["syn_sent", "syn_recv", "established", "fin_wait"]


@both
def test_tcp_tuple_used_again_from_the_other_side(net, family):
    talk = Talk(net, family)
    talk.open()
    talk.a("R")
    assert [talk.b("S"), talk.a("SA"), talk.b("A")] == ["syn_sent", "syn_recv", "established"]


@both
def test_tcp_flags_valid_and_invalid_on_new_and_live_connections(net, family):
    for live in (False, True):
        for flags in range(32):
            syn, fin, rst, ack = flags & 2, flags & 1, flags & 4, flags & 16
            is_bad = bool(fin or rst) if syn else bool(fin) if rst else not ack
            frame = to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / tcp(flags + 100 + 1000 * live, 80, flags)
            if live:
                net.send("a", to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / tcp(flags + 1100, 80, "A"))
                net.drain("b")
            if is_bad:
                net.send_dropped("a", frame, "tcp_invalid")
            elif not live and (rst or fin or syn and ack):
                net.send_dropped("a", frame, "no_connection")
            else:
                net.send("a", frame)
                assert len(net.drain("b")) == 1


# ---- other protocols

@both
def test_udp_becomes_replied(net, family):
    net.send("a", to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / udp())
    assert [c["state"] for c in net.conns()] == ["new"]
    net.send("b", to_gw(B) / ip(B.ip(family), A.ip(family), ttl=64) / udp(2000, 1000))
    assert [c["state"] for c in net.conns()] == ["replied"]
    assert len(net.drain("a")) == len(net.drain("b")) == 1


@both
def test_echo_is_one_connection_by_identifier(net, family):
    for seq in range(3):
        net.send("a", to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / echo(family, ident=7, seq=seq))
        back = ICMP(type=0, id=7, seq=seq) / Raw(b"x") if family == 4 else ICMPv6EchoReply(id=7, seq=seq, data=b"x")
        net.send("b", to_gw(B) / ip(B.ip(family), A.ip(family), ttl=64) / back)
    assert len(net.drain("a")) == len(net.drain("b")) == 3
    assert [(c["state"], c["orig_pkts"], c["reply_pkts"]) for c in net.conns()] == [("replied", 3, 3)]
    net.send("a", to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / echo(family, ident=8))
    net.drain("b")
    assert len(net.conns()) == 2


@both
def test_echo_with_identifier_zero_is_a_connection_too(net, family):
    for _ in range(3):
        net.send("a", to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / echo(family, ident=0))
    assert len(net.drain("b")) == 3
    assert [(c["state"], c["orig_pkts"]) for c in net.conns()] == [("new", 3)]


# ---- time-outs

TCP_STEPS = {"tcp-syn": ["aS"], "tcp-synack": ["aS", "bSA"], "tcp-established": ["aS", "bSA", "aA"],
             "tcp-fin": ["aS", "bSA", "aA", "aFA"], "tcp-time-wait": ["aS", "bSA", "aA", "aFA", "bFA"],
             "tcp-reset": ["aS", "bSA", "aA", "aR"]}


def open_in(net, family, kind):
    there = ip(A.ip(family), B.ip(family), ttl=64)
    back = ip(B.ip(family), A.ip(family), ttl=64)
    talk = Talk(net, family)
    if kind == "udp-new":
        net.send("a", to_gw(A) / there / udp())
    elif kind == "udp-replied":
        net.send("a", to_gw(A) / there / udp())
        net.send("b", to_gw(B) / back / udp(2000, 1000))
    elif kind == "icmp-new":
        net.send("a", to_gw(A) / there / echo(family))
    elif kind == "other-new":
        net.send("a", to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64, **{
            "proto" if family == 4 else "nh": 47}) / Raw(bytes(30)))
    else:
        for step in TCP_STEPS[kind]:
            getattr(talk, step[0])(step[1:])
    net.drain("a")
    net.drain("b")
    assert len(net.conns()) == 1


TIMEOUTS = {"udp-new": 120, "udp-replied": 300, "icmp-new": 60, "other-new": 60, "tcp-syn": 240, "tcp-synack": 240,
            "tcp-established": 7440, "tcp-fin": 7440, "tcp-time-wait": 240, "tcp-reset": 240}


@both
@pytest.mark.parametrize("kind", TIMEOUTS)
def test_idle_connection_lives_as_long_as_its_state_says(net, family, kind):
    open_in(net, family, kind)
    net.warp(TIMEOUTS[kind] - 2)
    net.step(2)
    assert len(net.conns()) == 1, "gone too early"
    net.warp(4)
    net.step(2)
    net.warp(12)  # the sweeper looks at every connection about every 10 s
    net.step(3)
    assert net.conns() == [], "not gone in time"


@both
def test_traffic_of_either_direction_keeps_a_connection(net, family):
    there = to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / udp()
    back = to_gw(B) / ip(B.ip(family), A.ip(family), ttl=64) / udp(2000, 1000)
    net.send("a", there)
    net.send("b", back)
    for n in range(8):
        net.warp(100)
        net.send(*(("a", there) if n % 2 else ("b", back)))
        net.step(2)
        assert [(c["state"]) for c in net.conns()] == ["replied"]
    assert len(net.drain("a")) + len(net.drain("b")) == 10


@both
def test_packet_after_the_time_out_opens_anew(net, family):
    frame = to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / udp()
    net.send("a", [frame] * 3)
    net.warp(120)
    net.step(3)
    net.warp(1)
    net.step(3)
    net.send("a", frame)
    assert [(c["orig_pkts"]) for c in net.conns()] == [1]
    assert len(net.drain("b")) == 4


# ---- limits

def many(net, count, first=1):
    """count new connections from a, in bursts; what the drops say."""
    for n in range(first, first + count, 500):
        net.send("a", [to_gw(A) / ip(A.ip4, EXTERNAL[4], ttl=64) / udp(sport=p) for p in range(
            n, min(n + 500, first + count))])
    passed = len(net.drain("up"))
    refused = {reason: n for (port, reason), n in net.counted().items()}
    assert set(refused) <= {"flow_table_full", "new_flow_limit"}
    return passed, refused


@pytest.mark.parametrize("harness", [{"conns": 1024}], indirect=True)
def test_full_table_refuses_new_connections_but_keeps_the_old(net):
    passed, refused = many(net, 1500)
    assert 900 < passed <= 1024 and len(net.conns()) == passed and sum(refused.values()) == 1500 - passed
    net.drops("a", **refused)
    old = to_gw(A) / ip(A.ip4, EXTERNAL[4], ttl=64) / udp(sport=1)
    net.send("a", [old] * 5)
    assert len(net.drain("up")) == 5
    net.warp(130)
    net.step(3)
    net.warp(20)
    net.step(3)
    assert net.conns() == []
    net.send("a", old)
    assert len(net.drain("up")) == 1


@pytest.mark.parametrize("harness", [{"conns": 1024}], indirect=True)
def test_flood_from_one_pod_leaves_room_for_another(net):
    _, refused = many(net, 2000)
    assert sum(refused.values()) > 900
    net.drops("a", **refused)
    net.send("b", to_gw(B) / ip(B.ip4, EXTERNAL[4], ttl=64) / tcp(sport=1))
    assert len(net.drain("up")) == 1


@both
def test_forwarding_continues_while_ports_come_and_go(net, family):
    frame = to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / udp()
    for n in range(10):
        net.cmd("port.add", name=f"p{n}", role="pod", mac=f"0a:58:00:00:00:{n:02x}")
        net.cmd("endpoint.add", id=f"p{n}", port=f"p{n}", addresses=[f"10.244.1.{n + 100}"])
        net.send("a", frame)
        if n % 2:
            net.cmd("port.del", name=f"p{n}")
        net.send("a", frame)
    assert len(net.drain("b")) == 20
    assert len(net.conns()) == 1


@both
def test_connection_through_every_pair_of_ways(net, family):
    """Pod, host, uplink and tunnel: a request and its reply, one connection each."""
    ends = {"a": (to_gw(A), A.ip(family), "a"), "host": (to_gw(HOST), HOST.ip(family), "host"),
            "up": (Ether(src=ROUTER.mac, dst=UP.mac), EXTERNAL[family], "up"), "tunnel": (None, REMOTE2[family], "up")}

    def frame(src, dst, sport, dport):
        packet = ip(ends[src][1], ends[dst][1], ttl=64) / udp(sport, dport)
        return from_tunnel(packet) if src == "tunnel" else ends[src][0] / packet

    n = 0
    for src in ends:
        for dst in ends:
            if src == dst or {src, dst} == {"up", "tunnel"}:
                continue
            n += 1
            net.send(ends[src][2], frame(src, dst, 100 + n, 53))
            assert len(net.drain(ends[dst][2])) == 1, f"{src} to {dst}"
            net.send(ends[dst][2], frame(dst, src, 53, 100 + n))
            assert len(net.drain(ends[src][2])) == 1, f"{dst} back to {src}"
    assert [c["state"] for c in net.conns()] == ["replied"] * n


def limit(net, **limits):
    """Pod a again, with limits."""
    net.cmd("endpoint.del", id="a")
    net.cmd("endpoint.add", id="a", port="a", addresses=[A.ip4, A.ip6], **limits)


def opened(net, ports, family=4):
    """How many of these ports of pod a get a connection; the others' packets are dropped by conn_limit."""
    frames = [to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / udp(sport=p) for p in ports]
    net.send("a", frames)
    n = len(net.drain("b"))
    if n < len(frames):
        net.drops("a", conn_limit=len(frames) - n)
    return n


@both
def test_endpoint_holds_no_more_connections_than_it_may(net, family):
    limit(net, max_conns=10)
    assert opened(net, range(1, 16), family) == 10
    assert opened(net, range(1, 16), family) == 10  # the ten go on
    net.send("b", to_gw(B) / ip(B.ip(family), A.ip(family), ttl=64) / udp(sport=9))
    assert len(net.drain("a")) == 1  # what others open does not count
    net.warp(130)
    net.step(3)
    net.warp(20)
    net.step(3)
    assert opened(net, range(20, 40), family) == 10


@both
def test_endpoint_opens_no_more_connections_a_second_than_it_may(net, family):
    limit(net, max_new_conns_per_s=100)
    assert opened(net, range(1, 151), family) == 100
    net.warp(0.25)
    assert 24 <= opened(net, range(1001, 1101), family) <= 26
    assert opened(net, range(1, 101), family) == 100  # packets of open ones are free


def test_zone_holds_no_more_connections_than_it_may(net):
    net.cmd("zone.add", id=0, max_conns=20)
    assert opened(net, range(1, 16), 4) == 15
    assert opened(net, range(1, 16), 6) == 5
    net.send_dropped("b", to_gw(B) / ip(B.ip4, A.ip4, ttl=64) / udp(sport=7), "conn_limit")
    net.cmd("zone.add", id=0, max_conns=0)
    assert opened(net, range(20, 30), 4) == 10


def test_changed_time_out_reaches_connections_that_are_there(net):
    assert opened(net, [1]) == 1
    net.cmd("conntrack.set", udp_new_s=5)
    net.warp(6)
    net.step(2)
    net.warp(12)
    net.step(3)
    assert net.conns() == []


@pytest.mark.parametrize("harness", [{"conns": 1024}], indirect=True)
@pytest.mark.parametrize("is_early", [True, False])
def test_half_open_connections_make_room_early_in_a_nearly_full_table(net, is_early):
    net.cmd("conntrack.set", early_drop=is_early)
    Talk(net, 4).open()
    _, refused = many(net, 1500)
    net.drops("a", **refused)
    for _ in range(4):
        net.warp(1)
        net.step(10)
    states = [c["state"] for c in net.conns()]
    assert "established" in states
    assert (len(states) < 1024 * 15 / 16) if is_early else (len(states) > 1024 * 15 / 16)


@pytest.mark.parametrize("harness", [{"conns": 4096}], indirect=True)
def test_syn_flood_from_one_pod_costs_the_others_nothing(net):
    """Five times the table a second for three seconds, as a million SYNs a second against 200,000 connections."""
    def b(flags, sport):
        return to_gw(B) / ip(B.ip4, EXTERNAL[4], ttl=64) / tcp(sport, 443, flags)

    def router(flags, dport):
        return Ether(src=ROUTER.mac, dst=UP.mac) / ip(EXTERNAL[4], B.ip4, ttl=64) / tcp(443, dport, flags)

    def from_b(packets):
        net.send("b", packets)
        return len(net.drain("up"))

    def open_from_b(sport):
        assert from_b(b("S", sport)) == 1
        net.send("up", router("SA", sport))
        assert from_b(b("A", sport)) == 1

    for port in range(10):
        open_from_b(1 + port)
    flood = [to_gw(A) / ip(A.ip4, EXTERNAL[4], ttl=64) / tcp(sport, 80) for sport in range(1000, 61000)]
    for n in range(30):
        net.inject("a", flood[n * 2000:n * 2000 + 500])
        net.step(1)
        net.inject("a", flood[n * 2000 + 500:n * 2000 + 1000])
        net.step(1)
        net.warp(0.05)
        net.drain("up", check=False)
        assert from_b([b("A", 1 + port) for port in range(10)]) == 10
        open_from_b(100 + n)
        net.step(10)
    assert len(net.drain("b")) == 40
    assert sum(c["state"] == "established" for c in net.conns()) == 40
    refused = {reason: n for (port, reason), n in net.counted().items()}
    assert set(refused) <= {"flow_table_full", "new_flow_limit"} and sum(refused.values()) > 4096
    net.drops("a", **refused)
