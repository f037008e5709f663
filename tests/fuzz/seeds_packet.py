#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the seed corpus of fuzz_packet: one well-formed input a function and kind of packet.

Usage: seeds_packet.py FOLDER        Layout of an input: see fuzz_packet.c.
"""
import pathlib
import sys

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_RR
from scapy.layers.inet6 import (ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA,
                                ICMPv6ND_Redirect, ICMPv6ND_RS, ICMPv6NDOptDstLLAddr,
                                ICMPv6NDOptSrcLLAddr, ICMPv6TimeExceeded, IPv6, IPv6ExtHdrDestOpt,
                                IPv6ExtHdrFragment, IPv6ExtHdrHopByHop)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

GSO, FRAG, ICMP_ERROR, ARP_ND, VXLAN_IN, CSUM = range(6)
EXACT, TCP_CSUM, UDP_CSUM, TSO, USO, V6 = (1 << i for i in range(6))
MAC = dict(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4 = dict(src="10.0.0.1", dst="10.0.0.2")
V6A = dict(src="2001:db8::1", dst="2001:db8::2")


def entry(function, frame, flags=0, l2=14, l3=20, l4=20, segsz=0, mtu=0, spare=0, first=0, step=0):
    head = bytes([function, first, step, flags, (l2 & 0x7F) | (0x80 if l3 > 255 else 0), l3 & 255, l4])
    head += segsz.to_bytes(2, "big") + mtu.to_bytes(2, "big") + bytes([spare])
    return head + bytes(frame)


def seeds():
    eth = Ether(**MAC)
    tcp4 = eth / IP(**V4, id=7) / TCP(sport=1, dport=2, flags="FPAC") / Raw(bytes(900))
    tcp6 = eth / IPv6(**V6A) / TCP(sport=1, dport=2, options=[("Timestamp", (1, 2)), ("NOP", None),
                                                               ("NOP", None)]) / Raw(bytes(900))
    udp4 = eth / IP(**V4) / UDP(sport=1, dport=2) / Raw(bytes(901))
    udp6 = eth / IPv6(**V6A) / UDP(sport=1, dport=2) / Raw(bytes(901))
    for name, exact in (("pool", 0), ("exact", EXACT)):
        chain = dict(first=60, step=37) if exact else {}
        yield f"gso-tcp4-{name}", entry(GSO, tcp4, TSO | exact, segsz=100, **chain)
        yield f"gso-tcp4-mtu-{name}", entry(GSO, tcp4, TSO | exact, segsz=500, mtu=300, **chain)
        yield f"gso-tcp6-{name}", entry(GSO, tcp6, TSO | V6 | exact, l3=40, l4=32, segsz=100, **chain)
        yield f"gso-udp4-{name}", entry(GSO, udp4, USO | exact, l4=8, segsz=300, **chain)
        yield f"gso-udp6-{name}", entry(GSO, udp6, USO | V6 | exact, l3=40, l4=8, segsz=300, **chain)
        yield f"csum-tcp4-{name}", entry(CSUM, tcp4, TCP_CSUM | exact, **chain)
        yield f"csum-udp6-{name}", entry(CSUM, udp6, UDP_CSUM | V6 | exact, l3=40, **chain)
        yield f"frag-{name}", entry(FRAG, udp4, exact, mtu=200, **chain)
        options = eth / IP(**V4, options=[IPOption_RR(length=7, routers=["0.0.0.0"])]) / UDP() / Raw(bytes(400))
        yield f"frag-options-{name}", entry(FRAG, options, exact, mtu=100, **chain)
        yield f"frag-again-{name}", entry(FRAG, eth / IP(**V4, flags="MF", frag=5, proto=17) /
                                          Raw(bytes(400)), exact, mtu=100, **chain)
        for kind in range(7):
            yield f"icmp-error4-{kind}-{name}", entry(ICMP_ERROR, udp4, exact, spare=kind, **chain)
            yield f"icmp-error6-{kind}-{name}", entry(ICMP_ERROR, udp6, exact, spare=kind, **chain)
        yield f"icmp-error-echo-{name}", entry(ICMP_ERROR, eth / IP(**V4) / ICMP(), exact)
        yield f"icmp-error-about-error-{name}", entry(
            ICMP_ERROR, eth / IPv6(**V6A) / ICMPv6TimeExceeded() / IPv6(**V6A), exact)
        ext = eth / IPv6(**V6A) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(
            offset=0, m=1, nh=58) / ICMPv6EchoRequest()
        yield f"icmp-error-extension-{name}", entry(ICMP_ERROR, ext, exact)
        yield f"csum-extension-{name}", entry(CSUM, ext, exact, **chain)
        arp = Ether(src=MAC["src"], dst="ff:ff:ff:ff:ff:ff") / ARP(
            op=1, hwsrc=MAC["src"], psrc="10.0.0.1", pdst="169.254.1.1")
        yield f"arp-request-{name}", entry(ARP_ND, arp, exact)
        arp[ARP].psrc = "0.0.0.0"
        yield f"arp-probe-{name}", entry(ARP_ND, arp, exact)
        ll = IPv6(src="fe80::1", dst="ff02::1:ff00:2", hlim=255)
        slla, tlla = ICMPv6NDOptSrcLLAddr(lladdr=MAC["src"]), ICMPv6NDOptDstLLAddr(lladdr=MAC["src"])
        for kind, message in (("ns", ICMPv6ND_NS(tgt="fe80::2") / slla),
                              ("na", ICMPv6ND_NA(tgt="fe80::2", S=0) / tlla),
                              ("rs", ICMPv6ND_RS() / slla), ("ra", ICMPv6ND_RA() / slla),
                              ("redirect", ICMPv6ND_Redirect(tgt="fe80::2", dst="2001:db8::1") / tlla)):
            yield f"nd-{kind}-{name}", entry(ARP_ND, eth / ll / message, exact)
        dad = IPv6(src="::", dst="ff02::1:ff00:2", hlim=255)
        yield f"nd-dad-{name}", entry(ARP_ND, eth / dad / ICMPv6ND_NS(tgt="fe80::2"), exact)
        for family, ip in (("4", IP(**V4)), ("6", IPv6(**V6A))):
            for csum in (None, 0):
                outer = eth / ip / UDP(sport=50000, dport=4789, chksum=csum) / VXLAN(vni=99) / udp4
                yield f"vxlan{family}-{csum}-{name}", entry(VXLAN_IN, outer, exact, **chain)
        tagged = eth / IP(**V4) / UDP(dport=4789, chksum=0) / VXLAN() / Ether(**MAC) / Dot1Q(vlan=1) / IP()
        yield f"vxlan-vlan-{name}", entry(VXLAN_IN, tagged, exact)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
