# SPDX-License-Identifier: BSD-3-Clause
"""Plain forwarding: who gets what, with which bytes."""
import pytest
from conftest import (A, B, EXTERNAL, GW, HOST, REMOTE2, ROUTER, UP, assert_same, both, echo, error, from_gw, from_tunnel, ip, tcp,
                      to_gw, tunnelled, udp)
from scapy.layers.inet import IP, UDP, IPOption_NOP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import Ether
from scapy.packet import Raw

KINDS = {"udp": udp(), "tcp": tcp(), "udp-empty": udp(data=b""), "udp-odd": udp(data=b"odd"),
         "tcp-options": tcp(options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None),
                                     ("WScale", 7)])}


@both
@pytest.mark.parametrize("kind", [*KINDS, "echo"])
def test_pod_to_pod_is_routed_whole(net, family, kind):
    l4 = echo(family) if kind == "echo" else KINDS[kind]
    net.send("a", to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / l4)
    net.expect("b", from_gw(B) / ip(A.ip(family), B.ip(family), ttl=63) / l4)


@both
def test_second_packet_and_reply_hit_the_compiled_flow(net, family):
    there = to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / udp()
    back = to_gw(B) / ip(B.ip(family), A.ip(family), ttl=64) / udp(2000, 1000)
    net.send("a", there)
    net.send("b", back)
    before = net.cmd("stats")
    net.send("a", [there, there])
    net.send("b", [back, back])
    after = net.cmd("stats")
    assert after["hits"] - before["hits"] == 4 and after["slow"] == before["slow"]
    net.expect("b", [from_gw(B) / ip(A.ip(family), B.ip(family), ttl=63) / udp()] * 3)
    net.expect("a", [from_gw(A) / ip(B.ip(family), A.ip(family), ttl=63) / udp(2000, 1000)] * 3)
    assert [(c["orig_pkts"], c["reply_pkts"], c["state"]) for c in net.conns()] == [(3, 3, "replied")]
    size = len(there) - 14
    assert [(c["orig_bytes"], c["reply_bytes"]) for c in net.conns()] == [(3 * size, 3 * size)]


@both
def test_pod_to_outside_and_back_by_the_default_route(net, family):
    out = EXTERNAL[family]
    net.send("a", to_gw(A) / ip(A.ip(family), out, ttl=64) / tcp())
    net.expect("up", Ether(src=UP.mac, dst=ROUTER.mac) / ip(A.ip(family), out, ttl=63) / tcp())
    net.send("up", Ether(src=ROUTER.mac, dst=UP.mac) / ip(out, A.ip(family), ttl=60) / tcp(80, 1000, "SA"))
    net.expect("a", from_gw(A) / ip(out, A.ip(family), ttl=59) / tcp(80, 1000, "SA"))


@both
def test_outside_may_open_connections_to_pods(net, family):
    out = EXTERNAL[family]
    net.send("up", Ether(src=ROUTER.mac, dst=UP.mac) / ip(out, B.ip(family), ttl=60) / udp())
    net.expect("b", from_gw(B) / ip(out, B.ip(family), ttl=59) / udp())


@both
def test_node_and_pod_reach_each_other_with_their_own_addresses(net, family):
    """K2, K5: no NAT between node and pod; the node's first hop is no router hop."""
    net.send("host", to_gw(HOST) / ip(HOST.ip(family), A.ip(family), ttl=64) / tcp())
    net.expect("a", from_gw(A) / ip(HOST.ip(family), A.ip(family), ttl=64) / tcp())
    net.send("a", to_gw(A) / ip(A.ip(family), HOST.ip(family), ttl=64) / tcp(80, 1000, "SA"))
    net.expect("host", from_gw(HOST) / ip(A.ip(family), HOST.ip(family), ttl=64) / tcp(80, 1000, "SA"))


@both
def test_ttl_one_reaches_the_node_but_no_other(net, family):
    net.send("a", to_gw(A) / ip(A.ip(family), HOST.ip(family), ttl=1) / udp())
    net.expect("host", from_gw(HOST) / ip(A.ip(family), HOST.ip(family), ttl=1) / udp())


@both
@pytest.mark.parametrize("first, step", [(128, 1), (128, 7), (128, 2048), (130, 130), (200, 3)])
def test_chained_packets_come_out_whole(net, family, first, step):
    data = bytes(range(256)) * 3
    net.send("a", to_gw(A) / ip(A.ip(family), B.ip(family), ttl=9) / udp(data=data), first=first, step=step)
    net.expect("b", from_gw(B) / ip(A.ip(family), B.ip(family), ttl=8) / udp(data=data))


@both
def test_every_length_up_to_the_mtu(net, family):
    room = 1500 - (28 if family == 4 else 48)
    sizes = [*range(0, 80), *range(80, room, 97), room - 1, room]
    for chunk in (sizes[i:i + 32] for i in range(0, len(sizes), 32)):
        net.send("a", [to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / udp(data=bytes(n)) for n in chunk])
        net.expect("b", [from_gw(B) / ip(A.ip(family), B.ip(family), ttl=63) / udp(data=bytes(n)) for n in chunk])


def padded(frame, n):
    return bytes(frame) + bytes([0xEE]) * n


def packet_of(odd, src, dst, ttl, ident=1):
    """What the fast path knows, or what only the slow path does."""
    is_v6, header = ":" in dst, ip(src, dst, ttl=ttl)
    if odd == "options":
        header = header / IPv6ExtHdrDestOpt() if is_v6 else IP(src=src, dst=dst, ttl=ttl, options=[IPOption_NOP()] * 4)
    if odd == "proto":
        return (IPv6(src=src, dst=dst, hlim=ttl, nh=47) if is_v6 else IP(src=src, dst=dst, ttl=ttl, proto=47)) / Raw(b"gre")
    return header / (echo(6 if is_v6 else 4, ident=ident) if odd == "echo" else tcp() if odd == "tcp" else udp())


@both
@pytest.mark.parametrize("odd", ["", "tcp", "echo", "options", "proto"])
@pytest.mark.parametrize("pad, split", [(1, (0, 0)), (20, (0, 0)), (4000, (0, 0)), (4000, (128, 500))])
def test_link_padding_is_cut_on_every_way(net, family, odd, pad, split):
    """The first packet and the next ones: to a pod, out of and into the uplink, into and out of a tunnel."""
    pod, far, outside, how = A.ip(family), REMOTE2[family], EXTERNAL[family], {"first": split[0], "step": split[1]}
    for _ in range(2):
        net.send("a", padded(to_gw(A) / packet_of(odd, pod, B.ip(family), 64), pad), **how)
        net.expect("b", from_gw(B) / packet_of(odd, pod, B.ip(family), 63))
        net.send("a", padded(to_gw(A) / packet_of(odd, pod, outside, 64), pad), **how)
        net.expect("up", Ether(src=UP.mac, dst=ROUTER.mac) / packet_of(odd, pod, outside, 63))
        net.send("a", padded(to_gw(A) / packet_of(odd, pod, far, 64), pad), **how)
        (frame,) = net.drain("up")
        assert_same(frame, tunnelled(packet_of(odd, pod, far, 63), Ether(frame)[UDP].sport))
        net.send("up", padded(Ether(src=ROUTER.mac, dst=UP.mac) / packet_of(odd, outside, pod, 64, 2), pad), **how)
        net.expect("a", from_gw(A) / packet_of(odd, outside, pod, 63, 2))
        # inside, too, where the far end did not cut it
        inner = packet_of(odd, far, pod, 64, 2)
        net.send("up", from_tunnel(inner.__class__(bytes(inner)) / Raw(bytes(pad))), **how)
        net.expect("a", from_gw(A) / packet_of(odd, far, pod, 63, 2))


@both
def test_link_padding_does_not_count_for_the_mtu_or_the_limits(net, family):
    frame = bytes(to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / udp())
    net.send("a", [padded(frame, 3000)])
    net.expect("b", from_gw(B) / ip(A.ip(family), B.ip(family), ttl=63) / udp())
    assert net.conns()[0]["orig_bytes"] == len(frame) - 14


def test_ip_options_are_forwarded(net):
    for options in ([IPOption_NOP()] * 4, [IPOption_Router_Alert()]):
        net.send("a", to_gw(A) / IP(src=A.ip4, dst=B.ip4, ttl=64, options=options) / udp())
        net.expect("b", from_gw(B) / IP(src=A.ip4, dst=B.ip4, ttl=63, options=options) / udp())


def test_ip6_extension_headers_are_forwarded(net):
    for ext in (IPv6ExtHdrDestOpt(), IPv6ExtHdrHopByHop(), IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt()):
        net.send("a", to_gw(A) / IPv6(src=A.ip6, dst=B.ip6, hlim=64) / ext / udp())
        net.expect("b", from_gw(B) / IPv6(src=A.ip6, dst=B.ip6, hlim=63) / ext / udp())


@both
@pytest.mark.parametrize("proto", [47, 132, 89, 253])
def test_other_protocols_are_forwarded(net, family, proto):
    body = Raw(bytes(range(40)))
    packet = ip(A.ip(family), B.ip(family), ttl=64, **{"proto" if family == 4 else "nh": proto}) / body
    net.send("a", [to_gw(A) / packet] * 2)
    want = ip(A.ip(family), B.ip(family), ttl=63, **{"proto" if family == 4 else "nh": proto}) / body
    net.expect("b", [from_gw(B) / want] * 2)


def test_ipv4_fragments_are_forwarded_in_any_order(net):
    """PAINS 8: fragments of one datagram share one verdict, in any order."""
    datagram = bytes(UDP(sport=1, dport=2) / Raw(bytes(3000)))
    parts = [IP(src=A.ip4, dst=B.ip4, id=77, ttl=64, proto=17, frag=off // 8,
                flags="MF" if off + 1480 < len(datagram) else 0) / Raw(datagram[off:off + 1480])
             for off in range(0, len(datagram), 1480)]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        net.send("a", [to_gw(A) / parts[i] for i in order])
        wants = []
        for i in order:
            part = parts[i].copy()
            part.ttl = 63
            wants.append(from_gw(B) / part)
        net.expect("b", wants)


def test_ipv6_fragments_are_forwarded_in_any_order(net):
    datagram = bytes(range(200)) * 12
    parts = [IPv6(src=A.ip6, dst=B.ip6, hlim=64) / IPv6ExtHdrFragment(nh=17, id=5, offset=off // 8,
                                                                    m=int(off + 800 < len(datagram))) /
             Raw(datagram[off:off + 800]) for off in range(0, len(datagram), 800)]
    for order in ([0, 1, 2], [2, 0, 1]):
        net.send("a", [to_gw(A) / parts[i] for i in order])
        wants = []
        for i in order:
            part = parts[i].copy()
            part.hlim = 63
            wants.append(from_gw(B) / part)
        net.expect("b", wants)


@both
def test_more_specific_route_wins_and_change_reaches_live_flows(net, family):
    """A flow follows its route: PAINS 14 for routing."""
    out = EXTERNAL[family]
    prefix = "203.0.113.0/24" if family == 4 else "2001:db8:ffff::/48"
    via = {4: ("192.0.2.2", "02:00:00:00:00:02"), 6: ("2001:db8:1::2", "02:00:00:00:00:02")}[family]
    frame = to_gw(A) / ip(A.ip(family), out, ttl=64) / udp()
    by = {mac: Ether(src=UP.mac, dst=mac) / ip(A.ip(family), out, ttl=63) / udp() for mac in (ROUTER.mac, via[1])}
    net.send("a", frame)
    net.expect("up", by[ROUTER.mac])
    net.cmd("route.add", prefix=prefix, port="up", via=via[0])
    net.send("a", frame)
    net.expect("up", by[via[1]])
    net.cmd("route.del", prefix=prefix)
    net.send("a", frame)
    net.expect("up", by[ROUTER.mac])
    assert len(net.conns()) == 1


@both
def test_unrelated_route_changes_do_not_rejudge_flows(net, family):
    frame = to_gw(A) / ip(A.ip(family), EXTERNAL[family], ttl=64) / udp()
    net.send("a", [frame] * 2)
    before = net.cmd("stats")
    for n in range(20):
        prefix = f"10.99.{n}.0/24" if family == 4 else f"2001:db8:99:{n}::/64"
        net.cmd("route.add", prefix=prefix, type="blackhole")
        net.send("a", frame)
    after = net.cmd("stats")
    # The default route covered them: its flows look again once each time, but keep their answer.
    assert after["new_conns"] == before["new_conns"]
    assert len(net.drain("up")) == 22


@both
def test_unresolved_neighbour_holds_the_packet_and_gives_it_back(net, family):
    hop, mac = ("192.0.2.77", "02:00:00:00:00:77") if family == 4 else ("2001:db8:1::77", "02:00:00:00:00:77")
    frame = to_gw(A) / ip(A.ip(family), hop, ttl=64) / udp()
    net.send("a", frame)
    assert net.cmd("stats")["mbufs_in_use"] == 1
    net.cmd("neigh.add", port="up", address=hop, mac=mac, state="reachable")
    punts = net.punts(give_back=True)
    assert [(p["kind"], p["port"], p["out_port"], p["target"]) for p in punts] == [("resolve", "a", "up", hop)]
    net.step()
    net.expect("up", Ether(src=UP.mac, dst=mac) / ip(A.ip(family), hop, ttl=63) / udp())


@both
def test_neighbour_that_moves_takes_its_flows_along(net, family):
    frame = to_gw(A) / ip(A.ip(family), EXTERNAL[family], ttl=64) / udp()
    net.send("a", frame)
    net.drain("up")
    net.cmd("neigh.add", port="up", address=ROUTER.ip(family), mac="02:00:00:00:00:99")
    net.send("a", frame)
    net.expect("up", Ether(src=UP.mac, dst="02:00:00:00:00:99") / ip(A.ip(family), EXTERNAL[family], ttl=63) / udp())


@both
def test_port_that_goes_takes_its_flows_down_and_no_others(net, family):
    to_b = to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / udp()
    to_out = to_gw(A) / ip(A.ip(family), EXTERNAL[family], ttl=64) / udp()
    net.send("a", [to_b, to_out])
    assert len(net.drain("b")) == 1 and len(net.drain("up")) == 1
    net.cmd("port.del", name="b")
    net.step(3)
    net.send("a", [to_b, to_out])
    # b's address is nobody's now, and the default route does not have it.
    frames = net.drain("up")
    assert [Ether(f).dst for f in frames] == [ROUTER.mac]
    net.expect("a", error(A, family, "host", to_b.payload))
    net.drops("a", address_unused=1)
    net.cmd("port.add", name="b", role="pod", mac=B.mac)
    net.cmd("endpoint.add", id="b", port="b", addresses=[B.ip4, B.ip6])
    net.send("a", to_b)
    net.expect("b", from_gw(B) / ip(A.ip(family), B.ip(family), ttl=63) / udp())


@both
def test_port_down_is_a_counted_drop(net, family):
    net.cmd("port.set", name="b", up=False)
    net.send("a", [to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / udp()] * 2)
    net.drops("b", port_down=2)
    net.cmd("port.set", name="b", up=True)
    net.send("a", to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / udp())
    assert len(net.drain("b")) == 1


@both
def test_full_output_queue_is_a_counted_drop(net, family):
    net.cmd("port.add", name="small", role="pod", mac="0a:58:0a:f4:01:09", descriptors=15)
    net.cmd("endpoint.add", id="small", port="small", addresses=["10.244.1.9", "fd00:1::9"])
    dst = "10.244.1.9" if family == 4 else "fd00:1::9"
    net.send("a", [to_gw(A) / ip(A.ip(family), dst, ttl=64) / udp(sport=n) for n in range(100, 140)])
    got = len(net.drain("small"))
    assert 0 < got < 40
    net.drops("small", tx_full=40 - got)


@both
def test_packets_from_and_to_one_address_are_dropped(net, family):
    """A land attack: what a host sends to itself stays inside of it."""
    for l4 in (udp(5, 5), tcp(5, 5), tcp(5, 6), echo(family)):
        net.send_dropped("a", to_gw(A) / ip(A.ip(family), A.ip(family), ttl=64) / l4, "ip_land")
    packet = ip(EXTERNAL[family], EXTERNAL[family], ttl=64) / udp(5, 5)
    net.send_dropped("up", Ether(src=ROUTER.mac, dst=UP.mac) / packet, "ip_land")


@both
def test_burst_of_many_flows_keeps_order_within_each(net, family):
    frames, wants = [], []
    for n in range(200):
        frames.append(to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / udp(sport=n % 7 + 1, data=b"%d" % n))
        wants.append(from_gw(B) / ip(A.ip(family), B.ip(family), ttl=63) / udp(sport=n % 7 + 1, data=b"%d" % n))
    net.send("a", frames)
    got = net.drain("b")
    for flow in range(7):
        assert [g for n, g in enumerate(got) if UDP(bytes(g)[34 if family == 4 else 54:]).sport == flow + 1] == [
            bytes(w) for n, w in enumerate(wants) if n % 7 == flow]


@both
def test_unknown_gateway_mac_is_not_for_us(net, family):
    net.send_dropped("a", Ether(src=A.mac, dst="02:00:00:00:00:66") / ip(A.ip(family), B.ip(family)) / udp(),
                     "eth_dst_foreign")
    net.send_dropped("up", Ether(src=ROUTER.mac, dst=GW) / ip(EXTERNAL[family], B.ip(family)) / udp(),
                     "eth_dst_foreign")
