# SPDX-License-Identifier: BSD-3-Clause
"""Address translation of what is no plain TCP, UDP or echo packet: fragments, options, SCTP, super-frames, too big, ICMP errors."""
import itertools

import pytest
from conftest import A, B, EXTERNAL, HOST, assert_same, both, error, ip, tcp, to_gw, udp
from nat import C, OUTSIDE, VIP, goes, got, pair, pod_add, sent, service
from scapy.layers.inet import ICMP, IP, IPOption
from scapy.layers.inet6 import (IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop,
                                IPv6ExtHdrRouting)
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Raw
from test_mtu import PATTERN, reassemble, unfinished

POOL = {4: "203.0.113.100", 6: "2001:db8:5::100"}
PORT = 40000


def ways(net, family, proto="udp"):
    """(source, target, packet's addresses and ports, those that it gets) for both directions through DNAT, and through SNAT."""
    service(net, family, [B], proto=proto, front={"target_port": 8080})
    net.cmd("pool.add", name="p", addresses=[POOL[family]], port_min=PORT, port_max=PORT)
    net.cmd("snat.add", name="all", pool="p")
    a, b, vip, ext, pool = A.ip(family), B.ip(family), VIP[family], EXTERNAL[family], POOL[family]
    return {"dnat": (A, B, (a, vip, 1000, 80), (a, b, 1000, 8080)), "undnat": (B, A, (b, a, 8080, 1000), (vip, a, 80, 1000)),
            "snat": (A, OUTSIDE, (a, ext, 1000, 53), (pool, ext, PORT, 53)),
            "unsnat": (OUTSIDE, A, (ext, pool, 53, PORT), (ext, a, 53, 1000))}


def plain(addresses, l4=udp, ttl=64):
    return ip(addresses[0], addresses[1], ttl=ttl) / l4(*addresses[2:])


def way(net, family, name, proto="udp", l4=udp):
    """One of them, its connection begun."""
    all_ways = ways(net, family, proto)
    if name.startswith("un"):
        source, target, before, after = all_ways[name[2:]]
        goes(net, source, plain(before, l4), target, plain(after, l4, 63), 1)
    return all_ways[name]


every_way = pytest.mark.parametrize("name", ["dnat", "undnat", "snat", "unsnat"])


# ---- fragments

def parts_of(family, addresses, data, cuts, ttl, ident=77):
    """The UDP datagram's fragments, cut at these offsets."""
    src, dst, sport, dport = addresses
    whole = bytes(ip(src, dst) / udp(sport, dport, data))[20 if family == 4 else 40:]
    parts = []
    for start, end in zip([0, *cuts], [*cuts, len(whole)]):
        more = end < len(whole)
        if family == 4:
            header = IP(src=src, dst=dst, id=ident, proto=17, ttl=ttl, frag=start // 8, flags="MF" if more else 0)
        else:
            header = IPv6(src=src, dst=dst, hlim=ttl) / IPv6ExtHdrFragment(id=ident, nh=17, offset=start // 8, m=more)
        parts.append(header / Raw(whole[start:end]))
    return parts


@both
@every_way
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_fragments_in_any_order(net, family, name, order):
    source, target, before, after = way(net, family, name)
    sent_parts = parts_of(family, before, PATTERN[:300], [96, 200], 64)
    for n in order:
        net.send(source.port, sent(source) / sent_parts[n])
    frames = net.drain(target.port, check=False)
    assert sorted(frames) == sorted(bytes(got(target) / part) for part in parts_of(family, after, PATTERN[:300], [96, 200], 63))


@both
@every_way
def test_large_datagram(net, family, name):
    source, target, before, after = way(net, family, name)
    cuts = list(range(1448, 65000, 1448))
    for part in parts_of(family, before, PATTERN[:65000], cuts, 64):
        net.send(source.port, sent(source) / part)
    frames = net.drain(target.port, check=False)
    assert len(frames) == len(cuts) + 1
    for frame, part in zip(frames, parts_of(family, after, PATTERN[:65000], cuts, 63)):
        assert_same(frame, got(target) / part)


@every_way
def test_fragmentable_packet_is_translated_then_cut(net, name):
    source, target, before, after = way(net, 4, name)
    net.send(source.port, sent(source) / (IP(src=before[0], dst=before[1], id=9) / udp(*before[2:], PATTERN[:4000])))
    want = IP(src=after[0], dst=after[1], id=9) / udp(*after[2:], PATTERN[:4000])
    assert reassemble(net.drain(target.port, check=False)) == bytes(Ether(bytes(got(target) / want))[IP].payload)


@both
@every_way
@pytest.mark.parametrize("options", [False, True])
def test_too_big_quotes_what_its_sender_sent(net, family, name, options):
    source, target, before, _ = way(net, family, name)
    mtu = 1600 if target is OUTSIDE else 1500
    for _ in range(2):
        packet = with_options(family, options, before, PATTERN[:1700], 64)
        net.send_dropped(source.port, sent(source) / packet, "mtu_exceeded")
        net.expect(source.port, got(source) / error(A, family, "too_big", packet, mtu).payload)


# ---- options and extension headers

def with_options(family, options, addresses, data, ttl):
    src, dst, sport, dport = addresses
    if family == 4:
        more = [IPOption(b"\x94\x04\x00\x00")] if options else []
        return IP(src=src, dst=dst, ttl=ttl, flags="DF", options=more) / udp(sport, dport, data)
    extension = IPv6ExtHdrDestOpt() if options else None
    return (IPv6(src=src, dst=dst, hlim=ttl) / extension if extension else IPv6(src=src, dst=dst, hlim=ttl)) / udp(
        sport, dport, data)


@both
@every_way
@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_options_stay(net, family, name, proto):
    l4 = udp if proto == "udp" else tcp
    source, target, before, after = way(net, family, name, proto, l4)
    packets = []
    for addresses, ttl in ((before, 64), (after, 63)):
        if family == 4:
            header = IP(src=addresses[0], dst=addresses[1], ttl=ttl, options=[IPOption(b"\x94\x04\x00\x00")])
        else:
            header = IPv6(src=addresses[0], dst=addresses[1], hlim=ttl) / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt()
        packets.append(header / l4(*addresses[2:]))
    goes(net, source, packets[0], target, packets[1], 3)


@every_way
@pytest.mark.parametrize("extension", [IPv6ExtHdrHopByHop, lambda: IPv6ExtHdrFragment(id=5)])
def test_other_extension_headers_stay(net, name, extension):
    source, target, before, after = way(net, 6, name)
    packets = [IPv6(src=x[0], dst=x[1], hlim=ttl) / extension() / udp(*x[2:]) for x, ttl in ((before, 64), (after, 63))]
    goes(net, source, packets[0], target, packets[1])


def test_routing_header_is_not_translated(net):
    source, _, before, _ = way(net, 6, "dnat")
    packet = IPv6(src=before[0], dst=before[1]) / IPv6ExtHdrRouting(type=4, addresses=["fd00::1"], segleft=0) / udp(*before[2:])
    net.send(source.port, sent(source) / packet)
    assert net.drain("b") == [] and net.drain("up") == []
    counted = net.counted()
    assert list(counted.values()) == [1], counted
    net.drops(source.port, **{reason: 1 for _, reason in counted})


# ---- SCTP

def sctp(sport, dport, data=b"chunk of data"):
    return SCTP(sport=sport, dport=dport, tag=0x1234) / SCTPChunkData(data=data)


@both
@every_way
@pytest.mark.parametrize("size", [1, 13, 1000])
def test_sctp_has_ports_and_a_right_crc(net, family, name, size):
    def l4(sport, dport):
        return sctp(sport, dport, PATTERN[:size])
    source, target, before, after = way(net, family, name, "sctp", l4)
    goes(net, source, plain(before, l4), target, plain(after, l4, 63), 3)


# ---- offloads

@both
@every_way
@pytest.mark.parametrize("proto", ["tcp", "udp"])
@pytest.mark.parametrize("takes", [False, True])
def test_unfinished_checksum(net, family, name, proto, takes):
    l4 = (lambda s, d: tcp(s, d, "PA", PATTERN[:301])) if proto == "tcp" else (lambda s, d: udp(s, d, PATTERN[:301]))
    source, target, before, after = way(net, family, name, proto, l4)
    net.cmd("port.set", name=target.port, csum=takes)
    data, meta = unfinished(sent(source) / plain(before, l4), family, proto)
    for _ in range(2):
        net.send(source.port, data, meta=meta)
        if not takes:
            net.expect(target.port, got(target) / plain(after, l4, 63))
            continue
        items = net.cmd("drain", port=target.port)["frames"]
        want, _ = unfinished(got(target) / plain(after, l4, 63), family, proto)
        assert [i["data"] for i in items] == [want.hex()] and items[0]["l4"] == proto


@both
@every_way
def test_superframe(net, family, name):
    def l4(sport, dport, data=PATTERN[:9000], seq=5, flags="PA"):
        return tcp(sport, dport, flags, data, seq=seq)
    source, target, before, after = way(net, family, name, "tcp", l4=lambda s, d: tcp(s, d, "A"))
    fields = {"flags": "DF", "id": 7} if family == 4 else {}
    data, meta = unfinished(sent(source) / ip(before[0], before[1], ttl=64, **fields) / l4(*before[2:]), family, "tcp")
    for _ in range(2):
        net.send(source.port, data, meta=dict(meta, segsz=1400))
        wants = []
        for n, off in enumerate(range(0, 9000, 1400)):
            if family == 4:
                fields["id"] = 7 + n
            wants.append(got(target) / ip(after[0], after[1], ttl=63, **fields) / l4(
                *after[2:], PATTERN[off:min(off + 1400, 9000)], 5 + off, "PA" if off + 1400 >= 9000 else "A"))
        net.expect(target.port, wants)
    # a device that makes segments, but none as short as these
    net.cmd("port.set", name=target.port, tso=True, tso_min=1401)
    net.send(source.port, data, meta=dict(meta, segsz=1400))
    net.expect(target.port, wants)
    net.cmd("port.set", name=target.port, tso=True, tso_min=1400)
    net.send(source.port, data, meta=dict(meta, segsz=1400))
    items = net.cmd("drain", port=target.port)["frames"]
    if family == 4:
        fields["id"] = 7
    want, _ = unfinished(got(target) / ip(after[0], after[1], ttl=63, **fields) / l4(*after[2:]), family, "tcp")
    assert [i["data"] for i in items] == [want.hex()] and items[0]["segsz"] == 1400


# ---- ICMP errors through a service

def icmp(family, kind):
    layer = error(A, family, kind, ip(EXTERNAL[family], A.ip(family)) / udp(), 1400).payload.payload
    layer.remove_payload()
    return layer


@both
@pytest.mark.parametrize("kind", ["port", "too_big", "ttl"])
@pytest.mark.parametrize("direction", ["to the client", "to the backend"])
def test_error_through_a_service(net, family, kind, direction):
    source, target, before, after = way(net, family, "undnat")
    if direction == "to the client":  # the backend speaks of the request as it came; the client must find its own
        quotes = (after[1], B.ip(family), 1000, 8080), (after[1], VIP[family], 1000, 80)
    else:
        goes(net, source, plain(before), target, plain(after, ttl=63), 1)
        source, target = A, B
        quotes = (VIP[family], A.ip(family), 80, 1000), (B.ip(family), A.ip(family), 8080, 1000)
    src, dst = (B.ip(family), A.ip(family)) if source is B else (A.ip(family), VIP[family])
    src2, dst2 = (VIP[family], A.ip(family)) if source is B else (A.ip(family), B.ip(family))
    pkt, want = pair(src, dst, src2, dst2, icmp(family, kind) / Raw(bytes(plain(quotes[0], ttl=9))),
                     icmp(family, kind) / Raw(bytes(plain(quotes[1], ttl=9))))
    goes(net, source, pkt, target, want)


@both
def test_error_about_a_masqueraded_connection_reaches_the_client(net, family):
    service(net, family, [B], kind="node-port", proto="udp", port=30080, front={"target_port": 8080})
    inside, outside = (HOST.ip(family), B.ip(family), 50000, 8080), (EXTERNAL[family], HOST.ip(family), 50000, 30080)
    goes(net, OUTSIDE, plain(outside), B, plain(inside, ttl=63))
    pkt, want = pair(B.ip(family), HOST.ip(family), HOST.ip(family), EXTERNAL[family],
                     icmp(family, "port") / Raw(bytes(plain(inside, ttl=63))),
                     icmp(family, "port") / Raw(bytes(plain(outside, ttl=63))))
    goes(net, B, pkt, OUTSIDE, want)


@both
def test_error_about_a_connection_that_is_unknown_is_dropped(net, family):
    pkt = ip(B.ip(family), A.ip(family)) / icmp(family, "port") / Raw(bytes(plain((A.ip(family), B.ip(family), 1, 2))))
    net.send_dropped("b", sent(B) / pkt, "icmp_unmatched")


# ---- limits

@both
@pytest.mark.parametrize("kind", ["plain", "options", "fragments", "error"])
def test_limited_endpoint_stays_limited(net, family, kind):
    pod_add(net, C, **{"from": {"rate_pps": 1, "burst_pkts": 10}})
    service(net, family, [B], proto="udp", front={"target_port": 8080})
    addresses = (C.ip(family), VIP[family], 1000, 80)
    if kind == "error":
        goes(net, B, plain((B.ip(family), C.ip(family), 5, 6)), C, plain((B.ip(family), C.ip(family), 5, 6), ttl=63), 1)
        quote = bytes(plain((B.ip(family), C.ip(family), 5, 6), ttl=63))
        packets = [ip(C.ip(family), B.ip(family)) / icmp(family, "port") / Raw(quote)] * 40
    elif kind == "fragments":
        packets = [p for n in range(20) for p in parts_of(family, addresses, PATTERN[:300], [96], 64, n)]
    else:
        packets = [with_options(family, kind == "options", addresses, b"x", 64)] * 40
    net.send("c", [sent(C) / p for p in packets])
    n = len(net.drain("b", check=False))
    assert 10 <= n <= 12
    net.drops("c", rate_limit=40 - n)


# ---- other protocols

@both
def test_other_protocols_through_a_pair(net, family):
    external = {4: "203.0.113.50", 6: "2001:db8:5::50"}[family]
    net.cmd("pair.add", internal=A.ip(family), external=external)
    for proto in (47, 98, 132 if family == 4 else 97):
        fields = {"proto": proto} if family == 4 else {"nh": proto}
        payload = bytes(sctp(1, 2)) if proto == 132 else bytes(range(64))
        packets = [ip(src, EXTERNAL[family], ttl=ttl, **fields) / Raw(payload) for src, ttl in ((A.ip(family), 64), (external, 63))]
        goes(net, A, packets[0], OUTSIDE, packets[1])
        packets = [ip(EXTERNAL[family], dst, ttl=ttl, **fields) / Raw(payload) for dst, ttl in ((external, 64), (A.ip(family), 63))]
        if proto != 132:
            goes(net, OUTSIDE, packets[0], A, packets[1])


@both
def test_pool_carries_a_protocol_without_ports_for_one_client(net, family):
    net.cmd("pool.add", name="p", addresses=[POOL[family]], port_min=PORT, port_max=PORT)
    net.cmd("snat.add", name="all", pool="p")
    fields = {"proto": 47} if family == 4 else {"nh": 47}
    packets = [ip(src, EXTERNAL[family], ttl=ttl, **fields) / Raw(b"gre!" * 4) for src, ttl in ((A.ip(family), 64), (POOL[family], 63))]
    goes(net, A, packets[0], OUTSIDE, packets[1])
    packets = [ip(EXTERNAL[family], dst, ttl=ttl, **fields) / Raw(b"gre!" * 4) for dst, ttl in ((POOL[family], 64), (A.ip(family), 63))]
    goes(net, OUTSIDE, packets[0], A, packets[1])
    net.send_dropped("b", to_gw(B) / ip(B.ip(family), EXTERNAL[family], **fields) / Raw(b"gre!"), "nat_exhausted")


# ---- AH and ESP

def ah(next_header):
    """12 bytes, and 12 of an integrity check value."""
    return Raw(bytes([next_header, 4, 0, 0]) + bytes(20))


def ipsec(family, src, dst, kind, ttl=64):
    """kind: esp, ah; and in IPv6 ah in front of UDP, whose ports could be read."""
    proto = 50 if kind == "esp" else 51
    header = IP(src=src, dst=dst, ttl=ttl, proto=proto) if family == 4 else IPv6(src=src, dst=dst, hlim=ttl, nh=proto)
    return header / (Raw(bytes(range(40))) if kind == "esp" else ah(17) / udp(1000, 80))


def refused(net, node, packet, reason="nat_untranslatable"):
    net.send_dropped(node.port, sent(node) / packet, reason)
    frames = net.drain(node.port, check=False)
    assert len(frames) == 1 and (ICMP in Ether(frames[0]) or Ether(frames[0])[IPv6].nh == 58)


@both
@pytest.mark.parametrize("kind", ["esp", "ah"])
@pytest.mark.parametrize("what", ["pair", "to a pair", "pool"])
def test_ipsec_is_not_translated(net, family, kind, what):
    """AH signs what would be rewritten, and ESP may (RFC 3715 s. 2.1)."""
    external = {4: "203.0.113.50", 6: "2001:db8:5::50"}[family]
    if what == "pool":
        net.cmd("pool.add", name="p", addresses=[POOL[family]])
        net.cmd("snat.add", name="all", pool="p")
    else:
        net.cmd("pair.add", internal=A.ip(family), external=external)
    if what == "to a pair":
        refused(net, OUTSIDE, ipsec(family, EXTERNAL[family], external, kind))
    else:
        refused(net, A, ipsec(family, A.ip(family), EXTERNAL[family], kind))
    # and untranslated it goes on
    goes(net, A, ipsec(family, A.ip(family), B.ip(family), kind), B, ipsec(family, A.ip(family), B.ip(family), kind, 63))


@pytest.mark.parametrize("opened", [False, True], ids=["first packet", "later packet"])
def test_authentication_header_to_a_service_is_refused(net, opened):
    """IPv6: the ports stand behind the header."""
    service(net, 6, [B], proto="udp", front={"target_port": 8080})
    if opened:
        goes(net, A, plain((A.ip6, VIP[6], 1000, 80)), B, plain((A.ip6, B.ip6, 1000, 8080), ttl=63))
    packet = ipsec(6, A.ip6, VIP[6], "ah")
    if opened:
        net.send_dropped("a", sent(A) / packet, "nat_untranslatable")
    else:
        refused(net, A, packet)


@both
@pytest.mark.parametrize("kind", ["esp", "ah"])
def test_ipsec_to_the_address_of_a_service_is_refused(net, family, kind):
    service(net, family, [B], proto="udp", port=81)
    refused(net, A, ipsec(family, A.ip(family), VIP[family], kind), "service_no_port")
