# SPDX-License-Identifier: BSD-3-Clause
"""The pipeline against the independent model (tests/model): random configurations, packets and changes; every packet must leave as the
model says, byte for byte, or be dropped for the same reason. A failure names the one command that repeats and minimises it."""
import pathlib
import sys

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "model"))
import fragments  # noqa: E402
import runner  # noqa: E402
import values  # noqa: E402
import wire  # noqa: E402
import world  # noqa: E402

PACKETS = 40
BLOCKS, SEEDS = 10, 48  # each seed about 220 verdicts
VERDICTS = 100000

blocks_done = []


@pytest.fixture(scope="module")
def lab():
    current = runner.Lab()
    yield current
    current.stop()


@pytest.mark.parametrize("block", range(BLOCKS))
def test_every_packet_meets_what_the_model_says(lab, block):
    for seed in range(block * SEEDS, (block + 1) * SEEDS):
        mismatch = lab.failure(world.scenario(seed, PACKETS))
        if mismatch is not None:
            pytest.fail(f"{mismatch}\ncut down by: tests/model/run-long --seed {seed} --packets {PACKETS}", pytrace=False)
    blocks_done.append(block)


def test_every_kind_of_verdict_occurred(lab):
    if len(blocks_done) < BLOCKS:
        pytest.skip("counts what all blocks did, and not all have run")
    assert lab.tally.n >= VERDICTS
    assert not lab.tally.scarce()


# ---- the model's own bytes are scapy's

@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("data", [b"", b"odd", b"\xff" * 40])
@pytest.mark.parametrize("kind", ["tcp", "udp", "sctp", "echo", "gre", "error"])
def test_model_builds_the_bytes_that_scapy_builds(family, data, kind):
    src, dst = ("192.0.2.1", "198.51.100.7") if family == 4 else ("2001:db8::1", "2001:db8:1::2")
    ip = IP(src=src, dst=dst, ttl=9) if family == 4 else IPv6(src=src, dst=dst, hlim=9)
    fields = {"src": src, "dst": dst, "ttl": 9, "data": data}
    icmp = wire.ICMP if family == 4 else wire.ICMP6
    if kind == "tcp":
        packet = wire.Packet(proto=wire.TCP, sport=7, dport=65535, flags=wire.SYN, seq=2**32 - 1, **fields)
        want = ip / TCP(sport=7, dport=65535, flags="S", seq=2**32 - 1) / Raw(data)
    elif kind == "udp":
        packet, want = wire.Packet(proto=wire.UDP, sport=7, dport=53, **fields), ip / UDP(sport=7, dport=53) / Raw(data)
    elif kind == "sctp":
        packet, want = wire.Packet(proto=wire.SCTP, sport=7, dport=9, **fields), ip / SCTP(sport=7, dport=9, tag=0x1234) / Raw(data)
    elif kind == "echo":
        packet = wire.Packet(proto=icmp, icmp=(wire.ECHO_REQUEST[family], 0), sport=7, dport=7, **fields)
        want = ip / (ICMP(type=8, id=7, seq=1) / Raw(data) if family == 4 else ICMPv6EchoRequest(id=7, seq=1, data=data))
    elif kind == "gre":
        ip.proto = ip.nh = wire.GRE
        packet, want = wire.Packet(proto=wire.GRE, **fields), ip / Raw(data)
    else:
        packet = wire.Packet(proto=icmp, icmp=(3, 3) if family == 4 else (1, 4), **{**fields, "data": bytes(4) + data})
        want = ip / (ICMP(type=3, code=3) if family == 4 else ICMPv6DestUnreach(code=4)) / Raw(data)
    assert wire.frame("02:00:00:00:00:01", "02:00:00:00:00:02", packet) == bytes(
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / want)


@pytest.mark.parametrize("family", [4, 6])
def test_model_cuts_as_scapy_cuts(family):
    src, dst = ("192.0.2.1", "198.51.100.7") if family == 4 else ("2001:db8::1", "2001:db8:1::2")
    packet = wire.Packet(src, dst, wire.UDP, 7, 53, data=bytes(range(40)))
    whole = wire.l4_bytes(packet)
    for piece in fragments.cut(packet, 77, [(32, 16, True), (0, 32, False)]):
        place = {"id": 77, ("frag" if family == 4 else "offset"): piece.piece.offset // 8}
        has_more = not piece.piece.is_last
        ip = (IP(src=src, dst=dst, proto=17, flags="MF" if has_more else 0, **place) if family == 4 else
              IPv6(src=src, dst=dst) / IPv6ExtHdrFragment(nh=17, m=has_more, **place))
        assert wire.ip_bytes(piece) == bytes(ip / Raw(whole[piece.piece.offset:][:piece.piece.length]))


@pytest.mark.parametrize("family", [4, 6])
def test_model_wraps_as_scapy_wraps(family):
    ends = ("192.0.2.1", "192.0.2.2") if family == 4 else ("2001:db8::1", "2001:db8::2")
    tunnel = values.Tunnel("t", *ends, 99, "", "", "up", 0)
    inner = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="10.0.0.1", dst="10.0.0.2") / UDP()
    outer = IP(src=ends[0], dst=ends[1], flags="DF", id=0) if family == 4 else IPv6(src=ends[0], dst=ends[1])
    want = outer / UDP(sport=50000, dport=4789, chksum=0 if family == 4 else None) / VXLAN(flags=8, vni=99) / inner
    assert wire.vxlan(tunnel, 50000, bytes(inner)) == (family, bytes(want))
