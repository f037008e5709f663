# SPDX-License-Identifier: BSD-3-Clause
"""Rate limits of endpoints, on a warped clock."""
import pytest
from conftest import A, B, GW, both, ip, tcp, to_gw, udp
from scapy.layers.inet import IP, fragment
from scapy.layers.l2 import Ether

C_MAC = "0a:58:0a:f4:01:04"
C = {4: "10.244.1.4", 6: "fd00:1::4"}


def limited(net, **limits):
    net.cmd("port.add", name="c", role="pod", mac=C_MAC)
    net.cmd("endpoint.add", id="c", port="c", addresses=[C[4], C[6]], **limits)


def from_c(family, n=0, size=4):
    return Ether(src=C_MAC, dst=GW) / ip(C[family], B.ip(family), ttl=64) / udp(sport=1000 + n % 4, data=bytes(size))


def to_c(family, n=0):
    return to_gw(B) / ip(B.ip(family), C[family], ttl=64) / udp(sport=1000 + n % 4)


def refused(net, port, n):
    counted = net.counted().get((port, "rate_limit"), 0) - net.expected_drops.get((port, "rate_limit"), 0)
    assert counted == n
    net.drops(port, rate_limit=n)


def some(n, low, extra=3):
    """low packets, and a few for the time that really passed (rates are chosen low, so that it hardly counts)."""
    return low <= n <= low + extra


@both
def test_packets_a_second_sent(net, family):
    limited(net, **{"from": {"rate_pps": 10, "burst_pkts": 20}})
    for seconds, low in ((0, 20), (1, 10), (1000, 20)):  # no more than a burst is saved up
        net.warp(seconds)
        net.send("c", [from_c(family, n) for n in range(50)])
        got = len(net.drain("b"))
        assert some(got, low)
        refused(net, "c", 50 - got)


@both
def test_packets_a_second_received(net, family):
    limited(net, to={"rate_pps": 10, "burst_pkts": 10})
    net.send("b", [to_c(family, n) for n in range(30)])
    got = len(net.drain("c"))
    assert some(got, 10)
    refused(net, "b", 30 - got)
    net.send("c", [from_c(family, n) for n in range(30)])
    assert len(net.drain("b")) == 30


@both
def test_bits_a_second(net, family):
    """800 kbit/s are 100 kB/s; the bucket holds at least one 64 KiB super-frame."""
    limited(net, **{"from": {"rate_bps": 800_000, "burst_bytes": 1}})
    size = len(from_c(family, 0, 1400)) - 14
    for seconds, in_bucket in ((0, 65536), (0.5, 50000), (1000, 65536)):
        net.warp(seconds)
        net.send("c", [from_c(family, n, 1400) for n in range(60)])
        got = len(net.drain("b"))
        assert some(got, in_bucket // size, 10)
        refused(net, "c", 60 - got)


@both
def test_limit_holds_over_a_long_time(net, family):
    limited(net, **{"from": {"rate_pps": 10, "burst_pkts": 10}})
    total = 0
    for _ in range(50):
        net.send("c", [from_c(family, n) for n in range(30)])
        total += len(net.drain("b"))
        net.warp(1)
    assert some(total, 500, 30)
    refused(net, "c", 50 * 30 - total)


@both
def test_other_pods_are_not_limited(net, family):
    limited(net, **{"from": {"rate_pps": 10, "burst_pkts": 1}})
    net.send("a", [to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / udp()] * 100)
    assert len(net.drain("b")) == 100


@pytest.mark.parametrize("size", [1400, 3000])
def test_packets_that_are_fragmented_are_limited_too(net, size):
    limited(net, **{"from": {"rate_pps": 10, "burst_pkts": 5}})
    net.send("c", [Ether(src=C_MAC, dst=GW) / IP(src=C[4], dst=B.ip4, ttl=64, id=n) / udp(data=bytes(size))
                   for n in range(20)])
    frames = net.drain("b")
    got = len({Ether(f)[IP].id for f in frames})
    assert some(got, 5)
    refused(net, "c", 20 - got)


def test_flood_of_fragments_from_a_pod_does_not_stop_the_others(net):
    """From ever other sources, the victim's among them: fragments are remembered before their source is checked."""
    sources = [B.ip4 if n % 4 == 0 else f"10.9.{n >> 8}.{n & 255}" for n in range(2400)]
    for at in range(0, len(sources), 100):
        net.send("a", [to_gw(A) / IP(src=src, dst=B.ip4, ttl=64, id=at + n, proto=17, frag=10) / bytes(8)
                       for n, src in enumerate(sources[at:at + 100])])
    net.expected_drops = net.counted()
    assert net.counted()["a", "frag_queue"] > 1000
    datagram = IP(src=B.ip4, dst=A.ip4, ttl=64, id=9, proto=17)
    parts = [IP(bytes(part)) for part in fragment(datagram / udp(data=bytes(3000)), 1000)]
    net.send("b", [to_gw(B) / part for part in reversed(parts)])
    assert len(net.drain("a", check=False)) == len(parts) == 4


@both
def test_superframes_count_with_all_their_bytes(net, family):
    limited(net, **{"from": {"rate_bps": 8_000_000, "burst_bytes": 1}})
    size = 60000
    frame = Ether(src=C_MAC, dst=GW) / ip(C[family], B.ip(family), ttl=64) / tcp(flags="A", data=bytes(size))
    meta = {"l4": "tcp", "segsz": 1400, "l3_len": 20 if family == 4 else 40, "l4_len": 20, "is_v6": family == 6}
    net.send("c", [frame] * 3, meta=meta)
    assert len(net.drain("b")) == 43
    refused(net, "c", 2)
