# SPDX-License-Identifier: BSD-3-Clause
"""Neighbours on the uplink: asked for, waited for, confirmed, given up (RFC 826, RFC 4861 s. 7), on a warped clock."""
import pytest
from conftest import (A, LOCAL_VTEP, N2, N2_VTEP, REMOTE2, REMOTE3, ROUTER, UP, VNI2, both, error, from_tunnel, ip, to_gw,
                      tunnelled, udp)
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import (ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, ICMPv6PacketTooBig,
                                IPv6)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

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
    for prefix in ("10.244.2.0/24", "fd00:2::/64"):
        live.cmd("route.del", prefix=prefix)
    live.cmd("tunnel.del", name="n2")
    live.cmd("tunnel.add", name="n2", local=UP.ip4, remote=N2.ip4, vni=VNI2, remote_mac=N2_VTEP, port="up", local_mac=LOCAL_VTEP,
             transit=True)
    for prefix in ("10.244.2.0/24", "fd00:2::/64"):
        live.cmd("route.add", prefix=prefix, tunnel="n2")
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


# ---- path MTU of the underlay (PAINS 9)

def learned(net, mtu, family):
    """Pod a learns of a packet to the tunnel's pods what fits: the ICMP error's MTU."""
    fields = {"flags": "DF"} if family == 4 else {}
    packet = ip(A.ip(family), REMOTE2[family], ttl=64, **fields) / udp(data=bytes(1550 - (28 if family == 4 else 48)))
    net.send("a", to_gw(A) / packet)
    if mtu == 1550:
        assert len(net.drain("up")) == 1
        return
    net.drops("a", mtu_exceeded=1)
    net.expect("a", error(A, family, "too_big", packet, mtu))


def told(net, mtu, outer4=True):
    """A router in the underlay cannot pass an outer packet of ours."""
    dst = REMOTE2[4] if outer4 else REMOTE3[4]
    net.send("a", to_gw(A) / ip(A.ip4, dst, ttl=64) / udp(data=bytes(1400)))
    outer = Ether(net.drain("up")[0]).payload
    if outer4:
        message = IP(src=ROUTER.ip4, dst=UP.ip4) / ICMP(type=3, code=4, nexthopmtu=mtu) / Raw(bytes(outer)[:28])
    else:
        message = IPv6(src=ROUTER.ip6, dst=UP.ip6) / ICMPv6PacketTooBig(mtu=mtu) / Raw(bytes(outer)[:1200])
    net.send("up", Ether(src=ROUTER.mac, dst=UP.mac) / message)
    net.drops("up", consumed=1)
    turn(net)


@pytest.fixture
def resolved(live):
    """Tunnels whose underlay is resolved by the control thread, as leatd does it."""
    for name in ("n2", "n3"):
        live.cmd("control.tunnel", name=name)
    return live


@both
def test_too_big_about_the_outer_packet_lowers_the_tunnels_mtu(resolved, family):
    learned(resolved, 1550, family)
    told(resolved, 1450)
    learned(resolved, 1400, family)
    turn(resolved, 599)
    learned(resolved, 1400, family)
    turn(resolved, 2)  # then the way is tried again
    learned(resolved, 1550, family)


def test_too_big_about_an_outer_ipv6_packet_lowers_the_tunnels_mtu(resolved):
    told(resolved, 1450, outer4=False)
    packet = ip(A.ip4, REMOTE3[4], ttl=64, flags="DF") / udp(data=bytes(1400))
    resolved.send_dropped("a", to_gw(A) / packet, "mtu_exceeded")
    resolved.expect("a", error(A, 4, "too_big", packet, 1380))


@both
def test_forged_too_big_cannot_stop_a_tunnel(resolved, family):
    told(resolved, 68)
    learned(resolved, 1280, family)


def test_too_big_that_no_tunnel_packet_of_ours_can_have_caused_is_dropped(resolved):
    quotes = [IP(src=UP.ip4, dst="192.0.2.66") / UDP(sport=50000, dport=4789, len=1400),
              IP(src=UP.ip4, dst=N2.ip4) / UDP(sport=50000, dport=53, len=1400),
              IP(src="192.0.2.66", dst=N2.ip4) / UDP(sport=50000, dport=4789, len=1400),
              IP(src=UP.ip4, dst=N2.ip4, proto=6) / Raw(bytes(20))]
    for quote in quotes:
        message = IP(src=ROUTER.ip4, dst=UP.ip4) / ICMP(type=3, code=4, nexthopmtu=1400) / Raw(bytes(quote)[:28])
        resolved.send_dropped("up", Ether(src=ROUTER.mac, dst=UP.mac) / message, "icmp_unmatched")
    message = ICMP(type=3, code=4, nexthopmtu=1400, chksum=1) / Raw(bytes(IP(src=UP.ip4, dst=N2.ip4) / UDP(
        sport=50000, dport=4789, len=1400)))
    resolved.send_dropped("up", Ether(src=ROUTER.mac, dst=UP.mac) / IP(src=ROUTER.ip4, dst=UP.ip4) / message,
                          "icmp_unmatched")
    turn(resolved)
    learned(resolved, 1550, 4)
