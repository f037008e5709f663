#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the seed corpus of fuzz_pipeline: conversations between the ports of its node.

Usage: seeds_pipeline.py FOLDER      Layout of an input: see fuzz_pipeline.c.
"""
import pathlib
import sys

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_RR
from scapy.layers.inet6 import (ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr,
                                ICMPv6NDOptSrcLLAddr, ICMPv6PacketTooBig, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
                                IPv6ExtHdrHopByHop)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

PORTS = {"a": 0, "b": 1, "up": 2, "host": 3}
SHORT, FIX, TCP_META, UDP_META, SUPER = 4, 8, 16, 32, 64
GW, VTEP = "02:1e:a7:00:00:01", "02:1e:a7:aa:aa:aa"
SRC = {"a": "0a:58:0a:f4:01:02", "b": "0a:58:0a:f4:01:03", "up": "02:00:00:00:00:02", "host": "02:00:00:00:00:20"}
A = {4: "10.244.1.2", 6: "fd00:1::2"}
B = {4: "10.244.1.3", 6: "fd00:1::3"}
HOST = {4: "198.51.100.1", 6: "2001:db8:9::1"}
UP = {4: "192.0.2.1", 6: "2001:db8:1::1"}
OUT = {4: "203.0.113.9", 6: "2001:db8:ffff::9"}
FAR = {4: "10.244.2.5", 6: "fd00:2::5"}


def ip(family, src, dst, **fields):
    return (IP if family == 4 else IPv6)(src=src[family], dst=dst[family], **fields)


def record(port, packet, flags=0, step=0):
    if not isinstance(packet, bytes) and not packet.haslayer(Ether):
        packet = Ether(src=SRC[port], dst="02:00:00:00:00:10" if port == "up" else GW) / packet
    data = bytes(packet)
    return bytes([PORTS[port] | FIX | flags, step]) + len(data).to_bytes(2, "big") + data


def tunnelled(inner, family):
    ether = Ether(src=SRC["up"], dst="02:00:00:00:00:10")
    outer = IP(src="192.0.2.2", dst=UP[4]) if family == 4 else IPv6(src="2001:db8:1::3", dst=UP[6])
    return ether / outer / UDP(sport=50000, dport=4789, chksum=0) / VXLAN(flags=8, vni=99 if family == 4 else 98) / Ether(
        src="02:1e:a7:00:00:02", dst=VTEP) / inner


def seeds():
    for f in (4, 6):
        echo = ICMP(id=3) if f == 4 else ICMPv6EchoRequest(id=3)
        yield f"udp{f}", record("a", ip(f, A, B) / UDP(sport=1, dport=2) / b"xy") + record(
            "b", ip(f, B, A) / UDP(sport=2, dport=1) / b"xyz", SHORT, 3)
        yield f"tcp{f}", b"".join(record(p, ip(f, *ends) / TCP(sport=s, dport=d, flags=flags)) for p, ends, s, d, flags in (
            ("a", (A, B), 5, 80, "S"), ("b", (B, A), 80, 5, "SA"), ("a", (A, B), 5, 80, "A"), ("a", (A, B), 5, 80, "FA"),
            ("b", (B, A), 80, 5, "R")))
        yield f"echo{f}", record("a", ip(f, A, UP) / echo) + record("up", ip(f, OUT, UP) / echo) + record(
            "host", ip(f, HOST, A) / echo)
        yield f"ttl{f}", record("a", ip(f, A, OUT, **({"ttl": 1} if f == 4 else {"hlim": 1})) / UDP() / bytes(99))
        yield f"too-big{f}", record("a", ip(f, A, FAR, **({"flags": "DF"} if f == 4 else {})) / UDP() / bytes(1600))
        yield f"tunnel-out{f}", record("a", ip(f, A, FAR) / UDP(sport=7) / bytes(50))
        yield f"tunnel-in{f}", record("up", tunnelled(ip(f, FAR, A) / TCP(flags="S"), f)) + record(
            "up", tunnelled(ip(f, FAR, A) / TCP(flags="S"), f), SHORT, 1)
        for name, l4, meta in (("tcp", TCP(flags="PA"), TCP_META), ("udp", UDP(), UDP_META)):
            for dst, end in (("pod", B), ("tunnel", FAR), ("host", HOST)):
                yield f"unfinished-{name}{f}-{dst}", record("a", ip(f, A, end) / l4 / bytes(99), meta, 4)
                yield f"super-{name}{f}-{dst}", record("a", ip(f, A, end) / l4 / bytes(4000), meta | SUPER, 120)
        quote = ip(f, A, OUT) / UDP(sport=1, dport=2)
        error = ICMP(type=3, code=4, nexthopmtu=1300) / Raw(bytes(quote)) if f == 4 else ICMPv6PacketTooBig(mtu=1300) / quote
        yield f"icmp-error{f}", record("a", ip(f, A, OUT) / UDP(sport=1, dport=2)) + record("up", ip(f, OUT, A) / error)
    yield "frag4", b"".join(record("a", IP(src=A[4], dst=B[4], id=1, frag=off // 8, flags=m, proto=17) / bytes(n))
                            for off, m, n in ((0, "MF", 800), (800, "MF", 800), (1600, 0, 10)))
    yield "cut4", record("a", IP(src=A[4], dst=B[4], options=[IPOption_RR(length=7, routers=["0.0.0.0"])]) / UDP() /
                         bytes(4000))
    yield "frag6", record("a", IPv6(src=A[6], dst=B[6]) / IPv6ExtHdrFragment(m=1, nh=17) / bytes(80))
    yield "extensions6", record("a", IPv6(src=A[6], dst=B[6]) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / UDP())
    for port, target in (("a", "169.254.1.1"), ("a", A[4]), ("up", UP[4])):
        src = {"a": A[4], "up": "192.0.2.9"}[port]
        yield f"arp-{port}-{target}", record(port, Ether(src=SRC[port], dst="ff:ff:ff:ff:ff:ff") / ARP(
            hwsrc=SRC[port], psrc=src, pdst=target))
    yield "arp-reply", record("up", Ether(src=SRC["up"], dst="02:00:00:00:00:10") / ARP(
        op=2, hwsrc=SRC["up"], psrc="192.0.2.2", pdst=UP[4]))
    for port, src, target in (("a", A[6], "fe80::1"), ("a", "::", A[6]), ("up", "2001:db8:1::3", UP[6])):
        packet = Ether(src=SRC[port], dst="33:33:ff:00:00:01") / IPv6(src=src, dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(
            tgt=target)
        yield f"ns-{port}-{target}", record(port, packet if src == "::" else packet / ICMPv6NDOptSrcLLAddr(lladdr=SRC[port]))
    yield "na", record("up", Ether(src=SRC["up"], dst="02:00:00:00:00:10") / IPv6(src="2001:db8:1::3", dst=UP[6], hlim=255) /
                       ICMPv6ND_NA(tgt="2001:db8:1::3") / ICMPv6NDOptDstLLAddr(lladdr=SRC["up"]))
    yield "vlan", record("a", Ether(src=SRC["a"], dst=GW) / Dot1Q() / IP())


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds():
        (folder / name.replace(":", "-")).write_bytes(data)


if __name__ == "__main__":
    main()
