# SPDX-License-Identifier: BSD-3-Clause
"""Neighbours on the uplink: asked for, waited for, confirmed, given up (RFC 826, RFC 4861 s. 7), on a warped clock."""
import pytest
from conftest import (A, LOCAL_VTEP, N2_VTEP, UP, both, error, from_gw, ip, to_gw, tunnelled, udp)
from scapy.layers.inet import UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

HOP = {4: "192.0.2.77", 6: "2001:db8:1::77"}
MAC = "02:00:00:00:00:77"


@pytest.fixture
def live(net):
    net.cmd("control.start")
    return net


def turn(net, seconds=0):
    """Time passes, then the control thread and the worker have their say until both are done."""
    net.warp(seconds)
    for _ in range(3):
        net.cmd("control.run")
        net.step()


def question(family, target=None, mac=None):
    """What leatd asks: everybody, or the one at mac."""
    target = target or HOP[family]
    if family == 4:
        return Ether(src=UP.mac, dst=mac or "ff:ff:ff:ff:ff:ff") / ARP(
            op=1, hwsrc=UP.mac, psrc=UP.ip4, hwdst="00:00:00:00:00:00", pdst=target)
    tail = bytes(IPv6(dst=target))[37:40]
    group, group_mac = "ff02::1:ff%02x:%02x%02x" % tuple(tail), "33:33:ff:%02x:%02x:%02x" % tuple(tail)
    return Ether(src=UP.mac, dst=mac or group_mac) / IPv6(src=UP.ip6, dst=target if mac else group, hlim=255) / ICMPv6ND_NS(
        tgt=target) / ICMPv6NDOptSrcLLAddr(lladdr=UP.mac)


def answer(family, mac=MAC, address=None):
    address = address or HOP[family]
    if family == 4:
        return Ether(src=mac, dst=UP.mac) / ARP(op=2, hwsrc=mac, psrc=address, hwdst=UP.mac, pdst=UP.ip4)
    return Ether(src=mac, dst=UP.mac) / IPv6(src=address, dst=UP.ip6, hlim=255) / ICMPv6ND_NA(
        tgt=address, R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=mac)


def to_hop(family, n=0):
    return to_gw(A) / ip(A.ip(family), HOP[family], ttl=64) / udp(sport=1000 + n)


def at_hop(family, n=0, mac=MAC):
    return Ether(src=UP.mac, dst=mac) / ip(A.ip(family), HOP[family], ttl=63) / udp(sport=1000 + n)


def resolve(net, family):
    net.send("a", to_hop(family))
    turn(net)
    net.expect("up", question(family))
    net.send("up", answer(family))
    turn(net)
    net.expect("up", at_hop(family))


@both
def test_first_packet_waits_for_the_answer_and_then_goes(live, family):
    resolve(live, family)
    live.send("a", to_hop(family))
    live.expect("up", at_hop(family))


@both
def test_waiting_packets_keep_their_order(live, family):
    live.send("a", [to_hop(family, n) for n in range(10)])
    turn(live)
    live.expect("up", question(family))
    live.send("up", answer(family))
    turn(live)
    live.expect("up", [at_hop(family, n) for n in range(10)])


@both
def test_too_many_waiting_packets_are_dropped_by_name(live, family):
    live.send("a", [to_hop(family, n) for n in range(20)])
    turn(live)
    live.drops("a", neigh_pending_full=4)
    live.expect("up", question(family))
    live.send("up", answer(family))
    turn(live)
    live.expect("up", [at_hop(family, n) for n in range(16)])


@both
def test_nobody_answers(live, family):
    """Three questions a second apart, then the sender is told; a minute later everything is forgotten."""
    live.send("a", to_hop(family))
    turn(live)
    live.expect("up", question(family))
    for _ in range(2):
        turn(live, 1.1)
        live.expect("up", question(family))
    turn(live, 1.1)
    live.expect("up", [])
    packet = ip(A.ip(family), HOP[family], ttl=64) / udp(sport=1000)
    live.expect("a", error(A, family, "host", packet))
    live.drops("a", neigh_failed=1)
    turn(live, 1.1)  # while it is known as failed, the next packet is answered at once and asks again
    live.send_dropped("a", to_hop(family, 1), "neigh_failed")
    assert len(live.drain("a")) == 1
    turn(live)
    live.expect("up", question(family))
    live.send("up", answer(family))
    turn(live)
    live.send("a", to_hop(family, 2))
    live.expect("up", at_hop(family, 2))


@both
def test_old_answer_is_confirmed_without_losing_a_packet(live, family):
    resolve(live, family)
    turn(live, 31)
    live.expect("up", question(family, mac=MAC))
    live.send("a", to_hop(family))
    live.expect("up", at_hop(family))
    live.send("up", answer(family))
    turn(live)
    turn(live, 20)
    live.expect("up", [])


@both
def test_neighbour_that_is_gone_is_asked_for_in_vain(live, family):
    """Three unicast questions, three to everybody, then failed."""
    resolve(live, family)
    questions = []
    for _ in range(12):
        turn(live, 10 if not questions else 1.1)
        questions += live.drain("up")
    assert [bytes(q) for q in questions] == [bytes(question(family, mac=MAC))] * 3 + [bytes(question(family))] * 3
    live.send_dropped("a", to_hop(family), "neigh_failed")
    assert len(live.drain("a")) == 1
    turn(live)
    live.drain("up")


@both
def test_neighbour_with_a_new_mac_takes_its_flows_along(live, family):
    resolve(live, family)
    other = "02:00:00:00:00:78"
    live.send("up", answer(family, mac=other))
    turn(live)
    live.send("a", to_hop(family))
    live.expect("up", at_hop(family, mac=other))


@both
def test_unasked_answers_teach_nothing(live, family):
    live.send("up", answer(family))
    turn(live)
    live.send("a", to_hop(family))
    turn(live)
    live.expect("up", question(family))
    live.send("up", answer(family, mac="02:00:00:00:00:79"))
    turn(live)
    live.expect("up", at_hop(family, mac="02:00:00:00:00:79"))


@both
def test_static_neighbour_believes_no_answer(live, family):
    live.cmd("neigh.add", port="up", address=HOP[family], mac=MAC)
    live.send("up", answer(family, mac="02:00:00:00:00:79"))
    turn(live)
    live.send("a", to_hop(family))
    live.expect("up", at_hop(family))


@both
def test_tunnel_waits_for_its_underlay(live, family):
    live.cmd("tunnel.add", name="n9", local=UP.ip4, remote=HOP[4], vni=5, remote_mac=N2_VTEP, local_mac=LOCAL_VTEP)
    live.cmd("control.tunnel", name="n9")
    prefix, dst = ("10.244.9.0/24", "10.244.9.1") if family == 4 else ("fd00:9::/64", "fd00:9::1")
    live.cmd("route.add", prefix=prefix, tunnel="n9")
    live.send("a", to_gw(A) / ip(A.ip(family), dst, ttl=64) / udp())
    turn(live)
    live.expect("up", question(4))
    live.send("up", answer(4))
    turn(live)
    frames = live.drain("up")
    assert len(frames) == 1
    want = tunnelled(ip(A.ip(family), dst, ttl=63) / udp(), Ether(frames[0])[UDP].sport, vni=5)
    want.dst, want[1].dst = MAC, HOP[4]
    assert frames[0] == bytes(want)


@both
def test_packet_from_a_tunnel_waits_as_well(live, family):
    from conftest import REMOTE2, from_tunnel
    packet = ip(REMOTE2[family], HOP[family], ttl=64) / udp()
    live.send("up", from_tunnel(packet))
    turn(live)
    live.expect("up", question(family))
    live.send("up", answer(family))
    turn(live)
    live.expect("up", Ether(src=UP.mac, dst=MAC) / ip(REMOTE2[family], HOP[family], ttl=63) / udp())


@both
def test_waiting_packets_go_with_their_port(live, family):
    live.send("a", to_hop(family))
    turn(live)
    live.expect("up", question(family))
    live.cmd("port.del", name="a")
    live.send("up", answer(family))
    turn(live)
    live.step(3)
    assert live.drain("up") == []
