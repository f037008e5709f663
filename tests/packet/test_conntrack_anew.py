# SPDX-License-Identifier: BSD-3-Clause
"""Who may use a connection's tuple: nobody who was only answered, or whose connection is over, gets in by it (RFC 9293 s. 3.5, RFC 792,
RFC 4443 s. 4; as Linux, where the ICMP type is part of the tuple and a SYN after the end is judged as new)."""
import socket
import struct

import pytest
from conftest import A, B, EXTERNAL, both, ip, tcp, to_gw, udp
from nat import OUTSIDE, got, sent
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.sctp import (SCTP, SCTPChunkAbort, SCTPChunkCookieEcho, SCTPChunkInit, SCTPChunkInitAck, SCTPChunkShutdown,
                               SCTPChunkShutdownAck, SCTPChunkShutdownComplete)
from scapy.packet import Raw

CHUNKS = {"S": SCTPChunkInit, "SA": SCTPChunkInitAck, "A": SCTPChunkCookieEcho, "R": SCTPChunkAbort, "FA": SCTPChunkShutdown,
          "fa": SCTPChunkShutdownAck, "C": SCTPChunkShutdownComplete}
handshakes = pytest.mark.parametrize("proto", ["tcp", "sctp"])
strictness = pytest.mark.parametrize("strict", [False, True])
SPORT, DPORT = 1000, 80
POOL = {4: "203.0.113.100", 6: "2001:db8:5::100"}


def l4(proto, sport, dport, flags, **fields):
    if proto == "tcp":
        return tcp(sport, dport, flags, **fields)
    return SCTP(sport=sport, dport=dport, tag=7) / CHUNKS[flags]()


class Ends:
    """A connection that pod B opened to A's or the outside's port 80; `node` is the other end."""

    def __init__(self, net, family, proto, node, strict=False):
        self.net, self.family, self.proto, self.node = net, family, proto, node
        self.port = SPORT  # as the other end knows it
        self.own = B.ip(family)
        self.seq = {"b": 100, "node": 5000}
        if strict:
            net.cmd("conntrack.set", tcp_strict=True)

    def frame(self, side, flags):
        fields = {}
        if self.proto == "tcp":
            other = "node" if side == "b" else "b"
            fields = {"seq": self.seq[side], "ack": self.seq[other] if "A" in flags else 0, "window": 60000}
            self.seq[side] += ("S" in flags) + ("F" in flags)
        if side == "b":
            return to_gw(B) / ip(B.ip(self.family), self.node.ip(self.family), ttl=64) / l4(self.proto, SPORT, DPORT, flags, **fields)
        return sent(self.node) / ip(self.node.ip(self.family), self.own, ttl=64) / l4(self.proto, DPORT, self.port, flags, **fields)

    def b(self, *steps):
        for flags in steps:
            self.net.send("b", self.frame("b", flags))
            frames = self.net.drain(self.node.port)
            assert len(frames) == 1, flags
            if self.node is OUTSIDE:
                packet = Ether(frames[0])
                self.own, self.port = packet.payload.src, packet.payload.payload.sport

    def answers(self, *steps):
        for flags in steps:
            self.net.send(self.node.port, self.frame("node", flags))
            assert len(self.net.drain("b")) == 1, flags

    def open(self):
        self.b("S")
        self.answers("SA")
        self.b("A")

    def end(self, how):
        """By FINs (SHUTDOWN) of both, or a RST (ABORT) of either."""
        if how == "fins":
            self.b("FA")
            self.answers("fa" if self.proto == "sctp" else "FA")
            self.b("C" if self.proto == "sctp" else "A")
        elif how == "reset by b":
            self.b("R")
        else:
            self.answers("R")
        assert self.states() == ["closed" if how != "fins" or self.proto == "sctp" else "time_wait"]

    def states(self):
        return [c["state"] for c in self.net.conns() if c["state"] != "dead"]


def isolate(net, direction="ingress", endpoint="b"):
    net.cmd("policy.add", name="p", **{direction: "deny"})
    net.cmd("policy.bind", policy="p", endpoint=endpoint)


def pool(net, family):
    net.cmd("pool.add", name="p", addresses=[POOL[family]], port_min=40000, port_max=40099)
    net.cmd("snat.add", name="all", pool="p", priority=100)


ways_to_end = pytest.mark.parametrize("how", ["fins", "reset by b", "reset by the other"])


# ---- after its end

@both
@handshakes
@ways_to_end
@strictness
@pytest.mark.parametrize("node, direction, endpoint", [(A, "ingress", "b"), (A, "egress", "a"), (OUTSIDE, "ingress", "b")])
def test_ended_connection_lets_its_far_end_in_only_by_policy(net, family, proto, how, strict, node, direction, endpoint):
    isolate(net, direction, endpoint)
    ends = Ends(net, family, proto, node, strict)
    ends.open()
    ends.end(how)
    for _ in range(3):
        net.send_dropped(node.port, ends.frame("node", "S"), "policy_denied")
    assert ends.states()[0] in ("time_wait", "closed"), "nothing has begun"
    ends.seq["b"] += 100000
    ends.b("S")  # B itself may, as before
    assert ends.states() == ["syn_sent"]


@both
@handshakes
@ways_to_end
def test_ended_connection_begins_anew_in_the_other_direction(net, family, proto, how):
    ends = Ends(net, family, proto, A)
    ends.open()
    ends.end(how)
    ends.answers("S")
    conn, = (c for c in net.conns() if c["state"] != "dead")
    assert (conn["src"], conn["sport"], conn["state"]) == (A.ip(family), DPORT, "syn_sent")
    ends.b("SA")
    ends.answers("A")
    assert ends.states() == ["established"]


@both
@handshakes
@ways_to_end
def test_outside_does_not_come_back_through_translation(net, family, proto, how):
    pool(net, family)
    ends = Ends(net, family, proto, OUTSIDE)
    ends.open()
    assert ends.own == POOL[family]
    ends.end(how)
    net.send("up", ends.frame("node", "S"))  # to an address of nobody: not to B
    assert net.drain("b") == []
    net.drain("up", check=False)
    for reason, n in [(r, n) for (port, r), n in net.counted().items() if port == "up"]:
        net.drops("up", **{reason: n})


@both
@handshakes
def test_new_connection_of_the_other_direction_is_limited_there(net, family, proto):
    net.cmd("endpoint.del", id="a")
    net.cmd("endpoint.add", id="a", port="a", addresses=[A.ip4, A.ip6], max_conns=1)
    ends = Ends(net, family, proto, A)
    ends.open()
    ends.end("fins")
    net.send("a", to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / udp(1, 2))
    assert len(net.drain("b")) == 1
    net.send_dropped("a", ends.frame("node", "S"), "conn_limit")


@both
@handshakes
def test_ended_connection_makes_room_for_its_successor(net, family, proto):
    """An endpoint at its limit may use its tuple again."""
    net.cmd("endpoint.del", id="b")
    net.cmd("endpoint.add", id="b", port="b", addresses=[B.ip4, B.ip6], max_conns=1)
    net.cmd("zone.add", id=0, max_conns=1)
    ends = Ends(net, family, proto, A)
    for _ in range(5):
        ends.open()
        ends.end("reset by b")
        ends.seq["b"] += 100000


@both
@handshakes
def test_reset_and_open_in_one_burst_does_not_slip_through(net, family, proto):
    isolate(net)
    ends = Ends(net, family, proto, A)
    ends.open()
    net.send("a", [ends.frame("node", "R"), ends.frame("node", "S")])
    assert len(net.drain("b")) == 1
    counted = {reason: n for (port, reason), n in net.counted().items() if port == "a"}
    assert sum(counted.values()) == 1 and set(counted) <= {"policy_denied", "no_connection"}
    net.drops("a", **counted)


@both
@handshakes
def test_who_resets_cannot_bring_the_connection_back(net, family, proto):
    """Its RST, then data, then a SYN: only who was told of a RST can show that it was not believed."""
    ends = Ends(net, family, proto, A)
    ends.open()
    ends.answers("R", "A")
    ends.b("R")  # B's stack answers so
    ends.answers("A")
    assert ends.states() == ["closed"]
    isolate(net)
    net.send_dropped("a", ends.frame("node", "S"), "policy_denied")


# ---- while it lives

@both
@handshakes
@strictness
@pytest.mark.parametrize("direction, endpoint", [("ingress", "b"), ("egress", "a")])
def test_crossing_syn_is_judged_by_its_own_direction(net, family, proto, strict, direction, endpoint):
    isolate(net, direction, endpoint)
    ends = Ends(net, family, proto, A, strict)
    ends.b("S")
    net.send_dropped("a", ends.frame("node", "S"), "policy_denied")
    assert ends.states() == ["syn_sent"]
    ends.seq["node"] = 5000
    ends.answers("SA")
    ends.b("A")
    net.send_dropped("a", ends.frame("node", "S"), "policy_denied")
    assert ends.states() == ["established"]


@both
@handshakes
def test_crossing_syn_that_may_come_opens_simultaneously(net, family, proto):
    net.cmd("policy.add", name="p", ingress="deny")
    net.cmd("rule.add", policy="p", name="r", direction="ingress", action="allow", proto=proto, dports=[str(SPORT)])
    net.cmd("policy.bind", policy="p", endpoint="b")
    ends = Ends(net, family, proto, A)
    ends.b("S")
    ends.answers("S")
    ends.b("SA")
    ends.answers("SA")
    assert ends.states() == ["syn_recv"]
    ends.b("A")
    assert ends.states() == ["established"]


@both
@handshakes
def test_half_closed_connection_is_not_opened_anew(net, family, proto):
    ends = Ends(net, family, proto, A)
    ends.open()
    ends.b("FA")
    ends.answers("S")  # for the endpoint to challenge
    ends.b("S")
    assert ends.states() == ["fin_wait"]


# ---- ICMP: the type is part of the tuple

QUERIES = {4: [(8, 0), (13, 14), (15, 16), (17, 18), (42, 43)], 6: [(128, 129), (139, 140), (144, 145), (146, 147), (160, 161)]}
PAIRS = [(family, *q) for family in QUERIES for q in QUERIES[family]]
pairs = pytest.mark.parametrize("family, request_type, answer_type", PAIRS)


def query(family, src, dst, icmp_type, ident=7, code=0):
    """An ICMP message of any type; scapy only computes its checksum."""
    body = struct.pack("!BBHHH", icmp_type, code, 0, ident, 1) + b"query"
    packet = IP(src=src, dst=dst, ttl=64, proto=1) if family == 4 else IPv6(src=src, dst=dst, hlim=64, nh=58)
    data = body if family == 4 else struct.pack("!16s16sIxxxB", packet_address(src), packet_address(dst), len(body), 58) + body
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total > 0xffff:
        total = (total & 0xffff) + (total >> 16)
    return packet / Raw(body[:2] + struct.pack("!H", ~total & 0xffff) + body[4:])


def packet_address(address):
    return socket.inet_pton(socket.AF_INET6, address)


@pairs
def test_query_and_its_answer_are_one_connection(net, family, request_type, answer_type):
    for _ in range(2):
        net.send("b", to_gw(B) / query(family, B.ip(family), A.ip(family), request_type))
        net.send("a", to_gw(A) / query(family, A.ip(family), B.ip(family), answer_type))
        assert len(net.drain("a")) == len(net.drain("b")) == 1
    assert [(c["state"], c["orig_pkts"], c["reply_pkts"]) for c in net.conns()] == [("replied", 2, 2)]


@pairs
@pytest.mark.parametrize("node", [A, OUTSIDE])
def test_query_with_the_ident_of_ones_own_is_no_answer(net, family, request_type, answer_type, node):
    isolate(net)
    net.send("b", to_gw(B) / query(family, B.ip(family), node.ip(family), request_type))
    assert len(net.drain(node.port)) == 1
    for back in {request_type, *(r for r, _ in QUERIES[family])}:
        net.send_dropped(node.port, sent(node) / query(family, node.ip(family), B.ip(family), back), "policy_denied")
    for back in (a for _, a in QUERIES[family] if a != answer_type):
        net.send_dropped(node.port, sent(node) / query(family, node.ip(family), B.ip(family), back), "icmp_unmatched")
    net.send(node.port, sent(node) / query(family, node.ip(family), B.ip(family), answer_type))
    assert len(net.drain("b")) == 1


@pairs
def test_query_against_ones_own_is_a_connection_of_its_own(net, family, request_type, answer_type):
    net.send("b", to_gw(B) / query(family, B.ip(family), A.ip(family), request_type))
    net.send("a", to_gw(A) / query(family, A.ip(family), B.ip(family), request_type))
    net.send("a", to_gw(A) / query(family, A.ip(family), B.ip(family), answer_type))
    net.send("b", to_gw(B) / query(family, B.ip(family), A.ip(family), answer_type))
    assert len(net.drain("a")) == len(net.drain("b")) == 2
    assert [(c["state"], c["orig_pkts"], c["reply_pkts"]) for c in net.conns()] == [("replied", 1, 1)] * 2


@pairs
def test_answer_to_nothing_makes_no_connection(net, family, request_type, answer_type):
    net.send_dropped("a", to_gw(A) / query(family, A.ip(family), B.ip(family), answer_type), "icmp_unmatched")
    assert net.conns() == []


@pytest.mark.parametrize("family, icmp_type", [(4, 40), (4, 200), (6, 150), (6, 200)])
def test_message_that_asks_nothing_lets_nothing_in(net, family, icmp_type):
    isolate(net)
    net.send("b", to_gw(B) / query(family, B.ip(family), A.ip(family), icmp_type))
    assert len(net.drain("a")) == 1
    net.send_dropped("a", to_gw(A) / query(family, A.ip(family), B.ip(family), icmp_type), "policy_denied")


@pairs
def test_query_through_translation(net, family, request_type, answer_type):
    """Both ways, with every checksum; from outside a query with its identifier is not let in; and an error about it is."""
    pool(net, family)
    packet = query(family, B.ip(family), EXTERNAL[family], request_type)
    has_ident = request_type != 139
    for _ in range(2):
        net.send("b", to_gw(B) / packet)
        after = query(family, POOL[family], EXTERNAL[family], request_type)
        after.ttl = after.hlim = 63
        net.expect("up", got(OUTSIDE) / after)
        net.send("up", sent(OUTSIDE) / query(family, EXTERNAL[family], POOL[family], answer_type))
        answer = query(family, EXTERNAL[family], B.ip(family), answer_type)
        answer.ttl = answer.hlim = 63
        net.expect("b", got(B) / answer)
    net.send("up", sent(OUTSIDE) / query(family, EXTERNAL[family], POOL[family], request_type))
    assert net.drain("b") == []
    net.drain("up", check=False)
    counted = {reason: n for (port, reason), n in net.counted().items() if port == "up"}
    net.drops("up", **counted)
    if has_ident:  # another client with the same identifier gets another one
        net.send("a", to_gw(A) / query(family, A.ip(family), EXTERNAL[family], request_type))
        frame, = net.drain("up")
        off = 14 + (20 if family == 4 else 40) + 4
        assert struct.unpack("!H", frame[off:off + 2])[0] in range(40000, 40100)
