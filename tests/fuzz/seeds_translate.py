#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the seed corpus of fuzz_translate: one well-formed input a function and kind of packet.

Usage: seeds_translate.py FOLDER        Layout of an input: see fuzz_translate.c.
"""
import ipaddress
import pathlib
import sys

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6PacketTooBig, IPv6,
                                IPv6ExtHdrDestOpt, IPv6ExtHdrFragment)
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Raw

PACKET, ICMP_ERROR, RESET = range(3)
EXACT, TCP_CSUM, UDP_CSUM = 1, 2, 4
NEW = {4: ("192.0.2.7", "198.51.100.9"), 6: ("2001:db8:1::7", "fd00::9")}


def entry(function, family, frame, flags=0, first=0, step=0):
    addresses = b"".join(ipaddress.ip_address(a).packed.rjust(16, b"\0") for a in NEW[family])
    return bytes([function, first, step, flags]) + addresses + b"\xc3\x50\x1f\x90" + bytes(frame)


def packets(family):
    eth = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    ip = IP(src="10.0.0.1", dst="10.0.0.2") if family == 4 else IPv6(src="2001:db8::1", dst="2001:db8::2")
    yield "tcp", eth / ip / TCP(sport=1, dport=2, flags="PA", seq=5, ack=6) / Raw(b"hello")
    yield "syn", eth / ip / TCP(sport=1, dport=2, flags="S", seq=5, options=[("MSS", 1460)])
    yield "udp", eth / ip / UDP(sport=1, dport=2) / Raw(b"hello")
    yield "udp-none", eth / ip / UDP(sport=1, dport=2, chksum=0) / Raw(b"hello")
    yield "sctp", eth / ip / SCTP(sport=1, dport=2, tag=9) / SCTPChunkInit()
    for proto, name in ((136, "udplite"), (33, "dccp"), (47, "gre")):
        carrier = ip.copy()
        setattr(carrier, "proto" if family == 4 else "nh", proto)
        yield name, eth / carrier / Raw(bytes(range(32)))
    yield "echo", eth / ip / (ICMP(id=7) if family == 4 else ICMPv6EchoRequest(id=7)) / Raw(b"hello")
    if family == 4:
        yield "frag-first", eth / IP(src="10.0.0.1", dst="10.0.0.2", flags="MF") / UDP(len=99) / Raw(bytes(16))
        yield "frag-later", eth / IP(src="10.0.0.1", dst="10.0.0.2", frag=3, proto=17) / Raw(bytes(16))
    else:
        yield "frag-first", eth / ip / IPv6ExtHdrFragment(m=1, nh=17) / UDP(len=99) / Raw(bytes(16))
        yield "frag-later", eth / ip / IPv6ExtHdrFragment(offset=3, nh=17) / Raw(bytes(16))
        yield "atomic", eth / ip / IPv6ExtHdrFragment(nh=6) / TCP(flags="S")
        yield "options", eth / ip / IPv6ExtHdrDestOpt() / TCP(flags="FA")


def errors(family, packet):
    eth = Ether(src="02:00:00:00:00:03", dst="02:00:00:00:00:04")
    quote = bytes(packet)[14:]
    if family == 4:
        ip = IP(src="10.0.0.9", dst="10.0.0.1")
        yield "unreachable", eth / ip / ICMP(type=3, code=3) / Raw(quote)
        yield "short", eth / ip / ICMP(type=11) / Raw(quote[:28])
        padded = quote[:128].ljust(128, b"\0")
        yield "extended", eth / ip / ICMP(type=11, length=32) / Raw(padded + bytes.fromhex("2000dfff00040101"))
    else:
        ip = IPv6(src="2001:db8::9", dst="2001:db8::1")
        yield "unreachable", eth / ip / ICMPv6DestUnreach(code=4) / Raw(quote)
        yield "too-big", eth / ip / ICMPv6PacketTooBig(mtu=1280) / Raw(quote[:48])


def seeds():
    for family in (4, 6):
        for name, packet in packets(family):
            yield f"packet{family}-{name}", entry(PACKET, family, packet)
            yield f"packet{family}-{name}-cut", entry(PACKET, family, packet, EXACT, 128, 7)
            for kind, error in errors(family, packet):
                yield f"error{family}-{kind}-{name}", entry(ICMP_ERROR, family, error, EXACT, 128, 50)
            if name in ("tcp", "syn", "options", "atomic"):
                yield f"packet{family}-{name}-unfinished", entry(PACKET, family, packet, TCP_CSUM)
                yield f"reset{family}-{name}", entry(RESET, family, packet, EXACT, 60, 9)
                yield f"reset{family}-{name}-unfinished", entry(RESET, family, packet, TCP_CSUM)
            if name == "udp":
                yield f"packet{family}-{name}-unfinished", entry(PACKET, family, packet, UDP_CSUM)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
