# SPDX-License-Identifier: BSD-3-Clause
"""Packet buffers run out: what needs one is a named drop or no answer, everything else goes on (PAINS 6)."""
import pytest
from conftest import (A, B, EXTERNAL, REMOTE2, both, from_gw, from_tunnel, ip, tcp, to_gw, udp)
from scapy.layers.inet import IP
from scapy.layers.l2 import ARP, Ether


@pytest.fixture
def starved(net):
    yield net
    net.cmd("hog", leave=-1)


def forward(net, family, n=3):
    """Plain packets need no buffer but their own."""
    net.send("a", [to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / udp()] * n)
    net.expect("b", [from_gw(B) / ip(A.ip(family), B.ip(family), ttl=63) / udp()] * n)


@both
def test_plain_packets_pass_with_the_last_buffers(starved, family):
    starved.cmd("hog", leave=3)
    for _ in range(3):
        forward(starved, family)


@both
@pytest.mark.parametrize("dst", ["pod", "tunnel"])
def test_superframe_without_buffers_is_dropped_by_name(starved, family, dst):
    net = starved
    out = "b" if dst == "pod" else "up"
    packet = ip(A.ip(family), B.ip(family) if dst == "pod" else REMOTE2[family], ttl=64) / tcp(flags="A", data=bytes(20000))
    meta = {"l4": "tcp", "segsz": 1400, "l3_len": 20 if family == 4 else 40, "l4_len": 20, "is_v6": family == 6}
    net.cmd("hog", leave=20)
    net.send("a", to_gw(A) / packet, meta=meta)
    net.drops(out, no_mbuf=1)
    forward(net, family)
    net.cmd("hog", leave=-1)
    net.send("a", to_gw(A) / packet, meta=meta)
    assert len(net.drain(out, check=False)) == 15


def test_fragmentation_without_buffers_is_dropped_by_name(starved):
    net = starved
    net.cmd("hog", leave=6)
    net.send("a", to_gw(A) / IP(src=A.ip4, dst=B.ip4, ttl=64) / udp(data=bytes(8000)))
    net.drops("a", no_mbuf=1)
    forward(net, 4)


@both
def test_error_without_buffers_is_not_sent_but_counted(starved, family):
    net = starved
    frame = to_gw(A) / ip(A.ip(family), EXTERNAL[family], ttl=1) / udp()
    net.cmd("hog", leave=1)
    net.send_dropped("a", frame, "ttl_exceeded")
    assert net.drain("a") == []
    net.cmd("hog", leave=-1)
    net.send_dropped("a", frame, "ttl_exceeded")
    assert len(net.drain("a")) == 1


def test_arp_and_tunnels_need_no_further_buffer(starved):
    net = starved
    net.cmd("hog", leave=1)
    net.send("a", Ether(src=A.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=A.mac, psrc=A.ip4, pdst="169.254.1.1"))
    assert len(net.drain("a")) == 1
    net.send("a", to_gw(A) / ip(A.ip4, REMOTE2[4], ttl=64) / udp())
    assert len(net.drain("up")) == 1
    net.send("up", from_tunnel(ip(REMOTE2[4], A.ip4, ttl=64) / udp(2000, 1000)))
    assert len(net.drain("a")) == 1


@both
def test_unfinished_checksums_need_no_further_buffer(starved, family):
    net = starved
    packet = ip(A.ip(family), B.ip(family), ttl=64) / udp(data=bytes(500))
    meta = {"l4": "udp", "l3_len": 20 if family == 4 else 40, "l4_len": 8, "is_v6": family == 6}
    net.cmd("hog", leave=1)
    net.send("a", to_gw(A) / packet, meta=meta)
    net.expect("b", from_gw(B) / ip(A.ip(family), B.ip(family), ttl=63) / udp(data=bytes(500)))
