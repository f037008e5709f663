# SPDX-License-Identifier: BSD-3-Clause
"""What is this node's and nobody's: refused, counted and answered (RFC 1812 s. 5.2.7.1, RFC 4443 s. 3.1 code 3) instead of going
round with the router; and nothing from a tunnel leaves by an uplink unless the tunnel is for transit."""
import pytest
from conftest import (A, B, EXTERNAL, HOST, N2, N2_VTEP, REMOTE2, REMOTE3, ROUTER, UP, VNI2, LOCAL_VTEP, both, echo, error, from_gw,
                      from_tunnel, ip, tcp, to_gw, tunnelled, udp)
from nat import OUTSIDE, VIP, pair, service
from scapy.layers.l2 import Ether

NOBODY = {4: "10.244.1.77", 6: "fd00:1::77"}  # of this node's prefix
OWN_PREFIX = {4: "10.244.1.0/24", 6: "fd00:1::/64"}
POOL = {4: "198.18.200.1", 6: "2001:db8:200::1"}
PAIR = {4: "198.18.100.3", 6: "2001:db8:100::3"}
FULL = {4: "/32", 6: "/128"}
sources = pytest.mark.parametrize("source", ["pod", "node", "outside", "tunnel"])
TO_OWN = {"pod": to_gw(A), "node": to_gw(HOST), "outside": Ether(src=ROUTER.mac, dst=UP.mac)}
PORT = {"pod": "a", "node": "host", "outside": "up", "tunnel": "up"}


def address(source, family):
    return {"pod": A.ip(family), "node": HOST.ip(family), "outside": EXTERNAL[family], "tunnel": REMOTE2[family]}[source]


def came(source, packet):
    return from_tunnel(packet) if source == "tunnel" else TO_OWN[source] / packet


def told(source, family, packet):
    """The "host unreachable" that the sender gets."""
    inner = error(A, family, "host", packet).payload
    if source == "pod":
        return from_gw(A) / inner
    if source == "node":
        return from_gw(HOST) / inner
    if source == "outside":
        return Ether(src=UP.mac, dst=ROUTER.mac) / inner
    return inner


def refused(net, source, packet, family, reason="address_unused"):
    """Nothing leaves but the answer to the sender."""
    net.send_dropped(PORT[source], came(source, packet), reason)
    if source != "tunnel":
        net.expect(PORT[source], told(source, family, packet))
        return
    frames = net.drain("up")
    assert len(frames) == 1
    sport = Ether(frames[0])["UDP"].sport
    assert frames[0] == bytes(tunnelled(told(source, family, packet), sport))


L4 = {"udp": udp, "tcp": tcp}


def l4(proto, family):
    return echo(family) if proto == "icmp" else L4[proto]()


# ---- addresses of the node

@both
@sources
@pytest.mark.parametrize("proto", ["udp", "tcp", "icmp"])
def test_address_of_an_own_prefix_without_a_pod_is_unreachable(net, family, source, proto):
    net.cmd("route.add", prefix=OWN_PREFIX[family], type="unreachable")
    refused(net, source, ip(address(source, family), NOBODY[family], ttl=64) / l4(proto, family), family)
    net.send("up", Ether(src=ROUTER.mac, dst=UP.mac) / ip(EXTERNAL[family], A.ip(family), ttl=64) / udp())
    assert len(net.drain("a")) == 1  # who has an address of it is reached


@both
@sources
def test_address_of_a_detached_pod_is_unreachable(net, family, source):
    net.cmd("endpoint.del", id="b")
    refused(net, source, ip(address(source, family), B.ip(family), ttl=64) / udp(), family)


@both
@sources
def test_pod_that_is_detached_under_traffic_leaves_no_stream_behind(net, family, source):
    packet = ip(address(source, family), B.ip(family), ttl=64) / udp()
    net.send(PORT[source], [came(source, packet)] * 3)
    assert len(net.drain("b")) == 3
    net.cmd("endpoint.del", id="b")
    for _ in range(2):
        refused(net, source, packet, family)


@both
def test_answers_to_a_connection_of_a_detached_pod_are_refused(net, family):
    net.send("a", to_gw(A) / ip(A.ip(family), EXTERNAL[family], ttl=64) / udp())
    assert len(net.drain("up")) == 1
    net.cmd("endpoint.del", id="a")
    refused(net, "outside", ip(EXTERNAL[family], A.ip(family), ttl=64) / udp(2000, 1000), family)


@both
def test_detached_address_that_comes_back_is_reached(net, family):
    net.cmd("endpoint.del", id="b")
    packet = ip(A.ip(family), B.ip(family), ttl=64) / udp()
    refused(net, "pod", packet, family)
    net.cmd("endpoint.add", id="b2", port="b", addresses=[B.ip4, B.ip6])
    net.send("a", to_gw(A) / packet)
    assert len(net.drain("b")) == 1


@both
@pytest.mark.parametrize("how", ["route", "time", "seen"])
def test_detached_address_that_went_to_another_node_is_let_out(net, family, how):
    """By a more specific route, by its own packets from there, or a minute later."""
    net.cmd("endpoint.del", id="b")
    packet = ip(A.ip(family), B.ip(family), ttl=64) / udp()
    refused(net, "pod", packet, family)
    if how == "route":
        net.cmd("route.add", prefix=B.ip(family) + FULL[family], port="up", via=N2.ip(family))
    elif how == "time":
        net.warp(61)
    else:
        net.send("up", Ether(src=ROUTER.mac, dst=UP.mac) / ip(B.ip(family), A.ip(family), ttl=64) / udp(7, 8))
        assert len(net.drain("a")) == 1
    net.send("a", to_gw(A) / packet)
    assert len(net.drain("up")) == 1


@both
@sources
def test_pool_address_without_a_connection_is_unreachable(net, family, source):
    net.cmd("pool.add", name="p", addresses=[POOL[family]])
    net.cmd("snat.add", name="s", pool="p")
    refused(net, source, ip(address(source, family), POOL[family], ttl=64) / udp(), family)


@both
def test_pool_address_is_ours_only_where_sources_are_translated(net, family):
    net.cmd("pool.add", name="p", addresses=[POOL[family]])
    net.send("a", to_gw(A) / ip(A.ip(family), POOL[family], ttl=64) / udp())
    assert len(net.drain("up")) == 1


@both
@sources
def test_pair_whose_pod_is_away_is_unreachable(net, family, source):
    net.cmd("pair.add", internal=NOBODY[family], external=PAIR[family])
    refused(net, source, ip(address(source, family), PAIR[family], ttl=64) / udp(), family)
    net.cmd("pair.del", internal=NOBODY[family])
    net.send("b", to_gw(B) / ip(B.ip(family), PAIR[family], ttl=64) / udp(1, 2))
    assert len(net.drain("up")) == 1


@both
@sources
@pytest.mark.parametrize("proto", ["udp", "icmp"])
def test_address_of_a_service_never_goes_round(net, family, source, proto):
    service(net, family, [B], kind="external", proto="tcp")
    packet = ip(address(source, family), VIP[family], ttl=64) / l4(proto, family)
    net.send_dropped(PORT[source], came(source, packet), "service_no_port")
    assert len(net.drain(PORT[source])) == 1  # port unreachable


# ---- round with the router

@both
@pytest.mark.parametrize("proto", ["udp", "tcp", "icmp"])
def test_packet_is_not_sent_back_to_whom_it_came_from(net, family, proto):
    packet = ip(EXTERNAL[family], NOBODY[family], ttl=64) / l4(proto, family)
    refused(net, "outside", packet, family, "route_loop")


@both
def test_packet_from_another_machine_of_the_wire_is_forwarded(net, family):
    packet = ip(EXTERNAL[family], NOBODY[family], ttl=64) / udp()
    net.send("up", Ether(src="02:00:00:00:00:77", dst=UP.mac) / packet)
    packet.ttl = packet.hlim = 63
    frames = net.drain("up")
    assert len(frames) == 1 and Ether(frames[0]).dst == ROUTER.mac


@both
def test_service_whose_backend_is_behind_the_same_router_works(net, family):
    far = "2001:db8:fffe::5" if family == 6 else "192.88.99.5"
    service(net, family, [{"ip": far, "local": False}], kind="external", proto="udp")
    net.send("up", Ether(src=ROUTER.mac, dst=UP.mac) / ip(EXTERNAL[family], VIP[family], ttl=64) / udp(1000, 80))
    frames = net.drain("up")
    assert len(frames) == 1 and Ether(frames[0]).dst == ROUTER.mac


# ---- transit

@both
@pytest.mark.parametrize("proto", ["udp", "tcp", "icmp"])
@pytest.mark.parametrize("target", ["default", "on-link", "specific"])
def test_nothing_from_a_tunnel_leaves_by_an_uplink(net, family, proto, target):
    to = ROUTER.ip(family) if target == "on-link" else EXTERNAL[family]
    if target == "specific":
        net.cmd("route.add", prefix=to + FULL[family], port="up", via=ROUTER.ip(family))
    refused(net, "tunnel", ip(REMOTE2[family], to, ttl=64) / l4(proto, family), family, "tunnel_transit")


@both
def test_tunnel_for_transit_leads_out(net, family):
    net.cmd("route.del", prefix="10.244.2.0/24")
    net.cmd("route.del", prefix="fd00:2::/64")
    net.cmd("tunnel.del", name="n2")
    net.cmd("tunnel.add", name="n2", local=UP.ip4, remote=N2.ip4, vni=VNI2, remote_mac=N2_VTEP, port="up",
            local_mac=LOCAL_VTEP, transit=True)
    net.cmd("route.add", prefix="10.244.2.0/24", tunnel="n2")
    net.cmd("route.add", prefix="fd00:2::/64", tunnel="n2")
    before, after = pair(REMOTE2[family], EXTERNAL[family], REMOTE2[family], EXTERNAL[family], udp())
    net.send("up", from_tunnel(before))
    net.expect("up", Ether(src=UP.mac, dst=ROUTER.mac) / after)
    net.cmd("endpoint.del", id="b")  # also then what is ours stays here
    refused(net, "tunnel", ip(REMOTE2[family], B.ip(family), ttl=64) / udp(), family)


@both
def test_answer_through_a_tunnel_to_a_connection_from_outside_leaves(net, family):
    service(net, family, [{"ip": REMOTE2[family], "local": False}], kind="node-port", proto="udp", port=30080,
            front={"target_port": 53})
    net.send("up", Ether(src=ROUTER.mac, dst=UP.mac) / ip(OUTSIDE.ip(family), HOST.ip(family), ttl=64) / udp(50000, 30080))
    assert len(net.drain("up")) == 1
    net.send("up", from_tunnel(ip(REMOTE2[family], HOST.ip(family), ttl=64) / udp(53, 50000)))
    net.expect("up", Ether(src=UP.mac, dst=ROUTER.mac) / ip(HOST.ip(family), OUTSIDE.ip(family), ttl=63) / udp(30080, 50000))


@both
def test_tunnel_to_tunnel_is_refused_and_answered(net, family):
    refused(net, "tunnel", ip(REMOTE2[family], REMOTE3[family], ttl=64) / udp(), family, "tunnel_transit")
