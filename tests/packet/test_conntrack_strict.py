# SPDX-License-Identifier: BSD-3-Clause
"""Strict TCP tracking: random segments against a model of the window rules that counts with unbounded integers, and the cases
that have names."""
import random

import pytest
from conftest import A, B, EXTERNAL4, ROUTER, UP, both, ip, tcp, to_gw
from scapy.layers.inet6 import IPv6ExtHdrDestOpt
from scapy.layers.l2 import Ether

SPORT, DPORT = 1000, 80
ACK_WINDOW = 66000  # acknowledgements may be this old at least
WRAP = 1 << 32


class Side:
    """What one end has sent, in numbers that do not wrap: behind its last byte, its last ACK, the edge of its window."""

    def __init__(self, isn, scale):
        self.end, self.ack, self.edge, self.largest, self.scale = isn + 1, None, None, 0, scale

    def offer(self, ack, raw, scale):
        window = raw << scale
        self.ack = ack if self.ack is None else max(self.ack, ack)
        edge = ack + max(window, 1)
        self.edge = edge if self.edge is None else max(self.edge, edge)
        self.largest = max(self.largest, window)


class Model:
    """An open connection; verdict() is None (passes), "tcp_window" or "tcp_rst_invalid"."""

    def __init__(self, a, b):
        self.sides = {"a": a, "b": b}

    def verdict(self, side, flags, seq, ack, length, raw):
        own, peer = self.sides[side], self.sides["b" if side == "a" else "a"]
        if "R" in flags:
            if seq in (own.end, peer.ack):
                return None
            return "tcp_rst_invalid" if peer.ack <= seq <= peer.edge else "tcp_window"
        if "S" in flags:
            return None  # the endpoint answers it with a challenge ACK
        if seq > peer.edge or seq + length < own.end - peer.largest - 1:
            return "tcp_window"
        if not peer.end - max(own.largest, ACK_WINDOW) <= ack <= peer.end:
            return "tcp_window"
        own.end = max(own.end, seq + length)
        own.offer(ack, raw, own.scale)
        return None


class Wire:
    """Segments of one connection between pods a and b."""

    def __init__(self, net, family):
        self.net, self.family = net, family

    def packet(self, side, flags, seq, ack=0, length=0, win=1000, options=()):
        src, dst, ports = (A, B, (SPORT, DPORT)) if side == "a" else (B, A, (DPORT, SPORT))
        return to_gw(src) / ip(src.ip(self.family), dst.ip(self.family), ttl=64) / tcp(
            *ports, flags, bytes(length), seq=seq % WRAP, ack=ack % WRAP, window=win, options=list(options))

    def send(self, side, *segment, **fields):
        """None if it came through, else the reason of its drop."""
        packet = self.packet(side, *segment, **fields)
        before = self.net.counted()
        self.net.send(side, packet)
        frames = self.net.drain("b" if side == "a" else "a")
        if frames:
            assert len(frames) == 1
            return None
        after = self.net.counted()
        reasons = [reason for (port, reason), n in after.items() if n != before.get((port, reason), 0)]
        assert len(reasons) == 1
        self.net.drops(side, **{reasons[0]: 1})
        return reasons[0]

    def open(self, isn_a, isn_b, scale_a=None, scale_b=None, win=1000):
        def options(scale):
            return [] if scale is None else [("NOP", None), ("WScale", scale)]
        assert self.send("a", "S", isn_a, options=options(scale_a), win=win) is None
        assert self.send("b", "SA", isn_b, isn_a + 1, options=options(scale_b), win=win) is None
        assert self.send("a", "A", isn_a + 1, isn_b + 1, win=win) is None
        assert self.send("b", "A", isn_b + 1, isn_a + 1, win=win) is None


@pytest.fixture
def strict(net):
    net.cmd("conntrack.set", tcp_strict=True)
    return net


def segment_near(rng, model, side):
    """A segment at, just inside or just outside one of the bounds."""
    own, peer = model.sides[side], model.sides["b" if side == "a" else "a"]
    near = rng.choice([-2, -1, 0, 0, 0, 1, 2])
    length = rng.choice([0, 0, 1, 7, 500])
    seq = rng.choice([own.end, own.end, own.end, peer.ack, peer.edge, own.end - peer.largest - 1 - length,
                      own.end + rng.randrange(-90000, 90000)]) + near * rng.choice([0, 1])
    ack = rng.choice([peer.end, peer.end, peer.end, own.ack, peer.end - max(own.largest, ACK_WINDOW),
                      peer.end + rng.randrange(-90000, 90000)]) + near * rng.choice([0, 0, 1])
    flags = rng.choice(["A"] * 8 + ["PA", "R", "RA", "S"])
    if "R" in flags or "S" in flags:
        length = 0
    return flags, seq, ack, length, rng.choice([0, 1, 1000, 65535])


@both
@pytest.mark.parametrize("scales", [(None, None), (7, 9), (0, 14), (7, None)])
@pytest.mark.parametrize("seed", range(3))
def test_random_segments_meet_the_models_verdict(strict, family, scales, seed):
    rng = random.Random(f"{seed} {scales}")
    isn = [rng.choice([rng.randrange(WRAP), WRAP - rng.randrange(3000)]) + WRAP for _ in range(2)]
    wire = Wire(strict, family)
    wire.open(*isn, *scales)
    in_use = [0, 0] if None in scales else list(scales)
    model = Model(Side(isn[0], in_use[0]), Side(isn[1], in_use[1]))
    for name, side, first in (("a", 0, isn[1]), ("b", 1, isn[0])):
        # the SYN's own window is in bytes; the record keeps it rounded up to the scale that it offers, an answer's to the one in force
        offered = None if side == 1 and None in scales else scales[side]
        model.sides[name].largest = -(-1000 >> offered) << offered if offered is not None else 1000
        model.sides[name].offer(first + 1, 1000, in_use[side])
    closed_by = set()  # sides whose RST passed, until the other side goes on nevertheless
    verdicts = []
    for n in range(200):
        side = rng.choice("ab")
        segment = segment_near(rng, model, side)
        if closed_by and "S" in segment[0]:
            continue  # would open the tuple anew
        want = model.verdict(side, *segment)
        flags, seq, ack, length, win = segment
        got = wire.send(side, flags, seq, ack, length, win=win)
        assert got == want, f"segment {n}: {side} {segment}, {[vars(s) for s in model.sides.values()]}"
        if want is None and "R" in flags:
            closed_by.add(side)
        elif want is None and "S" not in flags and side not in closed_by:
            closed_by.clear()
        verdicts.append(want)
    assert {None, "tcp_window"} <= set(verdicts)


@both
def test_reset_in_window_but_not_exact_is_dropped(strict, family):
    wire = Wire(strict, family)
    wire.open(100, 200)
    assert wire.send("b", "R", 205) == "tcp_rst_invalid"
    assert wire.send("b", "R", 100000) == "tcp_window"
    assert [c["state"] for c in strict.conns()] == ["established"]
    assert wire.send("b", "R", 201) is None
    assert [c["state"] for c in strict.conns()] == ["closed"]


@both
def test_refusal_is_believed_only_with_the_syns_number(strict, family):
    wire = Wire(strict, family)
    assert wire.send("a", "S", 100) is None
    assert wire.send("b", "RA", 0, 555) == "tcp_rst_invalid"
    assert [c["state"] for c in strict.conns()] == ["syn_sent"]
    assert wire.send("b", "RA", 0, 101) is None


@both
def test_switched_on_later_leaves_what_is_open_alone(net, family):
    wire = Wire(net, family)
    wire.open(100, 200)
    net.cmd("conntrack.set", tcp_strict=True)
    assert wire.send("a", "A", 1000000, 5, 10) is None
    assert wire.send("a", "R", 7) is None
    assert wire.send("a", "S", 500) is None  # the tuple again: tracked from here on
    assert wire.send("b", "SA", 900, 501) is None
    assert wire.send("a", "A", 501, 901) is None
    assert wire.send("a", "A", 501 + 5000, 901, 1) == "tcp_window"


@both
def test_switched_off_later_lets_everything_pass(strict, family):
    wire = Wire(strict, family)
    wire.open(100, 200)
    assert wire.send("a", "A", 100000, 201, 1) == "tcp_window"
    strict.cmd("conntrack.set", tcp_strict=False)
    assert wire.send("a", "A", 100000, 201, 1) is None


def test_segments_behind_extension_headers_are_looked_at_too(strict):
    wire = Wire(strict, 6)
    wire.open(100, 200)
    packet = wire.packet("a", "A", 101 + 5000, 201, 1)
    packet["IPv6"].payload, rest = IPv6ExtHdrDestOpt(), packet["TCP"]
    packet = packet / rest
    strict.send_dropped("a", packet.__class__(bytes(packet)), "tcp_window")


def test_segments_that_leave_in_fragments_move_the_window(strict):
    """1700 bytes towards an uplink of MTU 1600, answered by an acknowledgement of them all."""
    def back(flags, seq, ack):
        return Ether(src=ROUTER.mac, dst=UP.mac) / ip(EXTERNAL4, A.ip4, ttl=64) / tcp(
            DPORT, SPORT, flags, seq=seq, ack=ack, window=60000)

    strict.send("a", to_gw(A) / ip(A.ip4, EXTERNAL4, ttl=64) / tcp(SPORT, DPORT, "S", seq=100, window=60000))
    strict.send("up", back("SA", 900, 101))
    strict.send("a", to_gw(A) / ip(A.ip4, EXTERNAL4, ttl=64) / tcp(
        SPORT, DPORT, "A", bytes(1660), seq=101, ack=901, window=60000))
    strict.send("up", back("A", 901, 101 + 1660))
    assert len(strict.drain("a")) == 2
    assert len(strict.drain("up", check=False)) == 3
    strict.send_dropped("up", back("A", 901, 101 + 1661), "tcp_window")
