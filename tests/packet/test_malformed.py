# SPDX-License-Identifier: BSD-3-Clause
"""Hostile packets, as a table: every one is a named drop, none is forwarded, none kills."""
import random

import pytest
from conftest import A, B, GW, ROUTER, UP, both, echo, ip, tcp, to_gw, udp
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import (IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting)
from scapy.layers.l2 import Ether
from scapy.packet import Raw


def edit(packet, at, value):
    """Frame with bytes replaced."""
    data = bytearray(bytes(packet))
    data[at:at + len(value)] = value
    return bytes(data)


def fixed4(data):
    """IPv4 header checksum of a frame made right again."""
    data = bytearray(data)
    ihl = (data[14] & 15) * 4
    data[24:26] = b"\0\0"
    total = sum(int.from_bytes(data[14 + i:16 + i], "big") for i in range(0, ihl, 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    data[24:26] = (~total & 0xFFFF).to_bytes(2, "big")
    return bytes(data)


U4 = to_gw(A) / IP(src=A.ip4, dst=B.ip4, ttl=64) / udp(data=bytes(60))
U6 = to_gw(A) / IPv6(src=A.ip6, dst=B.ip6, hlim=64) / udp(data=bytes(60))
T4 = to_gw(A) / IP(src=A.ip4, dst=B.ip4, ttl=64) / tcp(flags="A", data=bytes(60))
T6 = to_gw(A) / IPv6(src=A.ip6, dst=B.ip6, hlim=64) / tcp(flags="A", data=bytes(60))

TABLE = {
    # IPv4 header
    "ip4-version-5": (edit(U4, 14, b"\x55"), "ip4_header"),
    "ip4-version-6-in-ip4-type": (edit(U4, 14, b"\x65"), "ip4_header"),
    "ip4-ihl-4": (fixed4(edit(U4, 14, b"\x44")), "ip4_header"),
    "ip4-ihl-0": (edit(U4, 14, b"\x40"), "ip4_header"),
    "ip4-total-length-19": (fixed4(edit(U4, 16, b"\x00\x13")), "ip4_header"),
    "ip4-total-length-past-end": (fixed4(edit(U4, 16, b"\x00\x59")), "ip4_header"),
    "ip4-total-length-65535": (fixed4(edit(U4, 16, b"\xff\xff")), "ip4_header"),
    "ip4-checksum": (edit(U4, 24, b"\x12\x34"), "ip4_checksum"),
    "ip4-checksum-zero": (edit(U4, 24, b"\0\0"), "ip4_checksum"),
    "ip4-lsrr": (to_gw(A) / IP(src=A.ip4, dst=B.ip4, options=IPOption(b"\x83\x07\x04\x0a\x00\x00\x01\x00")) / udp(),
                 "ip4_options"),
    "ip4-ssrr": (to_gw(A) / IP(src=A.ip4, dst=B.ip4, options=IPOption(b"\x89\x07\x04\x0a\x00\x00\x01\x00")) / udp(),
                 "ip4_options"),
    "ip4-option-length-0": (to_gw(A) / IP(src=A.ip4, dst=B.ip4, options=IPOption(b"\x94\x00\x00\x00")) / udp(),
                            "ip4_header"),
    "ip4-option-length-past-end": (to_gw(A) / IP(src=A.ip4, dst=B.ip4, options=IPOption(b"\x94\x09\x00\x00")) / udp(),
                                   "ip4_header"),
    # IPv4 transport
    "udp4-cut": (to_gw(A) / IP(src=A.ip4, dst=B.ip4, proto=17) / Raw(bytes(7)), "l4_truncated"),
    "udp4-empty": (to_gw(A) / IP(src=A.ip4, dst=B.ip4, proto=17), "l4_truncated"),
    "udp4-length-past-end": (edit(U4, 38, b"\x00\x45"), "l4_truncated"),
    "udp4-length-7": (edit(U4, 38, b"\x00\x07"), "l4_truncated"),
    "udp4-length-0": (edit(U4, 38, b"\x00\x00"), "l4_truncated"),
    "tcp4-cut": (to_gw(A) / IP(src=A.ip4, dst=B.ip4, proto=6) / Raw(bytes(19)), "l4_truncated"),
    "tcp4-data-offset-4": (edit(T4, 46, b"\x40"), "l4_truncated"),
    "tcp4-data-offset-0": (edit(T4, 46, b"\x00"), "l4_truncated"),
    "tcp4-data-offset-past-end": (to_gw(A) / IP(src=A.ip4, dst=B.ip4) / TCP(flags="S", dataofs=6), "l4_truncated"),
    "icmp4-cut": (to_gw(A) / IP(src=A.ip4, dst=B.ip4, proto=1) / Raw(bytes(7)), "l4_truncated"),
    # IPv4 fragments
    "frag4-past-64k": (to_gw(A) / IP(src=A.ip4, dst=B.ip4, frag=8191, proto=17) / Raw(bytes(64)), "frag_bad"),
    "frag4-middle-not-multiple-of-8": (to_gw(A) / IP(src=A.ip4, dst=B.ip4, frag=5, flags="MF", proto=17) /
                                       Raw(bytes(63)), "frag_bad"),
    "frag4-empty": (to_gw(A) / IP(src=A.ip4, dst=B.ip4, frag=5, flags="MF", proto=17), "frag_bad"),
    "frag4-tiny-tcp": (to_gw(A) / IP(src=A.ip4, dst=B.ip4, flags="MF", proto=6) / Raw(bytes(16)), "frag_bad"),
    "frag4-tcp-offset-1": (to_gw(A) / IP(src=A.ip4, dst=B.ip4, frag=1, proto=6) / Raw(bytes(16)), "frag_bad"),
    # TCP flags that no stack sends
    "tcp4-null": (to_gw(A) / IP(src=A.ip4, dst=B.ip4) / tcp(flags=0), "tcp_invalid"),
    "tcp4-xmas": (to_gw(A) / IP(src=A.ip4, dst=B.ip4) / tcp(flags="FPU"), "tcp_invalid"),
    "tcp4-syn-fin": (to_gw(A) / IP(src=A.ip4, dst=B.ip4) / tcp(flags="SF"), "tcp_invalid"),
    "tcp4-syn-rst": (to_gw(A) / IP(src=A.ip4, dst=B.ip4) / tcp(flags="SR"), "tcp_invalid"),
    "tcp6-null": (to_gw(A) / IPv6(src=A.ip6, dst=B.ip6) / tcp(flags=0), "tcp_invalid"),
    "tcp6-syn-fin": (to_gw(A) / IPv6(src=A.ip6, dst=B.ip6) / tcp(flags="SF"), "tcp_invalid"),
    # IPv6
    "ip6-version-4": (edit(U6, 14, b"\x40"), "ip6_header"),
    "ip6-version-0": (edit(U6, 14, b"\x00"), "ip6_header"),
    "ip6-payload-past-end": (edit(U6, 18, b"\x00\x45"), "ip6_header"),
    "ip6-payload-65535": (edit(U6, 18, b"\xff\xff"), "ip6_header"),
    "ip6-rh0": (to_gw(A) / IPv6(src=A.ip6, dst=B.ip6) / IPv6ExtHdrRouting(type=0, addresses=["fd00::9"]) / udp(),
                "ip6_extension"),
    "ip6-hop-by-hop-not-first": (to_gw(A) / IPv6(src=A.ip6, dst=B.ip6) / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() /
                                 udp(), "ip6_extension"),
    "ip6-extension-past-end": (edit(to_gw(A) / IPv6(src=A.ip6, dst=B.ip6) / IPv6ExtHdrDestOpt() / udp(), 55, b"\xff"),
                               "ip6_extension"),
    "ip6-extension-cut": (to_gw(A) / IPv6(src=A.ip6, dst=B.ip6, nh=60) / Raw(bytes(4)), "ip6_extension"),
    "ip6-twelve-extensions": (to_gw(A) / IPv6(src=A.ip6, dst=B.ip6, nh=60) / Raw(bytes([60, 0, 1, 4, 0, 0, 0, 0]) * 11 +
                                                                                 bytes([17, 0, 1, 4, 0, 0, 0, 0])) /
                              udp(), "ip6_extension"),
    "frag6-empty": (to_gw(A) / IPv6(src=A.ip6, dst=B.ip6) / IPv6ExtHdrFragment(nh=17, m=1), "frag_bad"),
    "frag6-past-64k": (to_gw(A) / IPv6(src=A.ip6, dst=B.ip6) / IPv6ExtHdrFragment(nh=17, offset=8191, m=0) /
                       Raw(bytes(64)), "frag_bad"),
    "frag6-middle-not-multiple-of-8": (to_gw(A) / IPv6(src=A.ip6, dst=B.ip6) / IPv6ExtHdrFragment(
        nh=17, offset=5, m=1) / Raw(bytes(63)), "frag_bad"),
    "frag6-tiny-tcp": (to_gw(A) / IPv6(src=A.ip6, dst=B.ip6) / IPv6ExtHdrFragment(nh=6, offset=0, m=1) /
                       Raw(bytes(16)), "frag_bad"),
    "udp6-cut": (to_gw(A) / IPv6(src=A.ip6, dst=B.ip6, nh=17) / Raw(bytes(7)), "l4_truncated"),
    "udp6-length-past-end": (edit(U6, 58, b"\x00\x45"), "l4_truncated"),
    "tcp6-cut": (to_gw(A) / IPv6(src=A.ip6, dst=B.ip6, nh=6) / Raw(bytes(19)), "l4_truncated"),
    "tcp6-data-offset-4": (edit(T6, 66, b"\x40"), "l4_truncated"),
    "icmp6-cut": (to_gw(A) / IPv6(src=A.ip6, dst=B.ip6, nh=58) / Raw(bytes(7)), "l4_truncated"),
}


@pytest.mark.parametrize("name", TABLE)
def test_malformed_packet_is_dropped_by_name(net, name):
    packet, reason = TABLE[name]
    net.send_dropped("a", packet, reason)
    net.send_dropped("a", packet, reason, first=128, step=16)
    assert net.conns() == []


@pytest.mark.parametrize("name", TABLE)
def test_malformed_packet_on_a_live_flow_is_dropped_too(net, name):
    """The fast path's own parser must refuse what the full one refuses."""
    for good in (U4, U6, T4, T6):
        net.send("a", good)
    assert len(net.drain("b")) == 4
    packet, reason = TABLE[name]
    net.send_dropped("a", packet, reason)


def test_frames_shorter_than_ethernet_are_dropped(net):
    frame = bytes(U4)
    net.send_dropped("a", [frame[:n] for n in range(1, 14)], "eth_truncated")


@both
def test_frames_cut_at_every_length_are_dropped(net, family):
    """Nothing that is cut leaves, whatever its headers say."""
    for good in ((U4, T4) if family == 4 else (U6, T6)):
        frame = bytes(good)
        for start in range(14, len(frame), 60):
            net.send("a", [frame[:n] for n in range(start, min(start + 60, len(frame)))])
    counted = net.counted()
    net.drops("a", **{reason: n for (port, reason), n in counted.items()})
    assert sum(counted.values()) == sum(len(bytes(p)) - 14 for p in ((U4, T4) if family == 4 else (U6, T6)))


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_never_kills_or_leaks(net, seed):
    """Anything may happen to a damaged packet but a crash, a leak or a wrong checksum of leat's own making."""
    rng = random.Random(seed)
    goods = [bytes(p) for p in (U4, U6, T4, T6, to_gw(A) / IP(src=A.ip4, dst=B.ip4) / echo(4),
                                to_gw(A) / IPv6(src=A.ip6, dst=B.ip6) / echo(6),
                                to_gw(A) / IPv6(src=A.ip6, dst=B.ip6) / IPv6ExtHdrHopByHop() / IPv6ExtHdrFragment(
                                    nh=17, m=1) / Raw(bytes(64)),
                                to_gw(A) / IP(src=A.ip4, dst=B.ip4) / ICMP(type=3) / IP(src=B.ip4, dst=A.ip4) / udp())]
    for _ in range(20):
        frames = []
        for _ in range(50):
            data = bytearray(rng.choice(goods))
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(12, len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            frames.append(bytes(data[:rng.randint(14, len(data))] if rng.random() < 0.3 else data))
        port, mac = rng.choice((("a", None), ("up", UP.mac)))
        if mac:
            frames = [bytes.fromhex((UP.mac + ROUTER.mac).replace(":", "")) + f[12:] for f in frames]
        net.send(port, frames, first=rng.choice((0, 128, 140)), step=rng.choice((0, 1, 9)))
        for out in ("a", "b", "up", "host"):
            net.drain(out, check=False)
        net.punts()
    for (port, reason), n in net.counted().items():
        net.drops(port, **{reason: n})
    good = to_gw(A) / IP(src=A.ip4, dst=B.ip4, ttl=64) / udp(sport=4242)
    net.send("a", good)
    net.expect("b", Ether(src=GW, dst=B.mac) / IP(src=A.ip4, dst=B.ip4, ttl=63) / udp(sport=4242))
