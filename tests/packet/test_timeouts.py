# SPDX-License-Identifier: BSD-3-Clause
"""How long a translated connection may be silent: the answer of a half-closed one, of a late server and after a forged RST still goes
where it belongs (RFC 5382 REQ-5, RFC 6146 s. 3.5.2.2, RFC 7857 s. 2.2, RFC 4787 REQ-5)."""
import pytest
from conftest import A, B, EXTERNAL, both, ip, tcp, udp
from nat import OUTSIDE, VIP, got, sent, service
from scapy.layers.sctp import SCTP, SCTPChunkCookieEcho, SCTPChunkData, SCTPChunkInit, SCTPChunkInitAck, SCTPChunkShutdown

POOL = {4: "203.0.113.100", 6: "2001:db8:5::100"}
CHUNKS = {"S": SCTPChunkInit, "SA": SCTPChunkInitAck, "A": SCTPChunkCookieEcho, "FA": SCTPChunkShutdown, "PA": SCTPChunkData}


class Call:
    """A connection of pod a to port 80 that is translated: its far end by a service, its near end by a pool, or both."""

    def __init__(self, net, family, way, proto):
        self.net, self.family, self.proto = net, family, proto
        self.server = B if way == "service" else OUTSIDE
        self.near = POOL[family] if way == "snat" else A.ip(family)
        self.dst = VIP[family] if way == "service" else EXTERNAL[family]
        self.sport = 40000 if way == "snat" else 1000
        if way == "service":
            service(net, family, [B], proto=proto)
        else:
            net.cmd("pool.add", name="p", addresses=[POOL[family]], port_min=40000, port_max=40000)
            net.cmd("snat.add", name="all", pool="p", priority=100)

    def l4(self, sport, dport, flags):
        if self.proto == "tcp":
            return tcp(sport, dport, flags)
        return SCTP(sport=sport, dport=dport, tag=7) / CHUNKS[flags]() if self.proto == "sctp" else udp(sport, dport)

    def client(self, flags=""):
        self.net.send("a", sent(A) / ip(A.ip(self.family), self.dst, ttl=64) / self.l4(1000, 80, flags))
        self.net.expect(self.server.port, got(self.server) / ip(
            self.near, self.server.ip(self.family), ttl=63) / self.l4(self.sport, 80, flags))

    def answer(self, flags=""):
        self.net.send(self.server.port, sent(self.server) / ip(
            self.server.ip(self.family), self.near, ttl=64) / self.l4(80, self.sport, flags))
        self.net.expect("a", got(A) / ip(self.dst, A.ip(self.family), ttl=63) / self.l4(80, 1000, flags))

    def open(self):
        self.client("S")
        self.answer("SA")
        self.client("A")

    def silent(self, seconds):
        """The sweeper has seen the connection at the end of it."""
        self.net.warp(seconds - 12)
        self.net.step(3)
        for _ in range(12):
            self.net.warp(1)
            self.net.step(3)


WAYS = pytest.mark.parametrize("way", ["service", "snat"])


@both
@WAYS
@pytest.mark.parametrize("proto", ["tcp", "sctp"])
@pytest.mark.parametrize("seconds", [121, 241, 7430])
def test_half_closed_connection_is_answered(net, family, way, proto, seconds):
    call = Call(net, family, way, proto)
    call.open()
    call.client("FA")
    for _ in range(2):
        call.silent(seconds)
        call.answer("PA")


@both
@WAYS
def test_last_half_is_sent_by_the_client_when_the_server_has_ended(net, family, way):
    call = Call(net, family, way, "tcp")
    call.open()
    call.answer("FA")
    call.silent(3600)
    call.client("PA")
    call.answer("A")


@both
@WAYS
def test_slow_handshake_is_not_forgotten(net, family, way):
    call = Call(net, family, way, "tcp")
    for step in ((call.client, "S"), (call.answer, "SA"), (call.client, "A")):
        step[0](step[1])
        call.silent(235)
    call.answer("PA")


@both
@WAYS
@pytest.mark.parametrize("end", ["both FINs", "RST"])
def test_ended_connection_is_kept_for_late_segments(net, family, way, end):
    call = Call(net, family, way, "tcp")
    call.open()
    if end == "RST":
        call.answer("R")
    else:
        call.client("FA")
        call.answer("FA")
    call.silent(235)
    call.answer("A")


@both
@WAYS
def test_udp_answer_may_take_two_minutes_and_later_ones_five(net, family, way):
    call = Call(net, family, way, "udp")
    call.client()
    call.silent(118)
    for _ in range(3):
        call.answer()
        call.silent(298)


@pytest.mark.parametrize("harness", [{"conns": 1024}], indirect=True)
@pytest.mark.parametrize("steps", ["S", "S SA", "S SA A FA", "S SA A FA fa", "S SA A R"])
def test_what_is_not_open_makes_room_in_a_full_table(net, steps):
    """Long time-outs do not let a flood keep the table: what is half-open, half-closed or ended goes early, established ones stay."""
    def step(sports, flags):
        is_answer = flags in ("SA", "fa")
        source, target = (B, A) if is_answer else (A, B)
        net.send(source.port, [sent(source) / ip(source.ip4, target.ip4, ttl=64) / tcp(
            *((80, sport) if is_answer else (sport, 80)), flags.upper()) for sport in sports])
        net.drain(target.port)

    for flags in ("S", "SA", "A"):
        step([999], flags)
    for first in range(1000, 2000, 50):
        for flags in steps.split():
            step(range(first, first + 50), flags)
    net.expected_drops = net.counted()
    for _ in range(60):
        net.warp(3)
        net.step(32)
    assert len(net.conns()) < 940
    assert "established" in {c["state"] for c in net.conns()}
