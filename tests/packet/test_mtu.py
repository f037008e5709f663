# SPDX-License-Identifier: BSD-3-Clause
"""Packets larger than their way, and super-frames and unfinished checksums from and to ports that take them."""
import pytest
from conftest import (A, B, EXTERNAL, GW, N2, REMOTE2, REMOTE3, ROUTER, UP, assert_checksums, both, error, from_gw, ip, tcp, to_gw, udp)
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

PATTERN = bytes(n * 7 & 255 for n in range(65536))


def reassemble(frames):
    """IPv4 fragments (frames) → payload of the datagram; checks that they fit together."""
    parts = sorted((Ether(f)[IP] for f in frames), key=lambda p: p.frag)
    data = b""
    for part in parts:
        assert part.frag * 8 == len(data) and bool(part.flags.MF) == (part is not parts[-1])
        data += bytes(part.payload)[:part.len - part.ihl * 4]
    return data


def inner_of(frame):
    return Ether(frame)[UDP].payload.payload


# ---- too big

@both
@pytest.mark.parametrize("where", ["pod", "tunnel4", "tunnel6"])
def test_too_big_is_answered_with_the_mtu(net, family, where):
    """PAINS 9"""
    dst, mtu = {"pod": (B.ip(family), 1500), "tunnel4": (REMOTE2[family], 1550), "tunnel6": (REMOTE3[family], 1530)}[where]
    fields = {"flags": "DF"} if family == 4 else {}
    header = 28 if family == 4 else 48
    packet = ip(A.ip(family), dst, ttl=64, **fields) / udp(data=PATTERN[:mtu + 1 - header])
    net.send_dropped("a", to_gw(A) / packet, "mtu_exceeded")
    net.expect("a", error(A, family, "too_big", packet, mtu))
    fits = ip(A.ip(family), dst, ttl=64, **fields) / udp(data=PATTERN[:mtu - header])
    net.send("a", to_gw(A) / fits)
    assert len(net.drain("b" if where == "pod" else "up")) == 1


@both
def test_too_big_from_a_tunnel_is_answered_into_it(net, family):
    from conftest import from_tunnel
    fields = {"flags": "DF"} if family == 4 else {}
    packet = ip(REMOTE2[family], A.ip(family), ttl=64, **fields) / udp(data=PATTERN[:1520 - (28 if family == 4 else 48)])
    net.send_dropped("up", from_tunnel(packet), "mtu_exceeded")
    frames = net.drain("up")
    assert len(frames) == 1
    assert bytes(inner_of(frames[0]).payload) == bytes(error(A, family, "too_big", packet, 1500).payload)


def narrow(net, where, family, mtu):
    """The way to REMOTE2 (a tunnel), EXTERNAL (a gateway) or N2's own address (on-link) takes mtu bytes; the destination."""
    prefix = {"gateway": EXTERNAL[family] + ("/32" if family == 4 else "/128"), "connected": {4: "192.0.2.0/24", 6: "2001:db8:1::/64"}[family],
              "tunnel_route": {4: "10.244.2.0/24", 6: "fd00:2::/64"}[family]}
    if where == "tunnel":
        net.cmd("tunnel.set", name="n2", mtu=mtu)
    elif where == "gateway":
        net.cmd("route.add", prefix=prefix[where], port="up", via=ROUTER.ip(family), mtu=mtu)
    elif where == "connected":
        net.cmd("route.add", prefix=prefix[where], port="up", mtu=mtu)
    else:
        net.cmd("route.add", prefix=prefix[where], tunnel="n2", mtu=mtu)
    return {"gateway": EXTERNAL[family], "connected": N2.ip(family)}.get(where, REMOTE2[family])


WAYS = pytest.mark.parametrize("where", ["tunnel", "tunnel_route", "gateway", "connected"])


@both
@WAYS
def test_mtu_of_route_and_tunnel_is_in_force(net, family, where):
    """The first packet, the next ones of its flow, and both after the MTU has changed."""
    dst, fields, header = REMOTE2[family], {"flags": "DF"} if family == 4 else {}, 28 if family == 4 else 48
    for mtu in (1300, 1400, 1290):
        dst = narrow(net, where, family, mtu)
        for sport in (1, 2, 2, 1):
            packet = ip(A.ip(family), dst, ttl=64, **fields) / udp(sport=sport, data=PATTERN[:mtu + 1 - header])
            net.send_dropped("a", to_gw(A) / packet, "mtu_exceeded")
            net.expect("a", error(A, family, "too_big", packet, mtu))
            net.send("a", to_gw(A) / ip(A.ip(family), dst, ttl=64, **fields) / udp(sport=sport, data=PATTERN[:mtu - header]))
            assert len(net.drain("up")) == 1


@both
@WAYS
def test_wider_mtu_than_the_way_out_changes_nothing(net, family, where):
    dst = narrow(net, where, family, 9000)
    mtu = 1550 if "tunnel" in where else 1600
    packet = ip(A.ip(family), dst, ttl=64, **({"flags": "DF"} if family == 4 else {})) / udp(data=PATTERN[:mtu + 1 - (28 if family == 4 else 48)])
    net.send_dropped("a", to_gw(A) / packet, "mtu_exceeded")
    net.expect("a", error(A, family, "too_big", packet, mtu))


@WAYS
@pytest.mark.parametrize("mtu", [1000, 576])
def test_packet_without_df_is_cut_to_the_mtu_of_route_and_tunnel(net, where, mtu):
    dst = narrow(net, where, 4, mtu)
    packet = IP(src=A.ip4, dst=dst, ttl=64, id=7) / UDP(sport=1, dport=2) / Raw(PATTERN[:1400])
    for _ in range(2):
        net.send("a", to_gw(A) / packet)
        frames = net.drain("up")
        if "tunnel" in where:
            frames = [bytes(inner_of(f)) for f in frames]
        assert len(frames) > 1 and all(len(f) <= mtu + 14 for f in frames)
        assert reassemble(frames) == bytes(Ether(bytes(to_gw(A) / packet))[IP].payload)


@both
@WAYS
def test_superframe_over_the_mtu_of_route_and_tunnel_is_answered(net, family, where):
    dst = narrow(net, where, family, 1300)
    data, meta, _ = superframe(net, family, dst, "tcp", 20000, 1300)
    net.send_dropped("a", data, "mtu_exceeded", meta=meta)
    (frame,) = net.drain("a", check=False)
    mtu_at = 14 + (20 + 6 if family == 4 else 40 + 4)
    assert int.from_bytes(frame[mtu_at:mtu_at + (2 if family == 4 else 4)], "big") == 1300
    data, meta, _ = superframe(net, family, dst, "tcp", 2000, 1200)
    net.send("a", data, meta=meta)
    assert len(net.drain("up")) == 2


@both
@pytest.mark.parametrize("where", ["tunnel", "tunnel_route"])
def test_mtu_behind_a_service_is_told_about_the_packet_as_it_was_sent(net, family, where):
    dst, vip = narrow(net, where, family, 1300), {4: "10.96.0.1", 6: "fd00:96::1"}[family]
    net.cmd("service.add", name="s", frontends=[{"ip": vip, "proto": "udp", "port": 53}], backends=[{"ip": dst, "port": 5353}])
    fields = {"flags": "DF"} if family == 4 else {}
    for n, size in enumerate((1301, 1300, 1301)):
        packet = ip(A.ip(family), vip, ttl=64, **fields) / udp(dport=53, data=PATTERN[:size - (28 if family == 4 else 48)])
        if size == 1300:
            net.send("a", to_gw(A) / packet)
            assert len(net.drain("up")) == 1
            continue
        net.send_dropped("a", to_gw(A) / packet, "mtu_exceeded")
        net.expect("a", error(A, family, "too_big", packet, 1300))


@pytest.mark.parametrize("is_cut", [False, True])
def test_mtu_of_the_route_behind_source_translation(net, is_cut):
    narrow(net, "gateway", 4, 1300)
    net.cmd("snat.add", prefixes=["10.244.0.0/16"])
    packet = IP(src=A.ip4, dst=EXTERNAL[4], ttl=64, id=7, flags="" if is_cut else "DF") / udp(sport=5, data=PATTERN[:1400])
    for _ in range(2):
        if not is_cut:
            net.send_dropped("a", to_gw(A) / packet, "mtu_exceeded")
            net.expect("a", error(A, 4, "too_big", packet, 1300))
            continue
        net.send("a", to_gw(A) / packet)
        frames = net.drain("up")
        assert len(frames) == 2 and all(len(f) <= 1314 and Ether(f)[IP].src != A.ip4 for f in frames)
        assert reassemble(frames)[8:] == PATTERN[:1400]


# ---- IPv4 fragmentation

@pytest.mark.parametrize("size", [1473, 2000, 2952, 2953, 8000, 65507])
def test_packet_without_df_is_fragmented(net, size):
    datagram = UDP(sport=1, dport=2) / Raw(PATTERN[:size])
    packet = IP(src=A.ip4, dst=B.ip4, ttl=64, id=99) / datagram
    net.send("a", to_gw(A) / packet, first=128, step=1000)
    frames = net.drain("b")
    assert all(len(f) <= 1514 and Ether(f)[IP].ttl == 63 and Ether(f)[IP].id == 99 for f in frames)
    assert all(f[:14] == bytes(from_gw(A))[:0] + bytes(Ether(src=GW, dst=B.mac, type=0x800)) for f in frames)
    whole = Ether(bytes(to_gw(A) / packet))[IP]
    assert reassemble(frames) == bytes(whole.payload)


def test_packet_without_df_is_fragmented_before_the_tunnel(net):
    """V5: the inner packet is cut, the outer never."""
    packet = IP(src=A.ip4, dst=REMOTE2[4], ttl=64, id=5) / UDP(sport=1, dport=2) / Raw(PATTERN[:3000])
    net.send("a", to_gw(A) / packet)
    frames = net.drain("up")
    assert len(frames) == 2 + 0 or len(frames) == 3
    assert all(Ether(f)[IP].flags == "DF" and len(f) <= 1614 for f in frames)
    assert reassemble([bytes(inner_of(f)) for f in frames]) == bytes(Ether(bytes(to_gw(A) / packet))[IP].payload)


def test_fragment_is_fragmented_again(net):
    first = IP(src=A.ip4, dst=B.ip4, ttl=64, id=5, flags="MF", proto=17) / Raw(bytes(UDP(sport=1, dport=2, len=4000)) + bytes(792))
    net.send("a", to_gw(A) / first)
    net.drain("b")
    packet = IP(src=A.ip4, dst=B.ip4, ttl=64, id=5, flags="MF", frag=100, proto=17) / Raw(PATTERN[:2000])
    net.send("a", to_gw(A) / packet)
    frames = [Ether(f)[IP] for f in net.drain("b")]
    assert [(p.frag, bool(p.flags.MF)) for p in frames] == [(100, True), (100 + 1480 // 8, True)]


def test_jumbo_mtu_end_to_end(net):
    for name, mac, host in (("j1", "0a:58:0a:f4:01:21", "10.244.1.33"), ("j2", "0a:58:0a:f4:01:22", "10.244.1.34")):
        net.cmd("port.add", name=name, role="pod", mac=mac, mtu=9000)
        net.cmd("endpoint.add", id=name, port=name, addresses=[host])
    net.send("j1", Ether(src="0a:58:0a:f4:01:21", dst=GW) / IP(src="10.244.1.33", dst="10.244.1.34", ttl=64, flags="DF") /
             UDP(sport=1, dport=2) / Raw(PATTERN[:8972]))
    net.expect("j2", Ether(src=GW, dst="0a:58:0a:f4:01:22") / IP(src="10.244.1.33", dst="10.244.1.34", ttl=63,
                                                               flags="DF") / UDP(sport=1, dport=2) / Raw(PATTERN[:8972]))


# ---- unfinished checksums (PAINS 1)

def unfinished(frame, family, proto):
    """The frame as virtio hands it over: pseudo-header sum in the field; and the metadata."""
    data = bytearray(bytes(frame))
    l3 = 20 if family == 4 else 40
    at = 14 + l3 + (16 if proto == "tcp" else 6)
    pseudo = data[14 + (12 if family == 4 else 8):14 + l3] + (len(data) - 14 - l3).to_bytes(4, "big") + bytes(
        [0, 0, 0, 6 if proto == "tcp" else 17])
    total = sum(int.from_bytes(pseudo[i:i + 2], "big") for i in range(0, len(pseudo), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    data[at:at + 2] = total.to_bytes(2, "big")
    return bytes(data), {"l4": proto, "l3_len": l3, "l4_len": 20 if proto == "tcp" else 8, "is_v6": family == 6}


L4 = {"tcp": tcp(flags="PA", data=PATTERN[:301]), "udp": udp(data=PATTERN[:301])}


@both
@pytest.mark.parametrize("proto", ["tcp", "udp"])
@pytest.mark.parametrize("split", [(0, 0), (128, 7)])
def test_unfinished_checksum_is_finished_for_a_port_that_needs_it(net, family, proto, split):
    data, meta = unfinished(to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / L4[proto], family, proto)
    for _ in range(2):
        net.send("a", data, meta=meta, first=split[0], step=split[1])
        net.expect("b", from_gw(B) / ip(A.ip(family), B.ip(family), ttl=63) / L4[proto])


@both
@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_unfinished_checksum_passes_to_a_port_that_takes_it(net, family, proto):
    net.cmd("port.set", name="b", csum=True)
    data, meta = unfinished(to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / L4[proto], family, proto)
    net.send("a", data, meta=meta)
    items = net.cmd("drain", port="b")["frames"]
    want, _ = unfinished(from_gw(B) / ip(A.ip(family), B.ip(family), ttl=63) / L4[proto], family, proto)
    assert len(items) == 1 and items[0]["data"] == want.hex()
    assert {k: items[0][k] for k in ("l4", "l2_len", "l3_len")} == {"l4": proto, "l2_len": 14, "l3_len": meta["l3_len"]}


@both
@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_unfinished_checksum_is_finished_inside_a_tunnel(net, family, proto):
    data, meta = unfinished(to_gw(A) / ip(A.ip(family), REMOTE2[family], ttl=64) / L4[proto], family, proto)
    net.send("a", data, meta=meta)
    frames = net.drain("up")
    assert len(frames) == 1
    assert bytes(inner_of(frames[0]).payload) == bytes(ip(A.ip(family), REMOTE2[family], ttl=63) / L4[proto])


def test_unfinished_fragmentable_packet_is_finished_then_cut(net):
    packet = IP(src=A.ip4, dst=B.ip4, ttl=64, id=9) / TCP(sport=1, dport=2, flags="A") / Raw(PATTERN[:3000])
    data, meta = unfinished(to_gw(A) / packet, 4, "tcp")
    net.send("a", data, meta=meta)
    assert reassemble(net.drain("b")) == bytes(Ether(bytes(to_gw(A) / packet))[IP].payload)


# ---- super-frames (PAINS 2)

def superframe(net, family, dst, proto, size, segsz):
    """Of a connection that there is: its FIN would make none."""
    net.send("a", to_gw(A) / ip(A.ip(family), dst, ttl=64) / TCP(sport=7, dport=8, flags="S"))
    assert len(net.drain("b") + net.drain("up")) == 1
    l4 = TCP(sport=7, dport=8, flags="FPA", seq=0xFFFFF000) if proto == "tcp" else UDP(sport=7, dport=8)
    fields = {"flags": "DF", "id": 0xFFFE} if family == 4 else {}
    packet = ip(A.ip(family), dst, ttl=64, **fields) / l4 / Raw(PATTERN[:size])
    data, meta = unfinished(to_gw(A) / packet, family, proto)
    return data, dict(meta, segsz=segsz), packet


def segments(packet, family, proto, size, segsz, ttl=63):
    """What the super-frame's packet becomes, one by one."""
    out = []
    for n, off in enumerate(range(0, size, segsz)):
        last = off + segsz >= size
        header = packet.copy()
        if family == 4:
            header.ttl, header.id = ttl, (0xFFFE + n) & 0xFFFF
        else:
            header.hlim = ttl
        del header[TCP if proto == "tcp" else UDP].payload
        if proto == "tcp":
            header[TCP].seq = (0xFFFFF000 + off) & 0xFFFFFFFF
            header[TCP].flags = "FPA" if last else "A"
        out.append(header / Raw(PATTERN[off:min(off + segsz, size)]))
    return out


@both
@pytest.mark.parametrize("proto", ["tcp", "udp"])
@pytest.mark.parametrize("size, segsz", [(64000, 1400), (4201, 1400), (1401, 1400), (1400, 1400), (9000, 536), (64000, 300), (65450, 64)])
def test_superframe_is_segmented_for_a_port_that_needs_it(net, family, proto, size, segsz):
    data, meta, packet = superframe(net, family, B.ip(family), proto, size, segsz)
    net.send("a", data, meta=meta, first=128, step=2048)
    net.expect("b", [from_gw(B) / s for s in segments(packet, family, proto, size, segsz)])


@both
def test_superframe_passes_whole_to_a_port_that_takes_it(net, family):
    net.cmd("port.set", name="b", tso=True)
    data, meta, _ = superframe(net, family, B.ip(family), "tcp", 60000, 1400)
    net.send("a", data, meta=meta)
    items = net.cmd("drain", port="b")["frames"]
    assert len(items) == 1 and items[0]["segsz"] == 1400 and len(items[0]["data"]) == 2 * len(data)


@both
@pytest.mark.parametrize("proto", ["tcp", "udp"])
@pytest.mark.parametrize("size, segsz", [(20000, 1400), (64000, 300), (65450, 64)])
@pytest.mark.parametrize("remote", [REMOTE2, REMOTE3], ids=["outer4", "outer6"])
def test_superframe_leaves_a_tunnel_segmented(net, family, proto, size, segsz, remote):
    data, meta, packet = superframe(net, family, remote[family], proto, size, segsz)
    net.send("a", data, meta=meta)
    frames = net.drain("up")
    assert [bytes(inner_of(f).payload) for f in frames] == [
        bytes(s) for s in segments(packet, family, proto, size, segsz)]
    assert len({Ether(f)[UDP].sport for f in frames}) == 1


@both
def test_superframe_whose_segments_are_too_big_is_answered(net, family):
    data, meta, packet = superframe(net, family, B.ip(family), "tcp", 20000, 1500)
    net.send_dropped("a", data, "mtu_exceeded", meta=meta)
    frames = net.drain("a", check=False)
    assert len(frames) == 1
    assert frames[0][:62 if family == 6 else 42] == bytes(error(A, family, "too_big", packet, 1500))[:24] + frames[0][24:36] + \
        bytes(error(A, family, "too_big", packet, 1500))[36:36] + frames[0][36:62 if family == 6 else 42]
    mtu_at = 14 + (20 + 6 if family == 4 else 40 + 4)
    assert int.from_bytes(frames[0][mtu_at:mtu_at + (2 if family == 4 else 4)], "big") == 1500


def test_superframe_with_contradicting_metadata_is_dropped(net):
    data, meta, _ = superframe(net, 4, B.ip4, "tcp", 20000, 1400)
    net.send("a", data, meta=dict(meta, l4_len=40))
    net.drops("b", gso_failed=1)
    net.send("a", data, meta=dict(meta, l3_len=24))
    net.drops("b", gso_failed=1)
