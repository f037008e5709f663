# SPDX-License-Identifier: BSD-3-Clause
"""ICMP that leat answers, sends about packets, and lets pass."""
import pytest
from conftest import (A, B, EXTERNAL, GW4, GW6, HOST, REMOTE2, ROUTER, UP, both, echo, error, from_gw, from_tunnel, ip, tcp,
                      to_gw, udp)
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw


@both
@pytest.mark.parametrize("ttl", [0, 1])
def test_expired_ttl_is_answered_with_the_whole_right_error(net, family, ttl):
    packet = ip(A.ip(family), B.ip(family), ttl=ttl) / udp(data=bytes(100))
    net.send_dropped("a", to_gw(A) / packet, "ttl_exceeded")
    net.expect("a", error(A, family, "ttl", packet))


@both
def test_expired_ttl_on_a_compiled_flow_too(net, family):
    packet = ip(A.ip(family), B.ip(family), ttl=64) / udp()
    net.send("a", to_gw(A) / packet)
    net.drain("b")
    packet = ip(A.ip(family), B.ip(family), ttl=1) / udp()
    net.send_dropped("a", to_gw(A) / packet, "ttl_exceeded")
    net.expect("a", error(A, family, "ttl", packet))


@both
@pytest.mark.parametrize("size", [0, 500, 549, 1185, 1300])
def test_error_quotes_as_much_as_it_may(net, family, size):
    packet = ip(A.ip(family), B.ip(family), ttl=1) / udp(data=bytes(size))
    net.send_dropped("a", to_gw(A) / packet, "ttl_exceeded")
    net.expect("a", error(A, family, "ttl", packet))


@both
def test_expired_ttl_from_outside_is_answered_to_the_outside(net, family):
    packet = ip(EXTERNAL[family], B.ip(family), ttl=1) / udp()
    net.send_dropped("up", Ether(src=ROUTER.mac, dst=UP.mac) / packet, "ttl_exceeded")
    want = error(A, family, "ttl", packet)
    want.src, want.dst = UP.mac, ROUTER.mac
    net.expect("up", want)


@both
def test_no_route_blackhole_and_prohibit(net, family):
    net.cmd("route.del", prefix="0.0.0.0/0" if family == 4 else "::/0")
    packet = ip(A.ip(family), EXTERNAL[family], ttl=64) / udp()
    net.send_dropped("a", to_gw(A) / packet, "no_route")
    net.expect("a", error(A, family, "no_route", packet))
    prefix = EXTERNAL[family] + ("/32" if family == 4 else "/128")
    net.cmd("route.add", prefix=prefix, type="blackhole")
    net.send_dropped("a", to_gw(A) / packet, "blackhole")
    net.expect("a", [])
    net.cmd("route.add", prefix=prefix, type="prohibit")
    net.send_dropped("a", to_gw(A) / packet, "prohibit")
    net.expect("a", error(A, family, "prohibit", packet))


@both
def test_failed_neighbour_is_answered_and_probed_again(net, family):
    hop = "192.0.2.66" if family == 4 else "2001:db8:1::66"
    net.cmd("neigh.add", port="up", address=hop, state="failed")
    packet = ip(A.ip(family), hop, ttl=64) / udp()
    net.send_dropped("a", to_gw(A) / packet, "neigh_failed")
    net.expect("a", error(A, family, "host", packet))
    assert [(p["kind"], p["target"]) for p in net.punts()] == [("probe", hop)]


@both
def test_errors_are_rate_limited_and_still_counted(net, family):
    frame = to_gw(A) / ip(A.ip(family), B.ip(family), ttl=1) / udp()
    net.send_dropped("a", [frame] * 60 + [frame] * 60, "ttl_exceeded")
    n = len(net.drain("a"))
    assert 40 <= n <= 60
    net.warp(1)
    net.send_dropped("a", frame, "ttl_exceeded")
    assert len(net.drain("a")) == 1


@both
def test_no_error_about_an_error_or_a_later_fragment(net, family):
    net.send("b", to_gw(B) / ip(B.ip(family), A.ip(family), ttl=64) / udp())  # something to speak of
    net.drain("a")
    quote = ip(B.ip(family), A.ip(family), ttl=63) / udp()
    message = ICMP(type=3, code=3) / Raw(bytes(quote)) if family == 4 else ICMPv6DestUnreach(code=4) / quote
    net.send_dropped("a", to_gw(A) / ip(A.ip(family), B.ip(family), ttl=1) / message, "ttl_exceeded")
    net.expect("a", [])
    if family == 4:
        first = IP(src=A.ip4, dst=B.ip4, ttl=64, flags="MF", proto=17) / Raw(bytes(udp(1, 2))[:4] + bytes([0, 144, 0, 0]) + bytes(72))
        net.send("a", to_gw(A) / first)
        net.drain("b")
        net.send_dropped("a", to_gw(A) / IP(src=A.ip4, dst=B.ip4, ttl=1, frag=10, proto=17) / Raw(bytes(64)),
                         "ttl_exceeded")
        net.expect("a", [])


@both
def test_leatd_answers_echo_on_its_own_address(net, family):
    request = ip(ROUTER.ip(family), UP.ip(family), ttl=7) / echo(family, ident=0x1234, seq=9, data=b"ping" * 20)
    net.send("up", Ether(src=ROUTER.mac, dst=UP.mac) / request)
    if family == 4:
        reply = IP(src=UP.ip4, dst=ROUTER.ip4, ttl=64) / ICMP(type=0, id=0x1234, seq=9) / Raw(b"ping" * 20)
    else:
        reply = IPv6(src=UP.ip6, dst=ROUTER.ip6, hlim=64) / ICMPv6EchoReply(id=0x1234, seq=9, data=b"ping" * 20)
    net.expect("up", Ether(src=UP.mac, dst=ROUTER.mac) / reply)


@both
def test_leatd_answers_echo_from_a_pod_too(net, family):
    net.send("a", to_gw(A) / ip(A.ip(family), UP.ip(family), ttl=64) / echo(family))
    frames = net.drain("a")
    assert len(frames) == 1
    reply = Ether(frames[0])
    assert (reply.src, reply.dst) == (to_gw(A).dst, A.mac)


GATEWAY = {4: GW4, 6: GW6}
LINK_LOCAL = "fe80::858:aff:fef4:102"


@pytest.mark.parametrize("src,gateway", [(A.ip4, GW4), (A.ip6, GW6), (LINK_LOCAL, GW6)])
def test_pod_pings_its_gateway(net, src, gateway):
    net.send("a", to_gw(A) / ip(src, gateway, ttl=1) / echo(6 if ":" in src else 4, data=b"ping" * 20))
    reply = ICMPv6EchoReply(id=1, seq=1, data=b"ping" * 20) if ":" in src else ICMP(type=0, id=1, seq=1) / Raw(
        b"ping" * 20)
    net.expect("a", from_gw(A) / ip(gateway, src, ttl=64) / reply)
    assert net.conns() == []


def test_only_a_pod_and_only_as_itself_reaches_the_gateway(net):
    for src, gateway in ((B.ip4, GW4), (B.ip6, GW6), (GW4, GW4), (GW6, GW6)):
        net.send_dropped("a", to_gw(A) / ip(src, gateway) / echo(6 if ":" in src else 4), "ip_src_spoofed")
    net.send_dropped("a", to_gw(A) / ip(LINK_LOCAL, A.ip6) / echo(6), "ip_src_spoofed")
    net.send_dropped("up", Ether(src=ROUTER.mac, dst=UP.mac) / ip(ROUTER.ip6, GW6) / echo(6), "ip_martian")
    net.send_dropped("up", from_tunnel(ip(REMOTE2[6], GW6) / echo(6)), "ip_martian")


@both
def test_nothing_else_listens_on_the_gateways_address(net, family):
    packet = ip(A.ip(family), GATEWAY[family], ttl=64) / udp()
    net.send_dropped("a", to_gw(A) / packet, "local_proto")
    net.expect("a", error(A, family, "port", packet))


@both
def test_nothing_else_listens_on_leatds_own_address(net, family):
    packet = ip(ROUTER.ip(family), UP.ip(family), ttl=64) / udp()
    net.send_dropped("up", Ether(src=ROUTER.mac, dst=UP.mac) / packet, "local_proto")
    want = error(A, family, "port", packet)
    want.src, want.dst = UP.mac, ROUTER.mac
    net.expect("up", want)
    net.send_dropped("up", Ether(src=ROUTER.mac, dst=UP.mac) / ip(ROUTER.ip(family), UP.ip(family)) / tcp(),
                     "local_proto")
    net.expect("up", [])


@both
def test_echo_with_a_wrong_checksum_is_not_answered(net, family):
    frame = bytearray(bytes(Ether(src=ROUTER.mac, dst=UP.mac) / ip(ROUTER.ip(family), UP.ip(family)) / echo(family)))
    frame[-1] ^= 1
    net.send_dropped("up", bytes(frame), "local_proto")


@both
def test_errors_about_a_live_connection_pass(net, family):
    """PAINS 9: "too big" from outside reaches the pod that must hear it."""
    out = EXTERNAL[family]
    sent = ip(A.ip(family), out, ttl=64) / udp(data=bytes(600))
    net.send("a", to_gw(A) / sent)
    quote = Ether(net.drain("up")[0]).payload
    if family == 4:
        message = ip(ROUTER.ip4, A.ip4, ttl=64) / ICMP(type=3, code=4, nexthopmtu=1280) / Raw(bytes(quote)[:28])
    else:
        message = ip(ROUTER.ip6, A.ip6, ttl=64) / ICMPv6PacketTooBig(mtu=1280) / Raw(bytes(quote)[:1000])
    net.send("up", Ether(src=ROUTER.mac, dst=UP.mac) / message)
    want = message.copy()
    if family == 4:
        want.ttl = 63
    else:
        want.hlim = 63
    net.expect("a", from_gw(A) / want)
    assert len(net.conns()) == 1


def complaint(family, src, about, is_redirect=False):
    icmp = ICMP(type=5, code=1) if is_redirect else ICMP(type=3, code=3) if family == 4 else ICMPv6DestUnreach(code=4)
    return ip(src, about.src, ttl=64) / icmp / Raw(bytes(about))


@both
def test_pod_complains_only_of_what_was_sent_to_it(net, family):
    """What two others say to each other is not for a third to end, by whatever address it knows of it."""
    net.cmd("snat.add", name="all")
    about = ip(A.ip(family), EXTERNAL[family], ttl=64) / udp()
    net.send("a", to_gw(A) / about)
    left = Ether(net.drain("up")[0])[IP if family == 4 else IPv6]
    for quote in (about, left):
        net.send_dropped("b", to_gw(B) / complaint(family, B.ip(family), quote), "icmp_unmatched")
    mine = ip(A.ip(family), B.ip(family), ttl=64) / udp()
    net.send("a", to_gw(A) / mine)
    net.drain("b")
    net.send("b", to_gw(B) / complaint(family, B.ip(family), mine))
    assert len(net.drain("a")) == 1
    if family == 4:
        net.send_dropped("b", to_gw(B) / complaint(4, B.ip4, mine, is_redirect=True), "icmp_unmatched")


@both
def test_errors_about_nothing_are_dropped(net, family):
    quote = ip(A.ip(family), EXTERNAL[family], ttl=64) / udp(sport=7)
    message = ICMP(type=3, code=1) / Raw(bytes(quote)) if family == 4 else ICMPv6DestUnreach(code=3) / quote
    frame = Ether(src=ROUTER.mac, dst=UP.mac) / ip(ROUTER.ip(family), A.ip(family)) / message
    net.send_dropped("up", frame, "icmp_unmatched")
    cut = bytes(frame)[:14 + (20 if family == 4 else 40) + 8]
    short = ip(ROUTER.ip(family), A.ip(family)) / (ICMP(type=3) if family == 4 else ICMPv6DestUnreach())
    assert len(cut) == len(bytes(Ether() / short))
    net.send_dropped("up", Ether(src=ROUTER.mac, dst=UP.mac) / short, "icmp_unmatched")
