# SPDX-License-Identifier: BSD-3-Clause
"""Zones: the same addresses several times, never mixed up (D5)."""
import pytest
from conftest import (A, B, GW, LOCAL_VTEP, N2, N2_VTEP, REMOTE2, UP, VNI2, both, from_gw, from_tunnel, ip, to_gw,
                      tunnelled, udp)
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

MACS = {"a7": "0a:58:07:00:00:02", "b7": "0a:58:07:00:00:03"}


@pytest.fixture
def zoned(net):
    """Pods a7 and b7 of zone 7 with the addresses of a and b."""
    for name, node in (("a7", A), ("b7", B)):
        net.cmd("port.add", name=name, role="pod", mac=MACS[name], zone=7)
        net.cmd("endpoint.add", id=name, port=name, addresses=[node.ip4, node.ip6], zone=7)
    return net


@both
def test_same_addresses_in_two_zones_do_not_meet(zoned, family):
    net = zoned
    packet = ip(A.ip(family), B.ip(family), ttl=64) / udp()
    after = ip(A.ip(family), B.ip(family), ttl=63) / udp()
    for _ in range(2):
        net.send("a", to_gw(A) / packet)
        net.expect("b", from_gw(B) / after)
        net.send("a7", Ether(src=MACS["a7"], dst=GW) / packet)
        net.expect("b7", Ether(src=GW, dst=MACS["b7"]) / after)
    assert sorted((c["zone"], c["orig_pkts"]) for c in net.conns()) == [(0, 2), (7, 2)]


@both
def test_zone_has_routes_of_its_own(zoned, family):
    net = zoned
    dst = "203.0.113.9" if family == 4 else "2001:db8:ffff::9"
    packet = ip(A.ip(family), dst, ttl=64) / udp()
    net.send_dropped("a7", Ether(src=MACS["a7"], dst=GW) / packet, "no_route")
    net.drain("a7")
    net.send("a", to_gw(A) / packet)
    assert len(net.drain("up")) == 1


@both
def test_tunnel_belongs_to_a_zone(zoned, family):
    net = zoned
    net.cmd("tunnel.add", name="n2z7", local=UP.ip4, remote=N2.ip4, vni=777, remote_mac=N2_VTEP, port="up",
            local_mac=LOCAL_VTEP, zone=7)
    prefix = "10.244.2.0/24" if family == 4 else "fd00:2::/64"
    net.cmd("route.add", prefix=prefix, tunnel="n2z7", zone=7)
    packet = ip(A.ip(family), REMOTE2[family], ttl=64) / udp()
    after = ip(A.ip(family), REMOTE2[family], ttl=63) / udp()
    net.send("a7", Ether(src=MACS["a7"], dst=GW) / packet)
    net.send("a", to_gw(A) / packet)
    for frame, vni in zip(net.drain("up"), (777, VNI2)):
        assert frame == bytes(tunnelled(after, Ether(frame)[UDP].sport, vni=vni))
    back = ip(REMOTE2[family], A.ip(family), ttl=64) / udp(2000, 1000)
    net.send("up", from_tunnel(back, vni=777))
    assert len(net.drain("a7")) == 1 and net.drain("a") == []
    net.send("up", from_tunnel(back))
    assert len(net.drain("a")) == 1 and net.drain("a7") == []


def test_ping_of_death_sized_datagrams_stay_apart(zoned):
    """Fragments carry the zone in their key as everything else."""
    net = zoned
    first = IP(src=A.ip4, dst=B.ip4, ttl=64, id=3, flags="MF", proto=17) / (bytes(UDP(sport=1, dport=2, len=144)) + bytes(72))
    part = IP(src=A.ip4, dst=B.ip4, ttl=64, id=3, frag=10, proto=17) / bytes(64)
    net.send("a", to_gw(A) / part)  # waits for its own first, not for the other zone's
    net.send("a7", Ether(src=MACS["a7"], dst=GW) / part)
    net.send("a7", Ether(src=MACS["a7"], dst=GW) / first)
    assert len(net.drain("b7")) == 2 and net.drain("b") == []
