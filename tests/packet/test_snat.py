# SPDX-License-Identifier: BSD-3-Clause
"""Source translation: pools, rules, pairs; never a packet that leaves with an address that it should not."""
import pytest
from conftest import A, B, EXTERNAL, HOST, REMOTE2, both, echo, error, ip, tcp, to_gw, tunnelled, udp
from nat import OUTSIDE, goes, got, pair, sent
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply
from scapy.layers.l2 import Ether
from scapy.packet import Raw

POOL = {4: "203.0.113.100", 6: "2001:db8:5::100"}
PAIR = {4: "203.0.113.50", 6: "2001:db8:5::50"}
CLASSES = {"tcp": TCP, "udp": UDP}


def l4(proto, sport, dport, flags="S"):
    return tcp(sport, dport, flags) if proto == "tcp" else udp(sport, dport)


def pool(net, family, lo=40000, hi=40099, rule=True):
    net.cmd("pool.add", name="p", addresses=[POOL[family]], port_min=lo, port_max=hi)
    if rule:
        net.cmd("snat.add", name="all", pool="p", priority=100)


def opened(net, family, proto, sport, dport=80, source=A, dst=None):
    """A first packet leaves translated; its port."""
    dst = dst or EXTERNAL[family]
    net.send(source.port, to_gw(source) / ip(source.ip(family), dst, ttl=64) / l4(proto, sport, dport))
    frame = net.drain("up")[0]
    port = Ether(frame)[CLASSES[proto]].sport
    assert frame == bytes(got(OUTSIDE) / ip(POOL[family], dst, ttl=63) / l4(proto, port, dport))
    return port


@both
@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_pool_translates_both_ways_and_keeps_the_port(net, family, proto):
    pool(net, family)
    port = opened(net, family, proto, 1000)
    assert 40000 <= port <= 40099
    for _ in range(3):
        assert opened(net, family, proto, 1000) == port
        before, after = pair(EXTERNAL[family], POOL[family], EXTERNAL[family], A.ip(family), l4(proto, 80, port, "SA"),
                             l4(proto, 80, 1000, "SA"))
        goes(net, OUTSIDE, before, A, after)
    own = 40050 if port != 40050 else 40051
    assert opened(net, family, proto, own) == own  # its own port, when the pool has it


@both
def test_pool_reuses_a_port_for_other_destinations(net, family):
    pool(net, family, 40000, 40000)
    assert opened(net, family, "udp", 1000, 80) == opened(net, family, "udp", 1000, 81) == 40000
    for dport in (80, 81):
        before, after = pair(EXTERNAL[family], POOL[family], EXTERNAL[family], A.ip(family), udp(dport, 40000), udp(dport, 1000))
        goes(net, OUTSIDE, before, A, after)


@both
def test_pool_that_is_exhausted_lets_nothing_leave_untranslated(net, family):
    pool(net, family, 40000, 40003)
    assert {opened(net, family, "udp", sport) for sport in range(1000, 1004)} == set(range(40000, 40004))
    more = [to_gw(A) / ip(A.ip(family), EXTERNAL[family], ttl=64) / udp(sport, 80) for sport in range(2000, 2010)]
    net.send_dropped("a", more, "nat_exhausted")
    assert net.drain("up") == []
    assert len(net.conns()) == 4
    net.warp(400)
    net.step(300)
    assert opened(net, family, "udp", 3000) in range(40000, 40004)


def test_pool_that_was_exhausted_is_looked_through_again_later(net):
    """A search in vain is not repeated in full at once, only for that destination, and not for long."""
    pool(net, 4, 40000, 40199)
    packets = [to_gw(A) / ip(A.ip(4), EXTERNAL[4], ttl=64) / udp(sport, 80) for sport in range(1000, 1200)]
    for first in range(0, 200, 50):
        net.send("a", packets[first:first + 50])
    assert len(net.drain("up")) == len(net.conns()) == 200
    net.send_dropped("a", to_gw(A) / ip(A.ip(4), EXTERNAL[4]) / udp(2000, 80), "nat_exhausted")
    assert opened(net, 4, "udp", 2000, 81) in range(40000, 40200)  # another destination is not concerned
    net.warp(400)
    net.step(300)
    assert opened(net, 4, "udp", 2000) in range(40000, 40200)


@both
def test_pool_without_an_address_of_the_family_lets_nothing_leave(net, family):
    net.cmd("pool.add", name="p", addresses=[POOL[10 - family]])
    net.cmd("snat.add", name="all", pool="p")
    net.send_dropped("a", to_gw(A) / ip(A.ip(family), EXTERNAL[family]) / udp(), "nat_no_address")


def echo_reply(family, ident):
    return ICMP(type=0, id=ident, seq=1) / Raw(b"leat") if family == 4 else ICMPv6EchoReply(id=ident, seq=1, data=b"leat")


@both
def test_echo_identifier_is_the_port(net, family):
    pool(net, family, 1024, 65535)
    before, after = pair(A.ip(family), EXTERNAL[family], POOL[family], EXTERNAL[family], echo(family, 77))
    goes(net, A, before, OUTSIDE, after)
    net.send("b", to_gw(B) / ip(B.ip(family), EXTERNAL[family], ttl=64) / echo(family, 77))  # the same one: another is chosen
    frame = net.drain("up")[0]
    layer = Ether(frame)[ICMP] if family == 4 else Ether(frame).lastlayer()
    ident = layer.id if family == 4 else int.from_bytes(frame[58:60], "big")
    assert ident != 77
    assert frame == bytes(got(OUTSIDE) / ip(POOL[family], EXTERNAL[family], ttl=63) / echo(family, ident))
    for node, own, outer in ((A, 77, 77), (B, 77, ident)):
        before, after = pair(EXTERNAL[family], POOL[family], EXTERNAL[family], node.ip(family), echo_reply(family, outer),
                             echo_reply(family, own))
        goes(net, OUTSIDE, before, node, after)


@both
def test_rules_choose_who_is_translated(net, family):
    pool(net, family, rule=False)
    wide = "203.0.113.0/24" if family == 4 else "2001:db8:ffff::/48"
    net.cmd("snat.add", name="not", action="no-snat", priority=10, destinations=[{"prefix": wide}], proto="udp", dports=["53"])
    net.cmd("snat.add", name="yes", pool="p", priority=20, destinations=[{"prefix": wide}])
    assert opened(net, family, "udp", 40001) == 40001
    before, after = pair(A.ip(family), EXTERNAL[family], A.ip(family), EXTERNAL[family], udp(40001, 53))
    goes(net, A, before, OUTSIDE, after)
    other = "198.18.0.1" if family == 4 else "2001:db8:2::1"
    before, after = pair(A.ip(family), other, A.ip(family), other, udp(40001, 80))
    goes(net, A, before, OUTSIDE, after)


@both
def test_neither_node_nor_tunnels_nor_pods_are_translated(net, family):
    pool(net, family)
    net.send("host", to_gw(HOST) / ip(HOST.ip(family), EXTERNAL[family], ttl=64) / udp())
    net.expect("up", got(OUTSIDE) / ip(HOST.ip(family), EXTERNAL[family], ttl=64) / udp())
    net.send("a", to_gw(A) / ip(A.ip(family), REMOTE2[family], ttl=64) / udp())
    frame = net.drain("up")[0]
    assert frame == bytes(tunnelled(ip(A.ip(family), REMOTE2[family], ttl=63) / udp(), Ether(frame)[UDP].sport))
    before, after = pair(A.ip(family), B.ip(family), A.ip(family), B.ip(family), udp())
    goes(net, A, before, B, after)


@both
@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_pair_translates_in_both_directions_of_opening(net, family, proto):
    net.cmd("pair.add", internal=A.ip(family), external=PAIR[family])
    pool(net, family)  # the pair goes first
    steps = [
        (A, OUTSIDE, pair(A.ip(family), EXTERNAL[family], PAIR[family], EXTERNAL[family], l4(proto, 1000, 80))),
        (OUTSIDE, A, pair(EXTERNAL[family], PAIR[family], EXTERNAL[family], A.ip(family), l4(proto, 80, 1000, "SA"))),
        (OUTSIDE, A, pair(EXTERNAL[family], PAIR[family], EXTERNAL[family], A.ip(family), l4(proto, 2000, 22))),
        (A, OUTSIDE, pair(A.ip(family), EXTERNAL[family], PAIR[family], EXTERNAL[family], l4(proto, 22, 2000, "SA"))),
    ]
    for source, target, (before, after) in steps:
        goes(net, source, before, target, after)
    assert len(net.conns()) == 2


# ---- errors about translated packets

def message(family, kind, mtu=0):
    """ICMP header of an error, without the quote."""
    packet = error(A, family, kind, ip(EXTERNAL[family], A.ip(family)) / udp(), mtu)
    layer = packet.payload.payload
    layer.remove_payload()
    return layer


@both
@pytest.mark.parametrize("kind", ["port", "too_big", "ttl"])
@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_error_from_outside_about_a_translated_packet(net, family, kind, proto):
    pool(net, family)
    port = opened(net, family, proto, 1000)
    router = "198.18.7.7" if family == 4 else "2001:db8:7::7"
    for src in (EXTERNAL[family], router):
        quote, own = (bytes(ip(a, EXTERNAL[family], ttl=9) / l4(proto, p, 80)) for a, p in ((POOL[family], port),
                                                                                          (A.ip(family), 1000)))
        before, after = pair(src, POOL[family], src, A.ip(family), message(family, kind, 1400) / Raw(quote),
                             message(family, kind, 1400) / Raw(own))
        goes(net, OUTSIDE, before, A, after)


@both
def test_error_from_a_pod_about_a_translated_packet(net, family):
    net.cmd("pair.add", internal=A.ip(family), external=PAIR[family])
    before, after = pair(EXTERNAL[family], PAIR[family], EXTERNAL[family], A.ip(family), udp(1000, 80))
    goes(net, OUTSIDE, before, A, after)
    quote = bytes(ip(EXTERNAL[family], PAIR[family], ttl=63) / udp(1000, 80))
    before, after = pair(A.ip(family), EXTERNAL[family], PAIR[family], EXTERNAL[family],
                         message(family, "port") / Raw(bytes(after)), message(family, "port") / Raw(quote))
    goes(net, A, before, OUTSIDE, after)


@both
@pytest.mark.parametrize("kind", ["ttl", "too_big"])
@pytest.mark.parametrize("known", [False, True])
def test_own_error_about_a_translated_packet_quotes_the_original(net, family, kind, known):
    pool(net, family)
    if known:
        opened(net, family, "udp", 1000)
    fields = {"flags": "DF"} if family == 4 else {}
    packet = ip(A.ip(family), EXTERNAL[family], ttl=1 if kind == "ttl" else 64, **fields) / udp(
        1000, 80, bytes(1700) if kind == "too_big" else b"x")
    net.send_dropped("a", to_gw(A) / packet, "ttl_exceeded" if kind == "ttl" else "mtu_exceeded")
    net.expect("a", error(A, family, kind, packet, 1600))


@both
@pytest.mark.parametrize("kind", ["ttl", "too_big"])
def test_own_error_about_a_reply_quotes_what_its_sender_sent(net, family, kind):
    pool(net, family)
    port = opened(net, family, "udp", 1000)
    fields = {"flags": "DF"} if family == 4 else {}
    packet = ip(EXTERNAL[family], POOL[family], ttl=1 if kind == "ttl" else 64, **fields) / udp(
        80, port, bytes(1520) if kind == "too_big" else b"x")
    net.send_dropped("up", sent(OUTSIDE) / packet, "ttl_exceeded" if kind == "ttl" else "mtu_exceeded")
    net.expect("up", got(OUTSIDE) / error(A, family, kind, packet, 1500).payload)
    assert net.drain("a") == []


PAIR_B = {4: "203.0.113.51", 6: "2001:db8:5::51"}


def pairs(net, family):
    net.cmd("pair.add", internal=A.ip(family), external=PAIR[family])
    net.cmd("pair.add", internal=B.ip(family), external=PAIR_B[family])


@both
@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_pair_reaches_another_pair_as_from_outside(net, family, proto):
    """RFC 4787 REQ-9 (a), RFC 5382 REQ-8."""
    pairs(net, family)
    before, after = pair(A.ip(family), PAIR_B[family], PAIR[family], B.ip(family), l4(proto, 1000, 80))
    goes(net, A, before, B, after)
    before, after = pair(B.ip(family), PAIR[family], PAIR_B[family], A.ip(family), l4(proto, 80, 1000, "SA"))
    goes(net, B, before, A, after)


@both
@pytest.mark.parametrize("proto, ports", [("tcp", (1000, 80)), ("udp", (1000, 80)), ("udp", (80, 80))])
def test_pair_reaches_itself_by_its_external_address(net, family, proto, ports):
    pairs(net, family)
    before, after = pair(A.ip(family), PAIR[family], PAIR[family], A.ip(family), l4(proto, *ports))
    goes(net, A, before, A, after)
    before, after = pair(A.ip(family), PAIR[family], PAIR[family], A.ip(family), l4(proto, *ports[::-1], "SA"))
    goes(net, A, before, A, after)


@both
def test_pair_is_seen_by_an_ordinary_pods_own_address(net, family):
    net.cmd("pair.add", internal=B.ip(family), external=PAIR_B[family])
    before, after = pair(A.ip(family), PAIR_B[family], A.ip(family), B.ip(family), udp(1000, 80))
    goes(net, A, before, B, after)
    before, after = pair(B.ip(family), A.ip(family), PAIR_B[family], A.ip(family), udp(80, 1000))
    goes(net, B, before, A, after)
    # straight, neither is translated
    before, after = pair(A.ip(family), B.ip(family), A.ip(family), B.ip(family), udp(2000, 80))
    goes(net, A, before, B, after)


@both
def test_pair_to_pair_echo(net, family):
    pairs(net, family)
    before, after = pair(A.ip(family), PAIR_B[family], PAIR[family], B.ip(family), echo(family))
    goes(net, A, before, B, after)
    before, after = pair(B.ip(family), PAIR[family], PAIR_B[family], A.ip(family), echo_reply(family, 1))
    goes(net, B, before, A, after)
