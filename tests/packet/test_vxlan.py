# SPDX-License-Identifier: BSD-3-Clause
"""VXLAN: what leaves, what is taken, and the table of RFC 7348 (BEHAVIOURS V1 to V7)."""
import pytest
from conftest import (A, B, EXTERNAL, GW, HOST, LOCAL_VTEP, N2, N2_VTEP, N3, N3_VTEP, REMOTE2, REMOTE3, ROUTER, UP, assert_same,
                      VNI2, VNI3, both, echo, error, from_gw, from_tunnel, ip, tcp, to_gw, tunnelled, udp)
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

both_outer = pytest.mark.parametrize("far, vni, vtep, remote", [(N2, VNI2, N2_VTEP, REMOTE2),
                                                                 (N3, VNI3, N3_VTEP, REMOTE3)], ids=["outer4", "outer6"])


def source_port(frame):
    return Ether(frame)[UDP].sport


@both_outer
@both
@pytest.mark.parametrize("l4", [udp(), tcp(), "echo", udp(data=bytes(1400))], ids=["udp", "tcp", "echo", "long"])
def test_encapsulated_packet_is_whole(net, far, vni, vtep, remote, family, l4):
    l4 = echo(family) if l4 == "echo" else l4
    net.send("a", to_gw(A) / ip(A.ip(family), remote[family], ttl=64) / l4)
    frames = net.drain("up")
    assert len(frames) == 1
    sport = source_port(frames[0])
    assert sport >= 49152  # V4
    want = tunnelled(ip(A.ip(family), remote[family], ttl=63) / l4, sport, far, vni, vtep)
    assert_same(frames[0], want)


@both
def test_source_port_is_constant_in_a_flow_and_spread_over_flows(net, family):
    """V4"""
    frames = [to_gw(A) / ip(A.ip(family), REMOTE2[family], ttl=64) / udp(sport=n) for n in range(1, 65)]
    net.send("a", frames)
    first = [source_port(f) for f in net.drain("up")]
    net.send("a", frames)
    assert [source_port(f) for f in net.drain("up")] == first
    assert all(p >= 49152 for p in first) and len(set(first)) > 55


@both_outer
@both
@pytest.mark.parametrize("split", [(0, 0), (128, 1), (128, 2048)])
def test_decapsulated_packet_is_whole(net, far, vni, vtep, remote, family, split):
    inner = ip(remote[family], A.ip(family), ttl=63) / tcp(data=bytes(range(200)), options=[("Timestamp", (1, 2))])
    net.send("up", from_tunnel(inner, far, vni), first=split[0], step=split[1])
    want = inner.copy()
    if family == 4:
        want.ttl = 62
    else:
        want.hlim = 62
    net.expect("a", from_gw(A) / want)


@both
def test_reply_goes_back_into_the_tunnel(net, family):
    net.send("up", from_tunnel(ip(REMOTE2[family], A.ip(family), ttl=63) / tcp()))
    net.drain("a")
    answer = ip(A.ip(family), REMOTE2[family], ttl=64) / tcp(80, 1000, "SA")
    net.send("a", to_gw(A) / answer)
    frames = net.drain("up")
    assert len(frames) == 1
    want = ip(A.ip(family), REMOTE2[family], ttl=63) / tcp(80, 1000, "SA")
    assert_same(frames[0], tunnelled(want, source_port(frames[0])))
    assert [c["state"] for c in net.conns()] == ["syn_recv"]


@both
def test_node_is_reached_through_the_tunnel(net, family):
    net.send("up", from_tunnel(ip(REMOTE2[family], HOST.ip(family), ttl=63) / tcp()))
    assert len(net.drain("host")) == 1


# ---- V1, V2

def test_v1_without_i_flag_is_dropped(net):
    frames = []
    for flags in (0x00, 0xF7, 0x01, 0x80):
        data = bytearray(bytes(from_tunnel(ip(REMOTE2[4], A.ip4) / udp())))
        data[42] = flags
        frames.append(bytes(data))
    net.send_dropped("up", frames, "tunnel_header")


def test_v2_reserved_bits_are_ignored(net):
    inner = ip(REMOTE2[4], A.ip4, ttl=64) / udp()
    frames = []
    for flags in (0x08, 0xFF, 0x88, 0x0C):
        data = bytearray(bytes(from_tunnel(inner)))
        data[42] = flags
        data[43:46] = b"\xff\xff\xff"
        data[49] = 0xFF
        frames.append(bytes(data))
    net.send("up", frames)
    assert len(net.drain("a")) == 4


def test_v2_reserved_bits_are_sent_as_zero(net):
    net.send("a", to_gw(A) / ip(A.ip4, REMOTE2[4], ttl=64) / udp())
    frame = net.drain("up")[0]
    assert frame[42:46] == b"\x08\0\0\0" and frame[49] == 0


# ---- V3

@both_outer
def test_v3_checksum_zero_and_right_are_accepted_wrong_is_dropped(net, far, vni, vtep, remote):
    inner = ip(remote[4], A.ip4, ttl=64) / udp()
    net.send("up", [from_tunnel(inner, far, vni, chksum=0), from_tunnel(inner, far, vni, chksum=None)])
    assert len(net.drain("a")) == 2
    good = bytes(from_tunnel(inner, far, vni, chksum=None))
    for at in (len(good) - 1, 60, 34 if far is N2 else 54):
        bad = bytearray(good)
        bad[at] ^= 0x10
        net.send_dropped("up", bytes(bad), "tunnel_checksum", first=128, step=3)


def test_outer_ipv4_header_checksum_is_verified(net):
    frame = bytearray(bytes(from_tunnel(ip(REMOTE2[4], A.ip4, ttl=64) / udp())))
    frame[24] ^= 1
    net.send_dropped("up", bytes(frame), "ip4_checksum")


# ---- V5

def test_v5_fragments_of_outer_packets_are_dropped(net):
    frame = from_tunnel(ip(REMOTE2[4], A.ip4, ttl=64) / udp())
    frame[IP].flags = "MF"
    net.send_dropped("up", frame, "tunnel_fragment")
    inner = Ether(src=N3_VTEP, dst=LOCAL_VTEP) / ip(REMOTE3[4], A.ip4) / udp()
    frame6 = Ether(src=N3.mac, dst=UP.mac) / IPv6(src=N3.ip6, dst=UP.ip6) / IPv6ExtHdrFragment(m=1) / UDP(
        sport=1, dport=4789, chksum=0) / VXLAN(flags=8, vni=VNI3) / inner
    net.send("up", frame6)
    reasons = [reason for (port, reason) in net.counted() if port == "up"]
    assert len(reasons) == 2 and "tunnel_fragment" in reasons
    net.drops("up", **{r: 1 for r in reasons if r != "tunnel_fragment"})
    net.drain("up")


def test_v5_outer_packets_are_never_fragmented(net):
    net.send("a", to_gw(A) / ip(A.ip4, REMOTE2[4], ttl=64) / udp(data=bytes(1490)))
    frames = net.drain("up")
    assert len(frames) == 1 and Ether(frames[0])[IP].flags == "DF"


# ---- V6

def test_v6_inner_vlan_tag_is_dropped_and_none_is_sent(net):
    inner = ip(REMOTE2[4], A.ip4) / udp()
    frame = from_tunnel(inner)
    tagged = Ether(src=N2.mac, dst=UP.mac) / IP(src=N2.ip4, dst=UP.ip4) / UDP(dport=4789, chksum=0) / VXLAN(flags=8, vni=VNI2)
    for tag in (0x8100, 0x88A8):
        net.send_dropped("up", tagged / Ether(src=N2_VTEP, dst=LOCAL_VTEP, type=tag) / Dot1Q(vlan=1) / inner,
                         "tunnel_inner_vlan")
    net.send("up", frame)
    assert len(net.drain("a")) == 1


# ---- V7

def test_v7_port_is_the_tunnels(net):
    net.cmd("tunnel.del", name="n2")
    net.cmd("tunnel.add", name="n2", local=UP.ip4, remote=N2.ip4, vni=VNI2, remote_mac=N2_VTEP, port="up",
            local_mac=LOCAL_VTEP, udp_port=8472)
    net.cmd("route.add", prefix="10.244.2.0/24", tunnel="n2")
    net.send("a", to_gw(A) / ip(A.ip4, REMOTE2[4], ttl=64) / udp())
    frames = net.drain("up")
    assert len(frames) == 1 and Ether(frames[0])[UDP].dport == 8472
    frame = from_tunnel(ip(REMOTE2[4], A.ip4, ttl=64) / udp())
    frame[UDP].dport = 8472
    net.send("up", frame)
    assert len(net.drain("a")) == 1
    # n3 still listens on 4789, but n2's packets may not come that way
    net.send_dropped("up", from_tunnel(ip(REMOTE2[4], A.ip4, ttl=64) / udp()), "tunnel_unknown_peer")


# ---- who may speak

def test_unknown_peers_and_vnis_are_dropped(net):
    """C5: only known tunnel ends."""
    inner = ip(REMOTE2[4], A.ip4) / udp()
    frame = from_tunnel(inner)
    frame[IP].src = "192.0.2.66"
    net.send_dropped("up", frame, "tunnel_unknown_peer")
    net.send_dropped("up", from_tunnel(inner, vni=VNI2 + 1), "tunnel_unknown_vni")
    net.send_dropped("up", from_tunnel(inner, vni=VNI3), "tunnel_unknown_vni")


def test_inner_mac_must_be_this_tunnel_ends(net):
    """F8"""
    frame = bytearray(bytes(from_tunnel(ip(REMOTE2[4], A.ip4) / udp())))
    for mac in ("ff:ff:ff:ff:ff:ff", N2_VTEP, GW, A.mac):
        frame[50:56] = bytes.fromhex(mac.replace(":", ""))
        net.send_dropped("up", bytes(frame), "tunnel_inner_mac")


@both
def test_inner_source_must_live_behind_that_tunnel(net, family):
    for src in (REMOTE3[family], A.ip(family), B.ip(family), HOST.ip(family), EXTERNAL[family], UP.ip(family)):
        net.send_dropped("up", from_tunnel(ip(src, A.ip(family)) / udp()), "ip_src_spoofed")


@both
def test_live_flow_does_not_open_the_way_for_other_ingresses(net, family):
    inner = ip(REMOTE2[family], A.ip(family), ttl=64) / udp()
    net.send("up", from_tunnel(inner))
    assert len(net.drain("a")) == 1
    net.send_dropped("up", from_tunnel(inner, N3, VNI3), "ip_src_spoofed")
    net.send_dropped("b", to_gw(B) / inner, "ip_src_spoofed")


@both
@pytest.mark.parametrize("is_answered", [False, True])
def test_source_that_has_moved_to_another_tunnel_is_not_believed_from_the_first(net, family, is_answered):
    inner = ip(REMOTE2[family], A.ip(family), ttl=64) / udp(7, 8)
    for _ in range(2):
        net.send("up", from_tunnel(inner))
    assert len(net.drain("a")) == 2
    if is_answered:
        net.send("a", to_gw(A) / ip(A.ip(family), REMOTE2[family], ttl=64) / udp(8, 7))
        assert len(net.drain("up")) == 1
    net.cmd("route.add", prefix=REMOTE2[family] + ("/32" if family == 4 else "/128"), tunnel="n3")
    net.send_dropped("up", from_tunnel(inner), "ip_src_spoofed")
    net.send("up", from_tunnel(inner, N3, VNI3))
    assert len(net.drain("a")) == 1


def test_arp_and_nd_inside_the_tunnel_are_dropped(net):
    arp = ARP(op=1, hwsrc=N2_VTEP, psrc=REMOTE2[4], pdst=A.ip4)
    net.send_dropped("up", from_tunnel(arp), "arp_invalid")


@both
def test_packets_from_one_tunnel_are_not_sent_into_another(net, family):
    net.send_dropped("up", from_tunnel(ip(REMOTE2[family], REMOTE3[family], ttl=64) / udp()), "tunnel_transit")
    assert len(net.drain("up")) == 1  # its sender is told


@both
def test_inner_ttl_that_expires_is_answered_through_the_tunnel(net, family):
    packet = ip(REMOTE2[family], B.ip(family), ttl=1) / udp()
    net.send_dropped("up", from_tunnel(packet), "ttl_exceeded")
    frames = net.drain("up")
    assert len(frames) == 1
    want = error(A, family, "ttl", packet).payload
    assert_same(frames[0], tunnelled(want, source_port(frames[0])))


# ---- lengths

@pytest.mark.parametrize("cut", range(0, 56, 5))
def test_cut_tunnel_packets_are_dropped(net, cut):
    """Shorter than their outer headers say, and consistent but too short for an inner frame."""
    frame = bytes(from_tunnel(ip(REMOTE2[4], A.ip4) / udp()))
    net.send("up", frame[:len(frame) - 1 - cut])
    counted = net.counted()
    assert sum(counted.values()) == 1 and net.conns() == []
    net.drops("up", **{reason: 1 for (port, reason) in counted})
    short = Ether(src=N2.mac, dst=UP.mac) / IP(src=N2.ip4, dst=UP.ip4) / UDP(sport=1, dport=4789, chksum=0) / VXLAN(
        flags=8, vni=VNI2) / Raw(bytes(13))
    net.send_dropped("up", short, "tunnel_header")


def test_inner_packets_are_parsed_like_any_other(net):
    for inner, reason in ((IP(src=REMOTE2[4], dst=A.ip4, chksum=1) / udp(), "ip4_checksum"),
                          (IP(src=REMOTE2[4], dst=A.ip4) / tcp(flags="SF"), "tcp_invalid"),
                          (IP(src=REMOTE2[4], dst=A.ip4, len=100) / udp(), "ip4_header"),
                          (IP(src=REMOTE2[4], dst="224.0.0.1") / udp(), "ip_multicast"),
                          (IP(src="127.0.0.1", dst=A.ip4) / udp(), "ip_martian"),
                          (IPv6(src=REMOTE2[6], dst=A.ip6, plen=999) / udp(), "ip6_header")):
        net.send_dropped("up", from_tunnel(inner), reason)


def test_padding_behind_the_outer_packet_is_cut(net):
    inner = ip(REMOTE2[4], A.ip4, ttl=64) / udp()
    net.send("up", bytes(from_tunnel(inner)) + bytes(30))
    inner.ttl = 63
    net.expect("a", from_gw(A) / inner)


def test_unresolved_tunnel_holds_the_packet(net):
    net.cmd("tunnel.add", name="n9", local=UP.ip4, remote="192.0.2.99", vni=5, remote_mac=N2_VTEP, local_mac=LOCAL_VTEP)
    net.cmd("route.add", prefix="10.244.9.0/24", tunnel="n9")
    net.send("a", to_gw(A) / ip(A.ip4, "10.244.9.1", ttl=64) / udp())
    assert [(p["kind"], p["port"]) for p in net.punts()] == [("tunnel", "a")]


@both
def test_removed_tunnel_takes_its_flows_down(net, family):
    frame = to_gw(A) / ip(A.ip(family), REMOTE2[family], ttl=64) / udp()
    net.send("a", frame)
    assert len(net.drain("up")) == 1
    for prefix in ("10.244.2.0/24", "fd00:2::/64"):
        net.cmd("route.del", prefix=prefix)
    net.cmd("tunnel.del", name="n2")
    net.send("a", frame)
    frames = net.drain("up")
    assert len(frames) == 1 and Ether(frames[0]).dst == ROUTER.mac
    net.send_dropped("up", from_tunnel(ip(REMOTE2[family], A.ip(family)) / udp()), "tunnel_unknown_peer")


def test_tunnel_packets_for_others_are_routed_not_opened(net):
    """A VXLAN packet between two outside hosts is payload like any other."""
    frame = Ether(src=ROUTER.mac, dst=UP.mac) / IP(src=EXTERNAL[4], dst=B.ip4, ttl=9) / UDP(
        sport=5, dport=4789) / VXLAN(flags=8, vni=VNI2) / Ether() / IP() / udp()
    net.send("up", frame)
    assert len(net.drain("b")) == 1


def told_by(src, family, quote):
    """An ICMP error about a packet of a's, as it comes out of the tunnel."""
    if family == 4:
        return IP(src=src, dst=A.ip4, ttl=64) / ICMP(type=3, code=4, nexthopmtu=1300) / Raw(bytes(quote)[:28])
    return IPv6(src=src, dst=A.ip6, hlim=64) / ICMPv6PacketTooBig(mtu=1300) / Raw(bytes(quote))


@both
def test_errors_from_routers_behind_the_tunnel_pass(net, family):
    """PAINS 9: the far node tells with its own address, which no route leads into the tunnel for."""
    net.send("a", to_gw(A) / ip(A.ip(family), REMOTE2[family], ttl=64) / udp(data=bytes(700)))
    quote = Ether(net.drain("up")[0])[VXLAN].payload.payload
    for src in {4: ("198.51.100.2", "192.0.2.2"), 6: ("2001:db8:9::2", "2001:db8:1::2")}[family]:
        net.send("up", from_tunnel(told_by(src, family, quote)))
        frames = net.drain("a")
        assert [Ether(f)[1].src for f in frames] == [src]


@both
def test_errors_in_the_tunnel_from_addresses_of_this_node_are_dropped(net, family):
    net.send("a", to_gw(A) / ip(A.ip(family), REMOTE2[family], ttl=64) / udp())
    quote = Ether(net.drain("up")[0])[VXLAN].payload.payload
    for src in (B.ip(family), HOST.ip(family), UP.ip(family)):
        net.send_dropped("up", from_tunnel(told_by(src, family, quote)), "ip_src_spoofed")


# ---- ECN and DSCP

NOT_ECT, ECT1, ECT0, CE = range(4)
# RFC 6040 s. 4.2, figure 4: what goes on, by the inner (row) and the outer header (column); None: dropped.
EGRESS = {NOT_ECT: {NOT_ECT: NOT_ECT, ECT0: NOT_ECT, ECT1: NOT_ECT, CE: None},
          ECT0: {NOT_ECT: ECT0, ECT0: ECT0, ECT1: ECT1, CE: CE},
          ECT1: {NOT_ECT: ECT1, ECT0: ECT1, ECT1: ECT1, CE: CE},
          CE: {NOT_ECT: CE, ECT0: CE, ECT1: CE, CE: CE}}
DSCPS = (0, 0x2E, 0x3F)


def with_tos(packet, tos):
    packet.setfieldval("tos" if packet.name == "IP" else "tc", tos)
    return packet


def uniform(net, name):
    """Changed in place."""
    net.cmd("tunnel.set", name=name, is_uniform=1)


@both_outer
@both
@pytest.mark.parametrize("is_uniform", [False, True], ids=["pipe", "uniform"])
def test_outer_tos_is_the_inner_ones_as_configured(net, far, vni, vtep, remote, family, is_uniform):
    """RFC 6040 s. 4.1, normal mode: all four codepoints are copied; RFC 2983: the DSCP or not."""
    if is_uniform:
        uniform(net, "n2" if far is N2 else "n3")
    for tos in [dscp << 2 | ecn for dscp in DSCPS for ecn in range(4)]:
        net.send("a", to_gw(A) / with_tos(ip(A.ip(family), remote[family], ttl=64), tos) / udp())
        (frame,) = net.drain("up")
        want = tunnelled(with_tos(ip(A.ip(family), remote[family], ttl=63), tos) / udp(), source_port(frame), far, vni, vtep)
        with_tos(want[1], tos if is_uniform else tos & 3)
        assert_same(frame, want)


@both_outer
@both
@pytest.mark.parametrize("is_uniform", [False, True], ids=["pipe", "uniform"])
def test_inner_tos_follows_the_outer_one_by_the_tables(net, far, vni, vtep, remote, family, is_uniform):
    if is_uniform:
        uniform(net, "n2" if far is N2 else "n3")
    for inner_ecn, row in EGRESS.items():
        for outer_ecn, ecn in row.items():
            for inner_dscp, outer_dscp in ((0, 0x2E), (0x2E, 0), (0x0A, 0x3F), (0, 0)):
                inner = with_tos(ip(remote[family], A.ip(family), ttl=64), inner_dscp << 2 | inner_ecn) / udp()
                for chksum in (0, None):
                    frame = from_tunnel(inner, far, vni, chksum=chksum)
                    with_tos(frame[1], outer_dscp << 2 | outer_ecn)
                    if ecn is None:
                        net.send_dropped("up", frame, "tunnel_ecn")
                        continue
                    net.send("up", frame)
                    dscp = outer_dscp if is_uniform else inner_dscp
                    net.expect("a", from_gw(A) / with_tos(ip(remote[family], A.ip(family), ttl=63), dscp << 2 | ecn) / udp())


def test_wrong_inner_header_checksum_stays_wrong_when_ecn_is_set(net):
    frame = from_tunnel(IP(src=REMOTE2[4], dst=A.ip4, ttl=64, tos=ECT0, chksum=1) / udp())
    frame[1].tos = CE
    net.send_dropped("up", frame, "ip4_checksum")


@both
def test_segments_of_a_superframe_carry_its_ecn_outside(net, family):
    from test_mtu import superframe
    data, meta, _ = superframe(net, family, REMOTE2[family], "tcp", 6000, 1400)
    data = bytearray(data)
    if family == 4:
        data[15] |= ECT0
        header = IP(bytes(data[14:34]))
        del header.chksum
        data[14:34] = bytes(header)[:20]
    else:
        data[15] |= ECT0 << 4
    net.send("a", bytes(data), meta=meta)
    frames = net.drain("up")
    assert len(frames) == 5 and all(Ether(f)[IP].tos == ECT0 for f in frames)
